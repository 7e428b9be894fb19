from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn.models.ials import IALS
from pyg_mmgef.nn.parts._tensor_digest import tensor_digest
from pyg_mmgef.nn.parts.content_map import ContentMap
from pyg_mmgef.nn.parts.histories import histories
from pyg_mmgef.nn.parts.item_graphs import ItemGraphs
from pyg_mmgef.nn.parts.tensor_cache import TensorCache
from pyg_mmgef.schema import item_modalities, item_relations, num_users_items
from pyg_mmgef.validate import check_fraction, check_not_negative

__all__ = ['ContentIALS']

SOLVES = 3  # Of the users with known items, each from the last.
RIDGE = 1e-2  # Of the fit between two embeddings of the users, as a share of their mean square.
TINY = 1e-30
ADAPTING = 'adapting'


class ContentIALS(IALS):
    r"""IALS that pulls items towards a prediction from content and neighbours, not to zero.

    .. math::
        \lambda \sum_i (d_i + \alpha |\mathcal{U}|)^{\nu} \lVert \mathbf{z}_i -
        \mathbf{h}_i \rVert^2, \qquad
        \mathbf{h}_i = w_c \, f(\mathbf{x}_i) + \sum_g w_g \sum_j a^g_{j \to i} \, \mathbf{z}_j

    takes the place of the items' penalty in :class:`IALS`. :math:`f` is the linear map from
    features to embeddings that warm items teach (:class:`~pyg_mmgef.nn.parts.ContentMap`), learned
    anew in each sweep, and :math:`a^g` are the item graphs of the data. An item with few
    interactions is near :math:`\mathbf{h}_i`, one with many goes where they lead; how far, the
    content delays (:attr:`Recommender.content_count`).

    A user's embedding is fitted to all that items are, while a cold item is known by its content
    alone. So users are solved once more, from a history of the items :math:`\beta f(\mathbf{x}_j) +
    (1 - \beta) \, \mathbf{z}_j`, which gives :math:`\mathbf{y}_u`. A cold item has

    .. math::
        \mathbf{M} f(\mathbf{x}_i), \qquad \mathbf{M} = \arg\min_{\mathbf{M}} \sum_u \lVert
        \mathbf{y}_u - \mathbf{M}^{\top} \mathbf{z}_u \rVert^2,

    so that :math:`\mathbf{z}_u^{\top} \mathbf{M} f(\mathbf{x}_i)` is close to
    :math:`\mathbf{y}_u^{\top} f(\mathbf{x}_i)`. A factor keeps :math:`\mathbf{M} f(\mathbf{x}_i)`
    as long as :math:`f(\mathbf{x}_i)` over all warm items, as cold items rank above more warm ones
    the longer they are.

    It is not the model of one paper: the prior is that of `"Collaborative topic modeling for
    recommending scientific articles" <https://doi.org/10.1145/2020408.2020480>`_ (KDD 2011, Eq. 7),
    with a map in place of a topic model and the item graphs of MM-GEF beside it; the rest is
    :class:`IALS`.

    Args:
        num_users: Number of users.
        num_items: Number of items.
        embedding_dim: Channels of the embeddings. (default: ``128``)
        l2: The penalty :math:`\lambda`. (default: ``0.03``)
        unobserved_weight: The weight :math:`\alpha`, see :class:`IALS`. (default: :obj:`None`)
        content_weight: The weight :math:`w_c`. (default: ``0.5``)
        content_count: How many interactions an item's content counts as, once all embeddings are
            solved, see :attr:`Recommender.content_count`. (default: ``10``)
        history_content: The share :math:`\beta` of content in the histories that cold items are
            ranked by; 0 gives them :math:`f(\mathbf{x}_i)`. (default: ``0.6``)
        item_graphs: The weight :math:`w_g` of each item graph ``data['item', relation, 'item']``,
            by its relation; none for :obj:`None`. (default: :obj:`None`)
        l2_exponent: See :class:`IALS`. (default: ``0.5``)
        num_sweeps: See :class:`IALS`. (default: ``16``)
        num_steps: See :class:`IALS`. (default: ``3``)
        seed: See :class:`IALS`. (default: ``0``)

    Raises:
        ValueError: If a number is out of range, or the data passed to :meth:`forward` lacks a
            graph, or has other numbers of users and items.
    """

    paper = 'https://doi.org/10.1145/2020408.2020480'
    year = 2011
    reads_graphs = ('co_interacts',)

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        embedding_dim: int = 128,
        l2: float = 0.03,
        unobserved_weight: float | None = None,
        content_weight: float = 0.5,
        content_count: float = 10.0,
        history_content: float = 0.6,
        item_graphs: Mapping[str, float] | None = None,
        l2_exponent: float = 0.5,
        num_sweeps: int = 16,
        num_steps: int = 3,
        seed: int = 0,
    ) -> None:
        super().__init__(
            num_users,
            num_items,
            embedding_dim=embedding_dim,
            l2=l2,
            unobserved_weight=unobserved_weight,
            l2_exponent=l2_exponent,
            num_sweeps=num_sweeps,
            num_steps=num_steps,
            seed=seed,
        )
        check_fraction('content_weight', content_weight)
        check_not_negative('content_count', content_count)
        check_fraction('history_content', history_content)
        self.content_weight = content_weight
        self.content_count = content_count
        self.history_content = history_content
        self.item_graphs = dict(item_graphs) if item_graphs else None
        for name, weight in (item_graphs or {}).items():
            check_not_negative(f'item_graphs[{name!r}]', weight)
        self.graphs = ItemGraphs(num_items, item_graphs) if item_graphs else None
        # Both learn from the same features, whose decomposition is kept once.
        self.content_map = self._prior_map = ContentMap()
        self._adapted = TensorCache()

    @classmethod
    def from_data(cls, data: HeteroData, **kwargs: Any) -> 'ContentIALS':
        """Build the model for :obj:`data`.

        Unless ``item_graphs`` are given, the item graph ``'co_interacts'`` counts 0.3 if the data
        has it, and where there are no features to read, the graph ``'similar'`` counts 0.5.

        Args:
            data: A graph in the schema of this package.
            **kwargs: Arguments of the constructor.
        """
        relations = item_relations(data)
        weights = {'co_interacts': 0.3} if 'co_interacts' in relations else {}
        if 'similar' in relations and not item_modalities(data)[0]:
            weights = {'similar': 0.5, **weights}
        kwargs.setdefault('item_graphs', weights)
        return cls(*num_users_items(data), **kwargs)

    def reset_parameters(self) -> None:
        """Clear what was computed; there are no parameters."""
        super().reset_parameters()
        self._adapted.clear()

    def prior(self, data: HeteroData, z_item: Tensor) -> Tensor | None:
        """Return what content and neighbours say of the items, see the class."""
        is_warm = self.is_warm(data)
        if not bool(is_warm.any()):
            return None
        content = self._content_of(data, is_warm) if self.content_weight > 0 else None
        out = torch.zeros_like(z_item)
        if content is not None:
            fitted = self._prior_map.fit(content.warm, z_item[is_warm[:, 0]])
            # No other row is read: cold items have no interactions to weigh it against.
            out[is_warm[:, 0]] = self.content_weight * fitted(content.warm).to(z_item.dtype)
        if self.graphs is not None:
            (graph,) = self.graphs(data)
            out = out + graph.matmul(torch.where(is_warm, z_item, 0.0))
        return out

    def adapt_cold(self, data: HeteroData, z_item: Tensor) -> Tensor:
        r"""Return the product with :math:`\mathbf{M}`, see the class."""
        if self.history_content == 0:
            return z_item
        matrix = self._adapted.get(self._sources(data), lambda: self._restored_or_adapting(data))
        return z_item @ matrix.t().to(z_item.dtype)

    def packed_solution(self) -> tuple[str, dict[str, Tensor]] | None:
        """Return the solution, with the matrix of cold items if it has been computed."""
        packed, entry = super().packed_solution(), self._adapted.entry
        if packed is None or entry is None or tensor_digest(entry[0]) != packed[0]:
            return packed
        return packed[0], {**packed[1], ADAPTING: entry[1]}

    def give_solution(self, digest: str, tensors: dict[str, Tensor]) -> None:
        """Set the solution, and the matrix of cold items if it is there."""
        super().give_solution(digest, tensors)
        self._adapted.clear()

    def _further_shapes(self) -> dict[str, tuple[int, ...]]:
        return {ADAPTING: (self.embedding_dim, self.embedding_dim)}

    def _restored_or_adapting(self, data: HeteroData) -> Tensor:
        given = self._given_for(data) or {}
        return given[ADAPTING] if ADAPTING in given else self._adapting_matrix(data)

    @torch.no_grad()
    def _adapting_matrix(self, data: HeteroData) -> Tensor:
        z_user, z_item = self._solution(data)
        is_warm = self.is_warm(data)
        content = self._content_of(data, is_warm)
        assert content is not None
        own = z_item[is_warm[:, 0]]
        fitted = self._prior_map.fit(content.warm, own)(content.warm).to(own.dtype)
        # The rows of cold items are zero.
        known = z_item.index_put((is_warm[:, 0],), own.lerp(fitted, self.history_content))
        to_user, of_content = histories(data), z_user
        for _ in range(SOLVES):
            of_content = self._side(to_user, known, of_content)
        z_user, of_content = z_user.double(), of_content.double()
        gram, right = z_user.t() @ z_user, z_user.t() @ of_content
        gram.diagonal().add_(RIDGE * gram.diagonal().mean() + TINY)
        matrix = torch.linalg.solve(gram, right)
        fitted = fitted.double()
        return matrix * (fitted.norm() / (fitted @ matrix.t()).norm().clamp(min=TINY))

    def _sources(self, data: HeteroData) -> list[Tensor]:
        x, has = item_modalities(data)
        graphs = [] if self.graphs is None else self.graphs.tensors(data)
        return [*super()._sources(data), *x.values(), *has.values(), *graphs]
