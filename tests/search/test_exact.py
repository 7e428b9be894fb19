import pytest
import torch
from torch import Tensor

from pyg_mmgef.search import _exact as exact
from pyg_mmgef.search import _rows
from pyg_mmgef.search import _top_lists as candidates
from pyg_mmgef.search._exact import Sizes, exact_search
from pyg_mmgef.search._rows import METRICS, SearchRows
from tests.search.knn_checks import assert_is_knn, features

# Small inputs don't reach the search by rounded products by themselves.
TINY = Sizes(small=0, many=200, tile=32, large_tile=64, rows=64, columns=96, spare=6)


def graph(
    x: Tensor, k: int, metric: str, dtype: torch.dtype | None = None, sizes: Sizes = TINY
) -> tuple[Tensor, Tensor]:
    """The graph of the rows with content."""
    every = SearchRows(x, metric)
    content = every.has_content.nonzero().view(-1)
    k = min(k, len(content) - 1)
    score, neighbor = exact_search(every.select(content), k, sizes=sizes, dtype=dtype)
    return torch.stack([content[neighbor].view(-1), content.repeat_interleave(k)]), score.view(-1)


@pytest.fixture(params=['compiled', 'torch'])
def lists(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == 'torch':
        monkeypatch.setattr(candidates, '_tiles', None)


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows that are compared with all others in float32."""
    rows: list[int] = []
    plain = exact._plain_search

    def spy(some: SearchRows, which: Tensor, *args: object) -> tuple[Tensor, Tensor]:
        rows.extend(which.tolist())
        return plain(some, which, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(exact, '_plain_search', spy)
    return rows


@pytest.mark.usefixtures('lists')
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float32], ids=str)
class TestCandidatesAndProof:
    @pytest.mark.parametrize('metric', METRICS)
    @pytest.mark.parametrize('num_items', [2, 30, 64, 97, 300])
    @pytest.mark.parametrize('whole', [False, True])
    def test_is_exact(self, dtype: torch.dtype, metric: str, num_items: int, whole: bool) -> None:
        x = features(num_items, 12, whole=whole)
        k = min(5, num_items - 1)
        assert_is_knn(x, k, metric, *graph(x, k, metric, dtype))

    @pytest.mark.parametrize('metric', METRICS)
    def test_differences_below_the_rounding(self, dtype: torch.dtype, metric: str) -> None:
        x = 1 + 1e-3 * features(200, 8)
        assert_is_knn(x, 4, metric, *graph(x, 4, metric, dtype))

    @pytest.mark.parametrize('metric', METRICS)
    def test_one_row_far_away(self, dtype: torch.dtype, metric: str) -> None:
        x = features(200, 8)
        x[17] *= 1e5
        assert_is_knn(x, 4, metric, *graph(x, 4, metric, dtype))

    @pytest.mark.parametrize('metric', METRICS)
    def test_in_threads(self, dtype: torch.dtype, metric: str) -> None:
        x = features(700, 12, whole=True)
        before = torch.get_num_threads()
        graphs = []
        try:
            for num_threads in (1, 3):
                torch.set_num_threads(num_threads)
                graphs.append(graph(x, 5, metric, dtype))
        finally:
            torch.set_num_threads(before)
        assert_is_knn(x, 5, metric, *graphs[0])
        assert torch.equal(graphs[0][0], graphs[1][0])
        assert torch.equal(graphs[0][1], graphs[1][1])

    def test_unproven_rows_alone_are_searched_again(
        self, dtype: torch.dtype, searched: list[int]
    ) -> None:
        x = features(300, 64)
        # Among forty rows that differ less than any product tells, few candidates prove nothing.
        x[:40] = x[0] * (1 + 1e-6 * torch.arange(40)[:, None])
        assert_is_knn(x, 5, 'cosine', *graph(x, 5, 'cosine', dtype))
        assert set(range(1, 40)) <= set(searched)
        assert len(set(searched)) < 300

    @pytest.mark.parametrize('metric', METRICS)
    @pytest.mark.parametrize('share', [0.2, 0.5, 0.9, 1.0])
    def test_repeated_rows_are_searched_once(
        self, dtype: torch.dtype, metric: str, share: float, searched: list[int]
    ) -> None:
        """They prove nothing about each other, and each was compared with all rows."""
        x = features(300, 12)
        x[torch.rand(300, generator=torch.Generator().manual_seed(0)) < share] = x.mean(dim=0)
        assert_is_knn(x, 5, metric, *graph(x, 5, metric, dtype))
        assert len(searched) <= 30


def test_rows_of_several_groups(searched: list[int]) -> None:
    x = features(300, 12)
    x[::3], x[1::3] = x[0], x[0] + 1e-3 * x[1]
    for metric in METRICS:
        assert_is_knn(x, 5, metric, *graph(x, 5, metric, torch.bfloat16))
        assert_is_knn(x, 150, metric, *graph(x, 150, metric, torch.bfloat16))


@pytest.mark.parametrize('metric', METRICS)
def test_small_blocks_give_the_same(monkeypatch: pytest.MonkeyPatch, metric: str) -> None:
    x = features(29, 5)
    expected = graph(x, 4, metric, sizes=Sizes())
    for block in (1, 29 * 3, 29 * 10 + 7):
        monkeypatch.setattr(_rows, 'DIFFERENCE_ENTRIES', block)
        edge_index, edge_weight = graph(x, 4, metric, sizes=Sizes(block=block))
        assert torch.equal(edge_index, expected[0])
        assert torch.allclose(edge_weight, expected[1], atol=1e-5)
