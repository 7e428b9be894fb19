"""Files of safetensors written piece by piece; the library itself only writes them as a whole."""

import json
import math
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

__all__ = ['Entry', 'safetensors_pieces']

BYTES = {'F64': 8, 'F32': 4, 'F16': 2, 'BF16': 2, 'I64': 8, 'I32': 4, 'BOOL': 1}
"""The types, as safetensors calls them, and the bytes of a number."""


class Entry(NamedTuple):
    """A tensor of the file."""

    dtype: str
    """Its type, one of :data:`BYTES`."""
    shape: Sequence[int]
    """Its shape."""
    pieces: Iterable[bytes]
    """Its numbers in order, in as many pieces as may be; read once, when their turn comes."""


def safetensors_pieces(entries: Mapping[str, Entry]) -> Iterator[bytes]:
    """Yield a file of tensors piece by piece, so that it needs memory for a piece alone.

    Args:
        entries: The tensors by name.

    Example:
        >>> import safetensors.numpy
        >>> entry = Entry('I32', [2], [bytes(4), bytes([1, 0, 0, 0])])
        >>> safetensors.numpy.load(b''.join(safetensors_pieces({'x': entry})))
        {'x': array([0, 1], dtype=int32)}
    """
    header: dict[str, Any] = {'__metadata__': {'format': 'pt'}}
    end = 0
    for name, (dtype, shape, _) in entries.items():
        start, end = end, end + BYTES[dtype] * math.prod(shape)
        header[name] = {'dtype': dtype, 'shape': list(shape), 'data_offsets': [start, end]}
    text = json.dumps(header).encode()
    text += b' ' * (-len(text) % 8)
    yield struct.pack('<Q', len(text)) + text
    for entry in entries.values():
        yield from entry.pieces
