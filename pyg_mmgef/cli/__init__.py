"""The command ``pyg-mmgef``: from tables and pictures to a trained recommender."""

import sys
from collections.abc import Sequence
from importlib.util import find_spec

__all__ = ['main']

# The modules of the extra `cli`, which a base installation lacks.
MODULES = (
    'typer',
    'rich',
    'wcwidth',
    'jinja2',
    'lightning',
    'tensorboard',
    'matplotlib',
    'PIL',
    'pyarrow',
    'duckdb',
    'sklearn',
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run :func:`pyg_mmgef.cli.app.main`, or exit with a message if its packages are missing."""
    missing = [name for name in MODULES if find_spec(name) is None]
    if missing:
        sys.exit(
            f'Error: the command needs {", ".join(missing)}; install what it needs with: '
            'pip install "pyg-mmgef[cli]"'
        )
    from pyg_mmgef.cli.app import main as run

    run(arguments)
