from collections.abc import Iterator, Mapping

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info
from torch_geometric.data import FeatureStore, HeteroData
from torch_geometric.loader.utils import filter_custom_hetero_store, filter_hetero_data
from torch_geometric.sampler import HeteroSamplerOutput
from torch_geometric.typing import EdgeType, NodeType

from pyg_mmgef.loader._stores import GraphData
from pyg_mmgef.loader._triplet_batches import TripletBatches, Triplets
from pyg_mmgef.loader.interaction_neighbor_sampler import InteractionNeighborSampler
from pyg_mmgef.schema import INTERACTS, ITEM, USER

__all__ = ['SubgraphBatches', 'as_seeds', 'set_triplets', 'triplet_data']


class SubgraphBatches(IterableDataset[HeteroData]):
    """The batches of a :class:`~pyg_mmgef.loader.TripletNeighborLoader`.

    The seed of a batch's sample depends on the generator's state at the start of the epoch and on
    the number of the batch. The generator itself isn't used, so the triplets stay as they are.

    Args:
        triplets: The triplets of each batch.
        sampler: What samples the subgraph around them.
        data: What the sampler was made of.
    """

    def __init__(
        self, triplets: TripletBatches, sampler: InteractionNeighborSampler, data: GraphData
    ) -> None:
        self.triplets = triplets
        self.sample_from(data, sampler)

    def sample_from(self, data: GraphData, sampler: InteractionNeighborSampler) -> None:
        """Sample subgraphs from data that the sampler was made of."""
        self.sampler = sampler
        self._data = _sampled_part(data, sampler) if isinstance(data, HeteroData) else data

    def __iter__(self) -> Iterator[HeteroData]:
        batches = iter(self.triplets)
        worker = get_worker_info()
        first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        return self._subgraphs(batches, _peek(self.triplets.generator), first, step)

    def _subgraphs(
        self, batches: Iterator[Triplets], seed: int, first: int, step: int
    ) -> Iterator[HeteroData]:
        for turn, triplets in enumerate(batches):
            number = first + turn * step
            # The edge types of a sample use some seeds from its own on.
            yield self.subgraph(triplets, seed + number * 2**32)

    def subgraph(self, triplets: Triplets, seed: int) -> HeteroData:
        """Return the subgraph around the users, items and negatives of a batch."""
        seeds, local = as_seeds(triplets)
        batch = self._filter(self.sampler.sample(seeds, seed=seed))
        set_triplets(batch, local)
        return batch

    def _filter(self, out: HeteroSamplerOutput) -> HeteroData:
        """Return the sampled rows of all attributes."""
        parts = out.node, out.row, out.col, out.edge
        if isinstance(self._data, HeteroData):
            batch = filter_hetero_data(self._data, *parts)
        else:
            batch = filter_custom_hetero_store(*self._data, *parts)
            _add_weights(batch, self._data[0], out.edge)
        batch.set_value_dict('n_id', out.node)
        batch.set_value_dict('e_id', out.edge)
        batch.set_value_dict('num_sampled_nodes', out.num_sampled_nodes)
        batch.set_value_dict('num_sampled_edges', out.num_sampled_edges)
        batch.set_value_dict('num_hops', self.sampler.num_hops)
        return batch

    def __len__(self) -> int:
        """Return the number of batches per epoch."""
        return len(self.triplets)


def as_seeds(triplets: Triplets) -> tuple[dict[NodeType, Tensor], Triplets]:
    """Return the distinct users and items of triplets, and the triplets in positions of these."""
    users, items, negatives = (ids.long().cpu() for ids in triplets)
    user, src = users.unique(return_inverse=True)
    item, dst = torch.cat([items, negatives.flatten()]).unique(return_inverse=True)
    pos, neg = dst[: items.numel()], dst[items.numel() :].view(negatives.shape)
    return {USER: user, ITEM: item}, (src, pos, neg)


def set_triplets(batch: HeteroData, triplets: Triplets) -> None:
    """Set the triplets of a batch, local ids, under the names that PyG's loaders have."""
    batch[USER].src_index, batch[ITEM].dst_pos_index, batch[ITEM].dst_neg_index = triplets


def triplet_data(data: GraphData, sizes: Mapping[NodeType, int]) -> HeteroData:
    """Return the data that triplets are made of."""
    if isinstance(data, HeteroData):
        return data
    rows, cols, _ = data[1].coo([INTERACTS])
    out = HeteroData()
    for node_type, size in sizes.items():
        out[node_type].num_nodes = size
    out[INTERACTS].edge_index = torch.stack([rows[INTERACTS], cols[INTERACTS]])
    return out


def _sampled_part(data: HeteroData, sampler: InteractionNeighborSampler) -> HeteroData:
    """Return the data without what isn't sampled, supervision edges and lists, as of titles."""
    out = data.edge_type_subgraph(sampler.edge_types)
    for store in (*out.node_stores, *out.edge_stores):
        for key in list(store):
            is_list = isinstance(store[key], list | tuple)
            if key in ('edge_label_index', 'edge_label') or is_list:
                del store[key]
    return out


def _add_weights(batch: HeteroData, store: FeatureStore, edges: Mapping[EdgeType, Tensor]) -> None:
    """Add the weights of the item graphs, as PyG leaves out attributes of edges."""
    for edge_type, edge in edges.items():
        if edge_type[0] == edge_type[-1]:
            weight = store.get_tensor(group_name=edge_type, attr_name='edge_weight', index=edge)
            batch[edge_type].edge_weight = torch.as_tensor(weight).view(-1)


def _peek(generator: torch.Generator) -> int:
    """Return the number that a generator would return next, without changing it."""
    copy = torch.Generator().set_state(generator.get_state())
    return int(torch.randint(2**62, (), generator=copy))
