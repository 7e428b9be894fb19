import pytest
import torch
from torch import Tensor

from pyg_mmgef.graph import knn_graph
from pyg_mmgef.nn import LATTICE, MMGEF
from pyg_mmgef.nn.parts import _content_index as module
from pyg_mmgef.nn.parts._content_index import ContentIndex
from pyg_mmgef.nn.parts.item_graphs import content_graph
from pyg_mmgef.search._cells import Cells
from pyg_mmgef.search.item_index import ItemIndex
from pyg_mmgef.transforms import AddCoInteractionGraph, AddItemKNNGraph
from tests.nn.models.shops import small_shop

pytest.importorskip('faiss')
N, K = 3000, 6


def features(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    centre = torch.randn(30, 16, generator=torch.Generator().manual_seed(9))
    x = centre.repeat(N // 30, 1) + 0.7 * torch.randn(N, 16, generator=generator)
    x[::100] = 0.0
    return x


@pytest.fixture(autouse=True)
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, 'CLUSTER_FROM', 0)


def pairs(edge_index: Tensor) -> set[tuple[int, int]]:
    return set(map(tuple, edge_index.t().tolist()))


@pytest.mark.parametrize('loop', [False, True])
def test_it_finds_most_of_the_neighbors(loop: bool) -> None:
    index = ContentIndex(0.9)
    for seed in range(2):  # Once built, once updated.
        x = features(seed)
        has = x.ne(0).any(dim=1, keepdim=True)
        edge_index, weight = content_graph(x + 1 - 1, has, K, loop=loop, index=index)
        exact, _ = knn_graph(torch.where(has, x, 0.0), K, loop=loop)
        assert edge_index.shape == exact.shape
        assert torch.equal(edge_index[1], exact[1]), 'the same items receive, in the same order'
        shared = len(pairs(edge_index) & pairs(exact)) / exact.size(1)
        assert shared > 0.85
        if loop:
            first = edge_index.view(2, -1, K)[:, :, 0]
            assert torch.equal(first[0], first[1])
            assert bool((weight.view(-1, K)[:, 0] == 1).all())
    one = content_graph(x, has, 1, loop=True, index=index)[0]
    assert torch.equal(one[0], one[1]), 'an item is its only neighbour'


def test_items_are_clustered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[ItemIndex] = []
    build = ItemIndex._build

    def noted(self: ItemIndex) -> Cells:
        built.append(self)
        return build(self)

    monkeypatch.setattr(ItemIndex, '_build', noted)
    index = ContentIndex(0.9)
    has = features(0).ne(0).any(dim=1, keepdim=True)
    for seed in range(3):
        content_graph(features(seed), has, K, index=index)
    assert len(built) == 1
    index.clear()
    content_graph(features(0), has, K, index=index)
    assert len(built) == 2


def test_all_neighbors_without_an_index(monkeypatch: pytest.MonkeyPatch) -> None:
    x = features(0)
    assert ContentIndex(1.0).is_exact_for(x)
    assert not ContentIndex(0.9).is_exact_for(x)
    monkeypatch.setattr(module, 'CLUSTER_FROM', N + 1)
    assert ContentIndex(0.9).is_exact_for(x)


@pytest.mark.parametrize('model_class', [MMGEF, LATTICE])
def test_models_learn_with_an_index(model_class: type[MMGEF] | type[LATTICE]) -> None:
    data = AddCoInteractionGraph(k=2)(AddItemKNNGraph(k=2, attr='x_image')(small_shop()))
    embeddings = []
    for recall in (1.0, 0.9):
        torch.manual_seed(0)
        model = model_class.from_data(data, embedding_dim=4, k=3, recall=recall)
        model.start_epoch(data, 0)
        embeddings.append(model(data)[1])
    # In so small a shop every item is in one cell, so all neighbours are found.
    torch.testing.assert_close(*embeddings, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="'recall' must lie in"):
        model_class.from_data(data, recall=0.0)
