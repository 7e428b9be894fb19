from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pyg_mmgef.catalog import Catalog, Rules
from pyg_mmgef.ranking import recommend
from pyg_mmgef.serving import Answer, Ask, Engine, load_export
from pyg_mmgef.serving._best_rows import best_rows
from pyg_mmgef.serving._item_changes import ItemChange
from pyg_mmgef.serving.engine import UnknownItem, UnknownUser
from tests.serving.exports import make_export


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_export(tmp_path_factory.mktemp('export'), num_users=40, num_items=90)


@pytest.fixture
def engine(folder: Path) -> Engine:
    return Engine(load_export(folder))


def answered(engine: Engine, **ask: Any) -> Answer:
    (answer,) = engine.answer([Ask(**ask)])
    assert isinstance(answer, Answer), answer
    return answer


def items_of(engine: Engine, **ask: Any) -> list[Any]:
    return [item['item'] for item in answered(engine, **ask).items]


def failed(engine: Engine, **ask: Any) -> Exception:
    (answer,) = engine.answer([Ask(**ask)])
    assert isinstance(answer, Exception)
    return answer


def slow_ranking(engine: Engine, vector: np.ndarray, left_out: set[int]) -> list[int]:
    """All rows by their float64 inner products, one by one."""
    z = engine.export.item_vectors
    score = [sum(float(a) * float(b) for a, b in zip(vector, row, strict=True)) for row in z]
    rows = [row for row in range(len(z)) if row not in left_out]
    return sorted(rows, key=lambda row: (-score[row], row))


def test_all_users_as_a_slow_ranking(engine: Engine) -> None:
    users = [f'u{user}' for user in range(40)]
    answers = engine.answer([Ask(user=user, k=90) for user in users])
    for user, answer in enumerate(answers):
        assert isinstance(answer, Answer)
        seen = set(engine.export.seen(user).tolist())
        expected = slow_ranking(engine, engine.export.user_vectors[user], seen)
        assert [item['item'] for item in answer.items] == [f'I{row}' for row in expected]
        assert answer.reason == 'history'
        assert answer.version == engine.export.version


def test_as_the_ranking_of_the_package(engine: Engine) -> None:
    export = engine.export
    seen = np.repeat(np.arange(40), np.diff(export.seen_indptr)), export.seen_indices
    found = recommend(
        torch.tensor(export.user_vectors),
        torch.tensor(export.item_vectors),
        k=10,
        exclude=torch.tensor(np.stack(seen)).long(),
    )
    for user in range(40):
        expected = [f'I{row}' for row in found.items[user].tolist()]
        answer = answered(engine, user=f'u{user}')
        assert [item['item'] for item in answer.items] == expected
        score = [item['score'] for item in answer.items]
        np.testing.assert_allclose(score, found.scores[user].numpy(), rtol=1e-5)


def test_an_answer_does_not_depend_on_others(engine: Engine) -> None:
    asks = [Ask(user=f'u{user % 40}', k=20) for user in range(64)]
    together = engine.answer(asks)
    for ask, answer in zip(asks, together, strict=True):
        (alone,) = engine.answer([ask])
        assert isinstance(alone, Answer)
        assert isinstance(answer, Answer)
        assert alone.items == answer.items


def test_equal_scores_by_the_row(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    items = np.repeat(rng.standard_normal((5, 8), np.float32), 40, axis=0)
    users = rng.standard_normal((7, 8), np.float32)
    users[3] = 0
    make_export(tmp_path, num_users=7, num_items=200, vectors=(users, items))
    engine = Engine(load_export(tmp_path))
    for user in range(7):
        seen = set(engine.export.seen(user).tolist())
        expected = slow_ranking(engine, users[user], seen)[:100]
        assert items_of(engine, user=f'u{user}', k=100) == [f'I{row}' for row in expected]


def test_repeat_shows_what_the_user_has(engine: Engine) -> None:
    expected = slow_ranking(engine, engine.export.user_vectors[4], set())[:30]
    found = items_of(engine, user='u4', k=30, rules=Rules(repeat=True))
    assert found == [f'I{row}' for row in expected]


def test_rules_as_a_slow_filter(engine: Engine) -> None:
    catalog = engine.export.catalog
    rules = Rules(
        where={'price': (20, 80), 'brand': ['Arc', 'Nord']}, exclude=['I8'], boost={'in_stock': 0.5}
    )
    user = engine.export.user_vectors[2].astype(np.float64)
    score = (engine.export.item_vectors.astype(np.float64) * user).sum(axis=1)
    score += 0.5 * score.std() * (catalog.fields['in_stock'] == 1)
    seen = set(engine.export.seen(2).tolist())
    rows = [
        row
        for row in range(90)
        if 20 <= catalog.fields['price'][row] <= 80
        and catalog.fields['brand'][row] in ('Arc', 'Nord')
        and row not in seen
        and row != 8
    ]
    rows.sort(key=lambda row: (-score[row], row))
    answer = answered(engine, user='u2', k=15, rules=rules)
    assert [item['item'] for item in answer.items] == [f'I{row}' for row in rows[:15]]
    np.testing.assert_allclose([item['score'] for item in answer.items], score[rows[:15]])


def test_pins_limits_and_diversity_as_the_catalog_has_them(engine: Engine) -> None:
    rules = Rules(pin=['I7', 'I9'], max_per={'brand': 2}, diversity=0.4)
    export = engine.export
    seen = export.seen(6)
    score = (export.item_vectors.astype(np.float64) * export.user_vectors[6]).sum(axis=1)
    score[seen] = -np.inf
    order = np.argsort(-score, kind='stable')[: 90 - len(seen)]
    pins = np.where(np.isfinite(score[[7, 9]]), score[[7, 9]], np.nan)
    expected = rules.rerank(
        export.catalog,
        order[None],
        score[order][None],
        12,
        pin_scores=pins[None],
        vectors=export.item_vectors,
    ).items[0]
    found = items_of(engine, user='u6', k=12, rules=rules)
    assert found == [f'I{row}' for row in expected if row >= 0]
    assert found[:2] == ['I7', 'I9']


def test_unknown_users_get_popular_items_or_an_error(engine: Engine) -> None:
    answer = answered(engine, user='nobody', k=5)
    popular = np.argsort(-engine.export.popularity, kind='stable')[:5]
    assert answer.reason == 'new user'
    assert [item['item'] for item in answer.items] == [f'I{row}' for row in popular]
    error = failed(engine, user='nobody', needs_user=True)
    assert isinstance(error, UnknownUser)
    assert "no user 'nobody'" in str(error)


def test_liked_items_are_folded_in(engine: Engine) -> None:
    fold_in = engine.export.fold_in
    assert fold_in is not None
    vector = fold_in.embed([[3, 5]])[0]
    expected = slow_ranking(engine, vector, {3, 5})[:10]
    answer = answered(engine, liked=['I5', 'I3', 'I5'])
    assert answer.reason == 'liked'
    assert [item['item'] for item in answer.items] == [f'I{row}' for row in expected]


def test_because_names_the_largest_share(engine: Engine) -> None:
    fold_in = engine.export.fold_in
    assert fold_in is not None
    parts = fold_in.parts([3, 5, 30])
    for item in answered(engine, liked=['I3', 'I5', 'I30'], k=20).items:
        share = parts @ engine.export.item_vectors[int(item['item'][1:])]
        best = (3, 5, 30)[int(share.argmax())]
        assert item['because'] == {'item': f'I{best}', 'title': engine.export.catalog.titles[best]}


def test_a_user_and_liked_items_count_together(engine: Engine) -> None:
    fold_in, seen = engine.export.fold_in, engine.export.seen(1)
    assert fold_in is not None
    rows = sorted({*seen.tolist(), 50, 51})
    expected = slow_ranking(engine, fold_in.embed([rows])[0], set(rows))[:10]
    assert items_of(engine, user='u1', liked=['I50', 'I51']) == [f'I{row}' for row in expected]


def test_a_model_without_fold_in_says_so(tmp_path: Path) -> None:
    engine = Engine(load_export(make_export(tmp_path, fold_in=False)))
    assert "can't make a user of liked items" in str(failed(engine, liked=['I1']))


def test_similar_items_by_cosine(engine: Engine) -> None:
    z = engine.export.item_vectors.astype(np.float64)
    cosine = z @ z[4] / np.linalg.norm(z, axis=1) / np.linalg.norm(z[4])
    cosine[4] = -np.inf
    expected = np.argsort(-cosine, kind='stable')[:7]
    answer = answered(engine, item='I4', k=7)
    assert [item['item'] for item in answer.items] == [f'I{row}' for row in expected]
    np.testing.assert_allclose([item['score'] for item in answer.items], cosine[expected])


def test_items_without_a_vector_are_similar_to_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    users, items = (rng.standard_normal((n, 8), np.float32) for n in (5, 20))
    items[7] = 0
    make_export(tmp_path, num_users=5, num_items=20, vectors=(users, items))
    engine = Engine(load_export(tmp_path))
    assert 'its vector is zero' in str(failed(engine, item='I7'))
    found = items_of(engine, item='I3', k=20)
    assert len(found) == 18
    assert 'I7' not in found


def test_a_boost_beside_an_item_without_a_vector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    users, items = (rng.standard_normal((n, 8), np.float32) for n in (5, 20))
    items[7] = 0
    make_export(tmp_path, num_users=5, num_items=20, vectors=(users, items))
    engine, errors = Engine(load_export(tmp_path)), []

    def spied(scores: Any, k: int, exact: Any, error: float) -> Any:
        errors.append(error)
        return best_rows(scores, k, exact, error)

    monkeypatch.setattr('pyg_mmgef.serving.engine.best_rows', spied)
    assert 'I7' not in items_of(engine, item='I3', k=20, rules=Rules(boost={'in_stock': 0.5}))
    assert max(errors) < 1e-4, 'float32 scores still narrow the items down'


def test_unknown_items_are_errors(engine: Engine) -> None:
    error = failed(engine, item='none')
    assert isinstance(error, UnknownItem)
    assert "no item 'none'" in str(error)
    assert "names the item 'none'" in str(failed(engine, user='u1', rules=Rules(only=['none'])))


def test_unknown_liked_items_are_ignored_and_named(engine: Engine) -> None:
    answer = answered(engine, liked=['I1', 'none', 'I2'])
    assert answer.ignored == ['none']
    assert answer.items == answered(engine, liked=['I1', 'I2']).items
    assert answered(engine, liked=['none']).reason == 'new user'


def test_a_retired_item_still_says_what_is_liked(engine: Engine) -> None:
    before = answered(engine, liked=['I1', 'I2'])
    engine.apply([ItemChange('I1', {}, is_retired=True, number=1)])
    after = answered(engine, liked=['I1', 'I2'])
    assert not after.ignored
    assert after.items == before.items


def test_one_mistake_leaves_other_answers(engine: Engine) -> None:
    answers = engine.answer([Ask(user='u1'), Ask(item='none'), Ask(user='u2')])
    assert [type(answer) for answer in answers] == [Answer, UnknownItem, Answer]


def test_an_added_item_is_ranked(engine: Engine) -> None:
    best = 10 * engine.export.user_vectors[0]
    change = ItemChange(
        'new', {'title': 'New', 'fields': {'price': 5.0}}, best, is_added=True, number=1
    )
    engine.apply([change])
    first = answered(engine, user='u0').items[0]
    assert (first['item'], first['title'], first['fields']) == ('new', 'New', {'price': 5})
    assert first['score'] == pytest.approx(float(10 * (best / 10) @ (best / 10)), rel=1e-6)
    assert 'new' in items_of(engine, user='u0', k=5, rules=Rules(where={'price': (None, 5)}))
    assert 'new' in items_of(engine, user='u0', k=5, rules=Rules(diversity=0.5))
    assert items_of(engine, item='new', k=3)
    assert engine.search('NEW', 5)[0]['item'] == 'new'
    assert items_of(engine, user='nobody', k=91)[-1] == 'new'  # Nobody has it.


def test_a_liked_item_that_is_new_counts_by_its_features(tmp_path: Path) -> None:
    engine = Engine(load_export(make_export(tmp_path, content=True)))
    features = {'image': [1.0, 2.0, 3.0], 'text': [0.0, 1.0, 0.0, 1.0]}
    by_features = ItemChange('new', {}, features=features, is_added=True, number=1)
    by_vector = ItemChange('other', {}, np.ones(8, np.float32), is_added=True, number=2)
    engine.apply([by_features, by_vector])
    fold_in, history = engine.export.fold_in, engine.export.history
    assert fold_in is not None
    assert history is not None
    given = history.embed({name: [row] for name, row in features.items()})
    vector = fold_in.with_items(given).embed([[3, 80]])[0]
    expected = slow_ranking(engine, vector, {3})
    found = items_of(engine, liked=['I3', 'new'], k=82)
    assert [item for item in found if item != 'other'] == [f'I{row}' for row in expected]
    alone = answered(engine, liked=['I3'], k=20).items
    answer = answered(engine, liked=['I3', 'other'], k=20)
    kept = [item for item in alone if item['item'] != 'other']
    assert answer.items[: len(kept)] == kept  # Nothing says what it adds, so it is only left out.


def test_a_retired_item_is_shown_no_more(engine: Engine) -> None:
    best = items_of(engine, user='u3')
    engine.apply([ItemChange(best[0], {}, is_retired=True, number=1)])
    assert items_of(engine, user='u3', k=9) == best[1:]
    assert isinstance(failed(engine, item=best[0]), UnknownItem)
    assert best[0] not in items_of(engine, user='nobody', k=90)
    assert items_of(engine, user='u3', rules=Rules(pin=[best[0]]))[0] != best[0]
    engine.apply([ItemChange(best[0], {}, number=2)])
    assert items_of(engine, user='u3') == best


def test_rules_see_changed_fields(engine: Engine) -> None:
    rules = Rules(where={'brand': 'Lumo'})
    first = items_of(engine, user='u5', k=1, rules=rules)[0]
    engine.apply([ItemChange(first, {'fields': {'brand': 'Arc'}}, number=1)])
    assert first not in items_of(engine, user='u5', k=90, rules=rules)
    assert first in items_of(engine, user='u5', k=90, rules=Rules(where={'brand': 'Arc'}))


def test_ids_that_are_numbers(tmp_path: Path) -> None:
    catalog = Catalog(list(range(100, 130)))
    users = [9, 3, 7, 1, 5]
    make_export(tmp_path, num_users=5, num_items=30, catalog=catalog, user_ids=users)
    engine = Engine(load_export(tmp_path))
    assert answered(engine, user='7').reason == answered(engine, user=7).reason == 'history'
    for unknown in ('07', '7.0', 'x', 4, str(10**30)):
        assert answered(engine, user=unknown).reason == 'new user'
    assert all(isinstance(item, int) for item in items_of(engine, item='101'))
