import pytest
import torch

from pyg_mmgef.nn.parts._tower import Tower
from tests.nn.models.content import through


def tower() -> Tower:
    torch.manual_seed(0)
    return Tower(3, 4, 2).double()


@pytest.mark.parametrize('training', [True, False])
def test_equals_the_formula(training: bool) -> None:
    model, x = tower(), torch.randn(5, 3).double()
    model(x)  # Means and variances leave their start.
    model.train(training)
    torch.testing.assert_close(model(x), through(model, x, training))


def test_a_single_row_is_normalised_as_in_evaluation() -> None:
    model, x = tower(), torch.randn(5, 3).double()
    model(x)
    expected = through(model, x[:1], training=False)
    torch.testing.assert_close(model.train()(x[:1]), expected)
    assert model(x[:0]).shape == (0, 2)


def test_frozen_is_evaluation_with_gradients_of_inputs_alone() -> None:
    model, x = tower(), torch.randn(5, 3, requires_grad=True, dtype=torch.double)
    model(x)
    out, expected = model.train().frozen(x), through(model, x, training=False)
    torch.testing.assert_close(out, expected)
    model(x)  # A step in between changes means and variances in place.
    grad = torch.autograd.grad(out.pow(3).sum(), x, retain_graph=True)
    torch.testing.assert_close(grad, torch.autograd.grad(expected.pow(3).sum(), x))
    out.sum().backward()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_reset_forgets() -> None:
    model, fresh = tower(), tower()
    model(torch.randn(5, 3).double())
    for each in (model, fresh):
        torch.manual_seed(1)
        each.reset_parameters()
    for name, value in fresh.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
