from typing import Any

import torch
from torch import Tensor
from torch_geometric.typing import OptTensor

from pyg_mmgef.graph.weights import symmetric_normalize
from pyg_mmgef.nn.conv.weighted_sum_conv import WeightedSumConv

__all__ = ['ItemGraphConv']


class ItemGraphConv(WeightedSumConv):
    r"""One linear convolution over a weighted item graph.

    .. math::
        \mathbf{h}^{\prime}_i = \sum_{j \in \mathcal{N}(i)} \hat{s}_{j \to i} \, \mathbf{h}_j

    without transformation or non-linearity: the item side of MM-GEF
    (`arXiv 2308.07222 <https://arxiv.org/abs/2308.07222>`_) and of LATTICE
    (`arXiv 2104.09036 <https://arxiv.org/abs/2104.09036>`_, Eq. 9).

    Args:
        normalize: Apply :func:`~pyg_mmgef.graph.symmetric_normalize` in each forward, for raw
            similarities. The graphs that this package's transforms add are normalised already,
            so it is off by default; without weights it sums the neighbours as they are.
            (default: :obj:`False`)
        **kwargs: Arguments of :class:`~torch_geometric.nn.conv.MessagePassing`.

    Shapes:
        - **input:** item features :math:`(|\mathcal{I}|, F)`, edge indices
          :math:`(2, |\mathcal{E}|)`, edge weights :math:`(|\mathcal{E}|)` *(optional)*
        - **output:** item features :math:`(|\mathcal{I}|, F)`

    Raises:
        ValueError: If ids, sizes or weights don't fit; see
            :meth:`~pyg_mmgef.nn.conv.weighted_sum_conv.WeightedSumConv.forward`.

    Example:
        >>> edge_index, edge_weight = torch.tensor([[1, 0], [0, 1]]), torch.tensor([0.5, 2.0])
        >>> ItemGraphConv()(torch.tensor([[1.0], [10.0]]), edge_index, edge_weight).view(-1)
        tensor([5., 2.])
    """

    def __init__(self, normalize: bool = False, **kwargs: Any) -> None:
        super().__init__(normalize, **kwargs)

    def normalize_weight(
        self,
        edge_index: Tensor,
        edge_weight: OptTensor,
        size: tuple[int, int],
        dtype: torch.dtype,
    ) -> Tensor:
        """Return :func:`~pyg_mmgef.graph.symmetric_normalize` of the weights."""
        if size[0] != size[1]:
            raise ValueError(
                f"'normalize' needs one set of items, not a graph from {size[0]} to {size[1]} nodes"
            )
        return symmetric_normalize(edge_index, edge_weight, size[0], dtype=dtype)
