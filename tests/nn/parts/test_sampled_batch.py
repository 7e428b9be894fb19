import pytest
import torch
from torch.nn import Embedding
from torch_geometric.data import HeteroData

from pyg_mmgef.nn.parts.interaction_graph import sampled_neighbors
from pyg_mmgef.nn.parts.sampled_batch import check_batch, check_hops, item_part, num_rows, rows_of
from pyg_mmgef.schema import INTERACTS, ITEM, REV_INTERACTS, USER, is_sampled


@pytest.fixture
def batch() -> HeteroData:
    """Two users and four items; item 0 has two of its three users, item 3 none of its one."""
    batch = HeteroData()
    batch[USER].n_id, batch[ITEM].n_id = torch.tensor([7, 2]), torch.tensor([5, 0, 3, 8])
    batch[USER].degree, batch[ITEM].degree = torch.tensor([4, 1]), torch.tensor([3, 2, 0, 1])
    batch[ITEM].x_text = torch.arange(8.0).view(4, 2)
    batch[INTERACTS].edge_index = torch.tensor([[0, 1, 0], [0, 0, 1]])
    batch[REV_INTERACTS].edge_index = torch.tensor([[1], [0]])
    batch[ITEM, 'similar', ITEM].edge_index = torch.tensor([[3], [1]])
    batch[ITEM, 'similar', ITEM].edge_weight = torch.tensor([0.5])
    return batch


def test_rows_of_a_batch_are_looked_up(batch: HeteroData) -> None:
    class Table(torch.nn.Module):
        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return ids[:, None] * 10.0

    assert rows_of(Table(), batch[USER]).tolist() == [[70], [20]]
    assert rows_of(Table(), batch[ITEM], torch.tensor([3, 0])).tolist() == [[80], [50]]


def test_rows_of_the_whole_data_are_the_weight() -> None:
    embedding, data = Embedding(3, 2, sparse=True), HeteroData()
    assert rows_of(embedding, data[USER]) is embedding.weight
    rows = torch.tensor([2, 0])
    out = rows_of(embedding, data[USER], rows)
    assert torch.equal(out, embedding.weight[rows])
    out.sum().backward()
    assert embedding.weight.grad is not None
    assert not embedding.weight.grad.is_sparse


def test_numbers_of_rows(batch: HeteroData) -> None:
    assert is_sampled(batch)
    assert num_rows(batch[ITEM], 100) == 4
    assert not is_sampled(HeteroData())
    assert num_rows(HeteroData()[ITEM], 100) == 100


def test_weights_count_for_the_neighbours_that_were_not_sampled(batch: HeteroData) -> None:
    to_items, to_users = sampled_neighbors(batch, torch.double)
    assert (to_items.size, to_users.size) == ((2, 4), (4, 2))
    expected = [3 / 2 / (3 * 4) ** 0.5, 3 / 2 / 3**0.5, 2 / 1 / (2 * 4) ** 0.5]
    torch.testing.assert_close(to_items.edges()[1], torch.tensor(expected).double())
    torch.testing.assert_close(to_users.edges()[1], torch.tensor([4 / (2 * 4) ** 0.5]).double())
    assert sampled_neighbors(batch, torch.bfloat16)[0].edges()[1].dtype == torch.float32


def test_part_that_item_graphs_read(batch: HeteroData) -> None:
    part, read, rows = item_part(batch, ['similar'], torch.tensor([1, 2]))
    assert read is not None
    assert rows is not None
    assert (read.tolist(), rows.tolist()) == ([1, 2, 3], [0, 1])
    assert part.node_types == [ITEM]
    assert part[ITEM].n_id.tolist() == [0, 3, 8]
    assert torch.equal(part[ITEM].x_text, batch[ITEM].x_text[1:])
    assert part[ITEM, 'similar', ITEM].edge_index.tolist() == [[2], [0]]
    assert part[ITEM, 'similar', ITEM].edge_weight.tolist() == [0.5]
    _, read, rows = item_part(batch, [], torch.tensor([2]))
    assert read is not None
    assert read.tolist() == [2]


def test_lists_are_not_taken_for_rows(batch: HeteroData) -> None:
    batch[ITEM].num_sampled_nodes = [2, 1, 1, 0]  # As many hops as the batch has items.
    batch[ITEM, 'similar', ITEM].num_sampled_edges = [1]
    part, read, _ = item_part(batch, ['similar'], torch.tensor([1]))
    assert read is not None
    assert read.tolist() == [1, 3]
    assert part[ITEM].n_id.tolist() == [0, 8]
    assert part[ITEM].num_nodes == 2


def test_of_the_whole_data_every_item_may_be_read(batch: HeteroData) -> None:
    assert item_part(batch, ['similar'], None) == (batch, None, None)
    data, items = HeteroData({ITEM: {'num_nodes': 3}}), torch.tensor([1])
    part, read, rows = item_part(data, ['similar'], items)
    assert part is data
    assert read is None
    assert rows is items


def test_a_batch_is_checked(batch: HeteroData) -> None:
    check_batch(batch, 8, 9)
    with pytest.raises(ValueError, match=r"data\['user'\].n_id' must hold user ids in \[0, 7\)"):
        check_batch(batch, 7, 9)
    del batch[REV_INTERACTS]
    with pytest.raises(ValueError, match='sample both directions'):
        check_batch(batch, 8, 9)


def test_a_batch_has_a_hop_for_each_layer(batch: HeteroData) -> None:
    graphs = [INTERACTS, (ITEM, 'similar', ITEM)]
    check_hops(batch, graphs, 3)  # It doesn't say how many it has.
    batch[INTERACTS].num_hops, batch[ITEM, 'similar', ITEM].num_hops = 3, 1
    check_hops(batch, graphs, 1)
    with pytest.raises(ValueError, match=r"has 1 hops along .*'similar'.* the model's 2 layers"):
        check_hops(batch, graphs, 2)
    missing = (ITEM, 'other', ITEM)
    with pytest.raises(ValueError, match=r"has 0 hops along .*'other'"):
        check_hops(batch, [missing], 1)
    assert missing not in batch.edge_types
    check_hops(batch, [missing], 0)
    check_hops(HeteroData(), graphs, 2)  # The whole data has no hops.
