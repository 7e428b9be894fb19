"""The catalog of a dataset, and the items as JSON Lines hold them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pyg_mmgef.catalog import Catalog
from pyg_mmgef.datasets import InteractionTables

__all__ = ['catalog_of', 'items_of']


def items_of(tables: InteractionTables) -> list[dict[str, Any]]:
    """Return ``'text'``, ``'image'``, ``'fields'`` and ``'kept'`` of each item of tables.

    ``'fields'`` has the columns of the text. ``'kept'`` has the other fields of the catalog, and
    those columns of the text that the catalog holds as numbers.
    """
    texts, catalog = tables.item_fields, tables.catalog
    kept = {
        name: [None if value != value else value for value in values.tolist()]
        for name, values in catalog.fields.items()
        if name not in texts or values.dtype != object
    }
    return [
        {
            'text': text,
            'image': None if image is None else str(image.resolve()),
            'fields': {name: values[row] for name, values in texts.items()},
            'kept': {name: values[row] for name, values in kept.items()},
        }
        for row, (text, image) in enumerate(zip(tables.item_texts, tables.item_images, strict=True))
    ]


def catalog_of(ids: Iterable[int | str], items: Sequence[Mapping[str, Any]]) -> Catalog:
    """Return the catalog of items that :func:`items_of` returned, also in earlier versions.

    Args:
        ids: The ids of the items.
        items: The items.
    """
    own = list(ids)
    first = [next(iter(item['fields'].values()), None) for item in items]
    columns = [{**item['fields'], **item.get('kept', {})} for item in items]
    names = dict.fromkeys(name for of_item in columns for name in of_item)
    return Catalog(
        own,
        [str(i) if title is None else title for i, title in zip(own, first, strict=True)],
        [item['text'] for item in items],
        [item['image'] for item in items],
        {name: [of_item.get(name) for of_item in columns] for name in names},
    )
