import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / 'benchmarks'


@pytest.fixture
def gpu_check(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import gpu_check

    return gpu_check


def test_says_that_there_is_no_gpu(
    gpu_check: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(sys, 'argv', ['gpu_check.py'])
    gpu_check.main()  # type: ignore[attr-defined]
    assert 'There is no GPU here' in capsys.readouterr().out


def test_measures_on_the_cpu_too(gpu_check: object) -> None:
    data = gpu_check.shop(60, 40, 300, 'cpu')  # type: ignore[attr-defined]
    table = gpu_check.measure('cpu', (200,), data)  # type: ignore[attr-defined]
    assert len(table) == 4
    assert all(value > 0 for row in table.values() for value in row)
