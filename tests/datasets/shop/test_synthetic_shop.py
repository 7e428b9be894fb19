import csv
import os
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.transforms import Compose

from pyg_mmgef.datasets import SyntheticShop
from pyg_mmgef.datasets.shop._catalogue import ATTRIBUTES
from pyg_mmgef.datasets.shop._drawing import COLOURS, PATTERNS, SHAPES, draw_product
from pyg_mmgef.encoders import PixelEncoder, TitleEncoder
from pyg_mmgef.transforms import AddCoInteractionGraph
from tests.flips import outcomes

SMALL: dict[str, Any] = {'num_users': 50, 'num_items': 40}


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('shop')
    SyntheticShop(root, **SMALL)
    return root


@pytest.fixture(scope='module')
def shop(root: Path) -> SyntheticShop:
    return SyntheticShop(root, **SMALL)


def _tensors(data: HeteroData) -> dict[str, Tensor]:
    return {
        f'{store._key} {name}': value
        for store in data.stores
        for name, value in store.items()
        if isinstance(value, Tensor)
    }


def _same(left: HeteroData, right: HeteroData) -> bool:
    a, b = _tensors(left), _tensors(right)
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def _pictures(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (root / 'raw' / 'images').iterdir()}


def _numpy_state() -> np.ndarray:
    return np.random.get_state(legacy=False)['state']['key'].copy()  # noqa: NPY002


def test_schema(shop: SyntheticShop) -> None:
    assert len(shop) == 1
    data = shop[0]
    assert isinstance(data, HeteroData)
    assert data.validate()
    assert data['user'].num_nodes == 50
    assert data['item'].num_nodes == 40
    for modality, channels in (('image', PixelEncoder().channels), ('text', 128)):
        x, has = data['item'][f'x_{modality}'], data['item'][f'has_{modality}']
        assert x.shape == (40, channels)
        assert x.dtype == torch.float32
        assert has.dtype == torch.bool
        assert int((~has).sum()) == 2  # 5%
        assert (x[~has] == 0).all()
        assert (x[has] != 0).any(dim=1).all()
    interacts = data['user', 'interacts', 'item']
    assert interacts.edge_index.dtype == torch.int64
    assert interacts.time.dtype == torch.int64
    assert interacts.time.shape == (interacts.edge_index.size(1),)
    assert repr(shop) == 'SyntheticShop(num_users=50, num_items=40, seed=0)'


def test_interactions_are_distinct_and_spare_new_arrivals(shop: SyntheticShop) -> None:
    edge_index = shop[0]['user', 'interacts', 'item'].edge_index
    assert edge_index.unique(dim=1).size(1) == edge_index.size(1)
    per_user = edge_index[0].bincount(minlength=50)
    assert int(per_user.min()) >= 5
    assert int(per_user.max()) <= 20  # half of the shop
    assert int((edge_index[1].bincount(minlength=40) == 0).sum()) >= 2  # 4% new arrivals


def test_titles_and_pictures_are_what_was_encoded(shop: SyntheticShop) -> None:
    data = shop[0]
    assert [title is not None for title in shop.titles] == data['item'].has_text.tolist()
    assert [path is not None for path in shop.image_paths] == data['item'].has_image.tolist()
    for item, path in enumerate(shop.image_paths):
        if path is not None:
            assert path.name == f'{item:05d}.png'
            assert Image.open(path).size == (64, 64)
    x, _ = TitleEncoder().encode_texts(shop.titles)
    assert torch.equal(x, data['item'].x_text)


def test_titles_tell_the_category(shop: SyntheticShop, root: Path) -> None:
    from pyg_mmgef.datasets.shop._catalogue import _WORDS

    with open(root / 'raw' / 'attributes.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    named = dict.fromkeys(ATTRIBUTES, 0)
    for row, title in zip(rows, shop.titles, strict=True):
        for name in ATTRIBUTES if title else ():
            named[name] += any(w in title.lower() for w in _WORDS[name][row[name]])  # type: ignore[union-attr]
    assert named['category'] == 38  # all that have a title
    for name in ('shape', 'colour', 'pattern'):
        assert 0 < named[name] < 30


def test_true_utility(shop: SyntheticShop, root: Path) -> None:
    data, utility = shop[0], shop.true_utility()
    assert utility.shape == (50, 40)
    assert torch.equal(data['item'].attributes.sum(dim=1), torch.full((40,), 6.0))
    columns = [f'{name} {value}' for name, values in ATTRIBUTES.items() for value in values]
    with open(root / 'raw' / 'attributes.csv', newline='') as file:
        row = list(csv.DictReader(file))[7]
    liked = [columns.index(f'{name} {row[name]}') for name in ATTRIBUTES]
    expected = data['user'].taste[3, liked].sum() + data['item'].popularity[7]
    assert torch.allclose(utility[3, 7], expected, atol=1e-5)


def test_tastes_explain_the_interactions(shop: SyntheticShop) -> None:
    user, item = shop[0]['user', 'interacts', 'item'].edge_index
    utility = shop.true_utility()
    assert utility[user, item].mean() > utility.mean() + 0.5


def test_reload_gives_the_same_without_drawing(
    shop: SyntheticShop, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SyntheticShop, 'download', lambda self: pytest.fail('drawn'))
    monkeypatch.setattr(SyntheticShop, 'process', lambda self: pytest.fail('encoded'))
    again = SyntheticShop(root, **SMALL)
    assert _same(shop[0], again[0])
    assert again.titles == shop.titles


def test_same_seed_same_bytes(shop: SyntheticShop, root: Path, tmp_path: Path) -> None:
    state, numpy_state = torch.random.get_rng_state(), _numpy_state()
    again = SyntheticShop(tmp_path / 'a', **SMALL)
    assert torch.equal(state, torch.random.get_rng_state())
    assert np.array_equal(numpy_state, _numpy_state())
    assert _same(shop[0], again[0])
    assert _pictures(root) == _pictures(tmp_path / 'a')
    other = SyntheticShop(tmp_path / 'b', **SMALL, seed=1)
    for name, tensor in _tensors(shop[0]).items():
        assert not torch.equal(tensor, _tensors(other[0])[name]), name


def test_more_users_leave_the_catalogue_alone(
    shop: SyntheticShop, root: Path, tmp_path: Path
) -> None:
    larger = SyntheticShop(tmp_path, num_users=60, num_items=40)
    assert larger.titles == shop.titles
    assert _pictures(root) == _pictures(tmp_path)
    assert larger[0]['user'].num_nodes == 60


def test_other_arguments_need_another_root(root: Path) -> None:
    with pytest.raises(ValueError, match=r'a shop with other arguments \(num_users=50 not 51\)'):
        SyntheticShop(root, num_users=51, num_items=40)


def test_force_reload_draws_anew(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / 'copy')
    smaller = SyntheticShop(tmp_path / 'copy', num_users=20, num_items=12, force_reload=True)
    assert smaller[0]['item'].num_nodes == 12
    assert len(_pictures(tmp_path / 'copy')) == sum(p is not None for p in smaller.image_paths)
    SyntheticShop(tmp_path / 'copy', num_users=20, num_items=12)


def test_an_interrupted_drawing_starts_again(
    shop: SyntheticShop, root: Path, tmp_path: Path
) -> None:
    shutil.copytree(root / 'raw', tmp_path / 'raw')
    (tmp_path / 'raw' / 'manifest.json').unlink()  # it is written last
    (tmp_path / 'raw' / 'items.csv').write_text('half of')
    assert _same(SyntheticShop(tmp_path, **SMALL)[0], shop[0])


def test_another_encoder_encodes_again_without_drawing(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Length:
        fingerprint = 'Length/1'

        def encode_texts(self, texts: Sequence[str | None]) -> tuple[Tensor, Tensor]:
            lengths = torch.tensor([[float(len(text or ''))] for text in texts])
            return lengths, lengths.view(-1) > 0

    monkeypatch.setattr(SyntheticShop, 'download', lambda self: pytest.fail('drawn'))
    shop = SyntheticShop(root, **SMALL, text_encoder=Length())
    assert shop[0]['item'].x_text.view(-1).tolist() == [len(t or '') for t in shop.titles]
    small = SyntheticShop(root, **SMALL, image_encoder=PixelEncoder(16, thumbnail_size=2))
    assert small[0]['item'].x_image.size(1) == PixelEncoder(16, thumbnail_size=2).channels
    assert len(list((root / 'processed').iterdir())) >= 3
    assert not list(root.rglob('*.tmp'))


def test_transform_and_copies(root: Path) -> None:
    def mark(data: HeteroData) -> HeteroData:
        data['item'].mark = torch.ones(data['item'].num_nodes)
        return data

    marked = SyntheticShop(root, **SMALL, transform=mark)
    assert 'mark' in marked[0]['item']
    assert 'mark' not in marked.get(0)['item']


def test_pre_transform_is_applied_once_and_never_stale(root: Path) -> None:
    calls = []

    def count(data: HeteroData) -> HeteroData:
        calls.append(data)
        return data

    pre_transform = Compose([AddCoInteractionGraph(k=3), count])
    for _ in range(2):
        data = SyntheticShop(root, **SMALL, pre_transform=pre_transform)[0]
        degree = torch.bincount(data['item', 'co_interacts', 'item'].edge_index[1])
        assert int(degree.max()) == 3
    assert len(calls) == 1
    other = SyntheticShop(root, **SMALL, pre_transform=AddCoInteractionGraph(k=4))[0]
    assert int(torch.bincount(other['item', 'co_interacts', 'item'].edge_index[1]).max()) == 4
    assert ('item', 'co_interacts', 'item') not in SyntheticShop(root, **SMALL)[0].edge_types
    SyntheticShop(root, **SMALL, pre_transform=pre_transform, force_reload=True)
    assert len(calls) == 2


def test_pre_filter(root: Path) -> None:
    seen: list[HeteroData] = []

    def keep(data: HeteroData) -> bool:
        seen.append(data)
        return True

    def refuse(data: HeteroData) -> bool:
        return False

    # Both exist at once: PyG tells filters apart by their addresses.
    SyntheticShop(root, **SMALL, pre_filter=keep)
    assert seen[0]['item'].num_nodes == SMALL['num_items']
    with pytest.raises(ValueError, match="'pre_filter' refuses"):
        SyntheticShop(root, **SMALL, pre_filter=refuse)


def test_pictures_are_not_synced_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    monkeypatch.setattr(os, 'fsync', lambda file: synced.append(file))
    SyntheticShop(tmp_path, num_users=5, num_items=30)
    assert 0 < len(synced) < 20


def test_shares(tmp_path: Path) -> None:
    shop = SyntheticShop(
        tmp_path,
        num_users=5,
        num_items=10,
        missing_image_share=1.0,
        missing_title_share=0.0,
        new_item_share=0.5,
    )
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        data = shop[0]
    assert not data['item'].has_image.any()
    assert data['item'].has_text.all()
    assert data['user', 'interacts', 'item'].edge_index[1].unique().numel() <= 5


@pytest.mark.parametrize(
    ('arguments', 'match'),
    [
        ({'num_users': 0}, "'num_users' must be a positive integer"),
        ({'num_items': 0}, "'num_items' must be a positive integer"),
        ({'seed': -1}, "'seed' must be an integer that is not negative"),
        ({'mean_interactions': 0.5}, "'mean_interactions' must be a finite number"),
        ({'taste_strength': -1.0}, "'taste_strength' must be finite"),
        ({'missing_title_share': 1.5}, "'missing_title_share' must lie in \\[0, 1\\]"),
        ({'new_item_share': 1.0}, "'new_item_share' leaves no item"),
    ],
)
def test_wrong_arguments(tmp_path: Path, arguments: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        SyntheticShop(tmp_path, **arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('shape', SHAPES)
def test_every_shape_can_be_drawn_and_is_in_the_picture(shape: str) -> None:
    rng = np.random.default_rng(0)
    pixels = np.asarray(draw_product(shape, 'red', 'plain', 64, rng), dtype=float)
    red = pixels[..., 0] - pixels[..., 1] > 60
    assert 0.05 < red.mean() < 0.6
    edge = np.concatenate([red[0], red[-1], red[:, 0], red[:, -1]])
    assert edge.mean() < 0.05


def test_drawings_differ_by_colour_and_pattern() -> None:
    pictures = {
        draw_product('square', colour, pattern, 32, np.random.default_rng(0)).tobytes()
        for colour in COLOURS
        for pattern in PATTERNS
    }
    assert len(pictures) == len(COLOURS) * len(PATTERNS)


def test_a_flipped_bit_is_an_error(root: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(root, tmp_path / 'copy'))
    for path in (copy / 'processed').iterdir():
        if path.name not in SyntheticShop(copy, **SMALL).processed_file_names:
            path.unlink()

    def content() -> tuple[Any, ...]:
        shop = SyntheticShop(copy, **SMALL)
        tensors = {name: tensor.tolist() for name, tensor in _tensors(shop[0]).items()}
        return shop.titles, shop.image_paths, tensors

    paths = [path for path in sorted(copy.rglob('*')) if path.is_file()]
    found = outcomes([path for path in paths if path.suffix != '.png'], content, 10)
    assert found['detected'] > 50
    assert outcomes([path for path in paths if path.suffix == '.png'][:10], content, 1) == {
        **{'detected': 10, 'equal': 0}
    }
    (copy / 'raw' / 'images' / '00001.png').unlink()
    with pytest.raises(ValueError, match=r'00001.png. is damaged \(it is missing\); pass'):
        content()
    SyntheticShop(copy, **SMALL, force_reload=True)
