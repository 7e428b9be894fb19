"""What every model promises of users and items that it was not trained on."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.catalog.content_weights import ContentWeights
from pyg_mmgef.catalog.fold_in import (
    FoldIn,
    HistoryFoldIn,
    LeastSquaresFoldIn,
    LinearFoldIn,
)
from pyg_mmgef.nn import (
    IALS,
    MF,
    BPRLoss,
    ContentIALS,
    DropoutNet,
    LightGCN,
    Recommender,
    recommenders,
)
from pyg_mmgef.nn.parts import ContentMap
from pyg_mmgef.schema import INTERACTS, ITEM, USER
from pyg_mmgef.search import ItemIndex
from tests.nn.models.shops import COLD, interacting, planted_shop
from tests.nn.models.test_recommender import (
    ENCODES_COLD,
    MODELS,
    batch_of,
    built,
    dense,
    small,
    small_shop,
)

HISTORIES = [[0, 1, 6], [2], [7, 3, 8], []]
"""The first is that of user 0; the third has cold items."""
HISTORY_MODELS = ('CEASE', 'EASE', 'ItemKNN')
SOLVED_MODELS = ('ContentIALS', 'DropoutNet', 'GAR', 'Heater', 'IALS')
CLOSED_FORMS = (*HISTORY_MODELS, *SOLVED_MODELS, 'ContentCentroid', 'Popularity')
"""Models whose users' embeddings follow from their items."""


@pytest.fixture(params=MODELS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def trained(name: str, data: HeteroData) -> Recommender:
    """Return a model after some steps, whose users and items have moved to each other."""
    model = built(MODELS[name], data).train()
    if model.has_parameters:
        optimizer = torch.optim.Adam(model.parameters(), 0.02)
        for epoch in range(5):
            model.start_epoch(data, epoch)
            optimizer.zero_grad()
            model.loss(data, *batch_of(data), BPRLoss()).backward()
            optimizer.step()
    return model.eval()


def evaluated(model: Recommender, data: HeteroData) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        return dense(model(data))


def new_items(data: HeteroData, items: list[int]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    x = {m: data[ITEM][f'x_{m}'][items] for m in ('image', 'text')}
    return x, {'image': data[ITEM].has_image[items]}


def test_new_users_have_embeddings(name: str) -> None:
    data = small_shop()
    model = trained(name, data)
    z_user = model.embed_users(data, HISTORIES)
    layout, known = model(data)[0].layout, evaluated(model, data)[0]
    assert z_user.layout == layout
    assert z_user.dtype == torch.double
    z_user = z_user.to_dense()
    assert z_user.shape == (4, known.size(1))
    assert z_user.isfinite().all()
    with pytest.raises(ValueError, match='history 0 holds item row 9'):
        model.embed_users(data, [[9]])


def test_a_user_of_the_data_who_comes_anew_is_the_same(name: str) -> None:
    data = small_shop()
    model = trained(name, data)
    known = evaluated(model, data)[0]
    edges = data[INTERACTS].edge_index
    own = [edges[1][edges[0] == user].tolist() for user in range(5)]
    found = model.embed_users(data, own).to_dense()
    if name in CLOSED_FORMS:
        torch.testing.assert_close(found, known[:5], rtol=1e-4, atol=1e-6)
        return
    # Of users with parameters of their own, it is the map that all of them teach.
    z_item = model.eval().embed(data, None, None)[1].detach()
    mean = torch.stack([z_item[items].sum(dim=0) / len(items) ** 0.5 for items in own])
    fitted = ContentMap().fit(mean, model.embed(data, None, None)[0][:5].detach())
    torch.testing.assert_close(found, fitted(mean), rtol=1e-4, atol=1e-5)
    fold_in = model.fold_in(data)
    assert isinstance(fold_in, LinearFoldIn)
    assert fold_in.explained == pytest.approx(fitted.explained)


def test_kinds(name: str) -> None:
    data = small_shop()
    fold_in = trained(name, data).fold_in(data)
    is_kind = {HistoryFoldIn: HISTORY_MODELS, LeastSquaresFoldIn: SOLVED_MODELS}
    for kind, names in is_kind.items():
        assert isinstance(fold_in, kind) == (name in names)
    assert fold_in.num_items == data[ITEM].num_nodes
    if isinstance(fold_in, LinearFoldIn):
        assert (fold_in.explained is None) == (name in CLOSED_FORMS)


def test_parts_sum_to_the_embedding(name: str) -> None:
    data = small_shop()
    fold_in = trained(name, data).fold_in(data)
    if isinstance(fold_in, LeastSquaresFoldIn) and fold_in.head is not None:
        with pytest.raises(ValueError, match='a network stands on top'):
            fold_in.parts([0, 1, 7])
        return
    total = fold_in.parts([0, 1, 7]).sum(axis=0)
    np.testing.assert_allclose(total, fold_in.embed([[0, 1, 7]])[0], rtol=1e-4, atol=1e-6)


def test_a_saved_fold_in_embeds_alike(name: str) -> None:
    data = small_shop()
    fold_in = trained(name, data).fold_in(data)
    loaded = FoldIn.from_arrays(fold_in.to_arrays(), fold_in.settings)
    np.testing.assert_array_equal(loaded.embed(HISTORIES), fold_in.embed(HISTORIES))


def test_it_does_not_change_the_model(name: str) -> None:
    data = small_shop()
    model = trained(name, data)
    before = evaluated(model, data)
    model.train()
    model.fold_in(data)
    assert model.training
    torch.testing.assert_close(evaluated(model.eval(), data), before)


def test_new_items_have_the_embeddings_of_cold_items(name: str) -> None:
    data = small_shop()
    model = trained(name, data)
    model.cold_scale = 1.5
    if name == 'ItemKNN':
        with pytest.raises(ValueError, match='has sparse embeddings'):
            model.embed_items(data, *new_items(data, COLD))
        return
    found = model.embed_items(data, *new_items(data, COLD))
    torch.testing.assert_close(found, evaluated(model, data)[1][COLD])


def test_content_weights_give_what_embed_items_gives(name: str) -> None:
    data = small_shop()
    model = trained(name, data)
    model.cold_scale = 1.5
    if name in ENCODES_COLD or name == 'ItemKNN':
        with pytest.raises(ValueError, match=r'content_map.*None|sparse|unit length'):
            model.content_weights(data)
        return
    weights = model.content_weights(data)
    loaded = ContentWeights.from_arrays(weights.to_arrays())
    for items in (COLD, [5, 6], [0, 7]):
        x, has = new_items(data, items)
        expected = model.embed_items(data, x, has)
        found = loaded.embed(x, has)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_new_items_in_the_history_of_new_users(name: str) -> None:
    data = small_shop()
    model = trained(name, data)
    if name in (*HISTORY_MODELS, 'ContentCentroid'):
        with pytest.raises(ValueError, match=r'takes no new ones|unit length'):
            model.content_weights(data, history=True)
        return
    fold_in = model.fold_in(data)
    grown = fold_in.with_items(
        model.content_weights(data, history=True).embed(*new_items(data, COLD))
    )
    assert grown.num_items == 11
    z = grown.embed([[0, 9], [10]])
    if model.content_map is None and name == 'CLCRec':  # There cold items have the encoder's.
        assert np.isfinite(z).all()
    else:
        np.testing.assert_allclose(z, fold_in.embed([[0, 7], [8]]), rtol=1e-4, atol=1e-6)


def test_a_new_item_is_found_at_once() -> None:
    data = small_shop()
    model = trained('ContentIALS', data)
    z_user, z_item = evaluated(model, data)
    index = ItemIndex(z_item.float(), metric='ip')
    # Ten times as long as it would be, so that the user who likes it finds it first.
    new = 10 * model.content_weights(data).embed(*new_items(data, [0]))
    index.add(torch.from_numpy(new))
    scores, found = index.search(z_user[:1].float(), 10)
    score = z_user[0].float() @ torch.cat([z_item.float(), torch.from_numpy(new)]).t()
    assert found[0, 0] == score.argmax() == 9
    torch.testing.assert_close(scores[0], score.sort(descending=True).values)


def test_propagation_is_that_of_a_user_who_joins_with_zero() -> None:
    data = small_shop()
    model = LightGCN.from_data(data, embedding_dim=8).double().eval()
    history = [0, 1, 6, 5]
    user = data[USER].num_nodes
    weight = model.interaction_graph(data)
    # The dense graph of all users and a new one; the degrees of the items are those of the data.
    a = torch.zeros(user + 1, 9, dtype=torch.double)
    a[:user] = weight.t().matrix(torch.double).to_dense()
    degree = data[INTERACTS].edge_index[1].bincount(minlength=9).double()
    a[user, history] = (len(history) * degree[history]).rsqrt()
    x_user = torch.cat([model.user_embedding.weight, torch.zeros(1, 8)]).detach()
    x_item = model.item_embedding.weight.detach()
    total = x_user
    for _ in range(2):
        x_user, x_item = a @ x_item, a.t() @ x_user
        total = total + x_user
    found = model.propagated_fold_in(data).embed([history])
    np.testing.assert_allclose(found[0], (total / 3)[user], rtol=1e-5, atol=1e-7)


def test_propagation_needs_layers() -> None:
    data = small_shop()
    model = LightGCN.from_data(data, num_layers=0)
    with pytest.raises(ValueError, match='num_layers=0'):
        model.propagated_fold_in(data)
    assert model.embed_users(data, [[0]]).shape == (1, 64)


def test_without_interactions_there_is_nothing_to_learn() -> None:
    data = interacting(torch.empty(2, 0, dtype=torch.long), 3, 4)
    with pytest.raises(ValueError, match='no interactions'):
        MF.from_data(data).fold_in(data)
    assert not IALS.from_data(data).eval().embed_users(data, [[0, 1]]).any()


@pytest.mark.parametrize('model', [IALS, ContentIALS])
def test_least_squares_of_known_users_with_few_sweeps(model: type[IALS]) -> None:
    data = planted_shop()
    solved = model.from_data(data, embedding_dim=4, num_steps=20).eval()
    edges = data[INTERACTS].edge_index
    own = [edges[1][edges[0] == user].numpy() for user in range(8)]
    torch.testing.assert_close(
        solved.embed_users(data, own), evaluated(solved, data)[0], rtol=1e-4, atol=1e-5
    )


def grown_shop() -> HeteroData:
    """Return the small shop with two more users and three more items, in front of no others."""
    data = small_shop()
    data[USER].num_nodes = 8
    for m in ('image', 'text'):
        data[ITEM][f'x_{m}'] = torch.cat([data[ITEM][f'x_{m}'], data[ITEM][f'x_{m}'][:3] + 0.1])
    data[ITEM].has_image = torch.cat([data[ITEM].has_image, torch.ones(3, dtype=torch.bool)])
    data[ITEM].num_nodes = 12
    new = torch.tensor([[6, 6, 6, 7, 7, 0], [0, 9, 1, 10, 2, 9]])
    data[INTERACTS].edge_index = torch.cat([data[INTERACTS].edge_index, new], dim=1)
    return data


def test_growing_keeps_what_was_learned(name: str) -> None:
    data = small_shop()
    model = trained(name, data)
    before = {key: value for key, value in model.state_dict().items() if torch.is_tensor(value)}
    before = {key: value.clone() for key, value in before.items()}
    grown = model.grow(8, 12)
    assert type(grown) is type(model)
    assert (grown.num_users, grown.num_items) == (8, 12)
    assert grown.dtype == model.dtype
    assert grown.training == model.training
    assert grown.arguments == {**model.arguments, 'num_users': 8, 'num_items': 12}
    after = grown.state_dict()
    for key, value in before.items():
        assert torch.equal(after[key][tuple(map(slice, value.shape))], value), key
    for key, value in model.state_dict().items():  # The model itself stays as it is.
        if torch.is_tensor(value):
            assert torch.equal(value, before[key]), key


def test_growing_by_nothing_changes_nothing(name: str) -> None:
    data = small_shop()
    model = trained(name, data)
    model.cold_scale = 1.5
    same = model.grow(model.num_users, model.num_items)
    assert same.cold_scale == 1.5
    if name in ('DropoutNet', 'GAR', 'Heater'):
        return  # IALS below the networks takes further sweeps, see below.
    tolerance = 1e-2 if name in SOLVED_MODELS else 1e-7
    torch.testing.assert_close(
        evaluated(same, data), evaluated(model, data), rtol=tolerance, atol=tolerance
    )


def test_a_grown_model_learns(name: str) -> None:
    model = trained(name, small_shop())
    data = grown_shop()
    grown = model.grow(8, 12)
    z_user, z_item = evaluated(grown, data)
    assert (z_user.size(0), z_item.size(0)) == (8, 12)
    assert z_user.isfinite().all()
    assert z_item.isfinite().all()
    if not grown.has_parameters:
        return
    grown.train()
    optimizer = torch.optim.Adam(grown.parameters(), 0.02)
    batch, losses = batch_of(data), []
    for epoch in range(20):
        grown.start_epoch(data, epoch)
        torch.manual_seed(0)
        optimizer.zero_grad()
        loss = grown.loss(data, *batch, BPRLoss())
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_new_users_start_where_known_users_teach(name: str) -> None:
    model, data = trained(name, small_shop()), grown_shop()
    torch.manual_seed(0)
    plain = model.grow(8, 12)
    torch.manual_seed(0)
    started = model.grow(8, 12, data)
    with torch.no_grad():
        z_item = plain.embed(data, None, None)[1]
    user, item = data[INTERACTS].edge_index
    changed = []
    for (key, before), after in zip(plain.named_parameters(), started.parameters(), strict=True):
        own = model.get_parameter(key)
        assert torch.equal(after[tuple(map(slice, own.shape))], own), key
        if not torch.equal(before, after):
            changed.append(key)
            dim = next(dim for dim, size in enumerate(before.shape) if size == 8)
            rows = after.movedim(dim, 0).flatten(1).detach()
            own_items = [item[user == each] for each in range(8)]
            x = torch.stack([z_item[its].sum(0) / max(1, len(its)) ** 0.5 for its in own_items])
            fitted = ContentMap().fit(x[:5], rows[:5])  # User 5 has no items.
            torch.testing.assert_close(rows[6:], fitted(x[6:]))
    has_own = name not in (*CLOSED_FORMS,)
    assert bool(changed) == has_own


def test_a_model_does_not_shrink() -> None:
    model = MF(3, 4)
    with pytest.raises(ValueError, match=r"'num_users' must be at least 3.*got 2"):
        model.grow(2, 4)
    with pytest.raises(ValueError, match=r"'num_items' must be at least 4.*got 3"):
        model.grow(3, 3)


def test_sweeps_start_from_the_items_of_the_smaller_model() -> None:
    data = planted_shop()
    model = IALS.from_data(data, embedding_dim=4, num_sweeps=50).eval()
    expected = evaluated(model, data)
    grown = model.grow(8, 10)
    grown.num_sweeps = 1
    torch.testing.assert_close(evaluated(grown, data), expected, rtol=1e-2, atol=1e-2)
    grown.reset_parameters()  # So that they start at random again.
    fresh = IALS.from_data(data, embedding_dim=4, num_sweeps=1).eval()
    torch.testing.assert_close(evaluated(grown, data), evaluated(fresh, data))


def test_networks_stay_near_the_embeddings_they_were_trained_on() -> None:
    data = planted_shop()
    model = DropoutNet.from_data(data, embedding_dim=4)
    fresh = model.grow(8, 10)
    before, _ = model.preferences(data)  # Only now there is something to start from.
    grown = model.grow(8, 10)
    fresh.preferences.ials.seed = 1
    near, far = ((other.preferences(data)[0] - before).norm() for other in (grown, fresh))
    assert near < 0.2 * far


def test_content_map_of_a_grown_model() -> None:
    data = small_shop()
    model = built(small(recommenders()['LightGCN']), data)
    model.content_map = None
    assert model.grow(8, 12).content_map is None
    model.content_map = ContentMap([0.5])
    grown = model.grow(8, 12)
    assert grown.content_map is not None
    assert grown.content_map.strengths == (0.5,)
