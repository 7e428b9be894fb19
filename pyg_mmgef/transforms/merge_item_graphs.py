from collections.abc import Mapping

from torch_geometric.data import HeteroData
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from pyg_mmgef._describe import describe
from pyg_mmgef.graph.weights import merge_graphs
from pyg_mmgef.schema import item_graph, num_users_items
from pyg_mmgef.transforms._store_graph import store_graph
from pyg_mmgef.validate import check_graph_weights

__all__ = ['MergeItemGraphs']


@functional_transform('merge_item_graphs')
class MergeItemGraphs(BaseTransform):
    r"""Merge item graphs with a fixed weight for each.

    .. math::
        \mathbf{A} = \textstyle\sum_g w_g \mathbf{A}^g

    FREEDOM (`arXiv 2211.06924 <https://arxiv.org/abs/2211.06924>`_) merges the graphs of the
    modalities so. :class:`~pyg_mmgef.nn.SoftEdgeFusion` learns such weights in training; fixed ones
    can be chosen on validation. The graphs that were merged stay in the data, so name the one that
    a model should use: ``MMGEF.from_data(data, item_graphs=('merged',))``.

    Args:
        item_graphs: The weight :math:`w_g` of each graph ``data['item', relation, 'item']``, keyed
            by its relation. They need not sum to 1.
        relation: The graph becomes ``data['item', relation, 'item']`` and replaces one that was
            there, which may be one of :obj:`item_graphs`. (default: ``'merged'``)

    Raises:
        ValueError: If :obj:`item_graphs` is empty or holds numbers that aren't positive, or the
            data lacks a graph.

    Example:
        >>> data = HeteroData()
        >>> data['user'].num_nodes, data['item'].num_nodes = 1, 2
        >>> for relation, edge in (('similar', (0, 1)), ('co_interacts', (1, 0))):
        ...     data['item', relation, 'item'].edge_index = torch.tensor(edge)[:, None]
        ...     data['item', relation, 'item'].edge_weight = torch.ones(1)
        >>> merged = MergeItemGraphs({'similar': 1.0, 'co_interacts': 0.25})(data)
        >>> merged['item', 'merged', 'item'].edge_weight
        tensor([0.2500, 1.0000])
    """

    def __init__(self, item_graphs: Mapping[str, float], relation: str = 'merged') -> None:
        check_graph_weights('item_graphs', item_graphs)
        self.item_graphs = dict(item_graphs)
        self.relation = relation

    def forward(self, data: HeteroData) -> HeteroData:
        """Set ``data['item', relation, 'item']``."""
        _, num_items = num_users_items(data)
        graphs = [item_graph(data, relation) for relation in self.item_graphs]
        merged = merge_graphs(graphs, list(self.item_graphs.values()), num_items)
        return store_graph(data, self.relation, merged)

    def __repr__(self) -> str:
        return describe(self)
