"""The command ``serve``; tests/serving has what it serves."""

import json
from pathlib import Path

import pytest

from tests.cli.command import pyg_mmgef
from tests.serving.exports import make_export


def test_help_says_who_can_connect() -> None:
    shown = ' '.join(pyg_mmgef('serve', '--help').split())
    for option in ('--host', '--port', '--workers', '--token-file', '--changes', '--queue'):
        assert option in shown
    assert 'By default only this machine can connect' in shown


@pytest.mark.parametrize('name', ['none', ''])
def test_a_folder_without_an_export(tmp_path: Path, name: str) -> None:
    error = pyg_mmgef('serve', tmp_path / name, fails=1)
    assert error.count('\n') == 1
    assert 'has no export.json; name a folder that "pyg-mmgef export" wrote' in error


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        ({'format': 2}, 'has the format 2, and this version reads 1'),
        ({'files': {}}, 'does not list items.parquet'),
    ],
)
def test_an_export_that_cannot_be_read(
    tmp_path: Path, damage: dict[str, object], message: str
) -> None:
    path = make_export(tmp_path / 'export') / 'export.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), **damage}))
    error = pyg_mmgef('serve', path.parent, fails=1)
    assert error.count('\n') == 1
    assert message in error


def test_a_token_that_is_short(tmp_path: Path) -> None:
    folder, token = make_export(tmp_path / 'export'), tmp_path / 'token'
    token.write_text('short')
    error = pyg_mmgef('serve', folder, '--token-file', token, fails=1)
    assert error.count('\n') == 1
    assert 'must have 16 ASCII characters or more' in error


@pytest.mark.parametrize('words', [('--port', '0'), ('--workers', '0'), ('--queue', '0')])
def test_mistakes_name_the_flag(tmp_path: Path, words: tuple[str, str]) -> None:
    assert words[0] in pyg_mmgef('serve', tmp_path, *words, fails=2)
