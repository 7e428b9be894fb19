"""Results are kept loose or packed, and none gets lost on the way."""

import json
import lzma
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / 'benchmarks'))

import kept

RESULTS: dict[str, Any] = {
    'shop/warm/MF/plain/seed0.json': {'recall': 0.1, 'per_user': [0.63092977, None]},
    'shop/warm/MF/plain/seed1.json': {'recall': 0.2},
    'shop/warm/search/journal.log': '{"op": 1}\n{"op": 2}\n',
    'baby/warm/MF/plain/seed0.json': {'recall': 1e-17},
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, content in RESULTS.items():
        kept.save(tmp_path, name, content)
    return tmp_path


def files(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob('*') if path.is_file())


def test_packed_results_are_read_as_loose_ones_are(root: Path) -> None:
    loose = list(kept.read_all(root))
    assert dict(loose) == RESULTS
    kept.pack(root)
    assert files(root) == ['baby.jsonl.xz', 'shop.jsonl.xz']
    assert [path.name for path in root.iterdir() if path.is_dir()] == []
    assert list(kept.read_all(root)) == loose  # In the same order, too.
    assert {name: kept.read(root, name) for name in RESULTS} == RESULTS
    assert kept.read(root, 'shop/warm/MF/plain/seed2.json') is None
    assert kept.read(root, 'tiktok/warm/MF/plain/seed0.json') is None


def test_a_line_is_a_result(root: Path) -> None:
    kept.pack(root)
    lines = lzma.decompress((root / 'shop.jsonl.xz').read_bytes()).decode().splitlines()
    records = [json.loads(line) for line in lines]
    names = [name for name in RESULTS if name.startswith('shop/')]
    assert [record['name'] for record in records] == names
    assert [record['content'] for record in records] == [RESULTS[name] for name in names]


def test_bytes_depend_on_the_content_alone(root: Path, tmp_path: Path) -> None:
    other = tmp_path / 'other'
    for name in reversed(RESULTS):  # Another order, and in two steps.
        kept.save(other, name, RESULTS[name])
        kept.pack(other)
    shutil.move(other, root.parent / 'elsewhere')
    kept.pack(root)
    for name in ('baby.jsonl.xz', 'shop.jsonl.xz'):
        assert (root / name).read_bytes() == (root.parent / 'elsewhere' / name).read_bytes()


def test_new_results_join_the_packed_ones(root: Path) -> None:
    kept.pack(root)
    new = 'shop/warm/MF/plain/seed2.json'
    kept.save(root, new, {'recall': 0.3})
    changed = 'shop/warm/MF/plain/seed1.json'
    kept.save(root, changed, {'recall': 0.25})
    expected = {**RESULTS, new: {'recall': 0.3}, changed: {'recall': 0.25}}
    assert dict(kept.read_all(root)) == expected
    assert kept.read(root, changed) == {'recall': 0.25}
    assert kept.pack(root) == [root / 'shop.jsonl.xz']  # Nothing is new in the other.
    assert dict(kept.read_all(root)) == expected
    assert kept.read(root, changed) == {'recall': 0.25}


def test_unpacked_results_can_be_deleted(root: Path) -> None:
    kept.pack(root)
    kept.unpack(root)
    assert files(root) == sorted(RESULTS)
    (root / 'shop/warm/MF/plain/seed1.json').unlink()
    kept.pack(root)
    left = {name: content for name, content in RESULTS.items() if 'seed1' not in name}
    assert dict(kept.read_all(root)) == left


def test_unpacking_keeps_what_is_newer(root: Path) -> None:
    kept.pack(root)
    name = 'shop/warm/MF/plain/seed1.json'
    kept.save(root, name, {'recall': 0.25})
    kept.unpack(root)
    assert kept.read(root, name) == {'recall': 0.25}


def test_a_crash_while_packing_loses_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, content: bytes) -> None:
        raise OSError('the disk is full')

    with monkeypatch.context() as patch:
        patch.setattr(kept, 'write_atomically', fail)
        with pytest.raises(OSError, match='disk is full'):
            kept.pack(root)
    assert dict(kept.read_all(root)) == RESULTS

    def stop(folder: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(kept, '_remove_empty_folders', stop)  # After the first data set.
        with pytest.raises(KeyboardInterrupt):
            kept.pack(root)
    assert dict(kept.read_all(root)) == RESULTS
    kept.pack(root)
    assert dict(kept.read_all(root)) == RESULTS


def test_what_changes_while_it_is_packed_stays(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, write = 'shop/warm/MF/plain/seed1.json', kept.write_atomically

    def write_slowly(path: Path, content: bytes) -> None:
        write(path, content)
        if path.name == 'shop.jsonl.xz':
            (root / name).write_text('{"recall": 0.5}')

    monkeypatch.setattr(kept, 'write_atomically', write_slowly)
    kept.pack(root)
    assert kept.read(root, name) == {'recall': 0.5}


def test_a_library_goes_on_with_a_packed_log(root: Path) -> None:
    kept.pack(root)
    name = 'shop/warm/search/journal.log'
    with kept.restore(root, name).open('a') as file:
        file.write('{"op": 3}\n')
    assert kept.read(root, name) == RESULTS[name] + '{"op": 3}\n'
    with kept.restore(root, name).open() as file:  # What is loose stays.
        assert len(file.readlines()) == 3
    assert not kept.restore(root, 'shop/cold/search/journal.log').exists()
