"""Install each wheel and source distribution where no compiler works, and check what is there.

    python tools/check_distributions.py dist/*

A wheel has the extensions; without a compiler, a source distribution installs without them.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from uv import find_uv_bin

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Check the distributions that the arguments name."""
    paths = [Path(name).resolve() for name in sys.argv[1:]]
    if not paths:
        sys.exit('Name the distributions to check, such as dist/*')
    for path in paths:
        check(path)


def check(path: Path) -> None:
    """Install one distribution into an empty environment, and run check_installed.py there."""
    uv = find_uv_bin()
    size = path.stat().st_size / 1e6
    print(f'\n{path.name}: {size:.2f} MB', flush=True)
    cache = subprocess.check_output([uv, 'cache', 'dir'], text=True).strip()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / 'home'
        home.mkdir()
        environment = {
            **{name: value for name, value in os.environ.items() if name != 'PYTHONPATH'},
            'HOME': str(home),
            'UV_CACHE_DIR': cache,  # The packages that it needs are not downloaded for each.
            'CC': '/bin/false',
            'CXX': '/bin/false',
        }
        python = Path(folder) / 'env' / 'bin' / 'python'
        constraints = ROOT / 'constraints.txt'
        expected = 'in-use' if path.suffix == '.whl' else 'absent'
        for command in (
            [uv, 'venv', '-q', '--python', sys.executable, python.parents[1]],
            [uv, 'pip', 'install', '-q', '--python', python, '-c', constraints, path],
            [python, ROOT / 'tools' / 'check_installed.py', '--extensions', expected],
        ):
            subprocess.run(list(map(str, command)), env=environment, cwd=home, check=True)


if __name__ == '__main__':
    main()
