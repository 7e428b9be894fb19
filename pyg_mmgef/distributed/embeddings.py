"""Embeddings of all users and items by a sharded model, of a shop that is spread over processes."""

import torch
from torch import Tensor

from pyg_mmgef.distributed._exchange import fetch_rows, starts_of, sum_over
from pyg_mmgef.distributed.propagation import ShardedInteractions, sharded_layer_mean
from pyg_mmgef.distributed.sharded_data import ShardedData
from pyg_mmgef.distributed.sharded_model import NODE_TYPE_OF, ShardedModel
from pyg_mmgef.loader._expand import expansions_of
from pyg_mmgef.schema import ITEM, USER
from pyg_mmgef.validate import check_positive

__all__ = ['sharded_embeddings']


@torch.no_grad()
def sharded_embeddings(
    model: ShardedModel, data: ShardedData, *, batch_size: int = 2**14
) -> tuple[Tensor, Tensor]:
    r"""Return the embeddings of the users and the items of this process, from all interactions.

    Those of a model that takes batches are

    .. math::
        \mathbf{z} = \mathbf{z}' + \frac{1}{L + 1} \sum_{l=1}^{L} \hat{\mathbf{A}}^l \mathbf{x}

    with the id embeddings :math:`\mathbf{x}`, the normalised interactions
    :math:`\hat{\mathbf{A}}`, and :math:`\mathbf{z}'`, what the model makes of item graphs, features
    and :math:`\mathbf{x}` where nobody has interacted with anything. So the sum is propagated once
    by :func:`sharded_layer_mean`, and :math:`\mathbf{z}'` needs no neighbours but those in the item
    graphs. The result equals that of the whole model in one process to rounding, without its
    ``content_map``.

    All processes must call it together. A process holds a few matrices as large as its own
    embeddings.

    Args:
        model: The model, in evaluation mode.
        data: The train data.
        batch_size: Users or items at a time. (default: ``16384``)

    Returns:
        Shapes: ``[len(data.users), channels]`` and ``[len(data.items), channels]``.

    Raises:
        ValueError: If :obj:`batch_size` isn't positive, or the model and the data don't fit.
    """
    check_positive('batch_size', batch_size)
    num_layers: int = getattr(model.model, 'num_layers', 0)
    z_user, z_item = _without_interactions(model, data, batch_size)
    if num_layers == 0:
        return z_user, z_item
    x_user, x_item = _id_embeddings(model, data)
    edge_index = data.interactions.edge_index.to(model.device)
    graph = ShardedInteractions(edge_index, len(data.users), len(data.items), group=data.group)
    sums = sharded_layer_mean(graph, x_user, x_item, num_layers)
    share = 1 / (num_layers + 1)
    z_user += sums[0].sub_(x_user, alpha=share)
    z_item += sums[1].sub_(x_item, alpha=share)
    return z_user, z_item


def _without_interactions(
    model: ShardedModel, data: ShardedData, batch_size: int
) -> tuple[Tensor, Tensor]:
    """Return what the model gives users and items without any interaction, batch by batch."""
    num_item_layers: int = getattr(model.model, 'num_item_layers', 0)
    expansions = expansions_of([], num_item_layers, data.relations)
    device = model.device
    most = torch.tensor(max(len(data.users), len(data.items)), device=device)
    most = sum_over(most, data.group, torch.distributed.ReduceOp.MAX)
    parts: tuple[list[Tensor], list[Tensor]] = ([], [])
    for first in range(0, int(most), batch_size):
        user, item = (ids[first : first + batch_size] for ids in (data.users, data.items))
        seeds = {USER: _as_ids(user), ITEM: _as_ids(item)}
        batch = data.sample(seeds, expansions).to(device)
        own = (torch.arange(len(ids), device=device) for ids in (user, item))
        for part, z in zip(parts, model.embed(batch, *own), strict=True):
            part.append(z)
    return torch.cat(parts[0]), torch.cat(parts[1])


def _id_embeddings(model: ShardedModel, data: ShardedData) -> tuple[Tensor, Tensor]:
    """Return the id embeddings of the users and items of this process.

    The ranges of a table are not those of the data, where its rows don't divide evenly.
    """
    out = {}
    for name, table in model.tables.items():
        node_type = NODE_TYPE_OF[name.split('.')[-2]]
        starts = starts_of(len(table.rows), model.device, data.group)
        own = _as_ids(data.users if node_type == USER else data.items).to(model.device)
        out[node_type] = fetch_rows(table.rows, own, starts, data.group)
    return out[USER], out[ITEM]


def _as_ids(ids: range) -> Tensor:
    return torch.arange(ids.start, ids.stop)
