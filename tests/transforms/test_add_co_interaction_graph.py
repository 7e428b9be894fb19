import pytest
import torch
from torch.utils.data import IterDataPipe
from torch_geometric.data import HeteroData

from pyg_mmgef.transforms import AddCoInteractionGraph
from tests.references import co_interactions, dense_adjacency, symmetric_normalized, top_k_rows
from tests.transforms.shops import INTERACTS, assert_unchanged, random_shop, snapshot


@pytest.mark.parametrize('weighting', ['cosine', 'jaccard', 'lift', 'raw', 'lightgcn'])
@pytest.mark.parametrize('normalize', [True, False])
def test_equals_the_dense_oracle(weighting: str, normalize: bool) -> None:
    data = random_shop()
    # k beyond the number of items: ties need no breaking.
    out = AddCoInteractionGraph(k=50, weighting=weighting, normalize=normalize)(data)
    store = out['item', 'co_interacts', 'item']
    dense = dense_adjacency(data[INTERACTS].edge_index, None, 25, 30).t()
    expected = co_interactions(dense, weighting)
    expected = symmetric_normalized(expected) if normalize else expected
    out = dense_adjacency(store.edge_index, store.edge_weight.double(), 30, 30)
    assert torch.allclose(out, expected, atol=1e-6)


def test_k_neighbors() -> None:
    data = random_shop()
    out = AddCoInteractionGraph(k=3, weighting='raw', normalize=False)(data)
    store = out['item', 'co_interacts', 'item']
    dense = dense_adjacency(data[INTERACTS].edge_index, None, 25, 30).t()
    expected = top_k_rows(co_interactions(dense, 'raw'), 3)
    out = dense_adjacency(store.edge_index, store.edge_weight.double(), 30, 30)
    assert torch.equal(out, expected)


def test_min_count() -> None:
    data = random_shop()
    out = AddCoInteractionGraph(k=50, weighting='raw', min_count=3, normalize=False)(data)
    weight = out['item', 'co_interacts', 'item'].edge_weight
    every = AddCoInteractionGraph(k=50, weighting='raw', normalize=False)(data)
    every_weight = every['item', 'co_interacts', 'item'].edge_weight
    assert float(weight.min()) == 3
    assert weight.numel() == int((every_weight >= 3).sum()) < every_weight.numel()


def test_max_activity() -> None:
    data = random_shop()
    out = AddCoInteractionGraph(k=50, weighting='raw', max_activity=5, normalize=False)(data)
    interactions = dense_adjacency(data[INTERACTS].edge_index, None, 25, 30).t()
    interactions[interactions.sum(dim=1) > 5] = 0
    assert 0 < int((interactions.sum(dim=1) > 0).sum()) < 25
    store = out['item', 'co_interacts', 'item']
    found = dense_adjacency(store.edge_index, store.edge_weight.double(), 30, 30)
    assert torch.equal(found, co_interactions(interactions, 'raw'))


def test_reads_the_propagating_edges_alone() -> None:
    data = random_shop()
    expected = AddCoInteractionGraph(k=3)(data)['item', 'co_interacts', 'item']
    data[INTERACTS].edge_label_index = torch.randint(25, (2, 40), generator=torch.manual_seed(0))
    store = AddCoInteractionGraph(k=3)(data)['item', 'co_interacts', 'item']
    assert torch.equal(store.edge_index, expected.edge_index)
    assert torch.equal(store.edge_weight, expected.edge_weight)


def test_returns_a_new_object() -> None:
    data = random_shop()
    before = snapshot(data)
    out = AddCoInteractionGraph()(data)
    assert out is not data
    assert ('item', 'co_interacts', 'item') in out.edge_types
    assert_unchanged(data, before)


def test_relation_and_what_it_replaces() -> None:
    data = random_shop()
    data['item', 'co_interacts_raw', 'item'].edge_attr = torch.ones(1)
    out = AddCoInteractionGraph(k=3, relation='co_interacts_raw', weighting='raw')(data)
    graph, expected = (
        one['item', relation, 'item']
        for one, relation in (
            (out, 'co_interacts_raw'),
            (AddCoInteractionGraph(k=3, weighting='raw')(random_shop()), 'co_interacts'),
        )
    )
    assert set(graph.keys()) == {'edge_index', 'edge_weight'}
    assert torch.equal(graph.edge_index, expected.edge_index)
    assert torch.equal(graph.edge_weight, expected.edge_weight)
    with pytest.raises(ValueError, match="'relation' must begin with 'co_interacts'"):
        AddCoInteractionGraph(relation='bought_together')


def test_functional_name_and_repr() -> None:
    assert 'add_co_interaction_graph' in IterDataPipe.functions
    assert repr(AddCoInteractionGraph()) == 'AddCoInteractionGraph()'


def test_mistakes() -> None:
    with pytest.raises(ValueError, match="'k' must be a positive integer"):
        AddCoInteractionGraph(k=-1)
    for name in ('max_activity', 'max_memory', 'num_threads'):
        with pytest.raises(ValueError, match=f"'{name}' must be a positive integer"):
            AddCoInteractionGraph(**{name: 0})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'min_count' must be a positive integer"):
        AddCoInteractionGraph(min_count=0)
    with pytest.raises(ValueError, match="'weighting' must be one of 'cosine'"):
        AddCoInteractionGraph(weighting='count')
    data = HeteroData({'user': {'num_nodes': 2}, 'item': {'num_nodes': 2}})
    with pytest.raises(ValueError, match='has no edge type'):
        AddCoInteractionGraph()(data)
    data[INTERACTS].edge_index = torch.tensor([[0], [2]])
    with pytest.raises(ValueError, match="'edge_index' holds the item id 2"):
        AddCoInteractionGraph()(data)
    with pytest.raises(ValueError, match='how many users there are'):
        AddCoInteractionGraph()(HeteroData({'item': {'num_nodes': 2}}))
