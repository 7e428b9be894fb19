import pytest
import torch
from torch_geometric.data import HeteroData

from pyg_mmgef.schema import (
    CO_INTERACTS,
    INTERACTS,
    interactions,
    item_graph,
    item_modalities,
    item_relations,
    num_users_items,
    present_features,
)


@pytest.fixture
def data() -> HeteroData:
    data = HeteroData({'user': {'num_nodes': 3}, 'item': {'num_nodes': 4}})
    data['user', 'interacts', 'item'].edge_index = torch.tensor([[0, 2], [3, 1]])
    return data


def test_edge_types() -> None:
    assert INTERACTS == ('user', 'interacts', 'item')
    assert CO_INTERACTS == ('item', 'co_interacts', 'item')


class TestCounts:
    def test_from_num_nodes_and_from_features(self, data: HeteroData) -> None:
        assert num_users_items(data) == (3, 4)
        del data['item'].num_nodes
        data['item'].x = torch.zeros(5, 2)
        assert num_users_items(data) == (3, 5)

    @pytest.mark.parametrize('node_type', ['user', 'item'])
    def test_unknown(self, node_type: str) -> None:
        other = {'user': 'item', 'item': 'user'}[node_type]
        data = HeteroData({other: {'num_nodes': 3}})
        with pytest.raises(ValueError, match=rf'how many {node_type}s there are; set data\b'):
            num_users_items(data)


class TestInteractions:
    def test_are_returned_as_they_are(self, data: HeteroData) -> None:
        assert interactions(data) is data[INTERACTS].edge_index

    def test_missing(self, data: HeteroData) -> None:
        del data[INTERACTS].edge_index
        with pytest.raises(ValueError, match=r"no edge type \('user', 'interacts', 'item'\)"):
            interactions(data)

    def test_out_of_range(self, data: HeteroData) -> None:
        for row, message in ((0, 'the user id 9, but there are only 3'), (1, 'the item id 9')):
            edge_index = torch.zeros(2, 3, dtype=torch.long)
            edge_index[row, 1] = 9
            data[INTERACTS].edge_index = edge_index
            with pytest.raises(ValueError, match=f"'edge_index' holds {message}"):
                interactions(data)

    def test_misshaped(self, data: HeteroData) -> None:
        data[INTERACTS].edge_index = torch.zeros(3, 2, dtype=torch.long)
        with pytest.raises(ValueError, match=r"'edge_index' must have shape \[2, E\] \(got \[3, 2"):
            interactions(data)


class TestItemGraph:
    def test_edges_and_weights(self, data: HeteroData) -> None:
        data[CO_INTERACTS].edge_index = torch.tensor([[0], [1]])
        data[CO_INTERACTS].edge_weight = torch.ones(1)
        edge_index, edge_weight = item_graph(data, 'co_interacts')
        assert edge_index is data[CO_INTERACTS].edge_index
        assert edge_weight is data[CO_INTERACTS].edge_weight

    def test_missing(self, data: HeteroData) -> None:
        with pytest.raises(ValueError, match=r"no item graph \('item', 'similar', 'item'\)"):
            item_graph(data, 'similar')
        data['item', 'similar', 'item'].edge_index = torch.tensor([[0], [1]])
        with pytest.raises(ValueError, match=r"and an 'edge_weight' .* such as AddItemKNNGraph"):
            item_graph(data, 'similar')


class TestModalities:
    def test_by_name_with_the_masks_there_are(self, data: HeteroData) -> None:
        image, text, mask = torch.zeros(4, 2), torch.ones(4, 3), torch.ones(4, dtype=torch.bool)
        data['item'].x_image = image
        data['item'].x_text = text
        data['item'].has_text = mask
        data['item'].has_audio = mask  # No features of that name.
        data['item'].x = torch.zeros(4, 9)  # Made from the modalities, not one of them.
        x, has = item_modalities(data)
        assert list(x) == ['image', 'text']
        assert x['image'] is image
        assert x['text'] is text
        assert list(has) == ['text']
        assert has['text'] is mask

    def test_a_single_matrix(self, data: HeteroData) -> None:
        data['item'].x = torch.zeros(4, 9)
        x, has = item_modalities(data)
        assert list(x) == ['x']
        assert x['x'] is data['item'].x
        assert has == {}

    def test_none(self, data: HeteroData) -> None:
        assert item_modalities(data) == ({}, {})


def test_item_relations_are_those_with_weights(data: HeteroData) -> None:
    assert item_relations(data) == []
    for relation in ('similar', 'bought_after'):
        data['item', relation, 'item'].edge_index = torch.tensor([[0], [1]])
    data['item', 'similar', 'item'].edge_weight = torch.ones(1)
    data['item', 'taken_by', 'user'].edge_weight = torch.ones(0)
    assert item_relations(data) == ['similar']


def test_present_features_are_zero_where_missing(data: HeteroData) -> None:
    data['item'].x_image = torch.ones(4, 2)
    data['item'].x_text = torch.ones(4, 3)
    data['item'].has_image = torch.tensor([True, False, True, False])
    found = present_features(data)
    assert found['image'][:, 0].tolist() == [1.0, 0.0, 1.0, 0.0]
    assert found['text'] is data['item'].x_text
    assert data['item'].x_image.eq(1).all()
