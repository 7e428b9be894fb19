"""What does Lightning's loop add to a training step, beside a plain loop with the same model?

Random interactions at the size of Amazon Baby, as in train_step.py. The contestants train an epoch
(58 steps) in turn within one process, so a busy machine slows them alike; the median over the
epochs is shown. 'Lightning, as usual' has a progress bar drawn and a loss logged in every step, as
Lightning does by default and its tutorials show.
"""

import contextlib
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from common import parser, plot_step_times, write_json
from torch import Tensor
from torch_geometric import seed_everything
from torch_geometric.data import HeteroData
from train_step import shop_of_baby_size

from pyg_mmgef.loader import TripletLoader
from pyg_mmgef.nn import MMGEF, BPRLoss, LightGCN
from pyg_mmgef.training import InteractionDataModule, RankingModule, make_trainer

# Lightning can be imported now: pyg_mmgef.training has seen to torchvision beside a CPU build.
from lightning.pytorch import Callback, LightningModule, Trainer  # isort: skip
from lightning.pytorch.callbacks import TQDMProgressBar  # isort: skip

Epoch = Callable[[], float]


class Clock(Callback):
    """Measures the steps of an epoch after the first, which follows what is due once an epoch."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Start."""
        if batch_idx == 0:
            self.start = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop."""
        self.seconds = time.perf_counter() - self.start


class LoggingModule(RankingModule):
    """Logs the loss of every step."""

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the loss, logged."""
        loss = super().training_step(batch, batch_idx)
        self.log('loss', loss, prog_bar=True, on_step=True, on_epoch=True, batch_size=2048)
        return loss


def plain_epoch(data: HeteroData, model: LightGCN | MMGEF) -> Epoch:
    """Return an epoch of a plain loop."""
    loader = TripletLoader(data, batch_size=2048, shuffle=True)
    loss_fn = BPRLoss()
    optimizer = torch.optim.Adam(model.parameters(), fused=True)

    def epoch() -> float:
        model.train()
        model.start_epoch(data, 0)
        for step, batch in enumerate(loader):
            loss = model.loss(data, *batch, loss_fn)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step == 0:
                start = time.perf_counter()
        return time.perf_counter() - start

    return epoch


def lightning_epoch(data: HeteroData, module: RankingModule, *, usual: bool = False) -> Epoch:
    """Return an epoch of Lightning's loop; what it prints is thrown away."""
    shop = InteractionDataModule(data)

    def epoch() -> float:
        clock = Clock()
        with (
            tempfile.TemporaryDirectory() as folder,
            Path(os.devnull).open('w') as nowhere,
            contextlib.redirect_stdout(nowhere),
        ):
            if usual:
                trainer = Trainer(
                    max_epochs=1,
                    callbacks=[clock, TQDMProgressBar()],
                    default_root_dir=folder,
                    limit_val_batches=0,
                )
            else:
                trainer = make_trainer(folder, max_epochs=1, monitor=None, callbacks=[clock])
            trainer.fit(module, shop)
        return clock.seconds

    return epoch


def main() -> None:
    args = parser(__doc__).parse_args()
    torch.set_num_threads(args.threads)
    logging.getLogger('lightning.pytorch').setLevel(logging.ERROR)
    seed_everything(0)
    data = shop_of_baby_size()
    num_steps = len(TripletLoader(data, batch_size=2048)) - 1  # Measured ones.
    results = {}
    print(f'{"one training step":<34}{"ms":>8}{"added":>9}{"":>9}   ({args.threads} threads)')
    for name, model_class in (('LightGCN', LightGCN), ('MM-GEF', MMGEF)):
        # All train the same model: where its tensors lie in memory changes a step by some percent.
        model = model_class.from_data(data)
        contestants = {
            'plain loop': plain_epoch(data, model),
            'Lightning': lightning_epoch(data, RankingModule(model)),
            'Lightning, as usual': lightning_epoch(data, LoggingModule(model), usual=True),
        }
        seconds: dict[str, list[float]] = {contestant: [] for contestant in contestants}
        for turn in range(2 if args.quick else 9):
            for contestant, epoch in contestants.items():
                measured = epoch()
                if turn >= 1:  # The first epoch builds graphs and warms caches.
                    seconds[contestant].append(measured / num_steps)
        base = 1e3 * statistics.median(seconds['plain loop'])
        for contestant, values in seconds.items():
            ms = 1e3 * statistics.median(values)
            added = {'added ms': ms - base, 'added share': ms / base - 1}
            results[f'{name}, {contestant}'] = {'ms': ms, **added}
            print(
                f'{name + ", " + contestant:<34}{ms:>8.2f}{added["added ms"]:>9.2f}'
                f'{added["added share"]:>9.1%}'
            )
    write_json(args.output / 'lightning_overhead.json', results)
    plot_step_times(args.output / 'lightning_overhead.png', results)


if __name__ == '__main__':
    main()
