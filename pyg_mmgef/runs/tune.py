import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import Any

import torch

from pyg_mmgef._spelling import spelt, spelt_with
from pyg_mmgef.files import make_folder, read_json, write_json
from pyg_mmgef.ranking import evaluate_ranking
from pyg_mmgef.runs._say import Say, say_if
from pyg_mmgef.runs._train_run import built, train_epochs, train_run
from pyg_mmgef.runs._trials import Report, Trial, Trials
from pyg_mmgef.runs._tuned_options import candidate, settings_of, tuned_settings
from pyg_mmgef.runs.devices import checked_device
from pyg_mmgef.runs.fit import BEST, as_settings
from pyg_mmgef.runs.models import complete, models
from pyg_mmgef.runs.run import Run, RunParts, fitting_cutoffs
from pyg_mmgef.runs.run_data import Source, as_source
from pyg_mmgef.runs.sizes import fitting_size, sampled_users
from pyg_mmgef.runs.splits import NONE, Split, choose_split, split_data, who_is_new
from pyg_mmgef.schema import INTERACTS, USER, supervision_edges
from pyg_mmgef.settings import Settings
from pyg_mmgef.validate import check_choice, check_positive

__all__ = ['tune', 'tune_settings']

WINNER, SUMMARY = 'best', 'tune.json'


def tune(
    data: Any,
    models: str | Sequence[str] | None = None,
    *,
    trials: int = 50,
    minutes: float | None = None,
    folder: str | os.PathLike[str] | None = None,
    device: str = 'auto',
    verbose: bool = False,
    **options: Any,
) -> Run:
    """Search for the model and the options that are best on validation, and return their run.

    Each model is first tried with its defaults. Then Optuna's tree-structured Parzen estimator
    proposes a model and its options, from the ranges of :mod:`pyg_mmgef.runs.search_spaces`. A
    model that is trained in epochs is stopped where half of the others were better in the same
    epoch. Trials read train and validation only. The winner is trained again, and test is read
    once, by its run.

    A search that was interrupted continues with the same call, and ends as if it had not been
    interrupted; with a larger number of trials, a finished one goes on. A better winner then takes
    the place of the one before.

    Args:
        data: As of :func:`~pyg_mmgef.fit`.
        models: The name of a model, or several; :obj:`None` tries all that the data has what they
            need for. (default: :obj:`None`)
        trials: Number of trials of all models together. (default: ``50``)
        minutes: Minutes after which no further trial starts; the result then depends on the clock.
            (default: :obj:`None`)
        folder: Folder of the search, with ``trials.sqlite`` for Optuna, the summary ``tune.json``
            and the run ``best``; :obj:`None` keeps all in memory. (default: :obj:`None`)
        device: Where to train, see :func:`~pyg_mmgef.fit`. (default: ``'auto'``)
        verbose: Whether to print each trial. (default: :obj:`False`)
        **options: Options of :func:`~pyg_mmgef.fit` that all trials share, such as ``split``,
            ``seed``, ``epochs`` or ``embedding_dim``. What is given here isn't searched.

    Returns:
        The run of the winner.

    Raises:
        ImportError: If Optuna isn't installed.
        TypeError: If an option isn't known.
        TimeoutError: If another process tunes in the folder.
        ValueError: If a model is unknown, a number isn't positive, the folder has another search,
            or as :func:`~pyg_mmgef.fit`.

    Example:
        .. code-block:: python

            from pyg_mmgef.runs import tune

            run = tune('shop', ['contentials', 'lightgcn'], trials=40, folder='runs/tuned')
            print(run.settings, run.metrics['test_recall@20'])
    """
    names = [models] if isinstance(models, str) else models
    return tune_settings(
        as_source(data),
        as_settings(BEST, options, 'tune'),
        names,
        trials=trials,
        minutes=minutes,
        folder=None if folder is None else Path(folder).expanduser(),
        device=device,
        say=say_if(verbose),
    )


def tune_settings(
    source: Source,
    common: Settings,
    names: Sequence[str] | None,
    *,
    trials: int,
    minutes: float | None,
    folder: Path | None,
    device: str,
    say: Say,
) -> Run:
    """Search as :func:`tune`, which has all errors, from settings.

    Args:
        source: The dataset.
        common: The settings that all trials share.
        names: The names of the models; :obj:`None` means all.
        trials: Number of trials.
        minutes: Minutes after which no further trial starts.
        folder: Folder of the search.
        device: Where to train.
        say: Called with each line to print.
    """
    check_positive('trials', trials)
    if minutes is not None:
        check_positive('minutes', minutes, integer=False)
    checked_device(device)
    if common.split == NONE:
        raise ValueError(
            f'{spelt_with("split", NONE)} leaves nothing to choose by; give another split'
        )
    for name in names or ():
        check_choice('model', name, list(models()))
    start = time.monotonic()
    common, why = choose_split(replace(common, budget=0), source.data())
    with _folder(folder) as place:
        search = _Search(source, common, device, say)
        found = search.candidates(names)
        for line in filter(None, (why, who_is_new(search.split))):
            say(line)
        about = {'dataset': source.fingerprint, 'settings': repr(common)}
        study = Trials(place, found, about, common.seed)
        seconds = None if minutes is None else 60 * minutes
        study.run(search.value, trials, seconds, after=lambda trial: search.tell(study, trial))
        best = study.best()
        say(_summary(study, best))
        settings = tuned_settings(search.settings[best.model], best.options)
        if _winner_before(place) not in (None, best._asdict()):
            rmtree(place / WINNER, ignore_errors=True)  # Of fewer trials.
        write_json(
            place / SUMMARY,
            {
                'trials': [trial._asdict() for trial in study.finished()],
                'best': best._asdict(),
                'seconds': round(time.monotonic() - start, 1),
            },
        )
        to = None if folder is None else folder / WINNER
        return train_run(source, settings, to, device=device, say=say)


class _Search:
    """What the trials of a search share.

    Args:
        source: The dataset.
        common: The settings that all trials share, with a split.
        device: Where to train.
        say: Called with each line to print.
    """

    def __init__(self, source: Source, common: Settings, device: str, say: Say) -> None:
        self._source, self._common, self._device, self._say = source, common, device, say
        self.settings: dict[str, Settings] = {}
        """The settings of each model, before anything is chosen."""
        modalities = common.modalities or tuple(source.encoders)
        self.split: Split = split_data(replace(common, modalities=modalities), source.data())
        """The train, validation and test data."""

    def candidates(self, names: Sequence[str] | None) -> dict[str, Any]:
        """Return what there is to choose of each model, without those that don't fit the data."""
        num_users = self.split[0][USER].num_nodes
        for name in names or models():
            settings = settings_of(self._common, name)
            try:
                built(self._complete(settings), self.split)
            except ValueError as error:
                if names is not None:
                    raise
                self._say(f'without {name}: {error}')
            else:
                self.settings[name] = settings
        return {name: candidate(one, num_users) for name, one in self.settings.items()}

    def value(self, model: str, options: Mapping[str, Any], report: Report) -> float:
        """Return the recall on validation of a model with options, zero if it can't be computed."""
        settings = self._complete(tuned_settings(self.settings[model], options))
        try:
            parts = built(settings, self.split)
            if not parts.model.has_parameters:
                return self._recall(parts)
            return self._best_epoch(settings, parts, report)
        except ValueError as error:  # Such as embeddings that aren't finite.
            self._say(f'{model} fails: {error}')
            return 0.0

    def tell(self, study: Trials, trial: Trial) -> None:
        """Say what a trial has found."""
        number = len(study.finished())
        end = ', stopped early' if trial.was_stopped else ''
        self._say(f'trial {number}: {self._metric} {trial.value:.4f}{end}, {_shown(trial)}')

    def _complete(self, settings: Settings) -> Settings:
        sized, _ = fitting_size(settings, *self.split[:2])
        return complete(sized, self._source.encoders)

    @property
    def _val_users(self) -> int | None:
        return fitting_size(self._common, *self.split[:2])[0].val_users

    @property
    def _k(self) -> int:
        return fitting_cutoffs(len(self._source.item_ids))[-1]

    @property
    def _metric(self) -> str:
        return f'recall@{self._k}'

    def _recall(self, parts: RunParts) -> float:
        parts.model.eval()
        with torch.inference_mode():
            z_user, z_item = parts.model(parts.train)
        found = evaluate_ranking(
            z_user,
            z_item,
            supervision_edges(sampled_users(parts.val, self._val_users, self._common.seed)),
            exclude=parts.train[INTERACTS].edge_index,
            k=self._k,
            metrics='recall',
        )
        return found[self._metric]

    def _best_epoch(self, settings: Settings, parts: RunParts, report: Report) -> float:
        from pyg_mmgef.training._report_epochs import ReportEpochs

        metric = f'val_{self._metric}'
        with TemporaryDirectory() as place:
            rows = train_epochs(
                Path(place),
                settings,
                parts,
                self._device,
                callbacks=[ReportEpochs(metric, report)],
                logger=False,
                enable_checkpointing=False,
            )
        return max(row[metric] for row in rows)


def _winner_before(folder: Path) -> dict[str, Any] | None:
    path = folder / SUMMARY
    return read_json(path, 'delete it')['best'] if path.is_file() else None


def _shown(trial: Trial) -> str:
    options = ' '.join(
        f'{name}={value:.4g}' if isinstance(value, float) else f'{name}={value}'
        for name, value in trial.options.items()
    )
    return f'{trial.model} {options}'.strip()


def _summary(study: Trials, best: Trial) -> str:
    finished = study.finished()
    stopped = sum(trial.was_stopped for trial in finished)
    place = next(n for n, trial in enumerate(finished, 1) if trial == best)
    return (
        f'{len(finished)} trials, {stopped} of them stopped early; the best on validation is trial '
        f'{place}: {_shown(best)}'
    )


@contextmanager
def _folder(folder: Path | None) -> Iterator[Path]:
    """Make the folder of a search, and keep other searches out during the block."""
    from filelock import FileLock, Timeout

    if folder is None:
        with TemporaryDirectory() as place:
            yield Path(place)
        return
    make_folder(folder)
    try:
        with FileLock(folder / '.lock', timeout=0):
            yield folder
    except Timeout as error:
        raise TimeoutError(
            f'another process tunes in {str(folder)!r}; wait until it has ended, or give another '
            f'folder with {spelt("folder")}'
        ) from error
