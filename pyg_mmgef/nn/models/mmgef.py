from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Linear
from torch_geometric.data import HeteroData

from pyg_mmgef.graph.weights import normalize_similarity
from pyg_mmgef.nn._unit_length import unit_length
from pyg_mmgef.nn.fusion.early_fusion import EarlyFusion
from pyg_mmgef.nn.fusion.soft_edge_fusion import SoftEdgeFusion
from pyg_mmgef.nn.models.light_gcn import LightGCN
from pyg_mmgef.nn.models.recommender import Recommender
from pyg_mmgef.nn.parts._content_neighbors import content_neighbors
from pyg_mmgef.nn.parts._distinct import distinct, restore, select
from pyg_mmgef.nn.parts.item_graphs import ItemGraphs, mix
from pyg_mmgef.nn.parts.tensor_cache import TensorCache
from pyg_mmgef.schema import ITEM, USER, item_modalities, item_relations, num_users_items
from pyg_mmgef.validate import check_choice, check_positive

__all__ = ['MMGEF']

ITEM_INPUTS = ('features', 'id', 'sum')
ITEM_READOUTS = ('last', 'mean')
SIMILAR = 'similar'


class MMGEF(Recommender):
    r"""Multimodal graph early fusion: item graphs fused by attention, beside LightGCN.

    From `"Multi-modal representation meet collaborative filtering"
    <https://arxiv.org/abs/2308.07222>`_ (MM-GEF). With the early-fused features
    :math:`\mathbf{e}_i` (:class:`~pyg_mmgef.nn.EarlyFusion`) and the item graphs of the data,

    .. math::
        \mathbf{h}^{(0)}_i &= \mathbf{W} \mathbf{e}_i + \mathbf{b} \\
        \mathbf{A} &= \textstyle\sum_g \boldsymbol{\alpha}^g \odot \mathbf{A}^g
        \qquad \text{(SoftEdgeFusion)} \\
        \mathbf{h}^{(l+1)} &= \mathbf{A} \mathbf{h}^{(l)}, \qquad
        \mathbf{h} = \mathbf{h}^{(L')} \\
        \mathbf{z}_i &= \mathbf{z}^{\mathrm{LightGCN}}_i +
        \mathbf{h}_i / \lVert \mathbf{h}_i \rVert

    and users have their LightGCN embeddings. For a **cold item**, one without train interactions,
    the LightGCN part and the id embedding are left out, so nothing random reaches its score. That
    leaves it a unit vector among warm items whose embeddings grow in training, so it is hardly
    ever ranked above one; ``item_dropout`` and ``cold_scale`` are for those who want cold items
    to compete.

    The graph ``'similar'`` mixes a frozen part, the one in the data, with a learned part, the kNN
    graph of :math:`\mathbf{h}^{(0)}`:
    :math:`\lambda \mathbf{A}_{\mathrm{frozen}} + (1 - \lambda) \mathbf{A}_{\mathrm{learned}}`.
    Call :meth:`start_epoch` before every training epoch; it rebuilds the learned part when that is
    due. No gradient flows through its weights.

    The paper leaves open what propagates, the form of the attention, :math:`k`, :math:`\lambda`,
    how often to rebuild and the normalisation of :math:`\mathbf{h}`; the defaults are our reading,
    with LATTICE's form (`arXiv 2104.09036 <https://arxiv.org/abs/2104.09036>`_) of the last line.

    Args:
        num_users: Number of users.
        num_items: Number of items.
        in_channels: Channels of each modality ``data['item'].x_<modality>``; :obj:`None` for
            ``item_input='id'``. (default: :obj:`None`)
        embedding_dim: Channels of the embeddings. (default: ``64``)
        num_layers: Layers of LightGCN. (default: ``2``)
        edge_dropout: Share of the interactions that don't propagate in a training epoch, see
            :class:`LightGCN`. Not part of MM-GEF. (default: ``0.0``)
        seed: Seed of the edge dropout. (default: ``0``)
        item_graphs: Relations of the item graphs, as in ``data['item', relation, 'item']``. With
            several graphs, one per modality, it is late fusion; with none, nothing propagates.
            (default: ``('similar', 'co_interacts')``)
        num_item_layers: Convolutions over the fused item graph, 1 to 3 in the paper's study; 0
            propagates nothing.
            (default: ``1``)
        item_input: What propagates: ``'features'`` (:math:`\mathbf{W} \mathbf{e}_i +
            \mathbf{b}`), ``'id'`` (the item's id embedding, as LATTICE and FREEDOM do) or their
            ``'sum'``. (default: ``'features'``)
        fusion: The mode of :class:`~pyg_mmgef.nn.EarlyFusion`. (default: ``'mean'``)
        attention: The mode of :class:`~pyg_mmgef.nn.SoftEdgeFusion`. (default: ``'graph'``)
        skip_weight: The weight :math:`\lambda` of the frozen part; 1 never builds a learned one.
            (default: ``0.9``)
        rebuild_every: Epochs between two rebuilds of the learned part. (default: ``5``)
        k: Neighbours per item in the learned part. (default: ``10``)
        normalize_item: Scale :math:`\mathbf{h}` to unit length before adding it;
            :obj:`False` adds it as it is, as FREEDOM does. (default: :obj:`True`)
        item_readout: Which layers make :math:`\mathbf{h}`: ``'last'``, or their ``'mean'`` over
            :math:`0, \dots, L'` as in LightGCN, which keeps an item's own content beside its
            neighbours'. (default: ``'last'``)
        item_dropout: Share of the items that are treated as cold in a training step, so that the
            content part learns to rank alone, as in DropoutNet (`NeurIPS 2017
            <https://papers.nips.cc/paper/7081>`_). Not part of MM-GEF. (default: ``0.0``)
        cold_scale: The length of a cold item's embedding, as a multiple of the mean length of the
            warm items'; the order among cold items stays, their place among warm ones rises with
            it, at the expense of warm items. :obj:`None` leaves :math:`\mathbf{h}` as it is. Not
            part of MM-GEF. (default: :obj:`None`)

    Raises:
        ValueError: If an option is unknown or doesn't fit another, or the data doesn't fit the
            model.
    """

    def __init__(
        self,
        num_users: int,
        num_items: int,
        in_channels: Mapping[str, int] | None = None,
        *,
        embedding_dim: int = 64,
        num_layers: int = 2,
        edge_dropout: float = 0.0,
        seed: int = 0,
        item_graphs: Sequence[str] = (SIMILAR, 'co_interacts'),
        num_item_layers: int = 1,
        item_input: str = 'features',
        fusion: str = 'mean',
        attention: str = 'graph',
        skip_weight: float = 0.9,
        rebuild_every: int = 5,
        k: int = 10,
        normalize_item: bool = True,
        item_readout: str = 'last',
        item_dropout: float = 0.0,
        cold_scale: float | None = None,
    ) -> None:
        super().__init__(num_users, num_items)
        check_choice('item_input', item_input, ITEM_INPUTS)
        check_choice('item_readout', item_readout, ITEM_READOUTS)
        check_positive('rebuild_every', rebuild_every)
        check_positive('k', k)
        if num_item_layers < 0:
            raise ValueError(f"'num_item_layers' must not be negative (got {num_item_layers})")
        if isinstance(item_graphs, str) or len(set(item_graphs)) < len(item_graphs):
            raise ValueError(f"'item_graphs' must name distinct relations (got {item_graphs!r})")
        if item_input != 'id' and not in_channels:
            raise ValueError(
                f"'in_channels' is needed for item_input={item_input!r}; data without item "
                "features uses item_input='id'"
            )
        _check_skip_weight(skip_weight, item_graphs, item_input)
        if not 0 <= item_dropout < 1:
            raise ValueError(f"'item_dropout' must lie in [0, 1) (got {item_dropout})")
        if cold_scale is not None and not cold_scale > 0:
            raise ValueError(f"'cold_scale' must be positive or None (got {cold_scale})")

        self.item_graphs = tuple(item_graphs)
        self.num_item_layers = num_item_layers
        self.item_input = item_input
        self.skip_weight = skip_weight
        self.rebuild_every = rebuild_every
        self.k = k
        self.normalize_item = normalize_item
        self.item_readout = item_readout
        self.item_dropout = item_dropout
        self.cold_scale = cold_scale

        self.light_gcn = LightGCN(
            num_users, num_items, embedding_dim, num_layers, edge_dropout, seed
        )
        self.fusion: EarlyFusion | None = None
        self.lin: Linear | None = None
        if item_input != 'id' and in_channels:
            self.fusion = EarlyFusion(in_channels, fusion)
            self.lin = Linear(self.fusion.out_channels, embedding_dim)
        self.edge_fusion: SoftEdgeFusion | None = None
        if self.item_graphs and num_item_layers > 0:
            self.edge_fusion = SoftEdgeFusion(len(self.item_graphs), attention, embedding_dim)
        self._graphs = ItemGraphs(self.item_graphs, num_items, SIMILAR, skip_weight)
        self._fused_cache = TensorCache()
        self.reset_parameters()

    @classmethod
    def from_data(cls, data: HeteroData, **kwargs: Any) -> 'MMGEF':
        """Build the model for :obj:`data`.

        The modalities and item graphs are those that :obj:`data` has (edges between items that
        have no ``edge_weight`` are no item graph). Without item features ``item_input`` defaults
        to ``'id'``; where there can be no learned part, ``skip_weight`` defaults to 1.

        Args:
            data: A graph in the schema of this package.
            **kwargs: Arguments of the constructor.

        Raises:
            ValueError: If the data has no item graph and none is asked for by ``item_graphs=()``.
        """
        x, _ = item_modalities(data)
        relations = item_relations(data)
        if 'item_graphs' not in kwargs and not relations:
            raise ValueError(
                "'data' has no weighted item graph; add one with AddItemKNNGraph or "
                'AddCoInteractionGraph, or pass item_graphs=() for a model without'
            )
        kwargs.setdefault('item_graphs', tuple(relations))
        kwargs.setdefault('item_input', 'features' if x else 'id')
        learns = kwargs['item_input'] != 'id' and SIMILAR in kwargs['item_graphs']
        kwargs.setdefault('skip_weight', 0.9 if learns else 1.0)
        if kwargs['item_input'] != 'id':
            kwargs.setdefault('in_channels', {name: row.size(1) for name, row in x.items()})
        return cls(*num_users_items(data), **kwargs)

    def reset_parameters(self) -> None:
        """Draw new parameters; forget the graphs and the learned part."""
        for module in (self.light_gcn, self.fusion, self.lin, self.edge_fusion):
            if module is not None:
                module.reset_parameters()
        self._graphs.learned = None
        self._fused_cache.clear()

    def start_epoch(self, data: HeteroData, epoch: int) -> None:
        """Do what is due before a training epoch.

        Rebuilds the learned part of the graph ``'similar'`` every ``rebuild_every`` epochs, and
        draws the interactions of the epoch if there is edge dropout.

        Args:
            data: The train graph.
            epoch: The epoch that starts, counted from 0.
        """
        self.light_gcn.start_epoch(data, epoch)
        if self.skip_weight < 1 and epoch % self.rebuild_every == 0:
            self._learn_graph(data)

    @torch.inference_mode(False)
    @torch.no_grad()
    def _learn_graph(self, data: HeteroData) -> None:
        fused = self._fused(data)
        has_content = fused.ne(0).any(dim=1, keepdim=True)
        graph = content_neighbors(self._project(fused), has_content, self.k)
        self._graphs.learned = normalize_similarity(*graph, fused.size(0))

    def forward(
        self, data: HeteroData, users: Tensor | None = None, items: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the embeddings of all users and items, or of those that are asked for.

        Args:
            data: The train graph, with the item features and item graphs the model was built for.
            users: User ids; :obj:`None` means all, see :meth:`LightGCN.forward`. Shape: ``[*]``.
                (default: :obj:`None`)
            items: Item ids; :obj:`None` means all. Shape: ``[*]``. (default: :obj:`None`)

        Returns:
            ``z_user`` of shape ``[num_users, embedding_dim]`` or ``[*users.shape,
            embedding_dim]``, and ``z_item`` likewise.
        """
        users, place_of_user = distinct('users', users, self.num_users, USER)
        items, place_of_item = distinct('items', items, self.num_items, ITEM)
        if items is not None and self.cold_scale is not None:  # It is relative to all warm items.
            z_user, z_item = self._embed(data, users, None)
            z_item = select(z_item, items)
        else:
            z_user, z_item = self._embed(data, users, items)
        return restore(z_user, place_of_user), restore(z_item, place_of_item)

    def _embed(
        self, data: HeteroData, users: Tensor | None, items: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        is_warm = self.light_gcn.is_warm(data)
        if self.training and self.item_dropout > 0:
            is_warm = is_warm & (torch.rand_like(is_warm, dtype=torch.float) >= self.item_dropout)
        z_user, z_item = self.light_gcn.embed(data, users, items)
        h = self._item_part(data, is_warm, items)
        if self.normalize_item:
            h = unit_length(h)
        is_warm = select(is_warm, items)
        z_item = torch.addcmul(h, z_item, is_warm.to(z_item.dtype))
        if self.cold_scale is not None:
            length = self.cold_scale * _mean_length(z_item.detach(), is_warm)
            z_item = torch.where(is_warm, z_item, length * unit_length(h))
        return z_user, z_item

    @torch.no_grad()
    def alpha(self, data: HeteroData) -> Tensor:
        """Return the attention over the item graphs, as :meth:`SoftEdgeFusion.alpha` does."""
        if self.edge_fusion is None:
            raise ValueError('the model fuses no item graphs, so there is no attention')
        x = None
        if self.edge_fusion.mode in ('node', 'edge'):
            x = self._item_input(data, self.light_gcn.is_warm(data))
        if self.edge_fusion.mode != 'edge':
            return self.edge_fusion.node_alpha(x)
        _, edge_index, _ = self._graphs_of(data).union(data)
        return self.edge_fusion.alpha(edge_index, x)

    def _fused(self, data: HeteroData) -> Tensor:
        assert self.fusion is not None
        fusion = self.fusion
        x, has = item_modalities(data)
        if not self._is_fixed(data):
            return fusion(x, has)
        # Nothing is learned here, so the fused features are the same in every step.
        fused: Tensor = self._fused_cache.get(_feature_tensors(data), lambda: fusion(x, has))
        return fused

    def _is_fixed(self, data: HeteroData) -> bool:
        """Return whether the fused features are the same in every step."""
        assert self.fusion is not None
        learned = self.fusion.mode in ('weighted', 'gated')
        return not learned and not any(x.requires_grad for x in _feature_tensors(data))

    def _project(self, fused: Tensor) -> Tensor:
        assert self.lin is not None
        return self.lin(fused.to(self.lin.weight.dtype))

    def _embedding(self, is_warm: Tensor) -> Tensor:
        return torch.where(is_warm, self.light_gcn.item_embedding.weight, 0.0)

    def _item_input(self, data: HeteroData, is_warm: Tensor, items: Tensor | None = None) -> Tensor:
        r"""Return :math:`\mathbf{h}^{(0)}` of some items."""
        parts = []
        if self.item_input != 'features':
            parts.append(select(self._embedding(is_warm), items))
        if self.item_input != 'id':
            parts.append(self._project(select(self._fused(data), items)))
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]

    def _item_part(self, data: HeteroData, is_warm: Tensor, items: Tensor | None) -> Tensor:
        r"""Return :math:`\mathbf{h}` of some items."""
        if self.edge_fusion is None:
            return self._item_input(data, is_warm, items)
        if self.num_item_layers == 1 and self.edge_fusion.mode != 'edge':
            reads_input = self.edge_fusion.mode == 'node' or self.item_readout == 'mean'
            x = self._item_input(data, is_warm, items) if reads_input else None
            h = self._first_layer(data, is_warm, items, self.edge_fusion.node_alpha(x))
            return h if x is None or self.item_readout == 'last' else (x + h) / 2
        return self._convolve(data, self._item_input(data, is_warm), items)

    def _first_layer(
        self, data: HeteroData, is_warm: Tensor, items: Tensor | None, alpha: Tensor
    ) -> Tensor:
        r"""Return :math:`\mathbf{A} \mathbf{h}^{(0)}` of some items."""
        graphs, parts = self._graphs_of(data), []
        if self.item_input != 'features':
            embedding = self._embedding(is_warm)
            parts.append(mix(graphs.pairs(data), embedding, alpha, items))
        if self.item_input != 'id' and not self._is_fixed(data):
            features = self._project(self._fused(data))
            parts.append(mix(graphs.pairs(data), features, alpha, items))
        elif self.item_input != 'id':
            assert self.lin is not None
            h = graphs.project_features(
                data, _feature_tensors(data), lambda: self._fused(data), self.lin, alpha, items
            )
            parts.append(h)
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]

    def _convolve(self, data: HeteroData, x: Tensor, items: Tensor | None) -> Tensor:
        """Propagate layer by layer; of the last, only some items are computed."""
        assert self.edge_fusion is not None
        graphs, fusion = self._graphs_of(data), self.edge_fusion
        per_edge = fusion.mode == 'edge'
        if per_edge:
            pair, edge_index, edge_attr = graphs.union(data)
            edge_weight = fusion(edge_index, edge_attr, x)
        h, total = x, select(x, items)
        for layer in range(self.num_item_layers):
            rows = items if layer == self.num_item_layers - 1 else None
            if per_edge:
                h = pair.matmul(h, edge_weight, rows)
            else:
                h = mix(graphs.pairs(data), h, fusion.node_alpha(select(x, rows)), rows)
            total = total + (h if rows is items else select(h, items))
        return h if self.item_readout == 'last' else total / (self.num_item_layers + 1)

    def _graphs_of(self, data: HeteroData) -> ItemGraphs:
        if self.skip_weight < 1 and self._graphs.learned is None:
            self._learn_graph(data)
        return self._graphs

    def get_extra_state(self) -> dict[str, Tensor]:
        """Return the learned part of the item graph, so that a checkpoint scores the same."""
        if self._graphs.learned is None:
            return {}
        edge_index, edge_weight = self._graphs.learned
        return {'edge_index': edge_index, 'edge_weight': edge_weight}

    def set_extra_state(self, state: dict[str, Tensor]) -> None:
        """Take the learned part of the item graph from a checkpoint."""
        if state and SIMILAR not in self.item_graphs:
            raise ValueError(
                f'the checkpoint holds a learned part of the item graph {SIMILAR!r}, but the model '
                f'was built with item_graphs={self.item_graphs}'
            )
        self._graphs.learned = (state['edge_index'], state['edge_weight']) if state else None

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}({self.num_users}, {self.num_items}, '
            f'embedding_dim={self.light_gcn.embedding_dim}, item_graphs={self.item_graphs}, '
            f'item_input={self.item_input!r})'
        )


def _feature_tensors(data: HeteroData) -> list[Tensor]:
    """Return all that the fused features are made from."""
    x, has = item_modalities(data)
    return [*x.values(), *has.values()]


def _mean_length(z: Tensor, is_warm: Tensor) -> Tensor:
    """Return the mean length of the warm rows, or one if there are none."""
    num_warm = is_warm.sum()
    total = torch.where(is_warm[:, 0], z.norm(dim=1), 0.0).sum()
    return torch.where(num_warm > 0, total / num_warm.clamp(min=1), 1.0)


def _check_skip_weight(skip_weight: float, item_graphs: Sequence[str], item_input: str) -> None:
    if not 0 <= skip_weight <= 1:
        raise ValueError(f"'skip_weight' must lie in [0, 1] (got {skip_weight})")
    if skip_weight < 1 and (SIMILAR not in item_graphs or item_input == 'id'):
        raise ValueError(
            f"'skip_weight' below 1 mixes a graph learned from item features into {SIMILAR!r} "
            f'(got skip_weight={skip_weight}, item_graphs={tuple(item_graphs)}, '
            f'item_input={item_input!r}); set skip_weight=1'
        )
