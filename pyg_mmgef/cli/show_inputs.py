"""Output of ``prepare`` before it reads: tables, the columns found, and the command to type."""

import shlex
from collections.abc import Iterator
from typing import Any

import typer
from rich.console import Console

from pyg_mmgef._printable import shortened
from pyg_mmgef._spelling import as_option
from pyg_mmgef.cli.console import out
from pyg_mmgef.cli.inputs import Inputs, UndecidedColumns
from pyg_mmgef.cli.show import plain_table
from pyg_mmgef.tables.database import without_password

__all__ = ['command_to_type', 'show_found', 'show_options', 'show_tables']

NUM_ROWS, LONGEST_CELL, MOST_COLUMNS = 3, 30, 40


def show_found(inputs: Inputs) -> None:
    """Print the columns that were found, and those that aren't used."""
    for argument, columns in inputs.found.items():
        out.print(f'found: {_options(argument, columns)}')
    for note in inputs.notes:
        out.print(f'not used: {note}')


def show_tables(inputs: Inputs, console: Console) -> None:
    """Print the columns of the tables with their types and first rows."""
    for table in (inputs.interactions, inputs.items):
        if table is None:
            continue
        rows = table.sample(NUM_ROWS)
        console.print(table.name, style='bold')
        shown = plain_table(
            'column', 'type', *(f'row {number}' for number in range(1, len(rows) + 1))
        )
        for column, kind in list(table.columns.items())[:MOST_COLUMNS]:
            cells = [shortened(str(row[column]), LONGEST_CELL) for row in rows]
            shown.add_row(column, kind, *cells)
        console.print(shown)
        if len(table.columns) > MOST_COLUMNS:
            console.print(f'... and {len(table.columns) - MOST_COLUMNS:,} more columns')


def show_options(context: typer.Context, inputs: Inputs) -> None:
    """Print the options in force, and whether each was given, found or is the default."""
    shown = plain_table('option', 'value', '')
    for parameter in context.command.params:
        name = str(parameter.name)
        origin = 'given' if _is_given(context, name) else 'default'
        values = _values(name, inputs.columns.get(name, context.params[name]))
        shown.add_row(
            _label(parameter),
            ', '.join(values) or 'none',
            'found' if name in inputs.found else origin,
        )
    out.print(shown)


def command_to_type(context: typer.Context, undecided: UndecidedColumns) -> str:
    """Return the whole command; names in capitals stand for the columns that are to be named."""
    words = ['pyg-mmgef', 'prepare', *_typed(context)]
    found = [_options(*pair) for pair in undecided.inputs.found.items()]
    open_ = [f'{as_option(argument)} {argument.upper()}_COLUMN' for argument in undecided.undecided]
    return ' '.join([shlex.join(words), *found, *open_])


def _typed(context: typer.Context) -> Iterator[str]:
    for parameter in context.command.params:
        name = str(parameter.name)
        if not _is_given(context, name):
            continue
        for value in _values(name, context.params[name]):
            if parameter.param_type_name == 'option':
                yield _label(parameter)
            if context.params[name] is not True:
                yield value


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == 'COMMANDLINE'


def _label(parameter: Any) -> str:
    return parameter.opts[0] if parameter.param_type_name == 'option' else parameter.name.upper()


def _values(name: str, value: Any) -> list[str]:
    if value is None:
        return []
    values = map(str, value if isinstance(value, (list, tuple)) else [value])
    return [without_password(text) if name == 'database' else text for text in values]


def _options(argument: str, columns: tuple[str, ...]) -> str:
    return shlex.join(word for column in columns for word in (as_option(argument), column))
