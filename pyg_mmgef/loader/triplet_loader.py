from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch_geometric.data import HeteroData

from pyg_mmgef.loader._triplet_batches import TripletBatches, Triplets, as_it_is
from pyg_mmgef.validate import check_not_negative

__all__ = ['TripletLoader']


class TripletLoader(DataLoader[Triplets]):
    r"""A data loader of (user, item, negative) triplets of the train interactions.

    Every interaction appears once per epoch. Its negative is sampled uniformly from the items that
    the user has not interacted with, by default from the *warm* ones, those with a train
    interaction: a cold item that is only ever a negative would learn to be ranked last. With an
    exponent :math:`\beta` as :obj:`popularity`, items are sampled in proportion to
    :math:`d_i^{\beta}`, with their number of users :math:`d_i`. A negative is the :math:`r`-th of
    the items that the user has not interacted with, found by a binary search, with :math:`r`
    uniform in :math:`\{0, \dots, n_u - 1\}` and :math:`n_u` their number or weight. Nothing is
    rejected, so sampling always ends, however active the user is.

    With :obj:`shared_negatives`, all triplets of a batch have the same negatives. Scores are then
    one matrix product and a batch reads far fewer items, so there can be many more negatives. They
    are sampled without regard to users, so a negative may be an item that a user interacted with.

    With :obj:`uniform_users`, an epoch has as many triplets, but each has a user sampled uniformly
    from those with an interaction, and one of this user's interactions, also sampled uniformly. The
    loss is then in expectation a mean over users, as Recall and NDCG are, instead of one over
    interactions, most of which are those of active users. The code that the authors of LightGCN
    published samples like this (``UniformSample_original_python`` in
    `LightGCN-PyTorch <https://github.com/gusye1234/LightGCN-PyTorch>`_).

    With :obj:`num_replicas` processes, each builds the loader with the same data and arguments and
    its own :obj:`rank`. All sample the same batches and each yields the rows
    ``[rank::num_replicas]`` of them, so together they yield the batches of one process. A last
    batch with fewer rows than replicas is joined to the one before, so all yield equally many
    batches, none empty.

    The loader is a :class:`~torch.utils.data.DataLoader` over an iterable :attr:`dataset` of whole
    batches, so the attribute ``batch_size`` that it inherits is :obj:`None`. Making a batch takes
    less time than a training step, so worker processes seldom pay. With them the random numbers are
    others than without, but the same for any number of workers.

    Args:
        data: The train data. The triplets are those of its ``edge_label_index`` with a positive
            ``edge_label`` (all, if there are no labels), or its ``edge_index`` where that is
            missing; no item that a user has in either is a negative of that user.
        batch_size: Number of triplets per batch, of all replicas together. (default: ``2048``)
        shuffle: Visit the interactions in a new order each epoch. (default: :obj:`False`)
        num_negatives: Negatives per positive; zero for a loss that needs none. (default: ``1``)
        shared_negatives: Sample the negatives once per batch, for all its triplets.
            (default: :obj:`False`)
        negatives_from: ``'warm'`` samples items with a train interaction, ``'all'`` any item.
            (default: ``'warm'``)
        popularity: The exponent :math:`\beta`. Zero samples uniformly; word2vec uses ``0.75``
            (`arXiv 1310.4546 <https://arxiv.org/abs/1310.4546>`_). Above zero, an item without
            interactions is never a negative. (default: ``0.0``)
        uniform_users: Sample the users of the triplets uniformly, with replacement, instead of
            visiting every interaction once. The order is then random even without :obj:`shuffle`.
            (default: :obj:`False`)
        drop_last: Leave out a last batch that isn't full. (default: :obj:`False`)
        generator: CPU generator of all random numbers; :obj:`None` makes one seeded with 0, and
            torch's global one is never used. Build the loader once, not once per epoch, or every
            epoch has the same negatives. (default: :obj:`None`)
        num_replicas: Number of processes that share every batch. (default: ``1``)
        rank: Number of this replica, from 0. (default: ``0``)
        num_workers: Processes that make the batches; with zero, it is this one. (default: ``0``)
        persistent_workers: Keep the workers from one epoch to the next. (default: :obj:`False`)

    Yields:
        ``users`` and ``items`` of shape ``[B]``, and ``negatives`` of shape ``[B]``,
        ``[B, num_negatives]`` for another number than one, or ``[1, num_negatives]`` if they are
        shared.

    Raises:
        ValueError: If the data has no interactions, or fewer than replicas, if a user has
            interacted with all items that negatives are sampled from, or if an argument is out of
            range.

    Example:
        >>> data = HeteroData()
        >>> data['user'].num_nodes, data['item'].num_nodes = 2, 3
        >>> data['user', 'interacts', 'item'].edge_index = torch.tensor([[0, 0, 1], [0, 1, 2]])
        >>> for users, items, negatives in TripletLoader(data, batch_size=2):
        ...     print(users.tolist(), items.tolist(), negatives.shape)
        [0, 0] [0, 1] torch.Size([2])
        [1] [2] torch.Size([1])
    """

    dataset: TripletBatches
    """The batches of an epoch, as an :class:`~torch.utils.data.IterableDataset`."""
    generator: torch.Generator
    """The source of all random numbers."""

    def __init__(
        self,
        data: HeteroData,
        batch_size: int = 2048,
        shuffle: bool = False,
        *,
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
        check_not_negative('num_workers', num_workers, integer=True)
        generator = torch.Generator().manual_seed(0) if generator is None else generator
        batches = TripletBatches(
            data,
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
        )
        super().__init__(
            batches,
            batch_size=None,
            collate_fn=as_it_is,
            generator=generator,
            num_workers=num_workers,
            persistent_workers=persistent_workers,
        )

    def __iter__(self) -> Iterator[Triplets]:  # type: ignore[override]
        # The base class would sample a seed for workers, even if there are none.
        return super().__iter__() if self.num_workers > 0 else iter(self.dataset)

    def sample_negatives(self, users: Tensor) -> Tensor:
        """Sample ``num_negatives`` items per user that the user has not interacted with.

        Args:
            users: User ids. Shape: ``[B]``.

        Returns:
            Item ids. Shape: ``[B]``, or ``[B, num_negatives]`` for another number than one.
        """
        return self.dataset.sample_negatives(users)

    def loss_weight(self, batch: int) -> float:
        """Return the factor for the mean loss over this replica's share of a batch.

        ``DistributedDataParallel`` averages the gradients of the replicas. With this factor the
        average is the gradient of the mean over the triplets of the batch, also where the shares
        differ by a row.

        Args:
            batch: Number of the batch in the epoch, from 0.
        """
        return self.dataset.loss_weight(batch)

    def state_dict(self) -> dict[str, Any]:
        """Return the generator's state, from which another loader can continue exactly.

        Call it between two epochs: within one, the generator is ahead of the batches. Persistent
        workers have generators of their own, so with them the next epochs would be others.
        """
        return {'generator': self.generator.get_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from where :meth:`state_dict` was called.

        Args:
            state_dict: What :meth:`state_dict` returned.
        """
        self.generator.set_state(state_dict['generator'])

    def __len__(self) -> int:
        """Return the number of batches per epoch."""
        return len(self.dataset)

    def __repr__(self) -> str:
        batches = self.dataset
        return (
            f'{self.__class__.__name__}({batches.edge_index.size(1)} interactions, '
            f'batch_size={batches.batch_size})'
        )
