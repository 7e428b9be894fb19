import pytest
import torch

from pyg_mmgef.search._proven import ProductBound, product_dtype, row_lengths
from tests.search.knn_checks import features


def test_product_dtype_is_one_of_two() -> None:
    assert product_dtype(torch.device('cpu')) in (torch.float32, torch.bfloat16)
    assert product_dtype(torch.device('meta')) == torch.float32


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float32])
@pytest.mark.parametrize('scale', [1e-25, 1e-20, 1.0, 1e15])
@pytest.mark.parametrize('key_scale', [1e-12, 1.0, 1e10])
def test_no_product_is_off_by_more(dtype: torch.dtype, scale: float, key_scale: float) -> None:
    """Also where squares or products of tiny numbers underflow."""
    query, key = scale * features(40, 24), key_scale * features(300, 24, seed=1)
    low_query, low_key = query.to(dtype), key.to(dtype)
    bound = ProductBound(*row_lengths(key, low_key), 24, dtype)
    error = bound.error(*row_lengths(query, low_query))[:, None]
    product = (low_query @ low_key.t()).float()
    exact = query.double() @ key.double().t()
    assert (bound.highest(product, error) >= exact).all()
    assert (bound.lowest(product, error) <= exact).all()
    if scale * key_scale > 1e-10:
        size = query.norm(dim=1, keepdim=True) * key.norm(dim=1).amax()
        assert (bound.highest(product, error) <= exact + 0.02 * size).all(), 'and it is no guess'
