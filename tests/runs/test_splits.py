import json
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch_geometric.data import HeteroData

from pyg_mmgef import Run, fit
from pyg_mmgef.nn import Popularity
from pyg_mmgef.ranking import choose_cold_scale, evaluate_ranking
from pyg_mmgef.runs import _train_run
from pyg_mmgef.runs.splits import choose_split, held_out, split_data, split_folds, who_is_new
from pyg_mmgef.schema import INTERACTS
from pyg_mmgef.settings import Settings
from pyg_mmgef.transforms import SplitInteractions, rolling_folds
from tests.cli.command import pyg_mmgef
from tests.transforms.shops import pairs_of, random_shop

BOTH = Settings(modalities=('image', 'text'))
FAST: dict[str, Any] = {'embedding_dim': 8, 'budget': 0}


def visitors() -> HeteroData:
    """Each user comes on one day; the items are those of the other days."""
    data = random_shop()
    data[INTERACTS].time = data[INTERACTS].edge_index[0]
    return data


def test_one_time_for_all_where_there_are_times() -> None:
    settings, why = choose_split(BOTH, random_shop())
    assert settings == replace(BOTH, split='global_time')
    assert why.startswith('split global_time: the latest 10 % of all interactions are for test')
    for part, other in zip(
        split_data(settings, random_shop()),
        SplitInteractions(strategy='global_time')(random_shop()),
        strict=True,
    ):
        assert torch.equal(part[INTERACTS].edge_label_index, other[INTERACTS].edge_label_index)


def test_random_without_times() -> None:
    data = random_shop()
    del data[INTERACTS].time
    settings, why = choose_split(BOTH, data)
    assert settings.split == 'random'
    assert why == 'split random: interactions of each user at random, as they have no times'


def test_the_latest_of_each_user_where_one_time_leaves_nothing() -> None:
    settings, why = choose_split(BOTH, visitors())
    assert settings.split == 'time'
    assert why.startswith('split time: the latest interactions of each user, as the cuts in time ')
    assert 'of users without train interactions' in why
    assert 'strategy' not in why
    with pytest.raises(ValueError, match='leave no interactions for validation'):
        choose_split(replace(BOTH, folds=2), visitors())


def test_a_named_split_stays() -> None:
    settings = replace(BOTH, split='leave_last_out')
    assert choose_split(settings, random_shop()) == (settings, '')


def test_folds_end_with_the_split() -> None:
    settings = replace(BOTH, folds=3)
    folds = split_folds(settings, random_shop())
    for fold, other in zip(folds, rolling_folds(random_shop(), 3), strict=True):
        for part, wanted in zip(fold, other, strict=True):
            assert torch.equal(part[INTERACTS].edge_label_index, wanted[INTERACTS].edge_label_index)
    last = split_data(settings, random_shop())
    assert pairs_of(last[2][INTERACTS].edge_label_index) == pairs_of(
        folds[-1][2][INTERACTS].edge_label_index
    )


def test_who_is_counted() -> None:
    split = split_data(BOTH, random_shop())
    assert who_is_new(split_data(replace(BOTH, split='time'), random_shop())) == ''
    counts = [held_out(part) for part in split[1:]]
    edges = [
        [part[INTERACTS][key] for part in split[1:]]
        for key in ('edge_label_index', 'new_user_index')
    ]
    for number, count in enumerate(counts):
        known, new = edges[0][number], edges[1][number]
        assert (count['interactions'], count['new_interactions']) == (known.size(1), new.size(1))
        assert count['users'] == len(set(known[0].tolist()))
        assert count['new_users'] == len(set(new[0].tolist()))


def test_few_who_are_known_are_said() -> None:
    data = HeteroData({'user': {'num_nodes': 9}, 'item': {'num_nodes': 20}})
    user = torch.tensor([0] * 16 + [*range(1, 9), 0, 0])
    item = torch.tensor([*range(16), *range(8), 16, 17])
    data[INTERACTS].edge_index = torch.stack([user, item])
    data[INTERACTS].time = torch.tensor([*range(16), *range(16, 24), 17, 24])
    found = SplitInteractions((0.6, 0.2, 0.2), 'global_time')(data)
    assert [held_out(part) for part in found[1:]] == [
        {'interactions': 1, 'users': 1, 'new_interactions': 4, 'new_users': 4},
        {'interactions': 1, 'users': 1, 'new_interactions': 4, 'new_users': 4},
    ]
    assert who_is_new(found) == (
        '8 of 10 held-out interactions are of users who came later; they are not measured, so few '
        "are left; split='time' measures the latest interactions of each user instead"
    )


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'split': 'time', 'folds': 2}, r"folds=2 needs split='global_time' \(got 'time'\)"),
        ({'folds': 0}, "'folds' must be a positive integer"),
        ({'folds': 9}, '9 folds need 10 windows'),
    ],
)
def test_folds_that_there_are_not(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split_folds(replace(BOTH, **settings), random_shop())


def test_one_time_that_leaves_nothing_names_the_argument() -> None:
    with pytest.raises(ValueError, match=r"split='global_time': the cuts.*; use split='time', wh"):
        fit(visitors(), split='global_time', **FAST)


def test_a_run_measures_the_future_and_says_who_is_new() -> None:
    run = fit(random_shop(), **FAST)
    assert run.settings.split == 'global_time'
    assert int(run.train[INTERACTS].time.max()) < 50
    assert run.metrics['held_out'] == {
        part: held_out(data) for part, data in (('val', run.val), ('test', run.test))
    }
    assert run.metrics['held_out']['test']['interactions'] == (
        run.test[INTERACTS].edge_label_index.size(1)
    )


def test_folds_of_a_run_are_trained_on_what_was_known_then(tmp_path: Path) -> None:
    run = fit(random_shop(), 'popularity', folds=3, folder=tmp_path / 'run')
    assert Run.load(tmp_path / 'run').metrics == run.metrics
    assert run.metrics['folds'][-1].items() <= run.metrics.items()
    once = fit(random_shop(), 'popularity').metrics
    assert once.items() <= run.metrics.items()
    for found, (train, val, test) in zip(
        run.metrics['folds'], rolling_folds(random_shop(), 3), strict=True
    ):
        model = Popularity.from_data(train).eval()
        held, seen = val[INTERACTS].edge_label_index, train[INTERACTS].edge_index
        z_user, z_item = model(train)
        model.cold_scale = choose_cold_scale(
            z_user, z_item, held, model.is_warm(train), exclude=seen, k=20
        )
        z_user, z_item = model(train)
        exclude = torch.cat([seen, held], dim=1)
        target = test[INTERACTS].edge_label_index
        expected = evaluate_ranking(z_user, z_item, target, exclude=exclude)
        assert expected == {name: found[f'test_{name}'] for name in expected}
        assert {f'val_{name}' for name in expected} <= set(found)


def test_finished_folds_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fit(random_shop(), folds=3, folder=tmp_path / 'a', **FAST)
    trained: list[object] = []
    fitted = _train_run._fitted

    def spy(*arguments: Any) -> Run:
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append(arguments)
        return fitted(*arguments)

    monkeypatch.setattr(_train_run, '_fitted', spy)
    with pytest.raises(KeyboardInterrupt):  # In the second fold, after the run and the first.
        fit(random_shop(), folds=3, folder=tmp_path / 'b', **FAST)
    trained.clear()
    assert fit(random_shop(), folds=3, folder=tmp_path / 'b', **FAST).metrics == whole.metrics
    assert len(trained) == 2


def test_each_fold_chooses_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    run = fit(random_shop(), folds=2, embedding_dim=8)
    assert len(run.metrics['folds']) == 2
    assert run.settings.l2 in (0.02, 0.03, 0.05)
    assert run.settings.folds == 2


def test_on_the_command_line(dataset: Path, tmp_path: Path) -> None:
    shown = pyg_mmgef('train', dataset, '-o', tmp_path / 'a', '--folds', 2, '--embedding-dim', 8)
    assert 'split global_time: the latest 10 %' in shown
    assert 'tried 9 of 9 values on validation' in shown
    metrics = json.loads((tmp_path / 'a' / 'metrics.json').read_text())
    values = [fold['test_recall@10'] for fold in metrics['folds']]
    numbers = (*values, statistics.mean(values), statistics.stdev(values))
    assert ' '.join(['recall@10', *(f'{number:.4f}' for number in numbers)]) in ' '.join(
        shown.partition('at different times')[2].split()
    )
    shown = pyg_mmgef('train', dataset, '-o', tmp_path / 'b', '--split', 'random', '--budget', 0)
    assert 'split global_time' not in shown
    error = pyg_mmgef(
        *('train', dataset, '-o', tmp_path / 'c', '--split', 'time', '--folds', 2), fails=1
    )
    assert "--folds 2 needs --split global_time (got 'time')" in error
