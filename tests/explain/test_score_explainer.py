"""Every score is the sum of its parts, in both splits."""

from collections.abc import Callable
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.explain import Explanation, ScoreExplainer, explain_score
from pyg_mmgef.nn import (
    BM3,
    EASE,
    FREEDOM,
    IALS,
    LATTICE,
    MF,
    MICRO,
    MMGEF,
    PGL,
    VBPR,
    ContentCentroid,
    ContentIALS,
    ItemKNN,
    LightGCN,
    Popularity,
    Recommender,
    recommenders,
)
from pyg_mmgef.schema import INTERACTS, ITEM
from tests.nn.models import shops
from tests.nn.models.shops import COLD, NUM_ITEMS, NUM_USERS
from tests.nn.models.test_recommender import MODELS, Build, dense

Model = TypeVar('Model', bound=Recommender)

BY_USER = (
    *('BM3', 'CEASE', 'CLCRec', 'ContentCentroid', 'ContentIALS', 'EASE', 'FREEDOM', 'IALS'),
    *('ItemKNN', 'LATTICE', 'LightGCN', 'MF', 'MICRO', 'MMGEF', 'PGL', 'Popularity', 'VBPR'),
)
"""Models whose user embeddings are a sum."""
BY_ITEM = tuple(name for name in BY_USER if name not in ('CEASE', 'EASE', 'ItemKNN'))
"""Models whose embeddings of warm items are a sum."""
ENCODES_COLD = ('DropoutNet', 'GAR', 'Heater')
"""Models that make embeddings of all items by networks."""


def small_shop() -> HeteroData:
    return shops.small_shop(('similar', 'co_interacts', 'similar_image', 'similar_text'))


def prepared(build: Callable[[HeteroData], Model], data: HeteroData) -> Model:
    """A model in double precision whose parameters are all random."""
    torch.manual_seed(0)
    model = build(data).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    model.start_epoch(data, 0)
    return model.eval()


def scores_of(model: Recommender, data: HeteroData) -> Tensor:
    with torch.no_grad():
        z_user, z_item = dense(model(data))
    return z_user @ z_item.t()


def check(model: Recommender, data: HeteroData) -> list[Explanation]:
    """Compare the sums of both splits with the scores of all pairs; return the explanations."""
    scores, explainer = scores_of(model, data), ScoreExplainer(model, data)
    out = []
    for user in range(NUM_USERS):
        out += explainer(user, range(NUM_ITEMS))
    for found, score in zip(out, scores.flatten().tolist(), strict=True):
        assert found.score == pytest.approx(score, abs=1e-9)
        for parts in (found.by_user, found.by_item):
            if parts is not None:
                assert sum(part.score for part in parts) == pytest.approx(score, abs=1e-9)
                assert list(parts) == sorted(parts, key=lambda part: -part.score)
    return out


@pytest.mark.parametrize(('cold_scale', 'content_count'), [(1.0, 0.0), (1.5, 3.0)])
@pytest.mark.parametrize('name', sorted(recommenders()))
def test_parts_of_every_model_add_up(name: str, cold_scale: float, content_count: float) -> None:
    data = small_shop()
    model = prepared(MODELS[name], data)
    model.cold_scale, model.content_count = cold_scale, content_count
    if name in ENCODES_COLD or (name not in BY_USER and model.content_map is None):
        with pytest.raises(ValueError, match=f"{name} don't split into parts"):
            explain_score(model, data, 0, 1)
        return
    if name not in BY_USER and content_count == 0:  # No content is in the score of a warm item.
        explainer = ScoreExplainer(model, data)
        with pytest.raises(ValueError, match=f"{name} don't split into parts"):
            explainer(0, [1])
        (cold,) = explainer(0, COLD[:1])
        assert cold.by_user is None
        assert cold.by_item is not None
        assert {part.kind for part in cold.by_item} == {'modality', 'average'}
        assert sum(part.score for part in cold.by_item) == pytest.approx(cold.score)
        return
    found = check(model, data)
    assert all((one.by_user is not None) == (name in BY_USER) for one in found)
    if name in BY_ITEM:
        assert all(one.by_item is not None for one in found)
        kinds = {part.kind for one in found for part in one.by_item or ()}
        assert 'item' not in kinds


@pytest.mark.parametrize('name', BY_USER)
def test_without_a_content_map(name: str) -> None:
    data = small_shop()
    model = prepared(MODELS[name], data)
    model.content_map, model.cold_scale = None, 0.5
    check(model, data)


@pytest.mark.parametrize('name', BY_USER)
def test_single_precision(name: str) -> None:
    data = small_shop()
    for name_of, x in data[ITEM].items():
        if isinstance(x, Tensor) and x.is_floating_point():
            data[ITEM][name_of] = x.float()
    for edge_type in data.edge_types:
        if 'edge_weight' in data[edge_type]:
            data[edge_type].edge_weight = data[edge_type].edge_weight.float()
    model = prepared(MODELS[name], data).float()
    model.content_count = 2.0
    explainer = ScoreExplainer(model, data)
    for found in explainer(1, range(NUM_ITEMS)):
        assert found.by_user is not None
        score = sum(part.score for part in found.by_user)
        size = sum(abs(part.score) for part in found.by_user)
        assert abs(score - found.score) <= 1e-5 * size


@pytest.mark.parametrize(
    'options',
    [
        {'attention': 'node', 'item_readout': 'mean', 'num_item_layers': 2},
        {'attention': 'edge', 'item_input': 'sum', 'num_item_layers': 3},
        {'attention': 'mean', 'item_input': 'id', 'normalize_item': False, 'skip_weight': 1.0},
        {'skip_weight': 0.5, 'k': 2, 'fusion': 'gated'},
        {'fusion': 'concat', 'item_readout': 'mean'},
        {'fusion': 'weighted', 'num_item_layers': 0, 'num_layers': 3, 'edge_dropout': 0.5},
        {'item_graphs': (), 'skip_weight': 1.0},
        {'num_layers': 0},
    ],
    ids=str,
)
@pytest.mark.parametrize('has_map', [True, False])
def test_forms_of_mmgef(options: dict[str, Any], has_map: bool) -> None:
    data = small_shop()
    model = prepared(lambda data: MMGEF.from_data(data, embedding_dim=5, **options), data)
    if not has_map:
        model.content_map = None
    check(model, data)


@pytest.mark.parametrize('num_item_layers', [1, 2])
@pytest.mark.parametrize(
    ('model', 'options'),
    [
        (FREEDOM, {}),
        (PGL, {}),
        (LATTICE, {'k': 3}),
        (LATTICE, {'k': 3, 'item_graphs': None, 'skip_weight': 0.3}),
        (MICRO, {'k': 3, 'skip_weight': 0.3}),
    ],
    ids=str,
)
def test_item_graphs_of_several_layers(
    model: type[Recommender], options: dict[str, Any], num_item_layers: int
) -> None:
    data = small_shop()
    built = prepared(
        lambda data: model.from_data(
            data, embedding_dim=4, num_item_layers=num_item_layers, **options
        ),
        data,
    )
    built.content_map = None
    found = check(built, data)
    names = {part.name for one in found for part in one.by_item or () if part.kind == 'neighbours'}
    assert names == {'similar_image', 'similar_text'}


@pytest.mark.parametrize('num_layers', [0, 1, 2, 3])
def test_light_gcn(num_layers: int) -> None:
    data = small_shop()
    model = prepared(lambda data: LightGCN.from_data(data, num_layers=num_layers), data)
    own = model.user_embedding.weight.detach() / (num_layers + 1)
    _, z_item = model(data)
    edges = data[INTERACTS].edge_index
    for one in check(model, data):
        assert one.by_user is not None
        owned = [part.item for part in one.by_user if part.item is not None]
        assert sorted(owned) == sorted(edges[1][edges[0] == one.user].tolist())
        (of_user,) = [part.score for part in one.by_user if part.kind == 'user']
        assert of_user == pytest.approx(float(own[one.user] @ z_item[one.item]))


def test_a_repeated_interaction_is_one_part() -> None:
    data = small_shop()
    edges = data[INTERACTS].edge_index
    data[INTERACTS].edge_index = torch.cat([edges, edges[:, :3]], dim=1)
    found = check(prepared(LightGCN.from_data, data), data)[0]
    assert found.by_user is not None
    assert sorted(part.item for part in found.by_user if part.item is not None) == [0, 1, 6]


@pytest.mark.parametrize('build', [EASE.from_data, ItemKNN.from_data])
def test_weights_between_items(build: Build) -> None:
    data = small_shop()
    model = build(data).double().eval()
    _, weights = dense(model(data))
    for one in check(model, data):
        assert one.by_user is not None
        for part in one.by_user:
            assert part.item is not None
            assert part.score == pytest.approx(float(weights[one.item, part.item]))


@pytest.mark.parametrize('model', [IALS, ContentIALS])
def test_history_of_ials_is_nearly_all(model: type[IALS]) -> None:
    data = small_shop()
    built = model.from_data(data, embedding_dim=3, num_sweeps=100).double().eval()
    for one in check(built, data):
        assert one.by_user is not None
        (residual,) = [part.score for part in one.by_user if part.kind == 'residual']
        assert abs(residual) < 1e-6


def test_content_of_a_cold_item() -> None:
    data = small_shop()
    data[ITEM].has_text = torch.arange(NUM_ITEMS) != 8
    model = prepared(lambda data: LightGCN.from_data(data, embedding_dim=4), data)
    explainer = ScoreExplainer(model, data)
    both, image = explainer(0, [7, 8])
    assert both.by_item is not None
    assert image.by_item is not None
    assert {(part.kind, part.name) for part in both.by_item} == {
        ('modality', 'image'),
        ('modality', 'text'),
        ('average', None),
    }
    assert {part.name for part in image.by_item} == {'image', None}
    # The part of a modality is what the score loses with it, against the average.
    without = small_shop()
    without[ITEM].has_text = torch.ones(NUM_ITEMS, dtype=torch.bool)
    without[ITEM].has_text[[7, 8]] = False
    (text,) = [part.score for part in both.by_item if part.name == 'text']
    assert scores_of(model, without)[0, 7] == pytest.approx(both.score - text)


def test_an_item_without_anything_has_no_parts() -> None:
    data = small_shop()
    for name in ('image', 'text'):
        data[ITEM][f'x_{name}'][7] = 0
    model = prepared(lambda data: LightGCN.from_data(data, embedding_dim=4), data)
    found = explain_score(model, data, 0, 7)
    assert found.by_item == ()
    assert found.score == 0


def test_content_count_mixes_both() -> None:
    data = small_shop()
    model = prepared(lambda data: MF.from_data(data, embedding_dim=4), data)
    with torch.no_grad():  # What content can tell.
        model.item_embedding.weight.copy_(data[ITEM].x_text)
    model.content_count = 5.0
    found = explain_score(model, data, 0, 1)
    assert found.by_item is not None
    kinds = {part.kind for part in found.by_item}
    assert {'collaborative', 'modality'} <= kinds


def test_vbpr_and_popularity() -> None:
    data = small_shop()
    model = prepared(VBPR.from_data, data)
    found = explain_score(model, data, 1, 2)
    assert found.by_user is not None
    assert found.by_item is not None
    assert [part.kind for part in found.by_user] == ['user']
    assert {(part.kind, part.name) for part in found.by_item} == {
        ('collaborative', None),
        ('bias', None),
        ('modality', 'image'),
        ('modality', 'text'),
    }
    found = explain_score(Popularity.from_data(data), data, 1, 2)
    assert found.by_user == found.by_item
    assert found.score == 2


def test_centroid_of_the_user_s_items() -> None:
    data = small_shop()
    found = check(ContentCentroid.from_data(data).double().eval(), data)[0]
    assert found.by_user is not None
    assert [part.kind for part in found.by_user] == ['history'] * 3


def test_the_bias_of_bm3_is_a_constant() -> None:
    data = small_shop()
    found = explain_score(prepared(BM3.from_data, data), data, 0, 0)
    assert found.by_user is not None
    assert {part.kind for part in found.by_user} == {'history', 'user', 'constant'}


def test_repeated_items_in_any_order() -> None:
    data = small_shop()
    explainer = ScoreExplainer(prepared(LightGCN.from_data, data), data)
    found = explainer(0, torch.tensor([8, 2, 8, 0]))
    assert [one.item for one in found] == [8, 2, 8, 0]
    assert found[0] == found[2]
    assert found[1].score == pytest.approx(explainer(0, [2])[0].score)


def test_mode_of_the_model_is_left_alone() -> None:
    data = small_shop()
    model = prepared(LightGCN.from_data, data).train()
    evaluated = explain_score(model, data, 0, 7)
    assert model.training
    assert evaluated == explain_score(model.eval(), data, 0, 7)


def test_a_user_without_interactions() -> None:
    data = small_shop()
    found = explain_score(prepared(LightGCN.from_data, data), data, 5, 0)
    assert found.by_user is not None
    assert [part.kind for part in found.by_user] == ['user']
    assert explain_score(ItemKNN.from_data(data), data, 5, 0).by_user == ()


@pytest.mark.parametrize(
    ('user', 'item', 'name'), [(6, 0, 'user'), (-1, 0, 'user'), (0, 9, 'item')]
)
def test_rows_out_of_range(user: int, item: int, name: str) -> None:
    data = small_shop()
    with pytest.raises(ValueError, match=rf"'{name}s?' must hold {name} ids in \["):
        explain_score(LightGCN.from_data(data), data, user, item)


class Nonlinear(LightGCN):
    def adapt_cold(self, data: HeteroData, z_item: Tensor) -> Tensor:
        return z_item.square()


def test_a_model_whose_parts_do_not_add_up() -> None:
    data = small_shop()
    model = prepared(Nonlinear.from_data, data)
    with pytest.raises(ValueError, match=r"of Nonlinear add up to .*'adapt_cold' must be lin"):
        explain_score(model, data, 0, 7)
