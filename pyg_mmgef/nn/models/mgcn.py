from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import Linear, ModuleList, Sequential, Tanh
from torch_geometric.data import HeteroData
from torch_geometric.nn.inits import reset

from pyg_mmgef.nn.loss.info_nce import repeated_info_nce
from pyg_mmgef.nn.models.light_gcn import LightGCN
from pyg_mmgef.nn.models.recommender import Recommender
from pyg_mmgef.nn.parts._id_rows import select
from pyg_mmgef.nn.parts.item_graph_encoder import convolve
from pyg_mmgef.nn.parts.item_graphs import ItemGraphs
from pyg_mmgef.nn.parts.modality_linear import ModalityLinear
from pyg_mmgef.nn.parts.triplet_batch import TripletBatch
from pyg_mmgef.validate import check_not_negative, check_positive

__all__ = ['MGCN']


class MGCN(Recommender):
    r"""Features gated by behaviour, propagated over a graph per modality, fused by behaviour.

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
    needs_features = True
    reads_graphs = ('similar_<modality>',)

    def __init__(
        self,
        num_users: int,
        num_items: int,
        in_channels: Mapping[str, int],
        *,
        embedding_dim: int = 64,
        num_layers: int = 2,
        num_item_layers: int = 1,
        contrast_weight: float = 1e-2,
        temperature: float = 0.2,
    ) -> None:
        super().__init__(num_users, num_items)
        check_positive('num_item_layers', num_item_layers)
        check_not_negative('contrast_weight', contrast_weight)
        check_positive('temperature', temperature, integer=False)
        self.num_item_layers = num_item_layers
        self.contrast_weight = contrast_weight
        self.temperature = temperature
        self.light_gcn = LightGCN(num_users, num_items, embedding_dim, num_layers)
        self.lin = ModalityLinear(in_channels, embedding_dim)
        self.gate = ModuleList([Linear(embedding_dim, embedding_dim) for _ in in_channels])
        self.query = Sequential(
            Linear(embedding_dim, embedding_dim), Tanh(), Linear(embedding_dim, 1, bias=False)
        )
        self.preference = ModuleList([Linear(embedding_dim, embedding_dim) for _ in in_channels])
        self.graphs = ItemGraphs(num_items, [_relation(name) for name in in_channels])
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise the parameters anew and clear the graphs."""
        for module in (self.light_gcn, self.lin, self.gate, self.query, self.preference):
            reset(module)
        self.graphs.reset_parameters()

    def embed(
        self, data: HeteroData, users: Tensor | None, items: Tensor | None
    ) -> tuple[Tensor, ...]:
        r"""Return the embeddings, and :math:`\mathbf{c}` and :math:`\mathbf{f}` of both sides."""
        content_user, content_item = self.light_gcn.embed(data, users, items)
        content_item = self.zero_cold(data, content_item, items)
        views = self._modality_views(data)
        to_users = self.light_gcn.interaction_graph(data).t()
        fused_user = self._fuse([to_users.matmul(h, rows=users) for h in views], content_user)
        fused_item = self._fuse([select(h, items) for h in views], content_item)
        z_user, z_item = content_user + fused_user, content_item + fused_item
        return z_user, z_item, content_user, fused_user, content_item, fused_item

    def extra_loss(self, data: HeteroData, batch: TripletBatch, *embedded: Tensor) -> Tensor | None:
        """Return the contrast between content and fused features, of users and of positives."""
        *_, content_user, fused_user, content_item, fused_item = embedded
        # The batch repeats ids; comparing each once takes a fraction of the time.
        count_user, count_item = batch.counts()
        contrast = repeated_info_nce(fused_user, content_user, self.temperature, count_user)
        contrast = contrast + repeated_info_nce(
            fused_item, content_item, self.temperature, count_item
        )
        return self.contrast_weight * contrast

    def _modality_views(self, data: HeteroData) -> list[Tensor]:
        r"""Return :math:`\mathbf{H}^m` of all items for each modality."""
        embedding = self.zero_cold(data, self.light_gcn.item_embedding.weight)
        views = []
        for (x, has), gate, graph in zip(self.lin(data), self.gate, self.graphs(data), strict=True):
            h = torch.where(has, embedding * gate(x).sigmoid(), 0.0)
            views.append(convolve(graph, h, self.num_item_layers))
        return views

    def _fuse(self, views: list[Tensor], content: Tensor) -> Tensor:
        r"""Return :math:`\mathbf{f}`."""
        h = torch.stack(views)
        shared = (self.query(h).softmax(dim=0) * h).sum(dim=0)
        prefers = torch.stack([lin(content).sigmoid() for lin in self.preference])
        own = (prefers * (h - shared)).sum(dim=0)
        return (shared + own) / (len(views) + 1)

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}({self.num_users}, {self.num_items}, '
            f'{self.lin.in_channels}, embedding_dim={self.light_gcn.embedding_dim})'
        )


def _relation(modality: str) -> str:
    return f'similar_{modality}'
