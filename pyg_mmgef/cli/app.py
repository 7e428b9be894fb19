import io
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from pyg_mmgef import __version__
from pyg_mmgef._spelling import spelt_as_options
from pyg_mmgef.cli import commands
from pyg_mmgef.cli.console import err, one_line, out

__all__ = ['app', 'main']

MISTAKES = (ValueError, OSError, ImportError)
INTERRUPTED = 130

app = typer.Typer(
    help="""Recommend items that have pictures and words.

    From tables and pictures to a trained recommender: [bold]prepare[/bold], [bold]train[/bold],
    [bold]report[/bold]. A command that was interrupted continues if it is given again.
    """,
    no_args_is_help=True,
    rich_markup_mode='rich',
    pretty_exceptions_enable=False,
    add_completion=False,
)
for _command in (
    commands.prepare,
    commands.train,
    commands.tune,
    commands.refit,
    commands.update,
    commands.evaluate,
    commands.compare,
    commands.report,
    commands.recommend,
    commands.similar,
    commands.explain,
    commands.export,
    commands.serve,
    commands.info,
    commands.models,
):
    app.command()(_command)


@app.callback(invoke_without_command=True)
def options(
    version: Annotated[bool, typer.Option('--version', help='Show the version and exit.')] = False,
) -> None:
    """Options of the program itself."""
    if version:
        out.print(f'pyg-mmgef {__version__}')
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, and print a user's mistake as one line.

    Args:
        arguments: The arguments after the command's name; :obj:`None` means those of this process.
            (default: :obj:`None`)

    Raises:
        SystemExit: With 1 after a user's mistake, 2 after a wrong option, 130 after Ctrl-C.
    """
    _quiet()
    _escape_unencodable()
    try:
        # Typer returns a code after Ctrl-C; its earlier versions raise Abort.
        with spelt_as_options():
            code = app(arguments, standalone_mode=False)
        if code == INTERRUPTED:
            raise KeyboardInterrupt
    except (KeyboardInterrupt, typer.Abort):
        err.print('Interrupted. Give the same command again to continue from here.')
        sys.exit(INTERRUPTED)
    except Exception as error:
        if hasattr(error, 'format_message'):  # Typer's own errors about options and arguments.
            _show_usage_error(error)
            sys.exit(2)
        if os.environ.get('PYG_MMGEF_DEBUG') or not isinstance(error, MISTAKES):
            raise
        err.print(f'Error: {one_line(error)}', style='red')
        sys.exit(1)


def _show_usage_error(error: Any) -> None:
    message = one_line(error.format_message())
    if not message:  # Without arguments; Typer has printed the help.
        return
    end = '' if message.endswith(('.', '?')) else '.'
    err.print(f'Error: {message}{end} See "{error.ctx.command_path} --help".', style='red')


def _quiet() -> None:
    """Silence what torch prints for developers, and show our warnings in a line."""
    warnings.filterwarnings('ignore', module=r'torch\.')
    warnings.showwarning = _show_warning


def _escape_unencodable() -> None:
    """Print characters that the terminal's encoding lacks as escapes, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')


def _show_warning(message: Warning | str, *args: Any, **kwargs: Any) -> None:
    err.print(f'Warning: {one_line(message)}', style='yellow')
