"""The command ``pyg-mmgef``: from tables and pictures to a trained recommender."""

import sys
from collections.abc import Sequence
from importlib.util import find_spec

__all__ = ['main']

_PRINTING = ('typer', 'rich', 'wcwidth', 'pyarrow')
EXTRAS = {
    'cli': (
        *_PRINTING,
        'jinja2',
        'lightning',
        'tensorboard',
        'matplotlib',
        'PIL',
        'duckdb',
        'sklearn',
    ),
    'serve': (*_PRINTING, 'fastapi', 'fastapi_offline', 'uvicorn', 'prometheus_client'),
}
"""The modules of extras, which a base installation lacks. Serving needs no others."""
INSTALL = {'cli': 'pip install "pyg-mmgef[cli]"', 'serve': 'pip install "pyg-mmgef[serve]"'}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run :func:`pyg_mmgef.cli.app.main`, or exit with a message if its packages are missing."""
    command = [*(sys.argv[1:] if arguments is None else arguments), ''][0]
    extra = 'serve' if command == 'serve' else 'cli'
    missing = [name for name in EXTRAS[extra] if find_spec(name) is None]
    if missing:
        sys.exit(
            f'Error: the command needs {", ".join(missing)}; install what it needs with: '
            f'{INSTALL[extra]}'
        )
    from pyg_mmgef.cli.app import main as run

    run(arguments)
