"""The page of speed: which peers stand beside what, and that it is made of the kept results."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / 'benchmarks'))

import performance

ROOT = Path(__file__).parents[2]


def graph(method: str, recall: float, again: float | None, fresh: float = 9.0) -> dict:
    row = {'features': 'x', 'size': 50_000, 'channels': 512, 'method': method}
    return {**row, 'recall': recall, 'again': again, 'fresh': fresh}


def test_graphs_are_compared_at_no_more_recall() -> None:
    results = [
        graph('ours exact', 1.0, 2.0),
        graph('ours recall=0.95', 0.96, 0.5),
        graph('FAISS flat', 1.0, None, fresh=8.0),
        graph('HNSW', 0.955, 4.0),
        graph('too good', 0.99, 3.0),
        graph('too bad', 0.85, 0.1),
        {**graph('other size', 1.0, 1.0), 'size': 7},
        {'features': 'x', 'size': 50_000, 'channels': 512, 'method': 'broken', 'failed': 'memory'},
    ]
    rows = performance.of_item_graphs(results)
    assert [(row.ours, row.peer, row.seconds, row.peer_seconds) for row in rows] == [
        ('exact, recall 1.000', 'FAISS flat, recall 1.000', 2.0, 8.0),
        ('recall=0.95, recall .960', 'HNSW, recall .955', 0.5, 4.0),
    ]
    slower = [
        graph('ours recall=0.95', 0.96, 5.0) if r['method'] == 'ours recall=0.95' else r
        for r in results
    ]
    assert [row.ours for row in performance.of_item_graphs(slower)] == ['exact, recall 1.000']
    assert rows[0].job == 'a kNN graph of 50,000 items of 512 channels'


def test_times_are_written_with_their_unit() -> None:
    texts = [performance.spoken(seconds) for seconds in (0.01384, 0.882, 0.9996, 26.74)]
    assert texts == ['13.8 ms', '882 ms', '1 s', '26.7 s']
    row = performance.Row('job', 'ours', 'peer', 2.0, 1.0)
    assert performance.times_faster(row) == '0.5'
    assert performance.times_faster(row._replace(peer_seconds=51.0)) == '26'


def test_the_page_is_what_the_kept_results_say() -> None:
    folder = ROOT / 'docs' / 'performance'
    assert {path.stem for path in folder.glob('*.json')} == set(performance.SCRIPTS)
    assert performance.page(folder) == (ROOT / 'docs' / 'performance.rst').read_text()
    for path in folder.glob('*.json'):
        machine = json.loads(path.read_text())['machine']
        assert machine.keys() >= {'date', 'processor', 'threads', 'torch', 'torch-geometric'}
