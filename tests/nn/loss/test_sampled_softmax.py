import copy
import math
import pickle

import pytest
import torch
import torch.nn.functional as F

from pyg_mmgef.nn import SampledSoftmaxLoss
from tests.nn.loss.triplets import check_shared_negatives, triplets
from tests.references import sampled_softmax


@pytest.mark.parametrize('temperature', [0.2, 1.3])
@pytest.mark.parametrize('normalize', [False, True])
@pytest.mark.parametrize('in_batch', [False, True])
@pytest.mark.parametrize('num_negatives', [1, 4])
def test_equals_the_reference(
    temperature: float, normalize: bool, in_batch: bool, num_negatives: int
) -> None:
    batch = triplets(num_negatives)
    loss = SampledSoftmaxLoss(temperature, normalize, in_batch)(*batch)
    expected = sampled_softmax(*batch, temperature, normalize, in_batch)
    torch.testing.assert_close(loss, expected)
    grads = torch.autograd.grad(loss, batch)
    torch.testing.assert_close(grads, torch.autograd.grad(expected, batch))


def test_the_batch_alone() -> None:
    user, item, negative = triplets(0)
    loss = SampledSoftmaxLoss()(user, item, negative)
    torch.testing.assert_close(loss, sampled_softmax(user, item, negative, 0.2, True, True))


@pytest.mark.parametrize('in_batch', [False, True])
def test_one_negative_with_and_without_its_dimension(in_batch: bool) -> None:
    user, item, negative = triplets()
    loss = SampledSoftmaxLoss(in_batch=in_batch)
    assert torch.equal(loss(user, item, negative), loss(user, item, negative[:, None]))


def test_values_by_hand() -> None:
    zeros = torch.zeros(3, 2)
    loss = SampledSoftmaxLoss(normalize=False)(zeros, zeros, torch.zeros(3, 4, 2))
    torch.testing.assert_close(loss, torch.tensor(math.log(1 + 2 + 4)))
    one = torch.ones(1, 1)
    loss = SampledSoftmaxLoss(temperature=0.5)(one, 7 * one, -3 * one)
    torch.testing.assert_close(loss, torch.tensor(math.log(1 + math.exp(-2 / 0.5))))
    loss = SampledSoftmaxLoss(temperature=0.5, normalize=False)(one, one, -3 * one)
    torch.testing.assert_close(loss, torch.tensor(math.log(1 + math.exp(-4 / 0.5))))


def test_defaults_are_the_form_of_the_paper() -> None:
    user, item, negative = triplets(2)
    loss = SampledSoftmaxLoss()(user, item, negative)
    torch.testing.assert_close(loss, SampledSoftmaxLoss()(3 * user, 0.1 * item, 7 * negative))
    assert not torch.isclose(loss, SampledSoftmaxLoss(in_batch=False)(user, item, negative))
    assert not torch.isclose(loss, SampledSoftmaxLoss(normalize=False)(user, item, negative))


def test_with_one_negative_and_no_batch_it_is_bpr() -> None:
    user, item, negative = triplets()
    loss = SampledSoftmaxLoss(1.0, normalize=False, in_batch=False)(user, item, negative)
    difference = (user * (item - negative)).sum(dim=1)
    torch.testing.assert_close(loss, -F.logsigmoid(difference).mean())


def test_copies_of_the_own_item_weaken_its_gradient_but_never_turn_it() -> None:
    user, item, negative = (z.detach() for z in triplets(0))
    user[1:] = 0  # Without normalisation the other rows are indifferent to all items.
    slopes = []
    for num_copies in range(4):
        own = item[0].clone().requires_grad_()
        batch = torch.stack([own] * (1 + num_copies) + [*item[1 + num_copies :]])
        loss = SampledSoftmaxLoss(0.7, normalize=False)(user, batch, negative)
        (grad,) = torch.autograd.grad(loss, own)
        slopes.append(float(grad @ user[0]))
    assert slopes == sorted(slopes)
    assert slopes[0] < slopes[-1] < 0


@pytest.mark.parametrize('in_batch', [False, True])
@pytest.mark.parametrize('sign', [1.0, -1.0])
def test_large_scores_stay_finite(sign: float, in_batch: bool) -> None:
    user = torch.tensor([[1e3], [-1e3]], requires_grad=True)
    item = sign * user.detach()
    loss = SampledSoftmaxLoss(1.0, normalize=False, in_batch=in_batch)(user, item, -item)
    # The right order costs nothing; the wrong one the gap, and with the batch two equal rivals.
    wrong = 2e6 + (math.log(2) if in_batch else 0.0)
    torch.testing.assert_close(loss, torch.tensor(0.0 if sign > 0 else wrong))
    (grad,) = torch.autograd.grad(loss, user)
    expected = torch.tensor([[0.0], [0.0]]) if sign > 0 else torch.tensor([[1e3], [-1e3]])
    torch.testing.assert_close(grad, expected)
    batch = triplets(3)
    cold = SampledSoftmaxLoss(temperature=1e-4, in_batch=in_batch)(*batch)
    assert bool(torch.isfinite(cold))
    assert all(bool(torch.isfinite(g).all()) for g in torch.autograd.grad(cold, batch))


def test_the_loss_falls_towards_the_right_order() -> None:
    user, item, negative = triplets()
    loss = SampledSoftmaxLoss()
    assert loss(user, user, -user) < loss(user, item, negative) < loss(user, -user, user)


@pytest.mark.parametrize('normalize', [False, True])
@pytest.mark.parametrize(('shape', 'in_batch'), [((), True), ((2,), False), ((0,), True)])
def test_gradcheck(shape: tuple[int, ...], in_batch: bool, normalize: bool) -> None:
    loss = SampledSoftmaxLoss(0.7, normalize, in_batch)
    assert torch.autograd.gradcheck(loss, triplets(*shape))


def test_bfloat16_stays_close() -> None:
    batch = tuple(z.detach().float() for z in triplets(4))
    expected = SampledSoftmaxLoss()(*batch)
    with torch.autocast('cpu', torch.bfloat16):
        loss = SampledSoftmaxLoss()(*batch)
    torch.testing.assert_close(loss.float(), expected, rtol=0.02, atol=0)


def test_meta_device() -> None:
    loss = SampledSoftmaxLoss()(*(z.to('meta') for z in triplets(2)))
    assert (loss.device.type, loss.shape) == ('meta', ())


@pytest.mark.parametrize('in_batch', [False, True])
def test_compiled_equals_eager(in_batch: bool) -> None:
    torch.compiler.reset()
    loss = SampledSoftmaxLoss(in_batch=in_batch)
    compiled = torch.compile(loss, backend='eager', fullgraph=True)
    torch.testing.assert_close(compiled(*triplets(2)), loss(*triplets(2)))


def test_copies_compute_the_same() -> None:
    loss = SampledSoftmaxLoss(0.3, normalize=False)
    assert loss.state_dict() == {}
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert torch.equal(other(*triplets()), loss(*triplets()))


def test_one_row_without_negatives_costs_nothing() -> None:
    user, item, _ = (z.detach()[:1].requires_grad_() for z in triplets())
    loss = SampledSoftmaxLoss()(user, item, torch.empty(1, 0, 3, dtype=torch.double))
    assert float(loss.detach()) == 0
    assert not any(grad.any() for grad in torch.autograd.grad(loss, (user, item)))


def test_errors() -> None:
    for temperature in (0.0, -0.1, float('nan'), float('inf')):
        with pytest.raises(ValueError, match="'temperature' must be positive and finite"):
            SampledSoftmaxLoss(temperature)
    user, item, negative = triplets()
    loss, alone = SampledSoftmaxLoss(), SampledSoftmaxLoss(in_batch=False)
    with pytest.raises(ValueError, match=r"'user' and 'item' must both .* \[5, 3\] and \[4, 3\]"):
        loss(user, item[:4], negative)
    with pytest.raises(ValueError, match=r"'negative' must have shape .* N >= 0 \(got \[4, 3\]\)"):
        loss(user, item, negative[:4])
    with pytest.raises(ValueError, match=r"'negative' .* N >= 1 \(got \[5, 0, 3\]\)"):
        alone(user, item, negative[:, None][:, :0])
    with pytest.raises(ValueError, match="'user' holds no triplet"):
        loss(user[:0], item[:0], negative[:0])
    assert bool(torch.isfinite(loss(user[:1], item[:1], negative[:1])))


@pytest.mark.parametrize('normalize', [False, True])
@pytest.mark.parametrize('in_batch', [False, True])
def test_shared_negatives_are_those_of_every_user(in_batch: bool, normalize: bool) -> None:
    check_shared_negatives(SampledSoftmaxLoss(0.7, normalize, in_batch))
