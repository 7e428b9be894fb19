"""Who ranks best, warm and cold? The default beside closed forms, LightGCN and MM-GEF.

On each data set a fifth of the items is cold (half of their interactions for validation, half for
test), the warm interactions are split 8:1:1, both anew with each seed; Amazon Baby and TikTok also
have their given split, without cold items. Options of every contestant are chosen on warm
validation, from the grids below; test is read once. In every model but the content-blind rows,
cold items have the embedding that a ridge regression makes of their features.

    python benchmarks/best.py run --data shop --contestants LightGCN default --seeds 0 1 2
    python benchmarks/best.py page
    python benchmarks/best.py pack

A run makes the rows that are missing, one by one, and keeps each at once. The page lies beside the
folder of the rows, which is results/best if none is given. The rows behind docs/best.rst are packed
in docs/best: with "--root docs/best", new ones join them, "pack" puts them where git keeps them,
and "page" makes the page anew.
"""

import argparse
import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import best_page
import kept
import ml100k
import torch
from common import INTERACTS
from experiments.shops import SHOPS
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import Recommender
from pyg_mmgef.presets import ITEM_DROPOUT, MERGED, PAPER, Preset
from pyg_mmgef.ranking import choose_cold_scale, evaluate_cold_start, evaluate_ranking
from pyg_mmgef.runs import candidates, choose
from pyg_mmgef.schema import item_modalities
from pyg_mmgef.transforms import SplitColdItems, SplitInteractions

SCALES = (0.5, 0.7, 1.0, 1.3, 1.6, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0)
L2_OF_EASE = (30.0, 100.0, 300.0, 1000.0)
EPOCHS = 400
TRAINED = ('LightGCN', 'MM-GEF, paper', 'MM-GEF, item dropout', 'MM-GEF, merged')


NAMES = ('shop', 'ml100k', 'lfm2k', 'tiktok', 'baby')
DATA: dict[str, Callable[[], list[HeteroData]]] = {
    **{name: SHOPS[name] for name in NAMES},
    'ml100k': lambda: [ml100k.load()],  # With the small encoders.
}


@dataclass
class Parts:
    """A split: train, and what is held out."""

    train: HeteroData
    val: HeteroData
    test: Tensor
    cold_val: Tensor | None = None
    cold_test: Tensor | None = None


def split(parts: list[HeteroData], seed: int, cold: bool) -> Parts:
    """Return the given split, or one anew with a fifth of the items cold."""
    if not cold:
        train, val, test = parts
        return Parts(train, val, test[INTERACTS].edge_label_index)
    whole = parts[0]
    if len(parts) == 3:  # Given split, so put together again.
        held_out = [part[INTERACTS].edge_label_index for part in parts[1:]]
        edge_index = torch.cat([whole[INTERACTS].edge_index, *held_out], dim=1)
        whole = copy.copy(whole)
        for key in list(whole[INTERACTS].keys()):
            del whole[INTERACTS][key]
        whole[INTERACTS].edge_index = edge_index
    warm, *halves = SplitColdItems(0.2, seed=seed)(whole)
    train, val, test = SplitInteractions(seed=seed)(warm)
    cold_val, cold_test = (half[INTERACTS].edge_label_index for half in halves)
    return Parts(train, val, test[INTERACTS].edge_label_index, cold_val, cold_test)


def contestants(train: HeteroData) -> dict[str, dict[str, Preset]]:
    """Return the grid of each contestant; its first point is the usual one."""
    num_users = train['user'].num_nodes
    has_features = bool(item_modalities(train)[0])
    out = {
        'Popularity': {'': Preset('Popularity')},
        'ItemKNN': {
            f'{k}, {weighting}': Preset('ItemKNN', {'k': k, 'weighting': weighting})
            for weighting in ('cosine', 'raw')
            for k in (20, 100)
        },
        'EASE': {f'{l2:g}': Preset('EASE', {'l2': l2}) for l2 in L2_OF_EASE},
        'IALS': {
            f'{l2:g}, {total:g}': Preset(
                'IALS',
                {'l2': l2, 'unobserved_weight': total / num_users, 'embedding_dim': 128},
            )
            for total in (100.0, 50.0, 300.0)
            for l2 in (0.03, 0.02, 0.05)
        },
        'LightGCN': {f'{lr:g}': Preset('LightGCN', lr=lr) for lr in (5e-3, 1e-3)},
        'MM-GEF, merged': {f'{lr:g}': replace(MERGED, lr=lr) for lr in (3e-3, 1e-3)},
        'default': candidates(train),
    }
    if has_features:
        out['ContentCentroid'] = {'': Preset('ContentCentroid')}
        out['CEASE'] = {
            f'{l2:g}, {weight:g}': Preset('CEASE', {'l2': l2, 'feature_weight': weight})
            for l2 in L2_OF_EASE[1:]
            for weight in (3.0, 10.0, 30.0)
        }
        out['MM-GEF, paper'] = {f'{lr:g}': replace(PAPER, lr=lr) for lr in (5e-3, 1e-3)}
        out['MM-GEF, item dropout'] = {
            f'{lr:g}': replace(ITEM_DROPOUT, lr=lr) for lr in (5e-3, 1e-3)
        }
    return out


def measured(model: Recommender, train: HeteroData, parts: Parts) -> dict[str, Any]:
    """Return how a trained model ranks; of test, everything at once."""
    with torch.inference_mode():
        z_user, z_item = model.eval()(train)
    seen, val = train[INTERACTS].edge_index, parts.val[INTERACTS].edge_label_index
    cold_val, cold_test = parts.cold_val, parts.cold_test
    options: dict[str, Any] = {'k': 20, 'metrics': ('recall', 'ndcg')}
    if cold_val is None or cold_test is None:
        known = torch.cat([seen, val], dim=1)
        return {'warm': evaluate_ranking(z_user, z_item, parts.test, exclude=known, **options)}
    is_warm = model.is_warm(train)
    cold_items = torch.cat([cold_val[1], cold_test[1]]).unique()
    known = torch.cat([seen, val, cold_val], dim=1)

    def scaled(scale: float) -> Tensor:
        return z_item if is_sparse else torch.where(is_warm, z_item, scale * z_item)

    def tested(scale: float) -> dict[str, dict[str, float]]:
        return evaluate_cold_start(
            z_user, scaled(scale), parts.test, cold_test, cold_items, exclude=known, **options
        )

    def harmonic_on_validation(scale: float) -> float:
        both = evaluate_cold_start(
            z_user, scaled(scale), val, cold_val, cold_items, exclude=seen, **options
        )
        return both['harmonic mean']['recall@20']

    is_sparse = z_item.layout != torch.strided
    if is_sparse:
        return {'rankings': tested(1.0)}
    scale = max(SCALES, key=harmonic_on_validation)
    usual = choose_cold_scale(z_user, z_item, val, is_warm, exclude=seen)
    curve = {each: tested(each) for each in SCALES}
    recalls = [
        [each, *(rows[task]['recall@20'] for task in ('warm among all', 'cold among all'))]
        for each, rows in curve.items()
    ]
    return {
        'rankings': tested(0.0) | {'cold among cold': curve[1.0]['cold among cold']},
        'scale': scale,
        'at the scale': curve[scale],
        'usual scale': usual,
        'at the usual scale': tested(usual),
        'curve': recalls,
    }


def run(args: argparse.Namespace) -> None:
    """Make what is missing of the rows that are asked for."""
    for name in args.data:
        for cold in splits_of(name):
            data: list[HeteroData] | None = None
            for seed in args.seeds:
                for contestant in args.contestants:
                    if not (cold or contestant in TRAINED or seed == args.seeds[0]):
                        continue  # The split is given, and nothing is drawn.
                    row = kept.name_of(
                        name, 'cold' if cold else 'given', contestant, f'seed{seed}.json'
                    )
                    if kept.read(args.root, row) is None:
                        data = DATA[name]() if data is None else data
                        found = one(data, name, contestant, seed, cold)
                        kept.save(args.root, row, found)
                        print(row, found.get('chosen', 'n/a'), flush=True)


def splits_of(name: str) -> tuple[bool, ...]:
    """Return whether a data set is split with cold items, as given, or both."""
    return {'baby': (False,), 'tiktok': (True, False)}.get(name, (True,))


def one(data: list[HeteroData], name: str, contestant: str, seed: int, cold: bool) -> dict:
    """Choose the options of a contestant on validation, and read test."""
    parts = split(data, seed, cold)
    grid = contestants(parts.train).get(contestant)
    out = {'data': name, 'cold': cold, 'contestant': contestant, 'seed': seed}
    if grid is None:
        return {**out, 'rankings': None}
    start = time.process_time()
    choice = choose(parts.train, parts.val, grid, epochs=EPOCHS, seed=seed)
    out |= {'chosen': choice.name, 'tried': choice.recalls}
    out['CPU seconds of all trials'] = time.process_time() - start
    return {**out, **measured(choice.model, choice.train, parts)}


def main() -> None:
    args = parse_args()
    if args.command == 'pack':
        for path in kept.pack(args.root):
            print(f'Wrote {path}')
    elif args.command == 'unpack':
        kept.unpack(args.root)
    elif args.command == 'page':
        best_page.write(args.root, args.docs or args.root.parent)
    else:
        torch.set_num_threads(args.threads)
        run(args)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--root', type=Path, default=Path('results/best'), help='folder of rows')
    commands = parser.add_subparsers(dest='command', required=True)
    parsed = commands.add_parser('run', help='choose options, and read test once')
    parsed.add_argument('--data', nargs='+', choices=list(DATA), default=list(DATA))
    parsed.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    names = best_page.CONTESTANTS
    parsed.add_argument('--contestants', nargs='+', choices=names, default=names)
    parsed.add_argument('--threads', type=int, default=torch.get_num_threads())
    parsed = commands.add_parser('page', help='make the page of all rows')
    parsed.add_argument('--docs', type=Path, help='folder for it; default: beside --root')
    commands.add_parser('pack', help='move the files of all rows into one for each data set')
    commands.add_parser('unpack', help='make files of the packed rows, to delete some')
    return parser.parse_args()


if __name__ == '__main__':
    main()
