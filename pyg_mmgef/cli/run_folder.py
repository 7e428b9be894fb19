import csv
import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch_geometric
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef import __version__
from pyg_mmgef.cli.dataset_folder import DatasetFolder
from pyg_mmgef.cli.settings import Settings
from pyg_mmgef.files import write_atomically
from pyg_mmgef.nn import MMGEF, LightGCN
from pyg_mmgef.ranking import evaluate_ranking
from pyg_mmgef.schema import INTERACTS

__all__ = ['RunFolder']

CONFIG, METRICS = 'config.json', 'metrics.json'


class RunFolder:
    """A trained model as ``pyg-mmgef train`` leaves it.

    ``config.json`` holds the settings, the seed, the dataset's place and fingerprint and the
    versions, so that the run can be repeated; ``checkpoints/`` the best and the last epoch;
    ``metrics.json``, written last, what came out; ``csv/``, ``tensorboard/`` and ``curves.png`` how
    it went.

    Args:
        path: The folder.

    Raises:
        FileNotFoundError: If it isn't there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not (path / CONFIG).is_file():
            raise FileNotFoundError(
                f'{str(path)!r} is no run: it has no {CONFIG}; make one with "pyg-mmgef train"'
            )
        self.config: dict[str, Any] = json.loads((path / CONFIG).read_text(encoding='utf-8'))
        self.settings = Settings.from_dict(self.config['settings'])

    @classmethod
    def start(cls, path: Path, dataset: DatasetFolder, settings: Settings) -> 'RunFolder':
        """Make a run, or return the one that is there already with the same settings and data.

        Raises:
            ValueError: If the folder holds another run.
        """
        config = {
            'settings': settings.to_dict(),
            'dataset': {
                'path': str(dataset.path.resolve()),
                'fingerprint': dataset.fingerprint,
            },
            'versions': {
                'pyg_mmgef': __version__,
                'torch': torch.__version__,
                'torch_geometric': torch_geometric.__version__,
                'python': platform.python_version(),
            },
        }
        if (path / CONFIG).exists():
            run = cls(path)
            changed = run._difference(config)
            if changed:
                raise ValueError(
                    f'{str(path)!r} holds another run ({changed}); give a new folder with --output'
                )
            return run
        path.mkdir(parents=True, exist_ok=True)
        write_atomically(path / CONFIG, json.dumps(config, indent=2).encode())
        return cls(path)

    def _difference(self, config: dict[str, Any]) -> str:
        old, new = self.config['settings'], json.loads(json.dumps(config['settings']))
        changed = [
            f'{key} {old.get(key)!r}, now {new[key]!r}' for key in new if old.get(key) != new[key]
        ]
        if self.config['dataset']['fingerprint'] != config['dataset']['fingerprint']:
            changed.append('its dataset was another')
        return '; '.join(changed)

    @property
    def last_checkpoint(self) -> Path:
        """Where the last epoch is."""
        return self.path / 'checkpoints' / 'last.ckpt'

    @property
    def best_checkpoint(self) -> Path:
        """Where the best epoch is."""
        return self.path / 'checkpoints' / 'best.ckpt'

    @property
    def metrics(self) -> dict[str, Any] | None:
        """What came out, or :obj:`None` while the run isn't finished."""
        path = self.path / METRICS
        return json.loads(path.read_text(encoding='utf-8')) if path.is_file() else None

    def finish(self, metrics: dict[str, Any]) -> None:
        """Write what came out."""
        write_atomically(self.path / METRICS, json.dumps(metrics, indent=2).encode())

    def dataset(self) -> DatasetFolder:
        """Return the dataset.

        Raises:
            FileNotFoundError: If it has been moved.
            ValueError: If it is no longer the one of the run.
        """
        dataset = DatasetFolder(Path(self.config['dataset']['path']))
        if dataset.fingerprint != self.config['dataset']['fingerprint']:
            raise ValueError(
                f'{str(dataset.path)!r} has changed since the run {str(self.path)!r} was trained; '
                'train again, or prepare the dataset as it was'
            )
        return dataset

    def history(self) -> list[dict[str, float]]:
        """Return what was logged of each epoch; one that was trained twice counts once."""
        rows: dict[int, dict[str, float]] = {}
        versions = (self.path / 'csv').glob('version_*/metrics.csv')
        for path in sorted(versions, key=lambda path: int(path.parent.name.split('_')[1])):
            with open(path, encoding='utf-8', newline='') as file:
                for row in csv.DictReader(file):
                    epoch = int(float(row['epoch']))
                    values = {key: float(value) for key, value in row.items() if value}
                    rows.setdefault(epoch, {}).update(values)
        return [rows[epoch] for epoch in sorted(rows) if 'train_loss' in rows[epoch]]

    def load(self) -> 'LoadedRun':
        """Return the best model with its data.

        Raises:
            FileNotFoundError: If no epoch is finished yet, or the dataset is gone.
            ValueError: If the dataset has changed.
        """
        if not self.best_checkpoint.is_file():
            raise FileNotFoundError(
                f'{str(self.path)!r} has no trained model yet; run "pyg-mmgef train" to its end'
            )
        dataset = self.dataset()
        return self.load_with(dataset, *self.settings.split_data(dataset.data()))

    def load_with(
        self, dataset: DatasetFolder, train: HeteroData, val: HeteroData, test: HeteroData
    ) -> 'LoadedRun':
        """Return the best model with the run's data, for who has that already."""
        model = self.settings.build_model(train)
        state = torch.load(self.best_checkpoint, map_location='cpu', weights_only=True)
        prefix = 'model.'
        model.load_state_dict(
            {
                key.removeprefix(prefix): value
                for key, value in state['state_dict'].items()
                if key.startswith(prefix)
            }
        )
        return LoadedRun(dataset, model.eval(), train, val, test)


class LoadedRun:
    """The best model of a run, and the data it was trained on.

    Args:
        dataset: The dataset.
        model: The model.
        train: The train graph.
        val: The validation part.
        test: The test part.
    """

    def __init__(
        self,
        dataset: DatasetFolder,
        model: LightGCN | MMGEF,
        train: HeteroData,
        val: HeteroData,
        test: HeteroData,
    ) -> None:
        self.dataset, self.model = dataset, model
        self.train, self.val, self.test = train, val, test
        with torch.inference_mode():
            self.z_user, self.z_item = model(train)

    def seen(self, *parts: str) -> Tensor:
        """Return the interactions of train and of these parts, ``'val'`` or ``'test'``."""
        held_out = {'val': self.val, 'test': self.test}
        others = [held_out[part][INTERACTS].edge_label_index for part in parts]
        return torch.cat([self.train[INTERACTS].edge_index, *others], dim=1)

    def evaluate(self, part: str, k: Sequence[int]) -> dict[str, float]:
        """Rank the interactions of ``'val'`` or ``'test'`` among the items not seen before.

        Raises:
            ValueError: If a cut-off isn't positive.
        """
        target = self.val if part == 'val' else self.test
        return evaluate_ranking(
            self.z_user,
            self.z_item,
            target[INTERACTS].edge_label_index,
            exclude=self.seen() if part == 'val' else self.seen('val'),
            k=tuple(k),
        )
