from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import Linear, ModuleList, Sequential, Tanh
from torch_geometric.data import HeteroData

from pyg_mmgef.nn.models._gated_views import GatedViewsModel

__all__ = ['MGCN']


class MGCN(GatedViewsModel):
    r"""Id embeddings gated by features, propagated over a graph per modality, and fused.

    From `"Multi-View Graph Convolutional Network for Multimedia Recommendation"
    <https://arxiv.org/abs/2308.03588>`_, in three steps. The **purifier** gates the id embedding
    of an item, what its behaviour says, by the features of each modality:

    .. math::
        \mathbf{p}^m_i = \mathbf{e}_i \odot \sigma \left( \mathbf{W}^m_2 (\mathbf{W}^m_1
        \mathbf{x}^m_i + \mathbf{b}^m_1) + \mathbf{b}^m_2 \right)

    The **views** are LightGCN, whose embeddings of users and items are the content
    :math:`\mathbf{c}`, and the frozen kNN graph :math:`\mathbf{A}^m` of each modality; users
    gather those of their items, over the normalised interactions :math:`\hat{\mathbf{R}}`:

    .. math::
        \mathbf{H}^m_{\mathcal{I}} = (\mathbf{A}^m)^{L'} \mathbf{P}^m, \qquad
        \mathbf{H}^m_{\mathcal{U}} = \hat{\mathbf{R}} \mathbf{H}^m_{\mathcal{I}}

    The **fuser** takes, for users and items :math:`v` alike, what the :math:`M` modalities share,
    by attention, and what each has of its own, as far as the behaviour prefers it:

    .. math::
        \mathbf{s}_v &= \textstyle\sum_m a^m_v \mathbf{h}^m_v, \qquad
        a^m_v = \operatorname{softmax}_m \left( \mathbf{q}^{\top} \tanh(\mathbf{W}_3
        \mathbf{h}^m_v + \mathbf{b}_3) \right) \\
        \mathbf{f}_v &= \tfrac{1}{M + 1} \left[ \mathbf{s}_v + \textstyle\sum_m
        \sigma (\mathbf{W}^m_4 \mathbf{c}_v + \mathbf{b}^m_4) \odot
        (\mathbf{h}^m_v - \mathbf{s}_v) \right], \qquad
        \mathbf{z}_v = \mathbf{c}_v + \mathbf{f}_v

    The loss adds :func:`~pyg_mmgef.nn.loss.info_nce` between :math:`\mathbf{f}` and
    :math:`\mathbf{c}`, once for the users of a batch and once for the positives.

    **Deviations.** The graphs are those of the data, as normalised there; the authors' code keeps
    the item itself among its neighbours. It fine-tunes the features, which are fixed here. An item
    that lacks a modality sends nothing in that view. A cold item, one without train interactions,
    has no content, :math:`\mathbf{c}_i = \mathbf{0}`, and sends nothing, since its id embedding
    is random; what remains is what its neighbours send.

    Args:
        num_users: Number of users.
        num_items: Number of items.
        in_channels: Channels of each modality ``data['item'].x_<modality>``. Its kNN graph is
            ``data['item', 'similar_<modality>', 'item']``.
        embedding_dim: Channels of the embeddings. (default: ``64``)
        num_layers: Layers of LightGCN. (default: ``2``)
        num_item_layers: Layers :math:`L'` over the item graphs. (default: ``1``)
        contrast_weight: The weight of the added loss. (default: ``1e-2``)
        temperature: The temperature of the added loss. (default: ``0.2``)

    Raises:
        ValueError: If a number is out of range, or the data doesn't fit the model.
    """

    paper = 'https://arxiv.org/abs/2308.03588'
    year = 2023

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        in_channels: Mapping[str, int],
        embedding_dim: int = 64,
        num_layers: int = 2,
        num_item_layers: int = 1,
        contrast_weight: float = 1e-2,
        temperature: float = 0.2,
    ) -> None:
        super().__init__(
            num_users,
            num_items,
            in_channels=in_channels,
            embedding_dim=embedding_dim,
            num_layers=num_layers,
            num_item_layers=num_item_layers,
            contrast_weight=contrast_weight,
            temperature=temperature,
        )
        self.gate = ModuleList([Linear(embedding_dim, embedding_dim) for _ in in_channels])
        self.query = Sequential(
            Linear(embedding_dim, embedding_dim), Tanh(), Linear(embedding_dim, 1, bias=False)
        )
        self.preference = ModuleList([Linear(embedding_dim, embedding_dim) for _ in in_channels])
        self.reset_parameters()

    def _views(self, data: HeteroData) -> list[Tensor]:
        r"""Return :math:`\mathbf{H}^m` of all items for each modality."""
        return self._propagated(data, self.lin(data), self.graphs(data))

    def _fuse(self, views: list[Tensor], content: Tensor) -> Tensor:
        r"""Return :math:`\mathbf{f}`."""
        h = torch.stack(views)
        shared = (self.query(h).softmax(dim=0) * h).sum(dim=0)
        prefers = torch.stack([lin(content).sigmoid() for lin in self.preference])
        own = (prefers * (h - shared)).sum(dim=0)
        return (shared + own) / (len(views) + 1)
