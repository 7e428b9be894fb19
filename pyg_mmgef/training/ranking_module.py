from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.nn import Module
from torch.optim import Adam, Optimizer

from pyg_mmgef.nn import BPRLoss, Recommender
from pyg_mmgef.ranking import evaluate_ranking
from pyg_mmgef.ranking._inputs import checked_cutoffs
from pyg_mmgef.schema import INTERACTS, num_users_items, supervision_edges
from pyg_mmgef.training.interaction_data_module import InteractionDataModule
from pyg_mmgef.validate import check_positive

__all__ = ['RankingModule']


class RankingModule(LightningModule):
    r"""Lightning module of any model of this package: trained on triplets, evaluated by ranking.

    A training step computes only the embeddings that the model's loss reads, usually those of the
    batch. Validation and test compute all embeddings once and rank for every user with a held-out
    item all items but those of train (in a test also those of validation). They log
    ``val_recall@20``, ``test_ndcg@10`` and so on, names that a callback can monitor; ``train_loss``
    is the mean loss of the steps since it was last logged, usually of the epoch.

    With :math:`R` devices, device :math:`r` computes the mean loss :math:`\mathcal{L}_r` over its
    :math:`B_r` triplets of a batch of :math:`B`. Its gradient is weighted by
    :math:`R B_r / B`, so that the average over the devices is the gradient of the batch, also where
    the shares differ. A loss that compares the rows of a batch sees those of its device alone.

    Args:
        model: A :class:`~pyg_mmgef.nn.Recommender`.
        loss: Module that is called with the embeddings of users, items and negatives; :obj:`None`
            means :class:`~pyg_mmgef.nn.BPRLoss`. (default: :obj:`None`)
        lr: Learning rate of Adam. (default: ``1e-3``)
        k: Cut-offs of the metrics. (default: ``(10, 20)``)

    Raises:
        ValueError: If ``lr`` isn't positive, the trainer has no :class:`InteractionDataModule`,
            or, before training starts, a cut-off exceeds the number of items.
    """

    def __init__(
        self,
        model: Recommender,
        loss: Module | None = None,
        *,
        lr: float = 1e-3,
        k: int | Sequence[int] = (10, 20),
    ) -> None:
        super().__init__()
        check_positive('lr', lr, integer=False)
        self.model = model
        self.loss = BPRLoss() if loss is None else loss
        self.lr = lr
        self.k = checked_cutoffs(k)
        self._rng_state: dict[str, Tensor] = {}
        self._loss_sum: float | Tensor = 0.0
        self._num_steps = 0

    @property
    def _data(self) -> InteractionDataModule:
        data = getattr(self.trainer, 'datamodule', None)
        if not isinstance(data, InteractionDataModule):
            raise ValueError(
                f"'datamodule' must be an InteractionDataModule (got {type(data).__name__}); call "
                'trainer.fit(module, datamodule=InteractionDataModule(train, val, test))'
            )
        return data

    def setup(self, stage: str) -> None:
        """Check the data and the cut-offs, and reset the state of an earlier run."""
        self._rng_state = {}
        self._loss_sum, self._num_steps = 0.0, 0
        data = self._data
        if data.val is not None or data.test is not None:
            checked_cutoffs(self.k, num_users_items(data.train)[1])

    def on_train_start(self) -> None:
        """Restore the random state of a checkpoint, and don't continue a run that stopped early."""
        if self._rng_state:
            torch.set_rng_state(self._rng_state['cpu'])
            if self.device.type == 'cuda':
                torch.cuda.set_rng_state(self._rng_state['cuda'], self.device)
        if any(stop.wait_count >= stop.patience for stop in self.trainer.early_stopping_callbacks):
            self.trainer.should_stop = True

    def on_train_epoch_start(self) -> None:
        """Call the model's ``start_epoch``."""
        self.model.start_epoch(self._data.train, self.current_epoch)

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of this device's share of a batch, weighted by its size."""
        loss = self.model.loss(self._data.train, *batch, self.loss)
        if self.trainer.world_size > 1:
            loss = loss * self._data.train_dataloader().loss_weight(batch_idx)
        # `self.log` in every step would cost more than the rest of Lightning's loop.
        self._loss_sum = self._loss_sum + loss.detach()
        self._num_steps += 1
        return loss

    def on_train_batch_end(self, *args: Any) -> None:
        """Log the loss of an epoch without validation, before callbacks see the epoch's end."""
        if self.trainer.is_last_batch and not self.trainer.enable_validation:
            self._log_train_loss()

    def on_train_epoch_end(self) -> None:
        """Log the loss if neither validation nor the last batch has done so."""
        self._log_train_loss()

    def validation_step(self, target: Tensor, batch_idx: int) -> None:
        """Log the metrics of the validation part."""
        self._evaluate('val', target, self._data.train[INTERACTS].edge_index)

    def on_validation_epoch_end(self) -> None:
        """Log the loss beside the metrics, in one row and before the epoch's checkpoint."""
        self._log_train_loss()

    def test_step(self, target: Tensor, batch_idx: int) -> None:
        """Log the metrics of the test part."""
        seen = [self._data.train[INTERACTS].edge_index]
        if self._data.val is not None:
            seen.append(supervision_edges(self._data.val))
        self._evaluate('test', target, torch.cat(seen, dim=1))

    def configure_optimizers(self) -> Optimizer:
        """Return Adam."""
        return Adam(self.parameters(), lr=self.lr, fused=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store torch's random state, which dropout uses."""
        checkpoint['rng_state'] = {'cpu': torch.get_rng_state()}
        if self.device.type == 'cuda':
            checkpoint['rng_state']['cuda'] = torch.cuda.get_rng_state(self.device)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the random state until training starts, so that a test doesn't change torch's."""
        self._rng_state = checkpoint.get('rng_state', {})

    def _evaluate(self, name: str, target: Tensor, exclude: Tensor) -> None:
        z_user, z_item = self.model(self._data.train)
        users = target[0].unique()[self.global_rank :: self.trainer.world_size]
        metrics = evaluate_ranking(
            z_user,
            z_item,
            target[:, torch.isin(target[0], users)],
            exclude=exclude,
            k=self.k,
        )
        for metric, value in metrics.items():
            self.log(
                f'{name}_{metric}',
                value,
                prog_bar=metric.startswith('recall'),
                sync_dist=True,
                batch_size=users.numel(),
            )

    def _log_train_loss(self) -> None:
        if self._num_steps > 0:
            mean = self._loss_sum / self._num_steps
            self.log(
                'train_loss',
                mean,
                prog_bar=True,
                on_step=False,
                on_epoch=True,
                sync_dist=True,
                batch_size=1,
            )
        self._loss_sum, self._num_steps = 0.0, 0
