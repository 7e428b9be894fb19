import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from pyg_mmgef.runs.dataset_folder import DatasetFolder, preparing
from tests.cli.command import COLUMNS, environment, pyg_mmgef
from tests.flips import flipped, outcomes


@pytest.fixture
def folder(dataset: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(dataset, tmp_path / 'shop'))


def files_of(folder: Path) -> list[Path]:
    return [folder / 'dataset.json', *sorted(folder.glob('versions/*/*'))]


def content(folder: Path) -> tuple[Any, ...]:
    dataset = DatasetFolder(folder)
    stores = [
        (store._key, name, value.tolist() if isinstance(value, torch.Tensor) else value)
        for store in dataset.data().stores
        for name, value in store.items()
    ]
    ids = list(dataset.user_ids), list(dataset.item_ids)
    return dataset.about, stores, ids, dataset.items()


def prepare(catalogue: Path, folder: Path, word: str = 'oak', fails: int = 0) -> str:
    """Prepare the catalogue with another word in its titles."""
    changed = folder.parent / f'{word}.csv'
    changed.write_text((catalogue / 'items.csv').read_text().replace('oak', word))
    return pyg_mmgef(
        *('prepare', catalogue / 'orders.csv', '-o', folder, '--items', changed, *COLUMNS[2:]),
        cwd=catalogue,
        fails=fails,
    )


def test_what_is_on_disk(dataset: Path) -> None:
    assert {path.name for path in dataset.iterdir()} == {'dataset.json', 'features', 'versions'}
    assert {path.name for path in files_of(dataset)} == {
        *('dataset.json', 'interactions.npz', 'items.jsonl', 'user_ids.jsonl', 'item_ids.jsonl'),
        *('x_image.npy', 'has_image.npy', 'x_text.npy', 'has_text.npy'),
    }
    about = json.loads((dataset / 'dataset.json').read_text())
    assert set(about['files']) == {path.name for path in files_of(dataset)[1:]}
    data = DatasetFolder(dataset).data()
    assert data['item'].has_image.sum() == 23
    assert data['user', 'interacts', 'item'].edge_index.shape == (2, 303)


def test_a_reader_keeps_the_version_that_it_opened(catalogue: Path, folder: Path) -> None:
    before, reader = DatasetFolder(folder), DatasetFolder(folder)
    items, x = before.items(), before.data()['item'].x_text.clone()
    prepare(catalogue, folder, 'silk')
    assert reader.items() == items
    assert torch.equal(reader.data()['item'].x_text, x)
    after = DatasetFolder(folder)
    assert after.items() != items
    assert not torch.equal(after.data()['item'].x_text, x)


def test_versions_that_no_longer_serve_are_removed(catalogue: Path, folder: Path) -> None:
    def versions() -> set[str]:
        return {path.name for path in (folder / 'versions').iterdir() if path.is_dir()}

    (first,) = versions()
    (folder / 'versions' / '.new').mkdir()
    (folder / 'versions' / '.new' / 'items.jsonl').touch()
    prepare(catalogue, folder, 'silk')
    assert first in versions()
    assert len(versions()) == 2
    second = versions() - {first}
    prepare(catalogue, folder, 'wool')
    assert first not in versions()
    assert second < versions()
    assert len(versions()) == 2


def test_a_mistake_changes_nothing(catalogue: Path, folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob('*') if path.is_file()}
    changed = folder.parent / 'items.csv'
    changed.write_text((catalogue / 'items.csv').read_text().replace('oak', 'silk'))
    columns = ('--items', changed, *COLUMNS[2:], '--text-encoder', 'smal')
    orders = catalogue / 'orders.csv'
    pyg_mmgef('prepare', orders, '-o', folder, *columns, cwd=catalogue, fails=1)
    assert {path: path.read_bytes() for path in folder.rglob('*') if path.is_file()} == before


def test_a_failure_half_way_leaves_the_dataset_of_before(
    catalogue: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = content(folder)

    def fail(*arguments: object) -> None:
        raise OSError('no space left')

    with monkeypatch.context() as patch:
        patch.setattr(DatasetFolder, 'write', fail)  # All features are stored by then.
        assert 'no space left' in prepare(catalogue, folder, 'silk', fails=1)
    assert content(folder) == before
    prepare(catalogue, folder, 'silk')
    assert content(folder) != before


def test_killed_at_any_moment_it_is_the_old_or_the_new(tmp_path: Path) -> None:
    script = Path(__file__).with_name('killed_prepare.py')
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), '3'],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        **{'killed': 9, 'mixtures': 0, 'lost': 0, 'left over': 0, 'versions too many': 0}
    }


def test_a_flipped_bit_is_an_error(folder: Path) -> None:
    found = outcomes(files_of(folder), lambda: content(folder), 12)
    assert found['detected'] > 90
    for path in files_of(folder)[1:]:
        with flipped(path, 9), pytest.raises(ValueError, match='"pyg-mmgef prepare" command again'):
            content(folder)


def test_preparing_again_mends_it(catalogue: Path, folder: Path) -> None:
    orders = ('prepare', catalogue / 'orders.csv', '-o', folder, *COLUMNS)
    before = content(folder)
    for path in files_of(folder):
        path.write_bytes(path.read_bytes()[:20])
        pyg_mmgef(*orders, cwd=catalogue)
        assert content(folder) == before
        path.unlink()
        pyg_mmgef(*orders, cwd=catalogue)
        assert content(folder) == before


def test_flipped_bits_of_the_vectors_by_content_reach_no_dataset(
    catalogue: Path, folder: Path
) -> None:
    before, rng = DatasetFolder(folder).data()['item'], random.Random(0)
    for number in range(8):
        path = sorted(folder.glob('features/*/*.npy'))[number % 4]
        damaged = bytearray(path.read_bytes())
        damaged[rng.randrange(len(damaged))] ^= 1 << number
        path.write_bytes(damaged)
        pyg_mmgef('prepare', catalogue / 'orders.csv', '-o', folder, *COLUMNS, cwd=catalogue)
        after = DatasetFolder(folder).data()['item']
        assert torch.equal(after.has_image, before.has_image)
        # One picture alone, encoded again, differs by rounding from one among others.
        torch.testing.assert_close(after.x_image, before.x_image)
        assert torch.equal(after.x_text, before.x_text)


@pytest.mark.parametrize('content', [{'format': 1, 'fingerprint': 'a'}, {'format': 1}])
def test_earlier_formats_are_prepared_again(
    catalogue: Path, tmp_path: Path, content: dict[str, Any]
) -> None:
    folder = tmp_path / 'ds'
    folder.mkdir()
    (folder / 'dataset.json').write_text(json.dumps(content))
    error = pyg_mmgef('train', folder, '-o', tmp_path / 'x', fails=1)
    assert 'earlier versions' in error
    assert '"pyg-mmgef prepare" command again' in error
    prepare(catalogue, folder)
    assert DatasetFolder(folder).about['format'] == 2


def test_two_at_once_are_refused(catalogue: Path, folder: Path) -> None:
    with preparing(folder):
        error = prepare(catalogue, folder, 'silk', fails=1)
    assert 'another "pyg-mmgef prepare" is writing to' in error
    assert 'wait until it has ended' in error
    prepare(catalogue, folder, 'silk')


class Recorder:
    """Notes which files below a folder are opened for writing; it can't be removed again."""

    def __init__(self, folder: Path) -> None:
        self.folder: Path | None = folder
        self.written: list[str] = []

    def __call__(self, event: str, arguments: Any) -> None:
        if event == 'open' and self.folder is not None:
            path, _, flags = arguments
            if str(path).startswith(str(self.folder)) and flags & (os.O_WRONLY | os.O_RDWR):
                self.written.append(str(path))


def test_nothing_is_opened_to_be_written_but_by_prepare(folder: Path, tmp_path: Path) -> None:
    recorder = Recorder(folder)  # The superuser, who may run this, can write to a read-only folder.
    sys.addaudithook(recorder)
    pyg_mmgef('train', folder, '-o', tmp_path / 'run', '--model', 'itemknn')
    pyg_mmgef('evaluate', tmp_path / 'run', '--dataset', folder)
    recorder.folder = None
    assert recorder.written == []


def test_a_run_is_no_dataset(tmp_path: Path) -> None:
    (tmp_path / 'config.json').write_text('{}')
    with pytest.raises(FileNotFoundError, match=r'is a run, not a dataset; .* keeps, .*trained_on'):
        DatasetFolder(tmp_path)
