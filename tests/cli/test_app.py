import csv
import io
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import torch

from pyg_mmgef import __version__
from pyg_mmgef import cli as pyg_mmgef_cli
from pyg_mmgef.cli.app import _show_warning, main
from pyg_mmgef.graph import knn_graph
from pyg_mmgef.runs.dataset_folder import DatasetFolder
from tests.cli.command import COLUMNS, command, environment, printed, pyg_mmgef


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
    assert about['report']['pictures that cannot be read'] == 1
    assert about['report']['items without a picture'] == 0
    assert pyg_mmgef('info', dataset).count('not a picture') == 1
    items = DatasetFolder(dataset).items()
    assert items[3]['fields'] == {'title': items[3]['text']}


def test_prepare_again_changes_nothing(catalogue: Path, dataset: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(dataset, tmp_path / 'shop'))
    before = {path: path.read_bytes() for path in folder.rglob('*.np[yz]')}
    assert before
    pyg_mmgef('prepare', catalogue / 'orders.csv', '-o', folder, *COLUMNS, cwd=catalogue)
    assert {path: path.read_bytes() for path in folder.rglob('*.np[yz]')} == before
    assert (folder / 'dataset.json').read_bytes() == (dataset / 'dataset.json').read_bytes()


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
    pyg_mmgef(
        'train',
        dataset,
        '-o',
        tmp_path / 'again',
        '--model',
        'mmgef',
        '--epochs',
        4,
        '--neighbors',
        5,
    )
    assert (tmp_path / 'again' / 'metrics.json').read_bytes() == (
        trained / 'metrics.json'
    ).read_bytes()


def test_evaluate_repeats_the_metrics(trained: Path) -> None:
    metrics = json.loads((trained / 'metrics.json').read_text())
    for part in ('val', 'test'):
        shown = pyg_mmgef('evaluate', trained, '--split', part, '--cutoff', 10)
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
    assert list(rows[0]) == ['user', 'rank', 'item', 'score', 'title']
    with open(catalogue / 'orders.csv') as file:
        taken = {(row['customer'], row['sku']) for row in csv.DictReader(file)}
    assert not taken & {(row['user'], row['item']) for row in rows}
    scores = np.array([float(row['score']) for row in rows]).reshape(40, 5)
    assert (np.diff(scores) <= 0).all()
    assert [int(row['rank']) for row in rows[:5]] == [1, 2, 3, 4, 5]


def test_export(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / 'export'
    words = ('export', trained, '-o', folder, '--program', 'pt2')
    assert 'README.md says how to read it' in pyg_mmgef(*words)
    about = json.loads((folder / 'export.json').read_text())
    files = folder / about['folder']
    z_item = np.load(files / 'item_vectors.npy')
    assert (about['num_users'], about['num_items']) == (40, len(z_item))
    items = pyarrow.parquet.read_table(files / 'items.parquet')
    user = pyarrow.parquet.read_table(files / 'users.parquet')['id'].to_pylist().index('u3')
    indptr, indices = (np.load(files / f'seen_{name}.npy') for name in ('indptr', 'indices'))
    scores = z_item @ np.load(files / 'user_vectors.npy')[user]
    scores[indices[indptr[user] : indptr[user + 1]]] = -np.inf
    best = items.take(np.argsort(-scores)[:2])['id'].to_pylist()
    shown = pyg_mmgef('recommend', trained, '--user', 'u3', '--k', 2)
    assert [line.split()[2] for line in shown.splitlines()[1:]] == best
    assert (files / 'content.pt2').is_file()
    assert about['pictures']['count'] == len([*(files / 'pictures').glob('*.jpg')]) > 0
    assert '--output names' in pyg_mmgef('export', trained, '-o', trained, fails=1)
    words = ('export', trained, '-o', folder, '--program', 'tflite')
    assert '--program must be among' in pyg_mmgef(*words, fails=1)


def test_recommendations_on_the_screen(trained: Path) -> None:
    shown = pyg_mmgef('recommend', trained, '--user', 'u3', '--user', 'u1', '--k', 2)
    assert [line.split()[0] for line in shown.splitlines()[1:]] == ['u3', 'u3', 'u1', 'u1']


def test_recommendations_by_rules(trained: Path) -> None:
    def items(*rules: object) -> list[str]:
        shown = pyg_mmgef('recommend', trained, '--user', 'u3', '--k', 4, *rules)
        return [line.split()[2] for line in shown.splitlines()[1:]]

    first, second, third, _ = items()
    assert items('--exclude', first)[:2] == [second, third]
    assert items('--pin', third, '--exclude', second)[:2] == [third, first]
    assert items('--only', third, '--only', first) == [first, third]
    assert items('--diversity', 0.5)[0] == first
    words = ('recommend', trained, '--user', 'u3', '--where', 'titel=oak')
    error = pyg_mmgef(*words, fails=1)
    assert (
        "--where names the field 'titel', which the catalog lacks (did you mean 'title'?)" in error
    )


def test_similar_items(trained: Path) -> None:
    lines = pyg_mmgef('similar', trained, 'i07', '--k', 3).splitlines()[1:]
    assert len(lines) == 3
    assert all(line.split()[1] != 'i07' for line in lines)


def test_one_modality_and_other_losses(dataset: Path, tmp_path: Path) -> None:
    for number, options in enumerate(
        (['--modality', 'text'], ['--loss', 'softmax', '--model', 'lightgcn'], ['--loss', 'au'])
    ):
        pyg_mmgef(
            'train',
            dataset,
            '-o',
            tmp_path / str(number),
            '--model',
            'mmgef',
            '--epochs',
            1,
            *options,
        )
    config = json.loads((tmp_path / '0' / 'config.json').read_text())
    assert config['settings']['modalities'] == ['text']


def test_mistakes_are_one_line(
    catalogue: Path, dataset: Path, trained: Path, tmp_path: Path
) -> None:
    orders = catalogue / 'orders.csv'
    for arguments, message in (
        (('prepare', tmp_path / 'none.csv', '-o', tmp_path / 'x'), 'none.csv'),
        (('prepare', orders, '-o', tmp_path / 'x', '--user', 'costumer'), "'customer'"),
        (('train', tmp_path, '-o', tmp_path / 'x'), 'pyg-mmgef prepare'),
        (
            ('train', dataset, '-o', trained, '--model', 'mmgef', '--epochs', 4, '--neighbors', 6),
            'neighbors 5, now 6',
        ),
        (('train', dataset, '-o', tmp_path / 'x', '--modality', 'sound'), "'sound'"),
        (('train', dataset, '-o', tmp_path / 'x', '--device', 'abacus'), '--device abacus'),
        (('train', dataset, '-o', tmp_path / 'x', '--device', 'mps'), '--device mps'),
        (('train', dataset, '-o', tmp_path / 'x', '--device', 'meta'), '--device meta'),
        (('prepare', orders, '-o', tmp_path / 'x', '--device', 'cuda:99'), '--device cuda:99'),
        (('evaluate', tmp_path), 'pyg-mmgef train'),
        (('recommend', trained), '--output'),
        (('recommend', trained, '--user', 'nobody'), "'nobody'"),
        (('recommend', trained, '-o', 'best.txt'), "'best.txt'"),
        (('similar', trained, 'nothing'), "'nothing'"),
    ):
        error = pyg_mmgef(*arguments, fails=1)
        assert error.startswith('Error: ')
        assert message in error
        assert error.count('\n') == 1
    assert not (tmp_path / 'x').exists()


@pytest.mark.parametrize(
    ('arguments', 'message', 'of'),
    [
        (('trian',), "'train'?", ''),
        (('--pages',), '--pages.', ''),
        (('train', 'ds'), '--output', ' train'),
        (('train', 'ds', '-o', 'x', '--epochs', 'two'), '--epochs', ' train'),
        (('info', 'ds', 'more'), 'more', ' info'),
    ],
)
def test_wrong_options_are_one_line(arguments: tuple[str, ...], message: str, of: str) -> None:
    error = pyg_mmgef(*arguments, fails=2)
    assert error.startswith('Error: ')
    assert message in error
    assert error.endswith(f'{of} --help".\n')
    assert error.count('\n') == 1


def test_without_arguments_it_shows_the_help() -> None:
    code, out, err = printed()
    assert (code, err) == (2, '')
    assert 'Usage' in out


def test_a_warning_of_several_lines_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    _show_warning(UserWarning('first\n  second'))
    assert capsys.readouterr().err == 'Warning: first second\n'


def test_characters_that_the_terminal_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, 'stderr', io.TextIOWrapper(written, encoding='ascii'))
    with pytest.raises(SystemExit):
        main(['info', '漢'])
    sys.stderr.flush()
    assert b"Error: '\\u6f22' doesn't exist" in written.getvalue()


def test_no_bars_in_a_pipe(dataset: Path, tmp_path: Path) -> None:
    options = ('--model', 'lightgcn', '--epochs', 3)
    _, out, err = printed('train', dataset, '-o', tmp_path / 'run', *options)
    assert err == ''
    assert '\r' not in out
    assert 'it/s' not in out
    epochs = [line for line in out.splitlines() if line.startswith('epoch')]
    assert [line.split()[1] for line in epochs] == ['1/3', '2/3', '3/3']
    assert all('  best ' in line and 's/epoch' in line for line in epochs)
    assert 'Tip' not in out
    assert out.endswith(f'wrote {tmp_path / "run"}; next: pyg-mmgef report {tmp_path / "run"}\n')
    assert 'nothing is trained again' not in out
    again = pyg_mmgef('train', dataset, '-o', tmp_path / 'run', *options)
    assert 'holds this run already, finished; nothing is trained again' in again
    assert 'epoch 1/3' not in again


def test_the_default_shows_its_trials(dataset: Path, tmp_path: Path) -> None:
    _, out, err = printed('train', dataset, '-o', tmp_path / 'run')
    assert err == ''
    assert len(re.findall(r'trial \d of 9, l2=.*: recall@20 \d\.\d{4}\n', out)) == 9
    settings = json.loads((tmp_path / 'run' / 'config.json').read_text())['settings']
    assert f'solved in closed form: l2 {settings["l2"]:.4g}, unobserved_weight' in out


def test_close_names_of_folders(dataset: Path, trained: Path) -> None:
    """Without importing torch, which takes seconds."""
    for words in (
        ('train', dataset, '-o', 'x'),
        ('info', trained),
        ('recommend', trained),
        ('explain', trained, 'u1', 'i00'),
        ('refit', trained, '-o', 'x'),
    ):
        path = Path(words[1])
        wrong = path.with_name(f'{path.name}s')
        code = (
            'import sys; from pyg_mmgef.cli.app import main\n'
            'try: main()\n'
            "finally: print('torch' in sys.modules)"
        )
        failed = subprocess.run(
            [sys.executable, '-c', code, words[0], wrong, *words[2:]],
            env=environment(),
            capture_output=True,
            text=True,
        )
        assert failed.returncode == 1
        assert failed.stderr == f"Error: '{wrong}' doesn't exist; did you mean '{path}'?\n"
        assert failed.stdout == 'False\n'


def test_recommendations_for_spreadsheets(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / 'best.csv'
    words = ('recommend', trained, '--user', 'u3', '--for-spreadsheets')
    pyg_mmgef(*words, '-o', path)
    assert path.read_text().count('\n') == 11
    for other in ((), ('-o', tmp_path / 'best.parquet')):
        assert '--for-spreadsheets is for .csv files' in pyg_mmgef(*words, *other, fails=1)


def test_a_full_disk_is_one_line(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / 'best.csv'
    resource = pytest.importorskip('resource')
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        error = pyg_mmgef('recommend', trained, '-o', path, fails=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert error.count('\n') == 1
    assert repr(str(path)) in error


def restore_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize('how', [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_run_goes_on(dataset: Path, tmp_path: Path, how: signal.Signals) -> None:
    arguments = (
        'train',
        dataset,
        '--model',
        'mmgef',
        '--neighbors',
        5,
        '--epochs',
        40,
        '--patience',
        40,
    )
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
    assert 'GPU available' not in error, 'Lightning prints what is for developers'
    if how is signal.SIGINT:
        assert process.returncode == 130
        assert 'Give the same command again' in error
        assert 'Traceback' not in error
    assert 'not finished' in pyg_mmgef('info', stopped)
    shown = pyg_mmgef(*arguments, '-o', stopped)
    assert re.search(rf'continuing after epoch \d+ of {stopped}\n', shown)
    assert (stopped / 'metrics.json').read_bytes() == (whole / 'metrics.json').read_bytes()


def test_help() -> None:
    shown = pyg_mmgef('--help')
    for name in (
        'prepare',
        'train',
        'evaluate',
        'recommend',
        'similar',
        'export',
        'info',
        'models',
        'report',
    ):
        assert name in shown
        assert 'Usage' in pyg_mmgef(name, '--help')
    assert 'pyg-mmgef' in pyg_mmgef('--version')


def test_info_without_a_folder() -> None:
    shown = pyg_mmgef('info')
    for name in ('pyg_mmgef', 'torch', 'threads'):
        assert name in shown


def test_without_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ('typer', 'PIL'):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SystemExit) as end:
        pyg_mmgef_cli.main([])
    assert end.value.code == (
        'Error: the command needs typer, PIL; install what it needs with: '
        'pip install "pyg-mmgef[cli]"'
    )


def test_as_a_module() -> None:
    """``python -m pyg_mmgef``, from another folder, and without its packages."""
    shown = subprocess.run(
        [sys.executable, '-m', 'pyg_mmgef', '--version'],
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.strip() == f'pyg-mmgef {__version__}'
    without = (
        'import sys, runpy\n'
        "sys.modules['typer'] = None\n"
        "runpy.run_module('pyg_mmgef', run_name='__main__')\n"
    )
    failed = subprocess.run(
        [sys.executable, '-c', without], env=environment(), capture_output=True, text=True
    )
    assert failed.returncode == 1
    assert failed.stderr.startswith('Error: the command needs typer; install')
    assert failed.stderr.count('\n') == 1


def write_orders(folder: Path, num_users: int, num_items: int) -> Path:
    rng = np.random.default_rng(0)
    rows = [
        f'u{user},i{item}'
        for user in range(num_users)
        for item in rng.choice(num_items, min(10, num_items), replace=False)
    ]
    folder.mkdir(exist_ok=True)
    (folder / 'orders.csv').write_text('\n'.join(['user_id,item_id', *rows]))
    (folder / 'items.csv').write_text(
        '\n'.join(['item_id,title', *(f'i{item},word{item % 3}' for item in range(num_items))])
    )
    return folder / 'orders.csv'


@pytest.mark.parametrize(('num_items', 'cutoffs'), [(15, [10, 15]), (7, [7])])
def test_a_small_catalogue(tmp_path: Path, num_items: int, cutoffs: list[int]) -> None:
    orders = write_orders(tmp_path, 12, num_items)
    items = ('--items', tmp_path / 'items.csv', '--text', 'title')
    pyg_mmgef('prepare', orders, '-o', tmp_path / 'ds', *items)
    pyg_mmgef('train', tmp_path / 'ds', '-o', tmp_path / 'run', '--model', 'mmgef', '--epochs', 2)
    metrics = json.loads((tmp_path / 'run' / 'metrics.json').read_text())
    assert sorted(int(key.split('@')[1]) for key in metrics if key.startswith('test_recall')) == (
        cutoffs
    )
    assert (tmp_path / 'run' / 'curves.png').is_file()
    assert f'recall@{cutoffs[0]}' in pyg_mmgef('evaluate', tmp_path / 'run')
    pyg_mmgef('report', tmp_path / 'run', '--num-users', 1, '--num-items', 1)
    error = pyg_mmgef('evaluate', tmp_path / 'run', '--cutoff', 16, fails=1)
    assert f'--cutoff must be at most {num_items}' in error
    shown = pyg_mmgef('similar', tmp_path / 'run', 'i1', '--k', 30)
    assert f'{num_items - 1} of 30' in shown
    assert len(shown.splitlines()) == num_items + 1


def test_an_item_without_an_embedding(tmp_path: Path) -> None:
    orders = write_orders(tmp_path, 12, 30)
    with open(tmp_path / 'items.csv', 'a') as file:
        file.write('\nnew,\nother,')
    items = ('--items', tmp_path / 'items.csv', '--text', 'title')
    pyg_mmgef('prepare', orders, '-o', tmp_path / 'ds', *items)
    pyg_mmgef('train', tmp_path / 'ds', '-o', tmp_path / 'run', '--model', 'mmgef', '--epochs', 1)
    error = pyg_mmgef('similar', tmp_path / 'run', 'new', fails=1)
    assert "knows nothing about the item 'new'" in error
    shown = pyg_mmgef('similar', tmp_path / 'run', 'i1', '--k', 40)
    assert 'other' not in shown.replace('no other item has', '')


def test_no_picture_at_all_is_a_mistake(catalogue: Path, tmp_path: Path) -> None:
    (tmp_path / 'none').mkdir()
    (tmp_path / 'img').mkdir()
    shutil.copy(catalogue / 'photos' / '0.png', tmp_path / 'img')
    arguments = ('prepare', catalogue / 'orders.csv', '-o', tmp_path / 'ds', *COLUMNS[:-1])
    error = pyg_mmgef(*arguments, tmp_path / 'none', cwd=catalogue, fails=1)
    assert 'none of 24 items' in error
    assert f"did you mean '{tmp_path / 'img'}'?" in error
    missing = pyg_mmgef(*arguments, tmp_path / 'images', cwd=catalogue, fails=1)
    assert f"did you mean '{tmp_path / 'img'}'?" in missing
    assert not (tmp_path / 'ds').exists()


def test_pictures_below_the_folder_of_the_items(catalogue: Path, tmp_path: Path) -> None:
    arguments = ('prepare', catalogue / 'orders.csv', '-o', tmp_path / 'ds', *COLUMNS[:-2])
    pyg_mmgef(*arguments, cwd=catalogue)
    about = json.loads((tmp_path / 'ds' / 'dataset.json').read_text())
    assert about['modalities']['image']['items'] == 23


def test_several_pictures_of_an_item(catalogue: Path, dataset: Path, tmp_path: Path) -> None:
    with open(catalogue / 'items.csv', newline='') as file:
        header, *rows = csv.reader(file)
    for row in rows:
        row[2] = f'{row[2]}|7.png|{row[2]}|nowhere.png'
    folder = tmp_path / 'several'
    folder.mkdir()
    with open(folder / 'items.csv', 'w', newline='') as file:
        csv.writer(file).writerows([header, *rows])
    (folder / 'photos').symlink_to(catalogue / 'photos')
    orders = ('prepare', catalogue / 'orders.csv', '-o')
    pyg_mmgef(*orders, tmp_path / 'first', *COLUMNS, cwd=folder)
    first = DatasetFolder(tmp_path / 'first')
    assert first.about['report']['pictures that cannot be read'] == 1
    assert first.fingerprint == DatasetFolder(dataset).fingerprint
    shown = pyg_mmgef(*orders, tmp_path / 'mean', *COLUMNS, '--images', 'mean', cwd=folder)
    assert shown.count('not a picture') == 1
    mean = DatasetFolder(tmp_path / 'mean')
    x, averaged = first.data()['item'].x_image, mean.data()['item'].x_image
    assert mean.data()['item'].has_image.all()  # The other picture stands in for a broken one.
    torch.testing.assert_close(averaged[0], (x[0] + x[7]) / 2)
    torch.testing.assert_close(averaged[5], x[7])
    assert mean.about['report']['picture names without a file'] == 24


class _Photos(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """The test reads what the command prints."""


def test_pictures_are_downloaded(catalogue: Path, dataset: Path, tmp_path: Path) -> None:
    served = partial(_Photos, directory=str(catalogue / 'photos'))
    server = ThreadingHTTPServer(('127.0.0.1', 0), served)
    thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.01})
    thread.start()
    _, *rows = (catalogue / 'items.csv').read_text().splitlines()
    address = f'http://127.0.0.1:{server.server_port}/'
    rows = [f'{row.rpartition(",")[0]},{address}{row.rpartition(",")[2]}' for row in rows]
    (tmp_path / 'items.csv').write_text('\n'.join(['sku,title,photo', *rows]))
    shutil.copy(catalogue / 'orders.csv', tmp_path)
    arguments = ('prepare', 'orders.csv', '-o', 'ds', *COLUMNS)
    try:
        pyg_mmgef(*arguments, '--download-images', cwd=tmp_path)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    prepared = DatasetFolder(tmp_path / 'ds')
    assert prepared.about['report']['pictures not downloaded: not a picture'] == 1
    assert len(list((tmp_path / 'photos').glob('*.png'))) == 23
    ours, theirs = prepared.data()['item'], DatasetFolder(dataset).data()['item']
    assert torch.equal(ours.x_image, theirs.x_image)
    assert torch.equal(ours.has_image, theirs.has_image)
    pyg_mmgef(*arguments, cwd=tmp_path)  # What was downloaded stays, without the network.
    assert DatasetFolder(tmp_path / 'ds').fingerprint == prepared.fingerprint


def test_titles_without_blanks_between_words(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    kinds = [
        '连衣裙夏季新款女',
        '玩具汽车儿童礼物',
        '保温杯大容量不锈钢',
        '运动鞋透气轻便',
        '手机壳防摔保护',
    ]
    colours = ['红色', '蓝色', '绿色', '黑色']
    titles = [f'{colours[rng.integers(4)]}{kinds[item % 5]}{item}号' for item in range(60)]
    rows = [f'{item},{title}' for item, title in enumerate(titles)]
    (tmp_path / 'items.csv').write_text('\n'.join(['item_id,title', *rows]), encoding='utf-8')
    orders = [f'{user},{item}' for user in range(20) for item in range(user % 5, 60, 10)]
    (tmp_path / 'orders.csv').write_text('\n'.join(['user_id,item_id', *orders]))
    words = ('--items', tmp_path / 'items.csv', '--text', 'title')
    pyg_mmgef('prepare', tmp_path / 'orders.csv', '-o', tmp_path / 'ds', *words)
    items = DatasetFolder(tmp_path / 'ds').data()['item']
    assert items.has_text.all()
    edge_index, _ = knn_graph(items.x_text, 10)
    same = (edge_index[0] % 5 == edge_index[1] % 5).float().mean()
    assert same > 0.9  # Chance is 0.19.


def test_a_split_by_times_that_are_missing(tmp_path: Path) -> None:
    pyg_mmgef('prepare', write_orders(tmp_path, 12, 30), '-o', tmp_path / 'ds')
    words = ('train', tmp_path / 'ds', '-o', tmp_path / 'run', '--split', 'time')
    assert 'prepare it with --time, or use --split random' in pyg_mmgef(*words, fails=1)
