from functools import partial

import pytest
import torch
from torch import Tensor
from torch_geometric.nn import LGConv
from torch_geometric.utils import to_undirected

from pyg_mmgef.graph import bipartite_normalize
from pyg_mmgef.nn import BipartiteLGConv
from pyg_mmgef.sparse import CSRPair
from tests.nn.conv.layouts import ConvContract, random_graph
from tests.references import bipartite_normalized


class TestBipartiteLGConv(ConvContract):
    conv_class = BipartiteLGConv
    size = (5, 7)

    def normalized(self, adjacency: Tensor) -> Tensor:
        return bipartite_normalized(adjacency)

    def differentiable_normalized(self, adjacency: Tensor) -> Tensor:
        rows, columns = adjacency.sum(1).clamp(min=1e-30), adjacency.sum(0).clamp(min=1e-30)
        return adjacency / rows[:, None].sqrt() / columns[None, :].sqrt()


def test_values_by_hand() -> None:
    # Users 0 and 1 both have item 0, user 1 also has item 2: degrees (1, 2) and (2, 0, 1).
    edge_index = torch.tensor([[0, 1, 1], [0, 0, 2]])
    x_user, x_item = torch.tensor([[1.0], [10.0]]), torch.empty(3, 1)
    out = BipartiteLGConv()((x_user, x_item), edge_index)
    torch.testing.assert_close(out, torch.tensor([[1 / 2**0.5 + 5.0], [0.0], [10 / 2**0.5]]))


@pytest.mark.parametrize('weighted', [False, True])
def test_equals_lg_conv_on_an_undirected_graph(weighted: bool) -> None:
    edge_index, edge_weight = to_undirected(*random_graph((9, 9), 20), reduce='mean')
    x = torch.randn(9, 4, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    weight = edge_weight if weighted else None
    expected = LGConv()(x, edge_index, weight)
    close = partial(torch.testing.assert_close, rtol=1e-6, atol=1e-6)
    close(BipartiteLGConv()(x, edge_index, weight), expected)
    pair = CSRPair(edge_index, bipartite_normalize(edge_index, weight, (9, 9)), (9, 9))
    close(BipartiteLGConv(normalize=False)(x, pair), expected)


def test_both_directions_share_their_weights() -> None:
    edge_index, _ = random_graph((5, 7))
    x_user, x_item = torch.randn(5, 3), torch.randn(7, 3)
    pair = CSRPair(edge_index, bipartite_normalize(edge_index, None, (5, 7)), (5, 7))
    conv, prepared = BipartiteLGConv(), BipartiteLGConv(normalize=False)
    to_user = conv((x_item, x_user), edge_index.flip(0))
    torch.testing.assert_close(prepared((x_item, x_user), pair.t()), to_user)
    torch.testing.assert_close(prepared((x_user, x_item), pair), conv((x_user, x_item), edge_index))


def test_a_repeated_interaction_counts_twice() -> None:
    once = torch.tensor([[0, 1, 1], [0, 0, 1]])
    twice = torch.tensor([[0, 0, 1, 1], [0, 0, 0, 1]])
    x = (torch.randn(2, 3), torch.randn(2, 3))
    doubled = BipartiteLGConv()(x, once, torch.tensor([2.0, 1.0, 1.0]))
    torch.testing.assert_close(BipartiteLGConv()(x, twice), doubled)
    assert not torch.allclose(doubled, BipartiteLGConv()(x, once))
