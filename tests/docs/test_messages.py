"""The messages in the page of troubles are those of the code, word for word."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

import pyg_mmgef
from tests.docs.pages import blocks

OF_OTHERS = ('OMP: Error #15', 'DefaultCPUAllocator', 'torch.OutOfMemoryError')


@cache
def templates() -> list[re.Pattern[str]]:
    """Return a pattern for each string of the package, with anything in place of its values."""
    found = []
    for path in Path(pyg_mmgef.__file__).parent.rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.JoinedStr):
                parts = [
                    re.escape(str(part.value)) if isinstance(part, ast.Constant) else '.+'
                    for part in node.values
                ]
                found.append(''.join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(re.escape(node.value))
    return [re.compile(pattern) for pattern in found if len(re.sub(r'\.\+', '', pattern)) > 20]


@pytest.mark.parametrize('message', blocks('help/troubleshooting.rst', 'text'))
def test_message_is_in_the_code(message: str) -> None:
    if message.startswith(OF_OTHERS):
        pytest.skip('another library says so')
    body = re.sub(r'^(RuntimeError|[\w.]+): ', '', message.strip())
    assert any(pattern.fullmatch(body) for pattern in templates()), body
