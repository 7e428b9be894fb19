import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from pyg_mmgef.runs import Run
from pyg_mmgef.runs.dataset_folder import DatasetFolder
from pyg_mmgef.runs.run_folder import RunFolder
from tests.cli.command import COLUMNS, pyg_mmgef
from tests.flips import flipped, outcomes
from tests.prepared import OPTIONS


@pytest.fixture
def folder(dataset: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(dataset, tmp_path / 'shop'))


def content(path: Path) -> tuple[Any, ...]:
    run = Run.load(path)
    assert run.folder is not None
    parameters = repr(run.model.state_dict())
    embeddings = run.z_user.tolist(), run.z_item.tolist(), parameters
    items = run.items, list(run.user_ids), list(run.item_ids)
    return run.folder.config, run.metrics, run.history, embeddings, items, run.source.about


def test_a_run_needs_no_dataset(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / 'run'
    pyg_mmgef('train', folder, '-o', run, *OPTIONS)
    expected = pyg_mmgef('recommend', run, '--user', 'u3', '--user', 'u1')
    inodes = [path.stat().st_ino for path in sorted(folder.glob('versions/*/*'))]
    assert [path.stat().st_ino for path in sorted(run.glob('trained_on/versions/*/*'))] == inodes
    shutil.rmtree(folder)
    moved = run.rename(tmp_path / 'moved')
    assert pyg_mmgef('recommend', moved, '--user', 'u3', '--user', 'u1') == expected
    for words in (('evaluate',), ('similar', 'i07'), ('report',), ('info',)):
        pyg_mmgef(words[0], moved, *words[1:])


def test_after_other_tables_a_run_is_as_before(
    catalogue: Path, folder: Path, tmp_path: Path
) -> None:
    run, changed = tmp_path / 'run', tmp_path / 'items.csv'
    pyg_mmgef('train', folder, '-o', run, *OPTIONS)
    expected = content(run)
    changed.write_text((catalogue / 'items.csv').read_text().replace('oak', 'silk'))
    orders = catalogue / 'orders.csv'
    for _ in range(3):
        columns = ('--items', changed, *COLUMNS[2:])
        pyg_mmgef('prepare', orders, '-o', folder, *columns, cwd=catalogue)
        assert content(run) == expected
        changed.write_text(changed.read_text().replace('table', 'tables'))
    error = pyg_mmgef('train', folder, '-o', run, *OPTIONS, fails=1)
    assert f"another dataset, a copy of which is '{run / 'trained_on'}'" in error
    pyg_mmgef('train', run / 'trained_on', '-o', run, *OPTIONS)
    assert content(run) == expected
    error = pyg_mmgef('evaluate', run, '--dataset', folder, fails=1)
    assert 'leave out --dataset' in error


def test_where_no_link_is_possible_files_are_copied(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(errno.EXDEV, 'Invalid cross-device link')

    monkeypatch.setattr(os, 'link', refuse)
    DatasetFolder(folder).copy_to(tmp_path / 'copy')
    assert DatasetFolder(tmp_path / 'copy').about == DatasetFolder(folder).about
    for path in folder.glob('versions/*/*'):
        assert (tmp_path / 'copy' / path.relative_to(folder)).read_bytes() == path.read_bytes()
        assert path.stat().st_nlink == 1


def test_a_flipped_bit_is_an_error(copied: Path) -> None:
    best, last = (copied / 'checkpoints' / f'{name}.ckpt' for name in ('best', 'last'))
    about = copied / 'trained_on' / 'dataset.json'
    paths = [copied / 'config.json', copied / 'metrics.json', best, last, about]
    assert outcomes(paths, lambda: content(copied), 8)['detected'] > 30
    for path in copied.glob('trained_on/versions/*/*'):
        with flipped(path, 99):
            assert path.name in pyg_mmgef('report', copied, fails=1)


@pytest.mark.parametrize('name', ['best', 'last'])
@pytest.mark.parametrize('size', [0, 1000])
def test_damaged_checkpoints_are_one_line(copied: Path, name: str, size: int) -> None:
    path = copied / 'checkpoints' / f'{name}.ckpt'
    path.write_bytes(path.read_bytes()[:size])
    error = pyg_mmgef('report', copied, fails=1)
    assert f"{name}.ckpt' is damaged (it does not end with a checksum); train again" in error
    path.unlink()
    shown = pyg_mmgef('report', copied, fails=int(name == 'best'))
    assert name == 'last' or 'it is missing' in shown


def test_a_damaged_checkpoint_is_not_continued(dataset: Path, copied: Path) -> None:
    (copied / 'metrics.json').unlink()
    with flipped(copied / 'checkpoints' / 'last.ckpt', 40_000):
        error = pyg_mmgef('train', dataset, '-o', copied, *OPTIONS, fails=1)
    assert 'last.ckpt' in error
    assert 'is damaged' in error
    pyg_mmgef('train', dataset, '-o', copied, *OPTIONS)


def test_training_again_mends_the_copy_of_the_dataset(dataset: Path, copied: Path) -> None:
    before = content(copied)
    for path in [copied / 'trained_on' / 'dataset.json', *copied.glob('trained_on/versions/*/*')]:
        size = path.stat().st_size
        path.unlink()
        path.write_bytes(bytes(size))
        error = pyg_mmgef('report', copied, fails=1)
        assert path.name in error
        assert '--dataset' in error
        pyg_mmgef('train', dataset, '-o', copied, *OPTIONS)
        assert content(copied) == before


def test_the_history_is_that_of_the_logs(trained: Path) -> None:
    lines = (trained / 'csv' / 'version_0' / 'metrics.csv').read_text().splitlines()
    names = lines[0].split(',')
    rows = [dict(zip(names, map(float, line.split(',')), strict=True)) for line in lines[1:]]
    history = RunFolder(trained).history()
    assert [row['epoch'] for row in history] == [0, 1, 2, 3]
    for row, logged in zip(history, rows, strict=True):
        assert row == {name: value for name, value in logged.items() if name in row}
        assert {'train_loss', 'val_recall@10', 'val_ndcg@20'} < set(row)


def test_a_full_disk_is_one_line(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = os.fsync

    def fail(descriptor: int) -> None:
        if '.ckpt.' in os.readlink(f'/proc/self/fd/{descriptor}'):
            raise OSError(errno.ENOSPC, 'No space left on device')
        synced(descriptor)

    monkeypatch.setattr(os, 'fsync', fail)
    error = pyg_mmgef('train', dataset, '-o', tmp_path / 'run', *OPTIONS, fails=1)
    (line,) = [line for line in error.splitlines() if 'Error' in line or 'Traceback' in line]
    assert 'No space left on device' in line
    assert str(tmp_path / 'run') in line
    monkeypatch.undo()
    pyg_mmgef('train', dataset, '-o', tmp_path / 'run', *OPTIONS)


def test_neither_folder_can_be_the_other(catalogue: Path, dataset: Path, copied: Path) -> None:
    columns = ('prepare', catalogue / 'orders.csv', *COLUMNS, '-o')
    for place in (copied, copied / 'trained_on'):
        assert 'holds a run' in pyg_mmgef(*columns, place, cwd=catalogue, fails=1)
    half = copied.parent / 'half'
    (half / 'versions').mkdir(parents=True)
    for place in (half, copied / 'trained_on'):
        error = pyg_mmgef('train', dataset, '-o', place, *OPTIONS, fails=1)
        assert 'holds a dataset' in error


def test_earlier_runs_are_trained_again(copied: Path) -> None:
    config = json.loads((copied / 'config.json').read_text())
    del config['sha256']
    (copied / 'config.json').write_text(json.dumps(config))
    error = pyg_mmgef('evaluate', copied, fails=1)
    assert 'earlier versions wrote none' in error
    assert 'train again into a new folder' in error
