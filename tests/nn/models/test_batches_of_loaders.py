"""Models on the batches of our loader and of PyG's, with all neighbours sampled."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.loader import LinkLoader, LinkNeighborLoader

from pyg_mmgef.loader import InteractionNeighborSampler, TripletNeighborLoader
from pyg_mmgef.nn import FREEDOM, MF, MMGEF, VBPR, BPRLoss, LightGCN, Recommender
from pyg_mmgef.presets import MERGED, PAPER
from pyg_mmgef.schema import INTERACTS, ITEM, REV_INTERACTS, USER, item_relations
from pyg_mmgef.transforms import AddReverseInteractions
from tests.nn.models.batches import triplets_of
from tests.nn.models.shops import planted_shop, small_shop

MODELS: list[tuple[type[Recommender], dict[str, Any]]] = [
    (MF, {}),
    (LightGCN, {'num_layers': 2}),
    (VBPR, {}),
    (FREEDOM, {'edge_dropout': 0.0, 'item_graphs': {'similar': 1.0}, 'num_item_layers': 2}),
    (MMGEF, {'skip_weight': 1.0, 'item_input': 'sum', 'attention': 'node'}),
    (MMGEF, {'skip_weight': 0.5, 'edge_dropout': 0.5, 'num_item_layers': 2}),
]
models = pytest.mark.parametrize(
    ('cls', 'options'), MODELS, ids=[cls.__name__ for cls, _ in MODELS]
)


def model_of(cls: type[Recommender], data: HeteroData, options: dict[str, Any]) -> Recommender:
    torch.manual_seed(0)
    model = cls.from_data(data, embedding_dim=4, sparse=True, **options).double()
    model.start_epoch(data, 0)
    return model


def check_losses(model: Recommender, data: HeteroData, batch: HeteroData) -> None:
    """Compare the loss, and the gradients, on a batch and on the whole data."""
    users, items, negatives = triplets_of(batch)
    n_user, n_item = batch[USER].n_id, batch[ITEM].n_id
    whole = n_user[users], n_item[items], n_item[negatives]
    losses = (
        model.loss(batch, users, items, negatives, BPRLoss()),
        model.loss(data, *whole, BPRLoss()),
    )
    torch.testing.assert_close(*losses)
    parameters = list(model.parameters())
    grads = [torch.autograd.grad(loss, parameters, allow_unused=True) for loss in losses]
    for found, expected in zip(*grads, strict=True):
        assert (found is None) == (expected is None)
        if found is not None and expected is not None:
            torch.testing.assert_close(found.to_dense(), expected)


@models
def test_our_loader(cls: type[Recommender], options: dict[str, Any]) -> None:
    data = small_shop()
    model = model_of(cls, data, options)
    train = AddReverseInteractions()(data)
    loader = TripletNeighborLoader(
        train, [-1] * 2, batch_size=4, shuffle=True, num_item_layers=2, num_negatives=2
    )
    loader.sample_from(model.epoch_data(train))
    num_triplets = 0
    for batch in loader:
        check_losses(model, data, batch)
        num_triplets += batch[USER].src_index.numel()
    assert num_triplets == 11  # Also those that the epoch leaves out.


@pytest.mark.parametrize(
    ('cls', 'options', 'relation'),
    [
        (LightGCN, {'num_layers': 3}, 'interacts'),
        (FREEDOM, {'edge_dropout': 0.0, 'num_layers': 3}, 'interacts'),
        (FREEDOM, {'edge_dropout': 0.0, 'num_item_layers': 2}, 'similar'),
        (MMGEF, {'skip_weight': 1.0, 'num_layers': 3}, 'interacts'),
        (MMGEF, {'skip_weight': 1.0, 'num_item_layers': 2}, 'similar'),
    ],
)
def test_fewer_hops_than_layers(
    cls: type[Recommender], options: dict[str, Any], relation: str
) -> None:
    train = AddReverseInteractions()(small_shop())
    if cls is FREEDOM:
        options = {'item_graphs': {'similar': 1.0}, **options}
    model = model_of(cls, train, options)
    batch = next(iter(TripletNeighborLoader(train, [2, 2])))
    with pytest.raises(ValueError, match=rf"hops? along the edges \(.*'{relation}'.* fewer than"):
        model.loss(batch, *triplets_of(batch), BPRLoss())


@pytest.mark.parametrize('item_input', ['features', 'sum'])
def test_without_item_layers_a_batch_needs_no_item_graphs(item_input: str) -> None:
    data = small_shop()
    options = {'skip_weight': 1.0, 'item_input': item_input, 'num_item_layers': 0}
    model = model_of(MMGEF, data, options)
    train = AddReverseInteractions()(data)
    for batch in TripletNeighborLoader(train, [-1] * 2, batch_size=4, num_item_layers=0):
        check_losses(model, data, batch)


@pytest.mark.parametrize('preset', [PAPER, MERGED], ids=['paper', 'merged'])
def test_training_of_a_preset(preset: Any) -> None:
    """A shop with two groups is learned from two neighbours a node."""
    train = AddReverseInteractions()(preset.transform()(planted_shop()))
    torch.manual_seed(0)
    model = preset.model(train, sparse=True, embedding_dim=16)
    tables = [p for name, p in model.named_parameters() if 'embedding' in name]
    others = [p for name, p in model.named_parameters() if 'embedding' not in name]
    optimisers: list[torch.optim.Optimizer] = [torch.optim.SparseAdam(tables, lr=0.02)]
    if others:
        optimisers.append(torch.optim.Adam(others, lr=0.02))
    loader = TripletNeighborLoader(train, [2, 2], batch_size=8, shuffle=True, num_item_layers=2)
    means = []
    for epoch in range(12):
        model.start_epoch(train, epoch)
        loader.sample_from(model.epoch_data(train))
        losses = []
        for batch in loader:
            loss = model.loss(batch, *triplets_of(batch), preset.loss())
            for optimiser in optimisers:
                optimiser.zero_grad()
            loss.backward()
            for optimiser in optimisers:
                optimiser.step()
            losses.append(loss.item())
        means.append(sum(losses) / len(losses))
    assert means[-1] < 0.7 * means[0]


@models
def test_link_loader_of_pyg_with_our_sampler(
    cls: type[Recommender], options: dict[str, Any]
) -> None:
    data = small_shop()
    model = model_of(cls, data, options)
    prepared = model.epoch_data(AddReverseInteractions()(data))
    loader = LinkLoader(
        prepared,
        link_sampler=InteractionNeighborSampler(prepared, [-1] * 2, num_item_layers=2),
        edge_label_index=(INTERACTS, data[INTERACTS].edge_index),
        neg_sampling='triplet',
        batch_size=4,
    )
    for batch in loader:
        check_losses(model, data, batch)


@pytest.mark.sparse
@models
def test_link_neighbor_loader_of_pyg(cls: type[Recommender], options: dict[str, Any]) -> None:
    pytest.importorskip('torch_sparse')
    data = small_shop()
    model = model_of(cls, data, options)
    prepared = model.epoch_data(AddReverseInteractions()(data))
    graphs = [(ITEM, relation, ITEM) for relation in item_relations(prepared)]
    loader = LinkNeighborLoader(
        prepared,
        num_neighbors={edge_type: [-1] * 2 for edge_type in (INTERACTS, REV_INTERACTS, *graphs)},
        edge_label_index=(INTERACTS, data[INTERACTS].edge_index),
        neg_sampling='triplet',
        batch_size=4,
    )
    for batch in loader:
        check_losses(model, data, batch)


def test_a_step_reads_and_changes_rows_of_the_batch_alone() -> None:
    """Of many users and items: no gradient has more rows than the batch has nodes."""
    num_users, num_items = 2000, 1500
    generator = torch.Generator().manual_seed(0)
    edges: list[Tensor] = [
        torch.randint(n, (6000,), generator=generator) for n in (num_users, num_items)
    ]
    data = HeteroData({USER: {'num_nodes': num_users}, ITEM: {'num_nodes': num_items}})
    data[INTERACTS].edge_index = torch.stack(edges)
    train = AddReverseInteractions()(data)
    model = LightGCN.from_data(train, embedding_dim=8, num_layers=1, sparse=True)
    batch = next(iter(TripletNeighborLoader(train, [3], batch_size=10, shuffle=True)))
    model.loss(batch, *triplets_of(batch), BPRLoss()).backward()
    for embedding, store in (
        (model.user_embedding, batch[USER]),
        (model.item_embedding, batch[ITEM]),
    ):
        grad = embedding.weight.grad
        assert grad is not None
        assert grad._nnz() == store.n_id.numel() < 100
