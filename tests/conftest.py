import os
from pathlib import Path

import pytest
import torch


@pytest.fixture
def realdata_root() -> Path:
    """The folder of real data that PYG_MMGEF_DATA names; the test is skipped without it."""
    folder = os.environ.get('PYG_MMGEF_DATA')
    if not folder:
        pytest.skip('PYG_MMGEF_DATA does not name a folder')
    return Path(folder)


@pytest.fixture
def device() -> str:
    """The device for the tests marked ``device``: CUDA where there is a GPU."""
    return 'cuda' if torch.cuda.is_available() else 'cpu'
