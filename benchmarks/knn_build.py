"""Build kNN graphs of items with this library and with what people use instead.

    python benchmarks/knn_build.py --quick
    pip install pynndescent hnswlib usearch scikit-learn && python benchmarks/knn_build.py

Every method runs alone in a new process, in turn, on the same file of features and with the same
number of threads. A peer that isn't installed is left out. "fresh" is what a script meets: import,
compilation and the first call; "again" is a second call in the same process (of what takes long and
compiles nothing, the first). Build and search are counted together. Memory is the peak beyond the
process that has read the features and imported the library.

The features imitate text vectors (``text_like.py``), at any size. Real vectors follow where the
variable PYG_MMGEF_DATA names the folder that holds them.
"""

import argparse
import importlib.util
import json
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from process import memory, run_alone

K = 10
CHANNELS = 512
SIZES = (7_050, 20_000, 50_000, 200_000, 1_000_000)
QUICK_SIZES = (7_050,)
WIDE = (7_050, 4096)  # As many items as Amazon Baby, as many channels as its pictures.
REAL = {
    'MiniLM vectors of music': 'lfm2k_multimodal/text_minilm384.npy',
    'Whisper vectors of music': 'lfm2k_multimodal/audio_whisper512.npy',
}
NOT_QUICK = (
    'pynndescent 24',
    'PyG ApproxMIPSKNNIndex 1000/20',
    'scikit-learn brute',
    'usearch bf16',
)
TRUTH_ROWS = 1000
FLAT_QUERIES = 5_000  # Above 50,000 items, the flat index answers so many; time is scaled up.

Result = tuple[np.ndarray, float]  # Neighbours [N, K] (self may be among K + 1), share of queries.
Build = Callable[[np.ndarray, int], Result]


def ours(**options: object) -> Build:
    def build(x: np.ndarray, threads: int) -> Result:
        from pyg_mmgef.graph import knn_graph

        edge_index, _ = knn_graph(x, K, num_threads=threads, **options)  # type: ignore[arg-type]
        return edge_index[0].view(-1, K).numpy(), 1.0

    return build


def faiss_index(factory: str, **parameters: int) -> Build:
    def build(x: np.ndarray, threads: int) -> Result:
        import faiss

        faiss.omp_set_num_threads(threads)
        index: Any = faiss.index_factory(x.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
        if 'efConstruction' in parameters:
            index.hnsw.efConstruction = parameters['efConstruction']
            index.hnsw.efSearch = parameters['efSearch']
        index.train(x)
        index.add(x)
        if 'nprobe' in parameters:
            index.nprobe = parameters['nprobe']
        query = x
        if factory == 'Flat' and len(x) > 50_000:
            query = x[:FLAT_QUERIES]
        _, neighbor = index.search(query, K + 1)
        return neighbor, len(query) / len(x)

    return build


def faiss_nn_descent(x: np.ndarray, threads: int) -> Result:
    import faiss

    faiss.omp_set_num_threads(threads)
    index = faiss.IndexNNDescentFlat(x.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    index.nndescent.S, index.nndescent.R, index.nndescent.L = 10, 32, 64
    index.add(x)
    graph = faiss.vector_to_array(index.nndescent.final_graph).reshape(len(x), 32)
    return graph[:, : K + 1], 1.0


def pyg_index(name: str, **parameters: int) -> Build:
    def build(x: np.ndarray, threads: int) -> Result:
        import torch
        from torch_geometric.nn import pool

        torch.set_num_threads(threads)
        emb = torch.from_numpy(x)
        if name == 'MIPSKNNIndex':
            index = pool.MIPSKNNIndex(emb)
        else:
            index = pool.ApproxMIPSKNNIndex(emb=emb, bits_per_vector=8, **parameters)
        query = emb if len(x) <= 50_000 else emb[:FLAT_QUERIES]
        return index.search(query, K + 1).index.numpy(), len(query) / len(x)

    return build


def scikit_learn(x: np.ndarray, threads: int) -> Result:
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=K, metric='cosine', algorithm='brute', n_jobs=threads)
    return search.fit(x).kneighbors(return_distance=False), 1.0


def pynndescent(n_neighbors: int) -> Build:
    def build(x: np.ndarray, threads: int) -> Result:
        from pynndescent import NNDescent

        index = NNDescent(
            x, metric='cosine', n_neighbors=n_neighbors, n_jobs=threads, random_state=0
        )
        return index.neighbor_graph[0][:, : K + 1], 1.0

    return build


def hnswlib(links: int, construction: int, search: int) -> Build:
    def build(x: np.ndarray, threads: int) -> Result:
        import hnswlib

        index = hnswlib.Index('ip', x.shape[1])
        index.init_index(len(x), M=links, ef_construction=construction, random_seed=0)
        index.set_num_threads(threads)
        index.add_items(x)
        index.set_ef(search)
        return index.knn_query(x, K + 1)[0].astype(np.int64), 1.0

    return build


def usearch(x: np.ndarray, threads: int) -> Result:
    from usearch.index import Index

    index = Index(ndim=x.shape[1], metric='ip', dtype='bf16')
    index.add(np.arange(len(x)), x, threads=threads)
    return index.search(x, K + 1, threads=threads).keys.astype(np.int64), 1.0


def dense_lattice(x: np.ndarray, threads: int) -> Result:
    """Build the graph as LATTICE's code does: a dense similarity, then a dense sparsified copy."""
    import torch

    torch.set_num_threads(threads)
    context = torch.from_numpy(x)
    context = context / torch.norm(context, p=2, dim=-1, keepdim=True)
    similarity = torch.mm(context, context.transpose(1, 0))
    value, index = torch.topk(similarity, K + 1, dim=-1)
    dense = torch.zeros_like(similarity).scatter_(-1, index, value)
    degree = torch.sum(dense, -1).pow(-0.5)
    torch.mm(torch.mm(torch.diagflat(degree), dense), torch.diagflat(degree))
    return index.numpy(), 1.0


# Name → module it needs, largest size, the method. Parameters of the peers: the fastest seen that
# reach recalls of about 0.95 and 0.98.
METHODS: dict[str, tuple[str, int, Build]] = {
    'ours exact': ('pyg_mmgef.graph', 50_000, ours(backend='exact')),
    'ours recall=0.95': ('pyg_mmgef.graph', 10**9, ours(backend='cluster', recall=0.95)),
    'ours recall=0.98': ('pyg_mmgef.graph', 10**9, ours(backend='cluster', recall=0.98)),
    'FAISS flat': ('faiss', 200_000, faiss_index('Flat')),
    'PyG MIPSKNNIndex': ('torch_geometric', 50_000, pyg_index('MIPSKNNIndex')),
    'PyG ApproxMIPSKNNIndex 1000/20': (
        'torch_geometric',
        50_000,
        pyg_index('ApproxMIPSKNNIndex', num_cells=1000, num_cells_to_visit=20),
    ),
    'scikit-learn brute': ('sklearn', 50_000, scikit_learn),
    'dense LATTICE': ('torch', 10_000, dense_lattice),
    'pynndescent 16': ('pynndescent', 10**9, pynndescent(16)),
    'pynndescent 24': ('pynndescent', 10**9, pynndescent(24)),
    'hnswlib 16/40/32': ('hnswlib', 10**9, hnswlib(16, 40, 32)),
    'hnswlib 24/80/64': ('hnswlib', 200_000, hnswlib(24, 80, 64)),
    'usearch bf16': ('usearch', 200_000, usearch),
    'FAISS HNSW 16/40/32': (
        'faiss',
        200_000,
        faiss_index('HNSW16', efConstruction=40, efSearch=32),
    ),
    'FAISS IVF 632/16': ('faiss', 200_000, faiss_index('IVF632,Flat', nprobe=16)),
    'FAISS NN-Descent 32': ('faiss', 200_000, faiss_nn_descent),
}
IMITATION = 'Text-like features'
LOWEST_DRAWN = 0.85
REPEATED_UP_TO = 200_000  # Larger builds run once,
LONG = 10.0  # and so do builds that take so many seconds, unless compilation is among them.


def child(method: str, features: Path, truth: Path, threads: int) -> None:
    """Run one method and print its figures as JSON."""
    x = np.load(features, allow_pickle=False)
    module, _, build = METHODS[method]
    start = time.perf_counter()
    importlib.import_module(module)
    imported = time.perf_counter() - start
    before = memory('VmRSS')
    seconds: list[float] = []
    for _ in range(2 if len(x) <= REPEATED_UP_TO else 1):
        start = time.perf_counter()
        neighbor, share = build(x, threads)
        elapsed = time.perf_counter() - start
        seconds.append(elapsed / share)
        if elapsed > LONG and module != 'pynndescent':
            break
    peak = memory('VmHWM') - before
    with np.load(truth, allow_pickle=False) as file:
        rows, least = file['rows'], file['least']
    rows, least = rows[rows < len(neighbor)], least[rows < len(neighbor)]
    found = neighbor[rows]
    score = np.einsum('qd,qkd->qk', x[rows].astype(np.float64), x[found].astype(np.float64))
    score[(found == rows[:, None]) | (found < 0)] = -np.inf
    hits = np.minimum((score >= least[:, None] - 1e-7).sum(axis=1), K)
    out = {
        'fresh': imported + seconds[0],
        'again': seconds[-1] if len(x) <= REPEATED_UP_TO else None,
        'recall': float(hits.mean() / K),
        'memory_mib': peak,
        'estimated': share < 1,
    }
    print(json.dumps(out))


def write_truth(x: np.ndarray, path: Path) -> None:
    """Write the K-th best similarity of some rows, in float64."""
    rows = np.sort(np.random.default_rng(0).permutation(len(x))[:TRUTH_ROWS])
    if len(x) > 50_000:  # So that the flat index's first queries are among them.
        rows = np.unique(np.concatenate([rows, np.arange(0, FLAT_QUERIES, 50)]))
    query = x[rows].astype(np.float64)
    best = np.full((len(rows), K), -np.inf)
    for start in range(0, len(x), 20_000):
        score = query @ x[start : start + 20_000].astype(np.float64).T
        inside = (rows >= start) & (rows < start + score.shape[1])
        score[np.flatnonzero(inside), rows[inside] - start] = -np.inf
        pool = np.concatenate([best, score], axis=1)
        best = np.partition(pool, -K, axis=1)[:, -K:]
    np.savez(path, rows=rows, least=best.min(axis=1))


def real_vectors() -> dict[str, np.ndarray]:
    """Return the real vectors that can be had, of length one, by name."""
    root = os.environ.get('PYG_MMGEF_DATA')
    out = {}
    files = {name: Path(root) / file for name, file in REAL.items()} if root else {}
    for name, file in files.items():
        if file.is_file():
            x = np.load(file, allow_pickle=False).astype(np.float32)
            out[name] = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return out


def measure(
    name: str, make: Callable[[], np.ndarray], methods: list[str], threads: int, folder: Path
) -> list[dict]:
    """Run the methods on some features, each in its own process."""
    from text_like import local_intrinsic_dimension

    x = make()
    size, channels = x.shape
    features, truth = folder / 'features.npy', folder / 'truth.npz'
    np.save(features, x)
    write_truth(x, truth)
    lid = local_intrinsic_dimension(x)
    del x  # Not to be in memory beside that of the methods.
    print(
        f'\n{name}: {size:,} x {channels}, local intrinsic dimension {lid:.1f}, {threads} threads'
    )
    print(f'{"":32}{"fresh s":>9}{"again s":>9}{"recall":>8}{"MiB":>7}')
    rows = []
    for method in methods:
        _, largest, _ = METHODS[method]
        if size > largest:
            continue
        arguments = ['--child', method, '--threads', str(threads)]
        arguments += ['--features', str(features), '--truth', str(truth)]
        row = run_alone(__file__, arguments, threads)
        rows.append(
            {'features': name, 'size': size, 'channels': channels, 'method': method, 'lid': lid}
            | row
        )
        if 'failed' in row:
            print(f'{method:32}failed: {row["failed"]}')
            continue
        again = f'{row["again"]:9.2f}' if row['again'] is not None else f'{"":9}'
        note = '  (time scaled up from a part of the queries)' if row['estimated'] else ''
        print(
            f'{method:32}{row["fresh"]:9.2f}{again}{row["recall"]:8.4f}'
            f'{row["memory_mib"]:7.0f}{note}',
            flush=True,
        )
    for file in (features, truth):
        file.unlink()
    return rows


def plot(rows: list[dict], path: Path) -> None:
    """Draw recall against time at the largest size with second calls, and time against size."""
    from matplotlib.figure import Figure

    rows = [row for row in rows if row['features'] == IMITATION and row['channels'] == CHANNELS]
    rows = sorted((row for row in rows if 'failed' not in row), key=lambda row: row['size'])
    names = [name for name in METHODS if any(row['method'] == name for row in rows)]
    style = {
        name: {'color': f'C{number % 10}', 'marker': 'os^Dv'[number // 4]}
        for number, name in enumerate(names)
    }
    figure = Figure(figsize=(12, 4.4), layout='constrained')
    left, right = figure.subplots(1, 2)
    largest = max((row['size'] for row in rows if row['again'] is not None), default=0)
    for name in names:
        mine = name.startswith('ours')
        points = [row for row in rows if row['method'] == name]
        last = [row for row in points if row['size'] == largest and row['recall'] > LOWEST_DRAWN]
        left.plot(
            [row['again'] for row in last],
            [row['recall'] for row in last],
            **style[name],
            ls='',
            ms=11 if mine else 7,
        )
        right.plot(
            [row['size'] for row in points],
            [row['again'] or row['fresh'] for row in points],
            **style[name],
            label=name,
            lw=2.5 if mine else 1,
            ms=5 if mine else 3,
        )
    left.set(xscale='log', xlabel='seconds, build and search', ylabel=f'recall@{K}')
    left.set_title(f'{largest:,} items x 512')
    right.set(xscale='log', yscale='log', xlabel='items', ylabel='seconds', title='Time to build')
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.legend(*right.get_legend_handles_labels(), loc='outside right upper', fontsize=8)
    figure.savefig(path, dpi=110)
    print(f'Wrote {path}')


def main() -> None:
    out = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    out.add_argument('--output', type=Path, default=Path('results'))
    out.add_argument('--name', default='knn_build', help='of the JSON and of the plot')
    out.add_argument('--threads', type=int, default=len(os.sched_getaffinity(0)))
    out.add_argument('--quick', action='store_true', help='small sizes, one minute')
    out.add_argument('--sizes', type=int, nargs='+')
    out.add_argument('--methods', nargs='+', choices=METHODS, metavar='METHOD')
    for name, kind in (('child', str), ('features', Path), ('truth', Path)):
        out.add_argument(f'--{name}', type=kind, help=argparse.SUPPRESS)
    args = out.parse_args()
    if args.child:
        child(args.child, args.features, args.truth, args.threads)
        return

    from common import write_json
    from text_like import text_like_features

    methods = args.methods or [
        name
        for name, (module, _, _) in METHODS.items()
        if importlib.util.find_spec(module) and not (args.quick and name in NOT_QUICK)
    ]
    shapes = [(size, CHANNELS) for size in args.sizes or (QUICK_SIZES if args.quick else SIZES)]
    if not args.sizes and not args.quick:
        shapes.insert(1, WIDE)

    def imitation(size: int, channels: int) -> np.ndarray:
        return text_like_features(size, channels).numpy()

    sets = [(IMITATION, partial(imitation, *shape)) for shape in shapes]
    if not args.quick:
        sets += [(name, partial(np.asarray, x)) for name, x in real_vectors().items()]
    rows: list[dict] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, make in sets:
            rows += measure(name, make, methods, args.threads, Path(folder))
            write_json(args.output / f'{args.name}.json', rows)
    plot(rows, args.output / f'{args.name}.png')


if __name__ == '__main__':
    main()
