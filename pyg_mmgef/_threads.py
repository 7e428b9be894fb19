"""The number of threads, jobs in worker threads, and autocast off for code that must be exact."""

import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import wraps
from threading import Barrier
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
    """Context manager: run torch and FAISS with so many threads, then restore the old numbers.

    FAISS is only touched if it has been imported.

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
    than cores. The number of threads of the caller and of all other Python threads stays as it is;
    see :func:`_start_workers`.

    Args:
        function: Computes the result of a job. It runs in the caller's inference mode.
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
        pool = _start_workers(min(workers, len(jobs)))
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
            pool.shutdown(cancel_futures=True)


def _start_workers(number: int) -> ThreadPoolExecutor:
    """Start worker threads in which torch computes with one thread.

    Torch keeps the number of threads per thread, except that a thread starts with the number that
    any thread has set last. So the caller's number is set again as soon as all workers have set
    theirs: only a thread that first uses torch during these microseconds starts with one thread.
    """
    before = torch.get_num_threads()
    ready = Barrier(number + 1)

    def limit() -> None:
        torch.get_num_threads()  # The first operation of a thread would undo a number set before.
        torch.set_num_threads(1)
        ready.wait()

    pool = ThreadPoolExecutor(number, initializer=limit)
    try:
        for _ in range(number):  # Each starts a thread, as those before wait for the last one.
            pool.submit(int)
        ready.wait()
    except BaseException:
        ready.abort()
        pool.shutdown()
        raise
    finally:
        torch.set_num_threads(before)
    return pool
