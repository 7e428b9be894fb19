from collections.abc import Mapping
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn._unit_length import unit_length
from pyg_mmgef.nn.models.light_gcn import LightGCN
from pyg_mmgef.nn.models.recommender import Recommender
from pyg_mmgef.nn.parts._id_rows import select
from pyg_mmgef.nn.parts.modality_linear import ModalityLinear
from pyg_mmgef.nn.parts.tensor_cache import TensorCache
from pyg_mmgef.nn.parts.triplet_batch import TripletBatch
from pyg_mmgef.schema import interaction_edges, interactions
from pyg_mmgef.sparse.csr_pair import CSRPair
from pyg_mmgef.validate import check_fraction, check_not_negative, check_positive

__all__ = ['LGMRec']


class LGMRec(Recommender):
    r"""Ids and features propagated separately, and joined by hyperedges made from features.

    From `"LGMRec: Local and Global Graph Learning for Multimodal Recommendation"
    <https://arxiv.org/abs/2312.16400>`_, in three parts. The **collaborative** embeddings
    :math:`\mathbf{c}` are LightGCN's. The **modality** embeddings are the last layer :math:`L'` of
    the same propagation of projected features; a user starts with the mean of their items:

    .. math::
        \mathbf{h}^{m(0)}_i = \mathbf{W}^m \mathbf{x}^m_i, \qquad \mathbf{h}^{m(0)}_u =
        \frac{1}{d_u} \sum_{i \in \mathcal{N}(u)} \mathbf{h}^{m(0)}_i, \qquad
        \mathbf{H}^{m(l+1)}_{\mathcal{U}} = \hat{\mathbf{R}} \mathbf{H}^{m(l)}_{\mathcal{I}},
        \qquad \mathbf{H}^{m(l+1)}_{\mathcal{I}} = \hat{\mathbf{R}}^{\top}
        \mathbf{H}^{m(l)}_{\mathcal{U}}

    The **global** embeddings meet in a few learned hyperedges, to which features assign items, and
    items their users; training adds Gumbel noise :math:`\mathbf{g}` and drops assignments:

    .. math::
        \mathbf{a}^m_i &= \mathbf{V}^m \mathbf{x}^m_i, \qquad \mathbf{a}^m_u =
        \textstyle\sum_{i \in \mathcal{N}(u)} \mathbf{a}^m_i, \qquad \mathbf{b}^m_n =
        \operatorname{softmax} \left( (\mathbf{a}^m_n + \mathbf{g}) / \tau \right) \\
        \mathbf{Q}^{m(0)}_{\mathcal{I}} &= \mathbf{C}_{\mathcal{I}}, \qquad
        \mathbf{Q}^{m(l+1)}_{\mathcal{I}} = \mathbf{B}^m_{\mathcal{I}}
        {\mathbf{B}^m_{\mathcal{I}}}^{\top} \mathbf{Q}^{m(l)}_{\mathcal{I}}, \qquad
        \mathbf{Q}^{m(l+1)}_{\mathcal{U}} = \mathbf{B}^m_{\mathcal{U}}
        {\mathbf{B}^m_{\mathcal{I}}}^{\top} \mathbf{Q}^{m(l)}_{\mathcal{I}}

    For users and items :math:`n` alike, with :math:`\operatorname{unit}` the unit length,

    .. math::
        \mathbf{z}_n = \mathbf{c}_n + \textstyle\sum_m \operatorname{unit} (\mathbf{h}^m_n) +
        \alpha \operatorname{unit} \left( \textstyle\sum_m \mathbf{q}^m_n \right)

    The loss adds, for the users and the positives of a batch and each pair of modalities, the
    contrast of global embeddings, in which all users or items are the negatives:

    .. math::
        -\operatorname{mean}_n \ln \frac{\exp(\cos(\mathbf{q}^m_n, \mathbf{q}^{m'}_n) / \tau)}
        {\sum_{n'} \exp(\cos(\mathbf{q}^m_n, \mathbf{q}^{m'}_{n'}) / \tau)}, \qquad m < m'

    **Deviations.** The authors' code adds the noise in evaluation too, so its scores change from
    call to call; ours is of training alone. Its contrast is a sum over the batch, with the weight
    ``1e-4``; ours is a mean, so 0.2 is the same for their 2048 triplets. It has two modalities. An
    item that lacks one belongs to no hyperedge of it. A cold item, one without train interactions,
    has :math:`\mathbf{c}_i = \mathbf{0}`, since its id embedding is random; what it has is from
    hyperedges.

    Args:
        num_users: Number of users.
        num_items: Number of items.
        in_channels: Channels of each modality ``data['item'].x_<modality>``.
        embedding_dim: Channels of the embeddings. (default: ``64``)
        num_layers: Layers of LightGCN. (default: ``2``)
        num_modality_layers: Layers :math:`L'` that propagate features. (default: ``2``)
        num_hyperedges: Hyperedges of each modality. (default: ``4``)
        num_hyper_layers: Layers over the hyperedges. (default: ``1``)
        global_weight: The weight :math:`\alpha`. (default: ``0.3``)
        dropout: Share of the assignments to hyperedges that training drops. (default: ``0.5``)
        contrast_weight: The weight of the added loss, which needs memory for the scores of a batch
            with all users and all items. (default: ``0.2``)
        temperature: The temperature :math:`\tau`. (default: ``0.2``)

    Raises:
        ValueError: If a number is out of range, or the data doesn't fit the model.
    """

    paper = 'https://arxiv.org/abs/2312.16400'
    year = 2024

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        in_channels: Mapping[str, int],
        embedding_dim: int = 64,
        num_layers: int = 2,
        num_modality_layers: int = 2,
        num_hyperedges: int = 4,
        num_hyper_layers: int = 1,
        global_weight: float = 0.3,
        dropout: float = 0.5,
        contrast_weight: float = 0.2,
        temperature: float = 0.2,
    ) -> None:
        super().__init__(num_users, num_items)
        check_not_negative('num_modality_layers', num_modality_layers, integer=True)
        check_positive('num_hyperedges', num_hyperedges)
        check_positive('num_hyper_layers', num_hyper_layers)
        check_not_negative('global_weight', global_weight)
        check_fraction('dropout', dropout, '[0, 1)')
        check_not_negative('contrast_weight', contrast_weight)
        check_positive('temperature', temperature, integer=False)
        self.in_channels = dict(in_channels)
        self.embedding_dim, self.num_layers = embedding_dim, num_layers
        self.num_modality_layers = num_modality_layers
        self.num_hyperedges, self.num_hyper_layers = num_hyperedges, num_hyper_layers
        self.global_weight, self.dropout = global_weight, dropout
        self.contrast_weight, self.temperature = contrast_weight, temperature
        self.light_gcn = LightGCN(
            num_users, num_items, embedding_dim=embedding_dim, num_layers=num_layers
        )
        self.lin = ModalityLinear(in_channels, embedding_dim, bias=False)
        self.assign = ModalityLinear(in_channels, num_hyperedges, bias=False)
        self._cache = TensorCache()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise the parameters anew and clear the graphs."""
        self.light_gcn.reset_parameters()
        for linear in (self.lin, self.assign):
            linear.reset_parameters()
            for weight in linear.parameters():
                torch.nn.init.xavier_uniform_(weight)
        self._cache.clear()

    def embed(
        self, data: HeteroData, users: Tensor | None, items: Tensor | None
    ) -> tuple[Tensor, ...]:
        r"""Return the embeddings, and :math:`\mathbf{Q}` of all users and all items.

        The latter have the shape ``[num_modalities, num_nodes, channels]``.
        """
        z_user, c_item, *_ = self.light_gcn.embed(data, users, None)
        c_item = self.zero_cold(data, c_item)
        q_user, q_item = self._global(data, c_item)
        z_item = select(c_item, items)
        for h_user, h_item in self._modality(data, users, items):
            z_user, z_item = z_user + unit_length(h_user), z_item + unit_length(h_item)
        z_user = z_user + self.global_weight * unit_length(select(q_user.sum(dim=0), users))
        z_item = z_item + self.global_weight * unit_length(select(q_item.sum(dim=0), items))
        return z_user, z_item, q_user, q_item

    def _modality(
        self, data: HeteroData, users: Tensor | None, items: Tensor | None
    ) -> list[tuple[Tensor, Tensor]]:
        r"""Return :math:`\mathbf{H}^m` of some users and items for each modality."""
        graph, histories = self.light_gcn.interaction_graph(data), self._histories(data)
        degree = histories.num_incoming.clamp(min=1)[:, None]
        out = []
        for h_item, _ in self.lin(data):
            h_user = histories.matmul(h_item) / degree
            for _ in range(self.num_modality_layers):
                h_user, h_item = graph.t().matmul(h_item), graph.matmul(h_user)
            out.append((select(h_user, users), select(h_item, items)))
        return out

    def _global(self, data: HeteroData, c_item: Tensor) -> tuple[Tensor, Tensor]:
        r"""Return :math:`\mathbf{Q}` of all users and items, a matrix for each modality."""
        out_user, out_item = [], []
        for a_item, has in self.assign(data):
            b_user = self._softmax(self._histories(data).matmul(a_item))
            b_item = torch.where(has, self._softmax(a_item), 0.0)
            b_user, b_item = (F.dropout(b, self.dropout, self.training) for b in (b_user, b_item))
            q_item = c_item
            for _ in range(self.num_hyper_layers):
                hyperedges = b_item.t() @ q_item
                q_user, q_item = b_user @ hyperedges, b_item @ hyperedges
            out_user.append(q_user)
            out_item.append(q_item)
        return torch.stack(out_user), torch.stack(out_item)

    def _softmax(self, a: Tensor) -> Tensor:
        """Return the assignments to hyperedges."""
        if self.training:
            return F.gumbel_softmax(a, self.temperature, dim=1)
        return (a / self.temperature).softmax(dim=1)

    def _histories(self, data: HeteroData) -> CSRPair:
        """Return the graph item → user of the interactions, without weights."""

        def build() -> CSRPair:
            return CSRPair(interactions(data), size=(self.num_users, self.num_items)).t()

        return self._cache.get([interaction_edges(data)], build)

    def extra_loss(self, data: HeteroData, batch: TripletBatch, *embedded: Tensor) -> Tensor | None:
        """Return the contrast between the modalities, of users and of positives."""
        if self.contrast_weight == 0 or len(self.lin.in_channels) < 2:
            return None
        *_, q_user, q_item = embedded
        terms = [
            _contrast(q[a], q[b], ids, self.temperature)
            for q, ids in ((q_user, batch.users), (q_item, batch.items))
            for a, b in combinations(range(q.size(0)), 2)
        ]
        return self.contrast_weight * torch.stack(terms).sum()


def _contrast(a: Tensor, b: Tensor, ids: Tensor, temperature: float) -> Tensor:
    """Return the mean over the ids of the cross-entropy of the own row among all rows."""
    count = ids.bincount(minlength=a.size(0))
    rows = count.nonzero().view(-1)  # The batch repeats ids; each is compared once.
    score = unit_length(select(a, rows)) @ unit_length(b).t() / temperature
    term = F.cross_entropy(score, rows, reduction='none')
    return (count[rows] * term).sum() / ids.numel()
