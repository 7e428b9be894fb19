from torch_geometric.data import HeteroData
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from pyg_mmgef._describe import describe
from pyg_mmgef.graph.co_interaction import WEIGHTINGS, co_interaction_graph
from pyg_mmgef.graph.weights import symmetric_normalize
from pyg_mmgef.schema import CO_INTERACTS, interactions, num_users_items
from pyg_mmgef.transforms._store_graph import store_graph
from pyg_mmgef.validate import check_choice, check_positive

__all__ = ['AddCoInteractionGraph']


@functional_transform('add_co_interaction_graph')
class AddCoInteractionGraph(BaseTransform):
    r"""Add the co-interaction graph: items that share users (item-user-item).

    It is built from ``data['user', 'interacts', 'item'].edge_index`` alone, so apply it to the
    *train* part of a split; see :func:`~pyg_mmgef.graph.co_interaction_graph`. It is normalised to
    :math:`\mathbf{D}^{-1/2} \mathbf{C} \mathbf{D}^{-1/2}`. It is MM-GEF's second item graph
    (`arXiv 2308.07222 <https://arxiv.org/abs/2308.07222>`_).

    Args:
        k: Neighbours kept per item. (default: ``10``)
        relation: The graph becomes ``data['item', relation, 'item']`` and replaces one that was
            there. It must begin with ``'co_interacts'``: the splits refuse data with such a graph,
            which would carry held-out interactions into train. (default: ``'co_interacts'``)
        weighting: ``'cosine'``, ``'jaccard'``, ``'lift'``, ``'raw'`` or ``'lightgcn'``.
            (default: ``'cosine'``)
        min_count: Users that two items must share to be connected; see
            :func:`~pyg_mmgef.graph.co_interaction_graph`. (default: ``1``)
        max_activity: Leave out users with more items; see
            :func:`~pyg_mmgef.graph.co_interaction_graph`. (default: :obj:`None`)
        max_memory: Bytes that torch's blocks may use; see
            :func:`~pyg_mmgef.graph.co_interaction_graph`. (default: ``2**30``)
        num_threads: Threads on the CPU; :obj:`None` means as many as torch uses.
            (default: :obj:`None`)
        normalize: Normalise the weights. (default: :obj:`True`)
        verbose: Show a progress bar. (default: :obj:`False`)

    Raises:
        ValueError: If an option is unknown or out of range, or the data has no interactions.
    """

    def __init__(
        self,
        k: int = 10,
        *,
        relation: str = 'co_interacts',
        weighting: str = 'cosine',
        min_count: int = 1,
        max_activity: int | None = None,
        max_memory: int = 2**30,
        num_threads: int | None = None,
        normalize: bool = True,
        verbose: bool = False,
    ) -> None:
        check_positive('k', k)
        check_positive('min_count', min_count)
        check_positive('max_memory', max_memory)
        for name, value in (('max_activity', max_activity), ('num_threads', num_threads)):
            if value is not None:
                check_positive(name, value)
        check_choice('weighting', weighting, WEIGHTINGS)
        if not relation.startswith(CO_INTERACTS[1]):
            raise ValueError(
                f"'relation' must begin with {CO_INTERACTS[1]!r}, so that the splits recognise a "
                f'graph that was built from interactions (got {relation!r})'
            )
        self.k = k
        self.relation = relation
        self.weighting = weighting
        self.min_count = min_count
        self.max_activity = max_activity
        self.max_memory = max_memory
        self.num_threads = num_threads
        self.normalize = normalize
        self.verbose = verbose

    def forward(self, data: HeteroData) -> HeteroData:
        """Add ``edge_index`` and ``edge_weight`` of the graph."""
        num_users, num_items = num_users_items(data)
        edge_index, edge_weight = co_interaction_graph(
            interactions(data),
            num_users,
            num_items,
            self.k,
            weighting=self.weighting,
            min_count=self.min_count,
            max_activity=self.max_activity,
            max_memory=self.max_memory,
            num_threads=self.num_threads,
            verbose=self.verbose,
        )
        if self.normalize:
            edge_weight = symmetric_normalize(edge_index, edge_weight, num_items)
        return store_graph(data, self.relation, (edge_index, edge_weight))

    def __repr__(self) -> str:
        return describe(self)
