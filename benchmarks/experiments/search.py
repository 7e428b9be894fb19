"""The search for each model's options: the same number of trials for all, on validation alone."""

import hashlib
import json
import random
from itertools import product
from pathlib import Path
from typing import Any

import kept
import optuna
from experiments.contestants import CONTESTANTS
from experiments.runs import Run, ends_alike, search_name, train
from experiments.shops import Shop
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

__all__ = ['search']


def search(
    data: str,
    condition: str,
    contestant: str,
    shop: Shop,
    num_trials: int,
    epochs: int,
    root: Path,
) -> dict[str, Any]:
    """Return the best options, after as many trials as are still missing.

    A trial trains with seed 0, the first with settings of the literature where there are some, the
    second with a higher learning rate (on small data the usual one doesn't get done), the
    others at random points of the grid of all options, none of them twice. With as few
    trials as a CPU allows, a sampler that learns would not get past its random start. Trials are
    kept in a journal, so an interrupted search goes on; one that was broken off is repeated, and
    so is one that another limit of epochs would have ended elsewhere.
    """
    space, first = CONTESTANTS[contestant].space, CONTESTANTS[contestant].first
    settings = json.dumps([CONTESTANTS[contestant].options, space, first], default=list)
    digest = hashlib.sha256(settings.encode()).hexdigest()[:8]  # Of other settings, other trials.
    name = search_name(data, condition, contestant)
    journal = kept.restore(root, f'{name.rpartition("/")[0]}/journal.log')
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(journal))),
        study_name=f'{contestant}, {digest}',
        direction='maximize',
        load_if_exists=True,
    )
    points = [dict(zip(space, values, strict=True)) for values in product(*space.values())]
    random.Random(0).shuffle(points)
    done = [trial.params for trial in finished(study, epochs)]
    faster = {**first, 'lr': 5e-3}
    # What is done comes first; what isn't named here stays in random order.
    points.sort(key=lambda point: (point not in done, point != first, point != faster))
    num_done = sum(point in done for point in points)

    def objective(trial: optuna.Trial) -> float:
        chosen = {key: trial.suggest_categorical(key, values) for key, values in space.items()}
        options = {**CONTESTANTS[contestant].options, **chosen}
        best = train(Run(data, condition, contestant, '', 0, epochs, options), shop)
        trial.set_user_attr('epoch', best.epoch)
        trial.set_user_attr('epochs', epochs)
        print(f'  {best.recall:.4f} at epoch {best.epoch}: {chosen}', flush=True)
        return best.recall

    found: dict[str, Any] = {'chosen': {}, 'trials': 0, 'epochs': epochs}
    if space:
        for point in points[num_done:num_trials]:
            study.enqueue_trial(point)
            study.optimize(objective, n_trials=1)
        best = max(finished(study, epochs), key=lambda trial: trial.value or 0.0)
        found |= {'chosen': best.params, 'trials': max(num_done, len(points[:num_trials]))}
        found |= {'val_recall@20': best.value, 'epoch': best.user_attrs['epoch']}
    kept.save(root, name, found)
    return found['chosen']


def finished(study: optuna.Study, epochs: int) -> list[FrozenTrial]:
    """Return the trials that this limit of epochs would have ended as they ended."""
    return [
        trial
        for trial in study.get_trials(states=[TrialState.COMPLETE])
        if ends_alike(trial.user_attrs['epoch'], trial.user_attrs['epochs'], epochs)
    ]
