from pathlib import Path

import pytest

from pyg_mmgef.serving import Settings

TOKEN = 'a-token-of-32-ascii-characters-xx'


def test_workers_get_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(Path('a'), token_file=Path('b'), queue=7, patience=0.5)
    monkeypatch.setenv('PYG_MMGEF_SERVING', '')
    settings.to_environment()
    assert Settings.from_environment() == settings


def test_changes_lie_beside_the_export(tmp_path: Path) -> None:
    (tmp_path / 'current').symlink_to(tmp_path / 'a')
    assert Settings(tmp_path / 'current').changes_file == tmp_path / 'current.changes.sqlite'
    assert Settings(Path('a'), changes=Path('b')).changes_file == Path('b')


def test_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv('PYG_MMGEF_TOKEN', raising=False)
    assert Settings(tmp_path).token() is None
    monkeypatch.setenv('PYG_MMGEF_TOKEN', TOKEN)
    assert Settings(tmp_path).token() == TOKEN
    (tmp_path / 'token').write_text(f'{TOKEN[::-1]}\n')
    assert Settings(tmp_path, token_file=tmp_path / 'token').token() == TOKEN[::-1]
    for short in ('', 'secret', 'ü' * 40):
        (tmp_path / 'token').write_text(short)
        with pytest.raises(ValueError, match=r"token' must have 16 ASCII characters or more"):
            Settings(tmp_path, token_file=tmp_path / 'token').token()


@pytest.mark.parametrize('name', ['queue', 'patience', 'poll'])
def test_numbers_are_positive(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' must be positive"):
        Settings(Path('a'), **{name: 0})  # type: ignore[arg-type]
