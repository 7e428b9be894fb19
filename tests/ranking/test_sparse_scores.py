"""Sparse embeddings are ranked as the dense ones of the same numbers are."""

import math

import pytest
import torch
from torch import Tensor

from pyg_mmgef.ranking import evaluate_ranking, per_user_metrics, recommend, scoring

NUM_USERS, NUM_ITEMS, CHANNELS = 150, 40, 30


def random_case(whole: bool = False) -> dict[str, Tensor]:
    """Dense embeddings, most of them zero, and disjoint target and exclude.

    User 4 and item 6 have nothing, user 5 has seen all. Whole numbers score the same in any order.
    """
    generator = torch.Generator().manual_seed(0)

    def sparse(num_rows: int) -> Tensor:
        z = torch.randn(num_rows, CHANNELS, generator=generator)
        z = z.mul(2).round() if whole else z
        return z * (torch.rand(num_rows, CHANNELS, generator=generator) < 0.2)

    z_user, z_item = sparse(NUM_USERS), sparse(NUM_ITEMS)
    z_user[4], z_item[6] = 0.0, 0.0
    part = torch.rand(NUM_USERS, NUM_ITEMS, generator=generator)
    target, exclude = part < 0.1, part > 0.7
    target[5], exclude[5] = False, True
    return {
        'z_user': z_user,
        'z_item': z_item,
        'target': target.nonzero().t(),
        'exclude': exclude.nonzero().t(),
    }


@pytest.fixture(params=['both', 'users'])
def case(request: pytest.FixtureRequest) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A case and the same with sparse embeddings, of both sides or of the users."""
    dense = random_case(whole=True)
    sparse = {**dense, 'z_user': dense['z_user'].to_sparse_csr()}
    if request.param == 'both':
        sparse['z_item'] = dense['z_item'].to_sparse_csr()
    return dense, sparse


Case = tuple[dict[str, Tensor], dict[str, Tensor]]


@pytest.mark.parametrize('batch_size', [1, 7, 2048])
@pytest.mark.parametrize('with_candidates', [False, True])
def test_metrics(case: Case, batch_size: int, with_candidates: bool) -> None:
    dense, sparse = case
    candidates = torch.tensor([30, 2, 17, 9, 9, 39]) if with_candidates else None
    if candidates is not None:
        kept = torch.isin(dense['target'][1], candidates)
        dense['target'] = sparse['target'] = dense['target'][:, kept]
    outs = [
        evaluate_ranking(**part, k=(1, 4), candidates=candidates, batch_size=batch_size)  # type: ignore[arg-type]
        for part in (dense, sparse)
    ]
    assert outs[1] == outs[0]
    assert 0 < outs[1]['recall@4'] < 1


def test_user_by_user(case: Case) -> None:
    dense, sparse = case
    users, values = per_user_metrics(**dense, k=5, metrics=('ndcg', 'mrr'))  # type: ignore[arg-type]
    out = per_user_metrics(**sparse, k=5, metrics=('ndcg', 'mrr'))  # type: ignore[arg-type]
    assert torch.equal(out[0], users)
    assert all(torch.equal(out[1][name], values[name]) for name in values)


@pytest.mark.parametrize('k', [1, 10, 40, 50])
@pytest.mark.parametrize('users', [None, torch.tensor([5, 0, 149, 4, 0])])
@pytest.mark.parametrize('candidates', [None, torch.tensor([30, 2, 17, 9, 9, 39])])
def test_recommendations(
    case: Case, k: int, users: Tensor | None, candidates: Tensor | None
) -> None:
    """Whole numbers have many equal scores, which the lower id must win."""
    dense, sparse = case
    scores, items = recommend(
        sparse['z_user'],
        sparse['z_item'],
        users,
        k=k,
        exclude=sparse['exclude'],
        candidates=candidates,
    )
    exact = dense['z_user'] @ dense['z_item'].t()
    exact[dense['exclude'][0], dense['exclude'][1]] = -math.inf
    if candidates is not None:
        others = torch.ones(NUM_ITEMS, dtype=torch.bool)
        others[candidates] = False
        exact[:, others] = -math.inf
    exact = exact if users is None else exact[users]
    exact = torch.nn.functional.pad(exact, (0, 10), value=-math.inf)
    expected = exact.sort(dim=1, descending=True, stable=True)
    missing = expected.values[:, :k].isneginf()
    assert torch.equal(scores, expected.values[:, :k])
    assert torch.equal(items, expected.indices[:, :k].masked_fill(missing, -1))


def test_nobody(case: Case) -> None:
    _, sparse = case
    users = torch.empty(0, dtype=torch.long)
    scores, items = recommend(sparse['z_user'], sparse['z_item'], users, k=3)
    assert items.shape == scores.shape == (0, 3)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions(dtype: torch.dtype) -> None:
    case = random_case()
    z_user, z_item = case['z_user'].to(dtype), case['z_item'].to(dtype)
    exact = z_user.double() @ z_item.double().t()
    scores, items = recommend(z_user.to_sparse_csr(), z_item.to_sparse_csr(), k=9)
    assert scores.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    expected = exact.topk(9, dim=1).values
    torch.testing.assert_close(scores.double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(exact.gather(1, items), expected, rtol=1e-5, atol=1e-5)
    # One of each.
    mixed, _ = recommend(z_user.to_sparse_csr(), z_item.double(), k=9)
    assert mixed.dtype == torch.float64
    torch.testing.assert_close(mixed, expected)


def test_order_of_entries_and_type_of_indices_do_not_matter() -> None:
    z_user = torch.sparse_csr_tensor(
        torch.tensor([0, 0, 3], dtype=torch.int32),
        torch.tensor([3, 0, 1], dtype=torch.int32),
        torch.tensor([5.0, 1.0, 2.0]),
        (2, 4),
        check_invariants=False,
    )
    scores, items = recommend(z_user, torch.eye(4).to_sparse_csr(), k=4)
    assert items.tolist() == [[0, 1, 2, 3], [3, 1, 0, 2]]
    assert scores.tolist() == [[0, 0, 0, 0], [5, 2, 1, 0]]


def test_empty_matrices() -> None:
    z_user, z_item = (torch.zeros(size, 3).to_sparse_csr() for size in (4, 5))
    scores, items = recommend(z_user, z_item, k=2)
    assert items.tolist() == [[0, 1]] * 4
    assert not scores.any()


def test_takes_no_gradient() -> None:
    case = random_case()
    z_user = case['z_user'].to_sparse_csr().requires_grad_()
    scores, _ = recommend(z_user, case['z_item'].to_sparse_csr())
    assert not scores.requires_grad


def test_bounded_memory(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    _, sparse = case
    expected = recommend(sparse['z_user'], sparse['z_item'], k=5)
    sizes: list[int] = []
    rank = scoring._Ranker.__call__

    def spy(self: scoring._Ranker, user: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        sizes.append(score.numel())
        return rank(self, user, score)

    monkeypatch.setattr(scoring._Ranker, '__call__', spy)
    monkeypatch.setattr(scoring, 'BLOCK_SCORES', 500)
    out = recommend(sparse['z_user'], sparse['z_item'], k=5)
    assert max(sizes) <= 500
    assert torch.equal(out[0], expected[0])
    assert torch.equal(out[1], expected[1])


class TestMistakes:
    def check(self, message: str, z_user: Tensor, z_item: Tensor) -> None:
        target = torch.tensor([[0], [0]])
        with pytest.raises(ValueError, match=message):
            recommend(z_user, z_item)
        with pytest.raises(ValueError, match=message):
            evaluate_ranking(z_user, z_item, target, k=1)

    def test_layouts(self) -> None:
        z = torch.eye(3)
        csr = z.to_sparse_csr()
        self.check("'z_item' is sparse, but 'z_user' is dense", z, csr)
        for other in (z.to_sparse_coo(), z.to_sparse_csc()):
            self.check(f"'z_user' must be dense or in CSR form .got {other.layout}", other, csr)
            self.check(f"'z_item' must be dense or in CSR form .got {other.layout}", csr, other)

    @pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
    def test_not_finite(self, value: float) -> None:
        z = torch.eye(4)
        z[2, :2] = value
        message = 'holds NaN or infinite values in 1 of 4 rows .first: row 2.'
        self.check(f"'z_user' {message}", z.to_sparse_csr(), torch.eye(4))
        self.check(f"'z_item' {message}", torch.eye(4).to_sparse_csr(), z.to_sparse_csr())

    def test_shapes(self) -> None:
        csr = torch.eye(3).to_sparse_csr()
        self.check('must have the same number of channels .got 3 and 2', csr, torch.ones(3, 2))
        self.check('must have the same number', csr, torch.ones(3, 2).to_sparse_csr())
        self.check("'z_user' must be a floating point matrix", csr.long(), csr)
        batch = torch.ones(2, 3, 3).to_sparse_csr()
        self.check("'z_user' must be a floating point matrix", batch, csr)

    def test_columns_outside(self) -> None:
        pointer, column = torch.tensor([0, 1]), torch.tensor([3])
        z = torch.sparse_csr_tensor(pointer, column, torch.ones(1), (1, 3), check_invariants=False)
        self.check(r"'z_user' must hold column ids in \[0, 3\)", z, torch.ones(3, 3))
