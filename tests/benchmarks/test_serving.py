"""The page of a server under load, from results that are made up."""

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / 'benchmarks'))

pytest.importorskip('fastapi')

import serving

ROW = {'count': {'0': 3, '200': 4000}, 'p50_ms': {'200': 7.0}, 'p99_ms': {'200': 20.0}}
CONTENT: dict[str, Any] = {
    'machine': {'date': '2026-01-01'},
    'results': {
        'memory': [{'workers': 1, 'all_MiB': 200.0}, {'workers': 2, 'all_MiB': 300.0}],
        'seconds_to_start': 1.26,
        'load': {'1': {'requests_s': 700.4, 'p50_ms': 1.44, 'p99_ms': 2.5}},
        'overload': {
            'rate': 3000.0,
            'count': {'200': 2000, '500': 1, '503': 999},
            'p50_ms': {'200': 230.0, '503': 9.0},
            'p99_ms': {'200': 380.0, '503': 90.0},
            'checked': {'count': {'0': 2, '200': 100}, 'wrong': 5},
        },
        'swaps': {**ROW, 'times': 50, 'wrong': 1},
        'kills': {**ROW, 'times': 40, 'wrong': 0, 'lost_twice': 6},
        'changes': {'changes': 10_000, 'items': 9000, 'kills': 20, 'lost': 8},
    },
}


def test_no_failure_is_left_out() -> None:
    page = serving.page(CONTENT)
    assert '   * - twice as many as it can: answered\n     - 2,000\n     - 230.0' in page
    assert '     - 380.0\n     - 3\n' in page  # One of 500 and two lost ones.
    assert '     - 20.0\n     - 3\n' in page
    text = ' '.join(page.split())
    assert 'Of 8,100 answers that were compared, 6 were wrong.' in text
    assert '6 of them failed again' in text
    assert 'while 20 workers were killed, 8 were lost' in text
    assert 'came 1.3 s after the start' in text
