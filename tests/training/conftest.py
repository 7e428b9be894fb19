"""Prepares the import of Lightning for all tests of this folder."""

from collections.abc import Iterator

import pytest
import torch

import pyg_mmgef.training  # noqa: F401 - sees to torchvision before a test imports Lightning


@pytest.fixture(scope='package', autouse=True)
def _one_thread() -> Iterator[None]:
    """One thread adds up in one order, so that equal runs have equal bits."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


@pytest.fixture(autouse=True)
def _keep_random_state() -> Iterator[None]:
    state = torch.get_rng_state()
    yield
    torch.set_rng_state(state)
