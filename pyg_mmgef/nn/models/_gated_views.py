from abc import abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import ModuleList
from torch_geometric.data import HeteroData
from torch_geometric.nn.inits import reset

from pyg_mmgef.nn.loss.info_nce import repeated_info_nce
from pyg_mmgef.nn.models.light_gcn import LightGCN
from pyg_mmgef.nn.models.recommender import Recommender
from pyg_mmgef.nn.parts._id_rows import select
from pyg_mmgef.nn.parts.item_graph_encoder import Graph, convolve
from pyg_mmgef.nn.parts.item_graphs import ItemGraphs
from pyg_mmgef.nn.parts.modality_linear import ModalityLinear
from pyg_mmgef.nn.parts.triplet_batch import TripletBatch
from pyg_mmgef.validate import check_not_negative, check_positive

__all__ = ['GatedViewsModel']


class GatedViewsModel(Recommender):
    r"""Base of models whose features gate id embeddings, in views that propagate apart.

    .. math::
        \mathbf{p}^v_i = \mathbf{e}_i \odot \sigma(\mathrm{gate}^v(\mathbf{r}^v_i)), \qquad
        \mathbf{H}^v_{\mathcal{I}} = (\mathbf{A}^v)^{L'} \mathbf{P}^v, \qquad
        \mathbf{H}^v_{\mathcal{U}} = \hat{\mathbf{R}} \mathbf{H}^v_{\mathcal{I}}, \qquad
        \mathbf{z}_n = \mathbf{c}_n + \mathbf{f}_n

    with the embeddings of LightGCN as content :math:`\mathbf{c}`, of users and items :math:`n`
    alike. The loss adds :func:`~pyg_mmgef.nn.loss.info_nce` between :math:`\mathbf{f}` and
    :math:`\mathbf{c}`, once for the users of a batch and once for the positives. A model adds
    :attr:`gate`, what its views are (:meth:`_views`) and how they are fused (:meth:`_fuse`).

    Args:
        num_users: Number of users.
        num_items: Number of items.
        in_channels: Channels of each modality ``data['item'].x_<modality>``. Its kNN graph is
            ``data['item', 'similar_<modality>', 'item']``.
        embedding_dim: Channels of the embeddings.
        num_layers: Layers of LightGCN.
        num_item_layers: Layers :math:`L'` over the item graphs.
        contrast_weight: The weight of the added loss.
        temperature: The temperature of the added loss.

    Raises:
        ValueError: If a number is out of range.
    """

    reads_graphs = ('similar_<modality>',)

    gate: ModuleList
    """The layer of each view that its features pass on their way to a gate."""

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        in_channels: Mapping[str, int],
        embedding_dim: int,
        num_layers: int,
        num_item_layers: int,
        contrast_weight: float,
        temperature: float,
    ) -> None:
        super().__init__(num_users, num_items)
        check_positive('num_item_layers', num_item_layers)
        check_not_negative('contrast_weight', contrast_weight)
        check_positive('temperature', temperature, integer=False)
        self.in_channels = dict(in_channels)
        self.embedding_dim, self.num_layers = embedding_dim, num_layers
        self.num_item_layers = num_item_layers
        self.contrast_weight, self.temperature = contrast_weight, temperature
        self.light_gcn = LightGCN(
            num_users, num_items, embedding_dim=embedding_dim, num_layers=num_layers
        )
        self.lin = ModalityLinear(in_channels, embedding_dim)
        self.graphs = ItemGraphs(num_items, [f'similar_{name}' for name in in_channels])

    def reset_parameters(self) -> None:
        """Initialise the parameters anew and clear the graphs."""
        for module in self.children():
            reset(module)

    @abstractmethod
    def _views(self, data: HeteroData) -> list[Tensor]:
        r"""Return :math:`\mathbf{H}^v` of all items for each view."""

    @abstractmethod
    def _fuse(self, views: list[Tensor], content: Tensor) -> Tensor:
        r"""Return :math:`\mathbf{f}` of users or of items."""

    def _propagated(
        self, data: HeteroData, rows: Sequence[tuple[Tensor, Tensor]], graphs: Sequence[Graph]
    ) -> list[Tensor]:
        r"""Return :math:`\mathbf{H}^v` of all items for each view.

        Args:
            data: The train graph.
            rows: For each view :math:`\mathbf{r}^v`, and which items have it; others send nothing.
            graphs: The graph :math:`\mathbf{A}^v` of each view.
        """
        embedding = self.zero_cold(data, self.light_gcn.item_embedding.weight)
        views = []
        for (r, has), gate, graph in zip(rows, self.gate, graphs, strict=True):
            h = torch.where(has, embedding * gate(r).sigmoid(), 0.0)
            views.append(convolve(graph, h, self.num_item_layers))
        return views

    def embed(
        self, data: HeteroData, users: Tensor | None, items: Tensor | None
    ) -> tuple[Tensor, ...]:
        r"""Return the embeddings, and :math:`\mathbf{c}` and :math:`\mathbf{f}` of both sides."""
        content_user, content_item, *_ = self.light_gcn.embed(data, users, items)
        content_item = self.zero_cold(data, content_item, items)
        views = self._views(data)
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
        of_users = repeated_info_nce(fused_user, content_user, self.temperature, count_user)
        of_items = repeated_info_nce(fused_item, content_item, self.temperature, count_item)
        return self.contrast_weight * (of_users + of_items)
