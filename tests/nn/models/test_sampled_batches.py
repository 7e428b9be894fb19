"""A step on a sampled batch is that on the whole data, where all neighbours are sampled."""

import copy
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import Module
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import (
    FREEDOM,
    MF,
    MMGEF,
    VBPR,
    BPRLoss,
    LightGCN,
    Recommender,
    SampledSoftmaxLoss,
    recommenders,
)
from pyg_mmgef.presets import ITEM_DROPOUT, MERGED, PAPER, Preset
from pyg_mmgef.schema import INTERACTS, ITEM, REV_INTERACTS, USER
from pyg_mmgef.transforms import AddReverseInteractions
from tests.nn.models.batches import batch_around, triplets_of
from tests.nn.models.shops import COLD, interacting, planted_shop, small_shop
from tests.settings import build

# User 5 has no interactions, items 7 and 8 are cold; some ids repeat.
USERS, ITEMS = torch.tensor([0, 3, 5, 0, 4]), torch.tensor([1, 5, 6, 1, 0])
NEGATIVES = {
    'one each': torch.tensor([3, 8, 2, 7, 4]),
    'two each': torch.tensor([[3, 8], [2, 7], [4, 3], [0, 5], [6, 2]]),
    'shared': torch.tensor([[3, 8, 2]]),
}

Model = TypeVar('Model', bound=Recommender)
LAYERS = (0, 1, 2, 3)
CASES: list[tuple[type[Recommender], dict[str, Any]]] = [
    (MF, {}),
    *((LightGCN, {'num_layers': n, 'embedding_l2': 0.1}) for n in LAYERS),
    (VBPR, {}),
    (VBPR, {'bias': False}),
    *(
        (FREEDOM, {'num_layers': n, 'num_item_layers': m, 'edge_dropout': 0.0, 'item_graphs': g})
        for n, m, g in (
            (0, 1, {'similar': 0.5}),
            (2, 2, {'similar': 0.5, 'co_interacts': 2.0}),
            (3, 1, {'co_interacts': 1.0}),
        )
    ),
    *((MMGEF, {'num_layers': n, 'num_item_layers': 1}) for n in LAYERS),
    *((MMGEF, {'num_item_layers': n}) for n in LAYERS),
    *(
        (MMGEF, {'item_input': i, 'attention': a, 'item_readout': r, 'num_item_layers': n})
        for i in ('features', 'id', 'sum')
        for a in ('graph', 'node', 'edge', 'mean')
        for r in ('last', 'mean')
        for n in (1, 2)
    ),
    *(
        (MMGEF, {'fusion': fusion, 'normalize_item': False})
        for fusion in ('mean', 'weighted', 'gated', 'concat')
    ),
    (MMGEF, {'item_graphs': ('co_interacts',), 'cache_bytes': 0}),
    (MMGEF, {'item_graphs': ()}),
]
IDS = [f'{cls.__name__} {" ".join(map(str, options.values()))}' for cls, options in CASES]


def model_of(cls: type[Model], data: HeteroData, seed: int = 0, **options: Any) -> Model:
    """Build a model in double precision, with all parameters away from special values."""
    torch.manual_seed(seed)
    if cls is MMGEF:
        options = {'skip_weight': 1.0, **options}
    model = cls.from_data(data, **{'embedding_dim': 4, **options}).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.5 * torch.randn_like(parameter))
    return model


def whole_batch(
    model: Recommender, data: HeteroData, triplets: tuple[Tensor, Tensor, Tensor], seed: int = 0
) -> HeteroData:
    """Return a batch with all neighbours that the model reads."""
    hops = getattr(model, 'num_layers', 0)
    item_hops = getattr(model, 'num_item_layers', 0)
    return batch_around(data, *triplets, hops, num_item_hops=item_hops, seed=seed)


def check_equal(
    model: Recommender,
    data: HeteroData,
    triplets: tuple[Tensor, Tensor, Tensor],
    loss_fn: Module | None = None,
    sampled_from: HeteroData | None = None,
) -> None:
    """Compare the embeddings of all seeds, the loss and all gradients, in training."""
    loss_fn = BPRLoss(0.3) if loss_fn is None else loss_fn
    batch = whole_batch(model, data if sampled_from is None else sampled_from, triplets)
    users, items, negatives = triplets
    both = torch.cat([items, negatives.flatten()])
    local = torch.cat([batch[ITEM].dst_pos_index, batch[ITEM].dst_neg_index.flatten()])
    out = model(batch, batch[USER].src_index, local)
    torch.testing.assert_close(out, model(data, users, both))
    losses = model.loss(batch, *triplets_of(batch), loss_fn), model.loss(data, *triplets, loss_fn)
    torch.testing.assert_close(*losses)
    grads, expected = (gradients(model, loss) for loss in losses)
    torch.testing.assert_close(grads, expected)


def gradients(model: Recommender, loss: Tensor) -> dict[str, Tensor]:
    parameters = dict(model.named_parameters())
    grads = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    return {
        name: torch.zeros_like(parameter) if grad is None else grad.to_dense()
        for (name, parameter), grad in zip(parameters.items(), grads, strict=True)
    }


@pytest.mark.parametrize(('cls', 'options'), CASES, ids=IDS)
def test_equals_the_whole_data(cls: type[Recommender], options: dict[str, Any]) -> None:
    data = small_shop()
    check_equal(model_of(cls, data, **options), data, (USERS, ITEMS, NEGATIVES['one each']))


@pytest.mark.parametrize('negatives', NEGATIVES.values(), ids=NEGATIVES)
@pytest.mark.parametrize('cls', [MF, LightGCN, VBPR, FREEDOM, MMGEF])
def test_several_negatives(cls: type[Recommender], negatives: Tensor) -> None:
    data = small_shop()
    options: dict[str, Any] = {'edge_dropout': 0.0} if cls is FREEDOM else {}
    model = model_of(cls, data, sparse=True, **options)
    check_equal(model, data, (USERS, ITEMS, negatives), SampledSoftmaxLoss())


@pytest.mark.parametrize('preset', [PAPER, ITEM_DROPOUT, MERGED], ids=['paper', 'drop', 'merged'])
def test_presets(preset: Preset) -> None:
    data = preset.transform()(planted_shop())
    torch.manual_seed(0)
    model = preset.model(data, item_dropout=0.0).double()
    data[ITEM].x_image, data[ITEM].x_text = data[ITEM].x_image.double(), data[ITEM].x_text.double()
    model.start_epoch(data, 3)
    prepared = model.epoch_data(AddReverseInteractions()(data))
    users, items = data[INTERACTS].edge_index[:, ::3]
    negatives = (items + 4) % 10
    check_equal(model, data, (users, items, negatives), sampled_from=prepared)


def test_evaluation_gives_the_models_own_embeddings() -> None:
    data = small_shop()
    model = model_of(MMGEF, data).eval()
    triplets = USERS, ITEMS, NEGATIVES['one each']
    batch = whole_batch(model, data, triplets)
    _, z_item = model(batch, items=batch[ITEM].dst_neg_index)
    _, own = model.embed(data, None, None)
    torch.testing.assert_close(z_item, own[triplets[2]])
    assert not torch.allclose(z_item, model(data)[1][triplets[2]])  # Some are cold.


def test_all_nodes_of_a_batch_are_local() -> None:
    data = small_shop()
    model = model_of(LightGCN, data)
    batch = whole_batch(model, data, (USERS[:1], ITEMS[:1], ITEMS[1:2]))
    z_user, z_item = model(batch)
    assert z_user.size(0) == batch[USER].n_id.numel() < 6
    assert z_item.size(0) == batch[ITEM].n_id.numel() < 9


def test_the_order_of_nodes_and_edges_does_not_matter() -> None:
    data, triplets = small_shop(), (USERS, ITEMS, NEGATIVES['one each'])
    model = model_of(MMGEF, data)
    losses = []
    for seed in range(3):
        batch = whole_batch(model, data, triplets, seed)
        losses.append(model.loss(batch, *triplets_of(batch), BPRLoss()))
    torch.testing.assert_close(losses[1:], [losses[0]] * 2)


def test_repeated_interactions() -> None:
    data = small_shop()
    edge_index = data[INTERACTS].edge_index
    data[INTERACTS].edge_index = torch.cat([edge_index, edge_index[:, :4]], dim=1)
    model = model_of(LightGCN, data)
    check_equal(model, data, (USERS, ITEMS, NEGATIVES['one each']))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_equals_the_whole_data_on_any_graph(draw: st.DataObject) -> None:
    num_users, num_items = draw.draw(st.integers(1, 6)), draw.draw(st.integers(1, 6))
    user, item = st.integers(0, num_users - 1), st.integers(0, num_items - 1)
    pairs = draw.draw(st.lists(st.tuples(user, item), max_size=14))
    data = interacting(torch.tensor(pairs).long().view(-1, 2).t(), num_users, num_items)
    edges = draw.draw(st.lists(st.tuples(item, item), max_size=10))
    graph = data[ITEM, 'similar', ITEM]
    graph.edge_index = torch.tensor(edges).long().view(-1, 2).t()
    graph.edge_weight = torch.linspace(0.1, 1, len(edges), dtype=torch.double)
    ids = [draw.draw(st.lists(one, min_size=3, max_size=3)) for one in (user, item, item)]
    users, items, negatives = torch.tensor(ids)
    options: dict[str, Any] = {
        'num_layers': draw.draw(st.integers(0, 3)),
        'num_item_layers': draw.draw(st.integers(0, 3)),
        'attention': draw.draw(st.sampled_from(['graph', 'node', 'edge'])),
    }
    check_equal(model_of(MMGEF, data, **options), data, (users, items, negatives))


@pytest.mark.parametrize('num_layers', [1, 2])
def test_the_estimate_is_unbiased(num_layers: int) -> None:
    """With two layers too: a path of two steps has the samples of two nodes, chosen apart."""
    generator = torch.Generator().manual_seed(0)
    owned = torch.rand(12, 9, generator=generator) < 0.6
    data = interacting(owned.nonzero().t(), 12, 9)
    model = model_of(LightGCN, data, num_layers=num_layers)
    users, items, negatives = torch.tensor([0]), torch.tensor([3]), torch.tensor([4])
    with torch.no_grad():
        expected = torch.cat(model(data, users, items))
        draws = []
        for seed in range(1500):
            batch = batch_around(
                data, users, items, negatives, num_layers, num_neighbors=2, seed=seed
            )
            out = model(batch, batch[USER].src_index, batch[ITEM].dst_pos_index)
            draws.append(torch.cat(out))
    drawn = torch.stack(draws)
    error = drawn.std(dim=0) / len(draws) ** 0.5
    assert float(error.max()) > 0.002  # The samples do differ.
    assert bool(((drawn.mean(dim=0) - expected).abs() < 4 * error).all())


def test_sampling_with_replacement_counts_each_time() -> None:
    data = AddReverseInteractions()(interacting(torch.tensor([[0, 1, 2, 0], [0, 0, 0, 1]]), 3, 2))
    model = model_of(LightGCN, data, num_layers=1)
    batch = batch_around(data, torch.tensor([1]), torch.tensor([0]), torch.tensor([1]), 0)
    batch[USER].n_id, batch[USER].num_nodes = torch.tensor([1, 2]), 2
    batch[USER].degree = torch.tensor([1, 1])
    local = batch[ITEM].dst_pos_index
    batch[INTERACTS].edge_index = torch.stack([torch.tensor([0, 1, 1]), local.expand(3)])
    x_user, x_item = model.user_embedding.weight, model.item_embedding.weight
    expected = (x_item[0] + 3 / 3 * (x_user[1] + 2 * x_user[2]) / 3**0.5) / 2
    torch.testing.assert_close(model(batch, items=local)[1][0], expected)


class TestEpochData:
    def test_a_model_that_stays_as_it_is_propagates_over_the_data(self) -> None:
        data = AddReverseInteractions()(small_shop())
        for cls in (MF, LightGCN, VBPR):
            out = model_of(cls, data).epoch_data(data)
            assert out is not data
            assert 'of_epoch' not in data
            for edge_type in data.edge_types:
                assert out[edge_type].edge_index is data[edge_type].edge_index

    @pytest.mark.parametrize('cls', [LightGCN, FREEDOM, MMGEF])
    def test_edge_dropout(self, cls: type[Recommender]) -> None:
        data = small_shop()
        data[INTERACTS].time = torch.arange(11)
        model = model_of(cls, data, edge_dropout=0.6)
        triplets = USERS, ITEMS, NEGATIVES['one each']
        losses = []
        for epoch in range(4):
            model.start_epoch(data, epoch)
            prepared = model.epoch_data(AddReverseInteractions()(data))
            assert prepared[INTERACTS].num_edges == prepared[REV_INTERACTS].num_edges == 4
            kept = prepared[INTERACTS].time
            expected = data[INTERACTS].edge_index[:, kept]
            assert torch.equal(prepared[INTERACTS].edge_index, expected)
            assert torch.equal(prepared[INTERACTS].edge_label_index, data[INTERACTS].edge_index)
            assert int(prepared[ITEM].degree.sum()) == 4
            # A warm item whose interactions were all left out isn't cold.
            assert prepared[ITEM].is_warm.logical_not().nonzero().view(-1).tolist() == COLD
            check_equal(model, data, triplets, sampled_from=prepared)
            losses.append(model.loss(data, *triplets, BPRLoss()).item())
        assert len(set(losses)) > 1

    def test_labels_of_the_data_stay(self) -> None:
        data = AddReverseInteractions()(small_shop())
        data[INTERACTS].edge_label_index = data[INTERACTS].edge_index.flip(1)
        data[INTERACTS].edge_label = torch.arange(11)
        out = model_of(LightGCN, data, edge_dropout=0.5).epoch_data(data)
        for key in ('edge_label_index', 'edge_label'):
            assert torch.equal(out[INTERACTS][key], data[INTERACTS][key])

    def test_nothing_is_left_out_in_evaluation(self) -> None:
        data = AddReverseInteractions()(small_shop())
        model = model_of(LightGCN, data, edge_dropout=0.5).eval()
        model.content_map = None
        prepared = model.epoch_data(data)
        assert prepared[INTERACTS].num_edges == 11
        check_equal(model, data, (USERS, ITEMS, NEGATIVES['one each']), sampled_from=prepared)

    @pytest.mark.parametrize('attention', ['graph', 'edge'])
    def test_a_learned_item_graph(self, attention: str) -> None:
        data = small_shop()
        model = model_of(MMGEF, data, skip_weight=0.6, k=2, attention=attention)
        triplets = USERS, ITEMS, NEGATIVES['one each']
        before = data[ITEM, 'similar', ITEM].edge_index
        assert model.item_encoder.lin is not None
        for epoch in (0, 5):
            if epoch > 0:  # The first graph is learned where it is first asked for.
                with torch.no_grad():
                    model.item_encoder.lin.weight.normal_()
                model.start_epoch(data, epoch)
            prepared = model.epoch_data(AddReverseInteractions()(data))
            check_equal(model, data, triplets, sampled_from=prepared)
            assert data[ITEM, 'similar', ITEM].edge_index is before
            assert prepared[ITEM, 'similar', ITEM].num_edges > before.size(1)

    def test_a_batch_of_the_data_itself_is_refused(self) -> None:
        data = AddReverseInteractions()(small_shop())
        cases: list[tuple[type[Recommender], dict[str, Any]]] = [
            (LightGCN, {'edge_dropout': 0.5}),
            (FREEDOM, {}),
            (MMGEF, {'skip_weight': 0.5}),
        ]
        for cls, options in cases:
            model = model_of(cls, data, **options)
            batch = whole_batch(model, data, (USERS, ITEMS, ITEMS))
            with pytest.raises(ValueError, match=r"sample it from 'model.epoch_data\(data\)'"):
                model.loss(batch, *triplets_of(batch), BPRLoss())

    def test_other_data_is_refused(self) -> None:
        model = model_of(LightGCN, small_shop())
        with pytest.raises(ValueError, match='has 8 users and 10 items'):
            model.epoch_data(planted_shop())


class TestSparseGradients:
    @pytest.mark.parametrize('cls', [MF, LightGCN, VBPR, FREEDOM, MMGEF])
    def test_follow_the_batch(self, cls: type[Recommender]) -> None:
        data = small_shop()
        options: dict[str, Any] = {'edge_dropout': 0.0} if cls is FREEDOM else {}
        model = model_of(cls, data, sparse=True, **options)
        batch = whole_batch(model, data, (USERS[:1], ITEMS[:1], ITEMS[1:2]))
        model.loss(batch, *triplets_of(batch), BPRLoss()).backward()
        ids = {USER: batch[USER].n_id, ITEM: batch[ITEM].n_id}
        for name, module in model.named_modules():
            if isinstance(module, torch.nn.Embedding):
                grad = module.weight.grad
                assert grad is not None
                assert grad.is_sparse, name
                known = ids[USER if 'user' in name else ITEM].tolist()
                assert grad._nnz() <= len(known)  # Each row is looked up once.
                assert set(grad._indices()[0].tolist()) <= set(known)
        model.zero_grad()
        model.loss(data, USERS, ITEMS, ITEMS.flip(0), BPRLoss()).backward()
        assert all(not p.grad.is_sparse for p in model.parameters() if p.grad is not None)

    @pytest.mark.parametrize('cls', [LightGCN, MMGEF])
    def test_an_epoch_with_two_optimisers(self, cls: type[Recommender]) -> None:
        """The first step is that of Adam on the whole data; epsilon is added at other places."""
        data = planted_shop()
        for key in ('x_image', 'x_text'):
            data[ITEM][key] = data[ITEM][key].double()
        options: dict[str, Any] = {'num_layers': 1}
        if cls is MMGEF:
            options.update(item_input='sum', item_graphs=())
        model = model_of(cls, data, sparse=True, **options)
        twin = copy.deepcopy(model)
        tables = [p for name, p in model.named_parameters() if 'embedding' in name]
        others = [p for name, p in model.named_parameters() if 'embedding' not in name]
        optimisers: list[torch.optim.Optimizer] = [
            torch.optim.SparseAdam(tables, lr=0.05, eps=1e-12)
        ]
        if others:
            optimisers.append(torch.optim.Adam(others, lr=0.05, eps=1e-12))
        dense = torch.optim.Adam(twin.parameters(), lr=0.05, eps=1e-12)
        positives, generator = data[INTERACTS].edge_index, torch.Generator().manual_seed(0)

        def step(triplets: tuple[Tensor, Tensor, Tensor]) -> float:
            batch = whole_batch(model, data, triplets)
            loss = model.loss(batch, *triplets_of(batch), BPRLoss(0.01))
            for optimiser in optimisers:
                optimiser.zero_grad()
            loss.backward()
            for optimiser in optimisers:
                optimiser.step()
            return loss.item()

        users, items = positives
        negatives = torch.tensor([(item + 5) % 10 for item in items.tolist()])
        first = step((users, items, negatives))
        dense.zero_grad()
        twin.loss(data, users, items, negatives, BPRLoss(0.01)).backward()
        dense.step()
        named = dict(twin.named_parameters())
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(parameter, named[name], rtol=0, atol=1e-6)
        for _ in range(8):  # Epochs of several batches.
            for part in torch.randperm(users.numel(), generator=generator).split(7):
                step((users[part], items[part], negatives[part]))
        after = model.loss(data, users, items, negatives, BPRLoss(0.01)).item()
        assert after < 0.5 * first

    def test_the_penalty_on_layer_zero(self) -> None:
        data = small_shop()
        triplets = USERS, ITEMS, NEGATIVES['two each']
        penalised = model_of(LightGCN, data, embedding_l2=0.5, sparse=True)
        plain = model_of(LightGCN, data, sparse=True)
        batch = whole_batch(plain, data, triplets)
        difference = penalised.loss(batch, *triplets_of(batch), BPRLoss(0)) - plain.loss(
            batch, *triplets_of(batch), BPRLoss(0)
        )
        x_user, x_item = plain.user_embedding.weight, plain.item_embedding.weight
        squares = x_user[USERS].square().sum() + x_item[ITEMS].square().sum()
        squares = squares + x_item[triplets[2]].square().sum() / 2
        torch.testing.assert_close(difference, 0.5 / 2 * squares / 5)


class TestErrors:
    def batch(self, data: HeteroData | None = None) -> HeteroData:
        data = small_shop() if data is None else data
        return batch_around(data, USERS, ITEMS, NEGATIVES['one each'], 2)

    def test_a_batch_of_unprepared_data(self) -> None:
        model = model_of(LightGCN, small_shop())
        for node_type in (USER, ITEM):
            batch = self.batch()
            del batch[node_type].degree
            with pytest.raises(ValueError, match=rf"lacks data\['{node_type}'\].degree; .*AddRev"):
                model(batch)
        batch = self.batch()
        del batch[USER].n_id
        with pytest.raises(ValueError, match=r"lacks data\['user'\].n_id"):
            model(batch)
        for edge_type in (INTERACTS, REV_INTERACTS):
            batch = self.batch()
            del batch[edge_type]
            with pytest.raises(ValueError, match=f"no edges .*'{edge_type[1]}'.*AddReverseInter"):
                model.loss(batch, *triplets_of(batch), BPRLoss())

    def test_ids_beyond_the_model(self) -> None:
        batch = self.batch()
        batch[ITEM].n_id = batch[ITEM].n_id + 1
        with pytest.raises(
            ValueError, match=r"data\['item'\].n_id' must hold item ids in \[0, 9\)"
        ):
            model_of(LightGCN, small_shop())(batch)

    def test_degrees_of_another_size(self) -> None:
        batch = self.batch()
        batch[USER].degree = torch.ones(3)
        with pytest.raises(ValueError, match=r'must have one number for each of 6 sampled users'):
            model_of(LightGCN, small_shop())(batch)

    def test_triplets_are_local(self) -> None:
        batch = self.batch()
        model = model_of(LightGCN, small_shop())
        with pytest.raises(ValueError, match=r"'users' must hold user ids in \[0, 6\)"):
            model.loss(batch, torch.tensor([6]), ITEMS[:1], ITEMS[:1], BPRLoss())

    def test_edges_beyond_the_batch(self) -> None:
        batch = self.batch()
        batch[INTERACTS].edge_index = torch.tensor([[6], [0]])
        with pytest.raises(ValueError, match='holds the user id 6, but there are only 6 users'):
            model_of(LightGCN, small_shop())(batch)

    def test_what_reads_the_whole_data(self) -> None:
        batch = self.batch()
        model = model_of(LightGCN, small_shop())
        calls: list[Callable[[HeteroData], object]] = [
            model.fold_in,
            model.check_sizes,
            model.epoch_data,
            lambda data: model.start_epoch(data, 0),
            model.propagated_fold_in,
            lambda data: model.embed_items(data, {'image': torch.zeros(1, 4)}),
        ]
        for call in calls:
            with pytest.raises(ValueError, match='is a sampled batch, which only a step reads'):
                call(batch)

    @pytest.mark.parametrize('name', recommenders())
    def test_a_model_takes_batches_or_says_that_it_does_not(self, name: str) -> None:
        cls = recommenders()[name]
        assert ('sparse' in inspect.signature(cls).parameters) == cls.takes_batches
        if not cls.takes_batches:
            model = build(cls)
            assert isinstance(model, Recommender)
            with pytest.raises(ValueError, match=f'{name} reads more of the data in a step'):
                model(self.batch())


def test_the_guide_names_the_models_that_take_batches() -> None:
    guide = Path(__file__).parents[3] / 'docs' / 'guides' / 'sampled_training.rst'
    text = guide.read_text(encoding='utf-8').partition('These models take batches: ')[2]
    named = text.partition(', the latter')[0].replace(' and ', ', ').split(', ')
    assert sorted(named) == [name for name, cls in recommenders().items() if cls.takes_batches]
