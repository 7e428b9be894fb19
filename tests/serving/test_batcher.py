import asyncio
import threading
from collections.abc import Sequence

import pytest

from pyg_mmgef.serving._batcher import MOST, Batcher, Overloaded


def squares(jobs: Sequence[int]) -> list[object]:
    return [ValueError(f'no {job}') if job < 0 else job * job for job in jobs]


def test_each_gets_its_own_result() -> None:
    async def ask() -> list[object]:
        batcher = Batcher(squares, 1000, 5.0)
        jobs = (batcher.do(job) for job in (*range(100), -1))
        found = await asyncio.gather(*jobs, return_exceptions=True)
        batcher.stop()
        return found

    *found, error = asyncio.run(ask())
    assert found == [job * job for job in range(100)]
    assert str(error) == 'no -1'


def test_what_came_meanwhile_is_done_together_and_more_is_refused() -> None:
    sizes, is_busy, go_on = [], threading.Event(), threading.Event()

    def slow(jobs: Sequence[int]) -> list[int]:
        sizes.append(len(jobs))
        is_busy.set()
        go_on.wait(10)
        return list(jobs)

    async def ask() -> list[object]:
        batcher = Batcher(slow, MOST + 10, 60.0)
        first = asyncio.create_task(batcher.do(0))
        while not is_busy.is_set():
            await asyncio.sleep(0.001)
        others = [asyncio.create_task(batcher.do(job)) for job in range(MOST + 15)]
        await asyncio.sleep(0.01)
        go_on.set()
        found = await asyncio.gather(first, *others, return_exceptions=True)
        batcher.stop()
        return found

    found = asyncio.run(ask())
    assert sizes == [1, MOST, 10]
    assert [type(one) for one in found[-6:]] == [int, *[Overloaded] * 5]


def test_who_waits_for_too_long_is_told() -> None:
    begun: list[int] = []
    go_on = threading.Event()

    def slow(jobs: Sequence[int]) -> list[int]:
        begun.extend(jobs)
        go_on.wait(10)
        return list(jobs)

    async def ask() -> list[object]:
        batcher = Batcher(slow, 10, 0.05)
        first = asyncio.create_task(batcher.do(0))
        while not begun:
            await asyncio.sleep(0.001)
        late = asyncio.create_task(batcher.do(1))
        await asyncio.sleep(0.1)
        go_on.set()
        found: list[object] = await asyncio.gather(*(first, late), return_exceptions=True)
        batcher.stop()
        return found

    first, late = asyncio.run(ask())
    assert first == 0
    assert isinstance(late, Overloaded)
    assert begun == [0]


def test_a_failure_is_that_of_its_batch_alone() -> None:
    def fail(jobs: Sequence[int]) -> list[int]:
        if 1 in jobs:
            raise RuntimeError('broken')
        return list(jobs)

    async def ask() -> None:
        batcher = Batcher(fail, 10, 5.0)
        with pytest.raises(RuntimeError, match='broken'):
            await batcher.do(1)
        assert await batcher.do(2) == 2
        batcher.stop()

    asyncio.run(ask())
