"""Text files: unpacked, and copied to UTF-8 where DuckDB needs that."""

import codecs
import gzip
import io
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pyg_mmgef._spelling import spelt

__all__ = ['PACKED', 'decoded_copies', 'first_text', 'in_utf8', 'is_utf8', 'unpacked']

PACKED = ('.gz', '.zst')
"""The suffixes of compressed files."""

_CHUNK = 2**22
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def unpacked(path: Path) -> BinaryIO:
    """Open a file for reading, unpacking it if its name ends in one of :data:`PACKED`."""
    suffix = path.suffix.lower()
    if suffix == '.gz':
        return gzip.open(path, 'rb')  # type: ignore[return-value]
    if suffix == '.zst':
        import pyarrow

        return pyarrow.input_stream(str(path), compression='zstd')
    return open(path, 'rb')


def is_utf8(encoding: str) -> bool:
    """Whether an encoding is UTF-8, which DuckDB reads itself.

    Raises:
        ValueError: If Python knows no such encoding.
    """
    try:
        'a'.encode(encoding)  # 'hex' is a codec of Python, but none of texts.
        return codecs.lookup(encoding).name in ('utf-8', 'utf-8-sig', 'ascii')
    except LookupError as error:
        raise ValueError(
            f"{spelt('encoding')} must be the name of an encoding, such as 'utf-8', 'latin-1' or "
            f"'cp1252' (got {encoding!r})"
        ) from error


def first_text(path: Path, encoding: str, size: int = 2**16) -> str:
    """Return the beginning of a file, up to a whole line.

    Args:
        path: The file.
        encoding: Its encoding.
        size: How many bytes to read. (default: ``65536``)

    Raises:
        ValueError: If it holds no text.
    """
    with unpacked(path) as file:
        content = file.read(size)
    if content.startswith(b'SQLite format 3\0'):
        raise ValueError(
            f'{path.name!r} is an SQLite database; read it with a query (on the command line: '
            '--database and --query; in Python: read_database)'
        )
    if content[:2] in _UTF16 and is_utf8(encoding):
        raise ValueError(f"{path.name!r} is encoded as UTF-16; set {spelt('encoding')} to 'utf-16'")
    if b'\0' in content and is_utf8(encoding) and _is_binary(content):
        raise ValueError(f'{path.name!r} is no text file; it begins {content[:16]!r}')
    text = codecs.getincrementaldecoder(encoding)('replace').decode(content)
    text = text.removeprefix('\ufeff')
    if len(content) == size and '\n' in text:
        text = text[: text.rindex('\n')]
    return text


@contextmanager
def decoded_copies(
    paths: Sequence[Path], encoding: str, *, line_ends: bool = False
) -> Iterator[list[Path]]:
    r"""Write copies in UTF-8 to a temporary folder, and remove them afterwards.

    Bytes that don't fit the encoding become U+FFFD.

    Args:
        paths: The files.
        encoding: Their encoding.
        line_ends: Whether ``\r\n`` and ``\r`` become ``\n``. (default: :obj:`False`)
    """
    newline = None if line_ends else ''
    with tempfile.TemporaryDirectory() as folder:
        copies = [Path(folder, f'{index}.txt') for index in range(len(paths))]
        for path, copy in zip(paths, copies, strict=True):
            with (
                io.TextIOWrapper(unpacked(path), encoding, 'replace', newline) as text,
                open(copy, 'w', encoding='utf-8', newline='') as file,
            ):
                while chunk := text.read(_CHUNK):
                    file.write(chunk)
        yield copies


@contextmanager
def in_utf8(paths: Sequence[Path], encoding: str) -> Iterator[Sequence[Path]]:
    """Give the files themselves if they are encoded in UTF-8, else copies.

    Args:
        paths: The files.
        encoding: Their encoding.
    """
    if is_utf8(encoding):
        yield paths
        return
    with decoded_copies(paths, encoding) as copies:
        yield copies


def _is_binary(content: bytes) -> bool:
    # A text may hold a null character, but not many.
    return content.count(b'\0') > max(8, len(content) // 16)
