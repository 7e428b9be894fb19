from typing import Any

import torch
from torch import Tensor
from torch_geometric.typing import OptTensor

from pyg_mmgef.graph.weights import bipartite_normalize
from pyg_mmgef.nn.conv.weighted_sum_conv import WeightedSumConv

__all__ = ['BipartiteLGConv']


class BipartiteLGConv(WeightedSumConv):
    r"""LightGCN's graph convolution on a bipartite graph, from one node type to the other.

    .. math::
        \mathbf{x}^{\prime}_i = \sum_{j \in \mathcal{N}(i)}
        \frac{w_{j \to i}}{\sqrt{d_j d_i}} \, \mathbf{x}_j

    from `"LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation"
    <https://arxiv.org/abs/2002.02126>`_ (Eq. 3), where the degrees :math:`d_j` and :math:`d_i`
    are counted on their own sides of the graph. On an undirected homogeneous graph it equals
    :class:`torch_geometric.nn.LGConv`, which doesn't take bipartite inputs.

    For training, pass the graph as a :class:`~pyg_mmgef.sparse.CSRPair` with normalised weights
    and ``normalize=False``: normalisation and sorting are then done once.

    Args:
        normalize: Normalise by degrees in each forward; :obj:`False` sums the edge weights as
            they are. (default: :obj:`True`)
        **kwargs: Arguments of :class:`~torch_geometric.nn.conv.MessagePassing`.

    Shapes:
        - **input:** node features :math:`(|\mathcal{V}|, F)` or
          :math:`((|\mathcal{V}_s|, F), (|\mathcal{V}_t|, *))` if bipartite, edge indices
          :math:`(2, |\mathcal{E}|)`, edge weights :math:`(|\mathcal{E}|)` *(optional)*
        - **output:** node features :math:`(|\mathcal{V}|, F)` or :math:`(|\mathcal{V}_t|, F)`

    Raises:
        ValueError: If ids, sizes or weights don't fit; see
            :meth:`~pyg_mmgef.nn.conv.weighted_sum_conv.WeightedSumConv.forward`.

    Example:
        >>> conv = BipartiteLGConv()
        >>> x_user, x_item = torch.ones(2, 8), torch.ones(3, 8)
        >>> conv((x_user, x_item), torch.tensor([[0, 1, 1], [0, 0, 2]])).shape
        torch.Size([3, 8])
    """

    def __init__(self, normalize: bool = True, **kwargs: Any) -> None:
        super().__init__(normalize, **kwargs)

    def normalize_weight(
        self,
        edge_index: Tensor,
        edge_weight: OptTensor,
        size: tuple[int, int],
        dtype: torch.dtype,
    ) -> Tensor:
        """Return :func:`~pyg_mmgef.graph.bipartite_normalize` of the weights."""
        return bipartite_normalize(edge_index, edge_weight, size, dtype=dtype)
