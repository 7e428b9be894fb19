from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import Linear, Module, ModuleDict
from torch_geometric.data import HeteroData

from pyg_mmgef.nn.models.distinct import select
from pyg_mmgef.schema import item_modalities
from pyg_mmgef.validate import check_positive

__all__ = ['ModalityLinear', 'modality_channels']


class ModalityLinear(Module):
    """A linear layer for each modality of the items, whose features keep their own widths.

    Args:
        in_channels: Channels of each modality ``data['item'].x_<modality>``.
        out_channels: Channels of all results.
        bias: Whether the layers add a learned bias. (default: :obj:`True`)

    Raises:
        ValueError: If :obj:`in_channels` is empty or a number isn't positive.
    """

    def __init__(
        self, in_channels: Mapping[str, int], out_channels: int, bias: bool = True
    ) -> None:
        super().__init__()
        if not in_channels:
            raise ValueError("'in_channels' is empty; name at least one modality and its channels")
        for name, channels in in_channels.items():
            check_positive(f'in_channels[{name!r}]', channels)
        self.in_channels = dict(in_channels)
        self.lins = ModuleDict(
            {name: Linear(channels, out_channels, bias) for name, channels in in_channels.items()}
        )

    def reset_parameters(self) -> None:
        """Draw new weights."""
        for name in self.in_channels:
            self.layer(name).reset_parameters()

    def layer(self, name: str) -> Linear:
        """Return the layer of a modality."""
        lin = self.lins[name]
        assert isinstance(lin, Linear)
        return lin

    def forward(
        self, data: HeteroData, items: Tensor | None = None
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Return for each modality the projected features of some items, and who has it.

        An item lacks a modality where the mask ``has_<modality>`` says so or its row is zero.

        Args:
            data: The train graph, with the features.
            items: Item ids, repeated or not; :obj:`None` means all. Shape: ``[I]``.
                (default: :obj:`None`)

        Returns:
            Shapes: ``[I, out_channels]`` and ``[I]``, bool. What an item lacks isn't read; its
            row is the bias, or zero.

        Raises:
            ValueError: If the data lacks a modality, or has it in another width.
        """
        x, has = item_modalities(data)
        out = {}
        for name in self.in_channels:
            lin = self.layer(name)
            if name not in x or x[name].size(1) != lin.in_features:
                found = {key: row.size(1) for key, row in x.items()}
                raise ValueError(
                    f"'data' must have {lin.in_features} channels of the item features {name!r}, "
                    f'as the model was built for (found {found})'
                )
            row = select(x[name], items)
            present = row.detach().ne(0).any(dim=1)
            if name in has:
                present = present & select(has[name], items)
            row = torch.where(present[:, None], row, 0.0)
            out[name] = lin(row.to(lin.weight.dtype)), present
        return out


def modality_channels(data: HeteroData, model: str) -> dict[str, int]:
    """Return the channels of the modalities that the data has.

    Args:
        data: The train graph.
        model: Who asks, for the message.

    Raises:
        ValueError: If it has none.
    """
    x, _ = item_modalities(data)
    if not x:
        raise ValueError(
            f"'data' has no item features, which {model} needs; set data['item'].x_<modality>"
        )
    return {name: row.size(1) for name, row in x.items()}
