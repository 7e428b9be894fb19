"""The layers inside of a model's parts, by name."""

from torch.nn import Linear

from pyg_mmgef.nn.parts import ModalityLinear


def layer_of(lin: ModalityLinear, name: str) -> Linear:
    """Return the layer of a modality."""
    layer = lin.lins[list(lin.in_channels).index(name)]
    assert isinstance(layer, Linear)
    return layer
