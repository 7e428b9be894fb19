from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Embedding, Linear
from torch_geometric.data import HeteroData

from pyg_mmgef.nn.fusion.early_fusion import EarlyFusion
from pyg_mmgef.nn.models.recommender import Recommender
from pyg_mmgef.nn.parts._id_rows import select
from pyg_mmgef.nn.parts.embedding_parts import ItemPart, UserParts
from pyg_mmgef.nn.parts.sampled_batch import rows_of
from pyg_mmgef.nn.parts.tensor_cache import TensorCache
from pyg_mmgef.schema import ITEM, USER, item_modalities
from pyg_mmgef.validate import check_positive

__all__ = ['VBPR']


class VBPR(Recommender):
    r"""Matrix factorisation with a second part that is projected from the items' features.

    .. math::
        \hat{x}_{ui} = \boldsymbol{\gamma}_u^{\top} \boldsymbol{\gamma}_i +
        \boldsymbol{\theta}_u^{\top} (\mathbf{E} \mathbf{f}_i) + \beta_i +
        \boldsymbol{\beta}^{\prime \top} \mathbf{f}_i

    from `"VBPR: Visual Bayesian Personalized Ranking from Implicit Feedback"
    <https://arxiv.org/abs/1510.01784>`_, with the features :math:`\mathbf{f}_i` of an item. As
    embeddings,

    .. math::
        \mathbf{z}_u = [\boldsymbol{\gamma}_u, \boldsymbol{\theta}_u, 1], \qquad
        \mathbf{z}_i = [\boldsymbol{\gamma}_i, \mathbf{E} \mathbf{f}_i, \beta_i +
        \boldsymbol{\beta}^{\prime \top} \mathbf{f}_i].

    **Deviations.** The paper's features are those of one picture; ours are the unit vectors of all
    modalities side by side (:func:`~pyg_mmgef.nn.fusion.concat_fusion`), so that no modality weighs
    more for the scale of its encoder. A missing modality leaves its channels at zero. The offset
    and the user bias of the paper are left out, since they change no ranking. For a **cold item**,
    one without train interactions, :math:`\boldsymbol{\gamma}_i` and :math:`\beta_i` are left out:
    the paper keeps what no interaction has taught, here nothing random reaches its score.
    Embeddings and projection start Xavier-uniform, biases at zero.

    Args:
        num_users: Number of users.
        num_items: Number of items.
        in_channels: Channels of each modality ``data['item'].x_<modality>``.
        embedding_dim: Channels of :math:`\boldsymbol{\gamma}`. (default: ``64``)
        feature_dim: Channels of :math:`\boldsymbol{\theta}`. (default: ``64``)
        bias: Add the item bias :math:`\beta_i` and the content bias
            :math:`\boldsymbol{\beta}^{\prime \top} \mathbf{f}_i`; later comparisons, such as those
            made with MMRec, leave both out. (default: :obj:`True`)
        sparse: Whether the embeddings get sparse gradients from sampled batches, see
            :class:`LightGCN`. (default: :obj:`False`)

    Raises:
        ValueError: If a size isn't positive, there is no modality, or the data doesn't fit the
            model.

    Example:
        >>> data = HeteroData()
        >>> data['user'].num_nodes, data['item'].num_nodes = 2, 3
        >>> data['item'].x_image = torch.randn(3, 5)
        >>> data['user', 'interacts', 'item'].edge_index = torch.tensor([[0, 1], [0, 2]])
        >>> z_user, z_item = VBPR.from_data(data, embedding_dim=8, feature_dim=4)(data)
        >>> z_user.shape, z_item.shape
        (torch.Size([2, 13]), torch.Size([3, 13]))
    """

    paper = 'https://arxiv.org/abs/1510.01784'
    year = 2016
    takes_batches = True

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        in_channels: Mapping[str, int],
        embedding_dim: int = 64,
        feature_dim: int = 64,
        bias: bool = True,
        sparse: bool = False,
    ) -> None:
        super().__init__(num_users, num_items)
        check_positive('embedding_dim', embedding_dim)
        check_positive('feature_dim', feature_dim)
        self.in_channels = dict(in_channels)
        self.embedding_dim = embedding_dim
        self.feature_dim = feature_dim
        self.bias = bias
        self.sparse = sparse
        self.fusion = EarlyFusion(in_channels, 'concat')
        self.user_embedding = Embedding(num_users, embedding_dim, sparse=sparse)
        self.item_embedding = Embedding(num_items, embedding_dim, sparse=sparse)
        self.user_content = Embedding(num_users, feature_dim, sparse=sparse)
        self.lin = Linear(self.fusion.out_channels, feature_dim, bias=False)
        self.item_bias = Embedding(num_items, 1, sparse=sparse) if bias else None
        self.content_bias = Linear(self.fusion.out_channels, 1, bias=False) if bias else None
        self._features_cache = TensorCache()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise the parameters anew and clear the features."""
        for layer in (self.user_embedding, self.item_embedding, self.user_content, self.lin):
            torch.nn.init.xavier_uniform_(layer.weight)
        if self.item_bias is not None and self.content_bias is not None:
            torch.nn.init.zeros_(self.item_bias.weight)
            torch.nn.init.zeros_(self.content_bias.weight)
        self._features_cache.clear()

    def embed(
        self, data: HeteroData, users: Tensor | None, items: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return the parts side by side; with biases there is one more channel."""
        of_user = self.user_embedding, self.user_content
        z_user = [rows_of(x, data[USER], users) for x in of_user]
        features = select(self._features(data), items).to(self.lin.weight.dtype)
        own = self.zero_cold(data, rows_of(self.item_embedding, data[ITEM], items), items)
        z_item = [own, self.lin(features)]
        if self.item_bias is not None and self.content_bias is not None:
            z_user.append(torch.ones_like(z_user[0][:, :1]))
            own = self.zero_cold(data, rows_of(self.item_bias, data[ITEM], items), items)
            z_item.append(own + self.content_bias(features))
        return torch.cat(z_user, dim=1), torch.cat(z_item, dim=1)

    def split_user(self, data: HeteroData, user: int) -> UserParts:
        """Return the user's own embedding."""
        z_user, _ = self.embed(data, torch.tensor([user], device=self._empty.device), None)
        return UserParts.without_items(user=z_user[0])

    def split_items(self, data: HeteroData, items: Tensor) -> list[ItemPart]:
        """Return the id embedding, the bias, and what each modality adds."""
        own = self.zero_cold(data, self.item_embedding.weight[items], items)
        padding = self.feature_dim + int(self.bias)
        out = [ItemPart.of_rows('collaborative', F.pad(own, (0, padding)))]
        if self.item_bias is not None:
            bias = self.zero_cold(data, self.item_bias.weight[items], items)
            padding = self.embedding_dim + self.feature_dim
            out.append(ItemPart.of_rows('bias', F.pad(bias, (padding, 0))))
        x, has = ({name: rows[items] for name, rows in of.items()} for of in item_modalities(data))
        for name, features in self.fusion.parts(x, has).items():
            f = features.to(self.lin.weight.dtype)
            made = (
                [self.lin(f)] if self.content_bias is None else [self.lin(f), self.content_bias(f)]
            )
            row = F.pad(torch.cat(made, dim=1), (self.embedding_dim, 0))
            out.append(ItemPart.of_rows('modality', row, name))
        return out

    def _features(self, data: HeteroData) -> Tensor:
        r"""Return :math:`\mathbf{f}` of all items, fused once for the same features."""
        x, has = item_modalities(data)
        return self._features_cache.get([*x.values(), *has.values()], lambda: self.fusion(x, has))
