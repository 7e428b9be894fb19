"""Tables in JSON files: an object a line, or an array of objects."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pyg_mmgef.tables._engine import Connection, connect, literal, unglobbed
from pyg_mmgef.tables._files import first_text, in_utf8
from pyg_mmgef.tables._rejects import IGNORED, LONGEST_LINE, STORED, clear, num_rejected
from pyg_mmgef.tables.table import MALFORMED, Account, Table, create, drop_malformed, one_row

__all__ = ['JSONTable']

_NUM_PEEKED = 10_000
_SURROGATE = r'\\u[dD][89a-fA-F][0-9a-fA-F]{2}'
"""Half of an escaped character, which some programs leave alone when they cut a text."""


class JSONTable(Table):
    """A table in JSON files, all of which have an object a line, or an array of objects each.

    Args:
        name: Its name in messages.
        paths: The files.
        encoding: Their encoding.
        folder: Folder of the files.
        decimal: Decimal separator of numbers that are text.

    Raises:
        ValueError: If the first lines hold no object.
    """

    def __init__(
        self,
        name: str,
        paths: Sequence[Path],
        *,
        encoding: str,
        folder: Path | None,
        decimal: str,
    ) -> None:
        self._paths, self._encoding = tuple(paths), encoding
        begin = first_text(self._paths[0], encoding).lstrip()
        self._is_array = begin.startswith('[')
        columns: dict[str, None] = {}
        for keys in self._peek():
            columns.update(dict.fromkeys(keys))
        if not columns:
            raise ValueError(
                f'none of the first lines is a JSON object (the file begins {begin[:40]!r}); write '
                "one object a line, by a JSON library: Python's own notation isn't JSON"
            )
        super().__init__(name, dict.fromkeys(columns, 'JSON'), folder=folder, decimal=decimal)

    def cell(self, column: str) -> str:
        """Return the SQL of a column's cell."""
        pointer = column.replace('~', '~0').replace('/', '~1')
        return f'json_extract(object, {literal("/" + pointer)})'

    def _peek(self) -> list[list[str]]:
        with connect() as connection, self._opened(connection) as rows_of:
            rows = connection.execute(
                f'SELECT json_keys(object) FROM {rows_of} WHERE object IS NOT NULL '
                f'LIMIT {_NUM_PEEKED}'
            ).fetchall()
        return [row[0] for row in rows]

    @contextmanager
    def _opened(self, connection: Connection) -> Iterator[str]:
        with in_utf8(self._paths, self._encoding) as paths:
            yield self._scan_of(paths, IGNORED)

    def _scan_of(self, paths: Sequence[Path], on_error: str) -> str:
        files = ', '.join(literal(unglobbed(path)) for path in paths)
        if self._is_array:
            lines = (
                f"(SELECT json::VARCHAR AS line FROM read_json_objects([{files}], format='array', "
                f'hive_partitioning=false, maximum_object_size={LONGEST_LINE}))'
            )
        else:
            # JSON spells control characters as escapes, so a line of JSON is one field.
            lines = (
                f"read_csv([{files}], delim=chr(1), quote='', escape='', header=false, "
                f"columns={{line: 'VARCHAR'}}, auto_detect=false, hive_partitioning=false, "
                f'{on_error})'
            )
        whole = f"regexp_replace(line, {literal(_SURROGATE)}, chr(65533), 'g')"
        return (
            "(SELECT CASE WHEN TRY(json_type(line)) = 'OBJECT' THEN line "
            f"WHEN TRY(json_type({whole})) = 'OBJECT' THEN {whole} END AS object, line "
            f"FROM {lines} WHERE trim(line) <> '')"
        )

    def _read(self, connection: Connection, into: str, cells: Mapping[str, str]) -> Account:
        clear(connection)
        malformed = {
            MALFORMED: 'object IS NULL',
            'malformed': 'CASE WHEN object IS NULL THEN line END',
        }
        with in_utf8(self._paths, self._encoding) as paths:
            scan = self._scan_of(paths, STORED)
            num_rows = create(connection, into, {**cells, **malformed}, scan)
        (example,) = one_row(connection, f"SELECT coalesce(any_value(malformed), '') FROM {into}")
        num_malformed = drop_malformed(connection, into)
        # An array has no lines, and is refused as a whole.
        num_lost = 0 if self._is_array else num_rejected(connection)
        return Account(num_rows + num_lost, num_malformed + num_lost, malformed=example)
