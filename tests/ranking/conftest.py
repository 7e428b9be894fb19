import pytest
import torch

from pyg_mmgef.ranking import _proof, scoring

TINY = {'ROWS': 6, 'LEAST_ROWS': 1, 'COLUMNS': 4, 'ROUND_ROWS': 2, 'GROWTH': 2}


@pytest.fixture(params=['all', 'bfloat16', 'float32'])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How items are ranked: all of them, or those that products in some precision choose.

    Tiles of products are tiny, so that a small case has many of them.
    """
    few = 2**31 if request.param == 'all' else 0
    monkeypatch.setattr(scoring, 'FEW', few)
    if request.param != 'all':
        dtype = getattr(torch, request.param)
        monkeypatch.setattr(_proof, 'product_dtype', lambda device: dtype)
        for name, value in TINY.items():
            monkeypatch.setattr(_proof, name, value)
    return str(request.param)
