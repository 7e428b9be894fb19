"""A folder is replaced as a whole: in one step, by one process at a time."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pyg_mmgef.exports import new_version


def write(folder: Path, text: str) -> str:
    with new_version(folder) as version:
        (version.path / 'a.txt').write_text(text)
        version.about = {'created': 'now', 'what': 'a text'}
        version.readme = 'Read a.txt.'
    about = json.loads((folder / 'export.json').read_text())
    assert (folder / about['folder'] / 'a.txt').read_text() == text
    return Path(about['folder']).name


def versions(folder: Path) -> set[str]:
    return {path.name for path in (folder / 'versions').iterdir() if path.is_dir()}


def test_a_version_is_named_by_its_content_and_the_one_before_stays(tmp_path: Path) -> None:
    one, two, three = (write(tmp_path, text) for text in ('1', '2', '3'))
    assert versions(tmp_path) == {two, three}
    assert write(tmp_path, '3') == three
    assert write(tmp_path, '1') == one
    assert versions(tmp_path) == {three, one}
    assert (tmp_path / 'README.md').read_text() == 'Read a.txt.'


def test_a_damaged_version_is_written_anew(tmp_path: Path) -> None:
    name = write(tmp_path, 'whole')
    (tmp_path / 'versions' / name / 'a.txt').write_text('damaged')
    assert write(tmp_path, 'whole') == name


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / 'versions' / '.new'
    left.mkdir(parents=True)
    (left / 'half').write_text('half')
    name = write(tmp_path, 'whole')
    assert versions(tmp_path) == {name}
    assert [path.name for path in (tmp_path / 'versions' / name).iterdir()] == ['a.txt']


def test_two_processes_do_not_write_at_once(tmp_path: Path) -> None:
    with new_version(tmp_path), pytest.raises(TimeoutError, match='another process is exporting'):
        write(tmp_path, 'second')


def test_a_block_that_raises_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path, 'first')
    before = (tmp_path / 'export.json').read_bytes()
    with pytest.raises(KeyError), new_version(tmp_path):
        raise KeyError
    assert (tmp_path / 'export.json').read_bytes() == before
    assert '.new' not in versions(tmp_path)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'dataset.json').write_text('{}')
    with pytest.raises(ValueError, match=r"which is no export, as it holds 'dataset.json'"):
        write(tmp_path, 'x')
    assert not (tmp_path / 'versions').exists()


def test_a_reader_finds_a_whole_version_while_the_next_is_written(tmp_path: Path) -> None:
    write(tmp_path, '0')

    def read() -> str:
        about = json.loads((tmp_path / 'export.json').read_bytes())
        text = (tmp_path / about['folder'] / 'a.txt').read_text()
        assert hashlib.sha256(text.encode()).hexdigest() == about['files']['a.txt']
        return text

    with ThreadPoolExecutor(1) as pool:
        for number in range(1, 20):
            reading = pool.submit(read)
            write(tmp_path, str(number))
            assert reading.result() in (str(number - 1), str(number))
