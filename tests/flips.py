"""Single bits that change in files on disk."""

import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def flipped(path: Path, bit: int) -> Iterator[None]:
    """Change one bit of a file; other hard links to it keep their content."""
    content = path.read_bytes()
    damaged = bytearray(content)
    damaged[bit // 8] ^= 1 << bit % 8
    path.unlink()
    path.write_bytes(damaged)
    try:
        yield
    finally:
        path.unlink()
        path.write_bytes(content)


def outcomes(
    paths: Iterable[Path], read: Callable[[], Any], count: int, seed: int = 0
) -> dict[str, int]:
    """Flip bits of each file, one at a time, and count what reading does about it.

    Args:
        paths: The files.
        read: Reads all of them; results are compared with ``==``.
        count: Number of bits to flip in each file.
        seed: Which bits.

    Returns:
        How many flips were errors of one line that name the file (``'detected'``) and how many left
        the result as it was (``'equal'``).
    """
    expected, rng = read(), random.Random(seed)
    found = {'detected': 0, 'equal': 0}
    for path in paths:
        for _ in range(count):
            bit = rng.randrange(8 * path.stat().st_size)
            with flipped(path, bit):
                found[_outcome(path, bit, read, expected)] += 1
    return found


def _outcome(path: Path, bit: int, read: Callable[[], Any], expected: Any) -> str:
    try:
        result = read()
    except ValueError as error:
        message = str(error)
    else:
        assert result == expected, f'bit {bit} of {path.name} changes what is read'
        return 'equal'
    assert path.name in message
    assert '\n' not in message
    return 'detected'
