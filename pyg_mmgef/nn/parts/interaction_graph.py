import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.graph.weights import bipartite_normalize
from pyg_mmgef.nn.parts.tensor_cache import TensorCache
from pyg_mmgef.schema import (
    INTERACTS,
    ITEM,
    REV_INTERACTS,
    interaction_edges,
    interactions,
    is_sampled,
    reverse_interactions,
)
from pyg_mmgef.sparse.csr_pair import CSRPair
from pyg_mmgef.validate import check_edge_index, check_fraction

__all__ = [
    'InteractionGraph',
    'normalized_interactions',
    'sample_interactions',
    'sampled_neighbors',
]


class InteractionGraph:
    """The normalised graph user → item of the data, and the part of it that an epoch keeps.

    Each is built once for the same interactions. A sampled batch has two graphs, one for each
    direction, see :func:`sampled_neighbors`.

    Args:
        num_users: Number of users.
        num_items: Number of items.
        edge_dropout: Share of the interactions that an epoch leaves out, see
            :func:`sample_interactions`. (default: ``0.0``)
        seed: Seed of the samples. (default: ``0``)

    Raises:
        ValueError: If :obj:`edge_dropout` doesn't lie in [0, 1).
    """

    def __init__(
        self, num_users: int, num_items: int, edge_dropout: float = 0.0, seed: int = 0
    ) -> None:
        check_fraction('edge_dropout', edge_dropout, '[0, 1)')
        self.size = num_users, num_items
        self.edge_dropout = edge_dropout
        self.seed = seed
        self._whole, self._sample = TensorCache(), TensorCache()
        self.clear()

    def clear(self) -> None:
        """Clear the graphs and go back to epoch 0."""
        self._whole.clear()
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        """Sample anew, as :func:`sample_interactions` does for the epoch."""
        self._epoch = epoch
        self._sample.clear()

    def whole(self, data: HeteroData, dtype: torch.dtype) -> CSRPair:
        """Return the graph of all interactions, for embeddings of a type."""
        return self._whole.get(
            [interaction_edges(data)],
            lambda: normalized_interactions(interactions(data), self.size, dtype),
            dtype,
        )

    def sample(self, data: HeteroData, dtype: torch.dtype) -> CSRPair:
        """Return the graph of what this epoch keeps, normalised by the degrees that are left."""
        if self.edge_dropout == 0:
            return self.whole(data, dtype)

        def build() -> CSRPair:
            edge_index = interactions(data)
            return normalized_interactions(edge_index[:, self._kept(edge_index)], self.size, dtype)

        return self._sample.get([interaction_edges(data)], build, dtype)

    def directions(
        self, data: HeteroData, dtype: torch.dtype, *, of_epoch: bool
    ) -> tuple[CSRPair, CSRPair]:
        """Return the graphs user → item and item → user, of the data or of a sampled batch.

        Args:
            data: The train graph, or a batch.
            dtype: The type of the embeddings.
            of_epoch: Whether to leave out what this epoch leaves out; a batch was sampled from what
                is left, see :meth:`keep`.
        """
        if is_sampled(data):
            return sampled_neighbors(data, dtype)
        pair = self.sample(data, dtype) if of_epoch else self.whole(data, dtype)
        return pair, pair.t()

    def keep(self, data: HeteroData) -> HeteroData:
        """Return the data with the interactions of this epoch, prepared to be sampled.

        All interactions stay its supervision edges, ``edge_label_index``, if it had none; and
        ``data['item'].is_warm`` says which items have any.
        """
        if self.edge_dropout == 0:
            return data
        edge_index = interactions(data)
        out = data.edge_subgraph({INTERACTS: self._kept(edge_index)})
        out[INTERACTS].edge_label_index = edge_index
        for key in ('edge_label_index', 'edge_label'):
            if key in data[INTERACTS]:
                out[INTERACTS][key] = data[INTERACTS][key]
        out[ITEM].is_warm = edge_index[1].bincount(minlength=self.size[1]) > 0
        reverse_interactions(out)
        return out

    def _kept(self, edge_index: Tensor) -> Tensor:
        num_kept = max(1, round((1 - self.edge_dropout) * edge_index.size(1)))
        return sample_interactions(edge_index, self.size, num_kept, self.seed, self._epoch)


def normalized_interactions(
    edge_index: Tensor, size: tuple[int, int], dtype: torch.dtype
) -> CSRPair:
    """Return the graph user → item with LightGCN's weights.

    Args:
        edge_index: The interactions. Shape: ``[2, E]``.
        size: Number of users and of items.
        dtype: The type of the embeddings; half precision is summed in float32.
    """
    dtype = torch.promote_types(dtype, torch.float32)
    return CSRPair(edge_index, bipartite_normalize(edge_index, None, size, dtype=dtype), size)


def sampled_neighbors(data: HeteroData, dtype: torch.dtype) -> tuple[CSRPair, CSRPair]:
    r"""Return the graphs user → item and item → user of a sampled batch.

    A node :math:`v` with :math:`d_v` neighbours, of which :math:`s_v` were sampled, receives

    .. math::
        \frac{d_v}{s_v} \sum_{w} \frac{\mathbf{x}_w}{\sqrt{d_v d_w}}

    from those. In expectation over uniform samples that is what it receives from all, and with all
    of them sampled it is the same.

    Args:
        data: The batch, with the degrees :math:`d` of its nodes in the whole data.
        dtype: The type of the embeddings; half precision is summed in float32.
    """
    dtype = torch.promote_types(dtype, torch.float32)
    graphs = []
    for edge_type in (INTERACTS, REV_INTERACTS):
        source, _, destination = edge_type
        size = data[source].n_id.numel(), data[destination].n_id.numel()
        edge_index = data[edge_type].edge_index
        check_edge_index('edge_index', edge_index, size, (source, destination))
        degree_source = data[source].degree[edge_index[0]].to(dtype)
        degree = data[destination].degree.to(dtype)
        num_sampled = edge_index[1].bincount(minlength=size[1])
        weight = (degree.sqrt() / num_sampled)[edge_index[1]] * degree_source.rsqrt()
        graphs.append(CSRPair(edge_index, weight, size))
    return graphs[0], graphs[1]


def sample_interactions(
    edge_index: Tensor, size: tuple[int, int], num_kept: int, seed: int, epoch: int
) -> Tensor:
    r"""Return the increasing positions of a sample of the interactions.

    One is kept with a probability proportional to :math:`1 / \sqrt{d_u d_i}`, so those of popular
    items and active users go first.

    Args:
        edge_index: The interactions; none stay none. Shape: ``[2, E]``.
        size: Number of users and of items.
        num_kept: How many to keep.
        seed: The sample depends on it, the epoch, the interactions and the kind of device alone.
        epoch: The epoch.
    """
    if edge_index.size(1) == 0:
        return edge_index.new_empty(0)
    weight = bipartite_normalize(edge_index, None, size)
    generator = torch.Generator(edge_index.device)
    generator.manual_seed(seed * 1_000_003 + epoch)
    return _sample(weight, num_kept, generator)


def _sample(weight: Tensor, num_kept: int, generator: torch.Generator) -> Tensor:
    r"""Return the increasing positions of a sample without replacement, by weight.

    The largest :math:`w_e / q_e` are kept, with :math:`q_e` exponentially distributed; so does
    :func:`torch.multinomial`, for at most :math:`2^{24}` weights.
    """
    q = torch.empty_like(weight).exponential_(generator=generator)
    return (weight / q).topk(num_kept, sorted=False).indices.sort().values
