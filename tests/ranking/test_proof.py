import pytest
import torch

from pyg_mmgef.ranking import recommend, scoring


@pytest.mark.usefixtures('way')
def test_users_whose_squared_length_underflows_are_ranked() -> None:
    """A length of zero would prove that no item can score better than the first compared."""
    generator = torch.Generator().manual_seed(0)
    z_user = 1e-25 * torch.randn(200, 8, generator=generator)
    z_item = torch.randn(3000, 8, generator=generator) * torch.linspace(1e8, 2e8, 3000)[:, None]
    scores, _ = recommend(z_user, z_item, k=10)
    best = (z_user.double() @ z_item.double().t()).topk(10).values
    assert torch.allclose(scores.double() * 1e17, best * 1e17, rtol=1e-4)


@pytest.mark.usefixtures('way')
def test_neither_default_dtype_nor_default_device_change_it() -> None:
    generator = torch.Generator().manual_seed(0)
    z_user, z_item = (torch.randn(size, 8, generator=generator) for size in (200, 300))
    exclude = torch.stack([torch.arange(200), torch.arange(200)])
    users = torch.arange(200)
    candidates, excluded = torch.arange(300), exclude[0] * 300 + exclude[1]
    arguments = (z_user, z_item, users, 5, excluded, candidates, 64)
    expected = scoring.top_items(*arguments)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device('meta'):
            found = scoring.top_items(*arguments)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])
