"""What every model promises, asked of all of them."""

import copy
import inspect
import pickle
import warnings
from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.loader import TripletLoader
from pyg_mmgef.nn import (
    LATTICE,
    MMGEF,
    AlignmentUniformityLoss,
    BPRLoss,
    ContentIALS,
    LightGCN,
    Recommender,
    recommenders,
)
from pyg_mmgef.ranking import evaluate_ranking, recommend
from pyg_mmgef.schema import INTERACTS, ITEM, USER
from tests.nn.models import shops
from tests.nn.models.shops import COLD, NUM_ITEMS, interacting, planted_shop

Build = Callable[[HeteroData], Recommender]

SMALL = {'embedding_dim': 16, 'feature_dim': 16, 'k': 3}
"""Options of small models; a model is built with those of them that it has."""


LOW_RANK = {'embedding_dim': 2, 'unobserved_weight': 0.1}
OWN = dict.fromkeys(('IALS', 'ContentIALS', 'DropoutNet', 'GAR', 'Heater'), LOW_RANK)
"""Those of a model that would learn a small shop by heart."""


def arguments(model: type[Recommender]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(model).parameters


def has_default(model: type[Recommender], name: str) -> bool:
    return arguments(model)[name].default is not inspect.Parameter.empty


def small(model: type[Recommender]) -> Build:
    known = arguments(model)
    options: dict[str, float] = {name: value for name, value in SMALL.items() if name in known}
    options |= OWN.get(model.__name__, {})
    return lambda data: model.from_data(data, **options)


MODELS = {name: small(model) for name, model in recommenders().items()}
IMPERSONAL = ('Popularity',)
"""Models that rank alike for all users, so that what groups of them like cannot be learned."""

ENCODES_COLD = ('CLCRec', 'ContentCentroid', 'DropoutNet', 'GAR', 'Heater')
"""Models that embed cold items themselves."""


def small_shop() -> HeteroData:
    return shops.small_shop(('similar', 'co_interacts', 'similar_image', 'similar_text'))


def built(build: Build, data: HeteroData, seed: int = 0) -> Recommender:
    """Return a model as it is at the start of an epoch."""
    torch.manual_seed(seed)
    model = build(data)
    floating = data[ITEM].x_image.dtype if 'x_image' in data[ITEM] else torch.double
    model = model.to(floating)
    model.start_epoch(data, 0)
    return model


def batch_of(data: HeteroData) -> tuple[Tensor, Tensor, Tensor]:
    loader = TripletLoader(data, batch_size=64, generator=torch.Generator().manual_seed(0))
    return next(iter(loader))


def dense(out: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Return embeddings as dense tensors; those of a model may be sparse."""
    z_user, z_item = (z.to_dense() if z.layout == torch.sparse_csr else z for z in out)
    return z_user, z_item


@pytest.fixture(params=MODELS.values(), ids=list(MODELS))
def build(request: pytest.FixtureRequest) -> Build:
    return request.param


def test_models_implement_the_template() -> None:
    for name, model in recommenders().items():
        assert model.forward is Recommender.forward, name
        assert model.paper.startswith('https://') or name == 'Popularity', name


def test_a_model_is_trained_if_it_has_parameters(build: Build) -> None:
    model = build(small_shop())
    assert model.is_trained == model.has_parameters


def test_only_a_model_without_a_ranking_loss_replaces_the_loss() -> None:
    own = [name for name, model in recommenders().items() if model.loss is not Recommender.loss]
    assert own == ['BM3']


def test_embeddings_of_all(build: Build) -> None:
    data = small_shop()
    z_user, z_item = dense(built(build, data).eval()(data))
    assert (z_user.size(0), z_item.size(0)) == (data[USER].num_nodes, data[ITEM].num_nodes)
    assert z_user.size(1) == z_item.size(1)
    assert z_user.dtype == z_item.dtype == torch.double
    assert z_user.isfinite().all()
    assert z_item.isfinite().all()


def test_embeddings_of_some(build: Build) -> None:
    data = small_shop()
    model = built(build, data).eval()
    users, items = torch.tensor([3, 0, 3]), torch.tensor([[8, 1], [6, 1]])
    every = model(data)
    if every[1].layout == torch.sparse_csr:
        items = items.view(-1)  # A sparse matrix has no further dimensions.
    some = model(data, users, items)
    assert [z.layout for z in some] == [z.layout for z in every]
    every = dense(every)
    torch.testing.assert_close(dense(some), (every[0][users], every[1][items]))


@pytest.mark.parametrize('num_negatives', [1, 3])
def test_the_loss_teaches_every_parameter(build: Build, num_negatives: int) -> None:
    data = small_shop()
    model = built(build, data).train()
    loader = TripletLoader(data, batch_size=64, num_negatives=num_negatives)
    parameters = dict(model.named_parameters())
    if not parameters:
        with pytest.raises(ValueError, match='has no parameters, so there is nothing to train'):
            model.loss(data, *next(iter(loader)), BPRLoss())
        return
    loss = model.loss(data, *next(iter(loader)), BPRLoss())
    assert loss.dim() == 0
    assert loss.isfinite()
    loss.backward()
    for name, parameter in parameters.items():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.ne(0).any(), name


def test_a_loss_without_negatives_will_do_unless_the_model_needs_them(build: Build) -> None:
    data = small_shop()
    model = built(build, data).train()
    if not model.has_parameters:
        pytest.skip('nothing to train')
    batch = next(iter(TripletLoader(data, batch_size=64, num_negatives=0)))
    if model.needs_negatives:
        with pytest.raises(ValueError, match="'negative' must have shape"):
            model.loss(data, *batch, AlignmentUniformityLoss())
    else:
        assert model.loss(data, *batch, AlignmentUniformityLoss()).isfinite()


def test_shared_negatives(build: Build) -> None:
    data = small_shop()
    model = built(build, data).eval()
    if not list(model.parameters()):
        pytest.skip('nothing to train')
    users, items, _ = batch_of(data)
    shared = torch.tensor([[7, 8, 3]])
    own = shared.expand(users.numel(), -1)
    torch.manual_seed(0)
    expected = model.loss(data, users, items, own, BPRLoss(0.0))
    torch.manual_seed(0)
    torch.testing.assert_close(model.loss(data, users, items, shared, BPRLoss(0.0)), expected)


def test_the_same_seed_gives_the_same(build: Build) -> None:
    data = small_shop()
    outs = []
    for _ in range(2):
        model = built(build, data, seed=3).train()
        if list(model.parameters()):
            optimizer = torch.optim.SGD(model.parameters(), 0.1)
            for epoch in range(2):
                model.start_epoch(data, epoch)
                model.loss(data, *batch_of(data), BPRLoss()).backward()
                optimizer.step()
        outs.append(dense(model.eval()(data)))
    assert all(torch.equal(*pair) for pair in zip(*outs, strict=True))


def test_reset_parameters_forgets(build: Build) -> None:
    data = small_shop()
    used, fresh = built(build, data, seed=0), built(build, data, seed=1)
    used(data)
    for parameter in used.parameters():
        parameter.data += 1.0
    outs = []
    for model in (used, fresh):
        torch.manual_seed(2)
        model.reset_parameters()
        model.start_epoch(data, 0)
        outs.append(model.eval()(data))
    torch.testing.assert_close(*outs)
    torch.testing.assert_close(dict(used.named_parameters()), dict(fresh.named_parameters()))


def test_saved_and_loaded(build: Build) -> None:
    data = small_shop()
    model, other = built(build, data, seed=0).eval(), built(build, data, seed=1).eval()
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other(data), model(data))


@pytest.mark.parametrize('copied', [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies(build: Build, copied: Callable[[Recommender], Recommender]) -> None:
    data = small_shop()
    model = built(build, data).eval()
    torch.testing.assert_close(copied(model)(data), model(data))


def test_held_out_interactions_are_not_read(build: Build) -> None:
    data = small_shop()
    before = built(build, data).eval()(data)
    data[INTERACTS].edge_label_index = torch.tensor([[5], [8]])
    torch.testing.assert_close(built(build, data).eval()(data), before)


def test_the_order_of_interactions_does_not_matter(build: Build) -> None:
    data = small_shop()
    before = built(build, data).eval()(data)
    order = torch.randperm(data[INTERACTS].edge_index.size(1))
    data[INTERACTS].edge_index = data[INTERACTS].edge_index[:, order]
    torch.testing.assert_close(built(build, data).eval()(data), before)


def test_no_interactions(build: Build) -> None:
    data = small_shop()
    data[INTERACTS].edge_index = torch.empty(2, 0, dtype=torch.long)
    model = built(build, data).train()
    for z in dense(model(data)):
        assert z.isfinite().all()


def test_cold_items_have_embeddings_and_gradients(build: Build) -> None:
    data = small_shop()
    model = built(build, data).train()
    z_user, z_item = dense(model(data, None, torch.tensor(COLD)))
    total = z_user.sum() + z_item.pow(2).sum()
    if total.requires_grad:
        total.backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is None or parameter.grad.isfinite().all(), name


def test_what_is_missing_is_not_read(build: Build) -> None:
    data = small_shop()
    before = built(build, data).eval()(data)
    data[ITEM].x_image = data[ITEM].x_image.clone()
    data[ITEM].x_image[~data[ITEM].has_image] = 100.0
    torch.testing.assert_close(built(build, data).eval()(data), before)


@pytest.mark.parametrize('build', [b for n, b in MODELS.items() if n != 'ItemKNN'])
def test_content_is_read(build: Build) -> None:
    data = small_shop()
    before = dense(built(build, data).eval()(data))
    data[ITEM].x_text = -data[ITEM].x_text.flip(0)
    after = dense(built(build, data).eval()(data))
    assert any(not torch.allclose(*pair) for pair in zip(before, after, strict=True))


@pytest.mark.parametrize('name', [n for n in MODELS if n not in ('ItemKNN', *ENCODES_COLD)])
def test_cold_items_are_predicted_from_their_features(name: str) -> None:
    data = small_shop()
    model = built(MODELS[name], data).eval()
    model.cold_scale, model.content_count = 2.0, 0.0
    if isinstance(model, ContentIALS):
        model.history_content = 0.0
    warm = [item for item in range(NUM_ITEMS) if item not in COLD]
    z_user, z_item = dense(model(data))
    z = model.embed(data, None, None)
    own = dense((z[0], z[1]))
    torch.testing.assert_close(z_user, own[0])
    torch.testing.assert_close(z_item[warm], own[1][warm])
    x, has = data[ITEM].x_image, data[ITEM].has_image
    parts = []
    for x, has in ((data[ITEM].x_image, data[ITEM].has_image), (data[ITEM].x_text, None)):
        has = x.ne(0).any(dim=1) & (torch.ones(NUM_ITEMS).bool() if has is None else has)
        unit = torch.nn.functional.normalize(x)
        counted = [item for item in warm if has[item]]
        parts.append(torch.where(has[:, None], unit - unit[counted].mean(dim=0), 0.0))
    content = torch.cat(parts, dim=1)
    x_mean, z_mean = content[warm].mean(dim=0), own[1][warm].mean(dim=0)
    a, b = content[warm] - x_mean, own[1][warm] - z_mean
    assert model.content_map is not None
    ridge = model.content_map.strength * torch.eye(content.size(1))
    weight = torch.linalg.solve(a.t() @ a + ridge, a.t() @ b)
    torch.testing.assert_close(
        z_item[COLD], 2 * (z_mean + (content[COLD] - x_mean) @ weight), rtol=1e-6, atol=1e-8
    )
    ids = torch.tensor([COLD[1], warm[2], COLD[1]])
    torch.testing.assert_close(dense(model(data, None, ids))[1], z_item[ids])
    features = {name: data[ITEM][f'x_{name}'][COLD] for name in ('image', 'text')}
    torch.testing.assert_close(model.embed_items(data, features), z_item[COLD])
    assert not model.training
    model.content_map = None
    torch.testing.assert_close(dense(model(data))[1][COLD], 2 * own[1][COLD])
    model.cold_scale = 1.0
    torch.testing.assert_close(dense(model(data)), own)
    with pytest.raises(ValueError, match="'content_map' is None"):
        model.embed_items(data, features)


@pytest.mark.parametrize('name', ['IALS', 'ContentIALS'])
def test_content_counts_as_some_interactions(name: str) -> None:
    data = small_shop()
    edges = data[INTERACTS].edge_index
    data[INTERACTS].edge_index = torch.cat([edges, edges[:, :3]], dim=1)  # Repeated ones.
    model = built(MODELS[name], data).eval()
    data[ITEM].x_text = model.embed(data, None, None)[1][
        :, :4
    ].clone()  # Features that say something.
    for key in ('x_image', 'x_text'):
        data[ITEM][key][0] = 0.0  # A warm item that nothing is known of.
    model.content_count = 0.0
    own = model(data)[1]
    model.content_count = 3.0
    mixed = model(data)[1]
    warm = model.is_warm(data)[:, 0]
    content, content_map = model._content_of(data, model.is_warm(data)), model.content_map
    assert content is not None
    assert content_map is not None
    assert own[warm].allclose(model.embed(data, None, None)[1][warm])
    explained = max(0.0, 1 - min(content_map.errors))
    assert content_map.explained == pytest.approx(explained)
    assert 0 < explained < 1
    count = torch.zeros(NUM_ITEMS).index_add(0, edges[1], torch.ones(edges.size(1)))[warm, None]
    c = 3 * explained / (1 - explained)
    expected = (c * content_map(content.warm) + count * own[warm]) / (c + count)
    expected[0] = own[0]
    assert warm[0]
    torch.testing.assert_close(mixed[warm], expected.to(mixed.dtype))
    torch.testing.assert_close(mixed[~warm], own[~warm])
    ids = torch.tensor([3, 1, 3])
    torch.testing.assert_close(model(data, None, ids)[1], mixed[ids])
    assert torch.equal(model.train()(data)[1], model.embed(data, None, None)[1])


def test_content_that_tells_nothing_counts_nothing() -> None:
    data = small_shop()
    model = built(MODELS['LightGCN'], data).eval()
    before = model(data)
    model.content_count = 3.0
    torch.testing.assert_close(model(data), before)
    assert model.content_map is not None
    assert model.content_map.explained == 0


@pytest.mark.parametrize('name', ['LightGCN', 'EASE'])
def test_new_items_must_have_the_features_of_the_data(name: str) -> None:
    data = small_shop()
    model = built(MODELS[name], data)
    x = {'image': torch.ones(2, 4), 'text': torch.ones(2, 4)}
    with pytest.raises(ValueError, match="'x' must have the modalities and channels of the data"):
        model.embed_items(data, {'image': x['image']})
    with pytest.raises(ValueError, match=r"\(got {'image': 4, 'text': 5}\)"):
        model.embed_items(data, {**x, 'text': torch.ones(2, 5)})
    with pytest.raises(ValueError, match='ItemKNN has sparse embeddings'):
        built(MODELS['ItemKNN'], data).embed_items(data, x)
    plain = interacting(data[INTERACTS].edge_index, 6, 9)
    with pytest.raises(ValueError, match="'data' has no item features to learn from"):
        model.embed_items(plain, x)
    plain[INTERACTS].edge_index = plain[INTERACTS].edge_index[:, :0]
    with pytest.raises(ValueError, match="'data' has no interactions"):
        built(MODELS['LightGCN'], plain).embed_items(plain, x)


FEATURES = [name for name, model in recommenders().items() if 'in_channels' in arguments(model)]
NEED_FEATURES = [name for name in FEATURES if not has_default(recommenders()[name], 'in_channels')]
NEED_GRAPHS = [
    name for name in NEED_FEATURES if 'similar_<modality>' in recommenders()[name].reads_graphs
]


@pytest.mark.parametrize('name', NEED_FEATURES)
def test_data_without_features_is_refused(name: str) -> None:
    data = interacting(torch.tensor([[0], [0]]), 2, 3)
    with pytest.raises(ValueError, match=f'no item features, which {name} needs'):
        recommenders()[name].from_data(data)


@pytest.mark.parametrize('name', FEATURES)
def test_a_modality_that_is_missing_later_is_named(name: str) -> None:
    data = small_shop()
    model = built(MODELS[name], data).train()
    del data[ITEM].x_text
    with pytest.raises(ValueError, match=r"lacks the (item features|modalities) \['text'\]"):
        model.loss(data, *batch_of(data), BPRLoss())


@pytest.mark.parametrize('name', NEED_GRAPHS)
def test_an_item_graph_that_is_missing_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=r"no item graph \('item', 'similar_text', 'item'\)"):
        recommenders()[name].from_data(shops.small_shop(('similar', 'similar_image')))


CONTRASTS = [
    name for name, model in recommenders().items() if 'contrast_weight' in arguments(model)
]


@pytest.mark.parametrize('name', CONTRASTS)
def test_without_contrast_it_is_the_ranking_loss(name: str) -> None:
    data, ranking = small_shop(), BPRLoss()
    model = recommenders()[name].from_data(data, contrast_weight=0.0).double().train()
    torch.manual_seed(0)
    loss = model.loss(data, *batch_of(data), ranking)
    torch.manual_seed(0)
    torch.testing.assert_close(loss, ranking(*model.triplets(data, *batch_of(data))))


def test_other_numbers_are_refused(build: Build) -> None:
    model = built(build, small_shop())
    other = interacting(torch.tensor([[0], [0]]), 3, 4)
    with pytest.raises(ValueError, match="'data' has 3 users and 4 items"):
        model(other)


def test_weights_of_interactions_are_refused(build: Build) -> None:
    data = small_shop()
    model = built(build, data)
    data[INTERACTS].edge_weight = torch.ones(data[INTERACTS].num_edges)
    with pytest.raises(ValueError, match=r'all interactions count the same; delete .*BipartiteLG'):
        model(data)
    with pytest.raises(TypeError, match='edge_weight'):
        model(data, edge_weight=data[INTERACTS].edge_weight)
    if model.has_parameters:
        with pytest.raises(ValueError, match='all interactions count the same'):
            model.loss(data, *batch_of(data), BPRLoss())


@pytest.mark.parametrize('names', [('user', 'rates', 'movie'), ('user', 'rates', 'item')])
def test_types_of_other_names_are_refused(build: Build, names: tuple[str, str, str]) -> None:
    data = small_shop()
    model = built(build, data)
    data = HeteroData()
    data['user'].num_nodes, data[names[2]].num_nodes = shops.NUM_USERS, NUM_ITEMS
    data[names].edge_index = torch.tensor([[0, 1, 2], [0, 1, 3]])
    data[names[2]].x_image = torch.ones(NUM_ITEMS, 4)
    found = rf"'user', 'item' and 'interacts' \(found .*{names[2]}.*{names[1]}"
    with pytest.raises(ValueError, match=found):
        model(data)
    for relation in ('similar', 'similar_image', 'co_interacts'):
        data[names[2], relation, names[2]].edge_index = torch.tensor([[0], [1]])
        data[names[2], relation, names[2]].edge_weight = torch.ones(1)
    with pytest.raises(ValueError, match=found):
        build(data)


def test_what_is_no_hetero_data_is_refused(build: Build) -> None:
    model = built(build, small_shop())
    edge_index = torch.tensor([[0], [1]])  # As torch_geometric.nn.LightGCN takes it.
    with pytest.raises(ValueError, match=r"'data' must be a HeteroData .*\(got Tensor\)"):
        model(edge_index)


@pytest.mark.parametrize('ids', [torch.tensor([99]), torch.tensor([-1]), torch.tensor([0.5])])
def test_ids_that_there_are_not(build: Build, ids: Tensor) -> None:
    data = small_shop()
    model = built(build, data)
    with pytest.raises(ValueError, match="'users'"):
        model(data, ids, None)
    with pytest.raises(ValueError, match="'items'"):
        model(data, None, ids)


@pytest.mark.parametrize('ids', [torch.tensor([99]), torch.tensor([-1]), torch.tensor([0.5])])
def test_the_loss_refuses_ids_that_there_are_not(build: Build, ids: Tensor) -> None:
    data = small_shop()
    model = built(build, data).train()
    if not list(model.parameters()):
        pytest.skip('there is nothing to train')
    there = torch.tensor([0])
    with pytest.raises(ValueError, match="'users'"):
        model.loss(data, ids, there, there[:, None], BPRLoss())
    with pytest.raises(ValueError, match="'items'"):
        model.loss(data, there, ids, there[:, None], BPRLoss())


def test_recommends(build: Build) -> None:
    data = small_shop()
    z_user, z_item = built(build, data).eval()(data)
    seen = data[INTERACTS].edge_index
    scores, items = recommend(z_user.detach(), z_item.detach(), k=3, exclude=seen)
    assert items.shape == scores.shape == (data[USER].num_nodes, 3)
    pairs = {tuple(pair) for pair in seen.t().tolist()}
    assert not any((user, item) in pairs for user, row in enumerate(items.tolist()) for item in row)


@pytest.mark.parametrize('build', [b for n, b in MODELS.items() if n not in IMPERSONAL])
def test_learns_what_is_planted(build: Build) -> None:
    data = planted_shop()
    held_out = data[INTERACTS].edge_index[:, ::4]
    is_train = torch.ones(data[INTERACTS].edge_index.size(1), dtype=torch.bool)
    is_train[::4] = False
    data[INTERACTS].edge_index = data[INTERACTS].edge_index[:, is_train]
    from pyg_mmgef.transforms import AddCoInteractionGraph, AddItemKNNGraph, FuseModalities

    transforms = (
        FuseModalities(),
        AddItemKNNGraph(k=3),
        AddItemKNNGraph(k=3, attr='x_image', relation='similar_image'),
        AddItemKNNGraph(k=3, attr='x_text', relation='similar_text'),
        AddCoInteractionGraph(k=3),
    )
    for transform in transforms:
        data = transform(data)
    torch.manual_seed(0)
    model = build(data)
    if list(model.parameters()):
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        for epoch in range(60):
            model.start_epoch(data, epoch)
            loss = model.train().loss(data, *batch_of(data), BPRLoss())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        z_user, z_item = model.eval()(data)
    metrics = evaluate_ranking(z_user, z_item, held_out, exclude=data[INTERACTS].edge_index, k=3)
    assert metrics['recall@3'] > 0.6


@pytest.mark.parametrize('dtype', [torch.float, torch.double])
@pytest.mark.parametrize('of_features', [torch.float, torch.double])
def test_embeddings_have_the_type_of_the_model(
    build: Build, of_features: torch.dtype, dtype: torch.dtype
) -> None:
    data = small_shop()
    for name in ('x_image', 'x_text'):
        data[ITEM][name] = data[ITEM][name].to(of_features)
    model = built(build, data).to(dtype).eval()
    assert model.dtype == dtype
    assert {z.dtype for z in model(data)} == {dtype}


def test_a_validation_after_fused_steps_is_never_stale(build: Build) -> None:
    """A fused optimiser changes parameters without torch counting the change."""
    data = small_shop()
    model = built(build, data)
    if not list(model.parameters()):
        pytest.skip('nothing to train')
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1, fused=True)
    for epoch in range(2):
        model.train().start_epoch(data, epoch)
        for _ in range(3):
            optimizer.zero_grad()
            model.loss(data, *batch_of(data), BPRLoss()).backward()
            optimizer.step()
        with torch.no_grad():
            validated = model.eval()(data)
        fresh = copy.deepcopy(model).eval()(data)  # Caches of a copy are empty.
        assert all(torch.equal(*pair) for pair in zip(dense(validated), dense(fresh), strict=True))


@pytest.mark.parametrize('name', ['type', 'items', 'float', 'img.v2'])
def test_modalities_of_any_name(build: Build, name: str) -> None:
    data = small_shop()
    data[ITEM][f'x_{name}'] = data[ITEM].x_text.clone()
    graph, given = data[ITEM, f'similar_{name}', ITEM], data[ITEM, 'similar_text', ITEM]
    graph.edge_index, graph.edge_weight = given.edge_index, given.edge_weight
    for z in dense(built(build, data).eval()(data)):
        assert z.isfinite().all()


def test_meta_parameters_are_initialised_by_reset(build: Build) -> None:
    data = small_shop()
    with torch.device('meta'):
        model = build(data)
    model = model.to_empty(device='cpu')
    for tensor in [*model.parameters(), *model.buffers()]:
        tensor.detach().fill_(99.0)  # Stands for memory with anything in it.
    expected = build(data)
    for each in (model, expected):
        torch.manual_seed(0)
        each.reset_parameters()
    model, expected = model.double(), expected.double()
    for each in (model, expected):
        each.start_epoch(data, 0)
    torch.testing.assert_close(
        dense(model.eval()(data)), dense(expected.eval()(data)), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    ('model', 'options'),
    [
        (LightGCN, {'edge_dropout': 0.5}),
        (MMGEF, {'skip_weight': 0.5}),
        (MMGEF, {'skip_weight': 1.0, 'edge_dropout': 0.5}),
        (LATTICE, {}),
    ],
)
def test_forgetting_start_epoch_is_noticed(
    model: type[Recommender], options: dict[str, object]
) -> None:
    data = small_shop()
    ours = model.from_data(data, embedding_dim=4, **options).double().train()
    users, items, negatives = batch_of(data)

    def step() -> None:
        ours.loss(data, users, items, negatives, BPRLoss())

    with warnings.catch_warnings():
        warnings.simplefilter('error')
        for epoch in range(3):
            ours.start_epoch(data, epoch)
            step()
        step()  # The end of two epochs.
    with pytest.warns(
        UserWarning, match="call 'model.start_epoch.data, epoch.' before every epoch"
    ):
        step()
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        step()  # Once is enough.
        ours.eval()
        step()


def test_models_that_never_change_need_no_start_epoch() -> None:
    data = small_shop()
    for options in ({'skip_weight': 1.0}, {'item_input': 'id'}):
        assert not MMGEF.from_data(data, **options).changes_with_epoch
    assert not LightGCN.from_data(data).changes_with_epoch
    assert not LATTICE.from_data(data, skip_weight=1.0).changes_with_epoch
