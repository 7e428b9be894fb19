from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.nn.inits import reset

from pyg_mmgef._describe import arguments_of
from pyg_mmgef.nn._unit_length import inverse_length, unit_length
from pyg_mmgef.nn.fusion.early_fusion import EarlyFusion
from pyg_mmgef.nn.models.light_gcn import LightGCN
from pyg_mmgef.nn.models.recommender import Recommender
from pyg_mmgef.nn.parts._id_rows import select
from pyg_mmgef.nn.parts.embedding_parts import ItemPart, UserParts
from pyg_mmgef.nn.parts.item_graph_encoder import READOUTS, ItemGraphEncoder
from pyg_mmgef.nn.parts.item_graphs import SIMILAR, ItemGraphs
from pyg_mmgef.nn.parts.sampled_batch import check_hops, item_part
from pyg_mmgef.nn.parts.tensor_cache import TensorCache
from pyg_mmgef.schema import (
    ITEM,
    item_modalities,
    item_relations,
    num_users_items,
    recorded_fusion,
)
from pyg_mmgef.validate import check_choice, check_fraction, check_not_negative, check_positive

__all__ = ['MMGEF']

ITEM_INPUTS = ('features', 'id', 'sum')


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
    the LightGCN part and the id embedding are left out, so nothing random reaches its score. What
    is left is the paper's embedding of it; in evaluation, :attr:`Recommender.content_map` replaces
    it, unless that is set to :obj:`None`.

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
        recall: Share of the true neighbours that the learned part must have; below 1, one index
            serves all rebuilds. Not part of MM-GEF. (default: ``1.0``)
        normalize_item: Scale :math:`\mathbf{h}` to unit length before adding it;
            :obj:`False` adds it as it is, as FREEDOM does. (default: :obj:`True`)
        item_readout: Which layers make :math:`\mathbf{h}`: ``'last'``, or their ``'mean'`` over
            :math:`0, \dots, L'` as in LightGCN, which keeps an item's own content beside its
            neighbours'. (default: ``'last'``)
        item_dropout: Share of the items that are treated as cold in a training step, so that the
            content part learns to rank alone, as in DropoutNet (`NeurIPS 2017
            <https://papers.nips.cc/paper/7081>`_). Not part of MM-GEF. (default: ``0.0``)
        sparse: Whether the embeddings get sparse gradients from sampled batches, see
            :class:`LightGCN`. (default: :obj:`False`)
        cache_bytes: Most bytes that propagated features may take, see
            :class:`~pyg_mmgef.nn.ItemGraphEncoder`; 0 saves the memory and makes a step slower,
            the more so the wider the features. (default: ``2**30``)

    Raises:
        ValueError: If an option is unknown or doesn't fit another, or the data doesn't fit the
            model.
    """

    paper = 'https://arxiv.org/abs/2308.07222'
    year = 2023
    takes_batches = True
    reads_graphs = ('similar', 'co_interacts')

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        in_channels: Mapping[str, int] | None = None,
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
        recall: float = 1.0,
        normalize_item: bool = True,
        item_readout: str = 'last',
        item_dropout: float = 0.0,
        sparse: bool = False,
        cache_bytes: int = 2**30,
    ) -> None:
        super().__init__(num_users, num_items)
        check_choice('item_input', item_input, ITEM_INPUTS)
        check_choice('item_readout', item_readout, READOUTS)
        check_positive('rebuild_every', rebuild_every)
        check_not_negative('num_item_layers', num_item_layers, integer=True)
        check_fraction('item_dropout', item_dropout, '[0, 1)')
        if item_input != 'id' and not in_channels:
            raise ValueError(
                f"'in_channels' is needed for item_input={item_input!r}; data without item "
                "features uses item_input='id'"
            )
        graphs = ItemGraphs(num_items, item_graphs, skip_weight=skip_weight, k=k, recall=recall)
        if skip_weight < 1 and item_input == 'id':
            raise ValueError(
                "'skip_weight' below 1 learns a graph from item features, which item_input='id' "
                f'leaves out (got skip_weight={skip_weight}); set skip_weight=1'
            )
        self.in_channels = None if in_channels is None else dict(in_channels)
        self.embedding_dim, self.num_layers = embedding_dim, num_layers
        self.edge_dropout, self.seed = edge_dropout, seed
        self.item_graphs, self.num_item_layers = graphs.relations, num_item_layers
        self.item_input, self.attention = item_input, attention
        self.skip_weight, self.rebuild_every = skip_weight, rebuild_every
        self.k, self.recall = k, recall
        self.normalize_item, self.item_readout = normalize_item, item_readout
        self.item_dropout, self.sparse = item_dropout, sparse
        self.cache_bytes = cache_bytes

        self.light_gcn = LightGCN(
            num_users,
            num_items,
            embedding_dim=embedding_dim,
            num_layers=num_layers,
            edge_dropout=edge_dropout,
            seed=seed,
            sparse=sparse,
        )
        self.fusion = None
        if item_input != 'id' and in_channels:
            self.fusion = EarlyFusion(in_channels, fusion)
        self.item_encoder = ItemGraphEncoder(
            graphs,
            num_items,
            embedding_dim,
            None if self.fusion is None else self.fusion.out_channels,
            num_layers=num_item_layers,
            attention=attention,
            readout=item_readout,
            cache_bytes=cache_bytes,
        )
        self._fused_cache = TensorCache()
        self.reset_parameters()

    @classmethod
    def from_data(cls, data: HeteroData, **kwargs: Any) -> 'MMGEF':
        """Build the model for :obj:`data`.

        The modalities and item graphs are those that :obj:`data` has (edges between items that
        have no ``edge_weight`` are no item graph). Data that went through
        :class:`~pyg_mmgef.transforms.FuseModalities` is fused in the same way, from the same
        modalities. Without item features ``item_input`` defaults to ``'id'``; where there can be no
        learned part, ``skip_weight`` defaults to 1.

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
            mode, modalities = recorded_fusion(data) or ('mean', list(x))
            kwargs.setdefault('fusion', mode)
            kwargs.setdefault('in_channels', {name: x[name].size(1) for name in modalities})
        return cls(*num_users_items(data), **kwargs)

    def reset_parameters(self) -> None:
        """Initialise the parameters anew; clear the graphs and the learned part."""
        for module in (self.light_gcn, self.fusion, self.item_encoder):
            reset(module)
        self._fused_cache.clear()

    @property
    def changes_with_epoch(self) -> bool:
        """Whether a graph is learned, or interactions are dropped."""
        return self.skip_weight < 1 or self.light_gcn.changes_with_epoch

    @torch.no_grad()
    def start_epoch(self, data: HeteroData, epoch: int) -> None:
        """Prepare a training epoch.

        Rebuilds the learned part of the graph ``'similar'`` every ``rebuild_every`` epochs, and
        samples the interactions of the epoch if there is edge dropout.

        Args:
            data: The train graph.
            epoch: The epoch that starts, counted from 0.
        """
        super().start_epoch(data, epoch)
        self.light_gcn.start_epoch(data, epoch)
        if self.skip_weight < 1 and epoch % self.rebuild_every == 0:
            self.item_encoder.rebuild(data, self.fused(data))

    @torch.no_grad()
    def epoch_data(self, data: HeteroData) -> HeteroData:
        """Return what propagates in this epoch, to sample batches from.

        The graph ``'similar'`` of the result is the mixture with the learned part.
        """
        data = self.light_gcn.epoch_data(data)
        return self.item_encoder.mix(data, self.fused(data)) if self.skip_weight < 1 else data

    def embed(
        self, data: HeteroData, users: Tensor | None, items: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return the embeddings of some users and items, step by step."""
        graphs = ((ITEM, relation, ITEM) for relation in self.item_graphs)
        check_hops(data, graphs, self.num_item_layers)
        is_warm = self._is_warm_in_step(data)
        # 1. LightGCN over the interactions; its id embeddings may propagate over item graphs too.
        z_user, z_item, _, x_item = self.light_gcn.embed(data, users, items)
        # 2. Fuse the modalities early, of all items that the item graphs read.
        relations = self.item_graphs if self.num_item_layers > 0 else ()
        part, read, rows = item_part(data, relations, items)
        e = self.fused(part)
        x = self._propagating_embedding(select(x_item, read), select(is_warm, read))
        # 3. Merge the multimodal and the collaborative item graph by attention, and convolve.
        h = self.item_encoder(part, x, e, rows)
        # 4. Add both; of a cold item only the content is left.
        return z_user, self.add(h, z_item, select(is_warm, items))

    def split_user(self, data: HeteroData, user: int) -> UserParts:
        """Return the parts of LightGCN."""
        return self.light_gcn.split_user(data, user)

    def split_items(self, data: HeteroData, items: Tensor) -> list[ItemPart]:
        """Return the part of LightGCN, what each neighbour sends, and what the item itself has."""
        is_warm = self.is_warm(data)
        e = self.fused(data)
        x = self._propagating_embedding(self.light_gcn.item_embedding.weight, is_warm)
        modalities = None
        if self.fusion is not None:
            x_of, has_of = (
                {name: rows[items] for name, rows in of.items()} for of in item_modalities(data)
            )
            modalities = self.fusion.parts(x_of, has_of)
        parts = self.item_encoder.split(data, items, x, e, modalities)
        if self.normalize_item:
            scale = inverse_length(self.item_encoder(data, x, e, items))
            parts = [part.scaled(scale) for part in parts]
        _, z_item, *_ = self.light_gcn.embed(data, items[:0], items)
        return [ItemPart.of_rows('collaborative', self.zero_cold(data, z_item, items)), *parts]

    def add(self, h: Tensor, z_item: Tensor, is_warm: Tensor) -> Tensor:
        """Return the embeddings of items, from both parts of the model.

        Args:
            h: What the item graphs gave. Shape: ``[I, embedding_dim]``.
            z_item: What LightGCN gave. Shape: ``[I, embedding_dim]``.
            is_warm: Which items keep the part of LightGCN. Shape: ``[I, 1]``, bool.
        """
        h = unit_length(h) if self.normalize_item else h
        return torch.addcmul(h, z_item, is_warm.to(z_item.dtype))

    def fused(self, data: HeteroData) -> Tensor | None:
        """Return the early-fused features of all items, or :obj:`None` if the model has none.

        Features that aren't learned are fused once. Where ``data['item'].x`` already holds the
        result, as after :class:`~pyg_mmgef.transforms.FuseModalities`, no copy of it is kept.
        """
        if self.fusion is None:
            return None
        fusion, (x, has) = self.fusion, item_modalities(data)
        if fusion.mode in ('weighted', 'gated'):
            return fusion(x, has)
        given = data[ITEM].x if 'x' in data[ITEM] else None

        def build() -> Tensor:
            e: Tensor = fusion(x, has)
            return given if given is not None and torch.equal(given, e) else e

        tensors = [*x.values(), *has.values(), *([] if given is None else [given])]
        return self._fused_cache.get(tensors, build)

    @torch.no_grad()
    def alpha(self, data: HeteroData) -> Tensor:
        """Return the attention over the item graphs, see :meth:`ItemGraphEncoder.alpha`."""
        weight = self.light_gcn.item_embedding.weight
        x = self._propagating_embedding(weight, self.is_warm(data))
        return self.item_encoder.alpha(data, x, self.fused(data))

    def _is_warm_in_step(self, data: HeteroData) -> Tensor:
        """Return which items count as warm; in training, item dropout makes some of them cold."""
        is_warm = self.is_warm(data)
        if self.training and self.item_dropout > 0:
            is_warm = is_warm & (torch.rand_like(is_warm, dtype=torch.float) >= self.item_dropout)
        return is_warm

    def _propagating_embedding(self, x_item: Tensor, is_warm: Tensor) -> Tensor | None:
        return None if self.item_input == 'features' else torch.where(is_warm, x_item, 0.0)

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the constructor by name."""
        return arguments_of(self, fusion='mean' if self.fusion is None else self.fusion.mode)
