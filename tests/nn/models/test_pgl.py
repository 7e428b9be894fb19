from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import PGL, BPRLoss, LightGCN
from pyg_mmgef.schema import INTERACTS, ITEM
from tests.nn.models.layers import layer_of
from tests.nn.models.multimodal import (
    ITEMS,
    LACKS,
    NEGATIVES,
    USERS,
    affine,
    built,
    check_embeddings,
    check_loss,
    close,
    expected_contrast,
    has_modality,
    item_matrix,
    shop,
    without_interactions,
)
from tests.nn.models.shops import interaction_matrix, small_shop
from tests.references import bipartite_normalized, dense_adjacency


def model_of(data: HeteroData, **kwargs: Any) -> PGL:
    return built(PGL, data, **kwargs)


def expected_of(model: PGL, data: HeteroData, walk: Tensor) -> tuple[Tensor, Tensor]:
    """Users' embeddings and unit features over the walk, and features over the item graphs."""
    parts = []
    for name in LACKS:
        x = affine(layer_of(model.lin, name), data[ITEM][f'x_{name}'])
        parts.append(has_modality(name) * x / x.square().sum(dim=1, keepdim=True).sqrt())
    x_item = torch.cat(parts, dim=1)
    users, items = [torch.cat([model.user_embedding[0], model.user_embedding[1]], dim=1)], [x_item]
    for _ in range(model.num_layers):
        users, items = [*users, walk @ items[-1]], [*items, walk.t() @ users[-1]]
    mixed = torch.zeros(9, 9).double()
    for relation, weight in model.item_graphs.items():
        mixed += weight * item_matrix(data, relation)
    h = x_item
    for _ in range(model.num_item_layers):
        h = mixed @ h
    return torch.stack(users).mean(0), torch.stack(items).mean(0) + h


def whole_walk(data: HeteroData) -> Tensor:
    return bipartite_normalized(interaction_matrix(data))


@pytest.mark.parametrize('num_layers', [0, 2])
@pytest.mark.parametrize('num_item_layers', [1, 2])
@pytest.mark.parametrize('subgraph', ['local', 'global'])
def test_evaluation_equals_the_dense_reference(
    num_layers: int, num_item_layers: int, subgraph: str
) -> None:
    data = shop()
    model = model_of(
        data,
        num_layers=num_layers,
        num_item_layers=num_item_layers,
        subgraph=subgraph,
        item_graphs={'similar_image': 0.1, 'similar_text': 0.9},
    ).eval()
    check_embeddings(model, data, expected_of(model, data, whole_walk(data)))


def local_walk(model: PGL, data: HeteroData) -> Tensor:
    """The kept interactions, normalised anew by the degrees that are left."""
    kept = model.principal_graph(data).edges()[0]
    pairs = [tuple(pair) for pair in data[INTERACTS].edge_index.t().tolist()]
    assert all(tuple(pair) in pairs for pair in kept.t().tolist())
    assert kept.size(1) == round((1 - model.edge_dropout) * len(pairs))
    return bipartite_normalized(dense_adjacency(kept, None, 6, 9).t())


def test_training_propagates_over_the_local_subgraph() -> None:
    data = shop()
    model = model_of(data, edge_dropout=0.5, seed=5).train()
    assert model.changes_with_epoch
    light_gcn = LightGCN(6, 9, embedding_dim=4, edge_dropout=0.5, seed=5).double()
    seen = []
    for epoch in (0, 1, 2, 0):
        model.start_epoch(data, epoch)
        light_gcn.start_epoch(data, epoch)
        walk = local_walk(model, data)
        # The sample is that of LightGCN's edge dropout.
        theirs = light_gcn.epoch_graph(data).edges()
        torch.testing.assert_close(walk, dense_adjacency(*theirs, 6, 9).t().double())
        close(model(data), expected_of(model, data, walk))
        seen.append(walk)
    assert not all(torch.equal(seen[0], walk) for walk in seen[1:3])
    assert torch.equal(seen[0], seen[3])


def test_training_propagates_over_the_global_subgraph() -> None:
    data = shop()
    model = model_of(data, subgraph='global', rank=4).train()
    assert not model.changes_with_epoch
    value = torch.linalg.svdvals(whole_walk(data))
    pair = model.principal_graph(data)
    weight = dense_adjacency(*pair.edges(), 6, 9).t().double()
    close(torch.linalg.matrix_norm(weight, 2), value[0] * value[3])
    close(model(data), expected_of(model, data, weight))
    model.start_epoch(data, 1)
    assert model.principal_graph(data) is pair


def test_all_interactions_kept_are_the_whole_graph() -> None:
    data = shop()
    model = model_of(data, edge_dropout=0.0).train()
    assert not model.changes_with_epoch
    close(model(data), expected_of(model, data, whole_walk(data)))


@pytest.mark.parametrize('negatives', NEGATIVES.values(), ids=list(NEGATIVES))
@pytest.mark.parametrize('dropout', [0.0, 0.4])
def test_the_loss_adds_a_contrast_of_dropouts(negatives: Tensor, dropout: float) -> None:
    data = shop()
    model = model_of(data, contrast_weight=0.3, temperature=0.5, dropout=dropout).train()
    torch.manual_seed(3)
    loss = model.loss(data, USERS, ITEMS, negatives, BPRLoss(0.01))
    torch.manual_seed(3)
    z_user, z_item = expected_of(model, data, local_walk(model, data))
    expected = BPRLoss(0.01)(z_user[USERS], z_item[ITEMS], z_item[negatives])
    for z, ids in ((z_user, USERS), (z_item, ITEMS)):
        rows, position = ids.unique(return_inverse=True)
        a, b = F.dropout(z[rows], dropout), F.dropout(z[rows], dropout)
        expected = expected + 0.3 * expected_contrast(a[position], b[position], 0.5) / 2
    check_loss(model, loss, expected)


def test_an_item_without_interactions_has_its_features() -> None:
    data = shop()
    model = model_of(data).eval()
    for name in LACKS:
        graph = data[ITEM, f'similar_{name}', ITEM]
        graph.edge_weight = torch.zeros_like(graph.edge_weight)
    z_item = model(data)[1]
    close(z_item[8].view(2, 4).norm(dim=1), torch.full((2,), 1 / 3).double())
    del data[ITEM].has_image
    assert torch.equal(z_item[6, 4:], model(data)[1][6, 4:])


def test_the_graphs_are_built_once() -> None:
    data = shop()
    model = model_of(data)
    model.start_epoch(data, 0)
    whole, principal = model.interaction_graph(data), model.principal_graph(data)
    model.train()(data)
    model.eval()(data)
    assert model.interaction_graph(data) is whole
    assert model.principal_graph(data) is principal
    model.reset_parameters()
    assert model.interaction_graph(data) is not whole
    assert model.principal_graph(data) is not principal


def test_each_modality_has_embeddings_of_its_own() -> None:
    assert not torch.equal(*model_of(shop()).user_embedding)


@pytest.mark.parametrize('subgraph', ['local', 'global'])
def test_no_interactions(subgraph: str) -> None:
    data = without_interactions()
    model = model_of(data, num_layers=1, subgraph=subgraph).train()
    model.start_epoch(data, 0)
    close(model(data), expected_of(model, data, torch.zeros(6, 9).double()))


def test_other_graphs_than_those_of_the_modalities() -> None:
    model = PGL.from_data(small_shop(), item_graphs={'similar': 1.0})
    assert model.graphs.relations == ('similar',)
