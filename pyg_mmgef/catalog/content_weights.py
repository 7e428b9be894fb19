from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ['ContentWeights']

Array = NDArray[Any]
PREFIX = 'mean_'


class ContentWeights:
    r"""An item's embedding from its features, with NumPy alone: an affine map.

    .. math::
        \mathbf{z}_i = \mathbf{b} + \big\Vert_m \left( \frac{\mathbf{x}^m_i}{\lVert \mathbf{x}^m_i
        \rVert} - \bar{\mathbf{x}}^m \right) \mathbf{W}

    over the modalities :math:`m`; the part of one that the item lacks is zero, as if it were the
    mean. An item without any has :math:`\mathbf{z}_i = \mathbf{0}`: nothing is known of it. A
    trained model gives the map (:meth:`Recommender.content_weights
    <pyg_mmgef.nn.Recommender.content_weights>`), so that a server embeds a new item without torch.

    Args:
        mean: The mean :math:`\bar{\mathbf{x}}^m` of each modality, in the order of the rows of
            the weight. Shape of each: ``[channels of the modality]``.
        weight: The matrix :math:`\mathbf{W}`. Shape: ``[channels of all modalities, channels]``.
        bias: The vector :math:`\mathbf{b}`. Shape: ``[channels]``.

    Raises:
        ValueError: If the shapes don't fit together.

    Example:
        >>> weights = ContentWeights({'text': np.zeros(2)}, 2 * np.eye(2), np.ones(2))
        >>> weights.embed({'text': [[3.0, 4.0], [0.0, 0.0]]})
        array([[2.2, 2.6],
               [0. , 0. ]], dtype=float32)
    """

    def __init__(self, mean: Mapping[str, Array], weight: Array, bias: Array) -> None:
        rows = sum(each.size for each in mean.values())
        if weight.ndim != 2 or weight.shape != (rows, bias.size):
            raise ValueError(
                f"'weight' must have shape {[rows, bias.size]}, as 'mean' and 'bias' say "
                f'(got {list(weight.shape)})'
            )
        self.mean = dict(mean)
        self.weight = weight
        self.bias = bias

    @property
    def in_channels(self) -> dict[str, int]:
        """Channels of each modality."""
        return {name: mean.size for name, mean in self.mean.items()}

    def embed(
        self, x: Mapping[str, ArrayLike], has: Mapping[str, ArrayLike] | None = None
    ) -> NDArray[np.float32]:
        """Return the embeddings of items.

        Args:
            x: The features by modality. Shape of each: ``[N, channels of the modality]``.
            has: Which items have a modality; all by default, but for rows of zeros. Shape of each:
                ``[N]``, bool. (default: :obj:`None`)

        Returns:
            Shape: ``[N, channels]``.

        Raises:
            ValueError: If the modalities, their channels or the numbers of rows differ.
        """
        given = {name: np.asarray(row, dtype=np.float64) for name, row in x.items()}
        found = {name: row.shape[-1] if row.ndim == 2 else None for name, row in given.items()}
        if found != self.in_channels or len({len(row) for row in given.values()}) > 1:
            raise ValueError(
                "'x' must have a matrix of each modality, with the channels "
                f'{self.in_channels} and as many rows (got shapes '
                f'{ {name: list(row.shape) for name, row in given.items()} })'
            )
        parts, present = [], []
        for name, mean in self.mean.items():
            row = given[name]
            is_there: NDArray[np.bool_] = np.any(row, axis=1)
            if has is not None and name in has:
                is_there = is_there & np.asarray(has[name], dtype=bool)
            # Scaled first, so that no square under- or overflows.
            largest = np.abs(row).max(axis=1, keepdims=True, initial=0.0)
            row = row / np.where(largest > 0, largest, 1.0)
            length = np.maximum(np.linalg.norm(row, axis=1, keepdims=True), 1.0)
            parts.append(np.where(is_there[:, None], row / length - mean, 0.0))
            present.append(is_there)
        z = np.concatenate(parts, axis=1) @ self.weight + self.bias
        has_any = np.stack(present).sum(axis=0) > 0
        return np.where(has_any[:, None], z, 0.0).astype(np.float32)

    def to_arrays(self) -> dict[str, Array]:
        """Return the arrays by name: ``weight``, ``bias``, and ``mean_<modality>`` in order."""
        means = {PREFIX + name: mean for name, mean in self.mean.items()}
        return {**means, 'weight': self.weight, 'bias': self.bias}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> 'ContentWeights':
        """Return what :meth:`to_arrays` gave, in the same order of modalities.

        Raises:
            ValueError: If an array is missing or misshaped.
        """
        missing = {'weight', 'bias'} - set(arrays)
        if missing:
            raise ValueError(f'the arrays lack {sorted(missing)}')
        mean = {
            name.removeprefix(PREFIX): array
            for name, array in arrays.items()
            if name.startswith(PREFIX)
        }
        return cls(mean, arrays['weight'], arrays['bias'])
