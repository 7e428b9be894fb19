from collections.abc import Mapping

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn._unit_length import unit_length, usual_length
from pyg_mmgef.nn.parts.modality_features import ModalityFeatures
from pyg_mmgef.nn.parts.tensor_cache import TensorCache
from pyg_mmgef.schema import item_modalities

__all__ = ['StandardContent', 'standardized']


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
            wide = torch.promote_types(dtype, torch.float32)
            rows = self._features(data, wide)
            units = [(unit_length(usual_length(x)), has) for x, has in rows]
            parts = [standardized(x, has, has & is_warm) for x, has in units]
            has_any = torch.cat([has for _, has in rows], dim=1).any(dim=1, keepdim=True)
            return torch.cat(parts, dim=1).to(dtype), has_any

        return self._cache.get([*x.values(), *has.values(), is_warm], build, dtype)


def standardized(x: Tensor, is_there: Tensor, is_counted: Tensor) -> Tensor:
    """Return rows with a mean of zero and numbers whose mean square is one.

    Args:
        x: Shape: ``[N, channels]``.
        is_there: Other rows are zero in the result. Shape: ``[N, 1]``, bool.
        is_counted: Mean and scale are those of these rows. Shape: ``[N, 1]``, bool.
    """
    count = is_counted.sum().clamp(min=1)
    mean = torch.where(is_counted, x, 0).sum(dim=0) / count
    # What is left of equal rows is rounding error, which must not be scaled up.
    info = torch.finfo(x.dtype)
    error = info.eps * _mean_square(x, is_counted, count) + info.tiny
    x = torch.where(is_there, x - mean, 0)
    return x * _mean_square(x, is_counted, count).clamp(min=error).rsqrt()


def _mean_square(x: Tensor, is_counted: Tensor, count: Tensor) -> Tensor:
    return torch.where(is_counted, x, 0).square().sum() / (count * x.size(1))
