import json
import re
from pathlib import Path

import pytest

from pyg_mmgef._spelling import as_option
from pyg_mmgef.nn import recommenders
from pyg_mmgef.runs.models import listed_options, models
from tests.cli.command import pyg_mmgef
from tests.report.page import Page

NOT_TRAINED = {name for name, model in models().items() if not model.is_trained}
WITHOUT_EMBEDDINGS = {'itemknn', 'popularity'}


def test_all_models_are_offered() -> None:
    assert list(models().values()) == list(recommenders().values())
    shown = pyg_mmgef('models')
    assert all(f'{name} ' in shown for name in models())


@pytest.mark.parametrize('name', sorted(models()))
def test_every_model_from_train_to_report(dataset: Path, tmp_path: Path, name: str) -> None:
    run = tmp_path / name
    epochs = () if name in NOT_TRAINED else ('--epochs', 2)
    shown = pyg_mmgef('train', dataset, '-o', run, '--model', name, *epochs)
    metrics = json.loads((run / 'metrics.json').read_text())
    assert metrics['epochs'] == (0 if name in NOT_TRAINED else 2)
    assert ('solved in closed form' in shown) == (name in NOT_TRAINED)
    best = f'best epoch {metrics["best_epoch"] + 1} of 2'
    assert (best in shown) == (name not in NOT_TRAINED)
    assert 'EASE, test' in shown
    assert set(metrics['baselines']) == {'Popularity', 'ItemKNN', 'EASE'}
    assert f'{metrics["test_recall@20"]:.4f}' in pyg_mmgef('evaluate', run)
    assert len(pyg_mmgef('recommend', run, '--user', 'u3', '--k', 2).splitlines()) == 3
    if name in WITHOUT_EMBEDDINGS:
        assert 'learns no embeddings' in pyg_mmgef('similar', run, 'i01', fails=1)
    else:
        assert len(pyg_mmgef('similar', run, 'i01', '--k', 2).splitlines()) == 3
    pyg_mmgef('report', run, '--num-users', 1, '--num-items', 1)
    text = (run / 'report.html').read_text()
    assert ('<polyline class="curve"' in text) == (name not in NOT_TRAINED)
    assert ('<h4 class="by-model">By the model</h4>' in text) == (name not in WITHOUT_EMBEDDINGS)
    assert '<svg class="map"' in text
    Page(text).check_needs_nothing_else()


def test_the_default(dataset: Path, tmp_path: Path) -> None:
    pyg_mmgef('train', dataset, '-o', tmp_path / 'default')
    pyg_mmgef('train', dataset, '-o', tmp_path / 'model', '--model', 'contentials')
    pyg_mmgef('train', dataset, '-o', tmp_path / 'preset', '--preset', 'best')
    pyg_mmgef('train', dataset, '-o', tmp_path / 'plain', '--budget', 0)
    results = [
        json.loads((tmp_path / name / 'metrics.json').read_text())
        for name in ('default', 'model', 'preset', 'plain')
    ]
    assert results[0] == results[1]
    assert results[2] == results[3]
    assert results[0]['val_recall@20'] >= 0.97 * results[2]['val_recall@20']
    pyg_mmgef('report', tmp_path / 'default')
    text = (tmp_path / 'default' / 'report.html').read_text()
    assert 'Because you chose</p>' in text
    assert 'co_interacts' in text
    assert '<h1>20 recommendations find ' in text
    assert '<th scope="row">EASE<' in text
    assert 'your taste in general' not in text
    assert 'None' not in text.replace('>None</th>', '')  # A row of people who find none.
    options = ('--l2', 0.2, '--unobserved-weight', 0.3, '--content-weight', 0.1)
    pyg_mmgef('train', dataset, '-o', tmp_path / 'own', *options, '--embedding-dim', 8)
    settings = json.loads((tmp_path / 'own' / 'config.json').read_text())['settings']
    assert (settings['l2'], settings['embedding_dim'], settings['epochs']) == (0.2, 8, None)
    assert json.loads((tmp_path / 'own' / 'metrics.json').read_text()) != results[0]


def test_tuning(dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / 'run'
    words = ('train', dataset, '-o', run, '--embedding-dim', 8, '--budget')
    assert re.search(r'tried 9 of 9 values on validation: l2=.* is best', pyg_mmgef(*words, 100))
    config = (run / 'config.json').read_text()
    settings = json.loads(config)['settings']
    assert settings['l2'] in (0.02, 0.03, 0.05)
    assert settings['embedding_dim'] == 8
    pyg_mmgef(*words, 100)  # The same run.
    assert (run / 'config.json').read_text() == config
    assert 'budget 100.0, now 50.0' in pyg_mmgef(*words, 50, fails=1)
    other = ('train', dataset, '-o', tmp_path / 'x', '--budget', 5)
    assert "--budget is an option of the model 'contentials'" in pyg_mmgef(
        *other, '--model', 'ials', fails=1
    )
    assert '--budget is an option' in pyg_mmgef(*other, '--preset', 'best', fails=1)
    assert '--l2 is chosen within --budget' in pyg_mmgef(*other, '--l2', 0.1, fails=1)


@pytest.mark.parametrize('name', ['freedom', 'mgcn'])
def test_models_of_modality_graphs_get_them(dataset: Path, tmp_path: Path, name: str) -> None:
    options = ('--epochs', 1, '--model', name, '--neighbors', 3)
    pyg_mmgef('train', dataset, '-o', tmp_path / 'run', *options)
    pyg_mmgef('report', tmp_path / 'run')
    text = (tmp_path / 'run' / 'report.html').read_text()
    assert 'similar_image' in text
    assert 'similar_text' in text
    assert 'neighbours per product</td><td class="number">3.0' in text


def test_the_preset(dataset: Path, tmp_path: Path) -> None:
    pyg_mmgef('train', dataset, '-o', tmp_path, '--epochs', 2, '--preset', 'merged')
    settings = json.loads((tmp_path / 'config.json').read_text())['settings']
    assert (settings['lr'], settings['l2']) == (1e-3, 1e-3)
    pyg_mmgef('report', tmp_path)
    text = (tmp_path / 'report.html').read_text()
    assert 'merged' in text
    assert 'Because you chose</p>' in text


def test_options_of_other_models_are_refused(dataset: Path, tmp_path: Path) -> None:
    for options, message in (
        (('--model', 'lightgcn', '--attention', 'edge'), '--attention is not an option'),
        (('--model', 'itemknn', '--epochs', 3), '--epochs is not an option'),
        (('--epochs', 3), "--epochs is not an option of the model 'contentials'"),
        (('--model', 'ease', '--loss', 'bpr'), '--loss is not an option'),
        (('--uniform-users',), '--uniform-users is not an option'),
        (('--model', 'lightgcn', '--neighbors', 5), '--neighbors is not an option'),
        (('--model', 'mmgef', '--embedding-l2', 0.1), '--embedding-l2 is not an option'),
        (('--model', 'popularity', '--embedding-dim', 8), '--embedding-dim is not an option'),
        (('--model', 'perceptron'), "'perceptron'"),
        (('--preset', 'merged', '--attention', 'edge'), '--attention is set by --preset merged'),
        (('--preset', 'merged', '--lr', 0.1), '--lr is set by --preset merged'),
        (('--preset', 'worst'), "'merged'"),
        (('--preset', 'best', '--epochs', 2), '--epochs is set by --preset best'),
        (('--model', 'mmgef', '--gamma', 2), '--gamma is an option of --loss au'),
        (('--model', 'mmgef', '--loss', 'au', '--l2', 0.1), '--l2 is an option of --loss bpr'),
    ):
        error = pyg_mmgef('train', dataset, '-o', tmp_path / 'x', *options, fails=1)
        assert message in error
        assert error.count('\n') == 1
    assert not (tmp_path / 'x').exists()


def test_embedding_l2_and_uniform_users_change_the_result(dataset: Path, tmp_path: Path) -> None:
    results = []
    for number, options in enumerate(((), ('--embedding-l2', 0.5), ('--uniform-users',))):
        common = ('--epochs', 3, '--model', 'lightgcn', '--batch-size', 32)
        pyg_mmgef('train', dataset, '-o', tmp_path / str(number), *common, *options)
        results.append((tmp_path / str(number) / 'csv' / 'version_0' / 'metrics.csv').read_text())
    assert len(set(results)) == 3


@pytest.mark.parametrize('fusion', ['mean', 'weighted', 'gated', 'concat'])
def test_every_fusion(dataset: Path, tmp_path: Path, fusion: str) -> None:
    modality = () if fusion == 'concat' else ('--modality', 'text')
    options = ('--model', 'mmgef', '--epochs', 1, '--fusion', fusion, *modality)
    pyg_mmgef('train', dataset, '-o', tmp_path / 'run', *options)
    settings = json.loads((tmp_path / 'run' / 'config.json').read_text())['settings']
    assert settings['fusion'] == fusion


def test_listed_options() -> None:
    listed = list(map(as_option, listed_options(recommenders()['MMGEF'])))
    assert listed[0] == '--modality'
    assert '--neighbors' in listed
    assert list(listed_options(recommenders()['Popularity'])) == ['modalities']
    assert 'l2' in listed_options(recommenders()['EASE'])
    assert 'l2' not in listed_options(recommenders()['MF'])
    assert listed_options(recommenders()['FREEDOM'])['neighbors'] == 10
    assert listed_options(recommenders()['COHESION'])['neighbors'] == 40
    assert [name for name in models() if 'budget' in listed_options(models()[name])] == [
        'contentials'
    ]
