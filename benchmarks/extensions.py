"""How much faster are item graphs with the compiled extensions than with torch alone?

    python benchmarks/extensions.py

The exact ``knn_graph`` of normal vectors, and ``co_interaction_graph`` of random interactions with
long tails, with ten neighbours each. Both ways take turns within one process; the fastest of the
rounds counts, which other programs on the machine disturb least.
"""

import time
from collections.abc import Callable
from typing import Any

import torch
from co_interaction import interactions
from common import parser, write_json

from pyg_mmgef.graph import co_interaction, co_interaction_graph, knn_graph
from pyg_mmgef.search import _top_lists as top_lists

ROUNDS = 5
NUM_NEIGHBORS = 10


def main() -> None:
    """Measure both graphs, print a table and write the seconds."""
    arguments = parser(__doc__ or '').parse_args()
    torch.set_num_threads(arguments.threads)
    num_rows, num_pairs = (2_000, 20_000) if arguments.quick else (20_000, 400_000)
    num_users = 2 * num_rows
    x = torch.randn(num_rows, 64, generator=torch.Generator().manual_seed(0))
    pairs = torch.from_numpy(interactions(num_rows, num_users, num_pairs))
    work: dict[str, tuple[Callable[[], Any], Any, str]] = {
        'knn_graph': (
            lambda: knn_graph(x, NUM_NEIGHBORS, backend='exact'),
            top_lists,
            '_tiles',
        ),
        'co_interaction_graph': (
            lambda: co_interaction_graph(pairs, num_users, num_rows, NUM_NEIGHBORS),
            co_interaction,
            '_paths',
        ),
    }
    results = {name: both_ways(*parts) for name, parts in work.items()}
    print(f'{"":22}{"extension":>10}{"torch":>10}   seconds')
    for name, seconds in results.items():
        print(f'{name:22}{seconds["extension"]:10.3f}{seconds["torch"]:10.3f}')
    write_json(arguments.output / 'extensions.json', results)


def both_ways(work: Callable[[], Any], module: Any, extension: str) -> dict[str, float]:
    """Return the seconds with a module's extension, and without."""
    compiled = getattr(module, extension)
    if compiled is None:
        raise SystemExit(f'{module.__name__}.{extension} is not compiled; is there a compiler?')
    seconds: dict[str, list[float]] = {'extension': [], 'torch': []}
    try:
        for _ in range(ROUNDS):
            for name, used in (('extension', compiled), ('torch', None)):
                setattr(module, extension, used)
                start = time.perf_counter()
                work()
                seconds[name].append(time.perf_counter() - start)
    finally:
        setattr(module, extension, compiled)
    return {name: min(found) for name, found in seconds.items()}


if __name__ == '__main__':
    main()
