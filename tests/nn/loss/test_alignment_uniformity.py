import copy
import math
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pyg_mmgef.nn import AlignmentUniformityLoss
from pyg_mmgef.nn.loss import alignment_uniformity as module
from tests.references import alignment_uniformity


def pairs(num_rows: int = 5, channels: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    user, item = (
        torch.randn(num_rows, channels, generator=generator, dtype=torch.double).requires_grad_()
        for _ in range(2)
    )
    return user, item


@pytest.mark.parametrize('gamma', [0.0, 0.3, 5.0])
@pytest.mark.parametrize('num_rows', [2, 5])
@pytest.mark.parametrize('rows_at_once', [1, 2, 256])
def test_equals_the_reference(
    gamma: float, num_rows: int, rows_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, 'ROWS_AT_ONCE', rows_at_once)
    batch = pairs(num_rows)
    loss, expected = AlignmentUniformityLoss(gamma)(*batch), alignment_uniformity(*batch, gamma)
    torch.testing.assert_close(loss, expected)
    grads = torch.autograd.grad(loss, batch)
    torch.testing.assert_close(grads, torch.autograd.grad(expected, batch))


@pytest.mark.parametrize('dtype', [torch.float, torch.double])
@pytest.mark.parametrize('num_rows', [255, 256, 257, 1000])
def test_equals_pdist_in_several_blocks(num_rows: int, dtype: torch.dtype) -> None:
    batch = pairs(num_rows, 16)

    def uniformity(x: Tensor) -> Tensor:
        return torch.pdist(F.normalize(x, dim=-1)).square().mul(-2).exp().mean().log()

    difference = F.normalize(batch[0], dim=-1) - F.normalize(batch[1], dim=-1)
    expected = difference.norm(dim=1).square().mean()
    expected = expected + 0.7 * (uniformity(batch[0]) + uniformity(batch[1])) / 2
    loss = AlignmentUniformityLoss(0.7)(*(z.to(dtype) for z in batch))
    torch.testing.assert_close(loss.double(), expected, rtol=2e-6, atol=0)
    grads = torch.autograd.grad(loss, batch)
    torch.testing.assert_close(grads, torch.autograd.grad(expected, batch), rtol=1e-4, atol=1e-9)


def test_values_by_hand() -> None:
    # Two opposite users, distance 2, and one item for both, distance 0 and root of 2.
    user, item = torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.tensor([[0.0, 9.0], [0.0, 1.0]])
    torch.testing.assert_close(AlignmentUniformityLoss(0.0)(user, item), torch.tensor(2.0))
    torch.testing.assert_close(
        AlignmentUniformityLoss(0.5)(user, item), torch.tensor(2 + 0.5 * (-8 + 0) / 2)
    )
    corners = torch.eye(3)
    torch.testing.assert_close(AlignmentUniformityLoss()(corners, corners), torch.tensor(-4.0))
    twice = torch.eye(2)[[0, 0, 1]]
    mean = math.log((1 + 2 * math.exp(-4)) / 3)
    torch.testing.assert_close(AlignmentUniformityLoss()(twice, twice), torch.tensor(mean))


def test_only_directions_count() -> None:
    user, item = pairs()
    loss = AlignmentUniformityLoss()
    torch.testing.assert_close(loss(user, item), loss(100 * user, 0.01 * item))
    torch.testing.assert_close(loss(user, item), loss(item, user))


def test_negatives_are_not_read() -> None:
    user, item = pairs()
    expected = AlignmentUniformityLoss()(user, item)
    for shape in ((5, 3), (5, 0, 3), (5, 4, 3)):
        assert torch.equal(
            AlignmentUniformityLoss()(user, item, torch.full(shape, float('nan'))), expected
        )


@pytest.mark.parametrize('scale', [1e-12, 1e12])
def test_extreme_lengths_and_equal_rows_stay_finite(scale: float) -> None:
    user, item = pairs()
    batch = [(scale * z.detach()[[0, 0, 0, 1]]).requires_grad_() for z in (user, item)]
    loss = AlignmentUniformityLoss()(*batch)
    assert bool(torch.isfinite(loss))
    assert all(bool(torch.isfinite(grad).all()) for grad in torch.autograd.grad(loss, batch))


def test_a_descent_from_one_heap_aligns_and_spreads() -> None:
    user, item = ((1 + 0.05 * z.detach()).requires_grad_() for z in pairs(32, 8))
    optimizer = torch.optim.Adam([user, item], lr=0.05)
    for _ in range(200):
        loss = AlignmentUniformityLoss()(user, item)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    user, item = (F.normalize(z.detach(), dim=-1) for z in (user, item))
    assert float((user * item).sum(dim=1).min()) > 0.9
    # Spread evenly, the vectors add up to nothing; in a heap the norm of their mean is one.
    assert float(user.mean(dim=0).norm()) < 0.1


@pytest.mark.parametrize('rows_at_once', [2, 256])
def test_gradcheck(rows_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, 'ROWS_AT_ONCE', rows_at_once)
    assert torch.autograd.gradcheck(AlignmentUniformityLoss(0.3), pairs())


def test_bfloat16_stays_close() -> None:
    user, item = (z.detach().float() for z in pairs(600, 16))
    expected = AlignmentUniformityLoss()(user, item)
    with torch.autocast('cpu', torch.bfloat16):
        loss = AlignmentUniformityLoss()(user, item)
    torch.testing.assert_close(loss, expected, rtol=0, atol=0.01)


def test_one_row_is_aligned_alone() -> None:
    user, item = (z.detach()[:1].requires_grad_() for z in pairs())
    loss = AlignmentUniformityLoss(5.0)(user, item)
    torch.testing.assert_close(loss, AlignmentUniformityLoss(0.0)(user, item))
    assert all(
        grad.isfinite().all() and grad.any() for grad in torch.autograd.grad(loss, (user, item))
    )


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_sums_in_float32(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    user, item = ((1 + 0.1 * torch.randn(600, 16, generator=generator)).to(dtype) for _ in range(2))
    loss = AlignmentUniformityLoss()(user, item)
    assert loss.dtype == dtype
    expected = AlignmentUniformityLoss()(user.float(), item.float())
    torch.testing.assert_close(loss, expected.to(dtype), rtol=0, atol=0)


def test_meta_device() -> None:
    loss = AlignmentUniformityLoss()(*(z.to('meta') for z in pairs()))
    assert (loss.device.type, loss.shape) == ('meta', ())


def test_compiled_equals_eager() -> None:
    torch.compiler.reset()
    compiled = torch.compile(AlignmentUniformityLoss(), backend='eager', fullgraph=True)
    torch.testing.assert_close(compiled(*pairs()), AlignmentUniformityLoss()(*pairs()))


def test_copies_compute_the_same() -> None:
    loss = AlignmentUniformityLoss(0.3)
    assert loss.state_dict() == {}
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert torch.equal(other(*pairs()), loss(*pairs()))


def test_errors() -> None:
    for gamma in (-0.1, float('nan')):
        with pytest.raises(ValueError, match="'gamma' must be finite and not negative"):
            AlignmentUniformityLoss(gamma)
    user, item = pairs()
    loss = AlignmentUniformityLoss()
    with pytest.raises(ValueError, match=r"'user' and 'item' must both .* \[5, 3\] and \[4, 3\]"):
        loss(user, item[:4])
    with pytest.raises(ValueError, match="'user' and 'item' must both have shape"):
        loss(user[0], item[0])
    with pytest.raises(ValueError, match="'user' holds no triplet"):
        loss(user[:0], item[:0])
