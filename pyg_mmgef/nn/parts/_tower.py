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

    def frozen(self, x: Tensor) -> Tensor:
        """Return the outputs in evaluation, where gradients reach the inputs alone."""
        weights = {name: value.detach() for name, value in self.named_parameters()}
        # Copies, as a further step in training changes these in place and the backward reads them.
        buffers = {name: value.clone() for name, value in self.named_buffers()}
        mean, variance = buffers['norm.running_mean'], buffers['norm.running_var']
        x = F.linear(x, weights['lin_in.weight'])
        x = F.batch_norm(
            x, mean, variance, weights['norm.weight'], weights['norm.bias'], eps=self.norm.eps
        )
        return F.linear(x.tanh(), weights['lin_out.weight'], weights['lin_out.bias'])

    def affine(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        r"""Return the matrices and biases of evaluation, which is ``tanh(x @ a + b) @ c + d``.

        Returns:
            Shapes: ``[in_channels, hidden_channels]``, ``[hidden_channels]``,
            ``[hidden_channels, out_channels]`` and ``[out_channels]``.
        """
        norm = self.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        bias_in = norm.bias - norm.running_mean * scale
        return self.lin_in.weight.t() * scale, bias_in, self.lin_out.weight.t(), self.lin_out.bias

    def _normalized(self, x: Tensor) -> Tensor:
        norm = self.norm
        if norm.training and x.size(0) > 1:
            return norm(x)
        return F.batch_norm(
            x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
        )
