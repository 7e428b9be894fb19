import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pyg_mmgef.nn.parts.tensor_cache import TensorCache
from pyg_mmgef.validate import check_positive

__all__ = ['ContentMap']

STRENGTHS = tuple(10 ** (exponent / 2) for exponent in range(-4, 9))
LEFT_OUT = 2**15  # Items that are left out to choose the strength, up to twice as many.
NEGLIGIBLE = 1e-10  # Directions with a smaller share of the largest variance are rounding errors.


class ContentMap:
    r"""A linear map from the features of items to their embeddings, learned from warm items.

    .. math::
        f(\mathbf{x}) = \bar{\mathbf{z}} + \mathbf{W}^{\top} (\mathbf{x} - \bar{\mathbf{x}}),
        \qquad \mathbf{W} = \arg\min_{\mathbf{W}} \sum_{i \text{ warm}} \lVert \mathbf{z}_i -
        f(\mathbf{x}_i) \rVert^2 + \lambda \lVert \mathbf{W} \rVert^2

    It gives an item that nobody has interacted with the embedding that warm items of such content
    have, whatever model they are from: the idea of attribute-to-feature mappings (`ICDM 2010
    <https://doi.org/10.1109/ICDM.2010.129>`_), as a ridge regression in closed form and in float64.

    The strength :math:`\lambda` is chosen by leaving out one warm item at a time: of those tried,
    the one that predicts the embedding of the item left out best, in the sum of squares over all
    items. That takes no more than the fit itself, as the error without an item is
    :math:`(\mathbf{z}_i - f(\mathbf{x}_i)) / (1 - h_i)` with the item's leverage :math:`h_i`. Of
    65,536 warm items or more, only every second (third, ...) one is left out, 32,768 or more.

    Args:
        strengths: The strengths to choose from. (default: ``10 ** -2`` to ``10 ** 4``, two in each
            power of ten)

    Raises:
        ValueError: If there is no strength, or one isn't positive.

    Example:
        >>> x = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
        >>> content_map = ContentMap([1e-6]).fit(x, 2 * x + 1)
        >>> content_map(torch.tensor([[10.0]]))
        tensor([[21.0000]])
    """

    def __init__(self, strengths: Sequence[float] = STRENGTHS) -> None:
        if not strengths:
            raise ValueError("'strengths' is empty; give at least one")
        for strength in strengths:
            check_positive('strengths', strength, integer=False)
        self.strengths = tuple(strengths)
        self.strength = math.nan
        """The strength that was chosen, NaN before :meth:`fit`."""
        self.errors: list[float] = []
        """The error of each strength, as a share of the variance of the embeddings."""
        self._cache = TensorCache()

    @property
    def explained(self) -> float:
        r"""The share :math:`R^2` of the embeddings' variance that is predicted of an item left out.

        It is that of the strength that was chosen, at least 0; and 0 where embeddings don't differ.
        """
        error = min(self.errors, default=math.nan)
        return 1 - error if error < 1 else 0.0

    @property
    def weight(self) -> Tensor:
        r"""The matrix :math:`\mathbf{W}` of the last :meth:`fit`, in float64.

        Shape: ``[in_channels, channels]``.
        """
        return self._weight

    @property
    def bias(self) -> Tensor:
        r"""What features of zero give, :math:`f(\mathbf{0})`, in float64. Shape: ``[channels]``."""
        return self._z_mean - self._x_mean @ self._weight

    @torch.no_grad()
    def fit(self, x: Tensor, z: Tensor) -> 'ContentMap':
        """Learn the map from warm items, and return it.

        Args:
            x: Features. Shape: ``[num_warm, in_channels]``.
            z: Embeddings. Shape: ``[num_warm, channels]``.

        Raises:
            ValueError: If there is no item, or both have different numbers of rows.
        """
        if x.size(0) != z.size(0) or x.size(0) == 0:
            raise ValueError(
                f"'x' and 'z' must have a row for each warm item (got {x.size(0)} and {z.size(0)})"
            )
        self._x_mean, score, variance, direction, leverages = self._cache.get(
            [x], lambda: self._of_features(x)
        )
        self._z_mean = z.double().mean(dim=0)
        z = z.double() - self._z_mean
        projected = score.t() @ z
        self.errors = []
        left_out = slice(None, None, max(1, len(z) // LEFT_OUT))
        z, score = z[left_out], score[left_out]
        total = z.square().sum()
        for strength, leverage in zip(self.strengths, leverages, strict=True):
            shrunk = 1 / (variance + strength)
            residual = z - score @ (shrunk[:, None] * projected)
            self.errors.append(
                float((residual / (1 - leverage[left_out])[:, None]).square().sum() / total)
            )
        best = min(range(len(self.errors)), key=self.errors.__getitem__)
        self.strength = self.strengths[best]
        self._weight = direction @ (projected / (variance + self.strength)[:, None])
        return self

    def _of_features(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, list[Tensor]]:
        """Return what doesn't depend on the embeddings: the components and all leverages."""
        mean, score, variance, direction = _principal(x)
        square = score.square()
        leverages = [1 / len(x) + square @ (1 / (variance + s)) for s in self.strengths]
        return mean, score, variance, direction, leverages

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """Return the embeddings of items by their features.

        Args:
            x: Features. Shape: ``[N, in_channels]``.

        Returns:
            Of the type of the features. Shape: ``[N, channels]``.
        """
        return (self._z_mean + (x.double() - self._x_mean) @ self._weight).to(x.dtype)


def _principal(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the mean, the principal components of each row, their variances and directions."""
    mean = x.double().mean(dim=0)
    x = x.double() - mean
    if x.size(0) >= x.size(1):
        variance, direction = torch.linalg.eigh(x.t() @ x)
    else:
        variance, left = torch.linalg.eigh(x @ x.t())
        direction = x.t() @ left / variance.clamp(min=torch.finfo(x.dtype).tiny).sqrt()
    kept = variance > NEGLIGIBLE * variance[-1]
    direction = direction[:, kept]
    return mean, x @ direction, variance[kept], direction
