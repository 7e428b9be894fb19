from collections.abc import Mapping

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn._unit_length import unit_length, usual_length
from pyg_mmgef.nn.parts.modality_features import ModalityFeatures
from pyg_mmgef.nn.parts.tensor_cache import TensorCache
from pyg_mmgef.schema import ITEM, item_modalities

__all__ = ['StandardContent', 'standard_scale', 'standardized']

Rows = list[tuple[Tensor, Tensor]]
"""The rows of each modality, and which items have it."""


class StandardContent:
    r"""The features of all modalities side by side, on a scale that suits a neural network.

    The rows of a modality are scaled to unit length, then :func:`standardized` over the warm items
    that have it, all its channels by one factor. A missing modality is zero, as if it were the
    mean.

    Args:
        in_channels: Channels of each modality ``data['item'].x_<modality>``.

    Raises:
        ValueError: If :obj:`in_channels` is empty, or a number isn't positive.
    """

    def __init__(self, in_channels: Mapping[str, int]) -> None:
        self._features = ModalityFeatures(in_channels)
        self.out_channels = sum(in_channels.values())
        self._cache = TensorCache()

    @property
    def in_channels(self) -> dict[str, int]:
        """Channels of each modality."""
        return self._features.in_channels

    def clear(self) -> None:
        """Clear what was prepared."""
        self._features.clear()
        self._cache.clear()

    def __call__(
        self, data: HeteroData, is_warm: Tensor, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        """Return the rows of all items, and which items have any modality.

        Args:
            data: The graph.
            is_warm: Which items count for means and scales. Shape: ``[num_items, 1]``, bool.
            dtype: The type of the rows.

        Returns:
            Shapes: ``[num_items, out_channels]`` and ``[num_items, 1]``, bool.

        Raises:
            ValueError: If the data lacks a modality, or has it with other channels.
        """
        x, has = item_modalities(data)

        def build() -> tuple[Tensor, Tensor]:
            units = self._units(data, dtype)
            scales = [standard_scale(x, has & is_warm) for x, has in units]
            return _side_by_side(units, scales, dtype)

        return self._cache.get([*x.values(), *has.values(), is_warm], build, dtype)

    def of(
        self,
        data: HeteroData,
        is_warm: Tensor,
        dtype: torch.dtype,
        x: Mapping[str, Tensor],
        has: Mapping[str, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the rows of items that aren't in the data, with the means and scales of the data.

        Args:
            data: The graph.
            is_warm: Which items of the data count. Shape: ``[num_items, 1]``, bool.
            dtype: The type of the rows.
            x: The features of the new items by modality. Shape of each: ``[N, channels]``.
            has: Which of them have a modality; all by default, but for rows of zeros.
                Shape of each: ``[N]``, bool. (default: :obj:`None`)

        Raises:
            ValueError: If the modalities or their channels are others.
        """
        scales = [standard_scale(x, has & is_warm) for x, has in self._units(data, dtype)]
        new = HeteroData()
        for name, row in x.items():
            new[ITEM].num_nodes = row.size(0)
            new[ITEM][f'x_{name}'] = row
            if has and name in has:
                new[ITEM][f'has_{name}'] = has[name]
        # What was read of the data stays cached.
        features = ModalityFeatures(self.in_channels)
        return _side_by_side(_units(features(new, _wide(dtype))), scales, dtype)

    def _units(self, data: HeteroData, dtype: torch.dtype) -> Rows:
        return _units(self._features(data, _wide(dtype)))


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _units(rows: Rows) -> Rows:
    return [(unit_length(usual_length(x)), has) for x, has in rows]


def _side_by_side(
    units: Rows, scales: list[tuple[Tensor, Tensor]], dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Return the standardised rows of all modalities in one matrix, and who has any."""
    parts = [
        torch.where(has, x - mean, 0) * factor
        for (x, has), (mean, factor) in zip(units, scales, strict=True)
    ]
    has_any = torch.cat([has for _, has in units], dim=1).any(dim=1, keepdim=True)
    return torch.cat(parts, dim=1).to(dtype), has_any


def standardized(x: Tensor, is_there: Tensor, is_counted: Tensor) -> Tensor:
    """Return rows with a mean of zero and numbers whose mean square is one.

    Args:
        x: Shape: ``[N, channels]``.
        is_there: Other rows are zero in the result. Shape: ``[N, 1]``, bool.
        is_counted: Mean and scale are those of these rows. Shape: ``[N, 1]``, bool.
    """
    mean, factor = standard_scale(x, is_counted)
    return torch.where(is_there, x - mean, 0) * factor


def standard_scale(x: Tensor, is_counted: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean of rows and the factor that make them :func:`standardized`.

    Args:
        x: Shape: ``[N, channels]``.
        is_counted: The rows that count. Shape: ``[N, 1]``, bool.

    Returns:
        Shapes: ``[channels]`` and ``[]``.
    """
    count = is_counted.sum().clamp(min=1)
    mean = torch.where(is_counted, x, 0).sum(dim=0) / count
    # What is left of equal rows is rounding error, which must not be scaled up.
    info = torch.finfo(x.dtype)
    error = info.eps * _mean_square(x, is_counted, count) + info.tiny
    return mean, _mean_square(x - mean, is_counted, count).clamp(min=error).rsqrt()


def _mean_square(x: Tensor, is_counted: Tensor, count: Tensor) -> Tensor:
    return torch.where(is_counted, x, 0).square().sum() / (count * x.size(1))
