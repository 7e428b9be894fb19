import re
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from pyg_mmgef._spelling import spelt
from pyg_mmgef.catalog import Catalog, Rules
from pyg_mmgef.cli.rule_options import parse_rules, takes_rules

CATALOG = Catalog(['L1', 'R1'], fields={'category': ['Lamps', 'Rugs'], 'price': [20, 60]})


def test_nothing_typed_gives_no_rules() -> None:
    assert parse_rules() == Rules()


def test_all_rules() -> None:
    found = parse_rules(
        where=['category=Lamps', 'price=10..50', 'category=Rugs', 'in_stock', 'code=a=b'],
        max_per=['brand=2', 'category=1'],
        boost=['new=1', 'brand=Lumo=0.5', 'price=..20=-1e-1'],
        pin=['b', 'a'],
        exclude=['c'],
        only=['a', 'b'],
        repeat=True,
        diversity=0.3,
    )
    assert found == Rules(
        where={
            'category': ['Lamps', 'Rugs'],
            'price': (10, 50),
            'in_stock': True,
            'code': 'a=b',
        },
        max_per={'brand': 2, 'category': 1},
        boost={'new': 1, 'brand=Lumo': 0.5, 'price=..20': -0.1},
        pin=['b', 'a'],
        exclude=['c'],
        only=['a', 'b'],
        repeat=True,
        diversity=0.3,
    )


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('p=1..2', (1, 2)),
        ('p=-1.5..1e3', (-1.5, 1000)),
        ('p=..2', (None, 2)),
        ('p=.5..', (0.5, None)),
        ('p=12', '12'),
        ('p=..', '..'),
        ('p=a..b', 'a..b'),
        ('p=', ''),
    ],
)
def test_ranges_and_values(text: str, expected: Any) -> None:
    assert parse_rules(where=[text]).where == {'p': expected}


@pytest.mark.parametrize(
    ('typed', 'message'),
    [
        ({'where': ['=Lamps']}, "--where must look like 'category=Lamps' (got '=Lamps')"),
        ({'where': ['p=1..2', 'p=5']}, "--where gives a range of 'p' and more; give one range"),
        ({'where': ['p=2..1']}, "--where has a range of 'p' from 2 down to 1"),
        ({'max_per': ['brand']}, "--max-per must look like 'brand=2' (got 'brand')"),
        ({'max_per': ['brand=two']}, "--max-per must look like 'brand=2' (got 'brand=two')"),
        ({'max_per': ['brand=0']}, "--max-per must be a positive integer for 'brand' (got 0)"),
        ({'boost': ['new']}, "--boost must look like 'new=0.5' (got 'new')"),
        ({'boost': ['new=nan']}, "--boost must be a finite number for 'new' (got nan)"),
        ({'diversity': 2.0}, '--diversity must lie in [0, 1] (got 2.0)'),
    ],
)
def test_what_cannot_be_understood(typed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_rules(**typed)
    assert spelt('where') == "'where'", 'messages outside name arguments again'


@takes_rules
def command(name: str, rules: Rules, k: int = 10) -> None:
    """Print which items are allowed."""
    print(name, k, rules.to_dict(), rules.allowed(CATALOG).tolist())


APP = typer.Typer()
APP.command()(command)


def test_a_command_takes_rules() -> None:
    words = ['shop', '--where', 'price=..50', '--boost', 'price=20=1', '--repeat', '--k', '3']
    done = CliRunner().invoke(APP, words)
    assert done.exit_code == 0, done.output
    assert done.output == (
        "shop 3 {'repeat': True, 'where': {'price': {'max': 50.0}}, 'boost': {'price=20': 1.0}} "
        '[True, False]\n'
    )


def test_messages_within_the_command_name_options() -> None:
    for words, message in (
        (['--where', 'categry=Lamps'], "--where names the field 'categry', which the catalog"),
        (['--exclude', 'L7'], "--exclude names the item 'L7'"),
    ):
        done = CliRunner().invoke(APP, ['shop', *words])
        assert isinstance(done.exception, ValueError)
        assert message in str(done.exception)


def test_help_shows_every_rule() -> None:
    shown = CliRunner().invoke(APP, ['--help'], env={'COLUMNS': '200'}).output
    for name in Rules.__dataclass_fields__:
        assert f'--{name.replace("_", "-")}' in shown
