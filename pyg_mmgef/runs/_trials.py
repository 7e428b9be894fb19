"""The trials of a search, by Optuna, which continue after a kill as if nothing had happened."""

import hashlib
import json
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pyg_mmgef.runs.search_spaces import Range, Space

__all__ = ['Candidate', 'Trial', 'TrialStopped', 'Trials']

STARTUP = 10
"""Trials before the sampler learns from them; those of defaults are among them."""
TRIALS_BEFORE_PRUNING, EPOCHS_BEFORE_PRUNING = 4, 5
FILE, CONFIG = 'trials.sqlite', 'config'
CHOSEN, COMPUTED = 'model', 'model_without_options'
"""Two names, so that the sampler doesn't choose again what has no options to choose."""
Report = Callable[[int, float], None]


class Candidate(NamedTuple):
    """A model, what is tried first, and what else may be."""

    defaults: Mapping[str, Any]
    """The value of each option in the first trial."""
    space: Space
    """The values that each option may have."""


class Trial(NamedTuple):
    """A finished trial."""

    model: str
    """The name of the model."""
    options: dict[str, Any]
    """The value of each option that was searched."""
    value: float
    """The metric on validation; of a stopped trial, in the best epoch until then."""
    was_stopped: bool
    """Whether it was stopped early, as others were better in the same epoch."""


class TrialStopped(Exception):
    """Raised by a report: the trial is worse than half of the others, and needn't be finished."""


class Trials:
    """Trials of models and options, in an SQLite file.

    A model's first trial has its defaults, and is its only one if it has no options. The others
    come from Optuna's tree-structured Parzen estimator, which chooses the model, too. Its random
    state is set before each trial from the seed and the number of finished ones, and a trial that
    was interrupted doesn't count, so a search that was killed and started again has the same trials
    as one that was not. A trial that repeats another isn't run, but has its value.

    Args:
        folder: The folder of the file.
        candidates: The models by name.
        about: What else the values depend on; a file of others isn't continued. It must be JSON.
        seed: Seed of the choices.

    Raises:
        ImportError: If Optuna isn't installed.
        ValueError: If the folder has the trials of another search.
    """

    def __init__(
        self, folder: Path, candidates: Mapping[str, Candidate], about: Mapping[str, Any], seed: int
    ) -> None:
        try:
            import optuna
        except ImportError as error:
            raise ImportError(
                'tuning needs Optuna; install it with: pip install "pyg-mmgef[tune]"'
            ) from error
        self._candidates, self._seed = candidates, seed
        self._with_options = [name for name, one in candidates.items() if one.space]
        self._without_options = {n for n, one in enumerate(candidates.values()) if not one.space}
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # It would say that there is a study.
        self._study = optuna.create_study(
            storage=f'sqlite:///{folder / FILE}',
            study_name='tune',
            direction='maximize',
            pruner=optuna.pruners.MedianPruner(TRIALS_BEFORE_PRUNING, EPOCHS_BEFORE_PRUNING),
            load_if_exists=True,
        )
        optuna.logging.set_verbosity(verbosity)
        spaces = repr([(name, *map(dict, one)) for name, one in candidates.items()])
        self._check_is_the_same(
            folder,
            {
                **about,
                'models': ', '.join(candidates),
                'seed': seed,
                'spaces': hashlib.sha256(spaces.encode()).hexdigest()[:8],
            },
        )
        for trial in self._study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
            self._study.tell(trial.number, state=optuna.trial.TrialState.FAIL)

    def run(
        self,
        objective: Callable[[str, dict[str, Any], Report], float],
        number: int,
        seconds: float | None = None,
        after: Callable[[Trial], None] = lambda _: None,
    ) -> None:
        """Run trials until as many are finished, those of earlier calls among them.

        Args:
            objective: Returns the metric on validation of a model with options. What is trained in
                epochs calls its last argument with the number of each epoch, from 0, and its
                metric, and lets :class:`TrialStopped` pass.
            number: Number of finished trials to reach.
            seconds: Seconds after which no further trial starts; :obj:`None` means no limit. The
                first of a search is always run. (default: :obj:`None`)
            after: Called with each trial that is finished. (default: nothing is called)
        """
        start = time.monotonic()
        done = len(self.finished())
        most = number if self._with_options else min(number, len(self._candidates))
        for position in range(done, most):
            if seconds is not None and position > 0 and time.monotonic() - start > seconds:
                break
            self._run_one(objective, position)
            after(self.finished()[-1])

    def finished(self) -> list[Trial]:
        """Return all finished trials, in their order."""
        from optuna.trial import TrialState

        found = []
        for trial in self._study.get_trials(states=[TrialState.COMPLETE, TrialState.PRUNED]):
            was_stopped = trial.state == TrialState.PRUNED
            values = trial.intermediate_values.values() if was_stopped else trial.values
            model, options = _own(trial.params)
            found.append(Trial(model, options, max(values), was_stopped))
        return found

    def best(self) -> Trial:
        """Return the best trial that was not stopped, the earlier of equal ones."""
        return max(
            (trial for trial in self.finished() if not trial.was_stopped),
            key=lambda trial: trial.value,
        )

    def _run_one(
        self, objective: Callable[[str, dict[str, Any], Report], float], position: int
    ) -> None:
        from optuna.trial import TrialState

        self._study.sampler = self._sampler(position)
        trial = self._study.ask()
        if position in self._without_options:
            model = trial.suggest_categorical(COMPUTED, list(self._candidates))
        else:
            model = trial.suggest_categorical(CHOSEN, self._with_options)
        options = {
            name: _suggest(trial, f'{model}.{name}', choices)
            for name, choices in self._candidates[model].space.items()
        }

        def report(epoch: int, value: float) -> None:
            trial.report(value, epoch)
            if trial.should_prune():
                raise TrialStopped

        known = {repr(one[:2]): one for one in self.finished() if not one.was_stopped}
        same = known.get(repr((model, options)))
        try:
            value = objective(model, options, report) if same is None else same.value
            self._study.tell(trial, value)
        except TrialStopped:
            self._study.tell(trial, state=TrialState.PRUNED)

    def _sampler(self, position: int) -> Any:
        from optuna.exceptions import ExperimentalWarning
        from optuna.samplers import PartialFixedSampler, TPESampler

        sampler = TPESampler(n_startup_trials=STARTUP, seed=self._seed + position)
        if position >= len(self._candidates):
            return sampler
        model = list(self._candidates)[position]
        defaults = self._candidates[model].defaults
        fixed = {f'{model}.{name}': value for name, value in defaults.items()}
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', ExperimentalWarning)
            return PartialFixedSampler({CHOSEN: model, COMPUTED: model, **fixed}, sampler)

    def _check_is_the_same(self, folder: Path, about: dict[str, Any]) -> None:
        about = json.loads(json.dumps(about))
        known = self._study.user_attrs.setdefault(CONFIG, about)
        changed = [
            f'{key} {known.get(key)!r}, now {value!r}'
            for key, value in about.items()
            if known.get(key) != value
        ]
        if changed:
            raise ValueError(
                f'{str(folder)!r} has the trials of another search ({"; ".join(changed)}); give a '
                'new folder'
            )
        self._study.set_user_attr(CONFIG, about)


def _suggest(trial: Any, name: str, choices: Range | tuple[Any, ...]) -> Any:
    if not isinstance(choices, Range):
        return trial.suggest_categorical(name, list(choices))
    kind = trial.suggest_int if isinstance(choices.low, int) else trial.suggest_float
    return kind(name, choices.low, choices.high, log=choices.log)


def _own(params: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the model, and the options without its name before each."""
    (model,) = (params[key] for key in (CHOSEN, COMPUTED) if key in params)
    start = f'{model}.'
    return model, {
        name.removeprefix(start): value
        for name, value in params.items()
        if name not in (CHOSEN, COMPUTED)
    }
