import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pyg_mmgef.files import sha256_of, write_atomically
from pyg_mmgef.serving import load_export
from tests.serving.exports import make_export

READ = (
    *('user_vectors.npy', 'item_vectors.npy', 'seen_indptr.npy', 'seen_indices.npy'),
    *('popularity.npy', 'users.parquet', 'items.parquet', 'fold_in_vectors.npy'),
    *('content_weight.npy', 'content_mean_text.npy'),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_export(tmp_path / 'export', content=True)


def describe(folder: Path, **changes: Any) -> None:
    """Change export.json, with the checksums of the files as they are now."""
    meta = json.loads((folder / 'export.json').read_bytes())
    meta['files'] = {name: sha256_of(folder / name) for name in meta['files']}
    write_atomically(folder / 'export.json', json.dumps({**meta, **changes}).encode())


def test_what_is_read(folder: Path) -> None:
    export = load_export(folder)
    assert (export.num_users, export.num_items, export.channels) == (50, 80, 8)
    assert len(export.version) == 12
    assert export.user_ids.row_of('u7') == 7
    assert export.catalog.ids[3] == 'I3'
    assert export.seen(2).size == 6
    assert export.fold_in is not None
    assert export.content is not None
    assert list(export.content.in_channels) == ['image', 'text']


def test_vectors_are_mapped_not_copied(folder: Path) -> None:
    export = load_export(folder)
    for array in (export.user_vectors, export.item_vectors, export.seen_indices):
        assert isinstance(array, np.memmap)
        assert not array.flags.writeable


def test_files_in_a_folder_of_their_own(folder: Path, tmp_path: Path) -> None:
    outer = tmp_path / 'outer'
    shutil.copytree(folder, outer / 'versions' / 'a')
    meta = json.loads((folder / 'export.json').read_bytes())
    outer.joinpath('export.json').write_text(json.dumps({**meta, 'folder': 'versions/a'}))
    assert load_export(outer).num_users == 50
    for folder_of_files in ('../export', '/etc', 7):
        outer.joinpath('export.json').write_text(json.dumps({**meta, 'folder': folder_of_files}))
        with pytest.raises(ValueError, match='folder or files are wrong'):
            load_export(outer)


@pytest.mark.parametrize('name', READ)
def test_a_flipped_bit_is_found(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 4
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=f'{name}.*its checksum is wrong.*export the run again'):
        load_export(folder)


@pytest.mark.parametrize('name', READ)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ValueError, match=f'{name}.*it is missing'):
        load_export(folder)


@pytest.mark.parametrize(
    ('name', 'array', 'message'),
    [
        ('item_vectors.npy', np.zeros((80, 8)), 'float64'),
        ('item_vectors.npy', np.zeros((79, 8), np.float32), r'shape \(79, 8\)'),
        ('user_vectors.npy', np.full((50, 8), np.nan, np.float32), 'not finite'),
        ('popularity.npy', np.full(80, np.inf, np.float32), 'not finite'),
        ('seen_indices.npy', np.full(300, 80, np.int32), 'out of range'),
        ('seen_indices.npy', np.full(299, 0, np.int32), 'out of range'),
        ('seen_indptr.npy', np.arange(51)[::-1] * 6, 'out of range'),
        ('fold_in_vectors.npy', np.zeros((80, 7), np.float32), 'offset'),
    ],
)
def test_parts_that_do_not_fit(folder: Path, name: str, array: Any, message: str) -> None:
    np.save(folder / name, array)
    describe(folder)
    with pytest.raises(ValueError, match=message):
        load_export(folder)


def test_other_folders_and_formats(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r'has no export\.json'):
        load_export(tmp_path)
    describe(folder, format=2)
    with pytest.raises(ValueError, match='has the format 2, and this version reads 1'):
        load_export(folder)
    for content in (b'{', b'[]', b'{}', b'\xff', b'{"format": 1, "num_users": -1}'):
        (folder / 'export.json').write_bytes(content)
        with pytest.raises(ValueError, match='is damaged'):
            load_export(folder)


def test_a_user_without_items(folder: Path) -> None:
    np.save(folder / 'seen_indptr.npy', np.zeros(51, np.int64))
    np.save(folder / 'seen_indices.npy', np.zeros(0, np.int32))
    describe(folder)
    assert load_export(folder).seen(3).size == 0
