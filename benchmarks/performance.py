"""How fast is it? Benchmarks beside peers, and the page of what was measured.

    python benchmarks/performance.py run           # two minutes; "make bench"
    python benchmarks/performance.py run --full    # larger sizes, all peers: 15 minutes
    python benchmarks/performance.py page          # docs/performance.rst from docs/performance

``run`` calls the scripts named in ``SCRIPTS`` one after the other, each of which can also be called
alone, and ends with one table. Their results become the page's if they are written with
``--output docs/performance``. Use a machine that does nothing else.
"""

import argparse
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from experiments.figures import decimal
from experiments.rst import heading, list_table, measured_by, wrapped, write_page

HERE = Path(__file__).parent
DOCS = HERE.parent / 'docs'
SCRIPTS = (
    *('train_step', 'propagation', 'evaluate', 'knn_build', 'co_interaction', 'extensions'),
    'tables',
)
FULL: dict[str, list[str]] = {'knn_build': ['--sizes', '50000', '200000']}
"""Arguments of a full run, where they aren't the script's defaults."""
LEAST_RECALL = 0.9
"""Of a kNN graph that is shown."""
MADE = '.. Made by benchmarks/performance.py from docs/performance; do not edit.'
Results: TypeAlias = Any


class Row(NamedTuple):
    """A job that this library and a peer did side by side."""

    job: str
    ours: str
    peer: str
    seconds: float
    peer_seconds: float


def of_steps(results: Results) -> list[Row]:
    """Return the training steps, all beside PyG's on ``edge_index``."""
    peer = 'PyG LightGCN, edge_index'
    return [
        Row('a training step', name, peer, row['ms'] / 1e3, results[peer]['ms'] / 1e3)
        for name, row in results.items()
        if not name.startswith('PyG')
    ]


def of_propagation(results: Results) -> list[Row]:
    """Return forward and backward of one step between users and items, and over item graphs."""
    jobs = {
        'users and items, one step': 'a propagation between users and items',
        'item graphs, learned weights': 'a propagation over item graphs with learned weights',
    }
    rows = []
    for key, job in jobs.items():
        times = {name: row['with backward'] / 1e3 for name, row in results[key].items()}
        ours = times['CSRPair']
        rows += [
            Row(job, 'CSRPair', peer, ours, seconds)
            for peer, seconds in times.items()
            if not peer.startswith('CSRPair')
        ]
    return rows


def of_evaluation(results: Results) -> list[Row]:
    """Return the full rankings beside PyG's search and a dense loop."""
    rows = []
    for key, times in results.items():
        what, _, size = key.partition(', ')
        job = f'{"a full ranking with metrics" if what == "evaluate" else "the top 20"} of {size}'
        ours = times['this library']['ms'] / 1e3
        rows += [
            Row(job, 'this library', peer, ours, row['ms'] / 1e3)
            for peer, row in times.items()
            if peer != 'this library'
        ]
    return rows


def of_item_graphs(results: Results) -> list[Row]:
    """Return kNN graphs: exact ones beside exact ones, others beside peers of no more recall.

    An approximate search that is slower than the exact one is left out, as nobody would use it.
    """
    done = [row for row in results if 'failed' not in row]
    exact = {_features(row): _later(row) for row in done if row['method'] == 'ours exact'}
    rows = []
    for own in (row for row in done if row['method'].startswith('ours')):
        features, is_exact = _features(own), own['method'] == 'ours exact'
        if not is_exact and _later(own) > exact.get(features, math.inf):
            continue
        job = f'a kNN graph of {own["size"]:,} items of {own["channels"]} channels'
        for other in done:
            fits = other['recall'] > 0.9999 if is_exact else other['recall'] <= own['recall'] + 0.01
            same = _features(other) == features and not other['method'].startswith('ours')
            if same and fits and other['recall'] > LEAST_RECALL:
                ours = f'{own["method"].removeprefix("ours ")}, recall {decimal(own["recall"], 3)}'
                peer = f'{other["method"]}, recall {decimal(other["recall"], 3)}'
                rows.append(Row(job, ours, peer, _later(own), _later(other)))
    return rows


def _features(row: dict[str, Any]) -> tuple[Any, ...]:
    return row['features'], row['size'], row['channels']


def _later(row: dict[str, Any]) -> float:
    """Return the seconds of a second call, or of the only one."""
    return row['fresh'] if row['again'] is None else row['again']


def of_co_interactions(results: Results) -> list[Row]:
    """Return the graphs of items that share users, beside SciPy's whole product."""
    times = {(row['items'], row['method']): row for row in results if 'failed' not in row}
    return [
        Row(
            f'a co-interaction graph of {items:,} items and {own["interactions"]:,} interactions',
            'co_interaction_graph',
            'SciPy, the whole product',
            own['seconds'],
            times[items, 'SciPy']['seconds'],
        )
        for (items, method), own in times.items()
        if method == 'ours' and (items, 'SciPy') in times
    ]


def of_extensions(results: Results) -> list[Row]:
    """Return the item graphs with the compiled extensions, beside those without."""
    return [
        Row(name, 'with its extension', 'torch alone', seconds['extension'], seconds['torch'])
        for name, seconds in results.items()
    ]


def of_tables(results: Results) -> list[Row]:
    """Return the files that were read, beside libraries by hand, which check nothing."""
    ours = 'InteractionTables'
    return [
        Row(
            f'reading {rows[ours]["interactions"]:,} interactions, {name}',
            ours,
            peer,
            rows[ours]['seconds'],
            row['seconds'],
        )
        for name, rows in results.items()
        for peer, row in rows.items()
        if peer != ours and 'seconds' in row and 'seconds' in rows[ours]
    ]


READERS: dict[str, Callable[[Results], list[Row]]] = {
    'train_step': of_steps,
    'propagation': of_propagation,
    'evaluate': of_evaluation,
    'knn_build': of_item_graphs,
    'co_interaction': of_co_interactions,
    'extensions': of_extensions,
    'tables': of_tables,
}
TITLES = {
    'train_step': ('Training', 'Amazon Baby in size, 512-d features, batches of 2,048.'),
    'propagation': ('Propagation', 'The same size, 64 channels, forward and backward.'),
    'evaluate': ('Ranking', 'Recall, precision and NDCG at 10 and 20, or the items themselves.'),
    'knn_build': (
        'Item graphs of features',
        'Ten neighbours of each item, by vectors that imitate those of texts; each method alone in '
        'a new process, its second call.',
    ),
    'co_interaction': ('Item graphs of shared users', 'Ten neighbours of each item.'),
    'extensions': (
        'Compiled extensions',
        'Exact neighbours of 20,000 items of 64 channels; 20,000 items that share users, 400,000 '
        'interactions. The fastest of five rounds.',
    ),
    'tables': (
        'Reading tables',
        'Interactions with string ids of a million users, from a file to a graph of rows; pandas '
        'and polars check and count nothing. Each in a new process, imports not counted.',
    ),
}


def read(folder: Path, script: str) -> tuple[dict[str, Any], list[Row]] | None:
    """Return the machine and the rows of a script, or None where it wasn't run."""
    path = folder / f'{script}.json'
    if not path.exists():
        return None
    content = json.loads(path.read_text(encoding='utf-8'))
    return content['machine'], READERS[script](content['results'])


def spoken(seconds: float) -> str:
    """Return a time with three digits: 12.3 ms, 4.56 s."""
    return f'{1e3 * seconds:.3g} ms' if seconds < 0.9995 else f'{seconds:.3g} s'


def times_faster(row: Row) -> str:
    ratio = row.peer_seconds / row.seconds
    return f'{ratio:.0f}' if ratio >= 10 else f'{ratio:.1f}'


def page(folder: Path) -> str:
    """Return the page."""
    lines = [MADE, '', *heading('Speed', '=')]
    lines += wrapped(
        'How long this library and others take for the same, measured side by side in one run. '
        '"Times faster" is the ratio of the two times, so below 1 the other is faster. '
        '``make bench`` repeats a part in two minutes on your machine, '
        '``python benchmarks/performance.py run --full`` all of it.'
    )
    for script in SCRIPTS:
        found = read(folder, script)
        if found is None:
            continue
        machine, rows = found
        title, about = TITLES[script]
        lines += [*heading(title, '-'), *wrapped(about)]
        header = ['job', 'here', 'time', 'other', 'its time', 'times faster']
        cells = [
            [
                row.job,
                row.ours,
                spoken(row.seconds),
                row.peer,
                *(spoken(row.peer_seconds), times_faster(row)),
            ]
            for row in rows
        ]
        lines += list_table(header, cells)
        lines += measured_by(script, machine)
    return '\n'.join(lines)


def run(folder: Path, full: bool) -> None:
    """Call the scripts, and print one table of all."""
    for script in SCRIPTS:
        print(f'{script} ...', file=sys.stderr, flush=True)
        arguments = FULL.get(script, []) if full else ['--quick']
        command = [sys.executable, str(HERE / f'{script}.py'), '--output', str(folder), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    print(f'{"job":<66}{"here":>10}{"other":>10}{"faster":>9}  other')
    for script in SCRIPTS:
        found = read(folder, script)
        for row in found[1] if found else []:
            times = f'{spoken(row.seconds):>10}{spoken(row.peer_seconds):>10}'
            print(f'{row.job:<66}{times}{times_faster(row):>8}x  {row.peer}')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest='command', required=True)
    parsed = commands.add_parser('run', help='measure')
    parsed.add_argument('--full', action='store_true', help='larger sizes, and all peers')
    parsed.add_argument('--output', type=Path, default=Path('results/performance'))
    parsed = commands.add_parser('page', help='make the page')
    parsed.add_argument('--docs', type=Path, default=DOCS)
    args = parser.parse_args()
    if args.command == 'run':
        run(args.output, args.full)
    else:
        write_page(args.docs / 'performance.rst', page(args.docs / 'performance'))


if __name__ == '__main__':
    main()
