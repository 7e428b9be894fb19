import errno
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pyg_mmgef.files import check_sealed, open_sealed, read_sealed, write_sealed
from tests.flips import outcomes


def test_reads_what_it_wrote(tmp_path: Path) -> None:
    for content in (b'', b'one line\n', bytes(3_000_000)):
        write_sealed(tmp_path / 'a', content)
        assert read_sealed(tmp_path / 'a', '') == content
        check_sealed(tmp_path / 'a', '')


def test_readers_of_zip_files_and_json_lines_ignore_it(tmp_path: Path) -> None:
    with open_sealed(tmp_path / 'a.pt') as file:
        torch.save({'x': torch.arange(3)}, file)
    assert torch.load(tmp_path / 'a.pt', weights_only=True)['x'].tolist() == [0, 1, 2]
    buffer = io.BytesIO()
    np.savez(buffer, x=np.arange(3))
    write_sealed(tmp_path / 'a.npz', buffer.getvalue())
    assert np.load(tmp_path / 'a.npz')['x'].tolist() == [0, 1, 2]
    write_sealed(tmp_path / 'a.jsonl', b'1\n2\n')
    *rows, last = map(json.loads, (tmp_path / 'a.jsonl').read_text().splitlines())
    assert rows == [1, 2]
    assert list(last) == ['sha256']


def test_every_flipped_bit_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / 'a'
    write_sealed(path, bytes(range(200)))
    size = 8 * path.stat().st_size
    assert outcomes([path], lambda: read_sealed(path, 'x'), size)['detected'] == size
    assert outcomes([path], lambda: check_sealed(path, 'x'), 100)['detected'] == 100


@pytest.mark.parametrize('size', [0, 10, 100])
def test_a_part_of_a_file_is_an_error(tmp_path: Path, size: int) -> None:
    path = tmp_path / 'a'
    write_sealed(path, b'some content of one file')
    path.write_bytes(path.read_bytes()[:size])
    for read in (read_sealed, check_sealed):
        with pytest.raises(
            ValueError, match=r"a' is damaged \(it does not end with a checksum\); do" ''
        ):
            read(path, 'do that')


def test_no_file(tmp_path: Path) -> None:
    for read in (read_sealed, check_sealed):
        with pytest.raises(FileNotFoundError, match='none'):
            read(tmp_path / 'none', '')


class FullFile(io.BytesIO):
    def write(self, content: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_what_torch_save_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / 'a.pt'
    write_sealed(path, b'old')
    monkeypatch.setattr(Path, 'open', lambda self, mode: FullFile())
    with (
        pytest.raises(OSError, match=r'No space left on device: .*a.pt'),
        open_sealed(path) as file,
    ):
        torch.save({'x': torch.zeros(10_000)}, file)
    monkeypatch.undo()
    assert read_sealed(path, '') == b'old'
    assert list(tmp_path.iterdir()) == [path]
