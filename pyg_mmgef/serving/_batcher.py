import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

__all__ = ['Batcher', 'Overloaded']

Job = TypeVar('Job')

MOST = 64  # Jobs that are done at a time.


class Overloaded(RuntimeError):
    """There are more requests than can be answered in time."""


@dataclass(eq=False)
class _Waiting(Generic[Job]):
    job: Job
    future: asyncio.Future[Any]
    until: float


class Batcher(Generic[Job]):
    """Does jobs in one thread: all that came while it was busy are done together.

    So a job waits for no other if the thread is idle, and many at once cost less each.

    Args:
        work: Does some jobs, and returns a result or an exception for each.
        limit: Number of jobs that may wait.
        patience: Seconds after which a job that waits isn't begun any more.
    """

    def __init__(
        self, work: Callable[[Sequence[Job]], Sequence[Any]], limit: int, patience: float
    ) -> None:
        self._work, self._limit, self._patience = work, limit, patience
        self._waiting: deque[_Waiting[Job]] = deque()
        self._is_work = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name='batcher', daemon=True)
        self._thread.start()

    @property
    def is_full(self) -> bool:
        """Whether as many jobs wait as may."""
        return len(self._waiting) >= self._limit

    async def do(self, job: Job) -> Any:
        """Return the result of a job, or raise its exception.

        Raises:
            Overloaded: If too many jobs wait, or this one has waited for too long.
        """
        if self.is_full:
            raise Overloaded
        future = asyncio.get_running_loop().create_future()
        with self._is_work:
            self._waiting.append(_Waiting(job, future, time.monotonic() + self._patience))
            self._is_work.notify()
        return await future

    def stop(self) -> None:
        """Do the jobs that wait, then end the thread."""
        with self._is_work:
            self._stopped = True
            self._is_work.notify()
        self._thread.join()

    def _run(self) -> None:
        while batch := self._next():
            now = time.monotonic()
            todo = [one for one in batch if one.until >= now and not one.future.cancelled()]
            results: Sequence[Any]
            try:
                results = self._work([one.job for one in todo]) if todo else ()
            except Exception as error:
                results = [error] * len(todo)
            late = [one for one in batch if one.until < now]
            done = [*zip(todo, results, strict=True), *((one, Overloaded()) for one in late)]
            _hand_over(done)

    def _next(self) -> list[_Waiting[Job]]:
        with self._is_work:
            while not self._waiting and not self._stopped:
                self._is_work.wait()
            return [self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))]


def _hand_over(done: Sequence[tuple[_Waiting[Any], Any]]) -> None:
    """Give results to those who wait, with one call of each of their loops."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Waiting[Any], Any]]] = {}
    for one, result in done:
        by_loop.setdefault(one.future.get_loop(), []).append((one, result))
    for loop, part in by_loop.items():
        with suppress(RuntimeError):  # A loop that is closed, so nobody waits.
            loop.call_soon_threadsafe(_resolve, part)


def _resolve(done: Sequence[tuple[_Waiting[Any], Any]]) -> None:
    for one, result in done:
        if one.future.done():
            continue
        if isinstance(result, BaseException):
            one.future.set_exception(result)
        else:
            one.future.set_result(result)
