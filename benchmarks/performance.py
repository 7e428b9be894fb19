"""How fast is it? Benchmarks beside peers, and the page of what was measured.

    python benchmarks/performance.py run           # two minutes; "make bench"
    python benchmarks/performance.py run --full    # larger sizes, all peers: 30 minutes, 20 GB
    python benchmarks/performance.py page          # docs/performance.rst from docs/performance

``run`` calls the scripts named in ``SCRIPTS`` one after the other, each of which can also be called
alone, and ends with one table. Their results become the page's if they are written with
``--output docs/performance``. Use a machine that does nothing else.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from experiments.figures import decimal
from experiments.rst import heading, list_table, measured_by, wrapped, write_page

HERE = Path(__file__).parent
DOCS = HERE.parent / 'docs'
SCRIPTS = {
    **{name: name for name in ('train_step', 'scaling', 'lightning_overhead', 'propagation')},
    **{name: name for name in ('evaluate', 'bulk_top_k', 'knn_build')},
    'knn_million': 'knn_build',
    **{name: name for name in ('co_interaction', 'extensions', 'encode', 'tables')},
}
"""What makes the results of each name."""
FULL: dict[str, list[str]] = {
    'scaling': ['--million'],
    'knn_build': ['--sizes', '50000', '200000'],
    'knn_million': [
        *('--name', 'knn_million', '--sizes', '1000000'),
        *('--methods', 'ours recall=0.95', 'ours recall=0.98'),
    ],
    'encode': ['--count', '64'],
}
"""Arguments of a full run, where they aren't the script's defaults."""
ONLY_FULL = ('scaling', 'lightning_overhead', 'bulk_top_k', 'knn_million', 'encode')
"""What a short run leaves out."""
LEAST_RECALL = 0.9
"""Of a kNN graph that is shown."""
MADE = '.. Made by benchmarks/performance.py from docs/performance; do not edit.'
Results: TypeAlias = Any


class Row(NamedTuple):
    """A job that this library and a peer did side by side, or this library alone."""

    job: str
    ours: str
    peer: str
    seconds: float
    peer_seconds: float | None


def of_steps(results: Results) -> list[Row]:
    """Return the training steps, all beside PyG's on ``edge_index``."""
    peer = 'PyG LightGCN, edge_index'
    return [
        Row('a training step', name, peer, row['ms'] / 1e3, results[peer]['ms'] / 1e3)
        for name, row in results.items()
        if not name.startswith('PyG')
    ]


def of_growth(results: Results) -> list[Row]:
    """Return the training steps of larger and larger shops, with the memory of the process."""
    rows = []
    for shop in results.values():
        job = (
            f'a step of {shop["users"]:,} users, {shop["items"]:,} items, '
            f'{shop["interactions"]:,} interactions'
        )
        peers = {name: row for name, row in shop['methods'].items() if name.startswith('PyG')}
        for name, own in shop['methods'].items():
            if name in peers:
                continue
            ours = f'{name}, {size(own["MiB"])}'
            for peer, row in peers.items():
                if 'failed' in row:
                    why = 'out of memory' if 'allocate memory' in row['failed'] else 'failed'
                    rows.append(Row(job, ours, f'{peer}: {why}', own['ms'] / 1e3, None))
                    continue
                text = f'{peer}, {size(row["MiB"])}'
                rows.append(Row(job, ours, text, own['ms'] / 1e3, row['ms'] / 1e3))
    return rows


def of_lightning(results: Results) -> list[Row]:
    """Return the steps in Lightning's loop beside those in a plain one and in its usual one."""
    rows = []
    for name, row in results.items():
        model, _, loop = name.partition(', ')
        if loop != 'Lightning':
            ours = results[f'{model}, Lightning']['ms'] / 1e3
            rows.append(
                Row(f'a training step of {model}', 'make_trainer', loop, ours, row['ms'] / 1e3)
            )
    return rows


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


def of_bulk(results: Results) -> list[Row]:
    """Return the top items of all users, beside peers whose time is that of some of them."""
    ours = 'this library'
    return [
        Row(
            f'the top 20 of {title}',
            f'recommend_to_parquet, {size(rows[ours]["MiB"])}',
            f'{peer}, {size(row["MiB"])}{_recall(row)}, from {row["users"]:,} users',
            rows[ours]['seconds_all'],
            row['seconds_all'],
        )
        for title, rows in results.items()
        for peer, row in rows.items()
        if peer != ours and 'seconds' in row and 'seconds' in rows[ours]
    ]


def _recall(row: dict[str, Any]) -> str:
    return '' if row['agreement'] > 0.9999 else f', recall {decimal(row["agreement"], 3)}'


def of_item_graphs(results: Results) -> list[Row]:
    """Return kNN graphs: exact ones beside exact ones, others beside peers of no more recall.

    An approximate search that is slower than the exact one is left out, as nobody would use it.
    Where no peer was measured, this library stands alone.
    """
    done = [row for row in results if 'failed' not in row]
    exact = {_features(row): _later(row) for row in done if row['method'] == 'ours exact'}
    rows = []
    for own in filter(_is_ours, done):
        features, is_exact = _features(own), own['method'] == 'ours exact'
        if not is_exact and _later(own) > exact.get(features, math.inf):
            continue
        job = f'a kNN graph of {own["size"]:,} items of {own["channels"]} channels'
        others = [row for row in done if _features(row) == features and not _is_ours(row)]
        if not others:
            rows.append(Row(job, _graph(own), '', _later(own), None))
        for other in others:
            fits = other['recall'] > 0.9999 if is_exact else other['recall'] <= own['recall'] + 0.01
            if fits and other['recall'] > LEAST_RECALL:
                rows.append(Row(job, _graph(own), _graph(other), _later(own), _later(other)))
    return rows


def _is_ours(row: dict[str, Any]) -> bool:
    return str(row['method']).startswith('ours')


def _graph(row: dict[str, Any]) -> str:
    name, recall = row['method'].removeprefix('ours '), decimal(row['recall'], 3)
    return f'{name}, recall {recall}, {size(row["memory_mib"])}'


def _features(row: dict[str, Any]) -> tuple[Any, ...]:
    return row['features'], row['size'], row['channels']


def _later(row: dict[str, Any]) -> float:
    """Return the seconds of a second call, or of the only one."""
    return row['fresh'] if row['again'] is None else row['again']


def of_co_interactions(results: Results) -> list[Row]:
    """Return the graphs of items that share users, beside SciPy's whole product if it was tried."""
    found = {(row['items'], row['method']): row for row in results if 'failed' not in row}
    rows = []
    for (items, method), own in found.items():
        if method == 'ours':
            peer = found.get((items, 'SciPy'))
            name = f'SciPy, the whole product, {size(peer["memory_mib"])}' if peer else ''
            rows.append(
                Row(
                    f'a graph of {items:,} items and {own["interactions"]:,} interactions',
                    f'co_interaction_graph, {size(own["memory_mib"])}',
                    name,
                    own['seconds'],
                    peer['seconds'] if peer else None,
                )
            )
    return rows


def of_extensions(results: Results) -> list[Row]:
    """Return the item graphs with the compiled extensions, beside those without."""
    return [
        Row(name, 'with its extension', 'torch alone', seconds['extension'], seconds['torch'])
        for name, seconds in results.items()
    ]


def of_encoding(results: Results) -> list[Row]:
    """Return how long pictures and texts take, beside a plain loop over open_clip."""
    times = {
        (run['what'], run['count'], run['contestant']): statistics.median(run['seconds'])
        for run in results['runs']
        if 'contestant' in run
    }
    peer = 'plain open_clip loop'
    return [
        Row(f'{count} {what}', name, peer, seconds, times[what, count, peer])
        for (what, count, name), seconds in times.items()
        if name != peer and (what, count, peer) in times
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
    'scaling': of_growth,
    'lightning_overhead': of_lightning,
    'propagation': of_propagation,
    'evaluate': of_evaluation,
    'bulk_top_k': of_bulk,
    'knn_build': of_item_graphs,
    'knn_million': of_item_graphs,
    'co_interaction': of_co_interactions,
    'extensions': of_extensions,
    'encode': of_encoding,
    'tables': of_tables,
}
TITLES = {
    'train_step': (
        'Training',
        'Amazon Baby in size, 512-d features, batches of 2,048. PyG is faster on the '
        '``SparseTensor`` of torch-sparse, as the next section shows.',
    ),
    'scaling': (
        'Growth',
        'A training step as the shop and the batch grow, from the size of Amazon Baby and 2,048 '
        'triplets to a million users and items and 400,000 triplets; MM-GEF has 512-d features and '
        'two item graphs. Each in a new process, which may take 20 GiB; beside the name is the '
        'most memory that it took. The fastest step of five, or of twenty in a small shop.',
    ),
    'lightning_overhead': (
        'What Lightning costs',
        'Amazon Baby in size, batches of 2,048. "Lightning, as usual" logs the loss of each step '
        'and refreshes its bar each time. A gap of some percent is noise.',
    ),
    'propagation': ('Propagation', 'The same size, 64 channels, forward and backward.'),
    'evaluate': ('Ranking', 'Recall, precision and NDCG at 10 and 20, or the items themselves.'),
    'bulk_top_k': (
        'All users at once',
        'Twenty items of each user are left out. Ours ranks all users and writes a file; the peers '
        'rank some, and their time for all is extrapolated. Vectors of low rank are those of '
        'trained models, random ones let no item be passed over. Each in a new process, whose '
        'memory is shown.',
    ),
    'knn_build': (
        'Item graphs of features',
        'Ten neighbours of each item, by vectors that imitate those of texts; each method alone in '
        'a new process, its second call. Memory is what a method takes beside the features.',
    ),
    'knn_million': (
        'Item graphs of a million items',
        'The same, but the first call of a process, with the import; the others were not run.',
    ),
    'co_interaction': (
        'Item graphs of shared users',
        'Ten neighbours of each item; the memory is that beside the interactions.',
    ),
    'extensions': (
        'Compiled extensions',
        'Exact neighbours of 20,000 items of 64 channels; 20,000 items that share users, 400,000 '
        'interactions. The fastest of five rounds.',
    ),
    'encode': (
        'Pictures and texts',
        'OpenCLIP\'s ViT-B-32 with random weights, posters and short titles, batches of 8. "The '
        'model elsewhere" takes as long as reading a picture and leaves the processor alone, as '
        'one on a GPU does.',
    ),
    'tables': (
        'Reading tables',
        'Interactions with string ids of a million users, from a file to a graph of rows; pandas '
        'and polars check and count nothing. Each in a new process, imports not counted.',
    ),
}


def read(folder: Path, name: str) -> tuple[dict[str, Any], list[Row]] | None:
    """Return the machine and the rows of results, or None where there are none."""
    path = folder / f'{name}.json'
    if not path.exists():
        return None
    content = json.loads(path.read_text(encoding='utf-8'))
    return content['machine'], READERS[name](content['results'])


def spoken(seconds: float) -> str:
    """Return a time with three digits: 12.3 ms, 4.56 s."""
    return f'{1e3 * seconds:.3g} ms' if seconds < 0.9995 else f'{seconds:.3g} s'


def size(mib: float) -> str:
    """Return an amount of memory: 184 MB, 1.6 GB."""
    gigabytes = mib * 2**20 / 1e9
    return f'{1e3 * gigabytes:.0f} MB' if gigabytes < 0.9995 else f'{gigabytes:.1f} GB'


def beside(row: Row) -> list[str]:
    """Return the peer, its time, and how many times faster this library is."""
    if row.peer_seconds is None:
        return [row.peer, '', '']
    ratio = row.peer_seconds / row.seconds
    return [row.peer, spoken(row.peer_seconds), f'{ratio:.0f}' if ratio >= 10 else f'{ratio:.1f}']


def page(folder: Path) -> str:
    """Return the page."""
    lines = [MADE, '', *heading('Speed', '=')]
    lines += wrapped(
        'How long this library and others take for the same, measured side by side in one run. '
        '"Times faster" is the ratio of the two times, so below 1 the other is faster. '
        '``make bench`` repeats a part in two minutes on your machine, '
        '``python benchmarks/performance.py run --full`` all of it.'
    )
    for name, script in SCRIPTS.items():
        found = read(folder, name)
        if found is None:
            continue
        machine, rows = found
        title, about = TITLES[name]
        lines += [*heading(title, '-'), *wrapped(about)]
        header = ['job', 'here', 'time', 'other', 'its time', 'times faster']
        cells = [[row.job, row.ours, spoken(row.seconds), *beside(row)] for row in rows]
        lines += list_table(header, cells)
        lines += measured_by(script, machine)
    return '\n'.join(lines)


def run(folder: Path, full: bool) -> None:
    """Call the scripts, and print one table of all."""
    names = [name for name in SCRIPTS if full or name not in ONLY_FULL]
    for name in names:
        print(f'{name} ...', file=sys.stderr, flush=True)
        arguments = FULL.get(name, []) if full else ['--quick']
        command = [sys.executable, str(HERE / f'{SCRIPTS[name]}.py'), '--output', str(folder)]
        command += arguments
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    print(f'{"job":<66}{"here":>10}{"other":>10}{"faster":>9}  other')
    for name in names:
        found = read(folder, name)
        for row in found[1] if found else []:
            peer, its_time, ratio = beside(row)
            print(f'{row.job:<66}{spoken(row.seconds):>10}{its_time:>10}{ratio:>9}  {peer}')


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
