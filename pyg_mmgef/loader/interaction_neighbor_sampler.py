from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.utils.data import get_worker_info
from torch_geometric.data import FeatureStore, GraphStore, HeteroData
from torch_geometric.sampler import (
    BaseSampler,
    EdgeSamplerInput,
    HeteroSamplerOutput,
    NegativeSampling,
    NodeSamplerInput,
)
from torch_geometric.sampler.neighbor_sampler import edge_sample, node_sample
from torch_geometric.typing import EdgeType, NodeType

from pyg_mmgef.loader._expand import Seeds, expand, expansions_of, hops_of
from pyg_mmgef.loader._stores import (
    check_degrees,
    check_prepared,
    node_counts,
    read_lists,
    relations_of,
)
from pyg_mmgef.validate import check_choice, check_ids, check_not_negative

__all__ = ['InteractionNeighborSampler']


class InteractionNeighborSampler(BaseSampler):
    r"""Sample the subgraph around users and items: some interactions, and all of the item graphs.

    It is a :class:`~torch_geometric.sampler.BaseSampler`, so PyG's loaders take it as it is::

        sampler = InteractionNeighborSampler(train, num_neighbors=[10, 10])
        loader = LinkLoader(
            train,
            link_sampler=sampler,
            edge_label_index=('user', 'interacts', 'item'),
            neg_sampling='triplet',
            batch_size=2048,
        )

    (PyG samples the negatives of such a loader from all items, those that a user knows included;
    :class:`~pyg_mmgef.loader.TripletNeighborLoader` samples them as
    :class:`~pyg_mmgef.loader.TripletLoader` does.)

    There are two expansions from the seeds, which number their nodes together:

    * **Interactions.** In each hop, ``num_neighbors`` of the users of each item are sampled along
      ``('user', 'interacts', 'item')``, and of the items of each user along
      ``('item', 'rev_interacts', 'user')``, for the nodes that interactions reached first in the
      hop before. One hop for each layer of LightGCN.
    * **Item graphs.** In each of :obj:`num_item_layers` hops, *all* neighbours in the item graphs
      are included, for the items that item graphs reached first in the hop before. There are
      :math:`k` of them, and a model with :math:`\mathbf{h}^{(l+1)} = \mathbf{A} \mathbf{h}^{(l)}`
      reads them all.

    So an item that only an item graph reaches gets no users, and an item that is two interactions
    away gets no similar items: no model reads either, and each would multiply the size of the
    subgraph. The outputs of a model are right for the seeds. Edges of other types aren't sampled.

    What a node's neighbours are depends on the seed and the node, not on the number of threads, nor
    on whether the compiled extension is there. Time and memory of a sample follow its size, not
    that of the graph.

    Args:
        data: The train data, prepared by :class:`~pyg_mmgef.transforms.AddReverseInteractions`, or
            a tuple of PyG's :class:`~torch_geometric.data.FeatureStore` and
            :class:`~torch_geometric.data.GraphStore` that hold the same. An attribute of edges is
            found in a feature store under the edge type as its ``group_name``. Reversed
            interactions without an attribute of their own share that of the interactions, in whose
            order they must be.
        num_neighbors: The number of sampled interactions of a node for each hop, -1 for all; or a
            dictionary with such a list for each of the two directions. An empty list leaves the
            interactions out.
        num_item_layers: Hops in the item graphs. (default: ``1``)
        relations: The item graphs ``data['item', relation, 'item']`` to sample; :obj:`None` means
            all that have an ``edge_weight``. (default: :obj:`None`)
        replace: Sample interactions with replacement: exactly as many as :obj:`num_neighbors`
            says, the same one repeatedly where it falls so. (default: :obj:`False`)
        weight_attr: Sample interactions in proportion to this attribute of them, without
            replacement one after the other in proportion to what is left. The sum over a sample is
            then no longer unbiased. (default: :obj:`None`, uniformly)
        time_attr: Sample interactions that aren't later than their seed: this attribute is their
            time. One at the very time of its seed is among them, so to predict an interaction, its
            seed needs an earlier time. Each seed then has a subgraph of its own (``disjoint``, as
            PyG calls it), and needs a time: ``edge_label_time`` of a ``LinkLoader``,
            ``input_time`` of a ``NodeLoader``. The item graphs have no times.
            (default: :obj:`None`)
        temporal_strategy: With :obj:`time_attr`, ``'uniform'`` samples among all of them,
            ``'last'`` has the latest. (default: ``'uniform'``)
        generator: CPU generator of a seed for each sample; :obj:`None` makes one seeded with 0.
            (default: :obj:`None`)

    Raises:
        ValueError: If the data isn't prepared, or its interactions changed since; if ids are out of
            range, an attribute is missing or unfit, or an argument is out of range.

    Example:
        >>> from pyg_mmgef.transforms import AddReverseInteractions
        >>> data = HeteroData()
        >>> data['user'].num_nodes, data['item'].num_nodes = 2, 3
        >>> data['user', 'interacts', 'item'].edge_index = torch.tensor([[0, 0, 1], [0, 1, 2]])
        >>> sampler = InteractionNeighborSampler(AddReverseInteractions()(data), [-1])
        >>> out = sampler.sample({'user': torch.tensor([0]), 'item': torch.tensor([2])}, seed=0)
        >>> out.node['user'].tolist(), out.node['item'].tolist()
        ([0, 1], [2, 0, 1])
    """

    num_nodes: dict[NodeType, int]
    """The numbers of users and of items."""

    def __init__(
        self,
        data: HeteroData | tuple[FeatureStore, GraphStore],
        num_neighbors: Sequence[int] | Mapping[EdgeType, Sequence[int]],
        *,
        num_item_layers: int = 1,
        relations: Sequence[str] | None = None,
        replace: bool = False,
        weight_attr: str | None = None,
        time_attr: str | None = None,
        temporal_strategy: str = 'uniform',
        generator: torch.Generator | None = None,
    ) -> None:
        check_prepared(data)
        check_not_negative('num_item_layers', num_item_layers, integer=True)
        check_choice('temporal_strategy', temporal_strategy, ('uniform', 'last'))
        self.num_neighbors = num_neighbors
        self.num_item_layers = num_item_layers
        self.relations = relations_of(data, relations) if num_item_layers else []
        self.replace = replace
        self.weight_attr = weight_attr
        self.time_attr = time_attr
        self.temporal_strategy = temporal_strategy
        self.generator = torch.Generator().manual_seed(0) if generator is None else generator
        self.num_nodes = node_counts(data)
        self._expansions = expansions_of(num_neighbors, num_item_layers, self.relations)
        by_direction, graphs = self._expansions
        self._lists = {
            edge_type: read_lists(data, edge_type, self.num_nodes, weight_attr, time_attr)
            for edge_type in by_direction
        } | {edge_type: read_lists(data, edge_type, self.num_nodes) for edge_type in graphs}
        for edge_type in by_direction:
            check_degrees(data, edge_type[-1], self._lists[edge_type].colptr.diff())

    @property
    def edge_types(self) -> list[EdgeType]:
        """The edge types that are sampled."""
        return list(self._lists)

    @property
    def num_hops(self) -> dict[EdgeType, int]:
        """The number of hops along each edge type."""
        return hops_of(self._expansions)

    @property
    def disjoint(self) -> bool:
        """Whether each seed has a subgraph of its own, as it has with times."""
        return self.time_attr is not None

    def sample(
        self,
        seeds: Mapping[NodeType, Tensor],
        *,
        seed: int,
        time: Mapping[NodeType, Tensor] | None = None,
    ) -> HeteroSamplerOutput:
        """Sample the subgraph around users and items.

        Args:
            seeds: Ids of users and of items, distinct unless there are times. They come first in
                ``node``, in this order. Shape of each: ``[N]``.
            seed: What the sample depends on, a whole number that isn't negative.
            time: The times of the seeds, needed with :attr:`time_attr`. (default: :obj:`None`)

        Returns:
            The nodes, edges in local ids, and the ids of the edges in the data, each by type.

        Raises:
            ValueError: If the nodes are no users and items, ids are out of range or repeated,
                :obj:`seed` is negative, or times are missing, NaN, or given without
                :attr:`time_attr`.
        """
        check_not_negative('seed', seed, integer=True)
        self._check_seeds(seeds)
        self._check_times(seeds, time)
        out = expand(
            self._lists,
            self.num_nodes,
            Seeds({node_type: ids.long() for node_type, ids in seeds.items()}, time),
            self._expansions,
            last=self.disjoint and self.temporal_strategy == 'last',
            replace=self.replace,
            seed=seed,
        )
        for node_type, ids in seeds.items():
            if out.num_sampled_nodes[node_type][0] < ids.numel():
                raise ValueError(
                    f'the {node_type}s to sample around must be distinct (got {ids.numel()}, of '
                    f"which {out.num_sampled_nodes[node_type][0]} are); pass 'ids.unique()'"
                )
        return out

    def _check_seeds(self, seeds: Mapping[NodeType, Tensor]) -> None:
        for node_type, ids in seeds.items():
            if node_type not in self.num_nodes:
                raise ValueError(
                    f'the nodes to sample around must be users and items (got {node_type!r})'
                )
            check_ids(node_type, ids, self.num_nodes[node_type], node_type)

    def _check_times(
        self, seeds: Mapping[NodeType, Tensor], time: Mapping[NodeType, Tensor] | None
    ) -> None:
        if (time is None) == self.disjoint:
            raise ValueError(
                "a sampler with 'time_attr' needs the time of each seed; pass 'edge_label_time' to "
                "LinkLoader, or 'input_time' to NodeLoader"
                if self.disjoint
                else "the seeds have times, but the sampler has no 'time_attr'; name the "
                'attribute that is the time of an interaction'
            )
        if time is None:
            return
        for node_type, ids in seeds.items():
            found = time.get(node_type)
            if found is None or found.shape != ids.shape or bool(found.isnan().any()):
                raise ValueError(
                    f"'time' must have the time of each of the {ids.numel()} {node_type}s to "
                    f'sample around, none of them NaN (got {found})'
                )

    def sample_from_nodes(self, inputs: NodeSamplerInput) -> HeteroSamplerOutput:
        """Sample around nodes of one type, for :class:`~torch_geometric.loader.NodeLoader`."""
        return node_sample(inputs, self._sample)

    def sample_from_edges(
        self, inputs: EdgeSamplerInput, neg_sampling: NegativeSampling | None = None
    ) -> HeteroSamplerOutput:
        """Sample around both ends of edges, for :class:`~torch_geometric.loader.LinkLoader`."""
        return edge_sample(
            inputs,
            self._sample,
            self.num_nodes,
            self.disjoint,
            neg_sampling=neg_sampling,
        )

    def _sample(
        self, seeds: Mapping[NodeType, Tensor], time: Mapping[NodeType, Tensor] | None
    ) -> HeteroSamplerOutput:
        worker = get_worker_info()  # A worker of a loader has a copy of the generator.
        own = int(torch.randint(2**62, (), generator=self.generator))
        seed = own if worker is None else own ^ worker.seed
        return self.sample(seeds, seed=seed, time=time)

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({self.num_neighbors}, relations={self.relations})'
