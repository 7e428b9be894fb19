import torch
from torch_geometric.data import HeteroData
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from pyg_mmgef._describe import describe
from pyg_mmgef.graph.knn import check_knn_options, knn_graph
from pyg_mmgef.graph.weights import normalize_similarity
from pyg_mmgef.schema import item_store
from pyg_mmgef.transforms._store_graph import store_graph

__all__ = ['AddItemKNNGraph']


@functional_transform('add_item_knn_graph')
class AddItemKNNGraph(BaseTransform):
    r"""Add the multimodal graph: every item receives from its most similar items.

    It has the :math:`k` largest similarities per item, without itself, normalised to
    :math:`\mathbf{D}^{-1/2} \mathbf{S} \mathbf{D}^{-1/2}`; see :func:`~pyg_mmgef.graph.knn_graph`
    and :func:`~pyg_mmgef.graph.normalize_similarity`. It is MM-GEF's frozen graph (`arXiv
    2308.07222 <https://arxiv.org/abs/2308.07222>`_). For late fusion, add one graph per modality:
    ``AddItemKNNGraph(attr='x_image', relation='similar_image')``.

    Args:
        k: Number of neighbours of an item. (default: ``10``)
        attr: The item features to compare. (default: ``'x'``)
        relation: The graph becomes ``data['item', relation, 'item']`` and replaces one that was
            there. (default: ``'similar'``)
        metric: ``'cosine'``, ``'ip'`` or ``'l2'``. (default: ``'cosine'``)
        backend: ``'auto'``, ``'exact'``, ``'cluster'`` or ``'faiss_flat'``; see
            :func:`~pyg_mmgef.graph.knn_graph`. (default: ``'auto'``)
        recall: Share of the true neighbours that must be found; see
            :func:`~pyg_mmgef.graph.knn_graph`. (default: :obj:`None`, all)
        loop: Let an item be its own neighbour where it is among its :obj:`k` best.
            (default: :obj:`False`)
        force_undirected: Also add the reverse of every edge. (default: :obj:`False`)
        num_threads: Threads of torch and FAISS; :obj:`None` changes nothing. (default: :obj:`None`)
        generator: Generator of the approximate backend; :obj:`None` makes one seeded with 0.
            (default: :obj:`None`)
        normalize: Drop similarities that aren't positive, such as those that are rounding errors,
            and normalise; :obj:`False` keeps raw
            similarities. (default: :obj:`True`)
        verbose: Show a progress bar. (default: :obj:`False`)

    Raises:
        ValueError: If an option is unknown, the types of the data have other names, or it lacks
            :obj:`attr`.
    """

    def __init__(
        self,
        k: int = 10,
        *,
        attr: str = 'x',
        relation: str = 'similar',
        metric: str = 'cosine',
        backend: str = 'auto',
        recall: float | None = None,
        loop: bool = False,
        force_undirected: bool = False,
        num_threads: int | None = None,
        generator: torch.Generator | None = None,
        normalize: bool = True,
        verbose: bool = False,
    ) -> None:
        check_knn_options(k, metric, backend, recall, num_threads)
        if normalize and metric == 'l2':
            raise ValueError(
                "'normalize' needs similarities, but metric='l2' gives negative distances; "
                'set normalize=False or use another metric'
            )
        self.k = k
        self.attr = attr
        self.relation = relation
        self.metric = metric
        self.backend = backend
        self.recall = recall
        self.loop = loop
        self.force_undirected = force_undirected
        self.num_threads = num_threads
        self.generator = generator
        self.normalize = normalize
        self.verbose = verbose

    def forward(self, data: HeteroData) -> HeteroData:
        """Add ``edge_index`` and ``edge_weight`` of the graph."""
        items = item_store(data)
        if self.attr not in items:
            found = sorted(key for key in items if key == 'x' or key.startswith('x_'))
            raise ValueError(
                f"data['item'] has no features {self.attr!r} (found {found}); FuseModalities() "
                "sets 'x'"
            )
        x = items[self.attr]
        edge_index, edge_weight = knn_graph(
            x,
            self.k,
            metric=self.metric,
            backend=self.backend,
            recall=self.recall,
            loop=self.loop,
            force_undirected=self.force_undirected,
            num_threads=self.num_threads,
            generator=self.generator,
            verbose=self.verbose,
        )
        if self.normalize:
            edge_index, edge_weight = normalize_similarity(edge_index, edge_weight, x.size(0))
        return store_graph(data, self.relation, (edge_index, edge_weight))

    def __repr__(self) -> str:
        return describe(self)
