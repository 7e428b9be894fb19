"""Sharded checkpoints as plain models."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor
from torch.distributed.checkpoint import HuggingFaceStorageReader

from pyg_mmgef.distributed.checkpoint import DENSE, latest_checkpoint, read_contents
from pyg_mmgef.files import Entry, damaged, make_folder, open_atomically, safetensors_pieces
from pyg_mmgef.nn.pretrained._folder import WEIGHTS, write_config
from pyg_mmgef.nn.registry import recommenders

__all__ = ['export_checkpoint']

BLOCK = 2**16
"""Rows that are in memory at once."""
ADVICE = 'export another checkpoint'
# The names of types in safetensors.
DTYPES = {
    torch.float64: 'F64',
    torch.float32: 'F32',
    torch.float16: 'F16',
    torch.bfloat16: 'BF16',
    torch.int64: 'I64',
    torch.int32: 'I32',
    torch.bool: 'BOOL',
}


class _Part(NamedTuple):
    """Consecutive rows of a table in one file."""

    start: int
    num_rows: int
    file: str


def export_checkpoint(
    folder: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    metrics: Mapping[str, float] | None = None,
) -> None:
    """Write the latest checkpoint of a sharded model as a plain one, by a single process.

    The files are those of :meth:`~pyg_mmgef.nn.Recommender.save_pretrained`, so
    :meth:`~pyg_mmgef.nn.Recommender.from_pretrained` reads them. Tables are copied in blocks of
    rows, so this needs little memory, however large they are. It needs neither TorchRec nor a
    process group.

    Args:
        folder: The folder of the checkpoints.
        output: The folder of the model, which is made if it doesn't exist.
        metrics: Metrics by name, for the model card. (default: :obj:`None`)

    Raises:
        FileNotFoundError: If there is no checkpoint.
        OSError: If the output can't be written.
        ValueError: If the checkpoint is damaged.
    """
    path = latest_checkpoint(folder)
    if path is None:
        raise FileNotFoundError(
            f'{str(folder)!r} has no checkpoint; write one with save_checkpoint'
        )
    contents, output = read_contents(path), Path(output)
    tables = contents['tables']
    parts = _find_parts(path, {name: size[0] for name, size in tables.items()})
    saved = torch.load(path / DENSE, map_location='cpu', weights_only=True)['model']
    dense = {name: x for name, x in saved.items() if not name.endswith('.placeholder')}
    dtype = getattr(torch, contents['model']['dtype'])
    entries = {
        name: Entry(DTYPES[dtype], size, map(_as_bytes, _blocks(name, parts[name])))
        for name, size in tables.items()
    } | {name: Entry(DTYPES[x.dtype], x.shape, [_as_bytes(x)]) for name, x in dense.items()}
    make_folder(output)
    digest = hashlib.sha256()
    with open_atomically(output / WEIGHTS) as file:
        for piece in safetensors_pieces(entries):
            digest.update(piece)
            file.write(piece)
    known = recommenders().get(contents['model']['model'])
    paper = '' if known is None else known.paper
    write_config(output, contents['model'], digest.hexdigest(), paper, metrics)


def _find_parts(path: Path, num_rows: Mapping[str, int]) -> dict[str, list[_Part]]:
    """Return where the rows of each table are, in order."""
    found: Any = HuggingFaceStorageReader(str(path)).read_metadata().storage_data
    out: dict[str, list[_Part]] = {name: [] for name in num_rows}
    for index, info in found.items():
        if index.fqn in out:
            out[index.fqn].append(_Part(index.offset[0], info.shape[0], info.relative_path))
    for name, parts in out.items():
        parts.sort()
        ends = [0, *(part.start + part.num_rows for part in parts)]
        if [*(part.start for part in parts), num_rows[name]] != ends:
            raise damaged(path, f'its parts of {name} are not {num_rows[name]} rows', ADVICE)
    return out


def _blocks(name: str, parts: list[_Part]) -> Iterator[Tensor]:
    for part in parts:
        with safe_open(part.file, 'pt') as file:
            rows = file.get_slice(name)
            for first in range(0, part.num_rows, BLOCK):
                yield rows[first : first + BLOCK]


def _as_bytes(x: Tensor) -> bytes:
    return x.contiguous().flatten().view(torch.uint8).numpy().tobytes()
