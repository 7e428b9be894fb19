"""Statistics of the item graphs."""

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.graph import knn_graph
from pyg_mmgef.report._numbers import percent
from pyg_mmgef.report._similar import relation_in_words
from pyg_mmgef.schema import interactions, item_modalities, num_users_items

__all__ = ['item_graphs']

MOST_PATHS = 50_000_000
MOST_ITEMS = 20_000
"""Of more items, the nearest ones by each modality would take too long."""


def item_graphs(train: HeteroData, k: int) -> list[tuple[str, str, str]]:
    """Return statistics of the item graphs, as rows (graph, statistic, value).

    Args:
        train: The train graph with its item graphs.
        k: Neighbours per item in the graphs of single modalities, whose overlap is reported.
    """
    num_items = num_users_items(train)[1]
    rows: list[tuple[str, str, str]] = []
    for source, relation, destination in train.edge_types:
        if source != destination:
            continue
        words = relation_in_words(relation)
        edge_index = train[source, relation, destination].edge_index
        degree = torch.bincount(edge_index[1], minlength=num_items)
        rows += [
            (words, 'connections', f'{edge_index.size(1):,}'),
            (words, 'products without neighbours', f'{int((degree == 0).sum()):,}'),
            (words, 'neighbours per product', f'{degree.float().mean():.1f}, most {degree.max()}'),
        ]
        share = _share_that_co_occurs(train, edge_index)
        if share is not None:
            rows.append((words, 'connections between products of one person', percent(share)))
    if num_items > MOST_ITEMS:
        return rows
    x, has = item_modalities(train)
    everything = torch.ones(num_items, dtype=torch.bool)
    graphs = {name: _modality_graph(x[name], has.get(name, everything), k) for name in x}
    names = [name for name in graphs if graphs[name].numel() > 0]
    for position, name in enumerate(names):
        for other in names[position + 1 :]:
            common = torch.isin(graphs[name], graphs[other]).float().mean()
            rows.append(
                (
                    f'{name}, {other}',
                    f'of the {k} nearest by {name}, also among the {k} nearest by {other}',
                    percent(float(common)),
                )
            )
    return rows


def _modality_graph(x: Tensor, has: Tensor, k: int) -> Tensor:
    """Return the kNN graph of one modality, each edge encoded as one number."""
    rows = has.nonzero().view(-1)
    if rows.numel() < 2:
        return torch.empty(0, dtype=torch.long)
    edge_index, weight = knn_graph(x[rows], min(k, rows.numel() - 1))
    edge_index = edge_index[:, weight > 0]
    return rows[edge_index[1]] * has.numel() + rows[edge_index[0]]


def _share_that_co_occurs(train: HeteroData, edge_index: Tensor) -> float | None:
    """Return the share of edges whose two items have a common user, :obj:`None` if too costly."""
    num_items = num_users_items(train)[1]
    user, item = interactions(train)
    users_of = torch.bincount(item, minlength=num_items)
    if edge_index.size(1) == 0 or int(users_of[edge_index[0]].sum()) > MOST_PATHS:
        return None
    order = item.argsort(stable=True)
    start = users_of.cumsum(0) - users_of
    count = users_of[edge_index[0]]
    edge = torch.repeat_interleave(count)
    offset = torch.arange(edge.numel()) - (count.cumsum(0) - count)[edge]
    visitor = user[order][start[edge_index[0]][edge] + offset]
    pairs = (user * num_items + item).sort().values
    wanted = visitor * num_items + edge_index[1][edge]
    at = torch.searchsorted(pairs, wanted).clamp(max=pairs.numel() - 1)
    is_common = torch.zeros(edge_index.size(1), dtype=torch.bool)
    is_common[edge[pairs[at] == wanted]] = True
    return float(is_common.float().mean())
