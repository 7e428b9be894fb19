"""The tables that ``prepare`` reads and their columns, without torch: a mistake shows at once."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from pyg_mmgef.cli.encoders import check_encoder
from pyg_mmgef.cli.folders import check_output
from pyg_mmgef.tables import open_table
from pyg_mmgef.tables.database import read_database
from pyg_mmgef.tables.find import close_match, find_columns
from pyg_mmgef.tables.suggest import TableSample, is_url, suggest_columns

__all__ = ['Inputs', 'UndecidedColumns', 'collected', 'flag', 'read_inputs']

NUM_ROWS = 1000
OF_INTERACTIONS, OF_ITEMS = ('user', 'item', 'time', 'rating'), ('item_id', 'text', 'image')
NEEDED = ('user', 'item', 'item_id')
NONE = 'none'
"""The name that leaves out a column which would be found."""


class Inputs(NamedTuple):
    """Tables, and the arguments of :class:`~pyg_mmgef.datasets.InteractionTables` for them.

    Args:
        interactions: The table of interactions.
        items: The table of items, or :obj:`None`.
        columns: The arguments.
        found: The columns that weren't given, by their argument.
        notes: What else was found, and why it isn't used.
    """

    interactions: Any
    items: Any
    columns: dict[str, Any]
    found: dict[str, tuple[str, ...]]
    notes: list[str]


class UndecidedColumns(ValueError):
    """Columns are needed that aren't given, and none fits, or several do.

    Args:
        inputs: What is known.
        undecided: The columns that fit, by argument.
    """

    def __init__(self, inputs: Inputs, undecided: Mapping[str, tuple[str, ...]]) -> None:
        self.inputs, self.undecided = inputs, undecided
        super().__init__('; '.join(self._problem(argument) for argument in undecided))

    def _problem(self, argument: str) -> str:
        table = self.inputs.items if argument in OF_ITEMS else self.inputs.interactions
        fitting = ' or '.join(map(repr, self.undecided[argument]))
        if not fitting:
            return f'no column of {table.name} is clearly the one for {flag(argument)}'
        nothing = '' if argument in NEEDED else f', or {NONE!r}'
        return f'{flag(argument)} could be {fitting} of {table.name}{nothing}'


def flag(argument: str) -> str:
    """Return the option of the command that sets an argument."""
    return f'--{argument.replace("_", "-")}'


@contextmanager
def collected(mistakes: list[str]) -> Iterator[None]:
    """Add a mistake that is raised inside to the list, so that all can be shown at once."""
    try:
        yield
    except (ValueError, OSError, ImportError) as error:
        mistakes.append(str(error))


def read_inputs(
    sources: Mapping[str, Any],
    columns: Mapping[str, Any],
    output: Path,
    encoders: Mapping[str, str],
) -> Inputs:
    """Open the tables, check all that is given, and find the columns that aren't.

    Args:
        sources: ``interactions`` and ``items``, paths of tables, or instead ``query`` and
            ``item_query`` with the ``database`` for them.
        columns: Arguments of :class:`~pyg_mmgef.datasets.InteractionTables`, :obj:`None` for what
            isn't given; ``'none'`` leaves out a column that would be found.
        output: The folder to write.
        encoders: ``image_encoder`` and ``text_encoder``.

    Raises:
        UndecidedColumns: If a column is needed that is neither given nor found, or several fit.
        ValueError: With all mistakes.
    """
    mistakes: list[str] = []
    with collected(mistakes):
        check_output(output)
    for name, spec in encoders.items():
        with collected(mistakes):
            check_encoder(flag(name), spec)
    with collected(mistakes):
        _check_folder(columns['image_folder'])
    tables: dict[str, Any] = {'interactions': None, 'items': None}
    for name, query in (('interactions', 'query'), ('items', 'item_query')):
        with collected(mistakes):
            source = _source(sources, name, query)
            tables[name] = None if source is None else open_table(source, argument=name)
    if sources['database'] is not None and not (sources['query'] or sources['item_query']):
        mistakes.append('--database needs --query or --item-query')
    asked = {name: _names(columns[name]) for name in OF_INTERACTIONS + OF_ITEMS}
    given = {name: names for name, names in asked.items() if names is not None}
    for table, names in zip(tables.values(), (OF_INTERACTIONS, OF_ITEMS), strict=True):
        if table is not None:
            with collected(mistakes):
                given |= _real_names(table, {name: given[name] for name in names if name in given})
    of_items = [flag(name) for name in OF_ITEMS if given.get(name)]
    if of_items and sources['items'] is None and sources['item_query'] is None:
        mistakes.append(f'{", ".join(of_items)}: there is no table of items; give it with --items')
    if mistakes:
        raise ValueError('; '.join(mistakes))
    return _with_found(tables['interactions'], tables['items'], columns, given)


def _real_names(table: Any, given: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Return the columns that the names mean, as the table spells them."""
    wanted = {f'{a} {i}' if i else a: c for a, names in given.items() for i, c in enumerate(names)}
    found = find_columns(table, wanted)
    return {
        argument: tuple(column for role, column in found.items() if role.split()[0] == argument)
        for argument in given
    }


def _source(sources: Mapping[str, Any], name: str, query: str) -> Any:
    """Return the path of a table or the query that gives it, :obj:`None` if there is neither."""
    path, sql, database = sources[name], sources[query], sources['database']
    if name == 'interactions' and path is None and sql is None:
        raise ValueError(
            'no interactions are given; name the file of their table, or give --database and '
            '--query'
        )
    if sql is None:
        return path
    if path is not None:
        raise ValueError(f'{flag(query)} and the file {str(path)!r} both give the {name}')
    if database is None:
        raise ValueError(f'{flag(query)} needs a --database')
    return read_database(database, sql)


def _with_found(
    interactions: Any, items: Any, columns: Mapping[str, Any], asked: dict[str, tuple[str, ...]]
) -> Inputs:
    sample = _sample(interactions)
    sample_of_items = None if items is None else _sample(items)
    found, notes = suggest_columns(sample, sample_of_items, asked), []
    if sample_of_items is not None and 'image' in found:
        folder = columns['image_folder'] or items.folder
        found['image'], notes = _usable_pictures(found['image'], sample_of_items, folder)
    undecided = {
        argument: names
        for argument, names in found.items()
        if argument != 'text' and (len(names) > 1 or (argument in NEEDED and not names))
    }
    decided = {a: names for a, names in (asked | found).items() if a not in undecided}
    inputs = Inputs(
        interactions,
        items,
        dict(columns)
        | {a: names[0] if names else None for a, names in decided.items()}
        | {'text': decided.get('text', ())},
        {a: names for a, names in decided.items() if names and a not in asked},
        notes,
    )
    if undecided:
        raise UndecidedColumns(inputs, undecided)
    if columns['min_rating'] is not None and inputs.columns['rating'] is None:
        raise ValueError('--min-rating needs ratings; name their column with --rating')
    return inputs


def _names(value: Any) -> tuple[str, ...] | None:
    """Return the columns that are given, none for ``'none'``, :obj:`None` to find them."""
    if value is None or value == ():
        return None
    names = (value,) if isinstance(value, str) else tuple(value)
    return () if names == (NONE,) else names


def _sample(table: Any) -> TableSample:
    return TableSample(table.columns, table.sample(NUM_ROWS))


def _check_folder(folder: Path | None) -> None:
    if folder is not None and not folder.expanduser().is_dir():
        near = close_match(folder.name, (p.name for p in folder.expanduser().parent.glob('*/')))
        raise FileNotFoundError(f"--image-folder names {str(folder)!r}, which doesn't exist{near}")


def _usable_pictures(
    columns: tuple[str, ...], sample: TableSample, folder: Path | None
) -> tuple[tuple[str, ...], list[str]]:
    """Return the columns that name pictures in the folder, and why others aren't used."""
    usable, notes = [], []
    for column in columns:
        names = [str(row[column]) for row in sample.rows if row[column]]
        if any(map(is_url, names)):
            notes.append(f'{column!r} holds addresses of pictures, which are not downloaded')
        elif folder is None or not any(_is_file(folder / name) for name in names):
            notes.append(f'{column!r} names pictures; give their folder with --image-folder')
        else:
            usable.append(column)
    return tuple(usable), notes


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # A name that is too long, or holds a null byte.
        return False
