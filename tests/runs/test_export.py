"""An export holds what the run has, in files that NumPy, pyarrow and FAISS read."""

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faiss
import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file
from torch import Tensor

from pyg_mmgef.catalog import Catalog, ContentWeights, FoldIn
from pyg_mmgef.datasets import IdMap
from pyg_mmgef.nn import EASE, IALS, MF, LightGCN, Popularity, Recommender
from pyg_mmgef.ranking import recommend
from pyg_mmgef.runs import export
from pyg_mmgef.schema import INTERACTS
from pyg_mmgef.serving.export_folder import load_export
from pyg_mmgef.transforms import SplitColdItems
from tests.transforms.shops import random_shop

USERS, ITEMS = 40, 30


def make_run(model: type[Recommender] = IALS, *, features: bool = True) -> Any:
    data = random_shop(num_users=USERS, num_items=ITEMS)
    if not features:
        del data['item'].x_text, data['item'].x_image, data['item'].has_image
    train, val, test = SplitColdItems(seed=0)(data)
    torch.manual_seed(0)
    built = model.from_data(train).eval()
    with torch.no_grad():
        z_user, z_item = built(train)

    def seen(*parts: str) -> Tensor:
        others = [{'val': val, 'test': test}[p][INTERACTS].edge_label_index for p in parts]
        return torch.cat([train[INTERACTS].edge_index, *others], dim=1)

    def if_any(made: Callable[..., Any], **options: bool) -> Any:
        with suppress(ValueError):
            return made(train, **options)
        return None

    return SimpleNamespace(
        model=built,
        fold_in_if_any=lambda: if_any(built.fold_in),
        content_weights=if_any(built.content_weights),
        history_weights=if_any(built.content_weights, history=True),
        train=train,
        z_user=z_user,
        z_item=z_item,
        user_ids=IdMap([f'user {u}' for u in range(USERS)]),
        item_ids=IdMap(list(range(100, 100 + ITEMS))),
        catalog=Catalog(
            range(100, 100 + ITEMS),
            titles=[f'Item {i}' for i in range(ITEMS)],
            fields={'price': np.arange(ITEMS) / 4},
        ),
        titles=[None] * ITEMS,
        all_interactions=seen('val', 'test'),
    )


def about(folder: Path) -> dict[str, Any]:
    out: dict[str, Any] = json.loads((folder / 'export.json').read_text())
    return out


def files_of(folder: Path) -> Path:
    return folder / about(folder)['folder']


@pytest.mark.parametrize('model', [IALS, LightGCN, Popularity])
def test_it_holds_what_the_run_has(tmp_path: Path, model: type[Recommender]) -> None:
    run = make_run(model)
    assert export(run, tmp_path / 'out') == tmp_path / 'out'
    found, files = about(tmp_path / 'out'), files_of(tmp_path / 'out')
    assert found['format'] == 1
    assert found['model'] == model.__name__
    assert [found[name] for name in ('num_users', 'num_items')] == [USERS, ITEMS]
    assert found['channels'] == run.z_item.size(1)
    assert set(found['files']) == {path.name for path in files.iterdir() if path.is_file()}
    for name, digest in found['files'].items():
        assert hashlib.sha256((files / name).read_bytes()).hexdigest() == digest

    vectors = load_file(files / 'vectors.safetensors')
    for name, z in (('user_vectors', run.z_user), ('item_vectors', run.z_item)):
        array = np.load(files / f'{name}.npy', mmap_mode='r')
        assert array.dtype == np.float32
        assert np.array_equal(array, z.numpy())
        assert np.array_equal(array, vectors[name])
    assert pq.read_table(files / 'users.parquet')['id'].to_pylist() == list(run.user_ids)
    assert Catalog.load(files / 'items.parquet') == run.catalog
    count = np.bincount(run.train[INTERACTS].edge_index[1], minlength=ITEMS)
    assert np.load(files / 'popularity.npy').tolist() == count.tolist()


def test_seen_has_each_item_of_a_user_once_in_order(tmp_path: Path) -> None:
    run = make_run()
    pairs = run.all_interactions
    run.all_interactions = torch.cat([pairs.flip(1), pairs[:, :5]], dim=1)
    files = files_of(export(run, tmp_path))
    indptr, indices = (np.load(files / f'seen_{part}.npy') for part in ('indptr', 'indices'))
    assert (indptr.dtype, indices.dtype) == (np.int64, np.int32)
    for user in range(USERS):
        own = indices[indptr[user] : indptr[user + 1]].tolist()
        assert own == sorted({int(i) for u, i in pairs.t().tolist() if u == user})


def test_faiss_finds_what_recommend_finds(tmp_path: Path) -> None:
    run = make_run()
    files = files_of(export(run, tmp_path))
    index = faiss.read_index(str(files / 'item_index.faiss'))
    scores, items = index.search(run.z_user.numpy(), 5)
    expected = recommend(run.z_user, run.z_item, k=5)
    assert np.allclose(scores, expected.scores.numpy(), atol=1e-5)
    assert about(tmp_path)['index'] == {
        'kind': 'flat',
        'metric': 'inner product',
        'recall': None,
        'k': ITEMS,
        'sample': 0,
    }
    assert items.shape == (USERS, 5)


def test_an_approximate_index_says_its_recall(tmp_path: Path) -> None:
    run = make_run()
    found = about(export(run, tmp_path, index='approximate', recall=0.9))['index']
    assert found['kind'] in ('hnsw', 'ivf')
    assert found['recall'] >= 0.9
    assert found['sample'] > 0


@pytest.mark.parametrize('model', [IALS, LightGCN, MF])
def test_numpy_embeds_users_and_items_as_the_model_does(
    tmp_path: Path, model: type[Recommender]
) -> None:
    run = make_run(model)
    files, found = files_of(export(run, tmp_path)), about(tmp_path)

    def arrays(start: str) -> dict[str, Any]:
        paths = {path.stem.removeprefix(f'{start}_'): path for path in files.glob(f'{start}_*.npy')}
        means = [f'mean_{name}' for name in found['content']['modalities']]
        return {
            name: np.load(paths[name]) for name in dict.fromkeys([*means, *paths]) if name in paths
        }

    history = [3, 7, 11]
    fold_in = FoldIn.from_arrays(arrays('fold_in'), found['fold_in'])
    expected = run.model.embed_users(run.train, [history])
    assert np.allclose(fold_in.embed([history]), expected.numpy(), atol=1e-5)
    generator = torch.Generator().manual_seed(2)
    x = {name: torch.randn(4, 6, generator=generator) for name in ('image', 'text')}
    new = ContentWeights.from_arrays(arrays('content')).embed(x)
    expected = run.model.embed_items(run.train, x)
    assert np.allclose(new, expected.numpy(), atol=1e-4)
    channels = {'image': 6, 'text': 6}
    assert found['content'] == {'modalities': ['image', 'text'], 'channels': channels}
    given = ContentWeights.from_arrays(arrays('history')).embed(x)
    assert fold_in.with_items(given).num_items == ITEMS + 4


@pytest.mark.parametrize('model', [IALS, MF])
def test_the_server_reads_it(tmp_path: Path, model: type[Recommender]) -> None:
    run = make_run(model)
    found = load_export(export(run, tmp_path))
    assert found.catalog == run.catalog
    assert np.array_equal(found.item_vectors, run.z_item.numpy())
    own = {item for user, item in run.all_interactions.t().tolist() if user == 35}
    assert set(found.seen(35).tolist()) == own
    assert found.fold_in is not None
    expected = run.model.embed_users(run.train, [[1, 2]]).numpy()
    assert np.allclose(found.fold_in.embed([[1, 2]]), expected, atol=1e-5)
    assert found.content is not None
    assert found.content.in_channels == {'image': 6, 'text': 6}


def test_without_features_there_is_no_content(tmp_path: Path) -> None:
    found = about(export(make_run(features=False), tmp_path))
    assert found['content'] is None
    assert found['history'] is None
    assert not [name for name in found['files'] if name.startswith(('content', 'history'))]


def test_programs_embed_items_as_the_model_does(tmp_path: Path) -> None:
    run = make_run()
    files = files_of(export(run, tmp_path, programs=['pt2', 'onnx']))
    x = {name: torch.randn(7, 6, generator=torch.manual_seed(0)) for name in ('image', 'text')}
    expected = run.model.embed_items(run.train, x)
    found = torch.export.load(files / 'content.pt2').module()(x)
    assert torch.allclose(found, expected, atol=1e-4)
    session = onnxruntime.InferenceSession(files / 'content.onnx')
    (found,) = session.run(['vectors'], {name: row.numpy() for name, row in x.items()})
    assert np.allclose(found, expected.numpy(), atol=1e-4)


def test_pictures_become_thumbnails(tmp_path: Path) -> None:
    run = make_run()
    Image.new('RGB', (600, 400), 'red').save(tmp_path / 'red.png')
    (tmp_path / 'broken.jpg').write_bytes(b'no picture')
    run.catalog.pictures[2] = str(tmp_path / 'red.png')
    run.catalog.pictures[3] = str(tmp_path / 'broken.jpg')
    files = files_of(export(run, tmp_path / 'out'))
    assert [path.name for path in (files / 'pictures').iterdir()] == ['2.jpg']
    with Image.open(files / 'pictures' / '2.jpg') as image:
        assert image.size == (336, 224)
    assert about(tmp_path / 'out')['pictures']['count'] == 1
    without = export(run, tmp_path / 'without', pictures=False)
    assert about(without)['pictures'] is None
    assert not (files_of(without) / 'pictures').exists()


def test_a_second_export_keeps_the_version_before(tmp_path: Path) -> None:
    run = make_run()
    first = files_of(export(run, tmp_path))
    mapped = np.load(first / 'item_vectors.npy', mmap_mode='r')
    before = mapped.copy()
    assert files_of(export(run, tmp_path)) == first  # the same content has the same name
    versions = [first]
    for factor in (2, 3):
        run.z_item = run.z_item * factor
        versions.append(files_of(export(run, tmp_path)))
    assert len(set(versions)) == 3
    kept = {path for path in (tmp_path / 'versions').iterdir() if path.is_dir()}
    assert kept == set(versions[1:])
    assert np.array_equal(mapped, before)  # a reader keeps what it has mapped


def test_an_export_that_fails_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    export(run, tmp_path)
    before = (tmp_path / 'export.json').read_bytes()
    run.z_item = run.z_item * 2

    def fail(path: Path) -> None:
        raise OSError('the disk is full')

    monkeypatch.setattr(run.catalog, 'save', fail)
    with pytest.raises(OSError, match='disk is full'):
        export(run, tmp_path)
    assert (tmp_path / 'export.json').read_bytes() == before
    assert files_of(tmp_path).is_dir()
    assert not (tmp_path / 'versions' / '.new').exists()


def test_mistakes_are_named(tmp_path: Path) -> None:
    run = make_run()
    with pytest.raises(ValueError, match=r"'index' must be one of 'flat', 'approximate'"):
        export(run, tmp_path, index='hnsw')
    with pytest.raises(ValueError, match=r"'recall' must lie in \(0, 1\]"):
        export(run, tmp_path, recall=0)
    with pytest.raises(ValueError, match=r"'programs' must be among \['pt2', 'onnx'\]"):
        export(run, tmp_path, programs=['tflite'])
    with pytest.raises(ValueError, match="which IALS can't with these data"):
        export(make_run(features=False), tmp_path, programs=['pt2'])
    with pytest.raises(ValueError, match='EASE has a channel for each item'):
        export(make_run(EASE, features=False), tmp_path)
    folder = tmp_path / 'run'
    folder.mkdir()
    (folder / 'config.json').write_text('{}')
    with pytest.raises(ValueError, match=r"which is no export, as it holds 'config.json'"):
        export(run, folder)


def test_the_examples_of_the_readme_run(tmp_path: Path) -> None:
    run = make_run()
    export(run, tmp_path)
    blocks = re.findall(r'```python\n(.*?)```', (tmp_path / 'README.md').read_text(), re.DOTALL)
    assert len(blocks) == 4
    code = '\n'.join(blocks).replace('user, k = 0, 10', 'user, k = 35, 10')
    done = subprocess.run(
        [sys.executable, '-c', code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    titles, by_faiss, by_usearch, by_qdrant = map(eval, done.stdout.splitlines())
    best = recommend(run.z_user, run.z_item, torch.tensor([35]), exclude=run.all_interactions)
    expected = best.items[0].tolist()
    assert by_faiss == by_usearch == expected
    assert titles == by_qdrant == [f'Item {row}' for row in expected]
