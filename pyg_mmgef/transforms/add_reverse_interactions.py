from torch_geometric.data import HeteroData
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from pyg_mmgef._describe import describe
from pyg_mmgef.schema import reverse_interactions

__all__ = ['AddReverseInteractions']


@functional_transform('add_reverse_interactions')
class AddReverseInteractions(BaseTransform):
    """Add the reversed interactions, and how many each user and item has, for sampled training.

    A loader samples the neighbours of items along ``('user', 'interacts', 'item')``, and those of
    users along ``('item', 'rev_interacts', 'user')``. A batch knows few of the interactions of a
    node, so each node carries the number of all of its own: ``data['user'].degree`` and
    ``data['item'].degree``, int64, in which a repeated interaction counts each time. (PyG's
    :class:`~torch_geometric.transforms.ToUndirected` would also reverse the item graphs, which
    are directed.)

    The splits refuse data with reversed interactions, so apply it to the *train* part of a split,
    last of all transforms. Models use the result as they use the data without it.

    Raises:
        ValueError: If the data has no interactions, or their ids are out of range.

    Example:
        >>> data = HeteroData()
        >>> data['user'].num_nodes, data['item'].num_nodes = 2, 3
        >>> data['user', 'interacts', 'item'].edge_index = torch.tensor([[0, 1, 1], [0, 0, 2]])
        >>> data = AddReverseInteractions()(data)
        >>> data['item', 'rev_interacts', 'user'].edge_index.tolist()
        [[0, 0, 2], [0, 1, 1]]
        >>> data['user'].degree.tolist(), data['item'].degree.tolist()
        ([1, 2], [2, 0, 1])
    """

    def forward(self, data: HeteroData) -> HeteroData:
        """Set the reversed edges, replacing those that were there, and the degrees."""
        reverse_interactions(data)
        return data

    def __repr__(self) -> str:
        return describe(self)
