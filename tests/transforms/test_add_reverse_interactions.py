import pytest
import torch
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import LightGCN
from pyg_mmgef.transforms import AddReverseInteractions, SplitInteractions
from tests.references import dense_adjacency
from tests.transforms.shops import INTERACTS, assert_unchanged, random_shop, snapshot

REVERSED = ('item', 'rev_interacts', 'user')


def test_reverses_every_interaction_and_leaves_the_data() -> None:
    data = random_shop()
    before = snapshot(data)
    out = AddReverseInteractions()(data)
    assert_unchanged(data, before)
    assert torch.equal(out[REVERSED].edge_index, data[INTERACTS].edge_index.flip(0))
    assert torch.equal(out[INTERACTS].edge_index, data[INTERACTS].edge_index)
    assert set(out[REVERSED].keys()) == {'edge_index'}
    assert set(out.edge_types) == {INTERACTS, REVERSED}


def test_degrees_count_interactions() -> None:
    data = random_shop()
    out = AddReverseInteractions()(data)
    dense = dense_adjacency(data[INTERACTS].edge_index, None, 25, 30)  # A row for each item.
    for node_type, dim in (('user', 0), ('item', 1)):
        degree = out[node_type].degree
        assert degree.dtype == torch.int64
        assert torch.equal(degree, dense.sum(dim=dim).long())
    assert out['user'].degree[0] == 0  # A user without interactions.


def test_repeated_interactions_count_each_time() -> None:
    data = HeteroData({'user': {'num_nodes': 1}, 'item': {'num_nodes': 2}})
    data[INTERACTS].edge_index = torch.tensor([[0, 0, 0], [1, 1, 0]])
    out = AddReverseInteractions()(data)
    assert out['user'].degree.tolist() == [3]
    assert out['item'].degree.tolist() == [1, 2]
    assert out[REVERSED].num_edges == 3


def test_no_interactions() -> None:
    data = HeteroData({'user': {'num_nodes': 2}, 'item': {'num_nodes': 3}})
    data[INTERACTS].edge_index = torch.empty(2, 0, dtype=torch.long)
    out = AddReverseInteractions()(data)
    assert out[REVERSED].edge_index.shape == (2, 0)
    assert out['user'].degree.tolist() == [0, 0]
    assert out['item'].degree.tolist() == [0, 0, 0]


def test_replaces_what_was_there() -> None:
    data = AddReverseInteractions()(random_shop())
    data[REVERSED].time = torch.zeros(data[REVERSED].num_edges)
    data[INTERACTS].edge_index = data[INTERACTS].edge_index[:, :3]
    out = AddReverseInteractions()(data)
    assert torch.equal(out[REVERSED].edge_index, data[INTERACTS].edge_index.flip(0))
    assert 'time' not in out[REVERSED]
    assert int(out['user'].degree.sum()) == int(out['item'].degree.sum()) == 3


def test_models_take_the_result_as_they_take_the_data() -> None:
    data = SplitInteractions()(random_shop())[0]
    model = LightGCN.from_data(data, embedding_dim=4)
    for z, expected in zip(model(AddReverseInteractions()(data)), model(data), strict=True):
        assert torch.equal(z, expected)


def test_bad_ids() -> None:
    data = random_shop()
    data[INTERACTS].edge_index = torch.tensor([[0], [30]])
    with pytest.raises(ValueError, match='30'):
        AddReverseInteractions()(data)


def test_repr() -> None:
    assert repr(AddReverseInteractions()) == 'AddReverseInteractions()'
