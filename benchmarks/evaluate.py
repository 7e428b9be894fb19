"""How long does a full ranking take? Ours beside PyG's search and metrics, and a dense loop.

Random interactions of the size of Amazon Baby (19,445 users with at least 5 of 7,050 items, the
most active one with about 125), one of each user's held out, and random embeddings of low rank and
noise, 64 channels, whose length grows with popularity. Then the first 2,000 users of a shop with
100,000 users and items. All contestants take turns within one process, so a busy machine slows them
alike; the median is shown. They compute the same: recall, precision and NDCG at 10 and 20.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from common import parser, pyplot, save_plot, write_json
from torch import Tensor
from torch_geometric.metrics import (
    LinkPredMetricCollection,
    LinkPredNDCG,
    LinkPredPrecision,
    LinkPredRecall,
)
from torch_geometric.nn.pool import MIPSKNNIndex

from pyg_mmgef.ranking import evaluate_ranking, recommend

CHANNELS, RANK, CUTOFFS, K = 64, 8, (10, 20), 20
METRICS = {'recall': LinkPredRecall, 'precision': LinkPredPrecision, 'ndcg': LinkPredNDCG}
BATCH_SIZE = 2048
# What it is, its users, items and users with a target, and how often it is measured.
SIZES = (
    ('19,445 users, 7,050 items', (19_445, 7_050, 19_445), 15),
    ('2,000 users, 100,000 items', (100_000, 100_000, 2_000), 7),
)
Times: TypeAlias = dict[str, list[float]]


class Case(NamedTuple):
    """What there is to evaluate; all targets are of the first users."""

    z_user: Tensor
    z_item: Tensor
    target: Tensor
    exclude: Tensor

    def batches(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield the embeddings of some users, and their targets and exclusions."""
        stop = int(self.target[0].max()) + 1
        for first in range(0, stop, batch_size):
            last = min(first + batch_size, stop)
            offset = torch.tensor([[first], [0]])
            target, exclude = (
                pairs[:, (pairs[0] >= first) & (pairs[0] < last)] - offset
                for pairs in (self.target, self.exclude)
            )
            yield self.z_user[first:last], target, exclude


def case(num_users: int, num_items: int, num_evaluated: int) -> Case:
    """Return random embeddings and interactions with long tails of activity and popularity."""
    generator = torch.Generator().manual_seed(0)
    popularity = torch.rand(num_items, generator=generator).pow(-0.7)
    activity = 3.3 + 2.2 * torch.rand(num_users, generator=generator).pow(-0.5)
    user = torch.arange(num_users).repeat_interleave(activity.clamp(max=125).long())
    item = popularity.multinomial(user.numel(), replacement=True, generator=generator)
    key = (user * num_items + item).unique()
    key = key[torch.rand(key.numel(), generator=generator).argsort()]
    key = key[(key // num_items).argsort(stable=True)]
    pairs = torch.stack([key // num_items, key % num_items])
    held_out = pairs[0] != F.pad(pairs[0], (1, 0), value=-1)[:-1]
    target = pairs[:, held_out & (pairs[0] < num_evaluated)]

    basis = torch.randn(RANK, CHANNELS, generator=generator)
    z_user, z_item = (
        torch.randn(size, RANK, generator=generator) @ basis
        + 0.5 * torch.randn(size, CHANNELS, generator=generator)
        for size in (num_users, num_items)
    )
    z_item = z_item * (1 + 0.1 * popularity.log()[:, None])
    return Case(z_user, z_item, target, pairs[:, ~held_out])


def metric_collection() -> LinkPredMetricCollection:
    return LinkPredMetricCollection(
        {f'{name}@{k}': metric(k) for name, metric in METRICS.items() for k in CUTOFFS}
    )


def ours(case: Case) -> dict[str, float]:
    z_user, z_item, target, exclude = case
    return evaluate_ranking(z_user, z_item, target, exclude=exclude, k=CUTOFFS)


def pyg(case: Case, batch_size: int) -> dict[str, float]:
    """PyG's search and metrics, as its documentation has them."""
    index = MIPSKNNIndex(case.z_item)
    metrics = metric_collection()
    for z_user, target, exclude in case.batches(batch_size):
        _, best = index.search(z_user, K, exclude_links=exclude)
        metrics.update(best, target)
    return {name: float(value) for name, value in metrics.compute().items()}


def dense(case: Case) -> dict[str, float]:
    """A loop as RecBole and MMRec have it: scores, a mask, top-k, and a matrix of positives."""
    discount = 1 / torch.arange(2, K + 2).log2()
    totals: dict[str, float] = {}
    num_users = int(case.target[0].max()) + 1
    for z_user, target, exclude in case.batches(BATCH_SIZE):
        score = z_user @ case.z_item.t()
        score[exclude[0], exclude[1]] = float('-inf')
        best = score.topk(K, dim=1).indices
        positive = torch.zeros_like(score, dtype=torch.int)
        positive[target[0], target[1]] = 1
        hit, count = positive.gather(1, best).float(), positive.sum(dim=1)
        for k in CUTOFFS:
            found = hit[:, :k].sum(dim=1)
            ideal = discount.cumsum(0)[count.clamp(max=k) - 1]
            values = {
                'recall': found / count,
                'precision': found / k,
                'ndcg': (hit[:, :k] * discount[:k]).sum(dim=1) / ideal,
            }
            for name, value in values.items():
                total = totals.get(f'{name}@{k}', 0.0)
                totals[f'{name}@{k}'] = total + float(value.sum()) / num_users
    return totals


def our_items(case: Case) -> tuple[Tensor, Tensor]:
    users = torch.arange(int(case.target[0].max()) + 1)
    return recommend(case.z_user, case.z_item, users, k=K, exclude=case.exclude)


def pyg_items(case: Case, batch_size: int) -> tuple[Tensor, Tensor]:
    index = MIPSKNNIndex(case.z_item)
    batches = case.batches(batch_size)
    found = [index.search(z_user, K, exclude_links=seen) for z_user, _, seen in batches]
    return torch.cat([score for score, _ in found]), torch.cat([item for _, item in found])


def measure(contestants: dict[str, Callable[[], Any]], turns: int) -> tuple[Times, dict[str, Any]]:
    """Return the seconds that each contestant took, turn by turn, and what it returned."""
    times: Times = {name: [] for name in contestants}
    out = {}
    for turn in range(turns + 1):
        for name, run in contestants.items():
            start = time.perf_counter()
            out[name] = run()
            if turn > 0:  # The first turn warms up.
                times[name].append(time.perf_counter() - start)
    return times, out


def report(title: str, times: Times) -> dict[str, dict[str, float]]:
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    print(f'\n{title:<44}{"ms":>9}{"least":>9}{"ratio":>8}')
    results = {}
    for name, median in medians.items():
        ratio = median / medians['this library']
        least = min(times[name])
        results[name] = {'ms': 1e3 * median, 'least_ms': 1e3 * least, 'ratio': ratio}
        print(f'  {name:<42}{1e3 * median:>9.1f}{1e3 * least:>9.1f}{ratio:>7.1f}x')
    return results


def main() -> None:
    args = parser(__doc__).parse_args()
    torch.set_num_threads(args.threads)
    results: dict[str, dict[str, dict[str, float]]] = {}
    for title, size, turns in SIZES:
        data = case(*size)
        turns = 2 if args.quick else turns
        num_users = int(data.target[0].max()) + 1
        peers = {'PyG, all users at once': num_users, f'PyG, {BATCH_SIZE:,} users': BATCH_SIZE}
        peers = {name: size for name, size in peers.items() if size <= num_users}

        contestants: dict[str, Callable[[], Any]] = {'this library': partial(ours, data)}
        contestants |= {name: partial(pyg, data, size) for name, size in peers.items()}
        contestants['dense loop'] = partial(dense, data)
        times, metrics = measure(contestants, turns)
        results[f'evaluate, {title}'] = report(f'evaluate, {title}', times)
        expected = metrics.pop('this library')
        difference = max(
            abs(other[name] - expected[name]) for other in metrics.values() for name in expected
        )
        recall = expected['recall@20']
        print(f'  largest difference of a metric: {difference:.1e} (recall@20 is {recall:.4f})')
        assert difference < 1e-5, 'they do not compute the same'

        contestants = {'this library': partial(our_items, data)}
        contestants |= {name: partial(pyg_items, data, size) for name, size in peers.items()}
        times, items = measure(contestants, turns)
        results[f'recommend, {title}'] = report(f'recommend {K}, {title}', times)
        scores, first = items.pop('this library')
        difference = max(float((score / scores - 1).abs().max()) for score, _ in items.values())
        different = max(float((item != first).float().mean()) for _, item in items.values())
        print(
            f'  largest relative difference of a score: {difference:.1e}; of {different:.1e} of the'
        )
        print('  places the items differ, as scores that are equal but for rounding may')
        assert difference < 1e-5, 'they do not compute the same'
    write_json(args.output / 'evaluate.json', results)
    plot(args.output / 'evaluate.png', results)


def plot(path: Path, results: dict[str, dict[str, dict[str, float]]]) -> None:
    figure, axes = pyplot().subplots(len(results), figsize=(7, 7), layout='constrained')
    for axis, (title, rows) in zip(axes, results.items(), strict=True):
        axis.barh(list(rows), [row['ms'] for row in rows.values()])
        axis.set(title=title, xlabel='ms, less is better')
        axis.invert_yaxis()
    save_plot(figure, path)


if __name__ == '__main__':
    main()
