"""Models under one protocol: search, run, and make the tables.

    python benchmarks/experiments search --data shop --models LightGCN MM-GEF --trials 10
    python benchmarks/experiments run --data shop --models LightGCN MM-GEF --seeds 0 1 2 3 4
    python benchmarks/experiments run --data shop --models MM-GEF --variants all
    python benchmarks/experiments run --data shop --conditions cold only:image noise:0.5 fewer:0.5
    python benchmarks/experiments tables
    python benchmarks/experiments pack

A search tries options with one seed, as many trials for every model, and looks at validation alone.
A run trains with the chosen options and reads test once. Both go on where they were interrupted.
The tables lie beside the folder of the runs, which is results/experiments if none is given.

A run is a JSON file. "pack" moves all files into one for each data set, "unpack" makes files of
them again, to delete some. The runs behind the pages in docs/results are packed in
docs/results/runs: with "--root docs/results/runs", new ones join them, "pack" puts them where git
keeps them, and "tables" makes the pages anew.
The real data sets are read from the folder that PYG_MMGEF_DATA names.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # The other benchmarks lie beside this folder.

import kept
import torch
from experiments.contestants import CONTESTANTS, NotForThisDataError
from experiments.runs import Run, best_options, write_run
from experiments.shops import SHOPS, Shop, load, parse_condition
from experiments.tables import write_tables


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    if args.command == 'tables':
        write_tables(args.root, args.docs or args.root.parent)
        return
    if args.command == 'pack':
        for path in kept.pack(args.root):
            print(f'Wrote {path}')
        return
    if args.command == 'unpack':
        kept.unpack(args.root)
        return
    for condition in args.conditions:
        shop = load(args.data, condition)
        print(f'{args.data}, {condition}')
        for name in args.models:
            contestant = CONTESTANTS[name]
            if not contestant.is_for(shop.train):
                print(f'{name}: n/a, the data has no {contestant.needs}')
            elif args.command == 'search':
                print(name, flush=True)
                from experiments.search import search  # Optuna is for searches alone.

                chosen = search(
                    args.data, condition, name, shop, args.trials, args.epochs, args.root
                )
                print(f'  best: {chosen}', flush=True)
            else:
                run_all(name, condition, shop, args)


def run_all(name: str, condition: str, shop: Shop, args: argparse.Namespace) -> None:
    contestant = CONTESTANTS[name]
    known = ['', *contestant.variants]
    variants = known if 'all' in args.variants else args.variants
    for variant in [variant for variant in variants if variant in known]:
        options = best_options(args.root, args.data, condition, name, args.epochs, args.untuned)
        options |= contestant.variants[variant] if variant else {}
        for seed in args.seeds:
            run = Run(args.data, condition, name, variant, seed, args.epochs, options)
            try:
                result = write_run(run, shop, args.root)
            except NotForThisDataError as error:
                print(f'{name}, {variant}: n/a, {error}')
                break
            cells = ', '.join(
                f'{task} {row["recall@20"]:.4f} / {row["ndcg@20"]:.4f}'
                for task, row in result['metrics'].items()
            )
            print(
                f'{name:<18}{variant:<18} seed {seed}: {cells}; epoch {result["epoch"]}, '
                f'{result["seconds"]:.0f} s',
                flush=True,
            )


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='experiments', description=__doc__.splitlines()[0])
    parser.add_argument(
        '--root', type=Path, default=Path('results/experiments'), help='folder of searches and runs'
    )
    parser.add_argument('--threads', type=int, default=torch.get_num_threads())
    commands = parser.add_subparsers(dest='command', required=True)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument('--data', choices=list(SHOPS), default='shop')
    shared.add_argument('--models', nargs='+', choices=list(CONTESTANTS), default=list(CONTESTANTS))
    shared.add_argument('--epochs', type=int, default=300, help='most epochs')
    parsed = commands.add_parser('search', parents=[shared], help='choose options on validation')
    parsed.add_argument('--trials', type=int, default=10, help='of every model')
    parsed.add_argument(
        '--conditions',
        nargs='+',
        choices=['warm', 'cold'],
        default=['warm'],
        help="all others take warm's options",
    )
    parsed = commands.add_parser('run', parents=[shared], help='train, and read test once')
    parsed.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2, 3, 4])
    parsed.add_argument('--conditions', nargs='+', type=parse_condition, default=['warm'])
    parsed.add_argument(
        '--variants',
        nargs='+',
        default=[''],
        choices=['all', *dict.fromkeys(v for c in CONTESTANTS.values() for v in c.variants)],
        metavar='VARIANT',
        help="ablations of the models that have them, or 'all'",
    )
    parsed.add_argument(
        '--untuned', action='store_true', help='without a search, take usual settings'
    )
    commands.add_parser('pack', help='move the files of all runs into one for each data set')
    commands.add_parser('unpack', help='make files of the packed runs, to change or delete some')
    parsed = commands.add_parser('tables', help='make tables and plots from all runs')
    parsed.add_argument('--docs', type=Path, help='folder for the pages; default: beside --root')
    return parser.parse_args()


if __name__ == '__main__':
    main()
