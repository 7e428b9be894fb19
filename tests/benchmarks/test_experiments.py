"""The experiments from the command line: runs are kept, and tables hold what the runs say."""

import io
import json
import runpy
import shutil
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest

PROGRAM = Path(__file__).parents[2] / 'benchmarks' / 'experiments'


class Outcome(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def call(folder: Path, *args: str) -> Outcome:
    """Run the program as the command does, in this process: starting one would take seconds."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(folder)
        patch.setattr(sys, 'argv', [str(PROGRAM), '--threads', '1', *args])
        patch.setattr(sys, 'path', list(sys.path))
        patch.setenv('MPLBACKEND', 'Agg')
        try:
            runpy.run_path(str(PROGRAM), run_name='__main__')
        except SystemExit as stop:  # A message, or a code.
            code = 1 if isinstance(stop.code, str) else int(stop.code or 0)
            err.write(str(stop.code))
    return Outcome(code, out.getvalue(), err.getvalue())


def experiments(folder: Path, *args: str) -> str:
    out = call(folder, *args)
    assert out.returncode == 0, out.stderr
    return out.stdout


def refused(folder: Path, *args: str) -> str:
    out = call(folder, *args)
    assert out.returncode != 0, out.stdout
    return out.stderr


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('experiments')
    run = ('run', '--untuned', '--epochs', '1', '--seeds', '0', '1', '--models')
    experiments(folder, *run, 'ItemKNN', 'LightGCN', 'MM-GEF')
    experiments(folder, *run, 'MM-GEF', '--variants', 'average', 'k-5')
    experiments(
        folder, *run, 'LightGCN', 'MM-GEF', '--conditions', 'cold', 'only:image', 'fewer:0.5'
    )
    return folder / 'results' / 'experiments' / 'shop'


def result(path: Path) -> dict[str, dict[str, float]]:
    return json.loads(path.read_text())['metrics']


def test_runs_differ_where_they_should(folder: Path) -> None:
    warm = [result(folder / 'warm' / 'LightGCN' / 'plain' / f'seed{n}.json') for n in (0, 1)]
    assert warm[0] != warm[1]
    variants = [
        result(folder / 'warm' / 'MM-GEF' / name / 'seed0.json')['warm']['ndcg@20']
        for name in ('plain', 'average', 'k-5')
    ]
    assert len(set(variants)) == 3
    cold = result(folder / 'cold' / 'MM-GEF' / 'plain' / 'seed0.json')
    assert set(cold) == {'warm', 'cold among cold', 'cold among all'}
    by_chance = result(folder / 'cold' / 'LightGCN' / 'plain' / 'seed0.json')
    # LightGCN ranks cold items by chance.
    assert cold['cold among cold']['recall@20'] > by_chance['cold among cold']['recall@20'] + 0.05


def test_what_the_data_cannot_have_is_told(folder: Path) -> None:
    run = ('run', '--untuned', '--epochs', '1', '--models', 'MM-GEF', '--seeds', '0')
    out = experiments(folder.parents[2], *run, '--variants', 'fusion-mean')
    assert 'fusion-mean: n/a, its modalities have different widths' in out


def test_a_run_is_not_repeated(folder: Path) -> None:
    path = folder / 'warm' / 'LightGCN' / 'plain' / 'seed0.json'
    before = path.stat().st_mtime_ns
    run = ('run', '--untuned', '--epochs', '1', '--models', 'LightGCN', '--seeds', '0')
    assert 'LightGCN' in experiments(folder.parents[2], *run)
    assert path.stat().st_mtime_ns == before


def test_a_run_that_stopped_by_itself_serves_another_limit(folder: Path) -> None:
    path = folder / 'warm' / 'ItemKNN' / 'plain' / 'seed0.json'
    text = path.read_text()
    run = ('run', '--untuned', '--models', 'ItemKNN', '--seeds', '0', '--epochs')
    path.write_text(text.replace('"epochs": 1,', '"epochs": 40,'))
    experiments(folder.parents[2], *run, '50')
    assert json.loads(path.read_text())['epochs'] == 50
    assert result(path) == json.loads(text)['metrics']
    # With the best epoch 30 epochs before the limit, it stopped there, and no sooner.
    path.write_text(
        text.replace('"epochs": 1,', '"epochs": 40,').replace('"epoch": 0', '"epoch": 11')
    )
    assert 'was run with epochs 40' in refused(folder.parents[2], *run, '50')
    path.write_text(text)


def test_tables_hold_what_the_runs_say(folder: Path) -> None:
    pytest.importorskip('matplotlib')
    experiments(folder.parents[2], 'tables')
    docs = folder.parents[2] / 'results'
    page = (docs / 'shop.rst').read_text()
    runs = [result(folder / 'warm' / 'MM-GEF' / 'plain' / f'seed{n}.json')['warm'] for n in (0, 1)]
    mean = sum(run['recall@20'] for run in runs) / 2
    assert f'{mean:.4f}'.lstrip('0') in page
    assert page.index('ranks best') < page.index('list-table')  # The answer comes first.
    titles = (
        'All items',
        'cold among cold',
        'Only some of',
        'interactions removed',
        'Ablations of',
    )
    assert all(title in page for title in titles)
    fewer = [
        result(folder / 'fewer_0.5' / 'MM-GEF' / 'plain' / f'seed{n}.json')['warm'] for n in (0, 1)
    ]
    assert f'{sum(run["ndcg@20"] for run in fewer) / 2:.4f}'.lstrip('0') in page
    assert (docs / 'shop_fewer.png').exists()
    claims = (docs / 'claims.rst').read_text()
    assert 'Soft attention beats the average' in claims
    assert 'Early fusion beats late' not in claims  # Nobody ran that variant.


def test_tables_are_not_made_of_what_they_should_not(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip('matplotlib')
    assert 'there are no runs in' in refused(tmp_path, 'tables')
    (tmp_path / 'index.rst').write_text('Written by hand')
    tables = ('tables', '--docs', str(tmp_path))
    assert 'is no page of results' in refused(folder.parents[2], *tables)
    path = folder / 'warm' / 'LightGCN' / 'plain' / 'seed0.json'
    text = path.read_text()
    run = json.loads(text)
    path.write_text(json.dumps({**run, 'options': {**run['options'], 'shape': 1}}))
    assert 'with shape, which LightGCN no longer takes' in refused(folder.parents[2], *tables)
    path.write_text(text)


def test_a_search_goes_on_and_its_choice_is_used(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip('optuna')
    search = ('search', '--epochs', '1', '--models', 'LightGCN', '--trials')
    assert experiments(tmp_path, *search, '2').count('at epoch') == 2
    assert experiments(tmp_path, *search, '3').count('at epoch') == 1
    experiments(tmp_path, 'run', '--epochs', '1', '--models', 'LightGCN', '--seeds', '0')
    shop = tmp_path / 'results' / 'experiments' / 'shop'
    found = json.loads((shop / 'warm' / 'search' / 'LightGCN.json').read_text())
    run = json.loads((shop / 'warm' / 'LightGCN' / 'plain' / 'seed0.json').read_text())
    assert found['trials'] == 3
    assert run['options'] == {'l2': 0.0, **found['chosen']}  # Its penalty is on layer 0 alone.
    assert run['val_recall@20'] == found['val_recall@20']


def test_a_search_of_other_options_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / 'results' / 'experiments' / 'shop' / 'warm' / 'search' / 'LightGCN.json'
    path.parent.mkdir(parents=True)
    old = {'chosen': {'lr': 0.001, 'l2': 0.01, 'num_layers': 3}, 'trials': 5, 'epochs': 1}
    path.write_text(json.dumps(old))
    run = ('run', '--epochs', '1', '--models', 'LightGCN', '--seeds', '0')
    assert 'chose lr, l2, num_layers, now lr, embedding_l2' in refused(tmp_path, *run)


def test_a_search_tries_nothing_twice(tmp_path: Path) -> None:
    pytest.importorskip('optuna')
    search = ('search', '--epochs', '1', '--models', 'MF', '--trials', '20')
    lines = [line for line in experiments(tmp_path, *search).splitlines() if 'at epoch' in line]
    assert "{'lr': 0.001, 'l2': 0.0001}" in lines[0]  # The usual settings.
    assert "{'lr': 0.005, 'l2': 0.0001}" in lines[1]
    assert len({line.partition(': ')[2] for line in lines}) == len(lines) == 12  # The whole grid.


def test_a_search_with_another_limit_repeats_what_was_cut(tmp_path: Path) -> None:
    pytest.importorskip('optuna')
    search = ('search', '--models', 'MF', '--trials', '1', '--epochs')
    experiments(tmp_path, *search, '1')
    assert experiments(tmp_path, *search, '2').count('at epoch') == 1
    assert experiments(tmp_path, *search, '2').count('at epoch') == 0
    path = tmp_path / 'results' / 'experiments' / 'shop' / 'warm' / 'search' / 'MF.json'
    assert (json.loads(path.read_text())['epochs'], json.loads(path.read_text())['trials']) == (
        2,
        1,
    )


def test_the_published_pages_are_what_the_kept_runs_say(tmp_path: Path) -> None:
    pytest.importorskip('matplotlib')
    published = PROGRAM.parents[1] / 'docs' / 'results'
    names = [path.name for path in published.glob('*.*') if path.suffix in ('.rst', '.md')]
    for name in names:
        shutil.copy(published / name, tmp_path)
    experiments(tmp_path, '--root', str(published / 'runs'), 'tables', '--docs', str(tmp_path))
    for name in names:
        assert (tmp_path / name).read_text() == (published / name).read_text(), name
