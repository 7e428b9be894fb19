import pytest
import torch
import torch.nn.functional as F

from pyg_mmgef.nn._unit_length import inverse_length, unit_length, usual_length


@pytest.mark.parametrize('shape', [(5, 3), (2, 5, 3), (0, 3)])
def test_is_normalize_with_its_gradient(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    x.requires_grad_()
    ours, expected = unit_length(x), F.normalize(x, dim=-1)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(
        torch.autograd.grad(ours.pow(3).sum(), x), torch.autograd.grad(expected.pow(3).sum(), x)
    )


def test_zeros_and_extremes() -> None:
    x = torch.tensor([[0.0, 0.0], [3e-8, 4e-8], [3e15, 4e15]])
    expected = torch.tensor([[0.0, 0.0], [0.6, 0.8], [0.6, 0.8]])
    torch.testing.assert_close(unit_length(x), expected)


@pytest.mark.parametrize('scale', [1e-30, 1e-24, 1e20, 1e30])
def test_features_of_any_length_keep_their_direction(scale: float) -> None:
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    x[2] = 0
    assert torch.equal(usual_length(x), x)
    torch.testing.assert_close(unit_length(usual_length(x * scale)), unit_length(x))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_loses_nothing(dtype: torch.dtype) -> None:
    x = torch.tensor([[0.0, 0.0], [300.0, 400.0], [3e-4, 4e-4]])
    expected = F.normalize(x, dim=1)
    with torch.autocast('cpu', dtype):
        torch.testing.assert_close(unit_length(x), expected)
    out = unit_length(x.to(dtype))
    assert out.dtype == dtype
    torch.testing.assert_close(out.float(), expected, atol=4e-3, rtol=0)


def test_the_factor_of_each_row() -> None:
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0]]).double()
    torch.testing.assert_close(x * inverse_length(x)[:, None], unit_length(x))
