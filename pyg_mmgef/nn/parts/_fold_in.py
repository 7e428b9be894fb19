"""From the tensors of a trained model to the arrays that embed users it was not trained on."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn.parts.content_map import ContentMap
from pyg_mmgef.nn.parts.histories import histories
from pyg_mmgef.schema import interactions
from pyg_mmgef.sparse.csr_pair import CSRPair

__all__ = ['as_array', 'history_inputs', 'map_to_users', 'propagated_rows']


def as_array(x: Tensor, dtype: torch.dtype = torch.float32) -> NDArray[np.floating]:
    """Return a tensor as a NumPy array on its own."""
    return x.detach().to('cpu', dtype, copy=True).numpy()


def propagated_rows(
    data: HeteroData, graph: CSRPair, x_user: Tensor, x_item: Tensor, num_layers: int
) -> Tensor:
    r"""Return what each item gives to a new user of :func:`~pyg_mmgef.sparse.layer_mean`.

    .. math::
        \mathbf{v}_j = \frac{1}{(L + 1) \sqrt{d_j}} \sum_{l=0}^{L-1} \mathbf{x}^{(l)}_j

    so that :math:`\sum_{j \in \mathcal{N}(u)} \mathbf{v}_j / \sqrt{n}` is the embedding of a user
    with :math:`n` items that receives but doesn't send: its embedding of layer 0 is zero, and the
    degrees :math:`d_j` of the items are those of the data. Without layers, or without
    interactions, it is zero.

    Args:
        data: The train graph.
        graph: The normalised graph user → item.
        x_user: The users' embeddings of layer 0. Shape: ``[num_users, channels]``.
        x_item: Those of the items. Shape: ``[num_items, channels]``.
        num_layers: Number of layers :math:`L`.

    Returns:
        Shape: ``[num_items, channels]``.
    """
    total = torch.zeros_like(x_item)
    for layer in range(num_layers):
        if layer > 0:
            x_user, x_item = graph.t().matmul(x_item), graph.matmul(x_user)
        total = total + x_item
    degree = interactions(data)[1].bincount(minlength=graph.size[1])[:, None].to(total.dtype)
    return torch.where(degree > 0, total / degree.clamp(min=1).sqrt(), 0.0) / (num_layers + 1)


def map_to_users(data: HeteroData, z_user: Tensor, z_item: Tensor) -> ContentMap:
    r"""Return the linear map from histories to embeddings that the users of the data teach.

    .. math::
        \mathbf{z}_u = \bar{\mathbf{z}} + \mathbf{W}^{\top} (\mathbf{m}_u - \bar{\mathbf{m}}),
        \qquad \mathbf{m}_u = \frac{1}{\sqrt{n_u}} \sum_{j \in \mathcal{N}(u)} \mathbf{z}_j

    Users without items teach nothing.

    Args:
        data: The train graph.
        z_user: The embeddings of the users. Shape: ``[num_users, channels]``.
        z_item: The embeddings of the items. Shape: ``[num_items, channels]``.

    Raises:
        ValueError: If there are no interactions.
    """
    x, has_items = history_inputs(data, z_item)
    if not bool(has_items.any()):
        raise ValueError("'data' has no interactions, so there is no user to learn from")
    return ContentMap().fit(x[has_items], z_user[has_items])


def history_inputs(data: HeteroData, z_item: Tensor) -> tuple[Tensor, Tensor]:
    r"""Return the :math:`\mathbf{m}_u` of :func:`map_to_users`, and which users have items.

    Args:
        data: The train graph.
        z_item: The embeddings of the items. Shape: ``[num_items, channels]``.

    Returns:
        Shapes: ``[num_users, channels]``, float64, and ``[num_users]``, bool.
    """
    to_user = histories(data)
    count = to_user.num_incoming
    x = to_user.matmul(z_item.double()) / count.clamp(min=1).sqrt()[:, None]
    return x, count > 0
