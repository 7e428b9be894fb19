"""A server of processes that encode into a store and kill themselves at a chosen moment.

It has imported everything once and forks a process for each line ``["run", store, pictures, moment,
count]``, whose id it answers; to ``["wait", id]`` it answers the exit status.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np

from pyg_mmgef.encoders import FeatureStore
from tests.encoders.counting_encoder import CountingEncoder


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at_call(owner: Any, name: str, count: int) -> None:
    """Kill the process when a function is called for the given time."""
    function = getattr(owner, name)
    calls = 0

    def patched(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == count:
            kill()
        return function(*args, **kwargs)

    setattr(owner, name, patched)


def run(store: str, pictures: str, moment: str, count: int) -> None:
    paths = sorted(Path(pictures).iterdir())
    encoder = CountingEncoder(log=Path(store).parent / 'log.txt')
    if moment == 'encode':
        kill_at_call(encoder, 'encode_images', count)
    elif moment == 'flush':
        kill_at_call(np.memmap, 'flush', count)
    elif moment == 'fsync':
        kill_at_call(os, 'fsync', count)
    elif moment == 'rename':
        kill_at_call(os, 'replace', count)
    elif moment == 'slow':
        encoder.pause = 0.05
    FeatureStore(store).images(encoder, paths, batch_size=2)


def serve() -> None:
    for line in sys.stdin:
        command, *arguments = json.loads(line)
        if command == 'wait':
            _, status = os.waitpid(arguments[0], 0)
            print(os.waitstatus_to_exitcode(status), flush=True)
            continue
        child = os.fork()
        if child == 0:
            run(*arguments)
            os._exit(0)
        print(child, flush=True)


if __name__ == '__main__':
    serve()
