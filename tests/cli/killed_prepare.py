"""Calls of ``prepare`` into one folder, each killed before it first renames a file of another name.

It has imported everything once and forks a process for each call, until one reaches the end; then
it prints how many were killed.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import sklearn.decomposition
import sklearn.feature_extraction.text  # noqa: F401

# What the command and its encoders import when they are called.
import pyg_mmgef.cli.encoders
import pyg_mmgef.cli.prepare_dataset  # noqa: F401
from pyg_mmgef.cli.app import main


def kill_at_new_names(log: Path) -> None:
    replace = os.replace
    known = set(log.read_text().splitlines())

    def patched(source: Any, target: Any, **kwargs: Any) -> None:
        if str(target) not in known:
            with log.open('a') as file:
                file.write(f'{target}\n')
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target, **kwargs)

    setattr(os, 'replace', patched)  # noqa: B010


def killed_times(log: Path, arguments: list[str]) -> int:
    log.touch()
    for count in range(1000):
        child = os.fork()
        if child == 0:
            kill_at_new_names(log)
            main(arguments)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
            assert os.waitstatus_to_exitcode(status) == 0
            return count
    raise AssertionError('it never reached its end')


if __name__ == '__main__':
    print(killed_times(Path(sys.argv[1]), sys.argv[2:]))
