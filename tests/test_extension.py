import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pyg_mmgef import _extension
from pyg_mmgef._extension import address, load_extension, loaded_extensions

PACKAGE = Path(_extension.__file__).parent


@pytest.mark.parametrize('name', _extension.EXTENSIONS)
def test_every_source_is_listed_and_loaded_here(name: str) -> None:
    sources = {
        '.'.join(['pyg_mmgef', *path.relative_to(PACKAGE).with_suffix('').parts])
        for path in PACKAGE.rglob('*.cpp')
    }
    assert sources == set(_extension.EXTENSIONS)
    assert load_extension(name) is not None, 'not built; is there a C++ compiler?'
    assert loaded_extensions()[name]


def test_one_that_was_not_compiled_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    assert load_extension('pyg_mmgef.search._nothing') is None
    assert caplog.text == ''


def test_a_broken_file_is_named_once_and_torch_takes_over(tmp_path: Path) -> None:
    """As an extension for another processor in a folder that two machines share."""
    copy = tmp_path / 'pyg_mmgef'
    for path in PACKAGE.rglob('*.py'):
        target = copy / path.relative_to(PACKAGE)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    for name in ('search/_tiles', 'graph/_paths'):
        (copy / f'{name}.abi3.so').write_text('not a library')
    script = (
        'import pyg_mmgef, torch\n'
        f'assert pyg_mmgef.__file__.startswith({str(tmp_path)!r})\n'
        'from pyg_mmgef._extension import loaded_extensions\n'
        'from pyg_mmgef.graph import co_interaction_graph, knn_graph\n'
        'assert not any(loaded_extensions().values())\n'
        'x = torch.randn(3000, 4, generator=torch.Generator().manual_seed(0))\n'
        'for _ in range(2):\n'
        '    assert knn_graph(x, 2)[0].shape == (2, 6000)\n'
        '    pairs = torch.tensor([[0, 0], [0, 1]])\n'
        '    assert co_interaction_graph(pairs, 1, 2, 1)[0].tolist() == [[1, 0], [0, 1]]\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', script],
        cwd=tmp_path,
        env={'PYTHONPATH': str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    for name in ('_tiles', '_paths'):
        assert done.stderr.count(f"{name}.abi3.so can't be loaded") == 1


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason="how Linux finds torch's OpenMP")
@pytest.mark.parametrize('mode', ['ctypes.RTLD_GLOBAL', 'ctypes.RTLD_LOCAL'])
def test_the_openmp_runtime_is_that_of_torch(mode: str) -> None:
    """Also of a torch that keeps the runtime's symbols to itself, as some of its builds do."""
    script = (
        'import ctypes\n'
        'load = ctypes.CDLL\n'
        'class CDLL(load):\n'
        '    def __init__(self, name, mode=ctypes.DEFAULT_MODE, *others, **named):\n'
        f"        mode = {mode} if 'torch' in str(name) else mode\n"
        '        super().__init__(name, mode, *others, **named)\n'
        'ctypes.CDLL = CDLL\n'
        'import torch\n'
        'ctypes.CDLL = load\n'
        'def runtimes():\n'
        "    with open('/proc/self/maps') as maps:\n"
        "        return {line.split()[-1] for line in maps if 'gomp' in line or 'omp5' in line}\n"
        'of_torch = runtimes()\n'
        'from pyg_mmgef._extension import load_extension\n'
        "assert load_extension('pyg_mmgef.sparse._products') is not None\n"
        'assert runtimes() == of_torch, runtimes()\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', script], cwd=PACKAGE.parent, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_an_address_is_that_of_what_was_expected() -> None:
    x = torch.zeros(3, 4)
    assert address('x', x, torch.float32, 3, 4) == x.data_ptr()
    wrong = [
        (x, torch.float64, (3, 4)),
        (x, torch.float32, (4, 3)),
        (x.t(), torch.float32, (4, 3)),
        (x.to('meta'), torch.float32, (3, 4)),
    ]
    for tensor, dtype, shape in wrong:
        with pytest.raises(ValueError, match=r"'x' must be contiguous, torch.float.*, on the CPU"):
            address('x', tensor, dtype, *shape)
