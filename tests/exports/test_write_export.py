"""An export of vectors of one's own, which a server loads."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from pyg_mmgef.catalog import Catalog, LinearFoldIn
from pyg_mmgef.exports import write_export
from pyg_mmgef.serving.export_folder import load_export

USERS, ITEMS, CHANNELS = 5, 4, 3


def parts(**changed: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        'z_user': rng.normal(size=(USERS, CHANNELS)).astype(np.float32),
        'z_item': rng.normal(size=(ITEMS, CHANNELS)).astype(np.float32),
        'user_ids': [f'u{row}' for row in range(USERS)],
        'catalog': Catalog(range(10, 10 + ITEMS), titles=['Lamp', 'Rug', 'Chair', 'Desk']),
        'seen': (np.array([0, 2, 2, 3, 3, 4]), np.array([0, 3, 1, 2], np.int32)),
        'popularity': np.array([1, 1, 1, 1], np.float32),
        'model': 'MyModel',
        **changed,
    }


def test_a_server_loads_vectors_of_any_model(tmp_path: Path) -> None:
    given = parts(fold_in=LinearFoldIn(np.eye(ITEMS, CHANNELS)))
    assert write_export(tmp_path / 'export', **given) == tmp_path / 'export'
    export = load_export(tmp_path / 'export')
    assert np.array_equal(export.user_vectors, given['z_user'])
    assert np.array_equal(export.item_vectors, given['z_item'])
    assert export.seen(0).tolist() == [0, 3]
    assert export.seen(1).tolist() == []
    assert export.catalog.titles == given['catalog'].titles
    assert export.meta['model'] == 'MyModel'
    assert export.fold_in is not None
    assert export.fold_in.embed([[1]]).tolist() == [[0, 1, 0]]
    (path,) = tmp_path.glob('export/versions/*/vectors.safetensors')
    assert np.array_equal(load_file(path)['user_vectors'], given['z_user'])


def test_memory_mapped_vectors(tmp_path: Path) -> None:
    given = parts()
    np.save(tmp_path / 'users.npy', given['z_user'])
    mapped = np.load(tmp_path / 'users.npy', mmap_mode='r')
    write_export(tmp_path / 'export', **{**given, 'z_user': mapped})
    assert np.array_equal(load_export(tmp_path / 'export').user_vectors, given['z_user'])


@pytest.mark.parametrize(
    ('changed', 'message'),
    [
        ({'user_ids': ['a']}, 'user_ids must have 5 entries .got 1'),
        ({'popularity': np.ones(3, np.float32)}, 'popularity must have 4 entries .got 3'),
        ({'catalog': Catalog(['a'])}, 'catalog must have 4 entries .got 1'),
        ({'z_item': np.zeros((4, 2), np.float32)}, 'matrices of one width'),
        (
            {'seen': (np.array([0, 1]), np.array([0], np.int32))},
            'first .* must have 6',
        ),
        (
            {'seen': (np.zeros(6, int), np.array([0], np.int32))},
            'second .* must have 0',
        ),
        ({'seen': (np.array([0, 2, 1, 1, 1, 1]), np.array([0], np.int32))}, 'must not decrease'),
        ({'seen': (np.array([0, 1, 1, 1, 1, 1]), np.array([4], np.int32))}, 'item 4'),
        ({'programs': ['pt2']}, "MyModel can't with these data"),
    ],
)
def test_what_does_not_fit(changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        write_export(tmp_path / 'export', **parts(**changed))
    assert not (tmp_path / 'export' / 'export.json').exists()
