from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch_geometric.data import HeteroData

from pyg_mmgef.catalog.fold_in import LeastSquaresFoldIn
from pyg_mmgef.nn.models._solved import SolvedRecommender
from pyg_mmgef.nn.parts._fold_in import as_array
from pyg_mmgef.nn.parts._id_rows import select
from pyg_mmgef.nn.parts._tensor_digest import tensor_digest
from pyg_mmgef.nn.parts.embedding_parts import ItemPart, UserParts
from pyg_mmgef.nn.parts.histories import histories
from pyg_mmgef.nn.parts.tensor_cache import TensorCache
from pyg_mmgef.schema import interaction_edges
from pyg_mmgef.sparse.csr_pair import CSRPair
from pyg_mmgef.sparse.edge_scores import edge_scores
from pyg_mmgef.validate import check_not_negative, check_positive

__all__ = ['IALS']

Model = TypeVar('Model', bound='IALS')
TINY = 1e-30  # A system that is solved has a residual of zero.


class IALS(SolvedRecommender[tuple[Tensor, Tensor]]):
    r"""Matrix factorisation of all user-item pairs, by alternating least squares.

    .. math::
        \sum_{(u, i) \in \mathcal{R}} (\mathbf{z}_u^{\top} \mathbf{z}_i - 1)^2 +
        \alpha \sum_u \sum_i (\mathbf{z}_u^{\top} \mathbf{z}_i)^2 + \lambda \Big(
        \sum_u \bar{n}_{\mathcal{U}}^{1 - \nu} n_u^{\nu} \lVert \mathbf{z}_u \rVert^2 +
        \sum_i \bar{n}_{\mathcal{I}}^{1 - \nu} n_i^{\nu} \lVert \mathbf{z}_i \rVert^2 \Big),
        \qquad n_u = d_u + \alpha |\mathcal{I}|, \quad n_i = d_i + \alpha |\mathcal{U}|

    with the train interactions :math:`\mathcal{R}`, the degrees :math:`d`, a weight
    :math:`\alpha` for pairs that never met, and the means :math:`\bar{n}` over all users and
    over all items. With the items fixed, each user's embedding is the
    solution of a linear system, and the other way round; a sweep solves both. From
    `"Collaborative Filtering for Implicit Feedback Datasets"
    <https://doi.org/10.1109/ICDM.2008.22>`_, with the regularisation and the settings of
    `"Revisiting the Performance of iALS on Item Recommendation Benchmarks"
    <https://arxiv.org/abs/2110.14037>`_ (Eqs. 2-5), which make it as good as newer models.

    **Deviation.** The means are not in the paper. With them a penalty :math:`\lambda` is as strong
    for one exponent as for another.

    Pairs that met are in the second sum, too. The older paper, and the package ``implicit``, leave
    them out, which is a change of scale: with :math:`\nu = 0` the objective is theirs, with the
    confidence :math:`1 + 1 / \alpha` of pairs that met, the penalty :math:`(1 + 1 / \alpha)
    \lambda \sqrt{\bar{n}_{\mathcal{U}} \bar{n}_{\mathcal{I}}}`, and scores :math:`1 + \alpha`
    times as large.

    There is nothing to train with a loss: the embeddings are computed when they are first asked
    for. A repeated interaction counts once. A cold item's embedding is zero, unless its features
    stand in, see :class:`Recommender`.

    Args:
        num_users: Number of users.
        num_items: Number of items.
        embedding_dim: Channels of the embeddings. (default: ``64``)
        l2: The penalty :math:`\lambda`. (default: ``0.05``)
        unobserved_weight: The weight :math:`\alpha`; :obj:`None` is ``100 / num_users``, so that
            those who don't know an item weigh as much as a hundred who do. If both weights are too
            large, all embeddings shrink to zero; choose them on validation data.
            (default: :obj:`None`)
        l2_exponent: The exponent :math:`\nu`. At 1, as in the paper, active users and popular items
            are held as strongly as their number of pairs, at 0 all alike; in between is better on
            dense data and as good elsewhere. (default: ``0.5``)
        num_sweeps: How often both sides are solved. (default: ``16``)
        num_steps: Steps of conjugate gradients in which a side is solved, each from where the last
            sweep left it. (default: ``3``)
        seed: Seed of the start. (default: ``0``)

    Raises:
        ValueError: If a number is out of range, or the data passed to :meth:`forward` has other
            numbers of users and items.
    """

    paper = 'https://arxiv.org/abs/2110.14037'
    year = 2022

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        embedding_dim: int = 64,
        l2: float = 0.05,
        unobserved_weight: float | None = None,
        l2_exponent: float = 0.5,
        num_sweeps: int = 16,
        num_steps: int = 3,
        seed: int = 0,
    ) -> None:
        super().__init__(num_users, num_items)
        check_positive('embedding_dim', embedding_dim)
        check_positive('l2', l2, integer=False)
        if unobserved_weight is None:
            unobserved_weight = 100 / num_users
        check_positive('unobserved_weight', unobserved_weight, integer=False)
        check_not_negative('l2_exponent', l2_exponent)
        check_positive('num_sweeps', num_sweeps)
        check_positive('num_steps', num_steps)
        self.embedding_dim = embedding_dim
        self.l2 = l2
        self.unobserved_weight = unobserved_weight
        self.l2_exponent = l2_exponent
        self.num_sweeps = num_sweeps
        self.num_steps = num_steps
        self.seed = seed
        self._shared = TensorCache()  # What the systems of all users have in common.
        self._start: Tensor | None = None
        self._last: Tensor | None = None

    def reset_parameters(self) -> None:
        """Clear what was computed, and what the sweeps start from; there are no parameters."""
        super().reset_parameters()
        self._start = self._last = None
        self._shared.clear()

    def grow(self: Model, num_users: int, num_items: int, data: HeteroData | None = None) -> Model:
        """Return a copy with room for new users and items, see :meth:`Recommender.grow`.

        If the model has been solved, the sweeps of the copy start from its items, and new items at
        random. They need fewer than from nothing: set :attr:`num_sweeps` of the copy.
        """
        grown = super().grow(num_users, num_items, data)
        grown.start_from(self)
        return grown

    def start_from(self, other: 'IALS') -> None:
        """Let the sweeps start from the items of another model, if that has been solved.

        Args:
            other: A model of the same channels, whose items are the first of this one's.
        """
        self._start = other._last

    def keep_solution(self, other: 'IALS', data: HeteroData) -> None:
        """Take the solution of a model of fewer users and items, if that has been solved.

        Nothing is solved: new users and items have no embedding, as they have no interactions.

        Args:
            other: A model of the same options, whose users and items are the first of this one's.
            data: The data of this model: those of the other, with the new users and items.
        """
        packed = other.packed_solution()
        if packed is not None:
            num_rows = {name: shape[0] for name, shape in self._packed_shapes().items()}
            tensors = {
                name: pad(x, (0, 0, 0, (num_rows.get(name) or x.size(0)) - x.size(0)))
                for name, x in packed[1].items()
            }
            self.give_solution(tensor_digest(self._sources(data)), tensors)

    def embed(
        self, data: HeteroData, users: Tensor | None, items: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return the rows of the solution, which is computed once for the same interactions."""
        z_user, z_item = self._solution(data)
        return select(z_user, users).to(self.dtype), select(z_item, items).to(self.dtype)

    def prior(self, data: HeteroData, z_item: Tensor) -> Tensor | None:
        """Return the embeddings that the penalty draws items to; :obj:`None` draws to zero.

        Args:
            data: The train graph.
            z_item: The items' embeddings so far. Shape: ``[num_items, embedding_dim]``.
        """
        return None

    @torch.no_grad()
    def _solve(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        to_user = histories(data)
        to_item, device = to_user.t(), to_user.device
        generator = torch.Generator().manual_seed(self.seed)
        dtype = torch.promote_types(self.dtype, torch.float32)
        z_user = torch.zeros(self.num_users, self.embedding_dim, dtype=dtype, device=device)
        z_item = torch.randn(
            self.num_items, self.embedding_dim, generator=generator, dtype=dtype
        ).to(device)
        z_item = z_item * 0.1 / self.embedding_dim**0.5
        if self._start is not None:
            z_item[: len(self._start)] = self._start.to(z_item)
        is_warm = to_item.num_incoming[:, None] > 0
        z_user = self._side(to_user, z_item, z_user)
        for sweep in range(self.num_sweeps):
            is_random = sweep == 0 and self._start is None
            prior = None if is_random else self.prior(data, z_item)
            z_item = torch.where(is_warm, self._side(to_item, z_user, z_item, prior), 0.0)
            z_user = self._side(to_user, z_item, z_user)
        self._last = z_item
        return z_user, z_item

    def _pack(self, solution: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        return dict(zip(('z_user', 'z_item'), solution, strict=True))

    def _unpack(self, data: HeteroData, tensors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        self._last = tensors['z_item']
        return tensors['z_user'], tensors['z_item']

    def give_solution(self, digest: str, tensors: dict[str, Tensor]) -> None:
        """Set the solution, which the sweeps of a grown copy start from, too."""
        super().give_solution(digest, tensors)
        self._last = tensors['z_item']

    def _packed_shapes(self) -> dict[str, tuple[int | None, ...]]:
        channels = self.embedding_dim
        return {'z_user': (self.num_users, channels), 'z_item': (self.num_items, channels)}

    @torch.no_grad()
    def fold_in(self, data: HeteroData) -> LeastSquaresFoldIn:
        r"""Return what embeds new users: the linear system of a user, solved exactly.

        .. math::
            \mathbf{z}_u = \Big( \alpha \mathbf{Z}^{\top} \mathbf{Z} + \lambda
            \bar{n}_{\mathcal{U}}^{1 - \nu} n_u^{\nu} \mathbf{I} + \sum_{j \in \mathcal{N}(u)}
            \mathbf{z}_j \mathbf{z}_j^{\top} \Big)^{-1} \sum_{j \in \mathcal{N}(u)} \mathbf{z}_j

        with the solved embeddings :math:`\mathbf{Z}` of the items. For a user of the data it is the
        user's own embedding, up to how far the sweeps have solved it. A cold item of a history
        counts with what its features say.

        Args:
            data: The train graph.

        Raises:
            ValueError: If the data has other numbers of users and items.
        """
        self.check_sizes(data)
        _, z_item = self._solution(data)
        mean = self._counts(histories(data)).mean()
        return LeastSquaresFoldIn(
            as_array(self._with_cold_rows(data, z_item)),
            as_array(self.unobserved_weight * z_item.double().t() @ z_item.double(), torch.double),
            penalty=self.l2 * float(mean) ** (1 - self.l2_exponent),
            base_count=self.unobserved_weight * self.num_items,
            exponent=self.l2_exponent,
        )

    @torch.no_grad()
    def user_parts(self, data: HeteroData, user: int) -> tuple[Tensor, Tensor]:
        r"""Return the part of a user's embedding that is due to each interaction.

        The embedding is the solution of a linear system whose right side is a sum over the user's
        items, so it is a sum itself, :math:`\mathbf{z}_u = \sum_j \mathbf{A}_u^{-1} \mathbf{z}_j`,
        as in Sec. 5 of `"Collaborative Filtering for Implicit Feedback Datasets"
        <https://doi.org/10.1109/ICDM.2008.22>`_. The product with an item's embedding says how much
        each interaction adds to its score.

        Args:
            data: The train graph.
            user: The user.

        Returns:
            The user's items, of shape ``[M]``, and the parts, of shape ``[M, embedding_dim]``.
        """
        _, z_item = self._solution(data)

        def build() -> tuple[CSRPair, Tensor, Tensor]:
            to_user, z = histories(data), z_item.double()
            return to_user, self.unobserved_weight * z.t() @ z, self._penalty(to_user)

        edges = interaction_edges(data)
        to_user, shared, penalty = self._shared.get([edges, z_item], build)
        row = torch.tensor([user], device=z_item.device)
        items = select(to_user.matrix(torch.float32), row).col_indices()
        own = z_item[items].double()
        gram = own.t() @ own + shared
        gram.diagonal().add_(penalty[user])
        return items, torch.linalg.solve(gram, own.t()).t().to(self.dtype)

    def split_user(self, data: HeteroData, user: int) -> UserParts:
        """Return the parts of :meth:`user_parts`, and how far the iterations are from their sum."""
        items, history = self.user_parts(data, user)
        z_user, _ = self.embed(data, torch.tensor([user], device=history.device), items[:0])
        return UserParts(items, history, {'residual': z_user[0] - history.sum(dim=0)})

    def split_items(self, data: HeteroData, items: Tensor) -> list[ItemPart]:
        """Return the embeddings, learned from interactions as a whole."""
        return [ItemPart.of_rows('collaborative', self.embed(data, items[:0], items)[1])]

    def _side(self, pair: CSRPair, z: Tensor, start: Tensor, prior: Tensor | None = None) -> Tensor:
        r"""Return the embeddings of one side, given those :math:`\mathbf{z}` of the other.

        All systems are solved together by conjugate gradients, which need the products of a graph
        convolution alone. In the eigenvectors of :math:`\alpha \mathbf{Z}^{\top} \mathbf{Z}`, what
        systems share is diagonal; as the preconditioner, it leaves each row as many steps as it has
        interactions, and fewer from a good start.
        """
        shared, basis = torch.linalg.eigh(self.unobserved_weight * (z.t() @ z))
        z, x = z @ basis, start @ basis
        penalty = self._penalty(pair).to(z.dtype)[:, None]
        diagonal = shared.clamp(min=0) + penalty

        def product(x: Tensor) -> Tensor:
            return pair.matmul(z, edge_scores(pair, z, x)).add_(diagonal * x)

        right = pair.matmul(z)
        if prior is not None:
            right = right + penalty * (prior.to(z.dtype) @ basis)
        residual = right.sub_(product(x))  # In place from here on: new arrays cost more than sums.
        step = direction = residual / diagonal
        size = (residual * step).sum(dim=1, keepdim=True)
        for _ in range(self.num_steps):
            image = product(direction)
            length = size / (direction * image).sum(dim=1, keepdim=True).clamp(min=TINY)
            x.add_(length * direction)
            residual.sub_(image.mul_(length))
            step = residual / diagonal
            before, size = size, (residual * step).sum(dim=1, keepdim=True)
            direction = direction.mul_(size / before.clamp(min=TINY)).add_(step)
        return x @ basis.t()

    def _penalty(self, pair: CSRPair) -> Tensor:
        """Return the weight of the penalty on each embedding of a side. Shape: ``[N]``."""
        count = self._counts(pair)
        return self.l2 * count.mean() ** (1 - self.l2_exponent) * count**self.l2_exponent

    def _counts(self, pair: CSRPair) -> Tensor:
        """Return the pairs of each row of a side, those that never met by their weight."""
        return pair.num_incoming.double() + self.unobserved_weight * pair.size[0]
