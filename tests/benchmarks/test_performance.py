"""The page of speed: which peers stand beside what, and that it is made of the kept results."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / 'benchmarks'))

import performance

ROOT = Path(__file__).parents[2]


def graph(method: str, recall: float, again: float | None, fresh: float = 9.0) -> dict:
    row = {'features': 'x', 'size': 50_000, 'channels': 512, 'method': method}
    return {**row, 'recall': recall, 'again': again, 'fresh': fresh, 'memory_mib': 100.0}


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
        ('exact, recall 1.000, 105 MB', 'FAISS flat, recall 1.000, 105 MB', 2.0, 8.0),
        ('recall=0.95, recall .960, 105 MB', 'HNSW, recall .955, 105 MB', 0.5, 4.0),
    ]
    slower = [
        graph('ours recall=0.95', 0.96, 5.0) if r['method'] == 'ours recall=0.95' else r
        for r in results
    ]
    exact = ['exact, recall 1.000, 105 MB']
    assert [row.ours for row in performance.of_item_graphs(slower)] == exact
    assert rows[0].job == 'a kNN graph of 50,000 items of 512 channels'
    (alone,) = performance.of_item_graphs([graph('ours exact', 1.0, None, fresh=3.0)])
    assert (alone.seconds, *performance.beside(alone)) == (3.0, '', '', '')


def test_steps_have_the_memory_of_their_process_and_peers_that_failed_stay() -> None:
    methods = {
        'PyG LightGCN, edge_index': {'failed': "can't allocate memory: you tried"},
        'PyG LightGCN, SparseTensor': {'ms': 500.0, 'MiB': 2000.0},
        'LightGCN': {'ms': 100.0, 'MiB': 500.0},
    }
    sizes = {'users': 4, 'items': 3000, 'interactions': 9, 'triplets': 2}
    rows = performance.of_growth({'x1': {**sizes, 'methods': methods}})
    assert {row.job for row in rows} == {'a step of 4 users, 3,000 items, 9 interactions'}
    assert {(row.ours, row.seconds) for row in rows} == {('LightGCN, 524 MB', 0.1)}
    assert [performance.beside(row) for row in rows] == [
        ['PyG LightGCN, edge_index: out of memory', '', ''],
        ['PyG LightGCN, SparseTensor, 2.1 GB', '500 ms', '5.0'],
    ]


def test_lightning_stands_beside_a_plain_loop_and_its_usual_one() -> None:
    results = {
        'MM-GEF, plain loop': {'ms': 10.0},
        'MM-GEF, Lightning': {'ms': 11.0},
        'MM-GEF, Lightning, as usual': {'ms': 13.0},
    }
    rows = performance.of_lightning(results)
    assert [(row.peer, row.seconds, row.peer_seconds) for row in rows] == [
        ('plain loop', 0.011, 0.01),
        ('Lightning, as usual', 0.011, 0.013),
    ]


def test_encoding_is_the_median_beside_the_plain_loop_of_the_same() -> None:
    runs = [
        {'what': 'texts', 'count': 8, 'contestant': 'plain open_clip loop', 'seconds': [1, 3, 2]},
        {'what': 'texts', 'count': 8, 'contestant': 'OpenCLIPEncoder', 'seconds': [9, 1, 1]},
        {'what': 'long texts', 'count': 2, 'contestant': 'averaged', 'seconds': [1]},
        {'what': 'reading alone', 'count': 8, 'seconds': [1]},
    ]
    (row,) = performance.of_encoding({'runs': runs})
    assert row == ('8 texts', 'OpenCLIPEncoder', 'plain open_clip loop', 1, 2)


def test_a_graph_that_scipy_was_not_tried_on_stands_alone() -> None:
    own = {'items': 7, 'interactions': 9, 'method': 'ours', 'seconds': 2.0, 'memory_mib': 1000.0}
    (row,) = performance.of_co_interactions([own])
    assert (row.ours, *performance.beside(row)) == ('co_interaction_graph, 1.0 GB', '', '', '')
    scipy = {**own, 'method': 'SciPy', 'seconds': 8.0}
    (row,) = performance.of_co_interactions([own, scipy])
    assert performance.beside(row) == ['SciPy, the whole product, 1.0 GB', '8 s', '4.0']


def test_times_are_written_with_their_unit() -> None:
    texts = [performance.spoken(seconds) for seconds in (0.01384, 0.882, 0.9996, 26.74)]
    assert texts == ['13.8 ms', '882 ms', '1 s', '26.7 s']
    row = performance.Row('job', 'ours', 'peer', 2.0, 1.0)
    assert performance.beside(row) == ['peer', '1 s', '0.5']
    assert performance.beside(row._replace(peer_seconds=51.0)) == ['peer', '51 s', '26']
    assert [performance.size(mib) for mib in (100, 953, 953.6)] == ['105 MB', '999 MB', '1.0 GB']


def test_the_page_is_what_the_kept_results_say() -> None:
    folder = ROOT / 'docs' / 'performance'
    assert {path.stem for path in folder.glob('*.json')} == set(performance.SCRIPTS)
    assert performance.page(folder) == (ROOT / 'docs' / 'performance.rst').read_text()
    for path in folder.glob('*.json'):
        machine = json.loads(path.read_text())['machine']
        assert machine.keys() >= {'date', 'processor', 'threads', 'torch', 'torch-geometric'}


def test_the_time_of_peers_for_all_users_says_how_many_were_ranked() -> None:
    own = {'users': 1000, 'seconds_all': 2.0, 'seconds': 2.0, 'MiB': 100.0, 'agreement': 1.0}
    peer = {'users': 10, 'seconds_all': 50.0, 'seconds': 0.5, 'MiB': 50.0, 'agreement': 0.98}
    results = {'1,000 users': {'this library': own, 'near': peer, 'broken': {'failed': 'memory'}}}
    (row,) = performance.of_bulk(results)
    assert (row.job, row.seconds, row.peer_seconds) == ('the top 20 of 1,000 users', 2.0, 50.0)
    assert row.peer == 'near, 52 MB, recall .980, from 10 users'
