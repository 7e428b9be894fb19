from collections.abc import Mapping

from torch import Tensor
from torch.nn import Linear, Module, ModuleList
from torch_geometric.data import HeteroData
from torch_geometric.nn.inits import reset

from pyg_mmgef._describe import describe
from pyg_mmgef.nn.parts._id_rows import select
from pyg_mmgef.nn.parts.modality_features import ModalityFeatures

__all__ = ['ModalityLinear']


class ModalityLinear(Module):
    """Projects each modality of the items by a linear layer of its own.

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
        self._features = ModalityFeatures(in_channels)
        self.out_channels = out_channels
        self.bias = bias
        # By position: a modality may have any name, that of an attribute of a module too.
        self.lins = ModuleList(Linear(width, out_channels, bias) for width in in_channels.values())

    @property
    def in_channels(self) -> dict[str, int]:
        """Channels of each modality."""
        return self._features.in_channels

    def reset_parameters(self) -> None:
        """Initialise the weights anew and clear the features."""
        self._features.clear()
        reset(self.lins)

    def forward(self, data: HeteroData, items: Tensor | None = None) -> list[tuple[Tensor, Tensor]]:
        """Return for each modality the projected features of some items, and which have it.

        An item lacks a modality where the mask ``has_<modality>`` says so or its row is zero. Its
        features count as zero, so its row is the bias.

        Args:
            data: The train graph, with the features.
            items: Item ids; :obj:`None` means all. Shape: ``[I]``. (default: :obj:`None`)

        Returns:
            Shapes: ``[I, out_channels]`` and ``[I, 1]``, bool, in the order of
            :attr:`in_channels`.

        Raises:
            ValueError: If the data lacks a modality, or has it in another width.
        """
        dtype = next(self.parameters()).dtype
        return [
            (lin(select(x, items)), select(has, items))
            for lin, (x, has) in zip(self.lins, self._features(data, dtype), strict=True)
        ]

    def __repr__(self) -> str:
        return describe(self)
