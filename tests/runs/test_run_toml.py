from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from pyg_mmgef import Run, fit
from pyg_mmgef.runs.models import complete, models, presets
from pyg_mmgef.runs.run_toml import read_toml, toml_of
from pyg_mmgef.settings import Settings
from tests.transforms.shops import random_shop

ENCODERS = {'image': 'a', 'text': 'b'}


def read_again(folder: Path, settings: Settings) -> Settings:
    (folder / 'run.toml').write_text(toml_of(settings), encoding='utf-8')
    values = read_toml(folder / 'run.toml')
    return Settings(**{**values, 'modalities': tuple(values['modalities'])})


@pytest.mark.parametrize('name', sorted(models()))
def test_a_file_has_all_settings_of_a_model(tmp_path: Path, name: str) -> None:
    settings = complete(Settings(model=name, split='time', seed=7), ENCODERS)
    assert complete(read_again(tmp_path, settings), ENCODERS) == settings


@pytest.mark.parametrize('name', sorted(presets()))
def test_a_file_has_all_settings_of_a_preset(tmp_path: Path, name: str) -> None:
    settings = complete(Settings(preset=name, split='random'), ENCODERS)
    assert complete(read_again(tmp_path, settings), ENCODERS) == settings


@pytest.mark.parametrize('loss', ['bpr', 'softmax', 'au'])
def test_a_file_has_the_loss_and_further_options(
    tmp_path: Path, loss: Literal['bpr', 'softmax', 'au']
) -> None:
    options = {'contrast_weight': 0.5, 'temperature': 1e-05}
    settings = complete(Settings(model='mgcn', loss=loss, options=options), ENCODERS)
    assert complete(read_again(tmp_path, settings), ENCODERS) == settings


def test_what_was_chosen_is_in_the_file_and_is_not_chosen_again(tmp_path: Path) -> None:
    run = fit(random_shop(), folder=tmp_path / 'run', embedding_dim=8)
    values = read_toml(tmp_path / 'run' / 'run.toml')
    assert 'budget' not in values
    assert values['l2'] == run.settings.l2
    assert values['unobserved_weight'] == run.settings.unobserved_weight
    again = fit(random_shop(), values.pop('model'), **values)
    assert again.settings == replace(run.settings, budget=None)
    assert again.metrics == run.metrics


def test_each_fold_chooses_anew(tmp_path: Path) -> None:
    options: dict[str, Any] = {'folds': 2, 'embedding_dim': 8}
    run = fit(random_shop(num_users=60), folder=tmp_path / 'run', **options)
    values = read_toml(tmp_path / 'run' / 'run.toml')
    assert values['folds'] == 2
    assert not {'l2', 'unobserved_weight', 'budget'} & values.keys()
    fit(random_shop(num_users=60), **options).save(tmp_path / 'saved')
    Run.load(tmp_path / 'run').save(tmp_path / 'copied')
    for name in ('saved', 'copied'):
        found = read_toml(tmp_path / name / 'run.toml')
        assert found == {**values, **{key: found[key] for key in found.keys() & {'dataset'}}}
    again = fit(random_shop(num_users=60), values.pop('model'), **values)
    assert again.settings == run.settings
    assert again.metrics == run.metrics


def test_with_folds_what_was_given_stays(tmp_path: Path) -> None:
    options: dict[str, Any] = {'folds': 2, 'embedding_dim': 8}
    fit(random_shop(), folder=tmp_path / 'a', l2=0.1, **options)
    assert read_toml(tmp_path / 'a' / 'run.toml')['l2'] == 0.1
    fit(random_shop(), folder=tmp_path / 'b', budget=30, **options)
    values = read_toml(tmp_path / 'b' / 'run.toml')
    assert values['budget'] == 30
    assert 'unobserved_weight' not in values


def test_the_dataset_is_named(tmp_path: Path) -> None:
    (tmp_path / 'run.toml').write_text(toml_of(Settings(), Path('/shops/my "shop"')))
    assert read_toml(tmp_path / 'run.toml') == {
        'dataset': '/shops/my "shop"',
        'folds': 1,
        'seed': 0,
    }


@pytest.mark.parametrize('content', [b'model = ', b'\xff\xfe'])
def test_no_toml(tmp_path: Path, content: bytes) -> None:
    (tmp_path / 'a.toml').write_bytes(content)
    with pytest.raises(ValueError, match=r"a.toml' is no TOML file \(.*\); repair it"):
        read_toml(tmp_path / 'a.toml')
