import pytest
import torch
from torch_geometric.data import HeteroData

from pyg_mmgef.schema import (
    CO_INTERACTS,
    INTERACTS,
    REV_INTERACTS,
    interactions,
    item_graph,
    item_modalities,
    item_relations,
    num_users_items,
    recorded_fusion,
    supervision_edges,
    unique_interactions,
)


@pytest.fixture
def data() -> HeteroData:
    data = HeteroData({'user': {'num_nodes': 3}, 'item': {'num_nodes': 4}})
    data['user', 'interacts', 'item'].edge_index = torch.tensor([[0, 2], [3, 1]])
    return data


def test_edge_types() -> None:
    assert INTERACTS == ('user', 'interacts', 'item')
    assert REV_INTERACTS == ('item', 'rev_interacts', 'user')
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


class TestNames:
    def test_of_other_types(self) -> None:
        data = HeteroData({'user': {'num_nodes': 3}, 'movie': {'num_nodes': 4}})
        data['user', 'rates', 'movie'].edge_index = torch.tensor([[0], [1]])
        message = r"'user', 'item' and 'interacts' \(found the node types \['user', 'movie'\] and"
        for function in (
            num_users_items,
            interactions,
            supervision_edges,
            unique_interactions,
            item_modalities,
        ):
            with pytest.raises(ValueError, match=message):
                function(data)
        assert data.node_types == ['user', 'movie']
        assert data.edge_types == [('user', 'rates', 'movie')]

    def test_of_other_edges(self, data: HeteroData) -> None:
        data['user', 'rates', 'item'].edge_index = data[INTERACTS].edge_index
        assert num_users_items(data) == (3, 4)
        del data[INTERACTS]
        with pytest.raises(ValueError, match=r"the edge types \[\('user', 'rates', 'item'\)\]\)"):
            num_users_items(data)

    def test_what_is_no_hetero_data(self) -> None:
        for function in (num_users_items, interactions, supervision_edges, item_modalities):
            with pytest.raises(ValueError, match=r'must be a HeteroData .*\(got Tensor\)'):
                function(torch.ones(2, 3))


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


class TestSupervisionEdges:
    edges = torch.tensor([[0, 1, 2, 1], [3, 0, 1, 2]])

    def test_are_the_train_interactions_where_there_are_no_others(self, data: HeteroData) -> None:
        assert supervision_edges(data) is data[INTERACTS].edge_index

    def test_are_all_without_labels_or_with_positive_ones(self, data: HeteroData) -> None:
        data[INTERACTS].edge_label_index = self.edges
        assert supervision_edges(data) is self.edges
        data[INTERACTS].edge_label = torch.tensor([1.0, 2.0, 1.0, 1.0])
        assert supervision_edges(data) is self.edges

    @pytest.mark.parametrize('dtype', [torch.float, torch.long, torch.bool])
    def test_leave_out_negatives(self, data: HeteroData, dtype: torch.dtype) -> None:
        data[INTERACTS].edge_label_index = self.edges
        data[INTERACTS].edge_label = torch.tensor([1, 0, 1, 0]).to(dtype)
        assert supervision_edges(data).tolist() == [[0, 2], [3, 1]]
        data[INTERACTS].edge_label = data[INTERACTS].edge_label[:, None]
        assert supervision_edges(data).tolist() == [[0, 2], [3, 1]]
        data[INTERACTS].edge_label = torch.zeros(4, dtype=dtype)
        assert supervision_edges(data).shape == (2, 0)

    def test_need_no_edge_index(self, data: HeteroData) -> None:
        del data[INTERACTS].edge_index
        data[INTERACTS].edge_label_index = self.edges
        assert supervision_edges(data) is self.edges

    def test_bad_labels_and_ids(self, data: HeteroData) -> None:
        data[INTERACTS].edge_label_index = self.edges
        for label in (torch.ones(3), torch.ones(4, 2), [1, 1, 1, 1]):
            data[INTERACTS].edge_label = label
            with pytest.raises(
                ValueError, match=r"'edge_label' .* must have shape \[4\] or \[4, 1"
            ):
                supervision_edges(data)
        data[INTERACTS].edge_label_index = self.edges + 1
        with pytest.raises(ValueError, match="'edge_label_index' holds the user id 3"):
            supervision_edges(data)


class TestUniqueInteractions:
    def test_are_the_very_tensor_where_nothing_is_repeated(self, data: HeteroData) -> None:
        edge_index, kept = unique_interactions(data)
        assert edge_index is data[INTERACTS].edge_index
        assert kept.tolist() == [0, 1]

    def test_keep_the_first_or_the_earliest(self, data: HeteroData) -> None:
        data[INTERACTS].edge_index = torch.tensor([[0, 2, 0, 2], [3, 1, 3, 0]], dtype=torch.int32)
        edge_index, kept = unique_interactions(data)
        assert kept.tolist() == [0, 1, 3]
        assert edge_index.tolist() == [[0, 2, 2], [3, 1, 0]]
        data[INTERACTS].time = torch.tensor([9, 9, 1, 9])
        assert unique_interactions(data)[1].tolist() == [1, 2, 3]

    @pytest.mark.parametrize('key', ['time', 'rating', 'edge_weight'])
    def test_numbers_in_a_column_or_of_a_wrong_length(self, data: HeteroData, key: str) -> None:
        data[INTERACTS].edge_index = torch.tensor([[0, 2, 0], [3, 1, 3]])
        data[INTERACTS][key] = torch.tensor([[9], [9], [1]])
        assert unique_interactions(data)[1].tolist() == ([1, 2] if key == 'time' else [0, 1])
        for wrong in (torch.ones(2), torch.ones(4), torch.ones(3, 2), [1, 2, 3]):
            data[INTERACTS][key] = wrong
            with pytest.raises(ValueError, match=rf"'{key}' .* must have shape \[3\] or \[3, 1\]"):
                unique_interactions(data)


class TestItemGraph:
    def test_weights_in_a_column(self, data: HeteroData) -> None:
        data[CO_INTERACTS].edge_index = torch.tensor([[0, 1], [1, 0]])
        data[CO_INTERACTS].edge_weight = torch.tensor([[0.5], [1.0]])
        assert item_graph(data, 'co_interacts')[1].tolist() == [0.5, 1.0]
        data[CO_INTERACTS].edge_weight = torch.ones(2, 2)
        with pytest.raises(ValueError, match=r"'edge_weight' of the edges .* one number for each"):
            item_graph(data, 'co_interacts')

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

    @pytest.mark.parametrize(
        ('key', 'value', 'found'),
        [
            ('x_names', ['a', 'b', 'c', 'd'], 'list'),
            ('x_dim', 4, 'int'),
            ('x_image', torch.zeros(4), r'\[4\], torch.float32'),
            ('x_image', torch.zeros(4, 2, dtype=torch.long), r'\[4, 2\], torch.int64'),
            ('x', torch.zeros(4, 2, 2), r'\[4, 2, 2\]'),
        ],
        ids=str,
    )
    def test_only_matrices(self, data: HeteroData, key: str, value: object, found: str) -> None:
        data['item'][key] = value
        message = rf"data\['item'\].{key} must be a floating point matrix, .*\(got {found}"
        for function in (item_modalities,):
            with pytest.raises(ValueError, match=message):
                function(data)

    def test_a_row_per_item(self, data: HeteroData) -> None:
        data['item'].x_image = torch.zeros(3, 2)
        with pytest.raises(ValueError, match=r"4 items, but its features 'x_image' have 3 rows"):
            item_modalities(data)

    @pytest.mark.parametrize(
        'mask', [torch.ones(4), torch.ones(3, dtype=torch.bool), torch.ones(4, 1) > 0, [True] * 4]
    )
    def test_masks_are_boolean_vectors(self, data: HeteroData, mask: object) -> None:
        data['item'].x_image = torch.zeros(4, 2)
        data['item'].has_image = mask
        with pytest.raises(ValueError, match=r"data\['item'\].has_image must be a boolean vector"):
            item_modalities(data)


class TestRecordedFusion:
    def test_none(self, data: HeteroData) -> None:
        assert recorded_fusion(data) is None

    def test_mode_and_modalities(self, data: HeteroData) -> None:
        data['item'].fusion = {'mode': 'concat', 'modalities': ['image', 'text']}
        assert recorded_fusion(data) == ('concat', ['image', 'text'])

    @pytest.mark.parametrize(
        'record', ['mean', {}, {'mode': 'mean'}, {'mode': ['mean'], 'modalities': ['text']}]
    )
    def test_another_form(self, data: HeteroData, record: object) -> None:
        data['item'].fusion = record
        with pytest.raises(ValueError, match=r"data\['item'\].fusion must be"):
            recorded_fusion(data)


def test_item_relations_are_those_with_weights(data: HeteroData) -> None:
    assert item_relations(data) == []
    for relation in ('similar', 'bought_after'):
        data['item', relation, 'item'].edge_index = torch.tensor([[0], [1]])
    data['item', 'similar', 'item'].edge_weight = torch.ones(1)
    data['item', 'bought_by', 'user'].edge_weight = torch.ones(0)
    assert item_relations(data) == ['similar']
