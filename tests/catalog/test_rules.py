import json
import re
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from pyg_mmgef.catalog import Catalog, Rules, item_covariance, score_spread

CATALOG = Catalog(
    ['L1', 'L2', 'L3', 'R1', 'R2'],
    fields={
        'category': ['Lamps', 'Lamps', 'Lamps', 'Rugs', None],
        'brand': ['Lumo', 'Lumo', 'Arc', 'Arc', None],
        'price': [20, 45, 90.5, 60, None],
        'size': ['40', 'XL', '42.5', None, '40'],
        'in_stock': ['yes', 'no', 'TRUE', 'No', None],
        'new': [1, 0, 0, 1, None],
        'stock': [0, 1, 12, 3, None],
        'empty': [None] * 5,
    },
)


def allowed(**where: Any) -> list[str]:
    mask = Rules(where=where).allowed(CATALOG)
    return [CATALOG.ids[row] for row in np.flatnonzero(mask)]


@pytest.mark.parametrize(
    ('where', 'expected'),
    [
        ({}, ['L1', 'L2', 'L3', 'R1', 'R2']),
        ({'category': 'Lamps'}, ['L1', 'L2', 'L3']),
        ({'category': ['Lamps', 'Rugs']}, ['L1', 'L2', 'L3', 'R1']),
        ({'brand': {'Arc'}, 'category': 'Lamps'}, ['L3']),
        ({'price': (20, 60)}, ['L1', 'L2', 'R1']),
        ({'price': (None, 45)}, ['L1', 'L2']),
        ({'price': (60.5, None)}, ['L3']),
        ({'price': (1000, None)}, []),
        ({'price': 45}, ['L2']),
        ({'price': '90.5'}, ['L3']),
        ({'size': 40}, ['L1', 'R2']),
        ({'size': 40.0}, ['L1', 'R2']),
        ({'size': [42.5, 'XL']}, ['L2', 'L3']),
    ],
)
def test_where(where: dict[str, Any], expected: list[str]) -> None:
    assert allowed(**where) == expected


@pytest.mark.parametrize('yes', [True, np.True_, 'yes', 'Yes', ' TRUE ', 'on', 'y', '1', 1, 1.0])
def test_yes(yes: Any) -> None:
    assert allowed(in_stock=yes) == ['L1', 'L3']
    assert allowed(new=yes) == ['L1', 'R1']


@pytest.mark.parametrize('no', [False, 'no', 'F', 'off', '0', 0])
def test_no(no: Any) -> None:
    assert allowed(in_stock=no) == ['L2', 'R1']
    assert allowed(new=no) == ['L2', 'L3']


@pytest.mark.parametrize('cells', [['no', None, 'No'], [False, None, False], [0, None, 0]])
def test_everything_may_be_sold_out(cells: list[Any]) -> None:
    catalog = Catalog(['a', 'b', 'c'], fields={'in_stock': cells})
    assert Rules(where={'in_stock': True}).allowed(catalog).tolist() == [False] * 3
    assert Rules(where={'in_stock': 'no'}).allowed(catalog).tolist() == [True, False, True]


def test_words_for_yes_are_plain_texts_among_others() -> None:
    catalog = Catalog(['a', 'b', 'c'], fields={'country': ['NO', 'SE', 'no']})
    assert Rules(where={'country': 'NO'}).allowed(catalog).tolist() == [True, False, False]
    with pytest.raises(ValueError, match="'country' = False, which no item has"):
        Rules(where={'country': False}).allowed(catalog)


@pytest.mark.parametrize(
    ('where', 'message'),
    [
        (
            {'categry': 'Lamps'},
            "'where' names the field 'categry', which the catalog lacks (did you mean "
            "'category'?); it has ['category', 'brand', 'price',",
        ),
        (
            {'category': 'lamps'},
            "'where' asks for 'category' = 'lamps', which no item has (did you mean 'Lamps'?); it "
            "holds ['Lamps', 'Rugs']",
        ),
        ({'category': ['Lamps', 'Sofas']}, "'category' = 'Sofas', which no item has; it holds"),
        (
            {'price': 21},
            "'where' asks for 'price' = 21, which no item has; it holds numbers from 20 to 90.5, "
            'give one of them or a range',
        ),
        ({'price': 'cheap'}, "'price' = 'cheap', which no item has; it holds numbers from"),
        ({'price': '1e999'}, "'price' = '1e999', which no item has; it holds numbers"),
        ({'stock': True}, "'stock' = True, which no item has; it holds numbers from 0 to 12"),
        ({'brand': True}, "'brand' = True, which no item has; it holds ['Lumo', 'Arc']"),
        (
            {'brand': (1, 2)},
            "'where' asks for a range of 'brand', which holds texts such as ['Lumo', 'Arc']; give "
            'one of them',
        ),
        ({'empty': 1}, "'empty' = 1, which no item has; the field is empty"),
    ],
)
def test_conditions_that_no_item_can_fulfil(where: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        allowed(**where)


def test_only_and_exclude() -> None:
    assert Rules(only=['R1', 'L1'], exclude=['L1']).allowed(CATALOG).nonzero()[0].tolist() == [3]
    assert not Rules(only=[]).allowed(CATALOG).any()
    for name in ('only', 'exclude'):
        lists: dict[str, Any] = {name: ['L9']}
        with pytest.raises(ValueError, match=f"'{name}' names the item 'L9'"):
            Rules(**lists).allowed(CATALOG)


def test_boosts() -> None:
    rules = Rules(boost={'new': 1, 'brand=Arc': 0.5, 'price=50..': -0.25})
    assert rules.boosts(CATALOG).tolist() == [1, 0, 0.25, 1.25, 0]
    assert Rules().boosts(CATALOG).tolist() == [0] * 5
    with pytest.raises(ValueError, match="'boost' names the field 'newest'"):
        Rules(boost={'newest': 1}).boosts(CATALOG)
    with pytest.raises(ValueError, match="'boost' asks for 'brand' = 'arc'"):
        Rules(boost={'brand=arc': 1}).boosts(CATALOG)


def test_fields_and_values_may_hold_the_sign() -> None:
    catalog = Catalog(['a', 'b'], fields={'a=b': [True, False], 'rule': ['x=y', 'z']})
    assert Rules(boost={'a=b': 1, 'rule=x=y': 1}).boosts(catalog).tolist() == [2, 0]


@pytest.mark.parametrize('scale', [1e-3, -1.0, 50.0])
def test_a_boost_means_the_same_at_any_scale_of_scores(scale: float) -> None:
    rng = np.random.default_rng(0)
    items, users = rng.standard_normal((5, 4)) + 2, scale * rng.standard_normal((3, 4))
    scores = users @ items.T
    unit = score_spread(users, item_covariance(items))
    boosts = Rules(boost={'category=Rugs': 2}).boosts(CATALOG)
    lifted = (scores + unit[:, None] * boosts)[:, 3] - scores[:, 3]
    np.testing.assert_allclose(lifted / scores.std(axis=1), 2)


def ids(shown: NDArray[np.int64]) -> list[list[str]]:
    return [[CATALOG.ids[row] for row in rows if row >= 0] for rows in shown]


def test_at_most_so_many_of_a_brand() -> None:
    items, scores = [[0, 1, 3, 2, 4]], [[5.0, 4, 3, 2, 1]]
    assert ids(Rules(max_per={'brand': 1}).rerank(CATALOG, items, scores, 5).items) == [
        ['L1', 'R1', 'R2']
    ]
    both = Rules(max_per={'brand': 1, 'category': 1})
    assert ids(both.rerank(CATALOG, items, scores, 5).items) == [['L1', 'R1', 'R2']]
    with pytest.raises(ValueError, match="'max_per' names the field 'maker'"):
        Rules(max_per={'maker': 1}).rerank(CATALOG, items, scores, 5)


def test_items_without_a_brand_are_not_limited() -> None:
    catalog = Catalog(['a', 'b', 'c'], fields={'brand': [None, None, 'x']})
    found = Rules(max_per={'brand': 1}).rerank(catalog, [[0, 1, 2]], [[3.0, 2, 1]], 3)
    assert found.items.tolist() == [[0, 1, 2]]


def test_pinned_items_come_first() -> None:
    rules = Rules(pin=['R2', 'L1'], max_per={'brand': 1})
    found = rules.rerank(CATALOG, [[0, 1, 2]], [[3.0, 2, 1]], 3, pin_scores=[[0.5, 3.0]])
    assert ids(found.items) == [['R2', 'L1', 'L3']]
    assert found.scores.tolist() == [[0.5, 3, 1]]
    assert ids(rules.rerank(CATALOG, [[0]], [[3.0]], 1, pin_scores=[[0.5, 3.0]]).items) == [['R2']]


def test_pins_may_exceed_the_limit_but_count() -> None:
    rules = Rules(pin=['L1', 'L2'], max_per={'brand': 1})
    found = rules.rerank(CATALOG, [[0, 1, 2, 3]], [[4.0, 3, 2, 1]], 4, pin_scores=[[4.0, 3.0]])
    assert ids(found.items) == [['L1', 'L2', 'L3']]


def test_pins_that_are_sold_out_or_owned_are_not_shown() -> None:
    rules = Rules(pin=['R1', 'L1'], where={'in_stock': True})
    found = rules.rerank(
        CATALOG,
        [[2, 0], [2, -1]],
        [[2.0, 1], [2.0, 0]],
        2,
        pin_scores=[[1.0, 1.0], [1.0, np.nan]],
    )
    assert ids(found.items) == [['L1', 'L3'], ['L3']]
    assert found.is_complete.tolist() == [True, True]


def search_in(scores: NDArray[np.float64], calls: list[int]) -> Any:
    """A search over whole rankings that says how deep it was asked to be."""
    order = np.argsort(-scores, axis=1, kind='stable')

    def search(users: NDArray[np.int64], depth: int) -> tuple[ArrayLike, ArrayLike]:
        calls.append(depth)
        items = order[users, :depth]
        return items, np.take_along_axis(scores[users], items, axis=1)

    return search


@pytest.mark.parametrize('diversity', [0.0, 0.4])
def test_choose_asks_until_lists_are_complete(diversity: float) -> None:
    rng = np.random.default_rng(0)
    scores = -np.sort(-rng.standard_normal((4, 300)), axis=1)
    scores[0] = rng.standard_normal(300)
    brand = ['a'] * 290 + ['b', 'c', 'd', None] + ['a'] * 6
    catalog = Catalog(range(300), fields={'brand': brand})
    rules, vectors = Rules(max_per={'brand': 1}, diversity=diversity), rng.standard_normal((300, 3))
    calls: list[int] = []
    found = rules.choose(catalog, search_in(scores, calls), 4, 5, vectors=vectors)
    order = np.argsort(-scores, axis=1, kind='stable')
    whole = rules.rerank(
        catalog, order, np.take_along_axis(scores, order, axis=1), 5, vectors=vectors
    )
    assert calls[0] == rules.depth(5) < calls[-1] == 300
    assert len(calls) < 5
    for one, other in zip(found, whole, strict=True):
        np.testing.assert_array_equal(one, other)
    assert found.is_complete.all()


def test_choose_searches_once_where_that_suffices() -> None:
    scores = np.random.default_rng(0).standard_normal((2, 50))
    catalog, calls = Catalog(range(50)), [0]
    found = Rules(exclude=[int(scores[0].argmax())]).choose(catalog, search_in(scores, calls), 2, 3)
    assert calls == [0, 3, 12]  # the first user lost one of three
    assert (found.items >= 0).all()
    assert len(Rules().choose(catalog, search_in(scores, calls), 0, 3).items) == 0


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'repeat': 1}, "'repeat' must be true or false (got 1)"),
        ({'only': 'L1'}, "'only' must be a list of ids (got 'L1')"),
        ({'exclude': 5}, "'exclude' must be a list of ids (got 5)"),
        ({'pin': [1.5]}, "'pin' must hold ids, texts or integers (got 1.5)"),
        ({'pin': [True]}, "'pin' must hold ids, texts or integers (got True)"),
        ({'where': ['a']}, "'where' must map fields to what is asked of them (got list)"),
        ({'where': {'p': (1, 2, 3)}}, "'where' has the tuple (1, 2, 3) for 'p'; a range is"),
        ({'where': {'p': (None, None)}}, "'where' has the tuple (None, None) for 'p'"),
        ({'where': {'p': ('a', 'b')}}, 'one of several values is a list'),
        ({'where': {'p': (1, float('nan'))}}, "'where' has the tuple (1, nan) for 'p'"),
        ({'where': {'p': (2, 1)}}, "'where' has a range of 'p' from 2 down to 1"),
        ({'where': {'p': []}}, "'where' lists no value for 'p'"),
        ({'where': {'p': None}}, "'where' must hold texts, finite numbers or booleans (got None"),
        ({'where': {'p': [[1]]}}, "'where' must hold texts, finite numbers or booleans (got [1]"),
        ({'where': {'p': float('inf')}}, "'where' must hold texts, finite numbers or booleans"),
        ({'max_per': {'b': 0}}, "'max_per' must be a positive integer for 'b' (got 0)"),
        ({'max_per': {'b': True}}, "'max_per' must be a positive integer for 'b' (got True)"),
        ({'max_per': {'b': '2'}}, "'max_per' must be a positive integer for 'b' (got '2')"),
        ({'boost': {'b': float('nan')}}, "'boost' must be a finite number for 'b' (got nan)"),
        ({'boost': {'b': '1'}}, "'boost' must be a finite number for 'b' (got '1')"),
        ({'diversity': 1.5}, "'diversity' must lie in [0, 1] (got 1.5)"),
        ({'diversity': True}, "'diversity' must lie in [0, 1] (got True)"),
        ({'diversity': float('nan')}, "'diversity' must lie in [0, 1] (got nan)"),
    ],
)
def test_rules_that_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Rules(**arguments)


def test_rules_do_not_change() -> None:
    where, pin = {'brand': 'Arc'}, ['L1']
    rules = Rules(where=where, pin=pin)
    where['brand'] = 'Lumo'
    pin.append('L2')
    assert rules == Rules(where={'brand': 'Arc'}, pin=('L1',))
    with pytest.raises(FrozenInstanceError):
        rules.repeat = True  # type: ignore[misc]


IDS = st.lists(st.text(max_size=3) | st.integers(-5, 5), max_size=3)
NAMES = st.text(max_size=3)
NUMBERS = st.floats(-1e9, 1e9) | st.integers(-9, 9)
VALUES = st.text(max_size=3) | NUMBERS | st.booleans()
RANGES = st.tuples(NUMBERS, NUMBERS).map(lambda ends: (min(ends), max(ends)))
CONDITIONS = (
    VALUES
    | st.lists(VALUES, min_size=1, max_size=3)
    | RANGES
    | RANGES.map(lambda ends: (ends[0], None))
    | RANGES.map(lambda ends: (None, ends[1]))
)
RULES = st.builds(
    Rules,
    repeat=st.booleans(),
    only=st.none() | IDS,
    exclude=IDS,
    where=st.dictionaries(NAMES, CONDITIONS, max_size=3),
    max_per=st.dictionaries(NAMES, st.integers(1, 9), max_size=3),
    boost=st.dictionaries(NAMES, NUMBERS, max_size=3),
    pin=IDS,
    diversity=st.floats(0, 1),
)


@given(RULES)
def test_rules_survive_json(rules: Rules) -> None:
    assert Rules.from_dict(json.loads(json.dumps(rules.to_dict()))) == rules


def test_json_is_plain() -> None:
    rules = Rules(where={'price': (10, None), 'brand': ['Arc']}, pin=['L1'], diversity=0.3)
    assert rules.to_dict() == {
        'where': {'price': {'min': 10.0}, 'brand': ['Arc']},
        'pin': ['L1'],
        'diversity': 0.3,
    }
    assert Rules().to_dict() == {}
    assert Rules.from_dict({}) == Rules()


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        ([], "rules must be an object with some of ['repeat', 'only',"),
        ({'wher': {}}, "rules have no 'wher' (did you mean 'where'?); they have ['repeat',"),
        ({1: {}}, "rules have no '1'; they have"),
        ({'where': {'p': {'low': 1}}}, "a range of 'p' is an object with 'min', 'max' or both"),
        ({'where': {'p': {}}}, "a range of 'p' is an object with 'min', 'max' or both"),
        ({'where': {'p': {'min': 'a'}}}, "'where' has the tuple ('a', None) for 'p'"),
        ({'where': 'brand=Arc'}, "'where' must map fields to what is asked of them (got str)"),
        ({'exclude': None}, "'exclude' must be a list of ids (got None)"),
        ({'only': {'a': 1}}, "'only' must be a list of ids (got {'a': 1})"),
        ({'pin': ['a'] * 10_001}, "'pin' lists 10001 values; a request has 10000 at most"),
        ({'where': {'b': ['x'] * 1001}}, "'where' lists 1001 values; a request has 1000 at most"),
        ({'boost': {str(i): 1 for i in range(101)}}, "'boost' has 101 fields; a request has 100"),
        ({'exclude': ['x' * 1001]}, "'exclude' has a text of 1001 characters; a request has 1000"),
        ({'where': {'x' * 1001: 1}}, "'where' has a text of 1001 characters"),
        ({'where': {'b': 'x' * 1001}}, "'where' has a text of 1001 characters"),
        ({'diversity': 10**400}, "'diversity' must lie in [0, 1]"),
        ({'boost': {'b': 10**400}}, "'boost' must be a finite number"),
    ],
)
def test_json_that_is_refused(given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Rules.from_dict(given)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
NAMES_OF_RULES = ('repeat', 'only', 'exclude', 'where', 'max_per', 'boost', 'pin', 'diversity')


@given(JSON | st.dictionaries(st.sampled_from(NAMES_OF_RULES), JSON, max_size=4))
def test_any_json_makes_rules_or_a_message_of_one_line(given: Any) -> None:
    message = ''
    try:
        rules = Rules.from_dict(given)
        rules.allowed(CATALOG)
        rules.boosts(CATALOG)
    except ValueError as error:
        message = str(error)
    assert '\n' not in message
    assert len(message) < 1000


def test_long_values_are_shortened_in_messages() -> None:
    catalog = Catalog(range(20), fields={'text': [f'{i}{"x" * 5000}' for i in range(20)]})
    with pytest.raises(ValueError, match='and 10 more') as caught:
        Rules(where={'text': 'y' * 5000}).allowed(catalog)
    assert len(str(caught.value)) < 800
    with pytest.raises(ValueError, match='must be a list of ids') as caught:
        Rules(only='y' * 5000)
    assert len(str(caught.value)) < 200
