import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.transforms import AddCoInteractionGraph, AddItemKNNGraph, MergeItemGraphs
from tests.references import dense_adjacency
from tests.transforms.shops import assert_unchanged, random_shop, snapshot

WEIGHTS = {'similar_image': 0.1, 'similar_text': 0.9, 'co_interacts': 0.2}


def shop() -> HeteroData:
    data = random_shop()
    for name in ('image', 'text'):
        data = AddItemKNNGraph(4, attr=f'x_{name}', relation=f'similar_{name}')(data)
    return AddCoInteractionGraph(k=3)(data)


def dense(data: HeteroData, relation: str) -> Tensor:
    graph = data['item', relation, 'item']
    return dense_adjacency(graph.edge_index, graph.edge_weight, 30, 30)


def test_is_the_weighted_sum() -> None:
    data = shop()
    before = snapshot(data)
    out = MergeItemGraphs(WEIGHTS)(data)
    expected = sum(weight * dense(data, relation) for relation, weight in WEIGHTS.items())
    torch.testing.assert_close(dense(out, 'merged'), expected)
    edge_index = out['item', 'merged', 'item'].edge_index
    assert edge_index.unique(dim=1).size(1) == edge_index.size(1)
    assert_unchanged(data, before)


def test_may_replace_one_of_the_merged() -> None:
    data = shop()
    data['item', 'similar_text', 'item'].edge_attr = torch.ones(
        data['item', 'similar_text', 'item'].num_edges
    )
    before = snapshot(data)
    out = MergeItemGraphs({'similar_text': 2.0, 'co_interacts': 1.0}, 'similar_text')(data)
    expected = 2 * dense(data, 'similar_text') + dense(data, 'co_interacts')
    torch.testing.assert_close(dense(out, 'similar_text'), expected)
    assert set(out['item', 'similar_text', 'item'].keys()) == {'edge_index', 'edge_weight'}
    assert_unchanged(data, before)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="'item_graphs' is empty"):
        MergeItemGraphs({})
    for weight in (0.0, -1.0, float('nan'), float('inf')):
        with pytest.raises(ValueError, match=r"positive numbers .* for 'similar_text'"):
            MergeItemGraphs({'similar_text': weight})
    with pytest.raises(ValueError, match=r'no item graph .*similar_audio'):
        MergeItemGraphs({'similar_audio': 1.0})(shop())


def test_functional_name_and_repr() -> None:
    assert repr(MergeItemGraphs({'similar': 1.0})) == "MergeItemGraphs({'similar': 1.0})"
