"""A limit on the threads of torch and FAISS while something runs."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pyg_mmgef.validate import check_positive

__all__ = ['limit_threads']


@contextmanager
def limit_threads(num_threads: int | None) -> Iterator[None]:
    """Let torch and FAISS use some number of threads inside the block, as before after it.

    Args:
        num_threads: Number of threads; :obj:`None` changes nothing.

    Raises:
        ValueError: If :obj:`num_threads` is not a positive integer.
    """
    if num_threads is None:
        yield
        return
    check_positive('num_threads', num_threads)
    import faiss

    before = torch.get_num_threads(), faiss.omp_get_max_threads()
    torch.set_num_threads(int(num_threads))
    faiss.omp_set_num_threads(int(num_threads))
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        faiss.omp_set_num_threads(before[1])
