import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pyg_mmgef.graph import co_interaction, co_interaction_graph
from tests.references import co_interactions, dense_adjacency, top_k_rows

WEIGHTINGS = ['cosine', 'jaccard', 'lift', 'raw', 'lightgcn']
# Ratios of whole numbers: equal values are equal in float32, so ties are ties.
RATIONAL = ['jaccard', 'lift', 'raw']
few_examples = settings(max_examples=50, deadline=None)


def binary_interactions(num_users: int, num_items: int, density: float, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(num_users, num_items, generator=generator) < density).double()


def graph(interactions: Tensor, k: int, weighting: str) -> tuple[Tensor, Tensor]:
    num_users, num_items = interactions.shape
    pairs = interactions.nonzero().t()
    return co_interaction_graph(pairs, num_users, num_items, k, weighting=weighting)


def dense_graph(interactions: Tensor, k: int, weighting: str) -> Tensor:
    edge_index, edge_weight = graph(interactions, k, weighting)
    num_items = interactions.size(1)
    return dense_adjacency(edge_index, edge_weight.double(), num_items, num_items)


cases = {
    'num_users': st.integers(2, 30),
    'num_items': st.integers(2, 14),
    'density': st.sampled_from([0.05, 0.2, 0.5, 0.9]),
    'seed': st.integers(0, 10_000),
    'k': st.integers(1, 16),
}


@few_examples
@given(weighting=st.sampled_from(RATIONAL), **cases)
def test_equals_the_dense_oracle_with_its_ties(
    num_users: int, num_items: int, density: float, seed: int, k: int, weighting: str
) -> None:
    interactions = binary_interactions(num_users, num_items, density, seed)
    out = dense_graph(interactions, k, weighting)
    expected = top_k_rows(co_interactions(interactions, weighting), k)
    assert torch.equal(out > 0, expected > 0)
    assert torch.allclose(out, expected, rtol=1e-6, atol=0)


@few_examples
@given(weighting=st.sampled_from(['cosine', 'lightgcn']), **cases)
def test_equals_the_dense_oracle_up_to_rounded_ties(
    num_users: int, num_items: int, density: float, seed: int, k: int, weighting: str
) -> None:
    interactions = binary_interactions(num_users, num_items, density, seed)
    out = dense_graph(interactions, k, weighting)
    matrix = co_interactions(interactions, weighting)
    assert torch.allclose(out, torch.where(out > 0, matrix, 0), rtol=1e-5, atol=0)
    # The same weights row by row, whichever of two equal items was kept.
    expected = top_k_rows(matrix, k)
    assert torch.allclose(out.sort(1).values, expected.sort(1).values, rtol=1e-5, atol=0)


@pytest.mark.parametrize('weighting', WEIGHTINGS)
def test_hand_computed(weighting: str) -> None:
    # Users 0 and 1 both have items 0 and 1; user 2 has items 1 and 2; user 3 has only item 3.
    pairs = torch.tensor([[0, 0, 1, 1, 2, 2, 3], [0, 1, 0, 1, 1, 2, 3]])
    edge_index, edge_weight = co_interaction_graph(pairs, 4, 4, 2, weighting=weighting)
    assert edge_index.tolist() == [[1, 0, 2, 1], [0, 1, 1, 2]]
    strong, weak = {
        'cosine': (2 / 6**0.5, 1 / 3**0.5),
        'jaccard': (2 / 3, 1 / 3),
        'lift': (2 * 4 / 6, 1 * 4 / 3),
        'raw': (2, 1),
        'lightgcn': ((1 / 2 + 1 / 2) / 6**0.5, (1 / 2) / 3**0.5),
    }[weighting]
    assert edge_weight.tolist() == pytest.approx([strong, strong, weak, weak])
    assert edge_weight.dtype == torch.float32
    assert edge_index.dtype == torch.long


@pytest.mark.parametrize('weighting', WEIGHTINGS)
def test_ties_go_to_the_lower_id(weighting: str) -> None:
    interactions = torch.ones(4, 6)  # All weights are equal, and exact in float32.
    edge_index, _ = graph(interactions, 2, weighting)
    assert edge_index[0].view(6, 2).tolist() == [[1, 2], [0, 2], [0, 1], [0, 1], [0, 1], [0, 1]]


def test_ties_under_cosine_are_not_rounded_apart() -> None:
    interactions = torch.zeros(12, 3)
    interactions[:3, 0] = 1  # Item 0 has 3 users,
    interactions[:1, 1] = 1  # item 1 has one of them: 1 / √(3 · 1),
    interactions[:9, 2] = 1  # item 2 has all three among 9: 3 / √(3 · 9).
    edge_index, _ = graph(interactions, 1, 'cosine')
    assert edge_index[0, edge_index[1] == 0].tolist() == [1]


@pytest.mark.parametrize('weighting', WEIGHTINGS)
@pytest.mark.parametrize('min_count', [1, 2, 4, 100])
def test_min_count_drops_pairs_with_few_shared_users(weighting: str, min_count: int) -> None:
    interactions = binary_interactions(20, 10, 0.4, 5)
    pairs = interactions.nonzero().t()
    out = dense_adjacency(
        *co_interaction_graph(pairs, 20, 10, 100, weighting=weighting, min_count=min_count), 10, 10
    )
    enough = co_interactions(interactions, 'raw') >= min_count
    expected = torch.where(enough, co_interactions(interactions, weighting), 0)
    assert torch.allclose(out.double(), expected, rtol=1e-5, atol=0)
    # The k best are chosen among those that are left.
    out = dense_adjacency(
        *co_interaction_graph(pairs, 20, 10, 2, weighting='raw', min_count=min_count), 10, 10
    )
    raw = torch.where(enough, co_interactions(interactions, 'raw'), 0)
    assert torch.equal(out.double(), top_k_rows(raw, 2))


@pytest.mark.parametrize('weighting', WEIGHTINGS)
def test_best_first_per_item(weighting: str) -> None:
    edge_index, edge_weight = graph(binary_interactions(30, 12, 0.3, 0), 5, weighting)
    assert edge_index[1].tolist() == sorted(edge_index[1].tolist())
    for item in edge_index[1].unique():
        weight = edge_weight[edge_index[1] == item].tolist()
        assert weight == sorted(weight, reverse=True)
        assert len(weight) <= 5


@pytest.mark.parametrize('weighting', WEIGHTINGS)
@pytest.mark.parametrize('max_memory', [1, 1000, 10_000])
@pytest.mark.parametrize('num_threads', [1, 3])
@pytest.mark.parametrize('min_count', [1, 2])
@pytest.mark.parametrize('compiled', [True, False])
def test_small_blocks_and_threads_give_the_same(
    monkeypatch: pytest.MonkeyPatch,
    compiled: bool,
    weighting: str,
    max_memory: int,
    num_threads: int,
    min_count: int,
) -> None:
    interactions = binary_interactions(20, 15, 0.3, 1)
    interactions[:, [0, 7, 14]] = 0
    pairs = interactions.nonzero().t()
    options: dict = {'weighting': weighting, 'min_count': min_count}
    expected = co_interaction_graph(pairs, 20, 15, 4, **options)
    monkeypatch.setattr(co_interaction, 'PADDED_ENTRIES', 20)
    monkeypatch.setattr(co_interaction, 'BLOCK_PATHS', 30)
    if not compiled:
        monkeypatch.setattr(co_interaction, '_paths', None)
    edge_index, edge_weight = co_interaction_graph(
        pairs, 20, 15, 4, max_memory=max_memory, num_threads=num_threads, **options
    )
    assert torch.equal(edge_index, expected[0])
    assert torch.equal(edge_weight, expected[1])


@pytest.mark.parametrize('weighting', WEIGHTINGS)
@pytest.mark.parametrize('max_memory', [1, 10_000, 2**30])
@pytest.mark.parametrize('min_count', [1, 2])
def test_torch_gives_what_the_extension_gives(
    monkeypatch: pytest.MonkeyPatch, weighting: str, max_memory: int, min_count: int
) -> None:
    assert co_interaction._paths is not None, 'not built; is there a C++ compiler?'
    interactions = binary_interactions(40, 25, 0.2, 1)
    interactions[:, [0, 7, 24]] = 0
    pairs = interactions.nonzero().t()
    options: dict = {'weighting': weighting, 'min_count': min_count, 'max_memory': max_memory}
    expected = co_interaction_graph(pairs, 40, 25, 4, **options)
    monkeypatch.setattr(co_interaction, '_paths', None)
    edge_index, edge_weight = co_interaction_graph(pairs, 40, 25, 4, **options)
    assert torch.equal(edge_index, expected[0])
    assert torch.allclose(edge_weight, expected[1], rtol=1e-6, atol=0)
    nobody = co_interaction_graph(pairs[:, :0], 40, 25, 4, **options)
    assert nobody[0].shape == (2, 0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
@pytest.mark.parametrize('weighting', WEIGHTINGS)
def test_on_a_gpu(weighting: str) -> None:
    pairs = binary_interactions(60, 30, 0.2, 1).nonzero().t()
    expected = co_interaction_graph(pairs, 60, 30, 4, weighting=weighting)
    edge_index, edge_weight = co_interaction_graph(pairs.cuda(), 60, 30, 4, weighting=weighting)
    assert edge_index.device.type == edge_weight.device.type == 'cuda'
    assert torch.equal(edge_index.cpu(), expected[0])
    assert torch.allclose(edge_weight.cpu(), expected[1], rtol=1e-6, atol=0)


@pytest.mark.parametrize('weighting', WEIGHTINGS)
def test_too_active_users_are_left_out(weighting: str) -> None:
    interactions = binary_interactions(20, 15, 0.3, 1)
    interactions[[3, 11]] = 1.0
    edge_index, edge_weight = co_interaction_graph(
        interactions.nonzero().t(), 20, 15, 4, weighting=weighting, max_activity=14
    )
    interactions[[3, 11]] = 0.0
    expected = graph(interactions, 4, weighting)
    assert torch.equal(edge_index, expected[0])
    assert torch.equal(edge_weight, expected[1])


def test_lengths_of_rows_of_all_kinds() -> None:
    """One item shared with all, many with few: rows are padded in groups."""
    star = torch.zeros(120, 61)
    star[torch.arange(120), torch.arange(120) // 2] = 1.0
    star[:, 60] = 1.0
    out = dense_graph(star, 61, 'raw')
    assert torch.equal(out, top_k_rows(co_interactions(star, 'raw'), 61))


@pytest.mark.parametrize('weighting', WEIGHTINGS)
def test_repeated_and_permuted_interactions_change_nothing(weighting: str) -> None:
    pairs = binary_interactions(20, 10, 0.3, 2).nonzero().t()
    expected = co_interaction_graph(pairs, 20, 10, 3, weighting=weighting)
    repeated = torch.cat([pairs, pairs[:, ::2], pairs[:, :5]], dim=1)
    repeated = repeated[:, torch.randperm(repeated.size(1), generator=torch.manual_seed(0))]
    before = repeated.clone()
    edge_index, edge_weight = co_interaction_graph(repeated, 20, 10, 3, weighting=weighting)
    assert torch.equal(edge_index, expected[0])
    assert torch.equal(edge_weight, expected[1])
    assert torch.equal(repeated, before)


@pytest.mark.parametrize('weighting', WEIGHTINGS)
@pytest.mark.parametrize(('num_users', 'num_items'), [(3, 4), (0, 4), (3, 0), (0, 0)])
def test_no_interactions(weighting: str, num_users: int, num_items: int) -> None:
    pairs = torch.empty(2, 0, dtype=torch.long)
    edge_index, edge_weight = co_interaction_graph(
        pairs, num_users, num_items, 2, weighting=weighting
    )
    assert edge_index.shape == (2, 0)
    assert edge_index.dtype == torch.long
    assert edge_weight.shape == (0,)
    assert edge_weight.dtype == torch.float32


def test_items_without_users_and_lonely_items_have_no_edges() -> None:
    pairs = torch.tensor([[0, 0, 1], [1, 3, 4]])
    edge_index, _ = co_interaction_graph(pairs, 5, 7, 10)
    assert edge_index.tolist() == [[3, 1], [1, 3]]


def test_k_may_exceed_what_there_is() -> None:
    edge_index, _ = graph(torch.ones(2, 3), 1000, 'raw')
    assert edge_index.tolist() == [[1, 2, 0, 2, 0, 1], [0, 0, 1, 1, 2, 2]]


def test_int32_ids() -> None:
    pairs = binary_interactions(20, 10, 0.3, 3).nonzero().t()
    edge_index, edge_weight = co_interaction_graph(pairs.int(), 20, 10, 3)
    expected = co_interaction_graph(pairs, 20, 10, 3)
    assert torch.equal(edge_index, expected[0])
    assert torch.equal(edge_weight, expected[1])


def test_wrong_interactions() -> None:
    def build(pairs: Tensor) -> None:
        co_interaction_graph(pairs, 3, 4, 2)

    with pytest.raises(ValueError, match=r"'edge_index' holds the user id 3, .* only 3 users"):
        build(torch.tensor([[3], [0]]))
    with pytest.raises(ValueError, match=r"'edge_index' holds the item id 4, .* only 4 items"):
        build(torch.tensor([[0], [4]]))
    with pytest.raises(ValueError, match=r"'edge_index' holds the negative user id -1"):
        build(torch.tensor([[-1, 0], [0, 0]]))
    with pytest.raises(ValueError, match=r"'edge_index' holds the negative item id -2"):
        build(torch.tensor([[0, 0], [-2, 0]]))
    with pytest.raises(ValueError, match=r"'edge_index' must hold integer ids \(got torch.float32"):
        build(torch.tensor([[0.0], [1.0]]))
    with pytest.raises(ValueError, match=r"'edge_index' must have shape \[2, E\] \(got \[1, 2\]"):
        build(torch.tensor([[0, 1]]))
    with pytest.raises(ValueError, match=r"'edge_index' must be a tensor \(got list\)"):
        build([[0], [1]])  # type: ignore[arg-type]


def test_wrong_options() -> None:
    pairs = torch.tensor([[0], [0]])
    for k in (0, -1, 1.0, True):
        with pytest.raises(ValueError, match=r"'k' must be a positive integer \(got"):
            co_interaction_graph(pairs, 1, 1, k)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"'min_count' must be a positive integer \(got 0\)"):
        co_interaction_graph(pairs, 1, 1, 1, min_count=0)
    for name in ('max_activity', 'max_memory', 'num_threads'):
        with pytest.raises(ValueError, match=rf"'{name}' must be a positive integer \(got 0\)"):
            co_interaction_graph(pairs, 1, 1, 1, **{name: 0})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"'weighting' must be one of 'cosine', .*got 'count'"):
        co_interaction_graph(pairs, 1, 1, 1, weighting='count')


def test_progress_only_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    pairs = torch.tensor([[0, 0], [0, 1]])
    co_interaction_graph(pairs, 1, 2, 1)
    assert capsys.readouterr() == ('', '')
    co_interaction_graph(pairs, 1, 2, 1, verbose=True)
    assert 'co-interactions' in capsys.readouterr().err
