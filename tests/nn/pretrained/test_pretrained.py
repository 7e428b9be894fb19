"""Every model is saved and loaded, and embeds the same data the same."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.files import sha256_of
from pyg_mmgef.nn import (
    EASE,
    IALS,
    LATTICE,
    MMGCN,
    MMGEF,
    ContentIALS,
    LightGCN,
    Recommender,
    recommenders,
)
from pyg_mmgef.nn.models._solved import SolvedRecommender
from pyg_mmgef.nn.parts import ContentMap
from pyg_mmgef.schema import INTERACTS, ITEM
from tests.nn.models import shops
from tests.nn.models.test_recommender import MODELS, Build, dense


def small_shop() -> HeteroData:
    return shops.small_shop(('similar', 'co_interacts', 'similar_image', 'similar_text'))


def prepared(build: Build, data: HeteroData) -> Recommender:
    torch.manual_seed(0)
    model = build(data).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    model.start_epoch(data, 0)
    return model


def embedded(model: Recommender, data: HeteroData) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        return dense(model.eval()(data))


def assert_same(model: Recommender, other: Recommender, data: HeteroData) -> None:
    for a, b in zip(embedded(model, data), embedded(other, data), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize('name', sorted(recommenders()))
def test_every_model_comes_back(name: str, tmp_path: Path) -> None:
    data = small_shop()
    model = prepared(MODELS[name], data)
    model.cold_scale, model.content_count = 1.25, 2.0
    expected = embedded(model, data)
    model.save_pretrained(tmp_path / 'model')
    state = torch.get_rng_state()
    loaded = Recommender.from_pretrained(tmp_path / 'model')
    assert torch.equal(torch.get_rng_state(), state)
    assert type(loaded) is type(model)
    assert repr(loaded) == repr(model)
    assert not loaded.training
    assert (loaded.cold_scale, loaded.content_count) == (1.25, 2.0)
    assert loaded.dtype == torch.double
    for a, b in zip(expected, embedded(loaded, small_shop()), strict=True):  # Equal, not the same.
        assert torch.equal(a, b)
    assert sorted(path.name for path in (tmp_path / 'model').iterdir()) == [
        'README.md',
        'config.json',
        'model.safetensors',
    ]


@pytest.mark.parametrize(
    'name', [name for name, model in recommenders().items() if issubclass(model, SolvedRecommender)]
)
def test_a_solution_is_not_computed_again(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = small_shop()
    model = prepared(MODELS[name], data)
    expected = embedded(model, data)
    model.save_pretrained(tmp_path)
    loaded = Recommender.from_pretrained(tmp_path)
    loaded.save_pretrained(tmp_path / 'again')  # Also before it has seen the data.
    for folder in (tmp_path, tmp_path / 'again'):
        loaded = Recommender.from_pretrained(folder)
        with monkeypatch.context() as patch:
            patch.setattr(type(loaded), '_solve', pytest.fail)
            for a, b in zip(expected, embedded(loaded, small_shop()), strict=True):
                assert torch.equal(a, b)
        other = small_shop()
        other[INTERACTS].edge_index = other[INTERACTS].edge_index[:, 1:]
        assert_same(loaded, prepared(MODELS[name], other), other)  # That of other data is.


@pytest.mark.parametrize('model', [IALS, ContentIALS])
def test_a_loaded_solution_grows(model: type[IALS], tmp_path: Path) -> None:
    data = small_shop()
    solved = model.from_data(data, embedding_dim=3).double()
    embedded(solved, data)
    solved.save_pretrained(tmp_path)
    grown, expected = (one.grow(6, 9) for one in (model.from_pretrained(tmp_path), solved))
    for one in (grown, expected):
        one.num_sweeps = 1  # So few that it matters where they start.
    assert_same(grown, expected, data)


def test_without_a_solution(tmp_path: Path) -> None:
    data = small_shop()
    IALS.from_data(data, embedding_dim=3).save_pretrained(tmp_path)
    assert_same(IALS.from_pretrained(tmp_path), IALS.from_data(data, embedding_dim=3), data)


@pytest.mark.parametrize('name', ['EASE', 'ItemKNN'])
def test_histories_stay_with_the_data(name: str, tmp_path: Path) -> None:
    data = small_shop()
    model = prepared(MODELS[name], data)
    embedded(model, data)
    model.save_pretrained(tmp_path)
    shapes = [tuple(x.shape) for x in load_file(tmp_path / 'model.safetensors').values()]
    assert all(shops.NUM_USERS not in shape for shape in shapes)


@pytest.mark.parametrize(
    'build',
    [
        lambda data: MMGEF.from_data(data, skip_weight=0.5, k=3, fusion='gated', attention='edge'),
        lambda data: MMGEF.from_data(data, item_graphs=(), skip_weight=1.0, attention='mean'),
        lambda data: MMGEF.from_data(data, item_input='id', attention='mean'),
        lambda data: LATTICE.from_data(data, item_graphs=None, k=3),
        lambda data: ContentIALS.from_data(data, item_graphs={'similar': 0.4}),
    ],
)
def test_graphs_options_and_nothing(build: Build, tmp_path: Path) -> None:
    data = small_shop()
    model = prepared(build, data)
    model.save_pretrained(tmp_path)
    loaded = Recommender.from_pretrained(tmp_path)
    assert loaded.arguments == model.arguments
    assert_same(model, loaded, data)


def test_before_a_graph_was_learned(tmp_path: Path) -> None:
    data = small_shop()
    torch.manual_seed(0)
    model = MMGEF.from_data(data, k=3).double()
    model.save_pretrained(tmp_path)
    assert_same(model, Recommender.from_pretrained(tmp_path), data)


@pytest.mark.parametrize('content_map', [None, ContentMap([0.5, 2.0])])
def test_the_content_map(content_map: ContentMap | None, tmp_path: Path) -> None:
    data = small_shop()
    model = prepared(LightGCN.from_data, data)
    model.content_map = content_map
    model.save_pretrained(tmp_path)
    assert_same(model, Recommender.from_pretrained(tmp_path), data)


@pytest.mark.parametrize('dtype', [torch.float, torch.bfloat16])
def test_types(dtype: torch.dtype, tmp_path: Path) -> None:
    model = LightGCN(3, 4).to(dtype)
    model.save_pretrained(tmp_path)
    loaded = LightGCN.from_pretrained(tmp_path)
    assert loaded.dtype == dtype
    assert torch.equal(loaded.user_embedding.weight, model.user_embedding.weight)


class Own(LightGCN):
    """A model of one's own."""


def test_a_model_of_ones_own(tmp_path: Path) -> None:
    data = small_shop()
    model = prepared(Own.from_data, data)
    model.save_pretrained(tmp_path)
    assert_same(model, Own.from_pretrained(tmp_path), data)
    with pytest.raises(ValueError, match=r"the unknown model 'Own'.*is loaded with its class"):
        Recommender.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds the model 'Own', not LightGCN; load it with"):
        LightGCN.from_pretrained(tmp_path)


def test_a_second_save_replaces_the_first(tmp_path: Path) -> None:
    for embedding_dim in (3, 5):
        LightGCN(2, 3, embedding_dim=embedding_dim).save_pretrained(tmp_path)
    assert LightGCN.from_pretrained(tmp_path).embedding_dim == 5


def test_the_card(tmp_path: Path) -> None:
    model = MMGEF(
        2, 3, in_channels={'<b>|`x`\n# a': 4}, item_graphs=(), skip_weight=1.0, embedding_dim=8
    )
    model.save_pretrained(tmp_path, metrics={'recall@20': 0.123456789})
    card = (tmp_path / 'README.md').read_text()
    assert card.startswith('---\nlibrary_name: pyg_mmgef\n')
    assert '2 users\nand 3 items' in card
    assert '| embedding\\_dim | 8 |' in card
    assert '| recall@20 | 0.123457 |' in card
    assert '<https://arxiv.org/abs/2308.07222>' in card
    assert '<b>' not in card
    assert '&lt;b&gt;\\|\\`x\\`' in card
    assert '\n# a' not in card
    (tmp_path / 'README.md').write_text('mine')
    model.save_pretrained(tmp_path)
    assert (tmp_path / 'README.md').read_text() == 'mine'


def test_what_cannot_be_saved(tmp_path: Path) -> None:
    model = LightGCN(2, 3)
    model.seed = torch.tensor(3)  # type: ignore[assignment]
    with pytest.raises(ValueError, match=r"'seed' can't be written to config.json \(got Tensor\)"):
        model.save_pretrained(tmp_path / 'a')
    model = LightGCN(2, 3)
    model.content_map = len  # type: ignore[assignment]
    with pytest.raises(ValueError, match="'content_map' must be a ContentMap or None"):
        model.save_pretrained(tmp_path / 'b')
    assert list(tmp_path.iterdir()) == []


def saved(folder: Path, model: Recommender | None = None) -> dict[str, Any]:
    """Save a model, and return its configuration."""
    (model or LightGCN(4, 5, embedding_dim=3)).save_pretrained(folder)
    return json.loads((folder / 'config.json').read_text())


def write(folder: Path, config: Any) -> None:
    (folder / 'config.json').write_text(json.dumps(config))


HOSTILE: dict[str, tuple[dict[str, Any], str]] = {
    'unknown class': ({'model': 'os.system'}, "holds the unknown model 'os.system'"),
    'class of another type': ({'model': ['LightGCN']}, r"holds the unknown model \['LightGCN'\]"),
    'the base class': ({'model': 'BPRLoss'}, "holds the unknown model 'BPRLoss'"),
    'another library': ({'library': 'transformers'}, 'is not of a model of pyg_mmgef'),
    'later format': ({'format': 2}, 'has the format 2'),
    'no arguments': ({'arguments': None}, "'arguments' must be an object"),
    'dtype': ({'dtype': 'int8'}, "'dtype' must be one of float16"),
    'dtype of another type': ({'dtype': ['float32']}, "'dtype' must be one of float16"),
    'cold_scale': ({'cold_scale': 'x'}, "'cold_scale' must be finite and not negative"),
    'huge cold_scale': ({'cold_scale': 10**400}, "'cold_scale' must be finite and not negative"),
    'content_count': ({'content_count': -1}, "'content_count' must be finite and not negative"),
    'content_map': ({'content_map': 3}, "'content_map' must be null or have 'strengths'"),
    'strengths': ({'content_map': {'strengths': ['a']}}, "'strengths' must be positive and finite"),
    'checksum': ({'sha256': 'abc'}, r'model.safetensors.* is damaged \(its checksum is wrong\)'),
    'solutions': ({'solved_from': {'x': 'y'}}, "'solved_from' must name parts of the model"),
    'other solutions': ({'solved_from': []}, "'solved_from' must name parts of the model"),
}


@pytest.mark.parametrize(('change', 'message'), HOSTILE.values(), ids=list(HOSTILE))
def test_hostile_configurations(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    write(tmp_path, {**saved(tmp_path), **change})
    with pytest.raises(ValueError, match=message) as raised:
        Recommender.from_pretrained(tmp_path)
    assert '\n' not in str(raised.value)
    assert str(tmp_path) in str(raised.value)


ARGUMENTS: dict[str, tuple[dict[str, Any], str]] = {
    'unknown': ({'hook': 'x'}, r"LightGCN has no arguments \['hook'\]"),
    'text': ({'embedding_dim': '3'}, r"argument 'embedding_dim' must be int \(got '3'\)"),
    'truth': ({'num_layers': True}, "argument 'num_layers' must be int"),
    'list': ({'num_users': [4]}, "argument 'num_users' must be int"),
    'negative': ({'num_layers': -1}, "'num_layers' must be an integer that is not negative"),
    'huge number of users': ({'num_users': 10**13}, "weights 'user_embedding.weight' have the sha"),
    'beyond 64 bits': ({'num_items': 10**30}, 'LightGCN has no such arguments'),
    'huge width': ({'embedding_dim': 10**9}, "'embedding_dim' must be at most 1,048,576"),
    'many layers': ({'num_layers': 10**6}, "'num_layers' must be at most 1,000"),
    'another width': ({'embedding_dim': 4}, r'have the shape \[4, 3\], but .* say \[4, 4\]'),
    'not finite': ({'edge_dropout': float('nan')}, 'NaN is no number of JSON'),
}


@pytest.mark.parametrize(('change', 'message'), ARGUMENTS.values(), ids=list(ARGUMENTS))
def test_hostile_arguments(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    config = saved(tmp_path)
    config['arguments'] |= change
    write(tmp_path, config)
    with pytest.raises(ValueError, match=message) as raised:
        Recommender.from_pretrained(tmp_path)
    assert '\n' not in str(raised.value)
    assert str(tmp_path) in str(raised.value)


def test_a_missing_argument(tmp_path: Path) -> None:
    config = saved(tmp_path)
    del config['arguments']['num_items']
    write(tmp_path, config)
    with pytest.raises(ValueError, match=r"LightGCN needs the arguments \['num_items'\]"):
        Recommender.from_pretrained(tmp_path)


def test_many_layers_are_not_built(tmp_path: Path) -> None:
    config = saved(tmp_path, MMGCN(2, 3, in_channels={'text': 4}))
    config['arguments']['num_layers'] = 10**9
    write(tmp_path, config)
    with pytest.raises(ValueError, match="'num_layers' must be at most 1,000"):
        Recommender.from_pretrained(tmp_path)


@pytest.mark.parametrize('content', [b'', b'{', b'[]', b'\xff\xfe', b'[' * 100_000, b'9' * 10_000])
def test_no_configuration(content: bytes, tmp_path: Path) -> None:
    saved(tmp_path)
    (tmp_path / 'config.json').write_bytes(content)
    with pytest.raises(ValueError, match=r'config.json.* is damaged|is not of a model') as raised:
        Recommender.from_pretrained(tmp_path)
    assert '\n' not in str(raised.value)


def test_a_configuration_of_a_gigabyte_is_not_read(tmp_path: Path) -> None:
    saved(tmp_path)
    with (tmp_path / 'config.json').open('wb') as file:
        file.truncate(2**30)
    with pytest.raises(ValueError, match='is larger than 1,048,576 bytes'):
        Recommender.from_pretrained(tmp_path)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize('damage', [cut, flip, Path.unlink])
def test_damaged_weights(damage: Callable[[Path], None], tmp_path: Path) -> None:
    saved(tmp_path)
    damage(tmp_path / 'model.safetensors')
    with pytest.raises(ValueError, match=r'model.safetensors.* is damaged \(.*\); save the model'):
        Recommender.from_pretrained(tmp_path)


def with_weights(folder: Path, config: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Replace the weights, with the checksum that they have then."""
    save_file(tensors, folder / 'model.safetensors')
    write(folder, {**config, 'sha256': sha256_of(folder / 'model.safetensors')})


def test_weights_of_a_valid_checksum_that_are_none(tmp_path: Path) -> None:
    config = saved(tmp_path)
    path = tmp_path / 'model.safetensors'
    for content in (b'', b'\xff' * 64, (2**40).to_bytes(8, 'little') + b'{}'):
        path.write_bytes(content)
        write(tmp_path, {**config, 'sha256': sha256_of(path)})
        with pytest.raises(ValueError, match='is damaged') as raised:
            Recommender.from_pretrained(tmp_path)
        assert '\n' not in str(raised.value)


def test_weights_of_another_model(tmp_path: Path) -> None:
    config = saved(tmp_path)
    with_weights(tmp_path, config, {'user_embedding.weight': torch.zeros(4, 3), 'x': torch.ones(1)})
    message = r"another model: \['item_embedding.weight'\] missing, \['x'\] unknown"
    with pytest.raises(ValueError, match=message):
        Recommender.from_pretrained(tmp_path)


def test_a_learned_graph_of_another_model(tmp_path: Path) -> None:
    data = small_shop()
    config = saved(tmp_path, prepared(lambda data: MMGEF.from_data(data, k=3), data))
    tensors = load_file(tmp_path / 'model.safetensors')
    start = 'item_encoder.graphs._extra_state.'
    assert {f'{start}edge_index', f'{start}edge_weight'} <= set(tensors)
    del tensors[f'{start}edge_weight']
    with_weights(tmp_path, config, tensors)
    with pytest.raises(ValueError, match='learned graphs are not those of the model') as raised:
        Recommender.from_pretrained(tmp_path)
    assert '\n' not in str(raised.value)


def test_a_solution_of_another_model(tmp_path: Path) -> None:
    data = small_shop()
    model = EASE.from_data(data)
    embedded(model, data)
    config = saved(tmp_path, model)
    with_weights(tmp_path, config, {'solved:.weight': torch.zeros(3, 3)})
    with pytest.raises(ValueError, match='a solution must have the tensors'):
        Recommender.from_pretrained(tmp_path)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r'is no saved model, it has no config.json'):
        Recommender.from_pretrained(tmp_path)


def test_a_copied_folder(tmp_path: Path) -> None:
    data = small_shop()
    model = prepared(LightGCN.from_data, data)
    model.save_pretrained(tmp_path / 'a')
    shutil.copytree(tmp_path / 'a', tmp_path / 'b')
    shutil.rmtree(tmp_path / 'a')
    assert_same(model, Recommender.from_pretrained(str(tmp_path / 'b')), data)


def test_features_of_the_data_are_part_of_what_was_solved(tmp_path: Path) -> None:
    data = small_shop()
    model = ContentIALS.from_data(data, embedding_dim=3).double()
    embedded(model, data)
    model.save_pretrained(tmp_path)
    data[ITEM].x_text = data[ITEM].x_text.flip(0)
    fresh = ContentIALS.from_data(data, embedding_dim=3).double()
    assert_same(Recommender.from_pretrained(tmp_path), fresh, data)
