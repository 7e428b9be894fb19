from collections.abc import Mapping

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn._unit_length import unit_length, usual_length
from pyg_mmgef.nn.parts.tensor_cache import TensorCache
from pyg_mmgef.schema import item_modalities

__all__ = ['Content', 'ContentFeatures']


class Content:
    r"""The features of all modalities of the items, side by side in one matrix.

    .. math::
        \mathbf{x}_i = \big\Vert_m \; \left( \frac{\mathbf{x}^m_i}{\lVert \mathbf{x}^m_i \rVert}
        - \bar{\mathbf{x}}^m \right)

    with the mean :math:`\bar{\mathbf{x}}^m` over the warm items that have the modality :math:`m`.
    Where an item lacks a modality, its part is zero, as if it were the mean.

    Args:
        x: The features by modality. Shape of each: ``[num_items, channels]``.
        has: Which items have a modality; where it isn't given, rows that aren't zero.
            Shape of each: ``[num_items]``, bool.
        is_warm: Which items count for the mean. Shape: ``[num_items]``, bool.
    """

    def __init__(self, x: Mapping[str, Tensor], has: Mapping[str, Tensor], is_warm: Tensor) -> None:
        self.mean: dict[str, Tensor] = {}
        """The mean of each modality."""
        for name, row in x.items():
            is_counted = _is_present(row, has.get(name)) & is_warm
            total = torch.where(is_counted[:, None], _scaled(row), 0).sum(dim=0)
            self.mean[name] = total / is_counted.sum().clamp(min=1)
        every = self.of(x, has)
        self.warm = every[is_warm]
        """The rows of warm items."""
        self.cold = every[~is_warm]
        """The rows of cold items."""

    def of(self, x: Mapping[str, Tensor], has: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return the matrix of these or of other items, with the mean of these.

        Args:
            x: The features by modality. Shape of each: ``[N, channels]``.
            has: Which items have a modality. Shape of each: ``[N]``, bool. (default: :obj:`None`)

        Returns:
            At least float32. Shape: ``[N, channels of all modalities]``.

        Raises:
            ValueError: If the modalities or their channels are others.
        """
        found = {name: row.size(-1) for name, row in x.items()}
        expected = {name: mean.numel() for name, mean in self.mean.items()}
        if found != expected:
            raise ValueError(
                f"'x' must have the modalities and channels of the data, {expected} (got {found})"
            )
        parts = []
        for name, mean in self.mean.items():
            is_present = _is_present(x[name], (has or {}).get(name))
            parts.append(torch.where(is_present[:, None], _scaled(x[name]) - mean, 0))
        return torch.cat(parts, dim=1)

    def by_modality(self, x: Tensor) -> dict[str, Tensor]:
        """Return, of rows of the matrix, what each modality has; the others are zero."""
        out, start = {}, 0
        for name, mean in self.mean.items():
            end = start + mean.numel()
            out[name] = torch.zeros_like(x)
            out[name][:, start:end] = x[:, start:end]
            start = end
        return out


class ContentFeatures:
    """Reads the :class:`Content` of the items from the data, once for the same data."""

    def __init__(self) -> None:
        self._cache = TensorCache()

    def clear(self) -> None:
        """Drop what was read."""
        self._cache.clear()

    def __call__(self, data: HeteroData, is_warm: Tensor) -> Content | None:
        """Return the content, or :obj:`None` if the items have no features.

        Args:
            data: A graph in the schema of this package.
            is_warm: Which items are warm. Shape: ``[num_items, 1]``, bool.
        """
        x, has = item_modalities(data)
        if not x:
            return None
        tensors = [*x.values(), *has.values(), is_warm]
        return self._cache.get(tensors, lambda: Content(x, has, is_warm[:, 0]))


def _is_present(x: Tensor, has: Tensor | None) -> Tensor:
    is_present = x.ne(0).any(dim=1)
    return is_present if has is None else is_present & has


def _scaled(x: Tensor) -> Tensor:
    return unit_length(usual_length(x.detach().to(torch.promote_types(x.dtype, torch.float32))))
