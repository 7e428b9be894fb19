from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

__all__ = ['serve']


class Level(str, Enum):
    """The lowest level of log lines that are written."""

    INFO = 'info'
    WARNING = 'warning'
    ERROR = 'error'


def serve(
    export: Annotated[
        Path, typer.Argument(help='Folder written by "export", or a link.', show_default=False)
    ],
    host: Annotated[
        str, typer.Option(help='Address to listen on. By default only this machine can connect.')
    ] = '127.0.0.1',
    port: Annotated[int, typer.Option(help='Port to listen on.', min=1, max=65535)] = 8000,
    workers: Annotated[int, typer.Option(help='Processes; each uses one core.', min=1)] = 1,
    token_file: Annotated[
        Path | None,
        typer.Option(
            help='File with the token that changes of items need.',
            show_default='the environment variable PYG_MMGEF_TOKEN',
        ),
    ] = None,
    changes: Annotated[
        Path | None,
        typer.Option(
            help='File that keeps changes of items.', show_default='EXPORT.changes.sqlite'
        ),
    ] = None,
    queue: Annotated[
        int, typer.Option(help='Requests that may wait in a worker; others get 503.', min=1)
    ] = 256,
    log_level: Annotated[
        Level, typer.Option(help='"info" writes a line of JSON for each request to stderr.')
    ] = Level.INFO,
) -> None:
    """Answer requests for recommendations over HTTP, with a page to try them."""
    from pyg_mmgef.serving import Settings
    from pyg_mmgef.serving import serve as run

    settings = Settings(export, changes=changes, token_file=token_file, queue=queue)
    run(settings, host=host, port=port, workers=workers, log_level=log_level.value)
