import torch
from torch import Tensor
from torch.nn import Embedding
from torch_geometric.data import HeteroData

from pyg_mmgef.catalog.fold_in import LinearFoldIn
from pyg_mmgef.nn.models.recommender import Recommender
from pyg_mmgef.nn.parts._fold_in import as_array, propagated_rows
from pyg_mmgef.nn.parts._id_rows import select
from pyg_mmgef.nn.parts.embedding_parts import ItemPart, UserParts, propagated_parts
from pyg_mmgef.nn.parts.interaction_graph import InteractionGraph
from pyg_mmgef.nn.parts.sampled_batch import check_hops, rows_of
from pyg_mmgef.nn.parts.triplet_batch import TripletBatch
from pyg_mmgef.schema import INTERACTS, ITEM, REV_INTERACTS, USER
from pyg_mmgef.sparse.csr_pair import CSRPair
from pyg_mmgef.sparse.layer_mean import layer_mean
from pyg_mmgef.validate import check_not_negative, check_positive

__all__ = ['LightGCN']


class LightGCN(Recommender):
    r"""Light graph convolution over user-item interactions.

    .. math::
        \mathbf{z}^{(l+1)}_i = \sum_{u \in \mathcal{N}(i)} \frac{\mathbf{z}^{(l)}_u}
        {\sqrt{d_u d_i}}, \qquad
        \mathbf{z}^{(l+1)}_u = \sum_{i \in \mathcal{N}(u)} \frac{\mathbf{z}^{(l)}_i}
        {\sqrt{d_u d_i}}, \qquad
        \mathbf{z} = \frac{1}{L + 1} \sum_{l=0}^{L} \mathbf{z}^{(l)}

    from `"LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation"
    <https://arxiv.org/abs/2002.02126>`_ (Eqs. 3-4, 8), with id embeddings
    :math:`\mathbf{z}^{(0)}`. The score of an item for a user is the inner product of their
    embeddings. Against :class:`torch_geometric.nn.LightGCN` the graph is bipartite, so users and
    items keep their own ids, and it is sorted and normalised once, not in every step. All layers
    together are one operation, :func:`~pyg_mmgef.sparse.layer_mean`, with the numbers of stacked
    :class:`~pyg_mmgef.nn.BipartiteLGConv`.

    Args:
        num_users: Number of users.
        num_items: Number of items.
        embedding_dim: Channels of the embeddings. (default: ``64``)
        num_layers: Number of layers :math:`L`; zero is matrix factorisation. (default: ``2``)
        edge_dropout: Share of the interactions that don't propagate in a training epoch, sampled
            anew by :meth:`start_epoch`. An interaction is kept with a probability proportional to
            :math:`1 / \sqrt{d_u d_i}`, so those of popular items and active users go first, as in
            FREEDOM (`arXiv 2211.06924 <https://arxiv.org/abs/2211.06924>`_, Sec. 3.2).
            (default: ``0.0``)
        seed: Seed of the edge dropout. (default: ``0``)
        embedding_l2: Weight :math:`\lambda` of the penalty on the embeddings of layer 0 that
            :meth:`loss` adds. The paper has it (Eq. 15, there on all rows; here, as in the authors'
            code, on those of the batch) in place of one on the final embeddings, so the loss
            function that goes with it is ``BPRLoss(l2=0)``; ``BPRLoss()`` has a penalty of its
            own. (default: ``0.0``)
        sparse: Whether the embeddings get sparse gradients from sampled batches, for
            :class:`torch.optim.SparseAdam`; those from the whole data are dense.
            (default: :obj:`False`)

    Raises:
        ValueError: If a number is out of range, or the data passed to :meth:`forward` has other
            numbers of users and items.

    Example:
        >>> data = HeteroData()
        >>> data['user'].num_nodes, data['item'].num_nodes = 2, 3
        >>> data['user', 'interacts', 'item'].edge_index = torch.tensor([[0, 1], [0, 2]])
        >>> z_user, z_item = LightGCN.from_data(data, embedding_dim=8)(data)
        >>> z_user.shape, z_item.shape
        (torch.Size([2, 8]), torch.Size([3, 8]))
    """

    paper = 'https://arxiv.org/abs/2002.02126'
    year = 2020
    takes_batches = True

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        embedding_dim: int = 64,
        num_layers: int = 2,
        edge_dropout: float = 0.0,
        seed: int = 0,
        embedding_l2: float = 0.0,
        sparse: bool = False,
    ) -> None:
        super().__init__(num_users, num_items)
        check_positive('embedding_dim', embedding_dim)
        check_not_negative('num_layers', num_layers, integer=True)
        check_not_negative('embedding_l2', embedding_l2)
        self.embedding_dim = embedding_dim
        self.num_layers = num_layers
        self.edge_dropout = edge_dropout
        self.seed = seed
        self.embedding_l2 = embedding_l2
        self.sparse = sparse
        self.user_embedding = Embedding(num_users, embedding_dim, sparse=sparse)
        self.item_embedding = Embedding(num_items, embedding_dim, sparse=sparse)
        self._graph = InteractionGraph(num_users, num_items, edge_dropout, seed)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise the embeddings anew and clear the graph."""
        torch.nn.init.xavier_uniform_(self.user_embedding.weight)
        torch.nn.init.xavier_uniform_(self.item_embedding.weight)
        self._graph.clear()

    @property
    def changes_with_epoch(self) -> bool:
        """Whether interactions are dropped."""
        return self.edge_dropout > 0

    def start_epoch(self, data: HeteroData, epoch: int) -> None:
        """Sample anew which interactions propagate in training, if there is edge dropout.

        Args:
            data: The train graph.
            epoch: The epoch that starts; the sample depends on it, the seed, the data and the kind
                of device alone.
        """
        super().start_epoch(data, epoch)
        self._graph.start_epoch(epoch)

    def epoch_data(self, data: HeteroData) -> HeteroData:
        """Return the data with the interactions of the epoch, to sample batches from."""
        data = super().epoch_data(data)
        return self._graph.keep(data) if self.training else data

    def interaction_graph(self, data: HeteroData) -> CSRPair:
        """Return the normalised graph user → item, built once for the same ``edge_index``."""
        return self._graph.whole(data, self.dtype)

    def epoch_graph(self, data: HeteroData) -> CSRPair:
        """Return the normalised graph of the interactions that propagate in this epoch."""
        return self._graph.sample(data, self.dtype)

    def embed(
        self, data: HeteroData, users: Tensor | None, items: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the mean over the layers, and layer 0 of all users and items of the data.

        Of the last layer, only the rows asked for are computed.
        """
        check_hops(data, (INTERACTS, REV_INTERACTS), self.num_layers)
        x_user = rows_of(self.user_embedding, data[USER])
        x_item = rows_of(self.item_embedding, data[ITEM])
        forth, back = self._graph.directions(data, self.dtype, of_epoch=self.training)
        z_user, z_item = layer_mean(
            forth, x_user, x_item, self.num_layers, back=back, sources=users, destinations=items
        )
        return z_user, z_item, x_user, x_item

    @torch.no_grad()
    def propagated_fold_in(self, data: HeteroData) -> LinearFoldIn:
        r"""Return what embeds new users by propagation alone, with nothing learned of users.

        .. math::
            \mathbf{z}_u = \frac{1}{\sqrt{n}} \sum_{j \in \mathcal{N}(u)} \mathbf{v}_j, \qquad
            \mathbf{v}_j = \frac{1}{(L + 1) \sqrt{d_j}} \sum_{l=0}^{L-1} \mathbf{z}^{(l)}_j

        for a user with :math:`n` items. It is the embedding of a user who joins the graph with an
        embedding of zero at layer 0, where the items keep the degrees :math:`d_j` of the data; with
        more than two layers, without what the user's own embedding brings back. A cold item's
        :math:`\mathbf{v}_j` is what its features say.

        :meth:`fold_in` is the better one for ranking where the model knows many users: it also
        has what the embeddings of layer 0 would be, by what those of the known users are.

        Args:
            data: The train graph.

        Raises:
            ValueError: If the data has other numbers of users and items, or there are no layers,
                so that nothing propagates to a user.
        """
        self.check_sizes(data)
        if self.num_layers == 0:
            raise ValueError(
                "with num_layers=0 nothing propagates from items to users; use 'fold_in'"
            )
        rows = propagated_rows(
            data,
            self.interaction_graph(data),
            self.user_embedding.weight,
            self.item_embedding.weight,
            self.num_layers,
        )
        return LinearFoldIn(as_array(self._with_cold_rows(data, rows)))

    def split_user(self, data: HeteroData, user: int) -> UserParts:
        """Return what each interaction adds, and what the user's own embedding does."""
        return propagated_parts(
            self.interaction_graph(data),
            self.user_embedding.weight,
            self.item_embedding.weight,
            self.num_layers,
            user,
        )

    def split_items(self, data: HeteroData, items: Tensor) -> list[ItemPart]:
        """Return the embeddings, learned from interactions as a whole."""
        _, z_item, *_ = self.embed(data, items[:0], items)
        return [ItemPart.of_rows('collaborative', z_item)]

    def extra_loss(self, data: HeteroData, batch: TripletBatch, *embedded: Tensor) -> Tensor | None:
        r"""Return the penalty on layer 0, if there is one.

        .. math::
            \frac{\lambda}{2 B} \sum_{(u, i, n)} \left( \lVert \mathbf{z}^{(0)}_u \rVert^2 +
            \lVert \mathbf{z}^{(0)}_i \rVert^2 + \lVert \mathbf{z}^{(0)}_n \rVert^2 \right)

        With several negatives per positive, their terms are averaged.
        """
        if self.embedding_l2 == 0:
            return None
        _, _, x_user, x_item = embedded
        pairs = ((x_user, batch.users), (x_item, batch.items), (x_item, batch.negatives))
        terms = [
            select(x, ids.flatten()).square().sum() / ids.numel() for x, ids in pairs if ids.numel()
        ]
        return self.embedding_l2 / 2 * torch.stack(terms).sum() if terms else None
