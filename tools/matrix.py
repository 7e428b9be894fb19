"""Run the tests with each Python that is here, and with the oldest and newest packages allowed.

    python tools/matrix.py                      # all that this machine has Pythons for
    python tools/matrix.py 3.10-base oldest     # some
    python tools/matrix.py newest --tests tests/graph tests/sparse

A case is a Python with the versions of constraints.txt: `3.10-base` has no extra and runs the tests
that need none, `3.10-all` has all extras and runs the others. `oldest` and `newest` have, on Python
3.11 and with all extras, the oldest and the newest versions that pyproject.toml allows, and run
both. Each case installs a copy of the tracked files into a temporary environment, which is deleted.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from uv import find_uv_bin

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ('3.10', '3.11', '3.12', '3.13', '3.14')
SHOWN = ('torch', 'torch-geometric', 'numpy', 'scipy', 'faiss-cpu', 'lightning')

BASE = [f'tests/{name}' for name in ('graph', 'loader', 'nn', 'ranking', 'search', 'sparse')]
OTHERS = [f'tests/{name}' for name in ('cli', 'datasets', 'encoders', 'files', 'runs', 'tables')]
OTHERS += ['tests/training', 'tests/transforms', 'tests/test_packaging.py', 'tests/test_package.py']
FOR_TESTS = ('pytest', 'hypothesis', 'pytest-xdist')
PINNED = ('-c', 'constraints.txt')


class Case(NamedTuple):
    """A Python, what is installed there, and the tests that run."""

    python: str
    install: tuple[str, ...]
    tests: list[str]


class Outcome(NamedTuple):
    """What came of a case."""

    versions: dict[str, str]
    seconds: float
    said: str
    passed: bool


def cases() -> dict[str, Case]:
    """Return all cases by their name."""
    found: dict[str, Case] = {}
    for python in PYTHONS:
        found[f'{python}-base'] = Case(python, (*PINNED, '-e', '.', *FOR_TESTS), BASE)
        found[f'{python}-all'] = Case(python, (*PINNED, '-e', '.[test]'), OTHERS)
    for name, resolution in (('oldest', 'lowest-direct'), ('newest', 'highest')):
        install = ('--resolution', resolution, '-e', '.[test]')
        found[name] = Case('3.11', install, [*BASE, *OTHERS])
    return found


def main() -> None:
    """Run the cases that were asked for, and print a table of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('cases', nargs='*', metavar='CASE', help=', '.join(cases()))
    parser.add_argument('--tests', nargs='+', help='what runs instead of the tests that fit')
    arguments = parser.parse_args()
    asked = arguments.cases
    unknown = set(asked) - set(cases())
    if unknown:
        parser.error(f'no such case: {", ".join(sorted(unknown))}; there are {", ".join(cases())}')
    rows, failed = [], False
    for name, case in cases().items():
        if asked and name not in asked:
            continue
        if not has_python(case.python):
            rows.append([name, *[''] * len(SHOWN), '', f'no Python {case.python} here'])
            failed |= bool(asked)
            continue
        print(f'{name} ...', file=sys.stderr, flush=True)
        outcome = run(case._replace(tests=arguments.tests or case.tests))
        failed |= not outcome.passed
        versions = [outcome.versions.get(package, '') for package in SHOWN]
        rows.append([name, *versions, f'{outcome.seconds:.0f}', outcome.said])
    print_table([['case', *SHOWN, 'seconds', 'tests'], *rows])
    sys.exit(failed)


def has_python(version: str) -> bool:
    """Return whether uv finds this Python without a download."""
    return uv('python', 'find', '--no-python-downloads', version).returncode == 0


def run(case: Case) -> Outcome:
    """Install a copy of the repository into a temporary environment, and run the tests there."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        copy, environment = Path(folder) / 'copy', Path(folder) / 'env'
        copy_tracked_files(copy)
        uv('venv', '--no-python-downloads', '--python', case.python, environment)
        done = uv('pip', 'install', '--python', environment, *case.install, cwd=copy)
        if done.returncode:
            return Outcome({}, time.perf_counter() - start, last_line(done.stderr), False)
        listed = uv('pip', 'list', '--python', environment, '--format', 'json').stdout
        versions = {package['name']: package['version'] for package in json.loads(listed)}
        python = environment / 'bin' / 'python'
        tests = [
            str(python),
            '-m',
            'pytest',
            '-q',
            '--tb=short',
            '--disable-warnings',
            '-n',
            '2',
            '-m',
            'not sparse',
            *case.tests,
        ]
        done = subprocess.run(tests, cwd=copy, capture_output=True, text=True)
        if done.returncode:
            _, sign, report = done.stdout.partition('\n====')  # Without the dots before it.
            print(f'{sign}{report}{done.stderr}', file=sys.stderr)
        said = last_line(done.stdout) or last_line(done.stderr)
        return Outcome(versions, time.perf_counter() - start, said, done.returncode == 0)


def copy_tracked_files(target: Path) -> None:
    """Copy what git tracks, as it is now; the compiled extensions are built anew there."""
    listed = subprocess.check_output(['git', 'ls-files', '-z'], cwd=ROOT, text=True)
    for name in filter(None, listed.split('\0')):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def uv(*arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run uv, and return what it did and said."""
    command = [find_uv_bin(), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


def last_line(text: str) -> str:
    """Return the last line that says something, without the signs around it."""
    lines = [re.sub(r'\x1b\[[0-9;]*m', '', line).strip(' =') for line in text.splitlines()]
    return next((line for line in reversed(lines) if line), '')


def print_table(rows: list[list[str]]) -> None:
    """Print rows in columns as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print(
            '  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )


if __name__ == '__main__':
    main()
