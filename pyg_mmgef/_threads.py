"""How things are computed: with how many threads, in worker threads, in what precision."""

import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from tqdm import tqdm

from pyg_mmgef.validate import check_positive

__all__ = ['limit_threads', 'run_jobs', 'without_autocast']

AHEAD = 16  # Jobs that are queued for each thread.

Parameters = ParamSpec('Parameters')
Job = TypeVar('Job')
Result = TypeVar('Result')


@contextmanager
def limit_threads(num_threads: int | None) -> Iterator[None]:
    """Run torch and FAISS with some number of threads, then restore the numbers before.

    FAISS is only touched if something has imported it.

    Args:
        num_threads: Number of threads; :obj:`None` changes nothing.

    Raises:
        ValueError: If :obj:`num_threads` is not a positive integer.
    """
    if num_threads is None:
        yield
        return
    check_positive('num_threads', num_threads)
    torch_before = torch.get_num_threads()
    faiss = sys.modules.get('faiss')
    faiss_before = torch_before if faiss is None else faiss.omp_get_max_threads()
    try:
        _set_threads(int(num_threads), int(num_threads))
        yield
    finally:
        _set_threads(torch_before, faiss_before)


def _set_threads(of_torch: int, of_faiss: int) -> None:
    torch.set_num_threads(of_torch)
    faiss = sys.modules.get('faiss')
    if faiss is not None:
        faiss.omp_set_num_threads(of_faiss)


def without_autocast(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Decorator: run the function with CPU autocast disabled."""

    @wraps(function)
    def wrapped(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        with torch.autocast('cpu', enabled=False):
            return function(*args, **kwargs)

    return wrapped


def run_jobs(
    function: Callable[[Job], Result],
    jobs: Sequence[Job],
    *,
    concurrent: bool = True,
    desc: str = '',
    verbose: bool = False,
) -> list[Result]:
    """Run jobs in as many worker threads as torch uses, and return their results in order.

    Each worker runs torch single-threaded, which avoids a barrier per operation and more threads
    than cores. Torch keeps one number of threads for the whole process, so while jobs run, a thread
    that uses torch for the first time starts with one thread and keeps it; the number is
    restored at the end. A server that starts threads meanwhile should call
    :func:`torch.set_num_threads` in each of them, or limit torch to one thread: then the jobs run
    in the calling thread and nothing is changed.

    Args:
        function: Computes the result of a job, in the inference mode of the caller.
        jobs: The jobs.
        concurrent: If :obj:`False`, run the jobs one by one in the calling thread, with all threads
            of torch. (default: :obj:`True`)
        desc: Name of the progress bar. (default: ``''``)
        verbose: Show a progress bar. (default: :obj:`False`)
    """
    workers = torch.get_num_threads()
    inference = torch.is_inference_mode_enabled()

    def run(job: Job) -> Result:
        with torch.inference_mode(inference):
            return function(job)

    with tqdm(total=len(jobs), desc=desc, disable=not verbose) as bar:
        results = []
        if not concurrent or workers == 1 or len(jobs) < 2:
            for job in jobs:
                results.append(function(job))
                bar.update()
            return results
        pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
        pending: deque[Future[Result]] = deque()
        try:
            for job in jobs:
                pending.append(pool.submit(run, job))
                if len(pending) > AHEAD * workers:
                    results.append(pending.popleft().result())
                    bar.update()
            while pending:
                results.append(pending.popleft().result())
                bar.update()
            return results
        finally:
            try:
                pool.shutdown(cancel_futures=True)
            finally:
                # New threads of torch start with the number set last by any thread.
                torch.set_num_threads(workers)
