from torch_geometric.data import HeteroData
from torch_geometric.utils import coalesce

from pyg_mmgef.schema import interactions, num_users_items
from pyg_mmgef.sparse.csr_pair import CSRPair

__all__ = ['histories']


def histories(data: HeteroData) -> CSRPair:
    """Return the graph item → user in which a repeated interaction counts once.

    Its matrix has a row per user, the user's history, with a one for each item.
    """
    return CSRPair(coalesce(interactions(data)), size=num_users_items(data)).t()
