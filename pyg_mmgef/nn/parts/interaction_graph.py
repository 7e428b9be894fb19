import torch
from torch import Tensor

from pyg_mmgef.graph.weights import bipartite_normalize
from pyg_mmgef.sparse.csr_pair import CSRPair

__all__ = ['normalized_interactions', 'sample_interactions']


def normalized_interactions(
    edge_index: Tensor, size: tuple[int, int], dtype: torch.dtype
) -> CSRPair:
    """Return the graph user → item with LightGCN's weights.

    Args:
        edge_index: The interactions. Shape: ``[2, E]``.
        size: Number of users and of items.
        dtype: The type of the embeddings; half precision is summed in float32.
    """
    dtype = torch.promote_types(dtype, torch.float32)
    return CSRPair(edge_index, bipartite_normalize(edge_index, None, size, dtype=dtype), size)


def sample_interactions(
    edge_index: Tensor, size: tuple[int, int], num_kept: int, seed: int, epoch: int
) -> Tensor:
    r"""Return a sample of the interactions, in their order.

    One is kept with a probability proportional to :math:`1 / \sqrt{d_u d_i}`, so those of popular
    items and active users go first.

    Args:
        edge_index: The interactions; none stay none. Shape: ``[2, E]``.
        size: Number of users and of items.
        num_kept: How many to keep.
        seed: The sample depends on it, the epoch, the interactions and the kind of device alone.
        epoch: The epoch.
    """
    if edge_index.size(1) == 0:
        return edge_index
    weight = bipartite_normalize(edge_index, None, size)
    generator = torch.Generator(edge_index.device)
    generator.manual_seed(seed * 1_000_003 + epoch)
    return edge_index[:, _sample(weight, num_kept, generator)]


def _sample(weight: Tensor, num_kept: int, generator: torch.Generator) -> Tensor:
    r"""Return the increasing positions of a sample without replacement, by weight.

    The largest :math:`w_e / q_e` are kept, with :math:`q_e` exponentially distributed; so does
    :func:`torch.multinomial`, for at most :math:`2^{24}` weights.
    """
    q = torch.empty_like(weight).exponential_(generator=generator)
    return (weight / q).topk(num_kept, sorted=False).indices.sort().values
