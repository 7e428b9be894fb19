from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from pyg_mmgef.serving._bodies import ItemFields
from pyg_mmgef.serving._ids import Id, own_id
from pyg_mmgef.serving._item_changes import Edit, ItemChange
from pyg_mmgef.serving.engine import Engine, UnknownItem

__all__ = ['Conflict', 'adding', 'changing', 'retiring']

TEXTS = ('title', 'text', 'picture')
LARGEST = float(np.finfo(np.float32).max)

Check: TypeAlias = Callable[[Engine], Edit]
"""Checks a request beside the items, in the thread that owns them."""


class Conflict(RuntimeError):
    """The change doesn't fit what is there."""


def adding(item: Id, body: ItemFields) -> Check:
    """Return what adds an item."""

    def check(engine: Engine) -> Edit:
        own = _own(engine, item)
        if engine.items.row_of(own) is not None:
            raise _there_is(own)
        is_old = _is_in_export(engine, own)
        _check(engine, body)
        if not is_old and body.vector is None and body.features is None:
            raise ValueError(
                f"a new item needs a 'vector' of {engine.export.channels} numbers, or "
                "'features' where the model makes a vector of them"
            )

        def change(old: ItemChange | None) -> ItemChange:
            if old is not None and old.is_added and not old.is_retired:
                raise _there_is(own)
            return _changed(ItemChange(own, {}, is_added=not is_old), body)

        return Edit(own, change)

    return check


def changing(item: Id, body: ItemFields) -> Check:
    """Return what changes an item."""

    def check(engine: Engine) -> Edit:
        own = _known(engine, item)
        _check(engine, body)
        if _is_in_export(engine, own) and not (body.vector is None and body.features is None):
            raise Conflict(
                f'the vector of the item {str(own)[:80]!r} is that of the export; export again to '
                'change it'
            )

        def change(old: ItemChange | None) -> ItemChange:
            if old is not None and old.is_retired:
                raise UnknownItem(f'there is no item {str(own)[:80]!r}')
            return _changed(old or ItemChange(own, {}), body)

        return Edit(own, change)

    return check


def retiring(item: Id) -> Check:
    """Return what retires an item. One that is retired already stays so."""

    def check(engine: Engine) -> Edit:
        own = _known(engine, item)
        return Edit(own, lambda old: replace(old or ItemChange(own, {}), is_retired=True))

    return check


def _there_is(own: Id) -> Conflict:
    return Conflict(f'there is an item {str(own)[:80]!r} already; change it by PUT')


def _own(engine: Engine, item: Id) -> Id:
    own = own_id(item, engine.items.catalog.are_numbers)
    if own is None:
        raise ValueError(f'the ids of items are integers (got {str(item)[:80]!r})')
    return own


def _known(engine: Engine, item: Id) -> Id:
    """Return the id of an item that is there or was retired."""
    own = _own(engine, item)
    if engine.items.catalog.row_of(own) is None:
        raise UnknownItem(f'there is no item {str(own)[:80]!r}')
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
    if body.vector is not None and max(map(abs, body.vector)) > LARGEST:
        raise ValueError("'vector' holds a number that is too large for float32")
    if body.features is not None:
        if content is None:
            raise ValueError(
                f'the model {engine.export.meta.get("model")!r} makes no vectors of features; give '
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
    texts: dict[str, Any] = {
        name: given[name] for name in ('title', 'text', 'picture') if name in given
    }
    fields: dict[str, Any] = {**old.values.get('fields', {}), **given.get('fields', {})}
    values: dict[str, Any] = {**old.values, **texts, 'fields': fields}
    vector, features = old.vector, old.features
    if body.vector is not None or body.features is not None:
        vector = None if body.vector is None else np.asarray(body.vector, np.float32)
        features = body.features
    return replace(old, values=values, vector=vector, features=features)
