import random
from pathlib import Path

import numpy as np
import pytest

from pyg_mmgef.files import load_arrays
from tests.flips import flipped

ROWS = np.arange(12.0).reshape(3, 4)


def test_arrays_and_archives(tmp_path: Path) -> None:
    np.save(tmp_path / 'a.npy', ROWS)
    np.savez(tmp_path / 'a.npz', rows=ROWS, one=1)
    rows = load_arrays(tmp_path / 'a.npy')
    assert isinstance(rows, np.ndarray)
    assert np.array_equal(rows, ROWS)
    mapped = load_arrays(tmp_path / 'a.npy', 'c')
    assert isinstance(mapped, np.memmap)
    archive = load_arrays(tmp_path / 'a.npz')
    assert isinstance(archive, dict)
    assert list(archive) == ['rows', 'one']
    assert np.array_equal(archive['rows'], ROWS)
    with pytest.raises(FileNotFoundError):
        load_arrays(tmp_path / 'none.npy')


@pytest.mark.parametrize('name', ['plain.npy', 'stored.npz', 'packed.npz'])
def test_damage_is_a_value_error_if_anything(tmp_path: Path, name: str) -> None:
    path, rng, errors = tmp_path / name, random.Random(0), 0
    save = {'plain.npy': np.save, 'stored.npz': np.savez, 'packed.npz': np.savez_compressed}[name]
    save(path, ROWS)
    size = 8 * path.stat().st_size
    # The start and, of an archive, the list of its files at the end are read by parsers.
    for bit in [*range(80 * 8), *range(size - 100 * 8, size), *rng.sample(range(size), 200)]:
        with flipped(path, bit):
            try:
                load_arrays(path)
            except ValueError:
                errors += 1
    assert errors > 300
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ValueError, match=r'\S'):
        load_arrays(path)
