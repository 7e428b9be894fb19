import torch.nn.functional as F
from torch import Tensor
from torch.nn import BatchNorm1d, Linear, Module

__all__ = ['Tower']


class Tower(Module):
    """A linear map, batch normalisation and tanh, then a second linear map.

    In training, batch normalisation takes mean and variance from the rows that it sees, but for a
    single row, which has no variance: that takes those of evaluation.

    Args:
        in_channels: Channels of the input.
        hidden_channels: Channels between the maps.
        out_channels: Channels of the output.
    """

    def __init__(self, in_channels: int, hidden_channels: int, out_channels: int) -> None:
        super().__init__()
        # Without a bias, which batch normalisation would take away.
        self.lin_in = Linear(in_channels, hidden_channels, bias=False)
        self.norm = BatchNorm1d(hidden_channels)
        self.lin_out = Linear(hidden_channels, out_channels)

    def reset_parameters(self) -> None:
        """Initialise the parameters anew and forget means and variances."""
        for layer in (self.lin_in, self.norm, self.lin_out):
            layer.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs. Shape: ``[N, out_channels]``."""
        return self.lin_out(self._normalized(self.lin_in(x)).tanh())

    def _normalized(self, x: Tensor) -> Tensor:
        norm = self.norm
        if norm.training and x.size(0) > 1:
            return norm(x)
        return F.batch_norm(
            x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
        )
