"""The command ``pyg-mmgef``: from tables and pictures to a trained recommender."""

import sys
from collections.abc import Sequence

__all__ = ['main']


def main(arguments: Sequence[str] | None = None) -> None:
    """Run :func:`pyg_mmgef.cli.app.main`, or exit with a message if its packages are missing."""
    try:
        from pyg_mmgef.cli.app import main as run
    except ModuleNotFoundError as error:
        if error.name not in ('rich', 'typer'):
            raise
        sys.exit(
            f'Error: the command needs the package {error.name}; install what it needs with: '
            'pip install "pyg-mmgef[cli]"'
        )
    run(arguments)
