import pytest
import torch
from torch import Tensor

from pyg_mmgef.graph import union_graphs
from pyg_mmgef.nn import ItemGraphConv
from pyg_mmgef.sparse import CSRPair
from tests.nn.conv.layouts import ConvContract, random_graph
from tests.references import dense_adjacency, symmetric_normalized


class TestItemGraphConv(ConvContract):
    conv_class = ItemGraphConv
    size = (7, 7)

    def normalized(self, adjacency: Tensor) -> Tensor:
        return symmetric_normalized(adjacency)

    def differentiable_normalized(self, adjacency: Tensor) -> Tensor:
        degree = adjacency.sum(1)
        scale = torch.where(degree > 0, degree.clamp(min=1e-30).rsqrt(), 0.0)
        return scale[:, None] * adjacency * scale[None, :]


def test_sums_weights_as_they_are_by_default() -> None:
    edge_index, edge_weight = random_graph((7, 7))
    x = torch.randn(7, 3, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    dense = dense_adjacency(edge_index, edge_weight, 7, 7)
    torch.testing.assert_close(ItemGraphConv()(x, edge_index, edge_weight), dense @ x)


def test_layers_compose_to_powers_of_the_matrix() -> None:
    graphs = [random_graph((7, 7)), random_graph((7, 7), 20)]
    edge_index, edge_attr = union_graphs(graphs, 7)
    pair = CSRPair(edge_index, edge_attr.sum(1), (7, 7))
    dense = torch.stack([dense_adjacency(*graph, 7, 7) for graph in graphs]).sum(0)
    x = torch.randn(7, 3, dtype=torch.double)
    out = x
    for _ in range(3):
        out = ItemGraphConv()(out, pair)
    torch.testing.assert_close(out, dense @ dense @ dense @ x)


def test_normalizing_needs_one_set_of_items() -> None:
    x = (torch.randn(2, 3), torch.randn(4, 3))
    edge_index = torch.tensor([[0], [3]])
    assert ItemGraphConv()(x, edge_index).shape == (4, 3)
    with pytest.raises(ValueError, match='needs one set of items, not a graph from 2 to 4 nodes'):
        ItemGraphConv(normalize=True)(x, edge_index)
