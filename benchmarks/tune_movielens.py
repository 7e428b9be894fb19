"""What does a search find on MovieLens-100K, and does a kill change it?

Data: `ml100k.py`. For each model, and for all of them together, `tune` runs as many trials on
validation, and the winner is measured on test beside the model with its defaults. The search of all
models is then run once more in a process that is killed several times and started again; its trials
and its winner must be the same.

    PYG_MMGEF_DATA=... python benchmarks/tune_movielens.py --output docs/measured
    python benchmarks/tune_movielens.py --output docs/measured --page docs/measured
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ml100k
import torch
from common import parser, read_json, write_json
from experiments.figures import decimal
from experiments.rst import list_table, measured_page, wrapped, write_page

from pyg_mmgef import Run, fit
from pyg_mmgef.files import read_json as read_sealed_json
from pyg_mmgef.runs import tune
from pyg_mmgef.runs.models import models as models_by_name

MODELS = ('contentials', 'ials', 'ease', 'itemknn')
SEED, TRIALS, KILLS = 0, 12, 3
ALL = 'all of them'
METRICS = ('recall@20', 'ndcg@20')
SPLIT = 'random'  # As in the other benchmarks on these data.
ABOUT = (
    'What `tune` finds, on the films of MovieLens-100K with posters and plots, split at random '
    '8:1:1 for each user. Each search has {trials} trials, which read validation alone, with seed '
    '{seed}. Test is read once by each winner, and once by each model with its defaults. The '
    'search of all models was also run in a process that was killed {kills} times and started '
    'again: its trials and its winner were {same}.'
)


def search(models: tuple[str, ...], trials: int, folder: Path, epochs: int) -> Run:
    """Search on MovieLens, printing each trial."""
    return tune(
        ml100k.load(),
        models,
        trials=trials,
        folder=folder,
        split=SPLIT,
        seed=SEED,
        epochs=epochs,
        verbose=True,
    )


def found_in(folder: Path) -> dict[str, Any]:
    """Return the trials and the winner of a search, without how long it took."""
    kept = read_sealed_json(folder / 'tune.json', 'run the search again')
    metrics = read_sealed_json(folder / 'best' / 'metrics.json', 'run the search again')
    return {'trials': kept['trials'], 'best': kept['best'], 'metrics': metrics}


def row_of(name: str, run: Run, seconds: float, best: dict[str, Any] | None) -> dict[str, Any]:
    """Return what is known about a search, or a model with its defaults."""
    kept = {
        f'{part}_{metric}': run.metrics[f'{part}_{metric}']
        for part in ('val', 'test')
        for metric in METRICS
    }
    return {'search': name, 'best': best, 'seconds': seconds, **kept}


def kill_and_continue(models: tuple[str, ...], trials: int, folder: Path, epochs: int) -> int:
    """Run the search in processes that are killed at other trials, and return how many were."""
    numbers = sorted({1 + trials * (kill + 1) // (KILLS + 1) for kill in range(KILLS)})
    words = [sys.executable, '-u', __file__, '--search', str(folder)]
    words += ['--models', *models, '--trials', str(trials), '--epochs', str(epochs)]
    killed = 0
    for number in [*numbers, None]:
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            if number is not None and line.startswith(f'trial {number}: '):
                process.kill()
                killed += 1
                break
        else:
            if process.wait() != 0:
                raise RuntimeError(f'the search in {folder} has failed')
        process.wait()
        process.stdout.close()
    return killed


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Return the searches, and whether a kill changed the last one."""
    models, rows = tuple(args.models), []
    options: dict[str, Any] = {'split': SPLIT, 'seed': SEED, 'budget': 0}
    with TemporaryDirectory() as place:
        for name in models:
            start = time.perf_counter()
            own = {'epochs': args.epochs} if models_by_name()[name].is_trained else {}
            run = fit(ml100k.load(), name, **options, **own)
            rows.append(row_of(f'{name}, defaults', run, time.perf_counter() - start, None))
        for number, chosen in enumerate([*((name,) for name in models), models]):
            folder = Path(place) / str(number)
            start = time.perf_counter()
            run = search(chosen, args.trials, folder, args.epochs)
            seconds = time.perf_counter() - start
            name = ALL if chosen == models else chosen[0]
            rows.append(row_of(f'{name}, tuned', run, seconds, found_in(folder)['best']))
        killed = Path(place) / 'killed'
        kills = kill_and_continue(models, args.trials, killed, args.epochs)
        is_same = found_in(killed) == found_in(folder)
    return {
        'rows': rows,
        'trials': args.trials,
        'seed': SEED,
        'kills': kills,
        'a kill changes nothing': is_same,
    }


def page(content: dict[str, Any]) -> str:
    """Return the page of the results."""
    results = content['results']
    cells = [
        [
            row['search'],
            '' if row['best'] is None else chosen(row['best']),
            f'{row["seconds"]:.0f}',
            *(decimal(row[f'{part}_{name}']) for part in ('val', 'test') for name in METRICS),
        ]
        for row in results['rows']
    ]
    about = ABOUT.format(
        trials=results['trials'],
        seed=results['seed'],
        kills=results['kills'],
        same='the same' if results['a kill changes nothing'] else 'not the same',
    )
    header = ['search', 'winner', 'seconds']
    header += [f'{part}, {name}' for part in ('validation', 'test') for name in METRICS]
    parts = [*wrapped(about), *list_table(header, cells)]
    return measured_page('tune_movielens', 'Tuning on MovieLens', parts, content['machine'])


def chosen(best: dict[str, Any]) -> str:
    """Return a winner in words."""
    options = (
        f'{name.removeprefix("options.")} {value:.3g}'
        if isinstance(value, float)
        else f'{name.removeprefix("options.")} {value}'
        for name, value in best['options'].items()
    )
    return ', '.join([best['model'], *options])


def main() -> None:
    arguments = parser(__doc__, page=True)
    arguments.add_argument('--models', nargs='+', default=MODELS)
    arguments.add_argument('--trials', type=int, default=TRIALS)
    arguments.add_argument('--epochs', type=int, default=200)
    arguments.add_argument('--search', type=Path, help='only search, in this folder')
    args = arguments.parse_args()
    if args.page:
        content = read_json(args.output / 'tune_movielens.json')
        write_page(args.page / 'tune_movielens.rst', page(content))
        return
    if args.quick:
        args.models, args.trials, args.epochs = ('ials', 'ease', 'mf'), 7, 2
    torch.set_num_threads(args.threads)
    if args.search:
        search(tuple(args.models), args.trials, args.search, args.epochs)
        return
    results = measure(args)
    for row in results['rows']:
        values = ' '.join(f'{row[f"test_{name}"]:.4f}' for name in METRICS)
        print(f'{row["search"]:26}{row["seconds"]:8.1f} s  test {values}')
    print('a kill changes nothing:', results['a kill changes nothing'])
    write_json(args.output / 'tune_movielens.json', results)


if __name__ == '__main__':
    main()
