"""The commands ``evaluate`` and ``compare``."""

from pathlib import Path

import pytest
from pyarrow import csv, parquet

from pyg_mmgef import Run
from pyg_mmgef.ranking.top_lists import ALL_METRICS
from tests.cli.command import pyg_mmgef


@pytest.fixture(scope='module')
def neighbours(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('compared') / 'neighbours'
    pyg_mmgef('train', dataset, '-o', folder, '--model', 'ease')
    return folder


def cells(shown: str, start: str) -> list[str]:
    return next(line.split() for line in shown.splitlines() if line.startswith(start))


def test_all_metrics(trained: Path) -> None:
    options = [word for name in ALL_METRICS for word in ('--metric', name)]
    shown = pyg_mmgef('evaluate', trained, '--cutoff', 5, *options)
    expected = Run.load(trained).top_lists('test', 5).evaluate(ALL_METRICS)
    for name, value in expected.items():
        assert cells(shown, name) == [name, f'{value:.4f}']


def test_by_group(trained: Path) -> None:
    shown = pyg_mmgef('evaluate', trained, '--by', 'popularity', '--metric', 'ndcg')
    run = Run.load(trained)
    groups = run.top_lists('test', 20).grouped(run.groups('popularity'), 'ndcg', (10, 20))
    assert len(groups) > 1
    for name, values in groups.items():
        counts = [str(values['users']), str(values['interactions'])]
        found = cells(shown, f'{name} (')
        assert found[-6:-4] == counts
        assert found[-4:-2] == [f'{values[f"ndcg@{k}"]:.4f}' for k in (10, 20)]


def test_users_in_a_file(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / 'per_user.parquet'
    words = ('--metric', 'recall', '--metric', 'coverage', '--cutoff', 5, '-o', path)
    assert 'rows in' in pyg_mmgef('evaluate', trained, *words)
    table = parquet.read_table(path)
    assert table.column_names == ['user', 'interactions', 'recall@5']
    assert set(table['user'].to_pylist()) <= {f'u{user}' for user in range(40)}
    mean = sum(table['recall@5'].to_pylist()) / len(table)
    assert mean == pytest.approx(Run.load(trained).evaluate('test', (5,))['recall@5'])


def test_compare(trained: Path, neighbours: Path, tmp_path: Path) -> None:
    page, users = tmp_path / 'page.html', tmp_path / 'users.csv'
    words = ('--cutoff', 5, '-o', page, '--per-user', users)
    shown = pyg_mmgef('compare', trained, neighbours, *words)
    runs = [Run.load(path) for path in (trained, neighbours)]
    expected = [f'{run.evaluate("test", (5,))["recall@5"]:.4f}' for run in runs]
    assert cells(shown, 'recall@5')[1:3] == expected
    assert shown.splitlines()[0].split() == ['first', 'neighbours', 'Popularity', 'ItemKNN']
    assert 'Differences to first, paired t-tests' in shown
    assert '<bdi>neighbours</bdi>' in page.read_text()
    assert {'user', 'first recall@5', 'ItemKNN ndcg@5'} < {*csv.read_csv(users).column_names}


def test_baseline_is_a_folder_or_a_model(trained: Path, neighbours: Path) -> None:
    for baseline, name in ((neighbours, 'neighbours'), ('ItemKNN', 'ItemKNN')):
        shown = pyg_mmgef('compare', trained, neighbours, '--baseline', baseline)
        assert f'Differences to {name}, paired' in shown


def test_mistakes(trained: Path, neighbours: Path, dataset: Path, tmp_path: Path) -> None:
    other = tmp_path / 'other'
    pyg_mmgef('train', dataset, '-o', other, '--model', 'itemknn', '--split', 'random')
    for arguments, message in (
        (('evaluate', trained, '--metric', 'auc'), "--metric must be one of 'recall'"),
        (('evaluate', trained, '--by', 'age'), "--by must be one of 'activity', 'popularity'"),
        (('evaluate', trained, '-o', 'users.txt'), '--output must end in .parquet'),
        (('evaluate', trained, '-o', 'u.csv', '--metric', 'gini'), 'gini has no value for each'),
        (('compare', trained, neighbours, '--cutoff', 25), '--cutoff must be at most 24'),
        (('compare', trained, neighbours, '--baseline', 'x'), "--baseline must be one of 'first'"),
        (('compare', trained, '--category', 'age'), '--category must be one of'),
        (('compare', trained, '--per-user', 'users.txt'), '--per-user must end in .parquet'),
        (('compare', trained, other), "'first' and 'other' have different train interactions"),
        (('compare', trained, dataset), 'is not a run'),
    ):
        assert message in pyg_mmgef(*arguments, fails=1)


def test_by_a_column_of_the_items(catalogue: Path, tmp_path: Path) -> None:
    head, *rows = (catalogue / 'items.csv').read_text().splitlines()
    kinds = [f'{row},{["wood", "silk", "steel"][place % 3]}' for place, row in enumerate(rows)]
    (tmp_path / 'items.csv').write_text('\n'.join([f'{head},kind', *kinds]))
    columns = ('--items', 'items.csv', '--user', 'customer', '--item', 'sku', '--text', 'title')
    orders = catalogue / 'orders.csv'
    pyg_mmgef('prepare', orders, '-o', 'shop', *columns, '--field', 'kind', cwd=tmp_path)
    run = tmp_path / 'run'
    pyg_mmgef('train', tmp_path / 'shop', '-o', run, '--model', 'ease')
    shown = pyg_mmgef('evaluate', run, '--by', 'kind', '--metric', 'recall', '--cutoff', 5)
    groups = Run.load(run).top_lists('test', 5).grouped(Run.load(run).groups('kind'), 'recall')
    assert set(groups) == {'wood', 'silk', 'steel'}
    for name, values in groups.items():
        assert cells(shown, name)[3] == f'{values["recall@5"]:.4f}'
    page = tmp_path / 'page.html'
    pyg_mmgef('compare', run, '--category', 'kind', '-o', page)
    assert 'By kind of the held-out item' in page.read_text()
