"""One training run, kept as JSON: nothing is trained twice, and nothing is typed by hand."""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import kept
import numpy as np
import torch
from common import EVAL_EVERY, PATIENCE, Fit, fit
from experiments.contestants import CONTESTANTS, loader_options, loss_of
from experiments.shops import Shop
from process import memory
from torch_geometric import seed_everything

from pyg_mmgef.ranking import per_user_metrics

__all__ = [
    'ANEW',
    'Run',
    'best_options',
    'ends_alike',
    'read_runs',
    'read_search',
    'search_name',
    'train',
    'write_run',
]


ANEW = 'to run it anew, delete it ("unpack" makes files of what is packed)'


@dataclass(frozen=True)
class Run:
    """What makes a run: the same description gives the same numbers on the same machine."""

    data: str
    condition: str
    contestant: str
    variant: str
    seed: int
    epochs: int
    options: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Under what the run is kept."""
        row = (self.data, self.condition, self.contestant, self.variant or 'plain')
        return kept.name_of(*row, f'seed{self.seed}.json')


def train(run: Run, shop: Shop) -> Fit:
    """Train until validation stops improving; a model without parameters is only asked."""
    contestant = CONTESTANTS[run.contestant]
    data = shop.with_graphs(**run.options.get('graphs', {}))
    seed_everything(run.seed)
    model = contestant.build(data, run.options)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        z_user, z_item = model.eval()(data)
        _, metrics = per_user_metrics(z_user, z_item, shop.val, exclude=shop.seen, k=20)
        return Fit(z_user, z_item, 0, float(metrics['recall@20'].mean()), [], 0.0)
    return fit(
        model,
        data,
        shop.val,
        seen=shop.seen,
        lr=run.options.get('lr', 1e-3),
        loss_fn=loss_of(run.options),
        epochs=run.epochs,
        seed=run.seed,
        **loader_options(run.options),
    )


def write_run(run: Run, shop: Shop, root: Path) -> dict[str, Any]:
    """Train, read test once, and write what came out; return what was there if it was.

    A run that stopped before the limit of epochs serves another limit too.

    Raises:
        SystemExit: If what was there is of other options.
    """
    asked = json.loads(json.dumps(asdict(run)))
    before: dict[str, Any] | None = kept.read(root, run.name)
    if before is not None:
        found = before
        if ends_alike(before['epoch'], before['epochs'], run.epochs):
            found = {**before, 'epochs': run.epochs}
        for key in ('options', 'epochs'):
            if found[key] != asked[key]:
                raise SystemExit(
                    f'{root / run.name} was run with {key} {found[key]}, now asked for is '
                    f'{asked[key]}; {ANEW}'
                )
        if found != before:
            kept.save(root, run.name, found)
        return found
    shop.with_graphs(**run.options.get('graphs', {}))  # Building them isn't training.
    _reset_peak()
    start = time.perf_counter()
    best = train(run, shop)
    seconds = time.perf_counter() - start
    peak = memory('VmHWM')
    # What is known of a user from one part is no miss in the ranking of another.
    cold = [part for part in (shop.cold_val, shop.cold_test) if part is not None]
    known = torch.cat([shop.seen, shop.val, *cold], dim=1)
    tasks: dict[str, dict[str, Any]] = {'warm': {'target': shop.test, 'exclude': known}}
    if shop.cold_test is not None:
        known = torch.cat([shop.seen, shop.val, shop.test, cold[0]], dim=1)
        tasks['cold among cold'] = {
            'target': shop.cold_test,
            'candidates': shop.cold_test[1].unique(),
        }
        tasks['cold among all'] = {'target': shop.cold_test, 'exclude': known}
    metrics: dict[str, dict[str, float]] = {}
    per_user: dict[str, list[float | None]] = {}
    for task, kwargs in tasks.items():
        users, values = per_user_metrics(best.z_user, best.z_item, k=(10, 20), **kwargs)
        metrics[task] = {name: float(value.double().mean()) for name, value in values.items()}
        per_user[task] = [None] * best.z_user.size(0)
        for user, value in zip(users.tolist(), values['ndcg@20'].numpy(), strict=True):
            per_user[task][user] = float(str(value))  # As short as float32 can be written.
    result = {
        **asked,
        'metrics': metrics,
        'val_recall@20': best.recall,
        'epoch': best.epoch,
        'seconds': seconds,
        'seconds_per_epoch': best.seconds_per_epoch,
        'MiB': peak,
        'alpha': best.alpha,
        'curve': best.curve,
        'threads': torch.get_num_threads(),
        'torch': torch.__version__,
        'per_user': per_user,
    }
    kept.save(root, run.name, result)
    return result


def ends_alike(best_epoch: int, *limits: int) -> bool:
    """Return whether training ends the same under all these limits of epochs."""
    return len(set(limits)) == 1 or best_epoch + PATIENCE * EVAL_EVERY <= min(limits)


def read_runs(root: Path) -> list[dict[str, Any]]:
    """Return all runs there are, each with its path and with NDCG@20 of each user as arrays."""
    found = [(name, content) for name, content in kept.read_all(root) if '/seed' in name]
    return [
        {
            **content,
            'path': root / name,
            # Without test interactions, a user has None, which becomes not a number.
            'per_user': {
                task: np.array(values, np.float32) for task, values in content['per_user'].items()
            },
        }
        for name, content in found
    ]


def search_name(data: str, condition: str, contestant: str) -> str:
    """Return under what the outcome of a search is kept: beside the runs that use it.

    Cold items make another split, so that condition has its own searches. The others change only
    what is trained on, and keep the options of ``'warm'``.
    """
    split = 'cold' if condition == 'cold' else 'warm'
    return kept.name_of(data, split, 'search', f'{contestant}.json')


def read_search(root: Path, data: str, condition: str, contestant: str) -> dict[str, Any]:
    """Return the outcome of a search; without one, the first settings and no trials."""
    found: dict[str, Any] | None = kept.read(root, search_name(data, condition, contestant))
    return found or {'chosen': dict(CONTESTANTS[contestant].first), 'trials': 0, 'epochs': None}


def best_options(
    root: Path, data: str, condition: str, contestant: str, epochs: int, untuned: bool
) -> dict[str, Any]:
    """Return all options of a contestant with those that a search chose.

    Raises:
        SystemExit: If there is something to choose, and no search with as many epochs did, or one
            of other options.
    """
    found = read_search(root, data, condition, contestant)
    space = CONTESTANTS[contestant].space
    if found['trials'] and set(found['chosen']) != set(space):
        raise SystemExit(
            f'the search for {contestant} on {data} chose {", ".join(found["chosen"])}, now '
            f'{", ".join(space)} are to be chosen; make it anew with "search"'
        )
    if space and found['epochs'] != epochs and not untuned:
        there = f'one of {found["epochs"]}' if found['trials'] else 'none'
        raise SystemExit(
            f'{contestant} on {data} needs a search with {epochs} epochs (there is {there}); make '
            'it with "search", or run with --untuned'
        )
    return {**CONTESTANTS[contestant].options, **found['chosen']}


def _reset_peak() -> None:
    """Let Linux measure the peak of memory from now on."""
    refs = Path('/proc/self/clear_refs')
    if refs.exists():
        refs.write_text('5')
