from collections.abc import Mapping

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn.parts.tensor_cache import TensorCache
from pyg_mmgef.schema import item_modalities
from pyg_mmgef.validate import check_channels

__all__ = ['ModalityFeatures', 'feature_channels']


def feature_channels(data: HeteroData, model: str) -> dict[str, int]:
    """Return the channels of each modality of the items.

    Args:
        data: The graph.
        model: The name of the model that needs features, for the message.

    Raises:
        ValueError: If the items have no features.
    """
    x, _ = item_modalities(data)
    if not x:
        raise ValueError(
            f"'data' has no item features, which {model} needs; set data['item'].x_<modality>, "
            "such as data['item'].x_image"
        )
    return {name: row.size(1) for name, row in x.items()}


class ModalityFeatures:
    """Reads the modalities of the items from the data: features, zero where missing, and masks.

    Each is prepared once for the same data. Features are copied only where a row that ``has_<...>``
    declares missing isn't zero.

    Args:
        in_channels: Channels of each modality ``data['item'].x_<modality>``.

    Raises:
        ValueError: If :obj:`in_channels` is empty, or a number isn't positive.
    """

    def __init__(self, in_channels: Mapping[str, int]) -> None:
        check_channels('in_channels', in_channels)
        self.in_channels = dict(in_channels)
        self._cache = TensorCache()

    def clear(self) -> None:
        """Clear what was prepared."""
        self._cache.clear()

    def __call__(self, data: HeteroData, dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
        """Return the features of each modality, and which items have it.

        An item lacks a modality where ``has_<modality>`` says so, or where its row is zero.

        Args:
            data: The graph.
            dtype: The type of the features.

        Returns:
            Shapes: ``[num_items, channels]`` and ``[num_items, 1]``, for each modality.

        Raises:
            ValueError: If the data lacks a modality, or has it with other channels.
        """
        x, has = item_modalities(data)
        self._check(x)
        names = list(self.in_channels)
        tensors = [x[name] for name in names] + [has[name] for name in names if name in has]

        def build() -> list[tuple[Tensor, Tensor]]:
            return [_present(x[name], has.get(name)) for name in names]

        return [(row.to(dtype), mask) for row, mask in self._cache.get(tensors, build)]

    def _check(self, x: Mapping[str, Tensor]) -> None:
        missing = [name for name in self.in_channels if name not in x]
        if missing:
            raise ValueError(f"'data' lacks the item features {missing} (found {sorted(x)})")
        for name, channels in self.in_channels.items():
            if x[name].size(1) != channels:
                raise ValueError(
                    f"'data' has {x[name].size(1)} channels for {name!r}, but the model was built "
                    f'for {channels}'
                )


def _present(x: Tensor, has: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return features whose missing rows are zero, and the mask of those that are present."""
    is_present = x.ne(0).any(dim=1, keepdim=True)
    if has is None or not bool((is_present & ~has[:, None]).any()):
        return x, is_present
    return torch.where(has[:, None], x, 0), is_present & has[:, None]
