import copy
import pickle

import pytest
import torch
from torch import Tensor
from torch.nn import Linear

from pyg_mmgef.nn.parts.item_graphs import ItemGraphs
from pyg_mmgef.schema import ITEM
from tests.nn.models.shops import CHANNELS, NUM_ITEMS, small_shop
from tests.references import dense_adjacency

RELATIONS = ('similar', 'co_interacts')
LEARNED = torch.tensor([[0, 1, 8], [1, 0, 8]]), torch.tensor([0.3, 0.7, 1.0], dtype=torch.double)
ITEMS = torch.tensor([0, 3, 6, 8])


def graphs(skip_weight: float = 0.6) -> ItemGraphs:
    return ItemGraphs(RELATIONS, NUM_ITEMS, 'similar', skip_weight)


def matrices(learned: bool = False) -> list[Tensor]:
    data = small_shop()
    out = []
    for relation in RELATIONS:
        graph = data[ITEM, relation, ITEM]
        out.append(dense_adjacency(graph.edge_index, graph.edge_weight, NUM_ITEMS, NUM_ITEMS))
    if learned:
        out[0] = 0.6 * out[0] + 0.4 * dense_adjacency(*LEARNED, NUM_ITEMS, NUM_ITEMS)
    return out


@pytest.mark.parametrize('learned', [False, True])
def test_pairs_and_union(learned: bool) -> None:
    data, ours = small_shop(), graphs()
    ours.learned = LEARNED if learned else None
    x = torch.eye(NUM_ITEMS, dtype=torch.double)
    union, _, edge_attr = ours.union(data)
    for number, (pair, matrix) in enumerate(zip(ours.pairs(data), matrices(learned), strict=True)):
        torch.testing.assert_close(pair.matmul(x), matrix)
        torch.testing.assert_close(union.matmul(x, edge_attr[:, number]), matrix)


@pytest.mark.parametrize('items', [None, ITEMS])
@pytest.mark.parametrize('per_item', [False, True])
@pytest.mark.parametrize('learned', [False, True])
def test_mixing_and_projecting_commute(learned: bool, per_item: bool, items: Tensor | None) -> None:
    data, ours = small_shop(), graphs()
    ours.learned = LEARNED if learned else None
    generator = torch.Generator().manual_seed(1)
    e = torch.randn(NUM_ITEMS, CHANNELS, generator=generator, dtype=torch.double)
    rows = torch.arange(NUM_ITEMS) if items is None else items
    alpha = torch.rand(len(rows) if per_item else 1, 2, generator=generator, dtype=torch.double)
    alpha.requires_grad_()
    torch.manual_seed(2)
    lin = Linear(CHANNELS, 3, dtype=torch.double)

    out = ours.project_features(data, [e], lambda: e, lin, alpha, items)
    h = lin(e)
    expected = torch.stack([matrix[rows] @ h for matrix in matrices(learned)], dim=1)
    expected = (alpha[..., None] * expected).sum(1)
    torch.testing.assert_close(out, expected)
    leaves = (alpha, lin.weight, lin.bias)
    torch.testing.assert_close(
        torch.autograd.grad(out.pow(3).sum(), leaves),
        torch.autograd.grad(expected.pow(3).sum(), leaves),
    )


def test_built_once_until_something_changes() -> None:
    data, ours, calls = small_shop(), graphs(), []
    e = torch.ones(NUM_ITEMS, 2, dtype=torch.double)

    def features() -> Tensor:
        calls.append(1)
        return e

    lin = Linear(2, 3, dtype=torch.double)

    def mix() -> Tensor:
        alpha = torch.ones(1, 2, dtype=torch.double)
        return ours.project_features(data, [e], features, lin, alpha)

    first, pairs, union = mix(), ours.pairs(data), ours.union(data)
    assert torch.equal(mix(), first)
    assert len(calls) == 1
    assert ours.pairs(data) is pairs
    assert ours.union(data) is union
    e += 1
    assert not torch.equal(mix(), first)
    data[ITEM, 'similar', ITEM].edge_weight *= 2
    mix()
    assert ours.pairs(data) is not pairs
    ours.learned = LEARNED
    mix()
    assert len(calls) == 4
    assert ours.union(data) is not union


def test_copies_keep_the_learned_graph_alone() -> None:
    data, ours = small_shop(), graphs()
    ours.learned = LEARNED
    ours.pairs(data)
    for other in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert other.learned is not None
        assert torch.equal(other.learned[0], LEARNED[0])
        torch.testing.assert_close(
            other.pairs(data)[0].matmul(torch.eye(NUM_ITEMS, dtype=torch.double)), matrices(True)[0]
        )
