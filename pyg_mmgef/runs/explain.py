import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import IALS, LightGCN, Recommender
from pyg_mmgef.sparse import layer_mean

__all__ = ['explaining_part', 'shares_of_scores']


@torch.inference_mode()
def explaining_part(model: Recommender, data: HeteroData, z_user: Tensor) -> LightGCN | IALS | None:
    """Return the part of a model that gives its user embeddings, if it explains scores.

    The part is an IALS model itself, or the LightGCN inside a model with the same user embeddings.
    :func:`shares_of_scores` then explains the model's scores, whatever its item embeddings. For
    other models the result is :obj:`None`.

    Args:
        model: The model.
        data: The train graph.
        z_user: The model's embeddings of all users. Shape: ``[num_users, channels]``.
    """
    if isinstance(model, IALS):
        return model
    part = getattr(model, 'light_gcn', model)
    if not isinstance(part, LightGCN) or part.num_users != z_user.size(0):
        return None
    own, _ = part(data)
    return part if own.shape == z_user.shape and torch.allclose(own, z_user) else None


@torch.inference_mode()
def shares_of_scores(
    part: LightGCN | IALS, data: HeteroData, user: int, z_item: Tensor
) -> tuple[Tensor, Tensor]:
    r"""Return how much each interaction of a user adds to the scores of some items.

    LightGCN's embedding of a user is, with the weights :math:`w_{uj}` of the user's interactions,

    .. math::
        \mathbf{z}_u = \frac{1}{L + 1} \Big( \mathbf{x}_u + \sum_j w_{uj} \sum_{l=0}^{L-1}
        \mathbf{x}^{(l)}_j \Big)

    so a score :math:`\mathbf{z}_u^{\top} \mathbf{z}_i` is exactly the sum of a share for each item
    :math:`j` of the user and a rest, from the user's own parameters. For IALS, see
    :meth:`~pyg_mmgef.nn.IALS.user_parts`; there is no rest.

    Args:
        part: The model, or the part of it that gives the embeddings of the users.
        data: The train graph.
        user: The user's row.
        z_item: Embeddings of the items that are scored. Shape: ``[N, channels]``.

    Returns:
        The rows of the user's items, of shape ``[M]``, and their shares, of shape ``[N, M]``.
    """
    if isinstance(part, IALS):
        items, parts = part.user_parts(data, user)
        return items, z_item @ parts.to(z_item.dtype).t()
    light_gcn = part
    pair = light_gcn.interaction_graph(data)
    matrix = pair.t().matrix(z_item.dtype)  # A row per user.
    start, end = matrix.crow_indices()[user : user + 2].tolist()
    items, weight = matrix.col_indices()[start:end], matrix.values()[start:end]
    num_layers = light_gcn.num_layers
    if num_layers == 0:  # Without layers no interaction adds anything.
        return items, z_item.new_zeros(z_item.size(0), items.numel())
    parameters = light_gcn.user_embedding.weight, light_gcn.item_embedding.weight
    _, mean = layer_mean(pair, *parameters, num_layers - 1)
    return items, z_item @ (mean[items] * weight[:, None]).t() * (num_layers / (num_layers + 1))
