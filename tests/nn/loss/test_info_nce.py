import math
import re

import pytest
import torch
from torch import Tensor

from pyg_mmgef.nn.loss import info_nce


def views(num_rows: int = 5, channels: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    a, b = (
        torch.randn(num_rows, channels, generator=generator, dtype=torch.double).requires_grad_()
        for _ in range(2)
    )
    return a, b


def expected_of(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    terms = []
    for i in range(len(a)):
        scores = [a[i] @ b[j] / a[i].norm() / b[j].norm() / temperature for j in range(len(b))]
        terms.append(-torch.log(scores[i].exp() / torch.stack(scores).exp().sum()))
    return torch.stack(terms).mean()


@pytest.mark.parametrize('temperature', [0.2, 1.0, 3.0])
@pytest.mark.parametrize('num_rows', [1, 2, 5])
def test_equals_the_formula(num_rows: int, temperature: float) -> None:
    batch = views(num_rows)
    loss, expected = info_nce(*batch, temperature), expected_of(*batch, temperature)
    torch.testing.assert_close(loss, expected)
    grads = torch.autograd.grad(loss, batch)
    torch.testing.assert_close(grads, torch.autograd.grad(expected, batch))


@pytest.mark.parametrize('temperature', [0.05, 1.0])
def test_counts_stand_for_repeated_rows(temperature: float) -> None:
    batch, count = views(), torch.tensor([3, 1, 2, 1, 5])
    loss = info_nce(*batch, temperature, count)
    a, b = (view.repeat_interleave(count, dim=0) for view in batch)
    repeated = info_nce(a, b, temperature)
    torch.testing.assert_close(loss, repeated)
    grads = torch.autograd.grad(loss, batch)
    torch.testing.assert_close(grads, torch.autograd.grad(repeated, batch))
    once = info_nce(*batch, temperature, torch.ones(5, dtype=torch.long))
    torch.testing.assert_close(once, info_nce(*batch, temperature))
    with pytest.raises(ValueError, match=re.escape("'count' must have shape [5] (got [4])")):
        info_nce(*batch, temperature, count[:4])


@pytest.mark.parametrize('count', [[1, -1, 1, 1, 1], [0, 0, 0, 0, 0]])
def test_counts_that_mean_nothing_are_refused(count: list[int]) -> None:
    with pytest.raises(ValueError, match="'count' must hold numbers that are not negative"):
        info_nce(*views(), 0.2, torch.tensor(count))


def test_gradcheck() -> None:
    assert torch.autograd.gradcheck(lambda a, b: info_nce(a, b, 0.5), views())


def test_value_by_hand() -> None:
    a, b = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[3.0, 0.0], [1.0, 0.0]])
    # Row 0 sees the cosines 1 and 1, row 1 sees 0 and 0.
    torch.testing.assert_close(info_nce(a, b, 0.1), torch.tensor(math.log(2)))
    # Each row sees 1 and 0 if the views agree.
    torch.testing.assert_close(info_nce(a, a, 0.5), torch.tensor(math.log(1 + math.exp(-2))))


def test_the_rows_of_the_second_view_are_the_classes() -> None:
    a, b = views()
    assert not torch.isclose(info_nce(a, b, 0.2), info_nce(b, a, 0.2))


def test_only_directions_and_pairs_count() -> None:
    a, b = views()
    loss = info_nce(a, b, 0.2)
    torch.testing.assert_close(info_nce(100 * a, 0.01 * b, 0.2), loss)
    order = torch.tensor([3, 1, 4, 0, 2])
    torch.testing.assert_close(info_nce(a[order], b[order], 0.2), loss)
    assert not torch.isclose(info_nce(a, b[order], 0.2), loss)


def test_one_row_costs_nothing() -> None:
    torch.testing.assert_close(info_nce(*views(1), 0.2), torch.zeros((), dtype=torch.double))


def test_rows_of_zeros_are_neutral_and_finite() -> None:
    a, b = (view.detach().clone() for view in views())
    a[1] = 0.0
    a.requires_grad_()
    loss = info_nce(a, b, 0.2)
    kept = [0, 2, 3, 4]
    others = [-torch.log_softmax(torch.cosine_similarity(a[i], b) / 0.2, 0)[i] for i in kept]
    expected = (sum(others) + math.log(5)) / 5  # The row of zeros finds all equally near.
    torch.testing.assert_close(loss, expected)
    assert torch.autograd.grad(loss, a)[0].isfinite().all()


def test_small_temperatures_stay_finite() -> None:
    a, b = (view.float() for view in views())
    loss = info_nce(a, b, 1e-4)
    assert loss.isfinite()
    assert float(loss.detach()) > 100


def test_descent_brings_the_views_together() -> None:
    a, b = views(8, 4)
    optimizer = torch.optim.Adam([a], lr=0.05)
    before = float(info_nce(a, b, 0.2).detach())
    for _ in range(100):
        optimizer.zero_grad()
        info_nce(a, b, 0.2).backward()
        optimizer.step()
    cosine = torch.nn.functional.normalize(a, dim=1) @ torch.nn.functional.normalize(b, dim=1).t()
    assert float(info_nce(a, b, 0.2).detach()) < 0.5 * before
    assert cosine.argmax(dim=1).tolist() == list(range(8))


def test_meta_device() -> None:
    a, b = (view.to('meta') for view in views())
    loss = info_nce(a, b, 0.2)
    assert (loss.device.type, loss.shape) == ('meta', ())


@pytest.mark.parametrize('temperature', [0.0, -1.0, math.inf, math.nan])
def test_wrong_temperatures_are_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match=f"'temperature' must be positive.*{temperature}"):
        info_nce(*views(), temperature)


@pytest.mark.parametrize(
    ('a', 'b', 'message'),
    [
        (torch.ones(2, 3), torch.ones(3, 3), '[2, 3] and [3, 3]'),
        (torch.ones(2, 3), torch.ones(2, 4), '[2, 3] and [2, 4]'),
        (torch.ones(3), torch.ones(3), '[3] and [3]'),
        (torch.ones(0, 3), torch.ones(0, 3), "'a' and 'b' hold no row"),
    ],
)
def test_wrong_shapes_are_refused(a: Tensor, b: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        info_nce(a, b, 0.2)
