"""Results that are kept: a loose file each while programs run, packed into one per data set later.

A name such as ``shop/warm/MF/plain/seed0.json`` begins with its data set. Loose, it is that file
below a folder; packed, it is a line of ``shop.jsonl.xz`` there. A loose file counts before a line
of the same name, so results can be made while others are packed, and a program that is killed
leaves all that it had finished.
"""

import functools
import json
import lzma
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyg_mmgef.files import write_atomically

__all__ = ['name_of', 'pack', 'read', 'read_all', 'restore', 'save', 'unpack']

PACKED = '.jsonl.xz'
KINDS = ('.json', '.log')  # The content of a log is its text.


def name_of(*parts: str) -> str:
    """Return a name of parts, with no character that a file's name can't have."""
    return '/'.join(re.sub(r'[^\w.-]+', '_', part) for part in parts)


def save(root: Path, name: str, content: Any) -> None:
    """Write a loose file as a whole or not at all."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    text = content if path.suffix == '.log' else json.dumps(content)
    write_atomically(path, text.encode())


def read(root: Path, name: str) -> Any:
    """Return what is kept under a name, or None."""
    path = root / name
    if path.exists():
        return _content(path)
    return _packed(root, name.partition('/')[0]).get(name)


def read_all(root: Path) -> Iterator[tuple[str, Any]]:
    """Yield all names and what is kept under them, in the order of their parts."""
    loose = _loose(root)
    data_sets = {name.partition('/')[0] for name in loose}
    data_sets |= {path.name.removesuffix(PACKED) for path in root.glob(f'*{PACKED}')}
    for data in sorted(data_sets):
        found = _packed(root, data) | {
            name: _content(path) for name, path in loose.items() if name.startswith(f'{data}/')
        }
        yield from ((name, found[name]) for name in sorted(found, key=_parts))


def restore(root: Path, name: str) -> Path:
    """Return the loose file of a name for a library to go on with; it is written if it is packed.

    Where nothing is kept under the name, only its folder is made.
    """
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    content = read(root, name)
    if content is not None and not path.exists():
        save(root, name, content)
    return path


def pack(root: Path) -> list[Path]:
    """Move all loose files into the packed ones, and return those; the same content, same bytes.

    A loose file is deleted only after the packed one is on the disk, and not if it has changed
    meanwhile.
    """
    loose = {name: path.read_bytes() for name, path in _loose(root).items()}
    out = []
    for data in sorted({name.partition('/')[0] for name in loose}):
        own = {name: text for name, text in loose.items() if name.startswith(f'{data}/')}
        found = _packed(root, data) | {name: _parsed(name, text) for name, text in own.items()}
        lines = [
            json.dumps({'name': name, 'content': found[name]}, separators=(',', ':')) + '\n'
            for name in sorted(found, key=_parts)
        ]
        path = root / f'{data}{PACKED}'
        write_atomically(path, lzma.compress(''.join(lines).encode()))
        for name, text in own.items():
            if (root / name).read_bytes() == text:
                (root / name).unlink()
        _remove_empty_folders(root / data)
        out.append(path)
    return out


def unpack(root: Path) -> None:
    """Write a loose file for every packed result, to change or delete some, and delete the packed.

    Loose files that are there already stay as they are.
    """
    for packed in sorted(root.glob(f'*{PACKED}')):
        for name in _packed(root, packed.name.removesuffix(PACKED)):
            restore(root, name)
        packed.unlink()


def _packed(root: Path, data: str) -> dict[str, Any]:
    path = root / f'{data}{PACKED}'
    if not path.exists():
        return {}
    return _records(path, path.stat().st_mtime_ns).copy()


@functools.lru_cache(maxsize=8)
def _records(path: Path, changed: int) -> dict[str, Any]:
    """Return all names and contents of a packed file, as it was at a time."""
    with lzma.open(path, 'rt', encoding='utf-8') as file:
        records = [json.loads(line) for line in file]
    return {record['name']: record['content'] for record in records}


def _loose(root: Path) -> dict[str, Path]:
    """Return the loose files by name."""
    paths = [path for path in root.glob('*/**/*') if path.suffix in KINDS]
    return {path.relative_to(root).as_posix(): path for path in paths}


def _content(path: Path) -> Any:
    return _parsed(path.name, path.read_bytes())


def _parsed(name: str, text: bytes) -> Any:
    return text.decode() if name.endswith('.log') else json.loads(text)


def _parts(name: str) -> list[str]:
    return name.split('/')


def _remove_empty_folders(folder: Path) -> None:
    for path in sorted(folder.glob('**/'), reverse=True):
        if not any(path.iterdir()):
            path.rmdir()
