import copy
import math
import pickle

import pytest
import torch

from pyg_mmgef.nn import BPRLoss
from tests.nn.loss.triplets import check_shared_negatives, triplets
from tests.references import bpr


@pytest.mark.parametrize('l2', [0.0, 1e-4, 0.7])
def test_equals_the_reference(l2: float) -> None:
    batch = triplets()
    loss, expected = BPRLoss(l2)(*batch), bpr(*batch, l2)
    torch.testing.assert_close(loss, expected)
    grads = torch.autograd.grad(loss, batch)
    torch.testing.assert_close(grads, torch.autograd.grad(expected, batch))


@pytest.mark.parametrize('l2', [0.0, 0.7])
@pytest.mark.parametrize('num_negatives', [1, 4])
def test_several_negatives_are_averaged(num_negatives: int, l2: float) -> None:
    user, item, negative = triplets(num_negatives)
    single = [bpr(user, item, negative[:, n], l2) for n in range(num_negatives)]
    torch.testing.assert_close(BPRLoss(l2)(user, item, negative), torch.stack(single).mean())


def test_values_by_hand() -> None:
    zeros = torch.zeros(3, 2)
    torch.testing.assert_close(BPRLoss()(zeros, zeros, zeros), torch.tensor(math.log(2)))
    one = torch.ones(1, 1)
    expected = math.log(1 + math.exp(-2)) + 0.1 / 2 * 3
    torch.testing.assert_close(BPRLoss(l2=0.1)(one, one, -one), torch.tensor(expected))


def test_default_regularises_a_little() -> None:
    batch = triplets()
    assert BPRLoss().l2 == 1e-3
    difference = BPRLoss()(*batch) - BPRLoss(l2=0)(*batch)
    squares = torch.stack([z.square().sum() for z in batch]).sum() / 5
    torch.testing.assert_close(difference, 1e-3 / 2 * squares)


@pytest.mark.parametrize('sign', [1.0, -1.0])
def test_large_scores_stay_finite(sign: float) -> None:
    user = torch.full((2, 1), 1e3, requires_grad=True)
    item = torch.full((2, 1), sign * 1e3)
    loss = BPRLoss(l2=0)(user, item, -item)
    torch.testing.assert_close(loss, torch.tensor(0.0 if sign > 0 else 2e6))
    (grad,) = torch.autograd.grad(loss, user)
    # The wrong order costs u (n - i); its derivative n - i is shared by the two triplets.
    torch.testing.assert_close(grad, torch.full((2, 1), 0.0 if sign > 0 else 1e3))


def test_the_loss_falls_towards_the_right_order() -> None:
    user, item, negative = triplets()
    right = BPRLoss(l2=0)(user, user, -user)
    assert right < BPRLoss(l2=0)(user, item, negative) < BPRLoss(l2=0)(user, -user, user)


@pytest.mark.parametrize('shape', [(), (2,)])
def test_gradcheck(shape: tuple[int, ...]) -> None:
    assert torch.autograd.gradcheck(BPRLoss(l2=0.3), triplets(*shape))


def test_meta_device() -> None:
    loss = BPRLoss()(*(z.to('meta') for z in triplets(2)))
    assert (loss.device.type, loss.shape) == ('meta', ())


def test_compiled_equals_eager() -> None:
    torch.compiler.reset()
    compiled = torch.compile(BPRLoss(), backend='eager', fullgraph=True)
    torch.testing.assert_close(compiled(*triplets(2)), BPRLoss()(*triplets(2)))


def test_copies_compute_the_same() -> None:
    loss = BPRLoss(l2=0.3)
    assert loss.state_dict() == {}
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert torch.equal(other(*triplets()), loss(*triplets()))


def test_errors() -> None:
    for l2 in (-0.1, float('nan')):
        with pytest.raises(ValueError, match="'l2' must be finite and not negative"):
            BPRLoss(l2)
    user, item, negative = triplets()
    with pytest.raises(ValueError, match=r"'user' and 'item' must both .* \[5, 3\] and \[4, 3\]"):
        BPRLoss()(user, item[:4], negative)
    with pytest.raises(ValueError, match="'user' and 'item' must both have shape"):
        BPRLoss()(user[0], item[0], negative[0])
    with pytest.raises(ValueError, match=r"'negative' must have shape \[5, 3\], \[5, N, 3\] or"):
        BPRLoss()(user, item, negative[:4])
    with pytest.raises(ValueError, match=r"'negative' .*\(got \[3\]\)"):
        BPRLoss()(user, item, negative[0])
    with pytest.raises(ValueError, match=r"'negative' .*\(got \[5, 2, 2\]\)"):
        BPRLoss()(user, item, torch.ones(5, 2, 2))
    with pytest.raises(ValueError, match="'user' holds no triplet"):
        BPRLoss()(user[:0], item[:0], negative[:0])


def test_no_negatives_are_refused() -> None:
    user, item, _ = triplets()
    with pytest.raises(ValueError, match="'negative'"):
        BPRLoss()(user, item, torch.empty(5, 0, 3, dtype=torch.double))


def test_shared_negatives_are_those_of_every_user() -> None:
    check_shared_negatives(BPRLoss(l2=0.1))
    with pytest.raises(ValueError, match="'negative'"):
        BPRLoss()(*(z[:2] if z.dim() == 2 else z for z in triplets(3)))
