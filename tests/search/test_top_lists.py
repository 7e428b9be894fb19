from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from pyg_mmgef.search import _top_lists as candidates
from pyg_mmgef.search._top_lists import CandidateLists, CompiledLists, TorchLists, candidate_lists

CPU = torch.device('cpu')
Make = Callable[..., CandidateLists]


def torch_lists(num_rows: int, width: int, exclude_self: bool = False) -> CandidateLists:
    return TorchLists(num_rows, width, CPU, exclude_self)


KINDS = [pytest.param(CompiledLists, id='compiled'), pytest.param(torch_lists, id='torch')]


def scores(num_rows: int, num_columns: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    """Scores of both signs, no two of a row equal."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.rand(num_rows, num_columns, generator=generator).argsort(dim=1)
    sign = torch.where(order % 2 == 0, 1.0, -1.0)
    # A mantissa and an exponent for each rank: bfloat16 holds these numbers exactly.
    rank = order // 2 + 1
    return (sign * (1 + (rank % 64) / 64) * 2.0 ** (rank // 64 - 4)).to(dtype)


def ids(*bounds: int) -> Tensor:
    return torch.arange(*bounds, dtype=torch.int32)


def check(lists: CandidateLists, all_scores: Tensor, width: int) -> None:
    """Compare lists with a ranking of all scores, minus infinity for those never offered."""
    found, column = lists.best(0, len(all_scores))
    expected, order = all_scores.float().topk(width, dim=1)
    assert torch.equal(found, expected)
    assert torch.equal(column, order.masked_fill(expected.isneginf(), -1))


def test_the_lists_are_compiled_here() -> None:
    assert candidates._tiles is not None, 'the extension was not built; is there a C++ compiler?'
    assert isinstance(candidate_lists(3, 2, CPU), CompiledLists)


def test_without_the_extension_and_elsewhere_torch_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(candidate_lists(3, 2, torch.device('meta')), TorchLists)
    monkeypatch.setattr(candidates, '_tiles', None)
    lists = candidate_lists(3, 2, CPU, exclude_self=True)
    assert isinstance(lists, TorchLists)
    assert lists.exclude_self


@pytest.mark.parametrize('make', KINDS)
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float32])
@pytest.mark.parametrize('width', [1, 3, 24, 200, 300])
@pytest.mark.parametrize('num_columns', [1, 7, 130, 700])
def test_keeps_the_best(make: Make, dtype: torch.dtype, width: int, num_columns: int) -> None:
    score = scores(9, num_columns, dtype)
    lists = make(9, width)
    # Several tiles where there are many columns, or one in which many are good.
    step = 300 if width < 300 else 700
    for first in range(0, num_columns, step):
        tile = score[:, first : first + step].clone(memory_format=torch.contiguous_format)
        lists.offer(tile, ids(9), ids(first, first + tile.size(1)))
    missing = torch.full((9, width), float('-inf'))
    check(lists, torch.cat([score.float(), missing], dim=1), width)


@pytest.mark.parametrize('make', KINDS)
def test_some_rows_at_a_time(make: Make) -> None:
    score = scores(40, 90, torch.bfloat16)
    lists = make(40, 6)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    for rows in order.split(7):
        lists.offer(score[rows], rows.int(), ids(90))
    check(lists, score, 6)
    found, column = lists.best(10, 15)
    assert found.shape == column.shape == (5, 6)
    assert torch.equal(found, score[10:15].float().topk(6).values)


@pytest.mark.parametrize('make', KINDS)
def test_ids_below_zero_are_padding(make: Make) -> None:
    score = scores(5, 300, torch.float32)
    column = ids(300)
    column[::3] = -1
    column[score.argmax(dim=1)] = -1
    lists = make(5, 8)
    lists.offer(score.clone(), ids(5), column)
    check(lists, score.masked_fill(column < 0, float('-inf')), 8)


@pytest.mark.parametrize('make', KINDS)
def test_no_row_is_its_own_candidate_if_excluded(make: Make) -> None:
    score = scores(50, 50, torch.bfloat16)
    score.fill_diagonal_(2.0**30)
    for exclude in (True, False):
        lists = make(50, 4, exclude_self=exclude)
        lists.offer(score.clone(), ids(50), ids(50))
        check(lists, score.float().fill_diagonal_(float('-inf') if exclude else 2.0**30), 4)


@pytest.mark.parametrize('make', KINDS)
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float32])
def test_both_sides_of_half_the_tiles(make: Make, dtype: torch.dtype) -> None:
    score = scores(150, 150, dtype).tril(-1)
    score = score + score.t()
    lists = make(150, 12, exclude_self=True)
    blocks = ids(150).split(64)
    for number, row in enumerate(blocks):
        for column in blocks[number:]:
            tile = score[row.long()][:, column.long()].contiguous()
            lists.offer(tile, row, column, both=row is not column)
    found, column = lists.best(0, 150)
    every = score.float().fill_diagonal_(float('-inf'))
    assert torch.equal(found, every.topk(12, dim=1).values)
    assert torch.equal(every.gather(1, column), found)
    assert all(len(set(row)) == 12 for row in column.tolist())


def test_of_equal_scores_the_lower_ids_stay_whatever_the_order() -> None:
    for order in (ids(500), ids(500).flip(0)):
        lists = CompiledLists(2, 5)
        for part in order.split(60):
            lists.offer(torch.ones(2, len(part)), ids(2), part.contiguous())
        assert lists.best(0, 2)[1].tolist() == [[0, 1, 2, 3, 4]] * 2


def test_threads_give_what_one_gives() -> None:
    score = scores(64, 2048, torch.bfloat16).repeat(1, 4)
    expected = CompiledLists(64, 20)
    expected.offer(score, ids(64), ids(score.size(1)))
    for seed in range(5):
        lists = CompiledLists(64, 20)
        parts = torch.randperm(256, generator=torch.Generator().manual_seed(seed)).tolist()

        def offer(part: int, lists: CompiledLists = lists) -> None:
            columns = slice(32 * part, 32 * part + 32)
            lists.offer(score[:, columns].contiguous(), ids(64), ids(columns.start, columns.stop))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(offer, parts))
        for first, second in zip(lists.best(0, 64), expected.best(0, 64), strict=True):
            assert torch.equal(first, second)


def test_threads_that_offer_both_sides() -> None:
    score = scores(300, 300, torch.bfloat16).tril(-1)
    score = score + score.t()
    lists = CompiledLists(300, 12, exclude_self=True)
    blocks = ids(300).split(20)
    pairs = [(row, column) for n, row in enumerate(blocks) for column in blocks[n:]]

    def offer(pair: tuple[Tensor, Tensor]) -> None:
        row, column = pair
        tile = score[row.long()][:, column.long()].contiguous()
        lists.offer(tile, row, column, both=row is not column)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(offer, pairs))
    every = score.float().fill_diagonal_(float('-inf'))
    assert torch.equal(lists.best(0, 300)[0], every.topk(12, dim=1).values)


def test_another_default_type_changes_nothing() -> None:
    score = scores(5, 40, torch.float32)
    torch.set_default_dtype(torch.float64)
    try:
        lists = CompiledLists(5, 4)
        lists.offer(score, ids(5), ids(40))
        found, column = lists.best(0, 5)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(found, score.topk(4).values)
    assert torch.equal(column, score.topk(4).indices)


@pytest.mark.parametrize('make', KINDS)
def test_nothing_offered(make: Make) -> None:
    lists = make(3, 2)
    lists.offer(torch.empty(3, 0), ids(3), ids(0))
    lists.offer(torch.empty(0, 4), ids(0), ids(4))
    assert lists.best(0, 3)[0].isneginf().all()
    assert (lists.best(0, 3)[1] == -1).all()


def test_a_wrong_tile_never_reaches_the_extension() -> None:
    lists = CompiledLists(5, 2)
    score, row, column = torch.zeros(5, 6), ids(5), ids(6)
    with pytest.raises(ValueError, match=r"'score' must be bfloat16 or float32 \(got"):
        lists.offer(score.double(), row, column)
    with pytest.raises(ValueError, match=r"'score' must be contiguous, .* of shape \[5, 6\]"):
        lists.offer(torch.zeros(6, 5).t(), row, column)
    with pytest.raises(ValueError, match=r"'score' must be contiguous, .* of shape \[5, 4\]"):
        lists.offer(score, row, ids(4))
    with pytest.raises(ValueError, match=r"'row' must be contiguous, torch.int32"):
        lists.offer(score, row.long(), column)
    with pytest.raises(ValueError, match=r"'column' must be contiguous, torch.int32"):
        lists.offer(score, row, ids(12)[::2])
    for rows in (row - 1, row + 1):
        with pytest.raises(ValueError, match="'row' holds ids of rows that have no list"):
            lists.offer(score, rows, column)
    with pytest.raises(ValueError, match="'column' holds ids of rows that have no list"):
        lists.offer(score, row, column, both=True)
    for start, stop in ((-1, 2), (3, 2), (0, 6)):
        with pytest.raises(ValueError, match="'start' and 'stop' must be a range of lists"):
            lists.best(start, stop)
    assert (lists.best(0, 5)[1] == -1).all()


def test_the_extension_has_named_arguments_alone() -> None:
    assert candidates._tiles is not None
    with pytest.raises(TypeError):
        candidates._tiles.best(0, 0, 0, 0, 0, 0, 0, 0, 0)
    with pytest.raises(ValueError, match="'itemsize' must be 2"):
        candidates._tiles.offer(
            score=0, row=0, column=0, entry=0, count=0, limit=0, busy=0, itemsize=8, num_rows=0,
            num_columns=0, num_lists=0, width=1, capacity=2, exclude_self=False, both=False,
        )  # fmt: skip
