import errno
import os
import re
import stat
from pathlib import Path

import pytest

from pyg_mmgef.files import disk_errors_name, open_atomically, write_atomically


def test_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / 'table.json'
    for content in (b'old', b'new and longer', b''):
        write_atomically(path, content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / 'plain').write_bytes(b'')
    write_atomically(tmp_path / 'atomic', b'')
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ('plain', 'atomic')]
    assert modes[0] == modes[1]


def test_a_failing_block_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / 'table.json'
    write_atomically(path, b'old')

    def write_half() -> None:
        with open_atomically(path) as file:
            file.write(b'ne')
            raise OSError('no space left')

    with pytest.raises(OSError, match='no space left'):
        write_half()
    assert path.read_bytes() == b'old'
    assert list(tmp_path.iterdir()) == [path]


def test_a_failing_sync_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / 'table.json'
    write_atomically(path, b'old')

    def fail(descriptor: int) -> None:
        raise OSError('no space left')

    monkeypatch.setattr(os, 'fsync', fail)
    with pytest.raises(OSError, match='no space left'):
        write_atomically(path, b'new')
    assert path.read_bytes() == b'old'
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_names_the_file(tmp_path: Path) -> None:
    resource = pytest.importorskip('resource')
    path = tmp_path / 'table.json'
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match=re.escape(f'{str(path)!r}')):
            write_atomically(path, bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_other_errors_stay(tmp_path: Path) -> None:
    with (
        pytest.raises(ConnectionResetError) as error,
        disk_errors_name(tmp_path),
    ):
        raise ConnectionResetError(errno.ECONNRESET, 'reset')
    assert error.value.filename is None


def test_only_where_asked_for_it_syncs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    monkeypatch.setattr(os, 'fsync', lambda file: synced.append(file))
    write_atomically(tmp_path / 'a', b'1', sync=False)
    assert not synced
    write_atomically(tmp_path / 'a', b'2')
    assert synced
    assert (tmp_path / 'a').read_bytes() == b'2'
