"""A dataset with new rows behind its own: new users, new items, new interactions."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.datasets import IdMap, InteractionTables
from pyg_mmgef.runs._ids import alike
from pyg_mmgef.runs._new_items import FITTED_ON, encoded_like
from pyg_mmgef.runs.dataset_folder import features
from pyg_mmgef.runs.run_data import RunData, Source, as_source
from pyg_mmgef.schema import (
    INTERACTS,
    ITEM,
    USER,
    interactions,
    item_modalities,
    item_relations,
)
from pyg_mmgef.transforms._splitting import (
    Split,
    interactions_to_split,
    select_parts,
    select_parts_of_known,
)

__all__ = ['IN_TRAIN', 'extended', 'with_old_train']

IN_TRAIN = 'in_train'
"""The attribute that says which interactions an earlier model was trained on."""
_VALUES = 'time', 'rating'


def extended(old: Source, new: Any, trained_on: Tensor) -> RunData:
    """Return a dataset with the users, items and interactions of another one behind its own.

    Rows of users and items stay what they were. Of an interaction that both have, the new one
    stays. The fields of an item that both have take new values; its features stay, and so do the
    text and the picture of which they were made. New items without features are encoded as the old
    ones were.

    Args:
        old: The dataset.
        new: What :func:`~pyg_mmgef.fit` takes, with what is new. Ids say who is who.
        trained_on: The interactions of :obj:`old` that a model was trained on.
            Shape: ``[2, E]``.

    Raises:
        ValueError: If one has times or ratings and the other doesn't, modalities differ, ids are
            written in two ways, or the dataset brought item graphs of its own, which would lack the
            new items.
    """
    graph = old.data()
    if item_relations(graph):
        raise ValueError(
            f'the dataset brought the item graphs {", ".join(item_relations(graph))}, which lack '
            'new items; train a new run on a dataset with all items'
        )
    other = RunData.from_tables(new) if isinstance(new, InteractionTables) else as_source(new)
    new_graph = other.data()
    user_ids, user_row = _joined_ids(old.user_ids, other.user_ids, USER)
    item_ids, item_row = _joined_ids(old.item_ids, other.item_ids, ITEM)
    edges = interactions(new_graph)
    edges = torch.stack([user_row[edges[0]], item_row[edges[1]]])
    own = interactions(graph)
    stays = ~_among(own, edges, len(item_ids))
    out = HeteroData()
    out[USER].num_nodes, out[ITEM].num_nodes = len(user_ids), len(item_ids)
    out[INTERACTS].edge_index = torch.cat([own[:, stays], edges], dim=1)
    for name in _VALUES:
        stores = graph[INTERACTS], new_graph[INTERACTS]
        if edges.size(1) > 0 and len({name in store for store in stores}) == 2:
            which = 'new data have' if name in stores[1] else 'dataset has'
            raise ValueError(f'only the {which} a {name} of the interactions; give it for both')
        if name in stores[0]:
            own_values = stores[0][name][stays]
            new_values = stores[1].get(name, own_values[:0])
            out[INTERACTS][name] = torch.cat([own_values, new_values])
    out[INTERACTS][IN_TRAIN] = _among(out[INTERACTS].edge_index, trained_on, len(item_ids))

    new_rows = (item_row >= len(old.item_ids)).nonzero().view(-1)
    others = other.items()
    items = old.items() + [others[row] for row in new_rows.tolist()]
    for row, item in zip(item_row.tolist(), others, strict=True):
        if row < len(old.item_ids):
            items[row] = _updated(items[row], item)
    given = {
        name: x[new_rows]
        for name, x in item_modalities(new_graph)[0].items()
        if other.encoders[name] in (old.encoders.get(name), name)
    }
    for name, (x, has) in _features(old, graph, items[len(old.item_ids) :], given).items():
        key = 'x' if f'x_{name}' not in graph[ITEM] else f'x_{name}'
        out[ITEM][key] = x
        if key != 'x':
            out[ITEM][f'has_{name}'] = has
    about = {**old.about, FITTED_ON: old.about.get(FITTED_ON, len(old.item_ids))}
    del about['modalities']
    return RunData(out, user_ids, item_ids, items, old.encoders, about)


def with_old_train(data: HeteroData, split: Split) -> Split:
    """Return a split in which nothing that an earlier model was trained on is held out.

    Where users who came later are apart, they are so by what the new train part has.

    Args:
        data: The data before the split, with the attribute :data:`IN_TRAIN`, or without it.
        split: Its split.
    """
    if IN_TRAIN not in data[INTERACTS]:
        return split
    (user, item), kept = interactions_to_split(data)
    size = data[ITEM].num_nodes
    key, part = user * size + item, torch.full_like(user, -1)
    for number, one in enumerate(split):
        for name in ('edge_label_index', 'new_user_index'):
            if name in one[INTERACTS]:
                of_part = one[INTERACTS][name]
                part[torch.isin(key, of_part[0] * size + of_part[1])] = number
    in_train = data[INTERACTS][IN_TRAIN][kept]
    if not bool((in_train & (part > 0)).any()):
        return split
    select = select_parts_of_known if 'new_user_index' in split[1][INTERACTS] else select_parts
    return select(data, kept, part.masked_fill(in_train, 0))


def _features(
    old: Source, graph: HeteroData, new: Sequence[Mapping[str, Any]], given: Mapping[str, Tensor]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Return the features of the old items, then those of new ones.

    Features that another encoder has made are in another space. They aren't given, so that these
    items are encoded anew.
    """
    x, has = features(graph)
    new_x, new_has = encoded_like(
        old,
        x,
        len(new),
        [item['text'] for item in new],
        [item['image'] for item in new],
        given,
    )
    return {
        name: (torch.cat([x[name], new_x[name]]), torch.cat([has[name], new_has[name]]))
        for name in x
    }


def _updated(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return an item with new values where there are some; what its features were made of stays."""
    out = dict(old)
    for name in ('fields', 'kept'):
        given = {key: value for key, value in new.get(name, {}).items() if value is not None}
        out[name] = {**old.get(name, {}), **given}
    return out


def _joined_ids(old: IdMap, new: IdMap, end: str) -> tuple[IdMap, Tensor]:
    """Return the old ids, then those that are new; and the row of each of the new map."""
    known, given = alike(old, new, end)
    row_of = {own: row for row, own in enumerate(known)}
    rows = [row_of.setdefault(own, len(row_of)) for own in given]
    ids: list[Any] = list(row_of)
    return IdMap(ids), torch.tensor(rows, dtype=torch.long)


def _among(edges: Tensor, others: Tensor, num_items: int) -> Tensor:
    return torch.isin(edges[0] * num_items + edges[1], others[0] * num_items + others[1])
