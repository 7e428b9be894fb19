import math
from typing import Any

import pytest
import torch
from torch import Tensor

from pyg_mmgef.ranking import _proof, recommend, scoring
from pyg_mmgef.search import _top_lists as candidate_lists

NUM_USERS, NUM_ITEMS = 11, 17


def random_case(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings and seen interactions; user 4 has seen all but two items, user 5 all."""
    generator = torch.Generator().manual_seed(seed)
    seen = torch.rand(NUM_USERS, NUM_ITEMS, generator=generator) < 0.3
    seen[4] = True
    seen[4, [3, 12]] = False
    seen[5] = True
    z_user = torch.randn(NUM_USERS, 4, generator=generator)
    return z_user, torch.randn(NUM_ITEMS, 4, generator=generator), seen.nonzero().t()


def ranked(
    z_user: Tensor, z_item: Tensor, user: int, k: int, seen: set[int], allowed: set[int]
) -> list[tuple[int, float]]:
    """The oracle: sort the allowed, unseen items and fill up with (-1, -inf)."""
    scores = (z_item @ z_user[user]).tolist()
    items = sorted((i for i in allowed if i not in seen), key=lambda i: -scores[i])[:k]
    return [(i, scores[i]) for i in items] + [(-1, -math.inf)] * (k - len(items))


@pytest.mark.usefixtures('way')
@pytest.mark.parametrize('k', [1, 5, 17, 30])
@pytest.mark.parametrize('batch_size', [1, 4, 1024])
@pytest.mark.parametrize('with_exclude', [False, True])
@pytest.mark.parametrize('with_candidates', [False, True])
@pytest.mark.parametrize('with_users', [False, True])
def test_equals_the_oracle(
    k: int, batch_size: int, with_exclude: bool, with_candidates: bool, with_users: bool
) -> None:
    z_user, z_item, exclude = random_case()
    candidates = torch.tensor([12, 3, 9, 9, 0, 16, 3])
    users = torch.tensor([5, 0, 10, 4, 0])  # In any order, one twice.
    scores, items = recommend(
        z_user,
        z_item,
        users if with_users else None,
        k=k,
        exclude=exclude if with_exclude else None,
        candidates=candidates if with_candidates else None,
        batch_size=batch_size,
    )
    allowed = set(candidates.tolist()) if with_candidates else set(range(NUM_ITEMS))
    wanted = users.tolist() if with_users else list(range(NUM_USERS))
    assert items.shape == scores.shape == (len(wanted), k)
    assert items.dtype == torch.long
    for row, user in enumerate(wanted):
        seen = set(exclude[1, exclude[0] == user].tolist()) if with_exclude else set()
        expected = ranked(z_user, z_item, user, k, seen, allowed)
        assert items[row].tolist() == [item for item, _ in expected]
        assert scores[row].tolist() == pytest.approx([score for _, score in expected], abs=1e-5)


@pytest.mark.usefixtures('way')
def test_places_without_an_item() -> None:
    z_user, z_item, exclude = random_case()
    scores, items = recommend(z_user, z_item, torch.tensor([4, 5]), k=3, exclude=exclude)
    assert set(items[0, :2].tolist()) == {3, 12}
    assert items[0, 2] == -1
    assert items[1].tolist() == [-1, -1, -1]
    assert scores[1].tolist() == [-math.inf] * 3


@pytest.mark.usefixtures('way')
def test_no_users() -> None:
    z_user, z_item, exclude = random_case()
    users = torch.empty(0, dtype=torch.long)
    scores, items = recommend(z_user, z_item, users, k=3, exclude=exclude)
    assert items.shape == scores.shape == (0, 3)


@pytest.mark.usefixtures('way')
def test_repeated_exclusions_and_int32_ids() -> None:
    z_user, z_item, exclude = random_case()
    scores, items = recommend(z_user, z_item, torch.tensor([1, 2]), exclude=exclude)
    again = recommend(
        z_user,
        z_item,
        torch.tensor([1, 2], dtype=torch.int32),
        exclude=torch.cat([exclude, exclude.flip(1)], dim=1).int(),
    )
    assert torch.equal(items, again.items)
    assert torch.equal(scores, again.scores)


def test_takes_no_gradient() -> None:
    z_user, z_item, _ = random_case()
    assert not recommend(z_user.requires_grad_(), z_item).scores.requires_grad


def long_tailed_case(num_users: int = 300, num_items: int = 3000) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings of low rank and noise, of very different length; every user has seen 20 items."""
    generator = torch.Generator().manual_seed(0)
    basis = torch.randn(6, 32, generator=generator)
    z_user, z_item = (
        torch.randn(size, 6, generator=generator) @ basis
        + 0.5 * torch.randn(size, 32, generator=generator)
        for size in (num_users, num_items)
    )
    z_item *= torch.rand(num_items, 1, generator=generator).pow(-0.3)
    user = torch.arange(num_users).repeat_interleave(20)
    item = torch.randint(num_items, user.shape, generator=generator)
    return z_user, z_item, torch.stack([user, item])


def assert_best(
    z_user: Tensor, z_item: Tensor, exclude: Tensor, items: Tensor, scores: Tensor
) -> None:
    """Check against float64, where items may change places only if their scores are as good."""
    exact = z_user.double() @ z_item.double().t()
    exact[exclude[0], exclude[1]] = -math.inf
    expected = exact.topk(items.size(1), dim=1).values
    torch.testing.assert_close(scores.double(), expected, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(exact.gather(1, items), expected, rtol=1e-5, atol=1e-4)
    assert all(len(set(row)) == len(row) for row in items.tolist())


@pytest.mark.parametrize('k', [1, 20, 100, 1100, 2900])
def test_long_tails(k: int) -> None:
    z_user, z_item, exclude = long_tailed_case()
    scores, items = recommend(z_user, z_item, k=k, exclude=exclude)
    assert_best(z_user, z_item, exclude, items, scores)


@pytest.mark.parametrize('k', [1, 10, 20, 50])
def test_proof_succeeds_where_scores_differ(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if candidate_lists._tiles is None:
        pytest.skip('without a compiler, all items are ranked')
    # Also where the processor is no faster with it; in float32 the close scores would be proven.
    monkeypatch.setattr(_proof, 'product_dtype', lambda device: torch.bfloat16)
    z_user, z_item, exclude = long_tailed_case()
    left: list[int] = []
    rank_all = scoring.TopItems._all

    def spy(self: scoring.TopItems, users: Tensor, *args: Any) -> tuple[Tensor, Tensor]:
        left.append(users.numel())
        return rank_all(self, users, *args)

    monkeypatch.setattr(scoring.TopItems, '_all', spy)
    recommend(z_user, z_item, k=k, exclude=exclude)
    assert sum(left) <= 0.05 * len(z_user)
    # Scores closer than low precision can tell: nothing is proven, and the result is right.
    close = z_item[:1] + 1e-4 * z_item
    scores, items = recommend(z_user, close, k=k, exclude=exclude)
    assert left[-1] >= 0.9 * len(z_user)
    assert_best(z_user, close, exclude, items, scores)


@pytest.mark.parametrize('precision', ['high', 'medium'])
def test_proof_allows_for_low_precision_inside_of_products(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if candidate_lists._tiles is None:
        pytest.skip('without a compiler, all items are ranked')
    monkeypatch.setattr(_proof, 'product_dtype', lambda device: torch.float32)
    z_user, z_item, exclude = long_tailed_case()
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(precision)
        scores, items = recommend(z_user, z_item, k=20, exclude=exclude)
    finally:
        torch.set_float32_matmul_precision(before)
    assert_best(z_user, z_item, exclude, items, scores)


@pytest.mark.usefixtures('way')
def test_lower_id_first_among_equal_scores() -> None:
    generator = torch.Generator().manual_seed(0)
    z_user, z_item = (torch.randint(-2, 3, (size, 3), generator=generator) for size in (40, 90))
    z_user[7] = 0  # Whose scores are all equal.
    exclude = torch.stack([torch.arange(40), torch.randint(90, (40,), generator=generator)])
    exclude = torch.cat([exclude, torch.tensor([[7, 7], [0, 2]])], dim=1)
    score = (z_user @ z_item.t()).float()
    score[exclude[0], exclude[1]] = -math.inf
    for k in (1, 4, 10, 60, 89):
        scores, items = recommend(z_user.float(), z_item.float(), k=k, exclude=exclude)
        expected = score.sort(dim=1, descending=True, stable=True)
        missing = expected.values[:, :k].isneginf()
        assert torch.equal(items, expected.indices[:, :k].masked_fill(missing, -1))
        assert torch.equal(scores, expected.values[:, :k])


def test_equal_items_stay_in_order() -> None:
    z_user, z_item, _ = long_tailed_case(num_items=500)
    z_item = torch.cat([z_item, z_item.flip(0)])  # Not integers: their sums are rounded.
    scores, items = recommend(z_user, z_item, k=20)
    assert torch.equal(scores[:, ::2], scores[:, 1::2])
    assert torch.equal(999 - items[:, ::2], items[:, 1::2])
    assert bool((items[:, ::2] < 500).all())


@pytest.mark.parametrize('channels', [1, 3, 16, 64])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_equal_items_tie_whatever_their_column_and_batch(channels: int, dtype: torch.dtype) -> None:
    """In the last bits, a dense product depends on both."""
    generator = torch.Generator().manual_seed(0)
    z_user = torch.randn(150, channels, generator=generator, dtype=dtype)
    z_item = torch.randn(1, channels, generator=generator, dtype=dtype).repeat(203, 1)
    z_item[50:120] = torch.randn(1, channels, generator=generator, dtype=dtype)
    z_item[7] *= 1 - 1e-3
    exact = (z_user.double() @ z_item.double().t()).float()
    expected = exact.sort(dim=1, descending=True, stable=True).indices[:, :30]
    for batch_size in (1, 7, 100, 2048):
        for users in (torch.arange(150), torch.arange(40, 47)):
            scores, items = recommend(z_user, z_item, users, k=30, batch_size=batch_size)
            assert torch.equal(items, expected[users])
            assert bool((scores[:, 1:] <= scores[:, :-1]).all())


def test_scores_do_not_depend_on_the_batch() -> None:
    generator = torch.Generator().manual_seed(0)
    z_user, z_item = (torch.randn(size, 37, generator=generator) for size in (300, 901))
    expected = recommend(z_user, z_item, k=9)  # The few that products choose.
    for batch_size in (1, 7, 128):
        for users in torch.arange(300).split(100):  # All items are ranked.
            scores, items = recommend(z_user, z_item, users, k=9, batch_size=batch_size)
            assert torch.equal(items, expected.items[users])
            assert torch.equal(scores, expected.scores[users])


@pytest.mark.parametrize('compiled', [True, False])
def test_batches_and_threads_do_not_matter(compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not compiled:
        monkeypatch.setattr(candidate_lists, '_tiles', None)
    z_user, z_item, exclude = long_tailed_case()
    scores, items = recommend(z_user, z_item, k=20, exclude=exclude)
    assert_best(z_user, z_item, exclude, items, scores)
    before = torch.get_num_threads()
    for threads, batch_size in ((1, 2048), (2, 50), (3, 7)):
        torch.set_num_threads(threads)
        try:
            again = recommend(z_user, z_item, k=20, exclude=exclude, batch_size=batch_size)
            assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(before)
        assert torch.equal(items, again.items)
        torch.testing.assert_close(scores, again.scores)


@pytest.mark.usefixtures('way')
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions(dtype: torch.dtype) -> None:
    z_user, z_item, exclude = random_case()
    z_user, z_item = z_user.to(dtype), z_item.to(dtype)
    scores, items = recommend(z_user, z_item, k=9, exclude=exclude)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    expected = recommend(z_user.to(wide), z_item.to(wide), k=9, exclude=exclude)
    assert torch.equal(items, expected.items)
    assert torch.equal(scores, expected.scores)
    assert scores.dtype == wide
    exact = (z_user.double() @ z_item.double().t()).gather(1, items.clamp(min=0))
    torch.testing.assert_close(scores.double()[items >= 0], exact[items >= 0])
    # One of each.
    mixed = recommend(z_user, z_item.double(), k=9, exclude=exclude)
    assert torch.equal(mixed.items, items)
    assert mixed.scores.dtype == torch.float64


@pytest.mark.usefixtures('way')
def test_whatever_modes_torch_is_in() -> None:
    z_user, z_item, exclude = random_case()
    expected = recommend(z_user, z_item, k=9, exclude=exclude)
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        out = [recommend(z_user, z_item, k=9, exclude=exclude)]
    finally:
        torch.set_default_dtype(before)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out.append(recommend(z_user, z_item, k=9, exclude=exclude))
    with torch.inference_mode():
        out.append(recommend(z_user.clone(), z_item.clone(), k=9, exclude=exclude))
    for scores, items in out:
        assert torch.equal(items, expected.items)
        assert torch.equal(scores, expected.scores)


def test_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    z_user, z_item, exclude = long_tailed_case()
    z_user, z_item = z_user.double(), z_item.double()  # All items are ranked.
    expected = recommend(z_user, z_item, k=20, exclude=exclude)
    sizes: list[int] = []
    rank = scoring._Ranker.__call__

    def spy(self: scoring._Ranker, user: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        sizes.append(score.numel())
        return rank(self, user, score)

    monkeypatch.setattr(scoring._Ranker, '__call__', spy)
    monkeypatch.setattr(scoring, 'BLOCK_SCORES', 10_000)
    out = recommend(z_user, z_item, k=20, exclude=exclude)
    assert max(sizes) <= 10_000
    assert torch.equal(out.items, expected.items)
    monkeypatch.setattr(scoring, 'BLOCK_SCORES', 10)  # Less than one user's.
    out = recommend(z_user, z_item, k=20, exclude=exclude)
    assert torch.equal(out.items, expected.items)


def test_no_items() -> None:
    scores, items = recommend(torch.ones(40, 3), torch.ones(0, 3), k=2)
    assert items.tolist() == [[-1, -1]] * 40
    assert scores.tolist() == [[-math.inf, -math.inf]] * 40


@pytest.mark.usefixtures('way')
def test_no_channels() -> None:
    scores, items = recommend(torch.ones(40, 0), torch.ones(9, 0), k=2)
    assert items.tolist() == [[0, 1]] * 40
    assert scores.tolist() == [[0, 0]] * 40


class TestMistakes:
    def check(self, message: str, **changes: object) -> None:
        z_user, z_item, exclude = random_case()
        arguments = {'z_user': z_user, 'z_item': z_item, 'exclude': exclude, **changes}
        with pytest.raises(ValueError, match=message):
            recommend(**arguments)  # type: ignore[arg-type]

    def test_users(self) -> None:
        self.check(r"'users' must hold user ids in \[0, 11\)", users=torch.tensor([0, 11]))
        self.check(r"'users' must hold user ids in \[0, 11\)", users=torch.tensor([-1]))
        self.check('vector of user ids', users=torch.tensor([[0]]))
        self.check("instead of a mask pass 'mask.nonzero", users=torch.tensor([True]))

    @pytest.mark.parametrize('k', [0, -2, 1.5])
    def test_k(self, k: int) -> None:
        self.check("'k' must be a positive integer", k=k)

    def test_candidates(self) -> None:
        self.check(r"'candidates' must hold item ids in \[0, 17\)", candidates=torch.tensor([17]))
        self.check(r"'candidates' must hold item ids in \[0, 17\)", candidates=torch.tensor([-1]))
        self.check(
            r'vector of item ids .* instead of a mask', candidates=torch.ones(17, dtype=torch.bool)
        )
        self.check("'candidates' is empty", candidates=torch.empty(0, dtype=torch.long))

    def test_exclude(self) -> None:
        self.check("'exclude' holds the user id 11", exclude=torch.tensor([[11], [0]]))
        self.check("'exclude' holds the item id 17", exclude=torch.tensor([[0], [17]]))

    @pytest.mark.parametrize('name', ['z_user', 'z_item'])
    def test_embeddings(self, name: str) -> None:
        z = dict(zip(['z_user', 'z_item'], random_case(), strict=False))[name]
        z[2] = math.nan
        self.check(rf"'{name}' holds NaN or infinite values in 1 of .*first: row 2", **{name: z})
        self.check(f"'{name}' must be a floating point matrix", **{name: z[0]})

    @pytest.mark.parametrize('name', ['z_user', 'z_item'])
    def test_embeddings_whose_products_overflow(self, name: str) -> None:
        z = dict(zip(['z_user', 'z_item'], random_case(), strict=False))[name]
        z[2, 1] = -1e25
        message = rf"'{name}' holds numbers as large as 1e\+25, .* overflow torch.float32; .*divide"
        self.check(message, **{name: z})

    def test_large_embeddings_in_double_precision(self) -> None:
        z_user, z_item, _ = random_case()
        scores, items = recommend(z_user.double() * 1e25, z_item.double() * 1e25, k=5)
        assert bool(scores.isfinite().all())
        assert torch.equal(items, recommend(z_user, z_item, k=5).items)

    def test_batch_size(self) -> None:
        self.check("'batch_size' must be a positive integer", batch_size=-1)
