from copy import copy
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.loader import TripletLoader
from pyg_mmgef.loader._triplet_batches import TripletBatches
from pyg_mmgef.schema import INTERACTS, interaction_edges, supervision_edges

__all__ = ['InteractionDataModule']


class InteractionDataModule(LightningDataModule):
    """Lightning data module of the train, validation and test parts of a split.

    It feeds a :class:`RankingModule` with the triplets of a
    :class:`~pyg_mmgef.loader.TripletLoader`; with several devices each gets its share of every
    batch. Validation and test have a single batch, all held-out interactions. Held-out interactions
    are those of ``edge_label_index`` with a positive ``edge_label`` (all, if there are no labels).
    The parts are copied to the trainer's device once, not batch by batch; the arguments stay as
    they are. A checkpoint holds the state of the loader's generator.

    Args:
        train: The train graph, the only one that a model propagates over.
        val: The validation part, with an ``edge_label_index``; :obj:`None` trains without
            validation. (default: :obj:`None`)
        test: The test part, with an ``edge_label_index``. (default: :obj:`None`)
        batch_size: Triplets per batch, of all devices together. (default: ``2048``)
        num_negatives: Negatives per positive. (default: ``1``)
        shared_negatives: Sample the negatives once per batch. (default: :obj:`False`)
        negatives_from: ``'warm'`` samples items with a train interaction, ``'all'`` any item.
            (default: ``'warm'``)
        popularity: The exponent of an item's popularity in sampling negatives.
            (default: ``0.0``)
        uniform_users: Sample the users of the triplets uniformly, instead of visiting every
            interaction once. (default: :obj:`False`)
        drop_last: Leave out a last batch that isn't full. (default: :obj:`False`)
        seed: Seed of the order and the negatives. (default: ``0``)

    Raises:
        ValueError: If a part lacks its interactions, or a loader's argument is out of range.
    """

    def __init__(
        self,
        train: HeteroData,
        val: HeteroData | None = None,
        test: HeteroData | None = None,
        *,
        batch_size: int = 2048,
        num_negatives: int = 1,
        shared_negatives: bool = False,
        negatives_from: str = 'warm',
        popularity: float = 0.0,
        uniform_users: bool = False,
        drop_last: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        interaction_edges(train)
        for name, part in (('val', val), ('test', test)):
            if part is not None and not _has_labels(part):
                raise ValueError(
                    f"'{name}' has no held-out interactions; set data{list(INTERACTS)}"
                    '.edge_label_index, or split the data with SplitInteractions'
                )
        self.train, self.val, self.test = train, val, test
        self.batch_size = batch_size
        self.num_negatives = num_negatives
        self.shared_negatives = shared_negatives
        self.negatives_from = negatives_from
        self.popularity = popularity
        self.uniform_users = uniform_users
        self.drop_last = drop_last
        self.seed = seed
        self._loader: TripletLoader | None = None

    def setup(self, stage: str) -> None:
        """Move the parts to the trainer's device; before training, build the loader."""
        assert self.trainer is not None
        device = self.trainer.strategy.root_device
        self.train, self.val, self.test = (
            None if part is None else copy(part).to(device)
            for part in (self.train, self.val, self.test)
        )
        if stage == 'fit':
            self._loader = TripletLoader(
                self.train,
                self.batch_size,
                shuffle=True,
                num_negatives=self.num_negatives,
                shared_negatives=self.shared_negatives,
                negatives_from=self.negatives_from,
                popularity=self.popularity,
                uniform_users=self.uniform_users,
                drop_last=self.drop_last,
                generator=torch.Generator().manual_seed(self.seed),
                num_replicas=self.trainer.world_size,
                rank=self.trainer.global_rank,
            )

    def train_dataloader(self) -> TripletBatches:
        """Return the batches of the loader, without the loader: Lightning would ask for workers."""
        assert self._loader is not None
        return self._loader.dataset

    def val_dataloader(self) -> Tensor | list[Tensor]:
        """Return the validation interactions as the only batch. Shape: ``[1, 2, E]``."""
        return [] if self.val is None else supervision_edges(self.val)[None]

    def test_dataloader(self) -> Tensor | list[Tensor]:
        """Return the test interactions as the only batch. Shape: ``[1, 2, E]``."""
        return [] if self.test is None else supervision_edges(self.test)[None]

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the loader, for a checkpoint."""
        return {} if self._loader is None else self._loader.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the loader from a checkpoint; without training there is no loader."""
        if self._loader is not None:
            self._loader.load_state_dict(state_dict)


def _has_labels(part: HeteroData) -> bool:
    return INTERACTS in part.edge_types and 'edge_label_index' in part[INTERACTS]
