from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.nn.inits import reset

from pyg_mmgef.nn.loss._checks import negative_scores
from pyg_mmgef.nn.models.light_gcn import LightGCN
from pyg_mmgef.nn.models.recommender import Recommender
from pyg_mmgef.nn.parts.embedding_parts import ItemPart, UserParts, neighbor_parts
from pyg_mmgef.nn.parts.item_graph_encoder import convolve
from pyg_mmgef.nn.parts.item_graphs import SIMILAR, ItemGraphs
from pyg_mmgef.nn.parts.modality_linear import ModalityLinear
from pyg_mmgef.nn.parts.sampled_batch import check_hops
from pyg_mmgef.nn.parts.triplet_batch import TripletBatch
from pyg_mmgef.schema import ITEM, item_modalities, item_relations, num_users_items
from pyg_mmgef.validate import check_graph_weights, check_not_negative, check_positive

__all__ = ['FREEDOM']


class FREEDOM(Recommender):
    r"""A frozen item graph beside LightGCN on a pruned user-item graph.

    .. math::
        \mathbf{A} &= \textstyle\sum_m \alpha_m \mathbf{A}^m \\
        \mathbf{h}^{(l+1)} &= \mathbf{A} \mathbf{h}^{(l)}, \qquad
        \mathbf{h} = \mathbf{h}^{(L')} \\
        \mathbf{z}_u &= \mathbf{z}^{\mathrm{LightGCN}}_u, \qquad
        \mathbf{z}_i = \mathbf{z}^{\mathrm{LightGCN}}_i + \mathbf{h}_i

    from `"A Tale of Two Graphs: Freezing and Denoising Graph Structures for Multimodal
    Recommendation" <https://arxiv.org/abs/2211.06924>`_, where the :math:`\mathbf{A}^m` are the
    kNN graphs of the modalities, :math:`\mathbf{h}^{(0)}` the id embeddings of the items, and
    LightGCN loses most interactions in each epoch, anew and those between the popular first (call
    :meth:`start_epoch`; only training prunes). The loss adds BPR on the projected features,

    .. math::
        \mathcal{L} = \mathcal{L}_{\mathrm{rank}} + \lambda \sum_m
        \operatorname{mean}_{(u, i, n)} \left[ -\ln \sigma \left( \mathbf{z}_u^{\top}
        \mathbf{p}^m_i - \mathbf{z}_u^{\top} \mathbf{p}^m_n \right) \right], \qquad
        \mathbf{p}^m_i = \mathbf{W}^m \mathbf{x}^m_i

    which reach no score directly. Data that brings item graphs but no features has no such terms.

    **Deviations.** The graphs are those of the data, as normalised there; the authors' code weighs
    all neighbours alike, keeps the item itself among them and gives the image 0.1, the text 0.9.
    Its features are fine-tuned, ours are fixed, and its projections have a bias, which cancels.
    A triplet with an item that lacks a modality is left out of that modality's term. A cold item,
    one without train interactions, takes no part with its id embedding, neither in its LightGCN
    part nor in what it sends to its neighbours, so nothing random reaches a score.
    :math:`\mathcal{L}_{\mathrm{rank}}` is the loss that is handed in, in the paper BPR.

    Args:
        num_users: Number of users.
        num_items: Number of items.
        in_channels: Channels of each modality ``data['item'].x_<modality>`` that the loss reads;
            :obj:`None` for none. (default: :obj:`None`)
        item_graphs: The weight :math:`\alpha_m` of each item graph ``data['item', relation,
            'item']``, keyed by its relation. They need not sum to 1.
        embedding_dim: Channels of the embeddings. (default: ``64``)
        num_layers: Layers of LightGCN. (default: ``2``)
        num_item_layers: Layers :math:`L'` over the item graph. (default: ``1``)
        edge_dropout: Share of the interactions that don't propagate in a training epoch, see
            :class:`LightGCN`. (default: ``0.8``)
        feature_loss_weight: The weight :math:`\lambda`; at 0 the features are not read.
            (default: ``1e-3``)
        seed: Seed of the edge dropout. (default: ``0``)
        sparse: Whether the embeddings get sparse gradients from sampled batches, see
            :class:`LightGCN`. (default: :obj:`False`)

    Raises:
        ValueError: If no graph is given, a number is out of range, or the data doesn't fit the
            model.
    """

    paper = 'https://arxiv.org/abs/2211.06924'
    year = 2023
    takes_batches = True
    reads_graphs = ('similar_<modality>',)

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        in_channels: Mapping[str, int] | None = None,
        item_graphs: Mapping[str, float],
        embedding_dim: int = 64,
        num_layers: int = 2,
        num_item_layers: int = 1,
        edge_dropout: float = 0.8,
        feature_loss_weight: float = 1e-3,
        seed: int = 0,
        sparse: bool = False,
    ) -> None:
        super().__init__(num_users, num_items)
        check_graph_weights('item_graphs', item_graphs)
        check_positive('num_item_layers', num_item_layers)
        check_not_negative('feature_loss_weight', feature_loss_weight)
        self.in_channels = None if in_channels is None else dict(in_channels)
        self.item_graphs = dict(item_graphs)
        self.embedding_dim, self.num_layers = embedding_dim, num_layers
        self.num_item_layers = num_item_layers
        self.edge_dropout, self.seed = edge_dropout, seed
        self.sparse = sparse
        self.feature_loss_weight = feature_loss_weight
        self.light_gcn = LightGCN(
            num_users,
            num_items,
            embedding_dim=embedding_dim,
            num_layers=num_layers,
            edge_dropout=edge_dropout,
            seed=seed,
            sparse=sparse,
        )
        self.lin: ModalityLinear | None = None
        if in_channels and feature_loss_weight > 0:
            self.lin = ModalityLinear(in_channels, embedding_dim, bias=False)
        self.graphs = ItemGraphs(num_items, item_graphs)
        self.reset_parameters()

    @classmethod
    def from_data(cls, data: HeteroData, **kwargs: Any) -> 'FREEDOM':
        """Build the model for :obj:`data`.

        The item graphs are those whose relation starts with ``similar_``, in equal parts that sum
        to 1, or else the graph ``'similar'`` alone; the modalities are those that the data has.

        Args:
            data: A graph in the schema of this package.
            **kwargs: Arguments of the constructor.

        Raises:
            ValueError: If the data has no such graph and :obj:`item_graphs` names none.
        """
        if 'item_graphs' not in kwargs:
            relations = _similar_relations(data)
            kwargs['item_graphs'] = {relation: 1 / len(relations) for relation in relations}
        x, _ = item_modalities(data)
        kwargs.setdefault('in_channels', {name: row.size(1) for name, row in x.items()})
        return cls(*num_users_items(data), **kwargs)

    def reset_parameters(self) -> None:
        """Initialise the parameters anew and clear the graphs."""
        for module in (self.light_gcn, self.graphs, self.lin):
            reset(module)

    @property
    def changes_with_epoch(self) -> bool:
        """Whether interactions are dropped."""
        return self.light_gcn.changes_with_epoch

    def start_epoch(self, data: HeteroData, epoch: int) -> None:
        """Sample the interactions of the epoch, see :meth:`LightGCN.start_epoch`."""
        super().start_epoch(data, epoch)
        self.light_gcn.start_epoch(data, epoch)

    def epoch_data(self, data: HeteroData) -> HeteroData:
        """Return the data with the interactions of the epoch, to sample batches from."""
        return self.light_gcn.epoch_data(data)

    def embed(
        self, data: HeteroData, users: Tensor | None, items: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return LightGCN's embeddings plus, for items, what the frozen item graph propagates."""
        graphs = ((ITEM, relation, ITEM) for relation in self.item_graphs)
        check_hops(data, graphs, self.num_item_layers)
        z_user, z_item, _, x_item = self.light_gcn.embed(data, users, items)
        h = self.zero_cold(data, x_item)
        (graph,) = self.graphs(data)
        h = convolve(graph, h, self.num_item_layers, items)
        return z_user, self.zero_cold(data, z_item, items) + h

    def split_user(self, data: HeteroData, user: int) -> UserParts:
        """Return the parts of LightGCN."""
        return self.light_gcn.split_user(data, user)

    def split_items(self, data: HeteroData, items: Tensor) -> list[ItemPart]:
        """Return the part of LightGCN, and what each neighbour sends."""
        _, z_item, *_ = self.light_gcn.embed(data, items[:0], items)
        (graph,) = self.graphs(data)
        h = self.zero_cold(data, self.light_gcn.item_embedding.weight)
        sent = convolve(graph, h, self.num_item_layers - 1)
        own = ItemPart.of_rows('collaborative', self.zero_cold(data, z_item, items))
        return [own, *neighbor_parts(self.graphs.by_name(data), sent, items)]

    def extra_loss(self, data: HeteroData, batch: TripletBatch, *embedded: Tensor) -> Tensor | None:
        """Return the feature terms."""
        if self.lin is None:
            return None
        z_user = batch.of_users(embedded[0])
        terms = []
        for x, has in self.lin(data, batch.item_rows):
            terms.append(_feature_bpr(z_user, batch.of_items(x), batch.of_items(has)))
        return self.feature_loss_weight * torch.stack(terms).sum()


def _feature_bpr(z_user: Tensor, x: tuple[Tensor, Tensor], has: tuple[Tensor, Tensor]) -> Tensor:
    """Return BPR on features of positives and negatives that both have the modality."""
    x_item, x_negative = x[0], _by_user(x[1])
    score = negative_scores(z_user, x_negative)
    margin = score - (z_user * x_item).sum(dim=-1, keepdim=True)
    is_read = has[0] & _by_user(has[1])[..., 0]
    return (F.softplus(margin) * is_read).sum() / is_read.sum().clamp(min=1)


def _by_user(x: Tensor) -> Tensor:
    """Return rows of negatives as ``[B, N, channels]`` or ``[1, N, channels]``."""
    return x[:, None] if x.dim() == 2 else x


def _similar_relations(data: HeteroData) -> list[str]:
    relations = item_relations(data)
    per_modality = [relation for relation in relations if relation.startswith(f'{SIMILAR}_')]
    if not per_modality and SIMILAR not in relations:
        raise ValueError(
            f"'data' has no item graph {SIMILAR!r} or '{SIMILAR}_<modality>' with weights (found "
            f'{data.edge_types}); add one with AddItemKNNGraph, or name others in item_graphs'
        )
    return per_modality or [SIMILAR]
