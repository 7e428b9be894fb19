import copy
import pickle
from typing import Any

import pytest
import torch

from pyg_mmgef.nn.parts import latent_graphs as module
from pyg_mmgef.nn.parts.latent_graphs import LatentGraph, LatentGraphs
from pyg_mmgef.schema import ITEM
from pyg_mmgef.sparse.csr_pair import CSRPair
from tests.nn.models.latent import move
from tests.nn.models.shops import CHANNELS, NUM_ITEMS, small_shop

BOTH = {'image': CHANNELS, 'text': CHANNELS}


def graphs_of(skip_weight: float = 0.5) -> LatentGraphs:
    torch.manual_seed(0)
    return LatentGraphs(NUM_ITEMS, 5, in_channels=BOTH, skip_weight=skip_weight, k=3).double()


class Counter:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.calls, function = 0, getattr(module, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            return function(*args, **kwargs)

        monkeypatch.setattr(module, name, counted)


def test_a_graph_adds_its_parts() -> None:
    edges = torch.tensor([[0, 1], [1, 2]])
    frozen = CSRPair(edges, torch.tensor([1.0, 2.0]), (3, 3))
    learned = CSRPair(edges[:, :1], size=(3, 3))
    x = torch.tensor([[1.0], [10.0], [100.0]])
    assert LatentGraph(frozen).matmul(x).view(-1).tolist() == [0, 1, 20]
    graph = LatentGraph(frozen, learned, torch.tensor([5.0]))
    assert graph.matmul(x).view(-1).tolist() == [0, 6, 20]
    assert graph.matmul(x, rows=torch.tensor([1])).view(-1).tolist() == [6]


def test_frozen_graphs_are_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    data, graphs = small_shop(), graphs_of(1.0)
    counter = Counter(monkeypatch, 'content_graph')
    first, second = graphs(data), graphs(data)
    assert counter.calls == 2
    assert all(a.frozen is b.frozen for a, b in zip(first, second, strict=True))
    data[ITEM].x_text = data[ITEM].x_text.flip(0)
    graphs(data)
    assert counter.calls == 4
    data[ITEM].x_text[0] += 1.0
    graphs(data)
    assert counter.calls == 6


def test_neighbors_are_searched_in_rebuild_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    data, graphs = small_shop(), graphs_of()
    counter = Counter(monkeypatch, 'content_graph')
    for _ in range(3):
        graphs(data)
    assert counter.calls == 4
    graphs.rebuild(data)
    graphs(data)
    assert counter.calls == 6


def test_weights_follow_the_projections_without_gradient_too() -> None:
    data, graphs = small_shop(), graphs_of()
    exact = [graph.edge_weight for graph in graphs(data)]
    with torch.no_grad():
        again = [graph.edge_weight for graph in graphs(data)]
    for weight, expected in zip(again, exact, strict=True):
        assert weight is not None
        assert expected is not None
        assert expected.requires_grad
        assert not weight.requires_grad
        assert torch.equal(weight, expected)
    total = torch.stack([graph.matmul(torch.ones(9, 1).double()) for graph in graphs(data)]).sum()
    total.backward()
    # A fused optimiser changes parameters without torch counting it, and so does a new `data`.
    torch.optim.SGD(graphs.parameters(), lr=1.0, fused=True).step()
    with torch.no_grad():
        moved = [graph.edge_weight for graph in graphs(data)]
    fresh = [graph.edge_weight for graph in graphs(data)]
    for a, b, c in zip(again, moved, fresh, strict=True):
        assert a is not None
        assert b is not None
        assert c is not None
        assert not torch.allclose(a, b)
        assert torch.equal(b, c)


def test_items_are_their_own_neighbors_unless_they_lack_content() -> None:
    data, graphs = small_shop(), graphs_of()
    graphs.rebuild(data)
    image, text = graphs.get_extra_state().values()
    for index, lacking in ((image, {5, 6}), (text, {6})):
        own = set(index[0][index[0] == index[1]].tolist())
        assert own == set(range(NUM_ITEMS)) - lacking
        assert not lacking & set(index.flatten().tolist())
        assert int(index[1].bincount().max()) == 3


def test_dissimilar_items_are_no_neighbors() -> None:
    data, graphs = small_shop(), graphs_of(0.0)
    graphs.k = 100
    graphs.rebuild(data)
    for graph in graphs(data):
        assert graph.edge_weight is not None
        assert 0 < graph.edge_weight.numel() < 8 * 8
        assert bool((graph.edge_weight > 0).all())


def test_neighbors_that_moved_apart_have_no_weight() -> None:
    data, graphs = small_shop(), graphs_of(0.0)
    graphs.rebuild(data)
    move(graphs)
    weights = [graph.edge_weight for graph in graphs(data)]
    assert any(bool((weight == 0).any()) for weight in weights if weight is not None)
    assert all(bool((weight >= 0).all()) for weight in weights if weight is not None)


def test_nothing_is_learned_at_a_skip_weight_of_one() -> None:
    graphs = graphs_of(1.0)
    graphs.rebuild(small_shop())
    assert list(graphs.parameters()) == []
    assert graphs.get_extra_state() == {}
    assert all(graph.learned is None for graph in graphs(small_shop()))


def test_reset_parameters_forgets() -> None:
    data, graphs = small_shop(), graphs_of()
    graphs(data)
    graphs.reset_parameters()
    assert graphs.get_extra_state() == {}


@pytest.mark.parametrize('copied', [copy.deepcopy, lambda g: pickle.loads(pickle.dumps(g))])
def test_copies_keep_the_neighbors(copied: Any) -> None:
    data, graphs = small_shop(), graphs_of()
    graphs.rebuild(data)
    move(graphs)
    x = torch.eye(NUM_ITEMS).double()
    for a, b in zip(graphs(data), copied(graphs)(data), strict=True):
        assert torch.equal(a.matmul(x), b.matmul(x))


def test_checkpoint_of_other_modalities_is_refused() -> None:
    graphs = graphs_of()
    with pytest.raises(ValueError, match='item graphs of 1 modalities, but the model learns 2'):
        graphs.set_extra_state({'0': torch.zeros(2, 0, dtype=torch.long)})


def test_length() -> None:
    assert len(graphs_of()) == 2
    assert len(LatentGraphs(9, 5, item_graphs=('a', 'b', 'c'), skip_weight=1.0)) == 3


def test_edges_are_those_that_propagate() -> None:
    data, graphs = small_shop(), graphs_of()
    x = torch.randn(NUM_ITEMS, 2).double()
    for graph in graphs(data):
        edge_index, weight = graph.edges()
        pair = CSRPair(edge_index, weight, (NUM_ITEMS, NUM_ITEMS))
        torch.testing.assert_close(pair.matmul(x), graph.matmul(x))
    assert graphs.names == ('similar_image', 'similar_text')
