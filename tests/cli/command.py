"""Running the command as a person does."""

import contextlib
import io
import os
import sys
import warnings
from pathlib import Path

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


def pyg_mmgef(*arguments: object, cwd: Path | None = None, fails: int = 0) -> str:
    """Return what the command prints on the screen, or, where it is to fail, its error.

    It runs in this process, where everything is imported already.
    """
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(),
        pytest.MonkeyPatch.context() as patch,
    ):
        warnings.simplefilter('default')  # The suite makes ours errors; a person reads them.
        patch.setenv('COLUMNS', '200')
        patch.chdir(cwd or Path.cwd())
        patch.setattr(warnings, 'showwarning', warnings.showwarning)  # Put back afterwards.
        try:
            main(list(map(str, arguments)))
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
    assert code == fails, err.getvalue()
    return err.getvalue() if fails else out.getvalue()
