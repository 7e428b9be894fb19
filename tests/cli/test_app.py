import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from tests.cli.command import COLUMNS, command, environment, pyg_mmgef


def test_prepare_accounts_for_everything(dataset: Path) -> None:
    about = json.loads((dataset / 'dataset.json').read_text())
    assert about['report']['users'] == 40
    assert about['report']['items'] == 24
    assert about['report']['rows read'] == 40 * 8 + 1
    assert about['modalities']['text']['items'] == 24
    assert about['modalities']['image']['items'] == 23
    (bad,) = about['modalities']['image']['unusable']
    assert (bad['item'], bad['reason']) == ('i05', 'not a picture')
    assert bad['path'].endswith('5.png')
    assert 'i05' in pyg_mmgef('info', dataset)


def test_prepare_again_changes_nothing(catalogue: Path, dataset: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(dataset, tmp_path / 'shop'))
    before = {path: path.read_bytes() for path in folder.rglob('*.np[yz]')}
    assert before
    pyg_mmgef('prepare', catalogue / 'orders.csv', '-o', folder, *COLUMNS, cwd=catalogue)
    assert {path: path.read_bytes() for path in folder.rglob('*.np[yz]')} == before
    assert (folder / 'dataset.json').read_bytes() == (dataset / 'dataset.json').read_bytes()


def test_a_killed_prepare_goes_on(catalogue: Path, dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / 'shop'
    script = Path(__file__).with_name('killed_prepare.py')
    arguments = ('prepare', catalogue / 'orders.csv', '-o', folder, *COLUMNS)
    done = subprocess.run(
        [sys.executable, script, tmp_path / 'log.txt', *map(str, arguments)],
        cwd=catalogue,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # Among the renames are those of two features' manifests and of the five files of a dataset.
    assert int(done.stdout.split()[-1]) >= 7
    for path in dataset.iterdir():  # The fingerprint in dataset.json is of the features as well.
        if path.is_file():
            assert (folder / path.name).read_bytes() == path.read_bytes(), path
    assert len(list(folder.glob('features/*/*.npy'))) == 4  # Vectors and masks, nothing stale.


def test_a_run_describes_itself(dataset: Path, trained: Path) -> None:
    config = json.loads((trained / 'config.json').read_text())
    assert config['settings']['seed'] == 0
    assert config['settings']['modalities'] == ['image', 'text']
    assert config['settings']['fusion'] == 'concat'
    assert config['dataset']['path'] == str(dataset)
    assert set(config['versions']) == {'pyg_mmgef', 'torch', 'torch_geometric', 'python'}
    assert (trained / 'curves.png').read_bytes().startswith(b'\x89PNG')
    metrics = json.loads((trained / 'metrics.json').read_text())
    assert metrics['epochs'] == 4
    assert 0 < metrics['test_recall@20'] <= 1
    assert f'{metrics["test_recall@20"]:.4f}' in pyg_mmgef('info', trained)


def test_the_same_again_is_the_same(dataset: Path, trained: Path, tmp_path: Path) -> None:
    pyg_mmgef('train', dataset, '-o', tmp_path / 'again', '--epochs', 4, '--k', 5)
    assert (tmp_path / 'again' / 'metrics.json').read_bytes() == (
        trained / 'metrics.json'
    ).read_bytes()


def test_evaluate_repeats_the_metrics(trained: Path) -> None:
    metrics = json.loads((trained / 'metrics.json').read_text())
    for part in ('val', 'test'):
        shown = pyg_mmgef('evaluate', trained, '--split', part, '--k', 10)
        assert f'{metrics[f"{part}_ndcg@10"]:.4f}' in shown


@pytest.mark.parametrize('suffix', ['parquet', 'csv', 'jsonl'])
def test_recommendations_for_all(
    catalogue: Path, trained: Path, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f'best.{suffix}'
    assert '200 rows' in pyg_mmgef('recommend', trained, '--k', 5, '-o', path)
    if suffix == 'parquet':
        rows = pyarrow.parquet.read_table(path).to_pylist()
    elif suffix == 'csv':
        rows = list(csv.DictReader(path.read_text().splitlines()))
    else:
        rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(rows) == 200
    assert list(rows[0]) == ['user', 'rank', 'item', 'score']
    with open(catalogue / 'orders.csv') as file:
        taken = {(row['customer'], row['sku']) for row in csv.DictReader(file)}
    assert not taken & {(row['user'], row['item']) for row in rows}
    scores = np.array([float(row['score']) for row in rows]).reshape(40, 5)
    assert (np.diff(scores) <= 0).all()
    assert [int(row['rank']) for row in rows[:5]] == [1, 2, 3, 4, 5]


def test_recommendations_on_the_screen(trained: Path) -> None:
    shown = pyg_mmgef('recommend', trained, '--user', 'u3', '--user', 'u1', '--k', 2)
    assert [line.split()[0] for line in shown.splitlines()[1:]] == ['u3', 'u3', 'u1', 'u1']


def test_similar_items(trained: Path) -> None:
    lines = pyg_mmgef('similar', trained, 'i07', '--k', 3).splitlines()[1:]
    assert len(lines) == 3
    assert all(line.split()[1] != 'i07' for line in lines)


def test_one_modality_and_other_losses(dataset: Path, tmp_path: Path) -> None:
    for number, options in enumerate(
        (['--modality', 'text'], ['--loss', 'softmax', '--model', 'lightgcn'], ['--loss', 'au'])
    ):
        pyg_mmgef('train', dataset, '-o', tmp_path / str(number), '--epochs', 1, '--k', 5, *options)
    config = json.loads((tmp_path / '0' / 'config.json').read_text())
    assert config['settings']['modalities'] == ['text']


def test_mistakes_are_one_line(
    catalogue: Path, dataset: Path, trained: Path, tmp_path: Path
) -> None:
    orders = catalogue / 'orders.csv'
    for arguments, message in (
        (('prepare', tmp_path / 'none.csv', '-o', tmp_path / 'x'), 'none.csv'),
        (('prepare', orders, '-o', tmp_path / 'x'), "'user_id'"),
        (('train', tmp_path, '-o', tmp_path / 'x'), 'pyg-mmgef prepare'),
        (('train', dataset, '-o', trained, '--epochs', 4, '--k', 6), 'k 5, now 6'),
        (('train', dataset, '-o', tmp_path / 'x', '--modality', 'sound'), "'sound'"),
        (('train', dataset, '-o', tmp_path / 'x', '--device', 'abacus'), "'abacus'"),
        (('prepare', orders, '-o', tmp_path / 'x', '--device', 'cuda:99'), "'cuda:99'"),
        (('evaluate', tmp_path), 'pyg-mmgef train'),
        (('recommend', trained), '--output'),
        (('recommend', trained, '--user', 'nobody'), "'nobody'"),
        (('recommend', trained, '-o', 'best.txt'), "'best.txt'"),
        (('similar', trained, 'nothing'), "'nothing'"),
    ):
        error = pyg_mmgef(*arguments, fails=1)
        assert error.startswith('Error: ')
        assert message in error
        assert len(error.splitlines()) <= 2
    assert not (tmp_path / 'x').exists()
    assert 'Missing option' in pyg_mmgef('train', dataset, fails=2)


def test_a_changed_dataset_is_noticed(dataset: Path, copied: Path) -> None:
    config = json.loads((copied / 'config.json').read_text())
    config['dataset']['fingerprint'] = 'another'
    (copied / 'config.json').write_text(json.dumps(config))
    assert 'has changed' in pyg_mmgef('evaluate', copied, fails=1)


def restore_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize('how', [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_run_goes_on(dataset: Path, tmp_path: Path, how: signal.Signals) -> None:
    arguments = ('train', dataset, '--k', 5, '--epochs', 40, '--patience', 40)
    whole, stopped = tmp_path / 'whole', tmp_path / 'stopped'
    pyg_mmgef(*arguments, '-o', whole)
    process = subprocess.Popen(
        command(*arguments, '-o', stopped),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # A shell lets what it runs in the background ignore Ctrl-C, and that is inherited.
        preexec_fn=restore_ctrl_c,
    )
    last = stopped / 'checkpoints' / 'last.ckpt'
    deadline = time.monotonic() + 120
    while not last.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(how)
    _, error = process.communicate(timeout=120)
    assert last.exists()
    assert not (stopped / 'metrics.json').exists(), 'it was over before it could be stopped'
    if how is signal.SIGINT:
        assert process.returncode == 130
        assert 'Give the same command again' in error
        assert 'Traceback' not in error
    assert 'not finished' in pyg_mmgef('info', stopped)
    pyg_mmgef(*arguments, '-o', stopped)
    assert (stopped / 'metrics.json').read_bytes() == (whole / 'metrics.json').read_bytes()


def test_help() -> None:
    shown = pyg_mmgef('--help')
    for name in ('prepare', 'train', 'evaluate', 'recommend', 'similar', 'info', 'report'):
        assert name in shown
        assert 'Usage' in pyg_mmgef(name, '--help')
    assert 'pyg-mmgef' in pyg_mmgef('--version')
