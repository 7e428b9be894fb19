"""How well are new users and new items served without training anew?

Users: a tenth of the users is held out, and models are trained on the others. Each user held out is
embedded by the first 80 % of the own history (`Recommender.fold_in`), and the rest is ranked. The
same is ranked by models that are trained anew with these histories, by popularity, and by the
package `implicit` (`recalculate_user`). A tenth of the interactions of the other users is
validation, for early stopping alone.

Items: a fifth of the items is cold, as in `warm_up.py`. An item without interactions is embedded by
its features (`Recommender.content_weights`); then models are trained anew with 1, 3 and 10
interactions of each. The interactions beyond the tenth are ranked, always the same ones.

Growing: when the users held out come, a trained model grows and is trained further, or a new one is
trained; of solved models, sweeps start from the old items, or at random. The time is that until
Recall@20 on validation is 99 % of the best of the new model.

Data: the synthetic shop and MovieLens-100K, encoded as in `best.py`. Times are those of one thread,
the fastest of several runs.

    pip install -c constraints.txt implicit
    python benchmarks/new_users_items.py --output docs/measured
    python benchmarks/new_users_items.py --output docs/measured --page docs/measured

With ``--page``, nothing is measured: ``new_users_items.rst`` in that folder is made of the results
that lie in the folder of the output.
"""

import argparse
import copy
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import ials
import numpy as np
import scipy.sparse as sp
import torch
from best import DATA, split
from best_page import TITLES
from common import EVAL_EVERY, INTERACTS, Fit, fit, parser, read_json, write_json
from experiments.figures import plus_minus
from experiments.rst import heading, list_table, measured_page, wrapped, write_page
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import IALS, LightGCN, Recommender
from pyg_mmgef.nn.models.content_centroid import ContentCentroid
from pyg_mmgef.presets import BEST, PAPER, Preset
from pyg_mmgef.ranking import evaluate_ranking
from pyg_mmgef.runs import warm_up
from pyg_mmgef.schema import item_modalities, num_users_items

SHARE_OF_USERS = 0.1
SHARE_OF_HISTORY = 0.8
SHARE_OF_VALIDATION = 0.1
LEAST_HISTORY = 5
REVEALED = (0, 1, 3, 10)
SWEEPS = (1, 2, 4, 8, 16)
GOAL = 0.99
EPOCHS, QUICK_EPOCHS = 400, 5
MANY = 1000
METRICS = ('recall@20', 'ndcg@20')
RANKING = 'cold among cold'
ABOUT = (
    'A tenth of the users is held out, a model is trained on the others, and each user held out is '
    'embedded by the first 80 % of the own history (:meth:`Recommender.fold_in '
    '<pyg_mmgef.nn.Recommender.fold_in>`), whose rest is ranked. "Trained anew" is the same model, '
    'trained with these histories. Closed forms are solved anew. Of ``implicit``, new users are '
    'those of ``recalculate_user``. Recall@20 / NDCG@20, mean ± standard deviation over the seeds.'
)
ABOUT_ITEMS = (
    'A fifth of the items is cold. Without interactions an item is embedded by its features '
    '(:meth:`Recommender.content_weights <pyg_mmgef.nn.Recommender.content_weights>`); with 1, 3 '
    'and 10 of them revealed the model is trained anew. What is ranked are the interactions beyond '
    'the tenth, among the cold items. Recall@20 / NDCG@20.'
)
ABOUT_GROWING = (
    'When the users held out come, the trained model grows (:meth:`Recommender.grow '
    '<pyg_mmgef.nn.Recommender.grow>`) and is trained further, or a new one is trained. The epochs '
    'are those until Recall@20 on validation is 99 % of the best of the new model, with a look '
    'every five epochs.'
)
ABOUT_SWEEPS = (
    'The same for models that are solved: Recall@20 on validation after some sweeps, which start '
    'from the items of the old model, or at random.'
)
ABOUT_TIMES = (
    'Milliseconds of one thread, the fastest of several runs: to make what embeds users or items, '
    'once for a trained model, and then to embed one or a thousand of them with NumPy alone.'
)


@dataclass
class Users:
    """Users held out, behind the others, and what is known and ranked of them."""

    train: HeteroData
    full: HeteroData
    val: Tensor
    histories: list[NDArray[np.int64]]
    target: Tensor

    @property
    def num_known(self) -> int:
        """Number of users who are not held out."""
        return num_users_items(self.train)[0]

    @property
    def seen(self) -> Tensor:
        """The histories as edges, with the users held out counted from 0."""
        return edges_of(self.histories)

    def ranked(self, z_user: Tensor, z_item: Tensor) -> dict[str, float]:
        """Return how the rest of the histories is ranked for embeddings of the users held out."""
        return evaluate_ranking(
            z_user, z_item, self.target, exclude=self.seen, k=20, metrics=('recall', 'ndcg')
        )


def edges_of(histories: Sequence[NDArray[np.int64]]) -> Tensor:
    """Return the pairs of a user, counted from 0, and an item."""
    user = np.repeat(np.arange(len(histories)), [len(items) for items in histories])
    return torch.from_numpy(np.stack([user, np.concatenate(histories)]))


def hold_out(data: HeteroData, seed: int) -> Users:
    """Hold out users, and split their histories in the order of time."""
    generator = torch.Generator().manual_seed(seed)
    num_users, _ = num_users_items(data)
    edge_index = data[INTERACTS].edge_index[:, data[INTERACTS].time.argsort(stable=True)]
    count = edge_index[0].bincount(minlength=num_users)
    order = torch.randperm(num_users, generator=generator)
    held = order[count[order] >= LEAST_HISTORY][: round(SHARE_OF_USERS * num_users)]
    num_known = num_users - held.numel()
    number = torch.full((num_users,), -1)
    number[held] = torch.arange(num_known, num_users)
    number[number < 0] = torch.arange(num_known)
    user, item = number[edge_index[0]], edge_index[1]
    is_known = user < num_known
    known = torch.stack([user, item])[:, is_known].unique(dim=1)
    is_val = torch.rand(known.size(1), generator=generator) < SHARE_OF_VALIDATION
    histories, rest = [], []
    for each in range(num_known, num_users):
        items = _distinct(item[user == each].numpy())
        first = int(SHARE_OF_HISTORY * len(items))
        histories.append(items[:first])
        rest.append(items[first:])
    train, own = known[:, ~is_val], edges_of(histories)
    own[0] += num_known
    return Users(
        _with_interactions(data, train, num_known),
        _with_interactions(data, torch.cat([train, own], dim=1), num_users),
        known[:, is_val],
        histories,
        edges_of(rest),
    )


def _distinct(items: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the items in the order in which they first come."""
    return items[np.sort(np.unique(items, return_index=True)[1])]


def _with_interactions(data: HeteroData, edge_index: Tensor, num_users: int) -> HeteroData:
    out = copy.copy(data)
    for key in list(data['user'].keys()):
        del out['user'][key]
    out['user'].num_nodes = num_users
    for key in list(data[INTERACTS].keys()):
        del out[INTERACTS][key]
    out[INTERACTS].edge_index = edge_index
    return out


@dataclass
class Trained:
    """A trained model with its data and embeddings, and how the training went."""

    model: Recommender
    data: HeteroData
    z_user: Tensor
    z_item: Tensor
    seconds: float
    fit: Fit | None = None


def trained(
    preset: Preset, data: HeteroData, val: Tensor, epochs: int, model: Recommender | None = None
) -> Trained:
    """Train a new model, or one that is given, on its data; the best epoch counts."""
    data = preset.transform()(data)
    torch.manual_seed(0)
    model = preset.model(data) if model is None else model
    start, found = time.perf_counter(), None
    if model.is_trained:
        found = fit(model, data, val, lr=preset.lr, l2=preset.l2, epochs=epochs)
        model.load_state_dict(found.state)
    model.eval()
    with torch.no_grad():
        z_user, z_item = model(data)
    return Trained(model, data, z_user, z_item, time.perf_counter() - start, found)


def contestants(data: HeteroData) -> dict[str, Preset]:
    """Return what is compared, with the usual options."""
    solved = {'embedding_dim': 128, 'l2': 0.03, 'unobserved_weight': 100 / data['user'].num_nodes}
    return {
        'ContentIALS, the default': BEST,
        'IALS': Preset('IALS', solved),
        'EASE': Preset('EASE'),
        'ItemKNN': Preset('ItemKNN'),
        'LightGCN': Preset('LightGCN'),
        'MF': Preset('MF'),
        'MM-GEF, paper': PAPER,
        'Popularity': Preset('Popularity'),
    }


def measure_users(users: Users, epochs: int) -> Iterator[dict[str, Any]]:
    """Yield how each contestant ranks for the users held out."""
    for name, preset in contestants(users.train).items():
        old = trained(preset, users.train, users.val, epochs)
        new = trained(preset, users.full, users.val, epochs)
        anew = _ranked_anew(users, new)
        z_user = old.model.embed_users(old.data, users.histories).to(old.z_item.dtype)
        yield {
            'name': name,
            'folded': users.ranked(z_user, old.z_item),
            'anew': anew,
            'seconds': new.seconds,
        }
        if isinstance(old.model, LightGCN):
            fold_in = old.model.propagated_fold_in(old.data)
            z_user = torch.from_numpy(fold_in.embed(users.histories))
            folded = users.ranked(z_user, old.z_item)
            yield {'name': f'{name}, propagation alone', 'folded': folded, 'anew': anew}
    yield measure_implicit(users)


def _ranked_anew(users: Users, found: Trained) -> dict[str, float]:
    """Return how a model that was trained with the users held out ranks for them."""
    with torch.no_grad():
        z_user, _ = found.model(found.data, _rows(users), torch.arange(1))
    return users.ranked(z_user, found.z_item)


def _rows(users: Users) -> Tensor:
    return torch.arange(users.num_known, users.num_known + len(users.histories))


def measure_implicit(users: Users) -> dict[str, Any]:
    """Return how the package `implicit` ranks for the users held out."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        old, new = (_implicit(data) for data in (users.train, users.full))
        shape = len(users.histories), num_users_items(users.train)[1]
        history = sp.csr_matrix((np.ones(users.seen.size(1)), users.seen.numpy()), shape=shape)
        history = (history * _confidence(users.train)).astype(np.float32)
        found = old.recalculate_user(np.arange(shape[0]), history)
    return {
        'name': 'implicit',
        'folded': users.ranked(*map(torch.from_numpy, (found, old.item_factors))),
        'anew': users.ranked(
            torch.from_numpy(new.user_factors)[_rows(users)], torch.from_numpy(new.item_factors)
        ),
    }


def _confidence(data: HeteroData) -> float:
    return 1 + data['user'].num_nodes / 100


def _implicit(data: HeteroData) -> Any:
    """Return a model of `implicit` with the objective of IALS with the exponent 0."""
    from implicit.cpu.als import AlternatingLeastSquares

    problem = ials.Problem(data, 0.03, 100 / data['user'].num_nodes)
    penalty = (problem.user_penalty * problem.item_penalty) ** 0.5
    model = AlternatingLeastSquares(
        factors=128,
        regularization=_confidence(data) * penalty,
        iterations=16,
        num_threads=1,
        random_state=0,
    )
    values = np.full(problem.edge_index.size(1), _confidence(data), dtype=np.float32)
    matrix = sp.csr_matrix((values, problem.edge_index.numpy()), shape=problem.size)
    model.fit(matrix, show_progress=False)
    return model


def measure_items(data: list[HeteroData], seed: int, epochs: int) -> Iterator[dict[str, Any]]:
    """Yield how cold items are ranked by their features, and after their first interactions."""
    parts = split(data, seed, cold=True)
    assert parts.cold_val is not None
    assert parts.cold_test is not None
    cold = torch.cat([parts.cold_val, parts.cold_test], dim=1)
    val = parts.val[INTERACTS].edge_label_index
    for name, preset in contestants(parts.train).items():
        if name not in ('ContentIALS, the default', 'IALS', 'LightGCN'):
            continue
        curve = warm_up(
            parts.train,
            cold,
            partial(_with_new_items, preset, val, epochs),
            revealed=REVEALED,
            exclude=torch.cat([val, parts.test], dim=1),
            seed=seed,
        )
        points = {str(number): found[RANKING] for number, found in curve.items()}
        yield {'name': name, 'points': points}


def _with_new_items(
    preset: Preset, val: Tensor, epochs: int, train: HeteroData
) -> tuple[Tensor, Tensor]:
    """Return the embeddings, those of items without interactions by NumPy from their features."""
    found = trained(preset, train, val, epochs)
    is_cold = ~found.model.is_warm(train)[:, 0]
    x, has = item_modalities(train)
    weights = found.model.content_weights(found.data)
    cold = weights.embed(
        {name: row[is_cold].numpy() for name, row in x.items()},
        {name: row[is_cold].numpy() for name, row in has.items()},
    )
    z_item = found.z_item.clone()
    z_item[is_cold] = torch.from_numpy(cold).to(z_item)
    return found.z_user, z_item


def measure_growing(users: Users, epochs: int) -> Iterator[dict[str, Any]]:
    """Yield how long it takes to train with the users held out, from the old model and anew."""
    chosen = contestants(users.train)
    for name in ('LightGCN', 'MF', 'MM-GEF, paper'):
        preset = chosen[name]
        old = trained(preset, users.train, users.val, epochs)
        anew = trained(preset, users.full, users.val, epochs)
        grown = trained(preset, users.full, users.val, epochs, grown_from(old, preset, users))
        assert anew.fit is not None
        assert grown.fit is not None
        goal = GOAL * max(anew.fit.curve)
        yield {
            'name': name,
            **{
                kind: {
                    **time_to(goal, found.fit),
                    'best': max(found.fit.curve),
                    **_ranked_anew(users, found),
                }
                for kind, found in (('anew', anew), ('grown', grown))
                if found.fit is not None
            },
        }


def grown_from(old: Trained, preset: Preset, users: Users) -> Recommender:
    """Return the old model with room for the users held out, who start by their histories."""
    data = preset.transform()(users.full)
    return old.model.grow(*num_users_items(data), data)


def time_to(goal: float, found: Fit) -> dict[str, float | None]:
    """Return the epochs and seconds until validation reached the goal, if it did."""
    for step, (recall, seconds) in enumerate(zip(found.curve, found.seconds, strict=True), 1):
        if recall >= goal:
            return {'epochs': EVAL_EVERY * step, 'seconds': seconds}
    return {'epochs': None, 'seconds': None}


def measure_sweeps(users: Users) -> Iterator[dict[str, Any]]:
    """Yield how far sweeps come from the items of the old model and at random."""
    size = num_users_items(users.full)
    for name in ('ContentIALS, the default', 'IALS'):
        preset = contestants(users.train)[name]
        old = trained(preset, users.train, users.val, 0)
        for num_sweeps in SWEEPS:
            options = {**preset.options, 'num_sweeps': num_sweeps}
            anew = trained(replace(preset, options=options), users.full, users.val, 0)
            model = old.model.grow(*size)
            assert isinstance(model, IALS)
            model.num_sweeps = num_sweeps
            grown = trained(preset, users.full, users.val, 0, model)
            yield {
                'name': name,
                'sweeps': num_sweeps,
                **{
                    kind: {
                        'val': _on_validation(users, found),
                        'seconds': found.seconds,
                        **_ranked_anew(users, found),
                    }
                    for kind, found in (('anew', anew), ('grown', grown))
                },
            }


def _on_validation(users: Users, found: Trained) -> float:
    seen = users.full[INTERACTS].edge_index
    ranked = evaluate_ranking(found.z_user, found.z_item, users.val, exclude=seen, k=20)
    return ranked['recall@20']


def milliseconds(call: Callable[[], Any], runs: int) -> float:
    """Return the time of the fastest run."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


def measure_times(users: Users, epochs: int, runs: int) -> Iterator[dict[str, Any]]:
    """Yield the milliseconds that new users and items take."""
    many = [users.histories[n % len(users.histories)] for n in range(MANY)]
    x, has = (
        {name: row.numpy() for name, row in of.items()} for of in item_modalities(users.train)
    )
    for name, preset in contestants(users.train).items():
        found = trained(preset, users.train, users.val, min(epochs, QUICK_EPOCHS))
        model, data = found.model, found.data
        fold_in = model.fold_in(data)
        row = {
            'name': name,
            'user': {
                'make': milliseconds(partial(model.fold_in, data), runs),
                'one': milliseconds(partial(fold_in.embed, many[:1]), 10 * runs),
                'many': milliseconds(partial(fold_in.embed, many), runs),
            },
        }
        if found.z_item.layout == torch.strided and not isinstance(model, ContentCentroid):
            weights = model.content_weights(data)
            one, thousand = (
                (
                    {name: np.resize(rows, (n, rows.shape[1])) for name, rows in x.items()},
                    {name: np.resize(rows, n) for name, rows in has.items()},
                )
                for n in (1, MANY)
            )
            row['item'] = {
                'make': milliseconds(partial(model.content_weights, data), runs),
                'one': milliseconds(partial(weights.embed, *one), 10 * runs),
                'many': milliseconds(partial(weights.embed, *thousand), runs),
            }
        yield row


@dataclass
class Results:
    """The rows of each part, kept after each of them."""

    args: argparse.Namespace
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def add(self, part: str, about: dict[str, Any], rows: Iterator[dict[str, Any]]) -> None:
        """Keep and print the rows of a part as they come."""
        for row in rows:
            self.rows.setdefault(part, []).append({**about, **row})
            write_json(self.args.output / 'new_users_items.json', self.rows)
            print(part, *about.values(), row['name'], flush=True)


def main() -> None:
    arguments = parser(__doc__, page=True)
    names = ['shop', 'ml100k']
    arguments.add_argument('--data', nargs='+', choices=names, default=names)
    arguments.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    args = arguments.parse_args()
    if args.page:
        content = read_json(args.output / 'new_users_items.json')
        write_page(args.page / 'new_users_items.rst', page(content))
        return
    torch.set_num_threads(1)
    epochs, runs = (QUICK_EPOCHS, 2) if args.quick else (EPOCHS, 5)
    results = Results(args)
    seeds = args.seeds[:1] if args.quick else args.seeds
    # The times come first: they need a quiet machine, the qualities don't.
    for name in args.data:
        about = {'data': name, 'seed': seeds[0]}
        results.add(
            'times', about, measure_times(hold_out(DATA[name]()[0], seeds[0]), epochs, runs)
        )
    for name in args.data:
        data = DATA[name]()
        for seed in seeds:
            users, about = hold_out(data[0], seed), {'data': name, 'seed': seed}
            results.add('users', about, measure_users(users, epochs))
            results.add('growing', about, measure_growing(users, epochs))
            results.add('sweeps', about, measure_sweeps(users))
            results.add('items', about, measure_items(data, seed, epochs))
    print('\n'.join(tables(results.rows)))


def page(content: dict[str, Any]) -> str:
    """Return the page of the results."""
    parts = tables(content['results'])
    return measured_page('new_users_items', 'New users and items', parts, content['machine'])


def tables(results: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Return the paragraphs and tables of all parts."""
    lines = []
    for data in dict.fromkeys(row['data'] for row in results['users']):
        rows = {part: [row for row in results[part] if row['data'] == data] for part in results}
        for title, about, table in (
            ('new users', ABOUT, _users_table(rows['users'])),
            ('new items', ABOUT_ITEMS, _items_table(rows['items'])),
            ('growing', ABOUT_GROWING, _growing_table(rows['growing'])),
            ('growing, sweeps', ABOUT_SWEEPS, _sweeps_table(rows['sweeps'])),
            ('times', ABOUT_TIMES, _times_table(rows['times'])),
        ):
            lines += [*heading(f'{TITLES[data]}, {title}', '-'), *wrapped(about), *table]
    return lines


def _named(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each name, one for each seed."""
    return {
        name: [row for row in rows if row['name'] == name]
        for name in dict.fromkeys(row['name'] for row in rows)
    }


def _both(rows: Sequence[dict[str, float]]) -> str:
    return ' / '.join(plus_minus([row[metric] for row in rows]) for metric in METRICS)


def _users_table(rows: list[dict[str, Any]]) -> list[str]:
    cells = [
        [name, *(_both([row[kind] for row in found]) for kind in ('folded', 'anew'))]
        for name, found in _named(rows).items()
    ]
    return list_table(['model', 'folded in', 'trained anew'], cells)


def _items_table(rows: list[dict[str, Any]]) -> list[str]:
    cells = [
        [name, *(_both([row['points'][str(number)] for row in found]) for number in REVEALED)]
        for name, found in _named(rows).items()
    ]
    header = ['model', 'by features', *(f'{n} revealed' for n in REVEALED[1:])]
    return list_table(header, cells)


def _growing_table(rows: list[dict[str, Any]]) -> list[str]:
    cells = []
    for name, found in _named(rows).items():
        for kind in ('anew', 'grown'):
            runs = [row[kind] for row in found]
            best = plus_minus([run['best'] for run in runs])
            cells.append([name, kind, _mean(runs, 'epochs', 0), best, _both(runs)])
    header = ['model', 'start', 'epochs', 'validation', 'users held out']
    return list_table(header, cells)


def _mean(rows: list[dict[str, float | None]], key: str, digits: int) -> str:
    """Return the mean over the seeds; where one never came so far, that."""
    values = [value for row in rows if (value := row[key]) is not None]
    if len(values) < len(rows):
        return f'not reached in {len(rows) - len(values)} of {len(rows)}'
    return f'{sum(values) / len(values):.{digits}f}'


def _sweeps_table(rows: list[dict[str, Any]]) -> list[str]:
    cells = []
    for name, found in _named(rows).items():
        for kind in ('anew', 'grown'):
            by_sweeps = [[row[kind]['val'] for row in found if row['sweeps'] == n] for n in SWEEPS]
            cells.append([name, kind, *map(plus_minus, by_sweeps)])
    return list_table(['model', 'start', *(f'sweep {n}' for n in SWEEPS)], cells)


def _times_table(rows: list[dict[str, Any]]) -> list[str]:
    cells = []
    for row in rows:
        for end in ('user', 'item'):
            times = row.get(end)
            if times:
                cells.append([row['name'], end, *(f'{times[key]:.2f}' for key in times)])
    return list_table(['model', 'of', 'once', 'one', f'{MANY:,}'], cells)


if __name__ == '__main__':
    main()
