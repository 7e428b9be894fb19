from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(scope='package', autouse=True)
def _one_thread() -> Iterator[None]:
    """The tensors are tiny: on a busy machine, threads that wait for each other take the time."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)
