import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from uvicorn.supervisors import Multiprocess

from pyg_mmgef.serving._item_changes import ItemChanges
from pyg_mmgef.serving._logs import log_config
from pyg_mmgef.serving.export_folder import load_export
from pyg_mmgef.serving.settings import Settings

__all__ = ['serve']

SHARED = 'PROMETHEUS_MULTIPROC_DIR'
GRACE_S = 10
BACKLOG = 2048


def serve(
    settings: Settings,
    *,
    host: str = '127.0.0.1',
    port: int = 8000,
    workers: int = 1,
    log_level: str = 'info',
) -> None:
    """Serve an export until the process is asked to end; requests that are under way are answered.

    A worker that dies is started again.

    Args:
        settings: What is served.
        host: The address to listen on; by default this machine alone can connect.
            (default: ``'127.0.0.1'``)
        port: The port. (default: ``8000``)
        workers: Number of processes, each of which uses one core. (default: ``1``)
        log_level: The lowest level of log lines, which are JSON on stderr: ``'info'`` writes one
            for each request. (default: ``'info'``)

    Raises:
        OSError: If a file can't be read, or the port isn't free.
        ValueError: If the export can't be read, or the token or the file of changes isn't usable.
    """
    load_export(settings.export)
    if settings.token() is not None:
        ItemChanges(settings.changes_file).close()
    settings.to_environment()
    # More threads than cores only wait for each other, as each worker computes in one at a time.
    for library in ('OMP', 'OPENBLAS', 'MKL'):
        os.environ.setdefault(f'{library}_NUM_THREADS', '1')
    config = uvicorn.Config(
        'pyg_mmgef.serving.app:make_app',
        factory=True,
        workers=workers,
        log_config=log_config(log_level),
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_S,
        ws='none',
    )
    with _shared_metrics(), _listening(host, port) as listener:
        Multiprocess(config, sockets=[listener]).run()


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """Open the socket from which all workers accept connections."""
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        raise OSError(
            f'cannot listen on {host}:{port} ({error}); choose others by --host and --port'
        ) from error
    with listener:
        listener.set_inheritable(True)
        yield listener


@contextmanager
def _shared_metrics() -> Iterator[None]:
    """Give the workers a folder in which they count together."""
    folder = tempfile.mkdtemp(prefix='pyg_mmgef-metrics-')
    os.environ[SHARED] = folder
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)
