from pathlib import Path

import pytest

from pyg_mmgef.files import write_atomically


def test_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / 'table.json'
    for content in (b'old', b'new and longer', b''):
        write_atomically(path, content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / 'table.json'
    write_atomically(path, b'old')

    def full(self: Path, content: bytes) -> int:
        with open(self, 'wb') as file:
            file.write(content[:2])
        raise OSError('no space left')

    monkeypatch.setattr(Path, 'write_bytes', full)
    with pytest.raises(OSError, match='no space left'):
        write_atomically(path, b'new')
    assert path.read_bytes() == b'old'
    assert list(tmp_path.iterdir()) == [path]
