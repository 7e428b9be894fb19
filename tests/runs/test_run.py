from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData

from pyg_mmgef import Run, fit
from pyg_mmgef.catalog import Rules
from pyg_mmgef.datasets import InteractionTables
from tests.transforms.shops import random_shop

FAST: dict[str, Any] = {'embedding_dim': 8, 'budget': 0}


@pytest.fixture(scope='module')
def tables(catalogue: Path) -> InteractionTables:
    return InteractionTables(
        catalogue / 'orders.csv',
        catalogue / 'items.csv',
        user='customer',
        item='sku',
        text='title',
        image='photo',
        image_folder=catalogue / 'photos',
    )


@pytest.fixture(scope='module')
def run(tables: InteractionTables) -> Run:
    with pytest.warns(UserWarning, match='1 of 24 pictures could not be read'):
        return fit(tables, **FAST)


def test_from_two_tables_to_recommendations(run: Run, tables: InteractionTables) -> None:
    found = run.recommend('u3', k=5)
    assert found['user'] == ['u3'] * 5
    assert found['rank'] == [1, 2, 3, 4, 5]
    assert found['score'] == sorted(found['score'], reverse=True)
    rows = tables.item_ids.to_rows(found['item']).tolist()
    assert found['title'] == [tables.item_texts[row] for row in rows]
    assert {'x_text', 'x_image'} < set(run.train['item'].keys())
    user, items = tables[0]['user', 'interacts', 'item'].edge_index
    own = set(items[user == tables.user_ids.to_rows(['u3'])].tolist())
    assert not own & set(rows)


def test_users_in_any_form(run: Run) -> None:
    pandas = pytest.importorskip('pandas')
    both = list(run.recommend(['u1', 'u2'], k=3))
    for users in (('u1', 'u2'), np.array(['u1', 'u2']), pandas.Series(['u1', 'u2'])):
        assert list(run.recommend(users, k=3)) == both
    assert list(run.recommend(k=3))[:3] == list(run.recommend('u0', k=3))
    frame = run.recommend('u1').to_pandas()
    assert list(frame.columns) == ['user', 'rank', 'item', 'score', 'title']


def test_rules(run: Run) -> None:
    first, second, *_, last = run.recommend('u3', k=12)['item']
    titles = run.catalog.fields['title'].tolist()
    rules = Rules(exclude=[first], pin=[last], where={'title': titles})
    found = run.recommend(['u3', 'u1'], k=5, rules=rules)
    assert found['user'] == ['u3'] * 5 + ['u1'] * 5
    assert found['item'][:2] == [last, second]
    assert first not in found['item']
    assert list(run.recommend(rules=Rules())) == list(run.recommend())
    with pytest.raises(ValueError, match=r"'where' names the field 'titel'.*did you mean 'title'"):
        run.recommend('u3', rules=Rules(where={'titel': 'x'}))


def test_integer_ids_may_be_text() -> None:
    run = fit(random_shop(), **FAST)
    assert list(run.recommend('3')) == list(run.recommend(3))
    assert list(run.recommend(torch.tensor([3]))) == list(run.recommend(np.int64(3).item()))
    assert 'title' not in run.recommend(3).columns


def test_saved_and_loaded(run: Run, tmp_path: Path) -> None:
    saved = run.save(tmp_path / 'run')
    for other in (saved, Run.load(tmp_path / 'run')):
        assert list(other.recommend()) == list(run.recommend())
        assert list(other.similar('i07')) == list(run.similar('i07'))
        assert other.metrics == run.metrics
        assert other.evaluate() == run.evaluate()
    with pytest.raises(ValueError, match='holds another run'):
        fit(random_shop(), **FAST).save(tmp_path / 'run')


def test_a_trained_model_is_the_same_in_memory_and_in_a_folder(run: Run, tmp_path: Path) -> None:
    options: dict[str, Any] = {'epochs': 3, 'embedding_dim': 8, 'seed': 3}
    tables = run.source  # With its features.
    run = fit(tables, 'lightgcn', **options)
    written = fit(tables, 'lightgcn', folder=tmp_path / 'a', **options)
    assert run.metrics == written.metrics
    assert run.history == written.history
    assert len(run.history) == 3
    saved = run.save(tmp_path / 'b')
    assert saved.metrics == run.metrics
    for name, value in saved.model.state_dict().items():
        assert torch.equal(value, run.model.state_dict()[name])
    again = fit(tables, 'lightgcn', folder=tmp_path / 'a', **options)
    assert again.metrics == written.metrics
    with pytest.raises(ValueError, match=r"another run.*'folder'"):
        fit(tables, 'mf', folder=tmp_path / 'a', **options)


def test_recommending_builds_no_model(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.save(tmp_path / 'run')
    monkeypatch.setattr('pyg_mmgef.runs.run.build_model', None)
    loaded = Run.load(tmp_path / 'run')
    assert list(loaded.recommend('u1')) == list(run.recommend('u1'))
    with pytest.raises(TypeError):
        _ = loaded.model


def test_item_graphs_of_the_data_are_kept(tmp_path: Path) -> None:
    data = random_shop()
    for name in [key for key in data['item'] if key.startswith(('x', 'has'))]:
        del data['item'][name]
    edge_index = torch.tensor([[0, 1, 2], [1, 0, 1]])
    data['item', 'similar', 'item'].edge_index = edge_index
    data['item', 'similar', 'item'].edge_weight = torch.tensor([0.5, 0.25, 1.0])
    saved = fit(data, **FAST).save(tmp_path / 'run')
    kept = saved.source.data()['item', 'similar', 'item']
    assert torch.equal(kept.edge_index, edge_index)
    assert kept.edge_weight.tolist() == [0.5, 0.25, 1.0]


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'model': 'lightgnc'}, "'model' must be one of"),
        ({'embeding_dim': 8}, "no option 'embeding_dim'; did you mean 'embedding_dim'"),
        ({'colour': 8}, "no option 'colour'; they are modalities"),
        ({'model': 'mf', 'attention': 'edge'}, "'attention' is not an option"),
        ({'split': 'time'}, "split='time' needs the times"),
        ({'device': 'gpu'}, "device='gpu' is unknown"),
    ],
)
def test_mistakes_are_named_in_words_of_python(arguments: dict[str, Any], message: str) -> None:
    data = random_shop()
    del data['user', 'interacts', 'item'].time
    with pytest.raises((TypeError, ValueError), match=message):
        fit(data, **arguments)


def test_unknown_ids_have_similar_ones(run: Run) -> None:
    with pytest.raises(ValueError, match="no item 'I07'; did you mean 'i07'"):
        run.similar('I07')
    with pytest.raises(ValueError, match="no user 'zzz'; it has 40 users, such as 'u0'"):
        run.recommend('zzz')


def test_other_data_is_refused() -> None:
    with pytest.raises(TypeError, match='HeteroData, a data set'):
        fit([1, 2])
    with pytest.raises(FileNotFoundError, match='not a prepared dataset'):
        fit('nowhere')
    with pytest.raises(ValueError, match='interacts'):
        fit(HeteroData())


def test_repr(run: Run) -> None:
    assert repr(run) == "Run('contentials', num_users=40, num_items=24)"


def test_metrics_of_the_lists_and_by_group(run: Run) -> None:
    names = ('recall', 'coverage', 'novelty', 'diversity')
    lists = run.top_lists('test', 5)
    assert run.evaluate('test', (5,), names) == lists.evaluate(names, 5)
    assert run.evaluate('test', (5,))['recall@5'] == lists.evaluate('recall')['recall@5']
    by_activity = lists.grouped(run.groups('activity'), 'recall')
    assert sum(group['users'] for group in by_activity.values()) == len(lists.users)
    groups = run.groups('popularity')
    popularity = np.bincount(run.train['user', 'interacts', 'item'].edge_index[1], minlength=24)
    heads = groups.index.numpy() == 0
    assert popularity[heads].min() > popularity[~heads].max()
    assert torch.equal(lists.popularity, torch.from_numpy(popularity))  # type: ignore[arg-type]


def test_mistakes_in_lists(run: Run) -> None:
    with pytest.raises(ValueError, match=r"'part' must be one of 'val', 'test' .got 'train'"):
        run.top_lists('train')  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'cutoff' must be at most 24"):
        run.top_lists(k=25)
    with pytest.raises(ValueError, match="'by' must be one of 'activity', 'popularity'"):
        run.groups('age')


def test_why_an_item_is_recommended(run: Run) -> None:
    found = run.recommend('u3', k=2)
    for item, score in zip(found['item'], found['score'], strict=True):
        explanation = run.explain('u3', item)
        assert explanation.score == pytest.approx(score, rel=1e-4)
        assert explanation.by_user is not None
        total = sum(part.score for part in explanation.by_user)
        assert total == pytest.approx(score, rel=1e-4)
        row = max((part.score, part.item) for part in explanation.by_user if part.item is not None)
        title = run.titles[row[1]] or run.item_ids[row[1]]
        assert f"because you bought '{title}'." in explanation.words(verb='bought')[0]
    with pytest.raises(ValueError, match="'nobody'"):
        run.explain('nobody', found['item'][0])
    with pytest.raises(ValueError, match="'nothing'"):
        run.explain('u3', 'nothing')
