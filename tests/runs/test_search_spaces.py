import inspect
from collections.abc import Iterator
from typing import Any

import pytest

from pyg_mmgef.nn import Recommender, recommenders
from pyg_mmgef.runs.search_spaces import ARGUMENTS, NOT_SEARCHED, OF_MODEL, Range, search_space
from tests.settings import build

MODELS = recommenders()


def extremes(choices: Range | tuple[Any, ...]) -> Iterator[Any]:
    return iter(choices[:2] if isinstance(choices, Range) else choices)


@pytest.mark.parametrize('name', MODELS)
def test_every_argument_is_searched_or_known_not_to_be(name: str) -> None:
    arguments = set(inspect.signature(MODELS[name]).parameters)
    searched = set(search_space(MODELS[name], num_users=50))
    assert searched <= arguments
    assert arguments - searched <= set(NOT_SEARCHED)


def test_nothing_is_listed_in_vain() -> None:
    arguments = {name for cls in MODELS.values() for name in inspect.signature(cls).parameters}
    assert set(ARGUMENTS) | set(NOT_SEARCHED) == arguments
    assert not set(ARGUMENTS) & set(NOT_SEARCHED)
    assert set(OF_MODEL) <= set(MODELS)


@pytest.mark.parametrize('model', MODELS.values(), ids=list(MODELS))
def test_models_take_the_ends_of_their_ranges(model: type[Recommender]) -> None:
    for name, choices in search_space(model, num_users=50).items():
        for value in extremes(choices):
            assert getattr(build(model, **{name: value}), name) == value


@pytest.mark.parametrize('model', MODELS.values(), ids=list(MODELS))
def test_the_defaults_are_within(model: type[Recommender]) -> None:
    space = search_space(model, num_users=50)
    for name, parameter in inspect.signature(model).parameters.items():
        if name not in space or parameter.default in (parameter.empty, None):
            continue
        choices = space[name]
        if isinstance(choices, Range):
            assert choices.low <= parameter.default <= choices.high
        else:
            assert parameter.default in choices


def test_the_weight_of_unobserved_pairs_depends_on_the_users() -> None:
    wide, narrow = (
        search_space(MODELS['IALS'], num_users=n)['unobserved_weight'] for n in (10, 100)
    )
    assert isinstance(wide, Range)
    assert isinstance(narrow, Range)
    assert wide == Range(1.0, 100.0, log=True)
    assert narrow == Range(0.1, 10.0, log=True)
