import subprocess
import sys
from pathlib import Path

import pytest
import torch

import pyg_mmgef
from pyg_mmgef import _versions

ROOT = Path(__file__).parents[1]


def test_versions() -> None:
    found = pyg_mmgef.versions()
    assert found['pyg_mmgef'] == pyg_mmgef.__version__
    assert found['torch'] == torch.__version__.split('+')[0] or found['torch'] == torch.__version__
    assert found['threads'] == torch.get_num_threads()
    assert found['devices'][0] == 'cpu'
    assert found['pyg_mmgef.sparse._products'] == 'in use'


def test_show_versions(capsys: pytest.CaptureFixture[str]) -> None:
    pyg_mmgef.show_versions()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(pyg_mmgef.versions())
    assert f'pyg_mmgef: {pyg_mmgef.__version__}' in lines


def test_a_package_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_versions, 'PACKAGES', ('no-such-package',))
    assert pyg_mmgef.versions()['no-such-package'] is None
    pyg_mmgef.show_versions()
    assert 'no-such-package: not installed' in capsys.readouterr().out


def test_an_extension_that_is_absent_or_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'broken_one.abi3.so').write_text('no library')
    monkeypatch.syspath_prepend(tmp_path)
    assert _versions._state_of('broken_one').startswith('broken: ')
    assert _versions._state_of('absent_one').startswith('absent: ')


def test_importing_the_package_imports_no_torch() -> None:
    script = 'import sys, pyg_mmgef; assert "torch" not in sys.modules'
    done = subprocess.run([sys.executable, '-c', script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
