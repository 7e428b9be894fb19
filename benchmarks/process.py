"""Methods that are measured alone, each in a new process."""

import json
import os
import subprocess
import sys
from pathlib import Path


def memory(name: str) -> float:
    """Return a line of Linux's account of this process (VmRSS, VmHWM), in MiB."""
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def run_alone(script: str, arguments: list[str], threads: int) -> dict:
    """Run a script that prints JSON as its last line; ``{'failed': reason}`` if it fails."""
    variables = ('OMP_NUM_THREADS', 'NUMBA_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS')
    done = subprocess.run(
        [sys.executable, script, *arguments],
        env=os.environ | dict.fromkeys(variables, str(threads)),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        return {'failed': (done.stderr.strip().splitlines() or [f'exit {done.returncode}'])[-1]}
    return json.loads(done.stdout.strip().splitlines()[-1])
