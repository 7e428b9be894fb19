"""Running the command as a person does."""

import contextlib
import io
import os
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import pytest

from pyg_mmgef.cli.app import main

COLUMNS = (
    *('--items', 'items.csv', '--user', 'customer', '--item', 'sku', '--time', 'day'),
    *('--text', 'title', '--image', 'photo', '--image-folder', 'photos'),
)


def command(*arguments: object) -> list[str]:
    main = 'from pyg_mmgef.cli.app import main; main()'
    return [sys.executable, '-c', main, *map(str, arguments)]


def environment() -> dict[str, str]:
    root = str(Path(__file__).parents[2])
    return {**os.environ, 'PYTHONPATH': root, 'OMP_NUM_THREADS': '1', 'COLUMNS': '200'}


class Printed(NamedTuple):
    """The exit code of a command, and what it prints."""

    code: int
    out: str
    err: str


def printed(*arguments: object, cwd: Path | None = None, columns: int | None = 200) -> Printed:
    """Run the command in this process, where everything is imported already, as in a pipe."""
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(),
        pytest.MonkeyPatch.context() as patch,
    ):
        warnings.simplefilter('default')  # The suite makes ours errors; a person reads them.
        if columns is None:
            patch.delenv('COLUMNS', raising=False)
        else:
            patch.setenv('COLUMNS', str(columns))
        patch.chdir(cwd or Path.cwd())
        patch.setattr(warnings, 'showwarning', warnings.showwarning)  # Put back afterwards.
        try:
            main(list(map(str, arguments)))
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
    return Printed(code, out.getvalue(), err.getvalue())


def pyg_mmgef(*arguments: object, cwd: Path | None = None, fails: int = 0) -> str:
    """Return what the command prints on the screen, or, where it is to fail, its error."""
    code, out, err = printed(*arguments, cwd=cwd)
    assert code == fails, err
    return err if fails else out
