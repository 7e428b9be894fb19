from collections.abc import Mapping

from torch import Tensor
from torch.nn import Linear, Module, ModuleDict
from torch_geometric.data import HeteroData

from pyg_mmgef.nn.parts._distinct import distinct, restore, select
from pyg_mmgef.nn.parts.modality_features import ItemFeatures
from pyg_mmgef.schema import ITEM

__all__ = ['ModalityLinear']


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
        self._features = ItemFeatures(in_channels)
        self.lins = ModuleDict(
            {name: Linear(channels, out_channels, bias) for name, channels in in_channels.items()}
        )

    @property
    def in_channels(self) -> dict[str, int]:
        """Channels of each modality."""
        return self._features.in_channels

    def reset_parameters(self) -> None:
        """Draw new weights and forget the features."""
        self._features.clear()
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
        dtype = self.layer(next(iter(self.in_channels))).weight.dtype
        features = self._features.get(data, dtype)
        rows, place = distinct('items', items, features[0][0].size(0), ITEM)
        return {
            # Wide features are read and multiplied once for each item, however often it is asked.
            name: (restore(self.layer(name)(select(x, rows)), place), select(has, items)[:, 0])
            for name, (x, has) in zip(self.in_channels, features, strict=True)
        }
