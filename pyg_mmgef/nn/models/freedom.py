import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Module
from torch_geometric.data import HeteroData

from pyg_mmgef.graph.weights import merge_graphs
from pyg_mmgef.nn.loss._checks import negative_scores
from pyg_mmgef.nn.models.light_gcn import LightGCN
from pyg_mmgef.nn.models.recommender import Recommender
from pyg_mmgef.nn.parts._distinct import distinct, restore, select
from pyg_mmgef.nn.parts.modality_linear import ModalityLinear
from pyg_mmgef.nn.parts.tensor_cache import TensorCache
from pyg_mmgef.schema import (
    ITEM,
    USER,
    item_graph,
    item_modalities,
    item_relations,
    num_users_items,
)
from pyg_mmgef.sparse.csr_pair import CSRPair
from pyg_mmgef.validate import check_graph_weights, check_positive

__all__ = ['FREEDOM']

SIMILAR = 'similar'


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
        graph_weights: The weight :math:`\alpha_m` of each item graph ``data['item', relation,
            'item']``, keyed by its relation. They need not sum to 1.
        in_channels: Channels of each modality ``data['item'].x_<modality>`` that the loss reads;
            :obj:`None` for none. (default: :obj:`None`)
        embedding_dim: Channels of the embeddings. (default: ``64``)
        num_layers: Layers of LightGCN. (default: ``2``)
        num_item_layers: Layers :math:`L'` over the item graph. (default: ``1``)
        edge_dropout: Share of the interactions that don't propagate in a training epoch, see
            :class:`LightGCN`. (default: ``0.8``)
        feature_loss_weight: The weight :math:`\lambda`; at 0 the features are not read.
            (default: ``1e-3``)
        seed: Seed of the edge dropout. (default: ``0``)

    Raises:
        ValueError: If no graph is given, a number is out of range, or the data doesn't fit the
            model.
    """

    def __init__(
        self,
        num_users: int,
        num_items: int,
        graph_weights: Mapping[str, float],
        in_channels: Mapping[str, int] | None = None,
        *,
        embedding_dim: int = 64,
        num_layers: int = 2,
        num_item_layers: int = 1,
        edge_dropout: float = 0.8,
        feature_loss_weight: float = 1e-3,
        seed: int = 0,
    ) -> None:
        super().__init__(num_users, num_items)
        check_graph_weights('graph_weights', graph_weights)
        check_positive('num_item_layers', num_item_layers)
        if not 0 <= feature_loss_weight < math.inf:
            raise ValueError(
                f"'feature_loss_weight' must not be negative (got {feature_loss_weight})"
            )
        self.graph_weights = dict(graph_weights)
        self.num_item_layers = num_item_layers
        self.feature_loss_weight = feature_loss_weight
        self.light_gcn = LightGCN(
            num_users, num_items, embedding_dim, num_layers, edge_dropout, seed
        )
        self.lin: ModalityLinear | None = None
        if in_channels and feature_loss_weight > 0:
            self.lin = ModalityLinear(in_channels, embedding_dim, bias=False)
        self._cache = TensorCache()
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
            ValueError: If the data has no such graph and :obj:`graph_weights` names none.
        """
        if 'graph_weights' not in kwargs:
            relations = _similar_relations(data)
            kwargs['graph_weights'] = {relation: 1 / len(relations) for relation in relations}
        x, _ = item_modalities(data)
        kwargs.setdefault('in_channels', {name: row.size(1) for name, row in x.items()})
        return cls(*num_users_items(data), **kwargs)

    def reset_parameters(self) -> None:
        """Draw new parameters and forget the graphs."""
        self.light_gcn.reset_parameters()
        if self.lin is not None:
            self.lin.reset_parameters()
        self._cache.clear()

    def start_epoch(self, data: HeteroData, epoch: int) -> None:
        """Draw the interactions of the epoch, as :meth:`LightGCN.start_epoch` does."""
        self.light_gcn.start_epoch(data, epoch)

    def item_graph(self, data: HeteroData) -> CSRPair:
        r"""Return the frozen graph :math:`\mathbf{A}`, merged once."""
        graphs = [item_graph(data, relation) for relation in self.graph_weights]

        def merge() -> CSRPair:
            graph = merge_graphs(graphs, list(self.graph_weights.values()), self.num_items)
            return CSRPair(*graph, (self.num_items, self.num_items))

        pair: CSRPair = self._cache.get([tensor for graph in graphs for tensor in graph], merge)
        return pair

    def forward(
        self, data: HeteroData, users: Tensor | None = None, items: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the embeddings of all users and items, or of those that are asked for.

        Args:
            data: The train graph, with the item graphs the model was built for.
            users: User ids; :obj:`None` means all, see :meth:`LightGCN.forward`. Shape: ``[*]``.
                (default: :obj:`None`)
            items: Item ids; :obj:`None` means all. Shape: ``[*]``. (default: :obj:`None`)

        Returns:
            ``z_user`` of shape ``[num_users, embedding_dim]`` or ``[*users.shape,
            embedding_dim]``, and ``z_item`` likewise.
        """
        users, place_of_user = distinct('users', users, self.num_users, USER)
        items, place_of_item = distinct('items', items, self.num_items, ITEM)
        is_warm = self.light_gcn.is_warm(data)
        z_user, z_item = self.light_gcn.embed(data, users, items)
        h = torch.where(is_warm, self.light_gcn.item_embedding.weight, 0.0)
        pair = self.item_graph(data)
        for layer in range(self.num_item_layers):
            h = pair.matmul(h, rows=items if layer == self.num_item_layers - 1 else None)
        z_item = torch.where(select(is_warm, items), z_item + h, h)
        return restore(z_user, place_of_user), restore(z_item, place_of_item)

    def loss(
        self, data: HeteroData, users: Tensor, items: Tensor, negatives: Tensor, loss_fn: Module
    ) -> Tensor:
        """Return :obj:`loss_fn` of a batch plus the feature terms; see :meth:`Recommender.loss`."""
        z_user, z_item, z_negative = self.triplets(data, users, items, negatives)
        loss = loss_fn(z_user, z_item, z_negative)
        if self.lin is None:
            return loss
        negatives = negatives[:, None] if negatives.dim() == 1 else negatives
        features = self.lin(data, torch.cat([items, negatives.flatten()]))
        terms = [_feature_bpr(z_user, x, has, negatives.shape) for x, has in features.values()]
        return loss + self.feature_loss_weight * torch.stack(terms).sum()

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}({self.num_users}, {self.num_items}, '
            f'embedding_dim={self.light_gcn.embedding_dim}, graph_weights={self.graph_weights})'
        )


def _feature_bpr(z_user: Tensor, x: Tensor, has: Tensor, shape: torch.Size) -> Tensor:
    """Return BPR over the triplets whose two items have the modality.

    The rows are those of the items and then of the negatives, which are of the given shape.
    """
    sizes = [z_user.size(0), shape.numel()]
    (x_item, x_negative), (has_item, has_negative) = x.split(sizes), has.split(sizes)
    score = negative_scores(z_user, x_negative.view(*shape, -1))
    margin = score - (z_user * x_item).sum(dim=-1, keepdim=True)
    is_read = has_item[:, None] & has_negative.view(shape)
    return (F.softplus(margin) * is_read).sum() / is_read.sum().clamp(min=1)


def _similar_relations(data: HeteroData) -> list[str]:
    relations = item_relations(data)
    per_modality = [relation for relation in relations if relation.startswith(f'{SIMILAR}_')]
    if not per_modality and SIMILAR not in relations:
        raise ValueError(
            f"'data' has no item graph {SIMILAR!r} or '{SIMILAR}_<modality>' with weights (found "
            f'{data.edge_types}); add one with AddItemKNNGraph, or name others in graph_weights'
        )
    return per_modality or [SIMILAR]
