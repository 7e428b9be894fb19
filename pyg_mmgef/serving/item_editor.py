from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from pyg_mmgef.serving._ids import Id, own_id
from pyg_mmgef.serving.bodies import ItemFields
from pyg_mmgef.serving.engine import Engine, UnknownItem
from pyg_mmgef.serving.item_changes import ItemChange, ItemChanges

__all__ = ['Conflict', 'ItemEditor']

Write: TypeAlias = Callable[[], Id]
"""Writes a change that was checked, and returns the id of the item when it is on the disk."""


class Conflict(RuntimeError):
    """The change doesn't fit what is there."""


class ItemEditor:
    """Makes changes of items from requests: each is checked beside the items, then written.

    The methods return a function of the engine, for the thread that owns it. That returns a
    function that writes, for another thread.

    Args:
        path: The file of the changes.
    """

    def __init__(self, path: Path) -> None:
        self._changes = ItemChanges(path)

    def close(self) -> None:
        """Close the file."""
        self._changes.close()

    def added(self, item: Id, body: ItemFields) -> Callable[[Engine], Write]:
        """Return what adds an item."""

        def check(engine: Engine) -> Write:
            own = _own(engine, item)
            if engine.items.row_of(own) is not None:
                raise Conflict(f'the item {str(own)[:80]!r} is there; change it by PUT')
            is_old = _is_in_export(engine, own)
            _check(engine, body)
            if not is_old and body.vector is None and body.features is None:
                raise ValueError(
                    f"a new item needs a 'vector' of {engine.export.channels} numbers, or "
                    "'features' where the model makes a vector of them"
                )

            def change(old: ItemChange | None) -> ItemChange:
                if old is not None and old.is_added and not old.is_retired:
                    raise Conflict(f'the item {str(own)[:80]!r} is there; change it by PUT')
                return _changed(ItemChange(own, {}, is_added=not is_old), body)

            return lambda: self._changes.write(own, change).item

        return check

    def changed(self, item: Id, body: ItemFields) -> Callable[[Engine], Write]:
        """Return what changes an item."""

        def check(engine: Engine) -> Write:
            own = _own(engine, item)
            engine.row_of(own)
            _check(engine, body)
            is_old = _is_in_export(engine, own)
            if is_old and (body.vector is not None or body.features is not None):
                raise Conflict(
                    f'the vector of the item {str(own)[:80]!r} is that of the export; export again '
                    'to change it'
                )

            def change(old: ItemChange | None) -> ItemChange:
                if old is not None and old.is_retired:
                    raise UnknownItem(f'there is no item {str(own)[:80]!r}')
                return _changed(old or ItemChange(own, {}), body)

            return lambda: self._changes.write(own, change).item

        return check

    def retired(self, item: Id) -> Callable[[Engine], Write]:
        """Return what retires an item."""

        def check(engine: Engine) -> Write:
            own = _own(engine, item)
            if engine.items.catalog.row_of(own) is None:
                engine.row_of(own)

            def change(old: ItemChange | None) -> ItemChange:
                return replace(old or ItemChange(own, {}), is_retired=True)

            return lambda: self._changes.write(own, change).item

        return check


def _own(engine: Engine, item: Id) -> Id:
    own = own_id(item, engine.items.catalog.are_numbers)
    if own is None:
        raise ValueError(f'the ids of items are integers (got {str(item)[:80]!r})')
    return own


def _is_in_export(engine: Engine, own: Id) -> bool:
    row = engine.items.catalog.row_of(own)
    return row is not None and row < engine.export.num_items


def _check(engine: Engine, body: ItemFields) -> None:
    """Raise a :class:`ValueError` if what is given doesn't fit the export."""
    channels, content = engine.export.channels, engine.export.content
    if body.vector is not None and body.features is not None:
        raise ValueError("give 'vector' or 'features', not both")
    if body.vector is not None and len(body.vector) != channels:
        raise ValueError(f"'vector' must have {channels} numbers (got {len(body.vector)})")
    if body.vector is not None and not np.isfinite(np.asarray(body.vector, np.float32)).all():
        raise ValueError("'vector' holds a number that is too large for float32")
    if body.features is not None:
        if content is None:
            raise ValueError(
                f"the model {engine.export.meta.get('model')!r} makes no vectors of features; give "
                "'vector'"
            )
        vector = content.embed({name: [row] for name, row in body.features.items()})
        if not np.isfinite(vector).all():
            raise ValueError("'features' hold a number that is too large")
    for name, value in body.fields.items():
        if value is not None and not engine.items.fits(name, value):
            kind = 'texts' if isinstance(value, float) else 'numbers'
            raise ValueError(f'the field {name[:80]!r} holds {kind} (got {str(value)[:80]!r})')


def _changed(old: ItemChange, body: ItemFields) -> ItemChange:
    """Return a change with what is given, and the rest as it was."""
    given: dict[str, Any] = body.model_dump(exclude_unset=True)
    values = {**old.values, **{n: given[n] for n in ('title', 'text', 'picture') if n in given}}
    values['fields'] = {**old.values.get('fields', {}), **given.get('fields', {})}
    if values.get('title', '') is None:
        del values['title']
    vector, features = old.vector, old.features
    if body.vector is not None or body.features is not None:
        vector = None if body.vector is None else np.asarray(body.vector, np.float32)
        features = body.features
    return replace(old, values=values, vector=vector, features=features)
