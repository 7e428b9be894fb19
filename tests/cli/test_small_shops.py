"""Shops with hardly any items, users or interactions: each model trains, or says why it can't."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch_geometric.data import HeteroData

from pyg_mmgef.cli.settings import Settings
from pyg_mmgef.ranking import evaluate_ranking
from pyg_mmgef.runs import train_model
from pyg_mmgef.runs.losses import build_loss, check_negatives
from pyg_mmgef.runs.models import build_model, complete, models
from pyg_mmgef.runs.run import fitting_cutoffs
from pyg_mmgef.runs.splits import split_data
from pyg_mmgef.schema import INTERACTS, ITEM, USER
from tests.cli.command import pyg_mmgef

Pairs = list[tuple[int, int]]
SHOPS: dict[str, tuple[int, Pairs]] = {
    '3 items': (3, [(user, item) for user in range(9) for item in range(3) if user != item]),
    '12 items': (12, [(user, user * step % 12) for user in range(20) for step in range(1, 7)]),
    'one-time buyers': (
        15,
        [(user, user % 15) for user in range(30)] + [(30, item) for item in range(4)],
    ),
    'one item for most': (6, [(user, 0) for user in range(20)] + [(0, 1), (0, 2), (1, 3), (1, 4)]),
    'two users': (10, [(user, item) for user in range(2) for item in range(user, user + 8)]),
}
NO_NEGATIVES: dict[str, tuple[int, Pairs]] = {
    'one user': (10, [(0, item) for item in range(8)]),
    'one item in train': (3, [(0, item) for item in range(3)] + [(1, 0)]),
}


def shop(num_items: int, pairs: Pairs) -> HeteroData:
    generator = torch.Generator().manual_seed(0)
    data = HeteroData()
    edge_index = torch.tensor(pairs).t()
    data[USER].num_nodes, data[ITEM].num_nodes = int(edge_index[0].max()) + 1, num_items
    data[INTERACTS].edge_index = edge_index
    data[ITEM].x_text = torch.randn(num_items, 4, generator=generator)
    data[ITEM].has_text = torch.ones(num_items, dtype=torch.bool)
    return data


@pytest.mark.parametrize('name', sorted(models()))
def test_every_model_trains(name: str) -> None:
    settings = complete(Settings(model=name), {'text': 'an encoder'})
    for num_items, pairs in SHOPS.values():
        train, val, test = split_data(settings, shop(num_items, pairs))
        train, model = build_model(settings, train)
        k = fitting_cutoffs(num_items)[-1]
        loss = None
        if model.has_parameters:
            check_negatives(settings, model, train)
            loss = build_loss(settings)
        train_model(model, train, val, loss_fn=loss, epochs=2, k=k)
        with torch.no_grad():
            z_user, z_item = model.eval()(train)
        target = test[INTERACTS].edge_label_index
        metrics = evaluate_ranking(z_user, z_item, target, exclude=train[INTERACTS].edge_index, k=k)
        assert all(map(math.isfinite, metrics.values()))


@pytest.mark.parametrize('shape', sorted(NO_NEGATIVES))
def test_users_who_have_everything_are_named_before_training(shape: str) -> None:
    for name, model_class in models().items():
        settings = complete(Settings(model=name), {'text': 'an encoder'})
        train, val, _ = split_data(settings, shop(*NO_NEGATIVES[shape]))
        train, model = build_model(settings, train)
        if not model_class.is_trained:
            train_model(model, train, val, k=3)
            continue
        advice = 'a model that is' if model.needs_negatives else "loss='au', which needs none"
        with pytest.raises(ValueError, match=rf'\d of \d users have all \d items .*use {advice}'):
            check_negatives(settings, model, train)
        settings = complete(Settings(model=name, loss='au'), {'text': 'an encoder'})
        if model.needs_negatives:
            with pytest.raises(ValueError, match=rf"loss='au' samples no .* the model '{name}'"):
                check_negatives(settings, model, train)
        else:
            check_negatives(settings, model, train)


def write_table(folder: Path, pairs: Pairs) -> Path:
    lines = ['user_id,item_id', *(f'u{user},i{item}' for user, item in pairs)]
    (folder / 'orders.csv').write_text('\n'.join(lines))
    return folder / 'orders.csv'


@pytest.mark.parametrize('name', ['contentials', 'lightgcn'])
def test_the_command_says_which_cutoffs_fit(tmp_path: Path, name: str) -> None:
    pyg_mmgef('prepare', write_table(tmp_path, SHOPS['12 items'][1]), '-o', tmp_path / 'ds')
    epochs = ('--epochs', 1) if name == 'lightgcn' else ()
    shown = pyg_mmgef('train', tmp_path / 'ds', '-o', tmp_path / 'run', '--model', name, *epochs)
    assert 'cut-offs 10 and 12, as there are 12 items\n' in shown
    assert 'neighbours of an item' not in shown
    assert 'test_recall@12' in json.loads((tmp_path / 'run' / 'metrics.json').read_text())


def test_one_cutoff_and_users_who_have_everything(tmp_path: Path) -> None:
    pairs = NO_NEGATIVES['one user'][1]
    pyg_mmgef('prepare', write_table(tmp_path, pairs), '-o', tmp_path / 'ds')
    words = ('train', tmp_path / 'ds', '-o', tmp_path / 'run')
    error = pyg_mmgef(*words, '--model', 'lightgcn', fails=1)
    assert '1 of 1 users have all 6 items of the train part' in error
    assert not (tmp_path / 'run').exists()
    shown = pyg_mmgef(*words)
    assert 'cut-off 8, as there are 8 items\n' in shown
    assert 'at most 7 neighbours of an item, not 10, as there are 8 items\n' in shown


@pytest.mark.parametrize('split', ['random', 'leave_last_out'])
def test_nothing_to_hold_out_is_said_before_training(tmp_path: Path, split: str) -> None:
    lines = [f'u{user},i{user % 5},2024-01-0{user % 9 + 1}' for user in range(40)]
    (tmp_path / 'orders.csv').write_text('\n'.join(['user_id,item_id,time', *lines]))
    pyg_mmgef('prepare', tmp_path / 'orders.csv', '-o', tmp_path / 'ds', '--time', 'time')
    run = tmp_path / 'run'
    error = pyg_mmgef('train', tmp_path / 'ds', '-o', run, '--split', split, fails=1)
    assert 'validation and test would be empty, as no user has 3 different items' in error
    assert not run.exists()
