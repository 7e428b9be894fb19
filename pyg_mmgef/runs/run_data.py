import hashlib
import os
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any, Protocol

import torch
from torch_geometric.data import Dataset, HeteroData

from pyg_mmgef.catalog import Catalog
from pyg_mmgef.datasets import IdMap, InteractionTables
from pyg_mmgef.encoders import PixelEncoder, TitleEncoder
from pyg_mmgef.runs._catalog import catalog_of, items_of
from pyg_mmgef.runs.dataset_folder import DatasetFolder, features, preparing
from pyg_mmgef.schema import (
    ITEM,
    USER,
    interactions,
    item_modalities,
    num_users_items,
)

__all__ = ['RunData', 'Source', 'as_source']


class Source(Protocol):
    """What a run is trained on: :class:`RunData`, or a :class:`DatasetFolder` on disk."""

    @property
    def user_ids(self) -> IdMap:
        """The ids of the users, in the order of their rows."""

    @property
    def item_ids(self) -> IdMap:
        """The ids of the items, in the order of their rows."""

    @property
    def about(self) -> dict[str, Any]:
        """Facts: ``'report'`` (counts), ``'notes'``, ``'modalities'`` and ``'options'``."""

    @property
    def encoders(self) -> dict[str, str]:
        """What made the features of each modality; equal ones share a space."""

    @property
    def fingerprint(self) -> str:
        """A hash of the interactions, ids and features."""

    def data(self) -> HeteroData:
        """Return the graph with all interactions and features."""

    def items(self) -> list[dict[str, Any]]:
        """Return ``'text'``, ``'image'`` and ``'fields'`` of each item."""

    def catalog(self) -> Catalog:
        """Return what is known of the items."""

    def copy_to(self, path: Path) -> None:
        """Write a dataset folder."""


class RunData:
    """A data set in memory: a graph, the ids of its rows, and what its items look like.

    Args:
        graph: The graph with all interactions and features, in the schema of this package.
        user_ids: The ids of the users; :obj:`None` means ``graph['user'].id``, or without these
            the rows. (default: :obj:`None`)
        item_ids: The ids of the items, likewise. (default: :obj:`None`)
        items: For each item ``'text'``, ``'image'`` (the path of its picture) and ``'fields'``
            (texts by the name of their column), :obj:`None` where it has none; and optionally
            ``'kept'``, further fields of the catalog, numbers or texts. (default: :obj:`None`)
        encoders: What made the features of each modality; :obj:`None` means that no two were made
            by the same encoder. (default: :obj:`None`)
        about: Facts for ``dataset.json``: ``'options'``, ``'report'`` (counts), ``'notes'``, and
            ``'unusable'`` pictures by modality. (default: ``{}``)

    Raises:
        ValueError: If the graph isn't in the schema, or there is another number of ids or items
            than of rows.
    """

    def __init__(
        self,
        graph: HeteroData,
        user_ids: IdMap | None = None,
        item_ids: IdMap | None = None,
        items: Sequence[Mapping[str, Any]] | None = None,
        encoders: Mapping[str, str] | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        interactions(graph)  # Checks them.
        num_users, num_items = num_users_items(graph)
        self._graph = graph
        self.user_ids = _ids_of(graph, USER, num_users) if user_ids is None else user_ids
        self.item_ids = _ids_of(graph, ITEM, num_items) if item_ids is None else item_ids
        known = item_modalities(graph)[0]
        self.encoders = {name: (encoders or {}).get(name, name) for name in known}
        nothing: dict[str, Any] = {'text': None, 'image': None, 'fields': {}}
        self._items = [nothing] * num_items if items is None else [dict(item) for item in items]
        self.about = _about(graph, self.encoders, about or {})
        for name, values, count in (
            ('user_ids', self.user_ids, num_users),
            ('item_ids', self.item_ids, num_items),
            ('items', self._items, num_items),
        ):
            if len(values) != count:
                raise ValueError(f"'{name}' has {len(values)} entries for {count} rows")

    @classmethod
    def from_tables(
        cls, tables: InteractionTables, graph: HeteroData | None = None, **kwargs: Any
    ) -> 'RunData':
        """Return the data of tables, with the texts and pictures of the items.

        Args:
            tables: The tables.
            graph: Their graph; :obj:`None` means ``tables[0]``. (default: :obj:`None`)
            **kwargs: Other arguments of the class.
        """
        about = {'report': tables.report, 'notes': tables.notes, **kwargs.pop('about', {})}
        graph = tables[0] if graph is None else graph
        items = items_of(tables)
        return cls(graph, tables.user_ids, tables.item_ids, items, about=about, **kwargs)

    @property
    def fingerprint(self) -> str:
        """A hash of the interactions, ids and features."""
        digest = hashlib.sha256()
        for ids in (self.user_ids, self.item_ids):
            digest.update(repr(list(ids)).encode())
        for store in (self._graph[ITEM], *self._graph.edge_stores):
            for name in sorted(store.keys()):
                if isinstance(store[name], torch.Tensor):
                    digest.update(f'{store._key} {name}'.encode())
                    digest.update(store[name].cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def data(self) -> HeteroData:
        """Return a shallow copy of the graph."""
        return copy(self._graph)

    def items(self) -> list[dict[str, Any]]:
        """Return ``'text'``, ``'image'`` and ``'fields'`` of each item."""
        return self._items

    def catalog(self) -> Catalog:
        """Return what is known of the items."""
        return catalog_of(self.item_ids, self._items)

    def copy_to(self, path: Path) -> None:
        """Write a dataset folder.

        Args:
            path: The folder.
        """
        with preparing(path):
            DatasetFolder.write(path, self)


def as_source(data: Any) -> Source:
    """Return what a run can be trained on.

    Args:
        data: The path of a folder that ``pyg-mmgef prepare`` wrote, a graph, or a data set of one
            graph. The texts and pictures of :class:`~pyg_mmgef.datasets.InteractionTables` without
            features are encoded by :class:`~pyg_mmgef.encoders.TitleEncoder` and
            :class:`~pyg_mmgef.encoders.PixelEncoder`.

    Raises:
        TypeError: If it is something else.
        ValueError: If a data set has another number of graphs than one.
    """
    if isinstance(data, str | os.PathLike):
        return DatasetFolder(Path(data).expanduser())
    if isinstance(data, RunData | DatasetFolder):
        return data
    if isinstance(data, InteractionTables):
        return _encoded(data)
    if isinstance(data, Dataset):
        if len(data) != 1:
            raise ValueError(f"'data' has {len(data)} graphs; give one of them")
        data = data[0]
    if not isinstance(data, HeteroData):
        raise TypeError(
            "'data' must be a HeteroData, a data set such as InteractionTables, or the path of a "
            f'prepared folder (got {type(data).__name__})'
        )
    return RunData(data)


def _encoded(tables: InteractionTables) -> RunData:
    """Return the data of tables, with features of the texts and pictures if there are none."""
    graph = tables[0]
    if item_modalities(graph)[0]:
        return RunData.from_tables(tables)
    encoders = {}
    if any(text is not None for text in tables.item_texts):
        titles = TitleEncoder().fit(tables.item_texts)
        graph[ITEM].x_text, graph[ITEM].has_text = titles.encode_texts(tables.item_texts)
        encoders['text'] = titles.fingerprint
    if any(tables.item_pictures):
        pixels = PixelEncoder()
        x, has = pixels.encode_images(tables.item_images)
        graph[ITEM].x_image, graph[ITEM].has_image = x, has
        encoders['image'] = pixels.fingerprint
    about = {'options': {f'{name}_encoder': 'small' for name in encoders}}
    return RunData.from_tables(tables, graph, encoders=encoders, about=about)


def _about(
    graph: HeteroData, encoders: Mapping[str, str], about: Mapping[str, Any]
) -> dict[str, Any]:
    x, has = features(graph)
    modalities = {
        name: {
            'encoder': encoders[name],
            'channels': x[name].size(1),
            'items': int(has[name].sum()),
            'unusable': about.get('unusable', {}).get(name, []),
        }
        for name in x
    }
    facts = {name: about[name] for name in about if name != 'unusable'}
    return {'options': {}, 'report': {}, 'notes': [], **facts, 'modalities': modalities}


def _ids_of(graph: HeteroData, node_type: str, count: int) -> IdMap:
    return IdMap(graph[node_type].get('id', torch.arange(count)))
