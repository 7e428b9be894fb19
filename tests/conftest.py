import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.prepared import catalogue, copied, dataset, trained

__all__ = ['catalogue', 'copied', 'dataset', 'trained']  # The fixtures of all tests.


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


IN_THREADS = {'graph', 'ranking', 'search', 'sparse', 'test_threads.py'}
"""Tests of what computes in several threads."""


@pytest.fixture(autouse=True)
def _one_thread(request: pytest.FixtureRequest) -> Iterator[None]:
    """Compute in one thread: tensors are tiny, and threads wait for each other."""
    room = request.path.relative_to(Path(__file__).parent.parent).parts[1:2]
    if IN_THREADS & set(room):
        yield
        return
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)
