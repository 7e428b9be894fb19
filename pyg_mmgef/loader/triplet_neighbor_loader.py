from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader
from torch_geometric.data import FeatureStore, GraphStore, HeteroData
from torch_geometric.typing import EdgeType

from pyg_mmgef.loader._subgraph_batches import SubgraphBatches, triplet_data
from pyg_mmgef.loader._triplet_batches import as_it_is
from pyg_mmgef.loader.interaction_neighbor_sampler import InteractionNeighborSampler
from pyg_mmgef.loader.triplet_loader import TripletLoader

__all__ = ['TripletNeighborLoader']


class TripletNeighborLoader(DataLoader[HeteroData]):
    r"""A data loader of training triplets, each batch with the sampled subgraph around it.

    The triplets are those of a :class:`~pyg_mmgef.loader.TripletLoader` with the same arguments,
    also its negatives and its share of a batch. The subgraph around their distinct users, items and
    negatives is that of an :class:`~pyg_mmgef.loader.InteractionNeighborSampler`: so a step costs
    as much as the batch and its neighbours, however large the shop is. A batch is a
    :class:`~torch_geometric.data.HeteroData` like one of PyG's
    :class:`~torch_geometric.loader.LinkNeighborLoader` with ``neg_sampling='triplet'``::

        loader = TripletNeighborLoader(train, [10, 10], batch_size=2048, shuffle=True)
        for batch in loader:
            users, items = batch['user'], batch['item']
            loss = model.loss(
                batch, users.src_index, items.dst_pos_index, items.dst_neg_index, loss_fn
            )

    ===================================================== ==========================================
    ``batch[type].n_id``                                  ids in the full data, distinct; the users
                                                          and items of the triplets come first
    ``batch[type].degree``, ``batch['item'].x_image``...  the rows of these nodes
    ``batch['user', 'interacts', 'item'].edge_index``     sampled interactions, local ids
    ``batch['item', 'rev_interacts', 'user'].edge_index`` the same towards users
    ``batch['item', relation, 'item'].edge_index``        all edges to the items that are read, with
                                                          their ``edge_weight``
    ``batch[edge_type].e_id``                             positions of the edges in the full data
    ``batch['user'].src_index``                           the users of the triplets, local ids,
                                                          shape ``[B]``
    ``batch['item'].dst_pos_index``                       their items, shape ``[B]``
    ``batch['item'].dst_neg_index``                       their negatives, shaped as those of
                                                          :class:`~pyg_mmgef.loader.TripletLoader`
    ``num_sampled_nodes``, ``num_sampled_edges``          of each type, for each hop
    ``batch[edge_type].num_hops``                         the hops along these edges; a model with
                                                          more layers refuses the batch
    ===================================================== ==========================================

    The neighbours of a node in a batch depend on the generator's state at the start of the epoch,
    the number of the batch, and the node. So they are the same for any number of threads, and, with
    as many neighbours in each hop, the replicas of a batch compute what one process would. Only the
    triplets use the generator: without :obj:`shuffle`, :obj:`uniform_users` and negatives nothing
    changes its state, and all epochs have the same neighbours.

    Args:
        data: The train data, as of :class:`~pyg_mmgef.loader.InteractionNeighborSampler`. The
            triplets of two stores are their interactions.
        num_neighbors: See :class:`~pyg_mmgef.loader.InteractionNeighborSampler`.
        batch_size: Number of triplets per batch, of all replicas together. (default: ``2048``)
        shuffle: Visit the interactions in a new order each epoch. (default: :obj:`False`)
        num_item_layers: Hops in the item graphs. (default: ``1``)
        relations: The item graphs; :obj:`None` means all that have an ``edge_weight``.
            (default: :obj:`None`)
        replace: Sample interactions with replacement. (default: :obj:`False`)
        num_negatives: Negatives per positive. (default: ``1``)
        shared_negatives: Sample the negatives once per batch. (default: :obj:`False`)
        negatives_from: ``'warm'`` samples items with a train interaction, ``'all'`` any item.
            (default: ``'warm'``)
        popularity: The exponent of an item's degree in sampling negatives. (default: ``0.0``)
        uniform_users: Sample the users of the triplets uniformly. (default: :obj:`False`)
        drop_last: Leave out a last batch that isn't full. (default: :obj:`False`)
        generator: CPU generator of all random numbers; :obj:`None` makes one seeded with 0.
            (default: :obj:`None`)
        num_replicas: Number of processes that share every batch. (default: ``1``)
        rank: Number of this replica, from 0. (default: ``0``)
        num_workers: Processes that make the batches; with zero, it is this one. (default: ``0``)
        persistent_workers: Keep the workers from one epoch to the next. (default: :obj:`False`)

    Raises:
        ValueError: As of :class:`~pyg_mmgef.loader.InteractionNeighborSampler` and
            :class:`~pyg_mmgef.loader.TripletLoader`.

    Example:
        >>> from pyg_mmgef.transforms import AddReverseInteractions
        >>> data = HeteroData()
        >>> data['user'].num_nodes, data['item'].num_nodes = 3, 3
        >>> data['user', 'interacts', 'item'].edge_index = torch.tensor([[0, 1, 2], [0, 0, 2]])
        >>> loader = TripletNeighborLoader(AddReverseInteractions()(data), [-1], batch_size=2)
        >>> batch = next(iter(loader))
        >>> batch['user'].n_id[batch['user'].src_index].tolist()
        [0, 1]
        >>> batch['item'].n_id.tolist(), batch['item'].degree.tolist()
        ([0, 2], [2, 1])
    """

    dataset: SubgraphBatches
    """The batches of an epoch, as an :class:`~torch.utils.data.IterableDataset`."""

    def __init__(
        self,
        data: HeteroData | tuple[FeatureStore, GraphStore],
        num_neighbors: Sequence[int] | Mapping[EdgeType, Sequence[int]],
        batch_size: int = 2048,
        shuffle: bool = False,
        *,
        num_item_layers: int = 1,
        relations: Sequence[str] | None = None,
        replace: bool = False,
        num_negatives: int = 1,
        shared_negatives: bool = False,
        negatives_from: str = 'warm',
        popularity: float = 0.0,
        uniform_users: bool = False,
        drop_last: bool = False,
        generator: torch.Generator | None = None,
        num_replicas: int = 1,
        rank: int = 0,
        num_workers: int = 0,
        persistent_workers: bool = False,
    ) -> None:
        self._make_sampler = partial(
            InteractionNeighborSampler,
            num_neighbors=num_neighbors,
            num_item_layers=num_item_layers,
            relations=relations,
            replace=replace,
        )
        sampler = self._make_sampler(data)
        self.triplets = TripletLoader(
            triplet_data(data, sampler.num_nodes),
            batch_size,
            shuffle,
            num_negatives=num_negatives,
            shared_negatives=shared_negatives,
            negatives_from=negatives_from,
            popularity=popularity,
            uniform_users=uniform_users,
            drop_last=drop_last,
            generator=generator,
            num_replicas=num_replicas,
            rank=rank,
            num_workers=num_workers,
        )
        super().__init__(
            SubgraphBatches(self.triplets.dataset, sampler, data),
            batch_size=None,
            collate_fn=as_it_is,
            generator=self.triplets.generator,
            num_workers=num_workers,
            persistent_workers=persistent_workers,
        )

    def __iter__(self) -> Iterator[HeteroData]:  # type: ignore[override]
        # The base class would sample a seed for workers, even if there are none.
        return super().__iter__() if self.num_workers > 0 else iter(self.dataset)

    def sample_from(self, data: HeteroData | tuple[FeatureStore, GraphStore]) -> None:
        """Sample the subgraphs of the next epochs from other data; the triplets stay as they are.

        A model that leaves out interactions or learns an item graph has other edges in each epoch::

            model.start_epoch(train, epoch)
            if model.changes_with_epoch:
                loader.sample_from(model.epoch_data(train))

        Args:
            data: Data with the same users and items.

        Raises:
            ValueError: If it has others, isn't prepared, or there are persistent workers, which
                keep the data that they began with.
        """
        if self.persistent_workers:
            raise ValueError(
                "workers with 'persistent_workers' keep the data that they began with; build the "
                'loader without it'
            )
        sampler = self._make_sampler(data)
        if sampler.num_nodes != self.dataset.sampler.num_nodes:
            raise ValueError(
                f"'data' must have the users and items that the loader was built with, "
                f'{self.dataset.sampler.num_nodes} (got {sampler.num_nodes})'
            )
        self.dataset.sample_from(data, sampler)

    def loss_weight(self, batch: int) -> float:
        """See :meth:`~pyg_mmgef.loader.TripletLoader.loss_weight`."""
        return self.triplets.loss_weight(batch)

    def state_dict(self) -> dict[str, Any]:
        """See :meth:`~pyg_mmgef.loader.TripletLoader.state_dict`."""
        return self.triplets.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See :meth:`~pyg_mmgef.loader.TripletLoader.load_state_dict`."""
        self.triplets.load_state_dict(state_dict)

    def __len__(self) -> int:
        """Return the number of batches per epoch."""
        return len(self.dataset)

    def __repr__(self) -> str:
        batches, sampler = self.triplets.dataset, self.dataset.sampler
        return (
            f'{self.__class__.__name__}({batches.edge_index.size(1)} interactions, '
            f'batch_size={batches.batch_size}, num_neighbors={sampler.num_neighbors})'
        )
