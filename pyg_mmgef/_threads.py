"""How things are computed: in how many threads, in threads of their own, in what precision."""

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

AHEAD = 16  # Jobs of each thread that wait for their turn.

Parameters = ParamSpec('Parameters')
Job = TypeVar('Job')
Result = TypeVar('Result')


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


def without_autocast(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Let a function on the CPU compute in the precision it chose, whatever the caller's."""

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
    """Return the results of jobs, in order, from as many threads as torch has.

    Every job computes with a single thread of torch. So nobody waits for the slowest of a team
    after each operation, and threads that torch left waiting don't take the time of others. A
    thread that first uses torch meanwhile starts with one thread, too.

    Args:
        function: What to do with a job. It meets the caller's inference mode.
        jobs: The jobs.
        concurrent: If :obj:`False`, one job after the other in this thread, with all threads of
            torch. (default: :obj:`True`)
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
                # A new thread of torch starts with the number set last, in whatever thread.
                torch.set_num_threads(workers)
