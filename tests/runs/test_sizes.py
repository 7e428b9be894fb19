import importlib
import itertools
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import HeteroData

from pyg_mmgef import fit
from pyg_mmgef.runs import sizes
from pyg_mmgef.runs.models import complete
from pyg_mmgef.runs.sizes import (
    SizeDefaults,
    check_memory,
    defaults_for,
    fitting_size,
    num_trials,
    sampled_users,
)
from pyg_mmgef.schema import INTERACTS, supervision_edges
from pyg_mmgef.settings import Settings
from pyg_mmgef.transforms import SplitInteractions
from tests.transforms.shops import random_shop

TRAIN, VAL, _ = SplitInteractions(seed=0)(random_shop())
ENCODERS = {'image': 'one', 'text': 'another'}
sizes_module = importlib.import_module('pyg_mmgef.runs.sizes')


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The small shop counts as large."""
    for name in ('LARGE_FROM', 'GRAPH_FROM', 'PAIRS_OF_VALIDATION'):
        monkeypatch.setattr(sizes_module, name, 10)
    monkeypatch.setattr(sizes_module, 'EDGES_OF_EPOCH', 1e-2)
    monkeypatch.setattr(sizes_module, 'VAL_USERS', 4)


def test_small_data_has_the_defaults() -> None:
    """Those of the data sets that are measured in this repository, up to Gowalla's size."""
    for size in ((943, 1349, 70_000), (19_445, 7_050, 130_000), (29_858, 40_981, 820_000)):
        assert defaults_for(*size) == SizeDefaults(2048, None, None, None)


def test_a_large_shop() -> None:
    found = defaults_for(200_000, 200_000, 1_600_000)
    assert found == SizeDefaults(65_536, 0.95, 10_000, 3)
    assert defaults_for(200_000, 200_000, 1_600_000, num_val_users=9000).val_users is None
    assert defaults_for(10**6, 1000, 1_600_000).graph_recall is None


@given(st.lists(st.integers(1, 10**9), min_size=2, max_size=5))
def test_batches_grow_with_the_data(counts: list[int]) -> None:
    found = [defaults_for(1000, 1000, count) for count in sorted(counts)]
    for a, b in itertools.pairwise(found):
        assert a.batch_size <= b.batch_size
    assert all(one.batch_size & (one.batch_size - 1) == 0 for one in found)


def test_what_is_given_stays(small_limits: None) -> None:
    settings, lines = fitting_size(Settings(model='mmgef'), TRAIN, VAL)
    assert settings == Settings(model='mmgef', batch_size=65_536, graph_recall=0.95, val_users=4)
    assert [line.split()[0] for line in lines] == ['batch', 'item', 'epochs']
    assert "'batch_size' changes it" in lines[0]
    given = Settings(model='mmgef', batch_size=7, graph_recall=1.0, val_users=10**6)
    assert fitting_size(given, TRAIN, VAL) == (given, [])
    settings, _ = fitting_size(Settings(model='lightgcn', lr=0.1), TRAIN, VAL)
    assert (settings.lr, settings.batch_size, settings.graph_recall) == (0.1, 65_536, None)


def test_models_without_epochs_and_presets(small_limits: None) -> None:
    settings, _ = fitting_size(Settings(), TRAIN, VAL)
    assert settings == Settings(val_users=4), 'the sample is for the trials'
    assert fitting_size(Settings(model='itemknn'), TRAIN, VAL) == (Settings(model='itemknn'), [])
    settings, _ = fitting_size(Settings(preset='merged'), TRAIN, VAL)
    assert settings == Settings(preset='merged', val_users=4)
    assert num_trials(Settings(), TRAIN) == 3
    assert num_trials(Settings(budget=60), TRAIN) is None, 'the clock ends them'


def test_all_trials_of_small_data() -> None:
    assert num_trials(Settings(), TRAIN) is None


@pytest.mark.parametrize('model', ['best', 'mmgef'])
def test_a_run_says_and_records_what_it_chose(
    small_limits: None, capsys: pytest.CaptureFixture[str], model: str
) -> None:
    options: dict[str, Any] = {'epochs': 2} if model == 'mmgef' else {}
    run = fit(random_shop(), model, embedding_dim=4, verbose=True, **options)
    out = capsys.readouterr().out
    assert 'epochs and options are chosen on 4 users at random, as' in out
    assert run.settings.val_users == 4
    trained = {'batch_size': 65_536, 'graph_recall': 0.95}
    for name, value in trained.items():
        assert getattr(run.settings, name) == (value if model == 'mmgef' else None)
    if model == 'best':
        assert 'trial 3 of 3' in out
    else:
        assert 'batch 65,536, as each step reads all' in out
    lists = run.top_lists('val')
    assert lists.evaluate('recall', [10])['recall@10'] == run.metrics['val_recall@10'], 'of all'


def test_a_sample_of_users_is_seeded() -> None:
    edges = supervision_edges(VAL)
    users = edges[0].unique()
    part = sampled_users(VAL, 5, seed=0)
    found = supervision_edges(part)
    assert found[0].unique().numel() == 5
    assert torch.equal(found, edges[:, torch.isin(edges[0], found[0])]), 'all of their interactions'
    assert torch.equal(supervision_edges(sampled_users(VAL, 5, seed=0)), found)
    assert any(
        not torch.equal(supervision_edges(sampled_users(VAL, 5, seed)), found) for seed in range(9)
    )
    assert sampled_users(VAL, users.numel(), seed=0) is VAL
    assert sampled_users(VAL, None, seed=0) is VAL


def large(num_users: int, num_items: int) -> HeteroData:
    data = HeteroData()
    data['user'].num_nodes, data['item'].num_nodes = num_users, num_items
    data[INTERACTS].edge_index = torch.zeros(2, 1, dtype=torch.int64)
    return data


def test_too_little_memory_is_said_before_training() -> None:
    settings = complete(Settings(model='lightgcn', embedding_dim=64), ENCODERS)
    data = large(10**7, 10**7)
    check_memory(settings, data, available=80 * 2**30)
    with pytest.raises(
        ValueError, match=r"'lightgcn' needs about 66.8 GiB .* 8.0 GiB are free; .*"
    ):
        check_memory(settings, data, available=8 * 2**30)
    with pytest.raises(ValueError, match=r"'ease' .* it holds all pairs of 200,000 items"):
        check_memory(complete(Settings(model='ease'), ENCODERS), large(9, 200_000), 2**34)
    check_memory(settings, TRAIN)


@pytest.mark.parametrize(('preset', 'channels'), [('paper', 64), ('merged', 128)])
def test_the_memory_of_a_preset_is_that_of_its_options(preset: str, channels: int) -> None:
    of_preset = complete(Settings(preset=preset), ENCODERS)
    of_model = complete(Settings(model='lightgcn', embedding_dim=channels), ENCODERS)
    found = []
    for settings in (of_preset, of_model):
        with pytest.raises(ValueError, match='needs about') as error:
            check_memory(settings, large(10**7, 10**7), available=2**30)
        found.append(str(error.value))
    (need, _), (need_of_model, _) = (text.split(' GiB of memory, and ') for text in found)
    assert need.split()[-1] == need_of_model.split()[-1]
    assert "'model' with a smaller 'embedding_dim' in place of the preset" in found[0]
    assert complete(Settings(model='mmgef', embedding_dim=8), ENCODERS), 'the advice works'


def test_thresholds_are_consistent() -> None:
    assert sizes.LARGE_FROM**2 / sizes.BATCH > sizes.EDGES_OF_EPOCH, 'no batch shrinks there'
