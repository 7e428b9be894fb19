"""What do business rules cost a request? Ours, vectorised over users and candidates, and a loop.

A catalog of random items with a brand of 5,000, a price and a stock, and random candidates of one
user and of 1,000 users, 10 of which are shown. The loop is the definition of Maximal Marginal
Relevance, one pair at a time in NumPy, for one user; both choose the same items.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from common import parser, write_json
from numpy.typing import NDArray

from pyg_mmgef.catalog import Catalog, Rules

K, CHANNELS, CANDIDATES, TURNS = 10, 64, 200, 20
CONDITIONS = {
    'a range of prices': Rules(where={'price': (10, 50)}),
    'one brand in stock': Rules(where={'brand': 'b7', 'in_stock': True}),
    '100 items left out': Rules(exclude=range(100)),
}
LISTS = {
    'no rule': Rules(),
    'at most 2 of a brand': Rules(max_per={'brand': 2}),
    'diversity': Rules(diversity=0.3),
    'diversity, at most 2 of a brand': Rules(diversity=0.3, max_per={'brand': 2}),
}


def shop(num_items: int) -> Catalog:
    """Return a catalog of random items."""
    rng = np.random.default_rng(0)
    return Catalog(
        range(num_items),
        fields={
            'brand': [f'b{brand}' for brand in rng.integers(0, 5000, num_items)],
            'price': rng.uniform(0, 100, num_items),
            'in_stock': rng.choice(['yes', 'no'], num_items),
        },
    )


def candidates(
    num_users: int, num_items: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return distinct random items of each user, and falling scores."""
    first = rng.integers(0, num_items, (num_users, 1))
    step = num_items // CANDIDATES
    items = (first + step * np.arange(CANDIDATES)) % num_items
    return items, -np.sort(-rng.standard_normal(items.shape), axis=1)


def loop(
    items: NDArray[np.int64], scores: NDArray[np.float64], vectors: NDArray[np.float32]
) -> list[int]:
    """Choose items by Maximal Marginal Relevance, one pair at a time."""
    pool, weight = items[: 10 * K].tolist(), LISTS['diversity'].diversity
    own = scores[: 10 * K]
    relevance = dict(zip(pool, (own - own.min()) / (own.max() - own.min()), strict=True))
    shown: list[int] = []

    def cosine(one: int, other: int) -> float:
        a, b = vectors[one], vectors[other]
        return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))

    def value(item: int) -> float:
        closest = max([0.0, *(cosine(item, other) for other in shown)])
        return (1 - weight) * float(relevance[item]) - weight * closest

    while len(shown) < K:
        shown.append(max((item for item in pool if item not in shown), key=value))
    return shown


def milliseconds(function: Callable[[], object], turns: int) -> float:
    """Return the median time of a call; the first one, which looks values up, doesn't count."""
    function()
    times = []
    for _ in range(turns):
        start = time.perf_counter()
        function()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def main() -> None:
    args = parser(__doc__).parse_args()
    turns = 3 if args.quick else TURNS
    results: dict[str, float] = {}
    for num_items in (10_000,) if args.quick else (10_000, 1_000_000):
        catalog, rng = shop(num_items), np.random.default_rng(1)
        vectors = rng.standard_normal((num_items, CHANNELS)).astype(np.float32)
        for name, rules in CONDITIONS.items():
            title = f'{num_items:,} items: which are allowed, {name}'
            results[title] = milliseconds(partial(rules.allowed, catalog), turns)
        for num_users in (1, 1000):
            items, scores = candidates(num_users, num_items, rng)
            for name, rules in LISTS.items():
                call = partial(rules.rerank, catalog, items, scores, K, vectors=vectors)
                title = f'{num_items:,} items: lists of {num_users:,} users, {name}'
                results[title] = milliseconds(call, turns)
        found = LISTS['diversity'].rerank(catalog, items[:1], scores[:1], K, vectors=vectors)
        assert found.items[0].tolist() == loop(items[0], scores[0], vectors), 'they differ'
        title = f'{num_items:,} items: list of 1 user, diversity, a loop'
        results[title] = milliseconds(partial(loop, items[0], scores[0], vectors), turns)
    for title, ms in results.items():
        print(f'{ms:10.2f} ms  {title}')
    write_json(args.output / 'rules.json', results)


if __name__ == '__main__':
    main()
