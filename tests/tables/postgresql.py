"""A PostgreSQL server of the test's own, on a socket in a temporary folder."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

PASSWORD = 'se@cret/1'
QUOTED = quote(PASSWORD, safe='')


def programs() -> Path | None:
    """Return the newest folder with ``initdb`` and ``pg_ctl``; Debian's isn't on the path."""
    found = shutil.which('pg_ctl')
    newest = sorted(Path('/usr/lib/postgresql').glob('*/bin/pg_ctl'))[-1:]
    return Path(found).resolve().parent if found else newest[0].parent if newest else None


@contextmanager
def server(programs: Path) -> Iterator[str]:
    """Start a server, and yield its address."""
    # pytest's folders are closed to the user that root must become; a socket's path must be short.
    with tempfile.TemporaryDirectory(prefix='pg') as name:
        folder = Path(name)
        (folder / 'password').write_text(PASSWORD)
        user = None
        if os.getuid() == 0:
            user = 'postgres'
            for path in (folder, folder / 'password'):
                shutil.chown(path, user)

        def run(program: str, *arguments: str) -> None:
            command = [str(programs / program), '-D', str(folder / 'data'), *arguments]
            subprocess.run(
                command, check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL, timeout=60
            )

        password = ('--auth=scram-sha-256', f'--pwfile={folder / "password"}')
        run('initdb', '--username=postgres', '--encoding=UTF8', '--no-sync', *password)
        options = f"-k {folder} -c listen_addresses='' -c fsync=off"
        run('pg_ctl', 'start', '--wait', '-l', str(folder / 'log'), '-o', options)
        try:
            yield f'postgresql://postgres:{QUOTED}@/postgres?host={folder}'
        finally:
            run('pg_ctl', 'stop', '--mode=immediate')
