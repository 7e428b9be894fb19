"""A training run in small; the tests call it, and run it as a script that can be killed.

python job.py FOLDER [--devices N] [--kill EPOCH STEP] [--kill-writing EPOCH]
"""

import argparse
import csv
import os
import signal
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric import seed_everything
from torch_geometric.data import HeteroData
from torch_geometric.transforms import Compose

from pyg_mmgef.nn import MMGEF, BPRLoss
from pyg_mmgef.schema import INTERACTS, ITEM, USER
from pyg_mmgef.training import InteractionDataModule, RankingModule, make_trainer
from pyg_mmgef.transforms import AddCoInteractionGraph, AddItemKNNGraph, SplitInteractions

from lightning.pytorch import Callback, LightningModule, Trainer  # isort: skip

NUM_USERS, NUM_ITEMS, EPOCHS, BATCH_SIZE = 120, 60, 7, 37


def whole_shop() -> HeteroData:
    """A shop where each of three groups of users likes a group of items."""
    generator = torch.Generator().manual_seed(0)
    group = torch.arange(NUM_ITEMS) % 3
    likes = (torch.arange(NUM_USERS) % 3)[:, None] == group
    chance = torch.rand(NUM_USERS, NUM_ITEMS, generator=generator)
    data = HeteroData()
    data[USER].num_nodes, data[ITEM].num_nodes = NUM_USERS, NUM_ITEMS
    data[INTERACTS].edge_index = (chance < torch.where(likes, 0.3, 0.03)).nonzero().t()
    noise = torch.randn(NUM_ITEMS, 8, generator=generator)
    data[ITEM].x = torch.nn.functional.one_hot(group, 8) + 0.3 * noise
    return data


def shop_parts() -> tuple[HeteroData, HeteroData, HeteroData]:
    """The shop, split."""
    train, val, test = SplitInteractions(seed=0)(whole_shop())
    return Compose([AddItemKNNGraph(k=5), AddCoInteractionGraph(k=5)])(train), val, test


def make_module(train: HeteroData) -> RankingModule:
    """An MM-GEF whose every random number and graph has to survive an interruption."""
    seed_everything(0)
    model = MMGEF.from_data(
        train,
        embedding_dim=16,
        skip_weight=0.5,
        rebuild_every=4,
        edge_dropout=0.2,
        item_dropout=0.2,
        k=5,
    )
    return RankingModule(model, BPRLoss(l2=1e-3), lr=3e-3, k=(5, 20))


class KillAtStep(Callback):
    """Kills the process in the middle of an epoch."""

    def __init__(self, epoch: int, step: int) -> None:
        self.epoch, self.step = epoch, step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Kill."""
        if (trainer.current_epoch, batch_idx) == (self.epoch, self.step):
            os.kill(os.getpid(), signal.SIGKILL)


class KillWriting(Callback):
    """Kills the process when half of an epoch's first checkpoint is on the disk."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the next `torch.save` be the last."""
        if trainer.current_epoch == self.epoch:
            torch.save = save_half  # type: ignore[assignment]


def save_half(state: object, file: Any) -> None:
    """Write what can't be read, and die."""
    file.write(b'half a checkpoint')
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)


def train(folder: Path, **kwargs: Any) -> Trainer:
    """Train, from the last checkpoint if there is one, and keep the final state in final.pt."""
    parts = shop_parts()
    module = make_module(parts[0])
    options: dict[str, Any] = {
        'max_epochs': EPOCHS,
        'accelerator': 'cpu',
        'enable_progress_bar': False,
        **kwargs,
    }
    trainer = make_trainer(folder, enable_model_summary=False, **options)
    last = folder / 'checkpoints' / 'last.ckpt'
    trainer.fit(
        module,
        datamodule=InteractionDataModule(*parts, batch_size=BATCH_SIZE),
        ckpt_path=last if last.exists() else None,
    )
    if trainer.is_global_zero:
        optimizer = trainer.optimizers[0].state_dict()
        torch.save({'model': module.state_dict(), 'optimizer': optimizer}, folder / 'final.pt')
    return trainer


def rows(folder: Path) -> dict[int, dict[str, str]]:
    """The logged rows by epoch, of all starts of a run; rows of the same epoch must be equal."""
    out: dict[int, dict[str, str]] = {}
    for path in sorted(folder.glob('csv/version_*/metrics.csv')):
        with path.open() as file:
            for row in csv.DictReader(file):
                epoch = int(row['epoch'])
                assert out.setdefault(epoch, row) == row
    return out


def tensors(state: Any) -> list[Any]:
    """The leaves of a nested state, in order."""
    if isinstance(state, dict):
        return [leaf for key in sorted(state, key=str) for leaf in (key, *tensors(state[key]))]
    if isinstance(state, (list, tuple)):
        return [leaf for part in state for leaf in tensors(part)]
    return [state]


def assert_equal_states(left: Any, right: Any) -> None:
    """Assert that two nested states are equal to the bit."""
    pairs = list(zip(tensors(left), tensors(right), strict=True))
    assert pairs
    for one, other in pairs:
        same = torch.equal(one, other) if isinstance(one, Tensor) else one == other
        assert same, (one, other)


if __name__ == '__main__':
    parser = argparse.ArgumentParser()
    parser.add_argument('folder', type=Path)
    parser.add_argument('--devices', type=int, default=1)
    parser.add_argument('--kill', type=int, nargs=2)
    parser.add_argument('--kill-writing', type=int)
    args = parser.parse_args()
    torch.set_num_threads(1)
    callbacks: list[Callback] = []
    if args.kill:
        callbacks.append(KillAtStep(*args.kill))
    if args.kill_writing is not None:
        callbacks.append(KillWriting(args.kill_writing))
    strategy = 'ddp' if args.devices > 1 else 'auto'
    train(args.folder, devices=args.devices, strategy=strategy, callbacks=callbacks)
