import pytest
import torch

from pyg_mmgef import Run
from pyg_mmgef.ranking import paired_t_test
from pyg_mmgef.report import _evidence
from pyg_mmgef.report._evidence import Evidence
from pyg_mmgef.schema import INTERACTS


def test_numbers_are_those_of_the_run(run: Run, evidence: Evidence) -> None:
    ours, theirs = evidence.measured
    baseline = run.metrics['baselines']['Popularity']
    for name in ('recall', 'ndcg'):
        assert ours[name] == pytest.approx(run.metrics[f'test_{name}@20'])
        assert theirs[name] == pytest.approx(baseline[f'{name}@20'])
    assert ours['recall'] > theirs['recall']


def test_the_test_is_paired_over_people(evidence: Evidence) -> None:
    ours, theirs = evidence.found
    assert evidence.test == paired_t_test(theirs, ours)
    assert evidence.test is not None
    assert evidence.test.difference == pytest.approx(float((ours - theirs).double().mean()))


def test_many_people_are_sampled(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_evidence, 'MOST_USERS', 20)
    one, other = Evidence(run), Evidence(run)
    assert len(one.lists.users) == 20
    assert one.num_tested == 60
    assert torch.equal(one.lists.users, other.lists.users)
    assert torch.isin(one.lists.target[0], one.lists.users).all()
    assert one.measured == other.measured


def test_a_refitted_run_cannot_be_measured(run: Run) -> None:
    with pytest.raises(ValueError, match='trained on all interactions'):
        Evidence(run.refit())


def test_what_a_person_has(run: Run, evidence: Evidence) -> None:
    store = run.train[INTERACTS]
    mine = store.edge_index[0] == 7
    latest = store.edge_index[1][mine][store.time[mine].argmax()]
    owned = evidence.owned(7)
    assert owned[0] == latest
    assert sorted(owned) == sorted(set(store.edge_index[1][mine].tolist()))
    held_out = run.test[INTERACTS].edge_label_index
    assert evidence.wanted(7) == sorted(held_out[1][held_out[0] == 7].tolist())
    counts = [(store.edge_index[1] == item).sum() for item in range(evidence.num_items)]
    assert evidence.popularity.tolist() == counts
