"""Programs that run without this package: torch.export, and ONNX."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram
from torch.nn import Module

from pyg_mmgef.catalog import ContentWeights
from pyg_mmgef.files import write_atomically

__all__ = ['ContentProgram', 'export_program', 'write_onnx', 'write_program']

TINY = 1e-30


class ContentProgram(Module):
    r"""The map of :class:`~pyg_mmgef.catalog.ContentWeights` as a layer, in float32.

    .. math::
        \mathbf{z}_i = \mathbf{b} + \big\Vert_m \left( \frac{\mathbf{x}^m_i}{\lVert \mathbf{x}^m_i
        \rVert} - \bar{\mathbf{x}}^m \right) \mathbf{W}

    A row of zeros means that the item lacks the modality; an item without any has a zero vector.

    Args:
        weights: The map.

    Shapes:
        - **input:** features by modality :math:`(N, F_m)`
        - **output:** :math:`(N, C)`
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, weights: ContentWeights) -> None:
        super().__init__()
        self.in_channels = weights.in_channels
        for index, mean in enumerate(weights.mean.values()):
            self.register_buffer(f'mean_{index}', torch.tensor(mean, dtype=torch.float32))
        self.register_buffer('weight', torch.tensor(weights.weight, dtype=torch.float32))
        self.register_buffer('bias', torch.tensor(weights.bias, dtype=torch.float32))

    def forward(self, x: dict[str, Tensor]) -> Tensor:
        """Return the vectors of items.

        Args:
            x: The features by modality. Shape of each: ``[N, channels of the modality]``.
        """
        parts, present = [], []
        for index, name in enumerate(self.in_channels):
            row = x[name]
            is_there = row.ne(0).any(dim=1, keepdim=True)
            # Scaled first, so that no square under- or overflows.
            row = row / row.abs().amax(dim=1, keepdim=True).clamp(min=TINY)
            row = row / row.square().sum(dim=1, keepdim=True).clamp(min=TINY).sqrt()
            mean = self.get_buffer(f'mean_{index}')
            parts.append(torch.where(is_there, row - mean, 0.0))
            present.append(is_there)
        z = torch.cat(parts, dim=1) @ self.weight + self.bias
        return torch.where(torch.cat(present, dim=1).any(dim=1, keepdim=True), z, 0.0)

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({self.in_channels}, {self.bias.numel()})'


def export_program(module: Module, in_channels: Mapping[str, int]) -> ExportedProgram:
    """Return the program of a layer that maps features by modality, for any number of rows.

    Args:
        module: The layer, such as a :class:`ContentProgram` or an
            :class:`~pyg_mmgef.nn.EarlyFusion`; its argument is a dictionary.
        in_channels: Channels of each modality.
    """
    x, shapes = _example(in_channels)
    with torch.no_grad():
        return torch.export.export(module.eval(), (x,), dynamic_shapes=(shapes,))


def write_program(program: ExportedProgram, path: str | os.PathLike[str]) -> None:
    """Write a program atomically; :func:`torch.export.load` reads it.

    Args:
        program: The program.
        path: The file, usually named ``*.pt2``.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / 'program.pt2'
        torch.export.save(program, file)
        write_atomically(path, file.read_bytes())


def write_onnx(program: ExportedProgram, path: str | os.PathLike[str]) -> None:
    """Write a program of :func:`export_program` in the format ONNX, atomically.

    The inputs are named as the modalities, the output ``vectors``, and the number of rows ``items``
    may be any.

    Args:
        program: The program.
        path: The file, usually named ``*.onnx``.

    Raises:
        ImportError: If onnx or onnxscript is missing.
    """
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(
            'writing ONNX needs onnx and onnxscript; install them with: '
            'pip install "pyg-mmgef[onnx]"'
        ) from error
    (example,), _ = program.example_inputs
    made: Any = torch.onnx.export(
        program,
        input_names=list(example),
        output_names=['vectors'],
        dynamo=True,
        verbose=False,
    )
    write_atomically(path, made.model_proto.SerializeToString())


def _example(in_channels: Mapping[str, int]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return inputs to trace, and which of their sizes may be others."""
    generator = torch.Generator().manual_seed(0)
    items = Dim('items')
    x = {name: torch.randn(4, width, generator=generator) for name, width in in_channels.items()}
    return x, {name: {0: items} for name in in_channels}
