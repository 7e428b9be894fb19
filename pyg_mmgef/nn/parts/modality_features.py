from collections.abc import Mapping

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn.parts.tensor_cache import TensorCache
from pyg_mmgef.schema import item_modalities, present_features
from pyg_mmgef.validate import check_positive

__all__ = ['ItemFeatures', 'feature_channels']


def feature_channels(data: HeteroData, model: str) -> dict[str, int]:
    """Return the channels of each modality of the items.

    Args:
        data: The graph.
        model: The name of the model that can't do without, for the message.

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


class ItemFeatures:
    """The modalities that a model reads, zero where an item lacks one, each prepared once.

    Args:
        in_channels: Channels of each modality ``data['item'].x_<modality>``.

    Raises:
        ValueError: If :obj:`in_channels` is empty, or a number isn't positive.
    """

    def __init__(self, in_channels: Mapping[str, int]) -> None:
        if not in_channels:
            raise ValueError("'in_channels' is empty; name at least one modality and its channels")
        for name, channels in in_channels.items():
            check_positive(f'in_channels[{name!r}]', channels)
        self.in_channels = dict(in_channels)
        self._cache = TensorCache()

    def clear(self) -> None:
        """Forget what was prepared."""
        self._cache.clear()

    def get(self, data: HeteroData, dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
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
            present = present_features(data)
            return [(present[m], present[m].ne(0).any(dim=1, keepdim=True)) for m in names]

        prepared: list[tuple[Tensor, Tensor]] = self._cache.get(tensors, build)
        return [(row.to(dtype), mask) for row, mask in prepared]

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
