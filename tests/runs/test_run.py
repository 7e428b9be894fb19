from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
import torch
from torch_geometric.data import HeteroData

from pyg_mmgef import Run, fit
from pyg_mmgef.catalog import Rules
from pyg_mmgef.datasets import InteractionTables
from pyg_mmgef.nn import ContentIALS, LightGCN
from pyg_mmgef.runs import recommend_all
from pyg_mmgef.serving.export_folder import load_export
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
    assert saved.history == run.history
    assert (tmp_path / 'b' / 'curves.png').read_bytes().startswith(b'\x89PNG')
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
    assert loaded.evaluate() == run.evaluate()
    with pytest.raises(TypeError):
        _ = loaded.model


def test_a_solution_is_not_computed_again(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.save(tmp_path / 'run')
    monkeypatch.setattr(type(run.model), '_solve', None)
    loaded = Run.load(tmp_path / 'run')
    for own, expected in zip(loaded.model(loaded.train), run.model(run.train), strict=True):
        assert torch.equal(own, expected)
    assert str(loaded.explain('u1', 'i00')) == str(run.explain('u1', 'i00'))


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


def test_one_item_is_asked_for_at_a_time(run: Run) -> None:
    with pytest.raises(ValueError, match='one item, got 2'):
        run.similar(['i01', 'i02'])
    with pytest.raises(ValueError, match='one item, got 2'):
        run.explain('u0', ['i01', 'i02'])
    with pytest.raises(ValueError, match='one user, got 0'):
        run.explain([], 'i01')
    assert list(run.similar(['i01'])) == list(run.similar('i01'))


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


def test_a_basket_is_a_user_with_these_items(run: Run) -> None:
    user, item = run.train['user', 'interacts', 'item'].edge_index
    own = run.item_ids.to_ids(item[user == run.user_ids.to_rows(['u3'])])
    found, known = run.recommend(liked=own, k=24), run.recommend('u3', k=24)
    assert list(found.columns) == ['rank', 'item', 'score', 'title']
    assert not set(own) & set(found['item'])
    score = dict(zip(found['item'], found['score'], strict=True))
    for row in known:  # The embeddings of the users are solved last.
        assert score[row['item']] == pytest.approx(row['score'], abs=1e-4)
    both = run.recommend(liked=[own, own[:1]], k=2)
    assert both['list'] == [0, 0, 1, 1]
    assert both['item'][:2] == found['item'][:2]
    with pytest.raises(ValueError, match='give one of them'):
        run.recommend('u3', liked=own)
    with pytest.raises(ValueError, match="no item 'i7'"):
        run.recommend(liked=['i7'])
    with pytest.raises(ValueError, match='a list without items'):
        run.recommend(liked=[])


def test_a_basket_by_rules(run: Run) -> None:
    first, second = run.recommend(liked=['i01'], k=2)['item']
    found = run.recommend(liked=['i01'], k=1, rules=Rules(exclude=[first]))
    assert found['item'] == [second]
    assert 'i01' in run.recommend(liked=['i01'], k=24, rules=Rules(repeat=True))['item']


@pytest.mark.parametrize('model', ['best', 'lightgcn', 'itemknn', 'popularity'])
def test_baskets_of_models_on_disk(run: Run, tmp_path: Path, model: str) -> None:
    own = fit(run.source, model, **(FAST if model == 'best' else {}), folder=tmp_path / 'run')
    loaded = Run.load(tmp_path / 'run')
    for liked in (['i01', 'i04'], [['i02'], ['i03', 'i05']]):
        assert list(loaded.recommend(liked=liked)) == list(own.recommend(liked=liked))


def test_new_items_are_recommended_at_once(run: Run, catalogue: Path, tmp_path: Path) -> None:
    texts = ['oak table chair', None]
    grown = run.add_items(
        ['new', 'unknown'], texts=texts, images=[catalogue / 'photos/0.png', None]
    )
    assert len(run.item_ids) == 24
    assert len(grown.item_ids) == 26
    found = grown.recommend('u0', k=26)
    assert found['item'].index('new') < 12  # Its kind is that of the user.
    assert found['title'][found['item'].index('new')] == 'oak table chair'
    assert 'new' in grown.similar('i00', k=8)['item']
    assert grown.recommend(liked=['new'], k=3)['item']
    with pytest.raises(ValueError, match="knows nothing about the item 'unknown'"):
        grown.similar('unknown')
    saved = grown.save(tmp_path / 'run')
    assert list(saved.recommend('u0', k=26)) == list(found)
    assert saved.explain('u0', 'new').by_item
    assert saved.evaluate('val') == grown.evaluate('val')


@pytest.mark.parametrize('model', ['best', 'ials', 'lightgcn', 'mmgef', 'contentcentroid'])
def test_after_new_items_nothing_is_solved_again(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    options = {'best': FAST, 'lightgcn': {'epochs': 2}, 'mmgef': {'epochs': 2}}.get(model, {})
    before = fit(run.source, model, **options)
    grown = before.add_items(['new', 'other'], texts=['oak table chair', 'steel lamp'])
    if model == 'best':
        monkeypatch.setattr(ContentIALS, '_solve', None)
        monkeypatch.setattr(ContentIALS, '_adapting_matrix', None)
    with torch.no_grad():
        z_user, z_item = grown.model(grown.train)
    torch.testing.assert_close(z_user, grown.z_user)
    torch.testing.assert_close(z_item, grown.z_item)
    for shown in grown.recommend('u0', k=26):  # Of all items that u0 doesn't have.
        why = grown.explain('u0', shown['item'])
        assert why.score == pytest.approx(shown['score'], rel=1e-4, abs=1e-6)
        assert why.by_item is not None
    if model == 'best':
        saved = grown.save(tmp_path / 'run')
        assert saved.explain('u0', 'new').score == pytest.approx(grown.explain('u0', 'new').score)
        for each, folder in ((grown, tmp_path / 'a'), (saved, tmp_path / 'b')):
            served = load_export(each.export(folder, pictures=False))
            assert served.fold_in is not None
            assert served.content is not None
            for name, array in before.fold_in.to_arrays().items():
                found = served.fold_in.to_arrays()[name]
                np.testing.assert_array_equal(found[: len(array)], array)
            assert served.fold_in.settings == before.fold_in.settings
            for name, array in before.model.content_weights(before.train).to_arrays().items():
                np.testing.assert_allclose(served.content.to_arrays()[name], array, atol=1e-6)


def test_new_items_of_a_run_with_some_of_the_modalities(run: Run) -> None:
    of_texts = fit(run.source, **FAST, modalities=('text',))
    grown = of_texts.add_items(['new'], texts=['oak table chair'])
    assert 'new' in grown.similar('i00', k=8)['item']


def test_new_items_leave_the_curves(run: Run) -> None:
    trained = fit(run.source, 'lightgcn', epochs=2, embedding_dim=8)
    grown = trained.add_items(['new'], texts=['oak table chair'])
    assert grown.history == trained.history
    assert len(grown.history) == 2


def test_an_update_of_a_run_with_folds_holds_nothing_out_that_it_has_seen() -> None:
    data = random_shop()
    run = fit(data, 'mf', folds=2, epochs=2)
    updated = run.update(data)
    assert 'folds' in run.metrics
    assert 'folds' not in updated.metrics
    trained = {tuple(pair) for pair in run.seen().t().tolist()}
    for part in (updated.val, updated.test):
        pairs = part['user', 'interacts', 'item'].edge_label_index.t().tolist()
        assert not trained & {tuple(pair) for pair in pairs}


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'ids': ['i01']}, "holds 'i01', which the dataset has already"),
        ({'ids': ['n'], 'texts': ['a', 'b']}, "'texts' has 2 entries for 1 items"),
        ({'ids': ['n'], 'features': {'audio': torch.ones(1, 2)}}, "the modality 'audio'"),
        ({'ids': ['n'], 'features': {'text': torch.ones(1, 2)}}, 'floating point of shape'),
        ({'ids': ['n'], 'fields': {'price': [1, 2]}}, "2 values of 'price' for 1 items"),
    ],
)
def test_new_items_that_do_not_fit(run: Run, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run.add_items(**arguments)


def more_clicks(catalogue: Path, folder: Path) -> InteractionTables:
    """A new user who likes kind 0, a new item of kind 0, and known users who like it."""
    rows = [('u_new', 'i00'), ('u_new', 'i03'), *((f'u{user}', 'i_new') for user in (0, 3, 6, 9))]
    lines = ['customer,sku', *(','.join(row) for row in rows)]
    (folder / 'orders.csv').write_text('\n'.join(lines))
    (folder / 'items.csv').write_text('sku,title\ni_new,oak chair no 99')
    return InteractionTables(
        folder / 'orders.csv', folder / 'items.csv', user='customer', item='sku', text='title'
    )


@pytest.mark.parametrize('model', ['best', 'lightgcn', 'mmgef'])
def test_update_with_new_users_items_and_interactions(
    run: Run, catalogue: Path, tmp_path: Path, model: str
) -> None:
    options = FAST if model == 'best' else {'epochs': 8, 'embedding_dim': 8, 'lr': 0.05}
    before = fit(run.source, model, **options)
    after = before.update(more_clicks(catalogue, tmp_path), folder=tmp_path / 'run')
    assert len(after.user_ids) == 41
    assert list(after.item_ids)[:24] == list(before.item_ids)
    assert after.recommend('u_new', k=3)['item']
    assert 'i_new' not in after.recommend('u0', k=25)['item']
    held_out = {tuple(pair) for pair in after.seen('val', 'test').t().tolist()}
    assert len(held_out) == after.source.data()['user', 'interacts', 'item'].edge_index.size(1)
    trained = {
        tuple(pair) for pair in before.train['user', 'interacts', 'item'].edge_index.t().tolist()
    }
    for part in (after.val, after.test):
        pairs = part['user', 'interacts', 'item'].edge_label_index.t().tolist()
        assert not trained & {tuple(pair) for pair in pairs}
    loaded = Run.load(tmp_path / 'run')
    assert list(loaded.recommend('u0')) == list(after.recommend('u0'))
    assert loaded.evaluate() == after.evaluate()
    again = after.add_items(['i_next'], texts=['oak table'])  # The encoder is the first one.
    assert 'i_next' in again.recommend('u0', k=26)['item']


def test_training_goes_on_where_it_was(run: Run, catalogue: Path, tmp_path: Path) -> None:
    before = fit(run.source, 'lightgcn', epochs=8, embedding_dim=8, lr=0.05)
    before.settings = replace(before.settings, lr=1e-9, epochs=1)
    after = before.update(more_clicks(catalogue, tmp_path))
    assert isinstance(before.model, LightGCN)
    assert isinstance(after.model, LightGCN)
    old, new = before.model.item_embedding.weight, after.model.item_embedding.weight
    torch.testing.assert_close(new[:24], old)
    assert len(new) == 25


def with_latest_users(run: Run) -> HeteroData:
    """The data of the run, with times: users 38 and 39 come last."""
    data = run.source.data().clone()
    store = data['user', 'interacts', 'item']
    store.time = torch.arange(store.edge_index.size(1)) % 7 + 100 * (store.edge_index[0] >= 38)
    return data


@pytest.mark.parametrize('model', ['best', 'lightgcn', 'popularity', 'itemknn'])
def test_scores_of_latest_users_are_explained(run: Run, tmp_path: Path, model: str) -> None:
    options = {'best': FAST, 'lightgcn': {'epochs': 2}}.get(model, {})
    data = with_latest_users(run)
    found = fit(data, model, split='global_time', folder=tmp_path / 'run', **options)
    user, item = data['user', 'interacts', 'item'].edge_index
    of_latest = set(item[user == 39].tolist())
    for each in (found, Run.load(tmp_path / 'run')):
        for row in (0, 39):
            for shown in each.recommend(each.user_ids[row], k=24):
                why = each.explain(each.user_ids[row], shown['item'])
                assert why.score == pytest.approx(shown['score'], rel=1e-4, abs=1e-6)
                for parts in filter(None, (why.by_user, why.by_item)):
                    assert sum(part.score for part in parts) == pytest.approx(why.score, abs=1e-5)
        if model in ('best', 'lightgcn'):
            assert why.by_user is not None
            assert {part.item for part in why.by_user} == of_latest


def test_latest_users_are_folded_in(run: Run, tmp_path: Path) -> None:
    data = with_latest_users(run)
    store = data['user', 'interacts', 'item']
    found = fit(data, **FAST, split='global_time')
    trained = found.train['user', 'interacts', 'item'].edge_index[0]
    new = sorted(set(range(40)) - set(trained.tolist()))
    assert new == [38, 39]
    own = store.edge_index[1][store.edge_index[0] == 39]
    ids = found.item_ids.to_ids(own)
    expected = found.recommend(liked=ids, k=5)
    assert found.recommend(found.user_ids[39], k=5)['item'] == expected['item']
    recommend_all(found, tmp_path / 'all.parquet', k=5)
    table = pyarrow.parquet.read_table(tmp_path / 'all.parquet').to_pylist()
    own_rows = [row['item'] for row in table if row['user'] == found.user_ids[39]]
    assert own_rows == expected['item']


def test_the_solution_of_the_best_trial_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    solved = []
    solve = ContentIALS._solve

    def counted(self: ContentIALS, data: HeteroData) -> Any:
        solved.append((self.l2, self.unobserved_weight))
        return solve(self, data)

    monkeypatch.setattr(ContentIALS, '_solve', counted)
    run = fit(random_shop(), embedding_dim=4)
    assert len(solved) == 9, 'one for each trial, and none for the run'
    given: dict[str, Any] = {
        name: getattr(run.settings, name) for name in ('l2', 'unobserved_weight')
    }
    own = fit(random_shop(), embedding_dim=4, **given)
    assert own.metrics == run.metrics
