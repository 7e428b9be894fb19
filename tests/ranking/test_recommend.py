import math

import pytest
import torch
from torch import Tensor

from pyg_mmgef.ranking import recommend

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
    items, scores = recommend(
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


def test_places_without_an_item() -> None:
    z_user, z_item, exclude = random_case()
    items, scores = recommend(z_user, z_item, torch.tensor([4, 5]), k=3, exclude=exclude)
    assert set(items[0, :2].tolist()) == {3, 12}
    assert items[0, 2] == -1
    assert items[1].tolist() == [-1, -1, -1]
    assert scores[1].tolist() == [-math.inf] * 3


def test_no_users() -> None:
    z_user, z_item, exclude = random_case()
    users = torch.empty(0, dtype=torch.long)
    items, scores = recommend(z_user, z_item, users, k=3, exclude=exclude)
    assert items.shape == scores.shape == (0, 3)


def test_repeated_exclusions_and_int32_ids() -> None:
    z_user, z_item, exclude = random_case()
    items, scores = recommend(z_user, z_item, torch.tensor([1, 2]), exclude=exclude)
    again = recommend(
        z_user,
        z_item,
        torch.tensor([1, 2], dtype=torch.int32),
        exclude=torch.cat([exclude, exclude.flip(1)], dim=1).int(),
    )
    assert torch.equal(items, again[0])
    assert torch.equal(scores, again[1])


def test_takes_no_gradient() -> None:
    z_user, z_item, _ = random_case()
    assert not recommend(z_user.requires_grad_(), z_item)[1].requires_grad


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
        self.check("of a mask, pass 'mask.nonzero", users=torch.tensor([True]))

    @pytest.mark.parametrize('k', [0, -2, 1.5])
    def test_k(self, k: int) -> None:
        self.check("'k' must be a positive integer", k=k)

    def test_candidates(self) -> None:
        self.check(r"'candidates' must hold item ids in \[0, 17\)", candidates=torch.tensor([17]))
        self.check(r"'candidates' must hold item ids in \[0, 17\)", candidates=torch.tensor([-1]))
        self.check(r'vector of item ids .* of a mask', candidates=torch.ones(17, dtype=torch.bool))
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

    def test_batch_size(self) -> None:
        self.check("'batch_size' must be a positive integer", batch_size=-1)
