from collections.abc import Mapping, Sequence

from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn._unit_length import inverse_length, unit_length
from pyg_mmgef.nn.models._latent_structure import LatentStructureModel
from pyg_mmgef.nn.parts.embedding_parts import ItemPart, UserParts
from pyg_mmgef.nn.parts.item_graph_encoder import ItemGraphEncoder
from pyg_mmgef.nn.parts.latent_graphs import LatentGraphs

__all__ = ['LATTICE']


class LATTICE(LatentStructureModel):
    r"""Item graphs learned from every modality and merged, beside LightGCN.

    .. math::
        \mathbf{A}^m &= \lambda \, \mathbf{A}^m_{\mathrm{frozen}} +
        (1 - \lambda) \, \mathbf{A}^m_{\mathrm{learned}}, \qquad
        \mathbf{A} = \textstyle\sum_m \alpha_m \mathbf{A}^m \\
        \mathbf{h}^{(l+1)} &= \mathbf{A} \mathbf{h}^{(l)}, \qquad
        \mathbf{h} = \mathbf{h}^{(L')} \\
        \mathbf{z}_u &= \mathbf{z}^{\mathrm{LightGCN}}_u, \qquad
        \mathbf{z}_i = \mathbf{z}^{\mathrm{LightGCN}}_i +
        \mathbf{h}_i / \lVert \mathbf{h}_i \rVert

    from `"Mining Latent Structures for Multimedia Recommendation"
    <https://arxiv.org/abs/2104.09036>`_ (Eqs. 3-5 and 9), with LightGCN for its collaborative
    filtering. :math:`\mathbf{A}^m_{\mathrm{frozen}}` is the normalised kNN graph of the features
    :math:`\mathbf{x}^m_i`, :math:`\mathbf{A}^m_{\mathrm{learned}}` that of their projection
    :math:`\mathbf{W}^m \mathbf{x}^m_i + \mathbf{b}^m`, both by cosine;
    :math:`\boldsymbol{\alpha}` is a softmax over one learned logit a modality, and
    :math:`\mathbf{h}^{(0)}` are the id embeddings of the items. Call :meth:`start_epoch` before
    every training epoch; it chooses the learned neighbours anew when that is due.

    **Deviations.** With the authors' code the weights of the learned graph have a gradient in the
    first batch after a rebuild and are constants until the next; here neighbours stay until the
    next rebuild, but the weights of the edges to them follow the projection in every step, with
    gradient. Their code normalises the sum of the modalities' learned graphs, ours each of them, as
    the paper does. Their LightGCN propagates over :math:`\mathbf{D}^{-1} (\mathbf{A} +
    \mathbf{I})`, ours as in :class:`LightGCN`, which the paper cites. Their features are
    fine-tuned, ours are fixed. An item that lacks a modality has no neighbours in it. A cold item,
    one without train interactions, takes no part with its id embedding, neither in its LightGCN
    part nor in what it sends to its neighbours, so its :math:`\mathbf{h}_i` comes from the
    embeddings of warm neighbours alone.

    Args:
        num_users: Number of users.
        num_items: Number of items.
        in_channels: Channels of each modality ``data['item'].x_<modality>``; :obj:`None` for
            given :obj:`item_graphs` and ``skip_weight=1``. (default: :obj:`None`)
        item_graphs: Relations of frozen graphs that the data has, as in ``data['item', relation,
            'item']``, one for each modality; :obj:`None` builds them from the features.
            (default: :obj:`None`)
        embedding_dim: Channels of the embeddings, and of the projected features.
            (default: ``64``)
        num_layers: Layers of LightGCN. (default: ``2``)
        num_item_layers: Convolutions :math:`L'` over the merged item graph. (default: ``1``)
        skip_weight: The weight :math:`\lambda` of the frozen graphs; 1 learns none, and reads the
            features only to build the frozen ones. (default: ``0.9``)
        rebuild_every: Epochs between two choices of the learned neighbours. (default: ``1``)
        k: Neighbours per item, itself among them as with the authors. (default: ``10``)
        recall: Share of the true neighbours that must be found; below 1, an index for each
            modality is kept between choices. (default: ``1.0``)

    Raises:
        ValueError: If an argument is out of range or doesn't fit another, or the data doesn't fit
            the model.
    """

    paper = 'https://arxiv.org/abs/2104.09036'
    year = 2021

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        in_channels: Mapping[str, int] | None = None,
        item_graphs: Sequence[str] | None = None,
        embedding_dim: int = 64,
        num_layers: int = 2,
        num_item_layers: int = 1,
        skip_weight: float = 0.9,
        rebuild_every: int = 1,
        k: int = 10,
        recall: float = 1.0,
    ) -> None:
        super().__init__(
            num_users,
            num_items,
            in_channels=in_channels,
            item_graphs=item_graphs,
            embedding_dim=embedding_dim,
            num_layers=num_layers,
            num_item_layers=num_item_layers,
            skip_weight=skip_weight,
            rebuild_every=rebuild_every,
            k=k,
            recall=recall,
        )
        self.item_encoder = ItemGraphEncoder(
            self._new_graphs(), num_items, embedding_dim, num_layers=num_item_layers
        )
        self.reset_parameters()

    @property
    def latent_graphs(self) -> LatentGraphs:
        """The item graphs that the encoder merges."""
        assert isinstance(self.item_encoder.graphs, LatentGraphs)
        return self.item_encoder.graphs

    def embed(
        self, data: HeteroData, users: Tensor | None, items: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return LightGCN's embeddings plus, for items, what the merged graph propagates."""
        z_user, z_item, *_ = self.light_gcn.embed(data, users, items)
        x = self.zero_cold(data, self.light_gcn.item_embedding.weight)
        h = self.item_encoder(data, x, items=items)
        return z_user, unit_length(h) + self.zero_cold(data, z_item, items)

    def split_user(self, data: HeteroData, user: int) -> UserParts:
        """Return the parts of LightGCN."""
        return self.light_gcn.split_user(data, user)

    def split_items(self, data: HeteroData, items: Tensor) -> list[ItemPart]:
        """Return the part of LightGCN, and what each neighbour sends."""
        _, z_item, *_ = self.light_gcn.embed(data, items[:0], items)
        x = self.zero_cold(data, self.light_gcn.item_embedding.weight)
        scale = inverse_length(self.item_encoder(data, x, items=items))
        own = ItemPart.of_rows('collaborative', self.zero_cold(data, z_item, items))
        return [own, *(part.scaled(scale) for part in self.item_encoder.split(data, items, x))]
