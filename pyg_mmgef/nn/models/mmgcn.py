from collections.abc import Mapping
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Embedding, Linear, Module, ModuleList
from torch_geometric.data import HeteroData
from torch_geometric.nn.inits import reset

from pyg_mmgef.nn._unit_length import unit_length
from pyg_mmgef.nn.models.recommender import Recommender
from pyg_mmgef.nn.parts._id_rows import select
from pyg_mmgef.nn.parts.modality_features import ModalityFeatures
from pyg_mmgef.nn.parts.tensor_cache import TensorCache
from pyg_mmgef.schema import interaction_edges, interactions
from pyg_mmgef.sparse.csr_pair import CSRPair
from pyg_mmgef.validate import check_choice, check_positive

__all__ = ['MMGCN']

COMBINATIONS = ('concat', 'add')


class MMGCN(Recommender):
    r"""A graph convolution per modality over the interactions, with shared id embeddings.

    From `"MMGCN: Multi-modal Graph Convolution Network for Personalized Recommendation of
    Micro-video" <https://doi.org/10.1145/3343031.3351034>`_. In modality :math:`m` an item starts
    from its features and a user from a preference :math:`\mathbf{p}^m_u` that is learned,

    .. math::
        \mathbf{x}^{(0)}_i = \frac{\mathbf{W}_0 \mathbf{x}^m_i + \mathbf{b}_0}
        {\lVert \mathbf{W}_0 \mathbf{x}^m_i + \mathbf{b}_0 \rVert}, \qquad
        \mathbf{x}^{(0)}_u = \frac{\mathbf{p}^m_u}{\lVert \mathbf{p}^m_u \rVert} .

    Each of :math:`L` layers aggregates the neighbours and combines them with the node itself and
    its id embedding :math:`\mathbf{e}_v`, which all modalities share; with
    :math:`\phi = \mathrm{LeakyReLU}`,

    .. math::
        \mathbf{h}_v &= \phi \Big( \frac{1}{|\mathcal{N}(v)|} \sum_{w \in \mathcal{N}(v)}
        \mathbf{W}_1 \mathbf{x}^{(l)}_w \Big) \\
        \hat{\mathbf{x}}_v &= \phi(\mathbf{W}_2 \mathbf{x}^{(l)}_v + \mathbf{b}_2) +
        \mathbf{e}_v \\
        \mathbf{x}^{(l+1)}_v &= \begin{cases}
        \phi(\mathbf{W}_3 [\mathbf{h}_v \, \Vert \, \hat{\mathbf{x}}_v] + \mathbf{b}_3) &
        \text{combination='concat'} \\
        \phi(\mathbf{W}_3 \mathbf{h}_v + \mathbf{b}_3 + \hat{\mathbf{x}}_v) &
        \text{combination='add'}
        \end{cases}

    with weights of their own for each layer and modality. The embedding is the mean over the
    modalities, :math:`\mathbf{z}_v = \frac{1}{|\mathcal{M}|} \sum_m \mathbf{x}^{m,(L)}_v`.

    **Deviations.** Where the paper leaves a choice, we read it as the authors' code does: the
    aggregation is the mean (the paper also studies the maximum), the combination concatenates (an
    option of the code that is always on), there are three layers, starting vectors have unit
    length, and the modalities are averaged, where the paper adds them up. There only the visual
    features pass :math:`\mathbf{W}_0`; here all do, so that preferences of every modality have
    ``feature_dim`` channels. Preferences and id embeddings are learned, as the paper has it. An
    item that lacks a modality starts from zero in it. For a cold item, one without train
    interactions, the id embedding is left out, so nothing random reaches its score. The L2 penalty
    is that of the loss function, on the final embeddings.

    Args:
        num_users: Number of users.
        num_items: Number of items.
        in_channels: Channels of each modality ``data['item'].x_<modality>``.
        embedding_dim: Channels of the id embeddings and of the result. (default: ``64``)
        feature_dim: Channels of the preferences and of the projected features.
            (default: ``256``)
        num_layers: Number of layers :math:`L`, at least one. (default: ``3``)
        combination: ``'concat'`` or ``'add'``, see above. (default: ``'concat'``)

    Raises:
        ValueError: If a size isn't positive, the combination is unknown, or the data passed to
            :meth:`forward` doesn't fit the model.
    """

    paper = 'https://doi.org/10.1145/3343031.3351034'
    year = 2019

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        in_channels: Mapping[str, int],
        embedding_dim: int = 64,
        feature_dim: int = 256,
        num_layers: int = 3,
        combination: str = 'concat',
    ) -> None:
        super().__init__(num_users, num_items)
        check_positive('embedding_dim', embedding_dim)
        check_positive('feature_dim', feature_dim)
        check_positive('num_layers', num_layers)
        check_choice('combination', combination, COMBINATIONS)
        self.in_channels = dict(in_channels)
        self.embedding_dim = embedding_dim
        self.feature_dim = feature_dim
        self.num_layers = num_layers
        self.combination = combination
        self.user_embedding = Embedding(num_users, embedding_dim)
        self.item_embedding = Embedding(num_items, embedding_dim)
        self._features = ModalityFeatures(in_channels)
        widths = [feature_dim] + [embedding_dim] * num_layers
        self.branches = ModuleList(
            [_Branch(num_users, channels, widths, combination) for channels in in_channels.values()]
        )
        self._cache = TensorCache()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise the parameters anew; clear the graph and the features."""
        torch.nn.init.xavier_normal_(self.user_embedding.weight)
        torch.nn.init.xavier_normal_(self.item_embedding.weight)
        reset(self.branches)
        self._features.clear()
        self._cache.clear()

    def embed(
        self, data: HeteroData, users: Tensor | None, items: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return the mean over the modalities; of the last layer, only the rows asked for."""
        pair = self._graph(data)
        x_user, x_item = self.user_embedding.weight, self.item_embedding.weight
        embeddings = x_user, self.zero_cold(data, x_item)
        parts = [
            branch(pair, row, has, embeddings, (users, items))
            for branch, (row, has) in zip(
                self.branches, self._features(data, self.dtype), strict=True
            )
        ]
        z_user, z_item = (torch.stack(z).mean(dim=0) for z in zip(*parts, strict=True))
        return z_user, z_item

    def _graph(self, data: HeteroData) -> CSRPair:
        self.check_sizes(data)
        size = self.num_users, self.num_items
        return self._cache.get(
            [interaction_edges(data)], lambda: CSRPair(interactions(data), size=size)
        )


class _Branch(Module):
    """The convolutions of one modality."""

    def __init__(
        self, num_users: int, in_channels: int, widths: list[int], combination: str
    ) -> None:
        super().__init__()
        self.preference = Embedding(num_users, widths[0])
        self.lin = Linear(in_channels, widths[0])
        self.layers = ModuleList([_Layer(*ends, combination) for ends in pairwise(widths)])

    def reset_parameters(self) -> None:
        torch.nn.init.xavier_normal_(self.preference.weight)
        self.lin.reset_parameters()
        reset(self.layers)

    def forward(
        self,
        pair: CSRPair,
        features: Tensor,
        has: Tensor,
        embeddings: tuple[Tensor, Tensor],
        read: tuple[Tensor | None, Tensor | None],
    ) -> tuple[Tensor, Tensor]:
        x_user = unit_length(self.preference.weight)
        x_item = unit_length(self.lin(features)) * has
        for layer in self.layers:
            users, items = read if layer is self.layers[-1] else (None, None)
            x_user, x_item = (
                layer(pair.t(), x_item, x_user, embeddings[0], users),
                layer(pair, x_user, x_item, embeddings[1], items),
            )
        return x_user, x_item


class _Layer(Module):
    """What a node makes of the mean of its neighbours, of itself and of its id embedding."""

    def __init__(self, in_channels: int, out_channels: int, combination: str) -> None:
        super().__init__()
        self.concat = combination == 'concat'
        self.message = Linear(in_channels, in_channels, bias=False)
        self.lin_self = Linear(in_channels, out_channels)
        self.lin = Linear(in_channels + (out_channels if self.concat else 0), out_channels)

    def reset_parameters(self) -> None:
        for lin in (self.message, self.lin_self, self.lin):
            lin.reset_parameters()
            torch.nn.init.xavier_normal_(lin.weight)

    def forward(
        self, pair: CSRPair, x: Tensor, x_self: Tensor, embedding: Tensor, rows: Tensor | None
    ) -> Tensor:
        num_neighbors = select(pair.num_incoming, rows).clamp(min=1)[:, None]
        h = F.leaky_relu(pair.matmul(self.message(x), rows=rows) / num_neighbors)
        own = F.leaky_relu(self.lin_self(select(x_self, rows))) + select(embedding, rows)
        if self.concat:
            return F.leaky_relu(self.lin(torch.cat([h, own], dim=1)))
        return F.leaky_relu(self.lin(h) + own)
