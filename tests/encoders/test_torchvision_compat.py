import subprocess
import sys
import types
from types import ModuleType

import pytest

from pyg_mmgef.encoders import import_torchvision, torchvision_compat

TRAP = 'operator torchvision::nms does not exist'


def _run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=False, timeout=120
    )


def test_for_real_in_a_fresh_interpreter() -> None:
    code = """
from pyg_mmgef.encoders import import_torchvision
torchvision = import_torchvision()
import torch
from torchvision.transforms import Compose, Resize
assert torchvision is import_torchvision()
assert Resize(4)(torch.rand(3, 8, 8)).shape == (3, 4, 4)
assert torch.ops.torchvision.nms is not None
"""
    result = _run(code)
    assert result.returncode == 0, result.stderr


def test_the_trap_is_really_here_or_the_import_is_left_alone() -> None:
    plain = _run('import torchvision')
    declared = _run("""
from pyg_mmgef.encoders import import_torchvision, torchvision_compat
import_torchvision()
print(len(torchvision_compat._libraries))
""")
    assert declared.stdout.strip() == ('1' if TRAP in plain.stderr else '0'), declared.stderr


def test_no_op_if_torchvision_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType('torchvision')
    monkeypatch.setattr(torchvision_compat.importlib, 'import_module', lambda name: module)
    monkeypatch.setattr(torchvision_compat, '_declare_schemas', lambda: pytest.fail('declared'))
    assert import_torchvision() is module


def test_other_errors_pass_through(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> ModuleType:
        raise RuntimeError('something else')

    monkeypatch.setattr(torchvision_compat.importlib, 'import_module', fail)
    monkeypatch.setattr(torchvision_compat, '_declare_schemas', lambda: pytest.fail('declared'))
    with pytest.raises(RuntimeError, match='something else'):
        import_torchvision()


def test_half_imported_modules_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType('torchvision')
    attempts: list[bool] = []

    def import_module(name: str) -> ModuleType:
        attempts.append('torchvision._half' in sys.modules)
        if len(attempts) == 1:
            raise RuntimeError(TRAP)
        return module

    kept = {name: m for name, m in sys.modules.items() if name.split('.')[0] == 'torchvision'}
    for name in kept:
        monkeypatch.delitem(sys.modules, name)
    sys.modules['torchvision._half'] = types.ModuleType('torchvision._half')
    monkeypatch.setattr(torchvision_compat.importlib, 'import_module', import_module)
    monkeypatch.setattr(torchvision_compat, '_declare_schemas', lambda: None)
    assert import_torchvision() is module
    assert attempts == [True, False]
