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
from pyg_mmgef.cli.folders import ABOUT, CONFIG, TRAINED_ON, VERSIONS
from pyg_mmgef.cli.models import build_model
from pyg_mmgef.cli.settings import Settings
from pyg_mmgef.cli.splits import split_data
from pyg_mmgef.files import check_sealed, damaged, make_folder, read_json, write_json
from pyg_mmgef.nn import Recommender
from pyg_mmgef.ranking import choose_cold_scale, evaluate_ranking
from pyg_mmgef.schema import INTERACTS

__all__ = ['CONFIG', 'CUTOFFS', 'LoadedRun', 'RunFolder', 'fitting_cutoffs']

METRICS = 'metrics.json'
CUTOFFS = 10, 20
TRAIN_AGAIN = 'train again into a new folder'


def fitting_cutoffs(num_items: int) -> tuple[int, ...]:
    """Return the default cut-offs of the metrics, at most the number of items to rank."""
    return tuple(sorted({min(k, num_items) for k in CUTOFFS}))


class RunFolder:
    """The folder of a run, as written by ``pyg-mmgef train``.

    ``config.json`` holds the settings, the seed, the path and fingerprint of the dataset and the
    versions, so that the run can be repeated. ``trained_on/`` is that dataset, by hard links where
    they are possible, so that the run needs nothing else. ``checkpoints/`` has the best and the
    last epoch, ``csv/``, ``tensorboard/`` and ``curves.png`` have the loss and the metrics of each
    epoch, and ``metrics.json``, written last, those of the best epoch. A model without parameters
    has neither checkpoints nor curves.

    Args:
        path: The folder.

    Raises:
        FileNotFoundError: If there is no run in the folder.
        ValueError: If its settings are damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not (path / CONFIG).is_file():
            raise FileNotFoundError(
                f'{str(path)!r} is not a run, it has no {CONFIG}; make one with "pyg-mmgef train"'
            )
        self.config: dict[str, Any] = read_json(path / CONFIG, TRAIN_AGAIN)
        self.settings = Settings.from_dict(self.config['settings'])

    @classmethod
    def start(cls, path: Path, dataset: DatasetFolder, settings: Settings) -> 'RunFolder':
        """Start a run, or return the run in the folder if settings and dataset are the same.

        Args:
            path: The folder of the run.
            dataset: The dataset.
            settings: Completed settings.

        Raises:
            ValueError: If the folder holds another run, or a dataset.
        """
        if (path / ABOUT).exists() or (path / VERSIONS).exists():
            raise ValueError(f'{str(path)!r} holds a dataset; give a new folder with --output')
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
        else:
            make_folder(path)
            write_json(path / CONFIG, config)
            run = cls(path)
        dataset.copy_to(path / TRAINED_ON)
        return run

    def _difference(self, config: dict[str, Any]) -> str:
        old, new = self.config['settings'], json.loads(json.dumps(config['settings']))
        changed = [
            f'{key} {old.get(key)!r}, now {new[key]!r}' for key in new if old.get(key) != new[key]
        ]
        if self.config['dataset']['fingerprint'] != config['dataset']['fingerprint']:
            changed.append(f'another dataset, a copy of which is {str(self.path / TRAINED_ON)!r}')
        return '; '.join(changed)

    @property
    def last_checkpoint(self) -> Path:
        """The checkpoint of the last epoch."""
        return self.path / 'checkpoints' / 'last.ckpt'

    @property
    def best_checkpoint(self) -> Path:
        """The checkpoint of the best epoch."""
        return self.path / 'checkpoints' / 'best.ckpt'

    @property
    def metrics(self) -> dict[str, Any] | None:
        """The metrics of the best epoch, :obj:`None` while the run isn't finished."""
        path = self.path / METRICS
        return read_json(path, TRAIN_AGAIN) if path.is_file() else None

    def finish(self, metrics: dict[str, Any]) -> None:
        """Write the metrics, which marks the run as finished."""
        write_json(self.path / METRICS, metrics)

    def dataset(self, path: Path | None = None) -> DatasetFolder:
        """Return the dataset of the run.

        Args:
            path: The folder of the dataset; :obj:`None` means the copy within the run.
                (default: :obj:`None`)

        Raises:
            FileNotFoundError: If there is no dataset in that folder.
            ValueError: If it isn't the dataset of the run, or is damaged.
        """
        if path is None:
            advice = (
                f'give --dataset, if the run was trained on one that is whole, or {TRAIN_AGAIN}'
            )
            return DatasetFolder(self.path / TRAINED_ON, advice)
        dataset = DatasetFolder(path)
        if dataset.fingerprint != self.config['dataset']['fingerprint']:
            raise ValueError(
                f'{str(dataset.path)!r} has changed since the run {str(self.path)!r} was trained, '
                'or is another dataset; leave out --dataset, as the run has a copy of its own'
            )
        return dataset

    def history(self) -> list[dict[str, float]]:
        """Return the loss and the metrics of each epoch.

        Raises:
            ValueError: If the last checkpoint, which has them, is damaged.
        """
        if not self.last_checkpoint.is_file():
            return []
        rows = _read_checkpoint(self.last_checkpoint)['callbacks']['EpochHistory']['rows']
        return list(rows)

    def load(self, path: Path | None = None) -> 'LoadedRun':
        """Load the model of the best epoch, with its data.

        Args:
            path: The folder of the dataset, see :meth:`dataset`. (default: :obj:`None`)

        Raises:
            FileNotFoundError: If no epoch is finished yet, or the dataset can't be found.
            ValueError: If the dataset has changed, or the checkpoint is damaged.
        """
        if self.metrics is None and not self.best_checkpoint.is_file():
            raise FileNotFoundError(
                f'{str(self.path)!r} has no trained model yet; run "pyg-mmgef train" to its end'
            )
        dataset = self.dataset(path)
        train, val, test = split_data(self.settings, dataset.data())
        train, model = build_model(self.settings, train)
        return self.load_with(dataset, model, train, val, test)

    def load_with(
        self,
        dataset: DatasetFolder,
        model: Recommender,
        train: HeteroData,
        val: HeteroData,
        test: HeteroData,
    ) -> 'LoadedRun':
        """Load the parameters of the best epoch into a model; the data are those of the run."""
        if model.has_parameters:
            model.load_state_dict(self._best_parameters())
        model.cold_scale = (self.metrics or {}).get('cold_scale', 1.0)
        return LoadedRun(dataset, model.eval(), train, val, test)

    def _best_parameters(self) -> dict[str, Tensor]:
        state, prefix = _read_checkpoint(self.best_checkpoint)['state_dict'], 'model.'
        return {
            key.removeprefix(prefix): value
            for key, value in state.items()
            if key.startswith(prefix)
        }


def _read_checkpoint(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise damaged(path, 'it is missing', TRAIN_AGAIN)
    check_sealed(path, TRAIN_AGAIN)
    return torch.load(path, map_location='cpu', weights_only=True)


class LoadedRun:
    """The model of a run in its best epoch, its data and its embeddings.

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
        model: Recommender,
        train: HeteroData,
        val: HeteroData,
        test: HeteroData,
    ) -> None:
        self.dataset, self.model = dataset, model
        self.train, self.val, self.test = train, val, test
        with torch.inference_mode():
            self.z_user, self.z_item = model(train)

    def scale_cold_items(self) -> None:
        """Scale the embeddings of cold items so that warm items lose at most 3 % of their recall.

        The recall is that on validation, see :func:`~pyg_mmgef.ranking.choose_cold_scale`.
        """
        self.model.cold_scale = choose_cold_scale(
            self.z_user,
            self.z_item,
            self.val[INTERACTS].edge_label_index,
            self.model.is_warm(self.train),
            exclude=self.seen(),
            k=fitting_cutoffs(self.model.num_items)[-1],
        )
        with torch.inference_mode():
            self.z_user, self.z_item = self.model(self.train)

    def seen(self, *parts: str) -> Tensor:
        """Return the interactions of train and of the named parts, ``'val'`` or ``'test'``."""
        held_out = {'val': self.val, 'test': self.test}
        others = [held_out[part][INTERACTS].edge_label_index for part in parts]
        return torch.cat([self.train[INTERACTS].edge_index, *others], dim=1)

    def evaluate(self, part: str, k: Sequence[int]) -> dict[str, float]:
        """Return the metrics of ``'val'`` or ``'test'``, from a ranking of all unseen items.

        Args:
            part: ``'val'`` or ``'test'``.
            k: The cut-offs.

        Raises:
            ValueError: If a cut-off isn't positive, or larger than the number of items.
        """
        num_items = self.model.num_items
        if max(k) > num_items:
            raise ValueError(
                f'--cutoff must be at most {num_items}, the number of items (got {max(k)})'
            )
        target = self.val if part == 'val' else self.test
        return evaluate_ranking(
            self.z_user,
            self.z_item,
            target[INTERACTS].edge_label_index,
            exclude=self.seen() if part == 'val' else self.seen('val'),
            k=tuple(k),
        )
