import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

from pyg_mmgef.nn.parts import ItemGraphs
from pyg_mmgef.nn.parts.item_graphs import content_graph
from pyg_mmgef.schema import ITEM
from tests.nn.models.shops import NUM_ITEMS, small_shop
from tests.references import dense_adjacency, similarity, symmetric_normalized, top_k_rows

RELATIONS = ('similar', 'co_interacts')
EYE = torch.eye(NUM_ITEMS, dtype=torch.double)


def features() -> tuple[Tensor, Tensor]:
    x = torch.randn(NUM_ITEMS, 3, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    return x, torch.tensor([1, 1, 0, 1, 0, 1, 1, 1, 1]).bool()[:, None]


def learned_matrix() -> Tensor:
    x, has = features()
    scores = similarity(x, 'cosine').masked_fill(~(has & has.t()), -1).fill_diagonal_(-1)
    return symmetric_normalized(top_k_rows(scores, 2))


def matrices(learned: bool = False) -> list[Tensor]:
    data = small_shop()
    out = []
    for relation in RELATIONS:
        graph = data[ITEM, relation, ITEM]
        out.append(dense_adjacency(graph.edge_index, graph.edge_weight, NUM_ITEMS, NUM_ITEMS))
    if learned:
        out[0] = 0.6 * out[0] + 0.4 * learned_matrix()
    return out


def graphs_of(learned: bool = False) -> ItemGraphs:
    graphs = ItemGraphs(NUM_ITEMS, RELATIONS, skip_weight=0.6, k=2)
    if learned:
        graphs.rebuild(*features())
    return graphs


@pytest.mark.parametrize('learned', [False, True])
def test_each_graph_and_their_union(learned: bool) -> None:
    data, graphs = small_shop(), graphs_of(learned)
    union, _, edge_attr = graphs.union(data)
    assert len(graphs) == 2
    for number, (pair, matrix) in enumerate(zip(graphs(data), matrices(learned), strict=True)):
        torch.testing.assert_close(pair.matmul(EYE), matrix, rtol=1e-5, atol=1e-6)
        matmul = union.matmul(EYE, edge_attr[:, number])
        torch.testing.assert_close(matmul, matrix, rtol=1e-5, atol=1e-6)


def test_fixed_weights_make_one_graph() -> None:
    graphs = ItemGraphs(NUM_ITEMS, {'similar': 2.0, 'co_interacts': 0.5})
    (pair,) = graphs(small_shop())
    assert len(graphs) == 1
    similar, co_interacts = matrices()
    torch.testing.assert_close(pair.matmul(EYE), 2 * similar + 0.5 * co_interacts)


def test_prepared_once_until_something_changes() -> None:
    data, graphs = small_shop(), graphs_of()
    pairs, union = graphs(data), graphs.union(data)
    assert graphs(data) is pairs
    assert graphs.union(data) is union
    data[ITEM, 'similar', ITEM].edge_weight *= 2
    changed = graphs(data)
    assert changed is not pairs
    graphs.rebuild(*features())
    assert graphs(data) is not changed
    assert graphs.union(data) is not union


@pytest.mark.parametrize('copied', [copy.deepcopy, lambda g: pickle.loads(pickle.dumps(g))])
def test_copies_and_checkpoints_keep_the_learned_graph(copied: Any) -> None:
    data, graphs = small_shop(), graphs_of(learned=True)
    graphs(data)
    restored = graphs_of()
    restored.load_state_dict(graphs.state_dict())
    for other in (copied(graphs), restored):
        torch.testing.assert_close(
            other(data)[0].matmul(EYE), matrices(True)[0], rtol=1e-5, atol=1e-6
        )
    graphs.reset_parameters()
    assert graphs.learned is None
    torch.testing.assert_close(graphs(data)[0].matmul(EYE), matrices()[0])


def test_a_learned_graph_needs_its_place() -> None:
    state = graphs_of(learned=True).get_extra_state()
    with pytest.raises(ValueError, match=r"learned part .* with item_graphs=\('co_interacts',\)"):
        ItemGraphs(NUM_ITEMS, ['co_interacts']).set_extra_state(state)


@pytest.mark.parametrize('loop', [False, True])
@pytest.mark.parametrize('k', [1, 2, 100])
def test_content_graph_equals_the_dense_reference(k: int, loop: bool) -> None:
    x, has = features()
    scores = similarity(x, 'cosine').masked_fill(~(has & has.t()), -1)
    if not loop:
        scores.fill_diagonal_(-1)
    edge_index, edge_weight = content_graph(x, has, k, loop=loop)
    kept = edge_weight > 0
    size = NUM_ITEMS, NUM_ITEMS
    graph = dense_adjacency(edge_index[:, kept], edge_weight[kept].double(), *size)
    torch.testing.assert_close(graph, top_k_rows(scores, k), rtol=1e-5, atol=1e-6)


def test_content_graph_of_a_single_item() -> None:
    x, has = torch.ones(1, 3), torch.ones(1, 1, dtype=torch.bool)
    edge_index, edge_weight = content_graph(x, has, 5)
    assert (edge_index.shape, edge_weight.shape) == ((2, 0), (0,))
    edge_index, edge_weight = content_graph(x, has, 5, loop=True)
    assert edge_index.tolist() == [[0], [0]]
    torch.testing.assert_close(edge_weight, torch.ones(1))


@pytest.mark.parametrize(
    ('relations', 'options', 'message'),
    [
        ('similar', {}, "'item_graphs' must name distinct relations"),
        (['a', 'a'], {}, "'item_graphs' must name distinct relations"),
        (['a'], {'skip_weight': 0.5}, "'skip_weight' below 1 .*set skip_weight=1"),
        (['similar'], {'skip_weight': 1.5}, r"'skip_weight' must lie in \[0, 1\]"),
        (['similar'], {'k': 0}, "'k' must be a positive integer"),
    ],
)
def test_wrong_arguments(relations: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ItemGraphs(3, relations, **options)


def test_each_graph_of_a_mixture_by_its_name() -> None:
    data, weights = small_shop(), dict.fromkeys(RELATIONS, 0.25)
    graphs = ItemGraphs(NUM_ITEMS, weights).by_name(data)
    assert tuple(graphs) == RELATIONS
    for graph, matrix in zip(graphs.values(), matrices(), strict=True):
        torch.testing.assert_close(dense_adjacency(*graph, NUM_ITEMS, NUM_ITEMS), matrix / 4)
    graphs = ItemGraphs(NUM_ITEMS, RELATIONS).by_name(data)
    torch.testing.assert_close(
        dense_adjacency(*graphs['similar'], NUM_ITEMS, NUM_ITEMS), matrices()[0]
    )
