import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyg_mmgef.serving._ids import Id

__all__ = ['Edit', 'ItemChange', 'ItemChanges', 'NotWritten']

SCHEMA = """
CREATE TABLE IF NOT EXISTS changes (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    item TEXT NOT NULL UNIQUE,
    content TEXT NOT NULL,
    vector BLOB
) STRICT
"""
CONTENT = ('values', 'features', 'is_added', 'is_retired')
WAIT_S = 10.0  # For the lock of another worker that writes.


@dataclass(frozen=True, eq=False)
class ItemChange:
    """How an item differs from the export."""

    item: Id
    values: dict[str, Any]
    """What was set of ``title``, ``text``, ``picture`` and ``fields``."""
    vector: NDArray[np.float32] | None = None
    """The vector of an added item. Shape: ``[channels]``."""
    features: dict[str, list[float]] | None = None
    """The features of an added item by modality, of which an export makes its vector."""
    is_added: bool = False
    """Whether the item was added, not only changed."""
    is_retired: bool = False
    """Whether the item isn't shown any more."""
    number: int = 0
    """A later change has a larger number."""


@dataclass(frozen=True, eq=False)
class Edit:
    """A change that is to be written."""

    item: Id
    change: Callable[[ItemChange | None], ItemChange]
    """Makes the new change of the one that is there."""


class NotWritten(RuntimeError):
    """The disk or another process keeps a change from being written."""


class ItemChanges:
    """The changes of items, in a SQLite file that all workers read.

    A change that :meth:`write` has returned from is on the disk. Each item has one row, which each
    change replaces, so the file grows with the number of changed items, not of changes.

    Args:
        path: The file, which is made if there is none. One thread alone uses an object.

    Raises:
        ValueError: If the file can't be opened, or isn't such a file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._database = sqlite3.connect(
                path, timeout=WAIT_S, isolation_level=None, check_same_thread=False
            )
            self._database.execute('PRAGMA journal_mode = WAL')
            self._database.execute('PRAGMA synchronous = FULL')
            self._database.execute(SCHEMA)
        except sqlite3.Error as error:
            raise ValueError(
                f'the changes of items cannot be kept in {str(path)!r} ({error}); name another '
                'file by --changes'
            ) from error
        self._last = 0
        self._version: int | None = None

    def write(self, edits: Sequence[Edit]) -> list[ItemChange | Exception]:
        """Write changes together, and return them when they are on the disk.

        No other worker writes meanwhile. In place of a change that can't be made there is the
        error that its function has raised; the others are written.

        Args:
            edits: What makes each new change of the one before.

        Raises:
            NotWritten: If the file can't be written; then no change is.
        """
        try:
            self._database.execute('BEGIN IMMEDIATE')
            try:
                done = [self._write(edit) for edit in edits]
                self._database.execute('COMMIT')
            except BaseException:
                self._database.execute('ROLLBACK')
                raise
        except sqlite3.Error as error:
            raise NotWritten(f'the change could not be written ({error}); try again') from error
        return done

    def _write(self, edit: Edit) -> ItemChange | Exception:
        key = json.dumps(edit.item)
        try:
            new = edit.change(self._read(key))
        except (LookupError, RuntimeError, ValueError) as error:
            return error
        content = {name: getattr(new, name) for name in CONTENT}
        vector = None if new.vector is None else new.vector.astype('<f4').tobytes()
        self._database.execute(
            'INSERT OR REPLACE INTO changes (item, content, vector) VALUES (?, ?, ?)',
            (key, json.dumps(content), vector),
        )
        return new

    def news(self, number: int) -> list[ItemChange]:
        """Return the changes with larger numbers, as :meth:`since`.

        It costs a few microseconds if nobody has written since the last call.
        """
        version = self._database.execute('PRAGMA data_version').fetchone()[0]
        if version == self._version and number >= self._last:
            return []
        found = self.since(number)
        self._version, self._last = version, found[-1].number if found else number
        return found

    def since(self, number: int) -> list[ItemChange]:
        """Return the changes with larger numbers, in their order."""
        rows = self._database.execute(
            'SELECT number, item, content, vector FROM changes WHERE number > ? ORDER BY number',
            (number,),
        )
        return [_change_of(*row) for row in rows]

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _read(self, key: str) -> ItemChange | None:
        row = self._database.execute(
            'SELECT number, item, content, vector FROM changes WHERE item = ?', (key,)
        ).fetchone()
        return None if row is None else _change_of(*row)


def _change_of(number: int, item: str, content: str, vector: bytes | None) -> ItemChange:
    return ItemChange(
        item=json.loads(item),
        vector=None if vector is None else np.frombuffer(vector, '<f4'),
        number=number,
        **json.loads(content),
    )
