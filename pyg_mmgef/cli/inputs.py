"""The tables that ``prepare`` reads and their columns, without torch: a mistake shows at once."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from pyg_mmgef._encoder_specs import check_encoder
from pyg_mmgef._folders import check_output
from pyg_mmgef._spelling import as_option, spelt, spelt_as_options
from pyg_mmgef.tables import Table, find_columns, open_table
from pyg_mmgef.tables._picture_folder import PictureFolder, check_picture_folder
from pyg_mmgef.tables._picture_names import picture_names
from pyg_mmgef.tables.database import read_database
from pyg_mmgef.tables.open_table import DATABASES
from pyg_mmgef.tables.suggest import (
    Columns,
    TableSample,
    event_kinds,
    is_url,
    suggest_columns,
    suggest_fields,
)

__all__ = ['Inputs', 'UndecidedColumns', 'read_inputs']

NUM_ROWS = 1000
OF_INTERACTIONS = ('user', 'item', 'time', 'rating', 'event')
OF_ITEMS = ('item_id', 'text', 'fields', 'image')
SEVERAL = ('text', 'fields')
"""The arguments that several columns can have."""
NEEDED = ('user', 'item', 'item_id')
NONE = 'none'
"""The name that leaves out a column which would be found."""
OF_BOTH = ('columns', 'delimiter', 'query')
"""The arguments of a table that have an option for each of the two."""


class Inputs(NamedTuple):
    """Tables, and the arguments of :class:`~pyg_mmgef.datasets.InteractionTables` for them.

    Args:
        interactions: The table of interactions.
        items: The table of items, or :obj:`None`.
        columns: The arguments.
        found: The columns that weren't given, by their argument.
        notes: What else was found, and why it isn't used.
    """

    interactions: Table
    items: Table | None
    columns: dict[str, Any]
    found: dict[str, Columns]
    notes: list[str]


class UndecidedColumns(ValueError):
    """Columns are needed that aren't given, and none fits, or several do.

    Args:
        inputs: What is known.
        undecided: The columns that fit, by argument.
    """

    def __init__(self, inputs: Inputs, undecided: Mapping[str, Columns]) -> None:
        self.inputs, self.undecided = inputs, undecided
        super().__init__('; '.join(self._problem(argument) for argument in undecided))

    def _problem(self, argument: str) -> str:
        of_items = self.inputs.items if argument in OF_ITEMS else None
        table = of_items or self.inputs.interactions
        fitting = ' or '.join(map(repr, self.undecided[argument]))
        if not fitting:
            hint = ''
            if len(table.columns) == 1:
                option = '--item-delimiter' if argument in OF_ITEMS else '--delimiter'
                hint = f'; if its column is a whole line, give the separator with {option}'
            return f'no column of {table.name} is clearly the one for {as_option(argument)}{hint}'
        nothing = '' if argument in NEEDED else f', or {NONE!r}'
        return f'{as_option(argument)} could be {fitting} of {table.name}{nothing}'


@contextmanager
def _collected(mistakes: list[str]) -> Iterator[None]:
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
        sources: The paths ``'interactions'`` and ``'items'`` or the ``'database'``, and in
            ``'tables'`` the options of :func:`~pyg_mmgef.tables.open_table` for each table.
        columns: Arguments of :class:`~pyg_mmgef.datasets.InteractionTables`, :obj:`None` for what
            isn't given; ``'none'`` leaves out a column that would be found.
        output: The folder to write.
        encoders: ``'image_encoder'`` and ``'text_encoder'``.

    Raises:
        UndecidedColumns: If a column is needed that is neither given nor found, or several fit.
        ValueError: With all mistakes.
    """
    mistakes: list[str] = []
    with _collected(mistakes):
        check_output(output)
    for name, spec in encoders.items():
        with _collected(mistakes):
            check_encoder(as_option(name), spec)
    with _collected(mistakes):
        if columns['image_folder'] and not columns['download_images']:  # Which makes the folder.
            check_picture_folder(columns['image_folder'].expanduser())
    has_query = any(table['query'] for table in sources['tables'].values())
    if sources['database'] and not has_query:
        raise ValueError(
            '; '.join([*mistakes, '--database needs --query, such as "select * from orders"'])
        )
    asked = {name: _names(name, columns[name]) for name in OF_INTERACTIONS + OF_ITEMS}
    given = {name: names for name, names in asked.items() if names is not None}
    if given.get('event'):
        given.setdefault('rating', ())
    tables: dict[str, Any] = {}
    for table, purposes in (('interactions', OF_INTERACTIONS), ('items', OF_ITEMS)):
        named = {name: given[name] for name in purposes if name in given}
        with _collected(mistakes), spelt_as_options(_SPELLING[table]):
            tables[table] = _open(table, sources)
            if tables[table] is not None:
                given |= _real_names(tables[table], named)
            elif any(named.values()):
                options = ', '.join(as_option(name) for name, names in named.items() if names)
                raise ValueError(f'{options}: there is no table of items; give it with --items')
    if mistakes:
        raise ValueError('; '.join(mistakes))
    return _with_found(tables['interactions'], tables['items'], columns, given)


def _option_of_items(argument: str) -> str:
    return as_option(f'item_{argument}' if argument in OF_BOTH else argument)


_SPELLING = {'interactions': as_option, 'items': _option_of_items}


def _open(name: str, sources: Mapping[str, Any]) -> Any:
    """Return a table, :obj:`None` if there are no items."""
    path, database, options = sources[name], sources['database'], dict(sources['tables'][name])
    query = options['query']
    if database is not None and query is not None:
        if path is not None:
            raise ValueError(
                f'{spelt("query")} and {spelt(name)} both give the {name}; leave out one of them'
            )
        if database.endswith(DATABASES):
            path = Path(database)
        else:
            path, options = read_database(database, query), {}
    elif query is not None and path is None and sources['interactions']:
        path = sources['interactions'][0]
    elif path is None and (query is not None or name == 'interactions'):
        raise ValueError(f'there are no {name}; name a file, or --database and {spelt("query")}')
    return None if path is None else open_table(path, argument=name, **options)


def _real_names(table: Table, given: Mapping[str, Columns]) -> dict[str, Columns]:
    """Return the columns that the names mean, as the table spells them."""
    wanted = {f'{a} {i}' if i else a: c for a, names in given.items() for i, c in enumerate(names)}
    found = find_columns(table, wanted)
    return {
        argument: tuple(column for role, column in found.items() if role.split()[0] == argument)
        for argument in given
    }


def _with_found(
    interactions: Table, items: Table | None, columns: Mapping[str, Any], given: dict[str, Columns]
) -> Inputs:
    notes: list[str] = []
    of_interactions = _sample(interactions)
    if items is None:
        found = suggest_columns(of_interactions, None, given)
    else:
        sample = _sample(items)
        found = suggest_columns(of_interactions, sample, given)
        if 'image' in found:
            found['image'], notes = _usable_pictures(found['image'], sample, columns, items.folder)
        if 'fields' not in given:
            found['fields'] = suggest_fields(sample)
    known = {argument for argument, names in (given | found).items() if names}
    content = {'text', 'image'}
    # Whoever gives 'none' for both, or a folder of pictures, knows what is left out.
    is_meant = content <= given.keys() or columns['image_folder'] is not None
    if items is not None and not known & content and not is_meant:
        notes.append(
            f'no column of {items.name} is clearly one of texts or pictures; name it with '
            '--text or --image'
        )
    events = None if known & {'event', 'rating'} else event_kinds(of_interactions)
    if events is not None:
        column, kinds = events
        notes.append(
            f'{column!r} holds {", ".join(kinds)}, which all count alike; to keep only some, name '
            f'them: {shlex.join(["--event", column, "--event-weight", f"{kinds[-1]}=1"])}'
        )
    undecided = {
        argument: names
        for argument, names in found.items()
        if argument not in SEVERAL and (len(names) > 1 or (argument in NEEDED and not names))
    }
    decided = {a: names for a, names in (given | found).items() if a not in undecided}
    inputs = Inputs(
        interactions,
        items,
        dict(columns)
        | {a: names[0] if names else None for a, names in decided.items()}
        | {argument: decided.get(argument, ()) for argument in SEVERAL},
        {a: names for a, names in decided.items() if names and a not in given},
        notes,
    )
    if undecided:
        raise UndecidedColumns(inputs, undecided)
    return inputs


def _names(argument: str, value: Any) -> Columns | None:
    """Return the columns that are given, none for ``'none'``, :obj:`None` to find them."""
    if value is None or value == ():
        return None
    names = (value,) if isinstance(value, str) else tuple(value)
    return () if names == (NONE,) and argument not in NEEDED else names


def _sample(table: Table) -> TableSample:
    return TableSample(table.columns, table.sample(NUM_ROWS))


def _usable_pictures(
    columns: Columns, sample: TableSample, options: Mapping[str, Any], of_table: Path | None
) -> tuple[Columns, list[str]]:
    """Return the columns that name pictures in the folder, and why others aren't used."""
    given = options['image_folder']
    folder = given.expanduser() if given else of_table
    usable, notes = [], []
    for column in columns:
        names = [name for row in sample.rows for name in picture_names(row[column])]
        if options['download_images']:
            usable.append(column)
        elif any(map(is_url, names)):
            notes.append(
                f'{column!r} holds addresses of pictures; --download-images writes the pictures '
                'to --image-folder'
            )
        elif folder is None:
            notes.append(f'{column!r} names pictures; give their folder with --image-folder')
        elif not _holds_any(folder, names, below=given is not None):
            notes.append(
                f'{column!r} names pictures such as {names[0]!r}, but none is in {str(folder)!r}; '
                'give their folder with --image-folder'
            )
        else:
            usable.append(column)
    return tuple(usable), notes


def _holds_any(folder: Path, names: Sequence[str], *, below: bool) -> bool:
    """Return whether a folder has a file of one of the names, or also a folder below it."""
    pictures = PictureFolder(folder)
    if any(name in pictures for name in names):
        return True
    return below and any(isinstance(pictures.find(name), Path) for name in names)
