import pytest
import torch
from torch.utils.data import IterDataPipe
from torch_geometric.data import HeteroData
from torch_geometric.transforms import Compose

from pyg_mmgef.encoders import TitleEncoder
from pyg_mmgef.graph import knn_graph, normalize_similarity
from pyg_mmgef.transforms import AddItemKNNGraph, FuseModalities
from tests.references import dense_adjacency, similarity, symmetric_normalized, top_k_rows
from tests.transforms.shops import assert_unchanged, random_shop, snapshot


@pytest.fixture
def data() -> HeteroData:
    return FuseModalities()(random_shop())


@pytest.mark.parametrize('backend', ['auto', 'exact', 'faiss_flat'])
def test_equals_the_dense_oracle(data: HeteroData, backend: str) -> None:
    store = AddItemKNNGraph(k=4, backend=backend)(data)['item', 'similar', 'item']
    sparse = top_k_rows(similarity(data['item'].x, 'cosine').fill_diagonal_(0), 4)
    out = dense_adjacency(store.edge_index, store.edge_weight.double(), 30, 30)
    assert torch.allclose(out, symmetric_normalized(sparse), atol=1e-5)
    assert bool((store.edge_weight > 0).all())


@pytest.mark.parametrize('metric', ['cosine', 'ip', 'l2'])
@pytest.mark.parametrize('symmetric', [False, True])
def test_raw_similarities(data: HeteroData, metric: str, symmetric: bool) -> None:
    options: dict = {'metric': metric, 'force_undirected': symmetric}
    transform = AddItemKNNGraph(k=4, normalize=False, **options)
    store = transform(data)['item', 'similar', 'item']
    edge_index, edge_weight = knn_graph(data['item'].x, 4, **options)
    assert torch.equal(store.edge_index, edge_index)
    assert torch.equal(store.edge_weight, edge_weight)


def test_late_fusion_has_a_graph_per_modality() -> None:
    shop = random_shop()
    out = Compose(
        [
            AddItemKNNGraph(k=3, attr=f'x_{name}', relation=f'similar_{name}')
            for name in ('image', 'text')
        ]
    )(shop)
    assert ('item', 'similar', 'item') not in out.edge_types
    for name in ('image', 'text'):
        expected = normalize_similarity(*knn_graph(shop['item'][f'x_{name}'], 3), 30)
        store = out['item', f'similar_{name}', 'item']
        assert torch.equal(store.edge_index, expected[0])
        assert torch.equal(store.edge_weight, expected[1])


def test_items_without_content_have_no_edges(data: HeteroData) -> None:
    data['item'].x[[2, 9]] = 0
    edge_index = AddItemKNNGraph(k=4)(data)['item', 'similar', 'item'].edge_index
    assert not torch.isin(edge_index, torch.tensor([2, 9])).any()


def test_titles_that_share_no_word_have_no_edges() -> None:
    titles = [f'red lamp type{i}' for i in range(30)] + [f'uniq{i} alone{i}' for i in range(30)]
    shop = random_shop(num_items=60)
    shop['item'].x, _ = TitleEncoder().fit(titles).encode_texts(titles)
    store = AddItemKNNGraph()(shop)['item', 'similar', 'item']
    assert store.edge_index[1].bincount(minlength=60).tolist() == [10] * 30 + [0] * 30
    assert int(store.edge_index[0].max()) < 30


def test_default_k() -> None:
    data = HeteroData({'item': {'x': torch.rand(30, 5, generator=torch.manual_seed(0))}})
    store = AddItemKNNGraph()(data)['item', 'similar', 'item']
    assert torch.bincount(store.edge_index[1]).tolist() == [10] * 30


def test_returns_a_new_object(data: HeteroData) -> None:
    before = snapshot(data)
    out = AddItemKNNGraph(k=3)(data)
    assert out is not data
    assert ('item', 'similar', 'item') in out.edge_types
    assert_unchanged(data, before)


def test_a_second_time_replaces_the_graph(data: HeteroData) -> None:
    twice = AddItemKNNGraph(k=3)(AddItemKNNGraph(k=5)(data))
    once = AddItemKNNGraph(k=3)(data)
    for key in ('edge_index', 'edge_weight'):
        expected = once['item', 'similar', 'item'][key]
        assert torch.equal(twice['item', 'similar', 'item'][key], expected)


def test_functional_name_and_repr() -> None:
    assert 'add_item_knn_graph' in IterDataPipe.functions
    assert repr(AddItemKNNGraph()) == 'AddItemKNNGraph()'
    transform = AddItemKNNGraph(k=3, attr='x_text', relation='similar_text')
    assert repr(transform) == "AddItemKNNGraph(k=3, attr='x_text', relation='similar_text')"


def test_mistakes(data: HeteroData) -> None:
    with pytest.raises(ValueError, match="'k' must be a positive integer"):
        AddItemKNNGraph(k=0)
    with pytest.raises(ValueError, match="'metric' must be one of"):
        AddItemKNNGraph(metric='dot')
    with pytest.raises(ValueError, match="'backend' must be one of"):
        AddItemKNNGraph(backend='annoy')
    with pytest.raises(ValueError, match="'normalize' needs similarities, but metric='l2'"):
        AddItemKNNGraph(metric='l2')
    with pytest.raises(ValueError, match=r"no features 'x_audio' \(found \['x', 'x_image', .*'x'"):
        AddItemKNNGraph(attr='x_audio')(data)


def test_options_reach_the_graph(data: HeteroData) -> None:
    options: dict = {'backend': 'cluster', 'recall': 0.8, 'loop': True, 'num_threads': 1}
    generators = [torch.Generator().manual_seed(5) for _ in range(2)]
    transform = AddItemKNNGraph(k=4, normalize=False, generator=generators[0], **options)
    store = transform(data)['item', 'similar', 'item']
    expected = knn_graph(data['item'].x, 4, generator=generators[1], **options)
    assert torch.equal(store.edge_index, expected[0])
    assert torch.equal(store.edge_weight, expected[1])


def test_loop_keeps_items_as_their_own_neighbours(data: HeteroData) -> None:
    for loop in (False, True):
        store = AddItemKNNGraph(k=4, loop=loop, normalize=False)(data)['item', 'similar', 'item']
        is_loop = store.edge_index[0] == store.edge_index[1]
        assert int(is_loop.sum()) == (30 if loop else 0)


def test_replaces_a_graph_with_all_that_it_had(data: HeteroData) -> None:
    data['item', 'similar', 'item'].edge_index = torch.tensor([[0], [1]])
    data['item', 'similar', 'item'].edge_attr = torch.ones(1)
    out = AddItemKNNGraph(k=4)(data)
    assert set(out['item', 'similar', 'item'].keys()) == {'edge_index', 'edge_weight'}
    assert 'edge_attr' in data['item', 'similar', 'item']


def test_recall_and_threads_are_checked_early() -> None:
    with pytest.raises(ValueError, match="'recall' must lie in"):
        AddItemKNNGraph(recall=2)
    with pytest.raises(ValueError, match="'num_threads' must be a positive integer"):
        AddItemKNNGraph(num_threads=0)
