import inspect
from dataclasses import fields
from typing import Literal, get_args, get_origin, get_type_hints

import pytest
import typer.core
import typer.main

from pyg_mmgef._spelling import as_option
from pyg_mmgef.cli import commands
from pyg_mmgef.cli.app import app
from pyg_mmgef.cli.commands import train
from pyg_mmgef.cli.settings import MODEL, option_of
from pyg_mmgef.nn.fusion import early_fusion, soft_edge_fusion
from pyg_mmgef.runs.losses import OPTIONS, TRAINING
from pyg_mmgef.settings import Settings, model_options
from pyg_mmgef.transforms import split_interactions
from tests.cli.command import pyg_mmgef


def test_every_setting_is_an_option_with_help() -> None:
    shown = pyg_mmgef('train', '--help')
    for field in fields(Settings):
        assert as_option(field.name) in shown
        assert len(option_of(field.name).help) > 15
    own = {'dataset', 'output', 'config', 'device'}
    assert set(inspect.signature(train).parameters) == own | {
        field.name for field in fields(Settings)
    }


def test_every_option_says_what_it_does_and_its_default() -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    assert set(group.commands) == set(commands.__all__)
    for name, command in group.commands.items():
        assert command.help, name
        for option in command.params:
            assert isinstance(option, typer.core.TyperArgument | typer.core.TyperOption)
            assert len(option.help or '') > 10, (name, option.name)
            known = isinstance(option.show_default, str) or option.default is not None
            assert option.required or known, (name, option.name)


def test_defaults_in_the_help_are_those_of_training() -> None:
    defaults = {
        **TRAINING,
        **{name: value for each in OPTIONS.values() for name, value in each.items()},
    }
    for name, default in defaults.items():
        shown = 'no-uniform-users' if name == 'uniform_users' else str(default)
        assert option_of(name).show_default.split(' ')[0].rstrip(',') == shown, name


def choices(name: str) -> set[str]:
    hint = get_type_hints(Settings)[name]
    literal = hint if get_origin(hint) is Literal else get_args(hint)[0]
    return set(get_args(literal))


def test_choices_are_those_of_the_library() -> None:
    assert choices('fusion') == {'auto', *early_fusion.MODES}
    assert choices('attention') == set(soft_edge_fusion.MODES)
    assert choices('split') == {*split_interactions.STRATEGIES, 'none'}


def test_there_and_back() -> None:
    settings = Settings(modalities=('text',), lr=0.1)
    assert Settings.from_dict(settings.to_dict()) == settings
    with pytest.raises(ValueError, match='train again'):
        Settings.from_dict({**settings.to_dict(), 'colour': 'red'})
    with pytest.raises(ValueError, match='train again'):
        Settings.from_dict({'lr': 0.1})


def test_flags() -> None:
    for field in fields(Settings):
        name = option_of(field.name).default  # Typer stores the name of an annotation there.
        own = f'--{field.name.replace("_", "-")}'
        assert as_option(field.name) == (name if isinstance(name, str) else own)


def test_options_of_models_are_in_their_panel() -> None:
    own = {'model', 'preset', 'modalities', 'options', 'budget'}
    assert set(model_options()) | own == {
        field.name for field in fields(Settings) if option_of(field.name).rich_help_panel == MODEL
    }
