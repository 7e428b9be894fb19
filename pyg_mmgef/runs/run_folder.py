import json
import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch_geometric
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from safetensors.torch import load, save
from torch import Tensor

from pyg_mmgef import __version__
from pyg_mmgef._folders import ABOUT, CONFIG, TRAINED_ON, VERSIONS
from pyg_mmgef._spelling import spelt
from pyg_mmgef.catalog.fold_in import FoldIn
from pyg_mmgef.files import (
    check_sealed,
    damaged,
    make_folder,
    open_sealed,
    read_json,
    read_sealed,
    write_atomically,
    write_json,
    write_sealed,
)
from pyg_mmgef.nn import Recommender
from pyg_mmgef.nn.models._solved import SolvedRecommender
from pyg_mmgef.runs.dataset_folder import DatasetFolder
from pyg_mmgef.runs.plots import save_curves
from pyg_mmgef.runs.run_data import Source
from pyg_mmgef.runs.run_toml import RUN_TOML, settings_of, toml_of
from pyg_mmgef.settings import Settings

__all__ = ['RunFolder']

METRICS, EMBEDDINGS = 'metrics.json', 'embeddings.safetensors'
FOLD_IN, SOLUTION = 'fold_in.safetensors', 'solution.safetensors'
CURVES = 'curves.png'
HISTORY = 'EpochHistory'  # As Lightning names the callback.
NO_EPOCHS: dict[str, Any] = {HISTORY: {'rows': []}}
PREFIX = 'model.'  # As Lightning names the parameters.
TRAIN_AGAIN = 'train again into a new folder'


class RunFolder:
    """The folder of a run, as written by ``pyg-mmgef train``.

    ``config.json`` holds the settings, the seed, the path and fingerprint of the dataset and the
    versions, and ``run.toml`` the settings for people and for ``pyg-mmgef train --config``, so that
    the run can be repeated. ``trained_on/`` is that dataset, by hard links where
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
    def start(
        cls,
        path: Path,
        dataset: Source,
        settings: Settings,
        *,
        repeated: Settings | None = None,
        copy_data: bool = True,
    ) -> 'RunFolder':
        """Start a run, or return the run in the folder if settings and dataset are the same.

        Args:
            path: The folder of the run.
            dataset: The dataset.
            settings: Completed settings.
            repeated: The settings that repeat the run; :obj:`None` means the same, without the
                budget, as what was chosen within it is among them. (default: :obj:`None`)
            copy_data: Whether the run keeps a copy of the dataset. (default: :obj:`True`)

        Raises:
            ValueError: If the folder holds another run, or a dataset.
        """
        if (path / ABOUT).exists() or (path / VERSIONS).exists():
            raise ValueError(
                f'{str(path)!r} holds a dataset; give a new folder with {spelt("folder")}'
            )
        config = {
            'settings': settings.to_dict(),
            'dataset': {
                'path': str(dataset.path.resolve()) if isinstance(dataset, DatasetFolder) else None,
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
                    f'{str(path)!r} holds another run ({changed}); give a new folder with '
                    f'{spelt("folder")}'
                )
        else:
            make_folder(path)
            where = config['dataset']['path']
            repeated = replace(settings, budget=None) if repeated is None else repeated
            text = toml_of(repeated, None if where is None else Path(where))
            write_atomically(path / RUN_TOML, text.encode())
            write_json(path / CONFIG, config)
            run = cls(path)
        if copy_data:
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
    def repeated(self) -> Settings | None:
        """The settings that repeat the run, :obj:`None` if its file of them is gone."""
        path = self.path / RUN_TOML
        return settings_of(path) if path.is_file() else None

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

    def finish(
        self,
        metrics: dict[str, Any],
        embeddings: tuple[Tensor, Tensor],
        fold_in: FoldIn | None = None,
        model: Recommender | None = None,
        history: list[dict[str, float]] | None = None,
    ) -> None:
        """Write the embeddings and curves, then the metrics, which marks the run as finished.

        Args:
            metrics: The metrics.
            embeddings: Those of users and items; sparse ones are computed again when needed.
            fold_in: What embeds new users, if the model has it. (default: :obj:`None`)
            model: The model, of which a solution in closed form is written, so that it isn't
                computed again. (default: :obj:`None`)
            history: The loss and the metrics of each epoch, for the curves, if there were any.
                (default: :obj:`None`)
        """
        if history:
            save_curves(self.path / CURVES, history)
        if fold_in is not None:
            arrays = {name: np.ascontiguousarray(x) for name, x in fold_in.to_arrays().items()}
            text = {'settings': json.dumps(fold_in.settings)}
            write_sealed(self.path / FOLD_IN, save_arrays(arrays, text))
        z_user, z_item = embeddings
        if z_user.layout == z_item.layout == torch.strided:
            tensors = {'z_user': z_user.contiguous(), 'z_item': z_item.contiguous()}
            write_sealed(self.path / EMBEDDINGS, save(tensors))
            if isinstance(model, SolvedRecommender) and (packed := model.packed_solution()):
                solution = {name: x.contiguous() for name, x in packed[1].items()}
                write_sealed(self.path / SOLUTION, save(solution, {'digest': packed[0]}))
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
                f'give {spelt("dataset")}, if the run was trained on one that is whole, or '
                f'{TRAIN_AGAIN}'
            )
            return DatasetFolder(self.path / TRAINED_ON, advice)
        dataset = DatasetFolder(path)
        if dataset.fingerprint != self.config['dataset']['fingerprint']:
            raise ValueError(
                f'{str(dataset.path)!r} has changed since the run {str(self.path)!r} was trained, '
                f'or is another dataset; leave out {spelt("dataset")}, as the run has a copy of '
                'its own'
            )
        return dataset

    def history(self) -> list[dict[str, float]]:
        """Return the loss and the metrics of each epoch.

        Raises:
            ValueError: If the last checkpoint, which has them, is damaged.
        """
        for path in (self.last_checkpoint, self.best_checkpoint):  # One saved has only the best.
            if path.is_file():
                return list(_read_checkpoint(path).get('callbacks', NO_EPOCHS)[HISTORY]['rows'])
        return []

    def check_is_trained(self) -> None:
        """Raise a :class:`FileNotFoundError` if no epoch is finished yet."""
        if self.metrics is None and not self.best_checkpoint.is_file():
            raise FileNotFoundError(
                f'{str(self.path)!r} has no trained model yet; run "pyg-mmgef train" to its end'
            )

    def load_parameters(self, model: Recommender) -> None:
        """Load the parameters of the best epoch, and the scale of cold items, into a model.

        Raises:
            ValueError: If the file with the parameters is damaged.
        """
        if model.has_parameters:
            model.load_state_dict(self._best_parameters())
        elif isinstance(model, SolvedRecommender) and (self.path / SOLUTION).is_file():
            content = read_sealed(self.path / SOLUTION, TRAIN_AGAIN)
            model.give_solution(_metadata(content)['digest'], load(content))
        model.cold_scale = (self.metrics or {}).get('cold_scale', 1.0)

    def fold_in(self) -> FoldIn | None:
        """Return what embeds new users, :obj:`None` if it isn't on disk.

        Raises:
            ValueError: If the file is damaged.
        """
        path = self.path / FOLD_IN
        if not path.is_file():
            return None
        content = read_sealed(path, TRAIN_AGAIN)
        settings = json.loads(_metadata(content)['settings'])
        return FoldIn.from_arrays(load_arrays(content), settings)

    def save_parameters(self, model: Recommender, history: list[dict[str, float]]) -> None:
        """Write the parameters of a model as those of the best epoch, and what each epoch had."""
        make_folder(self.best_checkpoint.parent)
        state = {f'{PREFIX}{name}': value for name, value in model.state_dict().items()}
        with open_sealed(self.best_checkpoint) as file:
            torch.save({'state_dict': state, 'callbacks': {HISTORY: {'rows': history}}}, file)

    def embeddings(self) -> tuple[Tensor, Tensor] | None:
        """Return the embeddings of users and items, :obj:`None` if there are none on disk.

        Raises:
            ValueError: If their file is damaged.
        """
        path = self.path / EMBEDDINGS
        if not path.is_file():
            return None
        arrays = load(read_sealed(path, TRAIN_AGAIN))
        return arrays['z_user'], arrays['z_item']

    def _best_parameters(self) -> dict[str, Any]:
        state = _read_checkpoint(self.best_checkpoint)['state_dict']
        return {
            key.removeprefix(PREFIX): value
            for key, value in state.items()
            if key.startswith(PREFIX)
        }


def _metadata(content: bytes) -> dict[str, str]:
    """Return the texts in the header of a safetensors file, which is JSON after its length."""
    size = int.from_bytes(content[:8], 'little')
    return json.loads(content[8 : 8 + size])['__metadata__']


def _read_checkpoint(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise damaged(path, 'it is missing', TRAIN_AGAIN)
    check_sealed(path, TRAIN_AGAIN)
    return torch.load(path, map_location='cpu', weights_only=True)
