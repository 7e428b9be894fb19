import torch

from pyg_mmgef.report._evidence import Evidence
from pyg_mmgef.report._for_whom import for_whom, histogram


def test_histogram_by_hand() -> None:
    found = torch.tensor([0.0, 0.0, 0.1, 0.25, 0.26, 0.5, 0.75, 0.8, 0.99, 1.0])
    assert histogram(found) == [2, 2, 2, 1, 2, 1]
    assert histogram(torch.empty(0)) == [0] * 6


def test_people_by_the_share_that_is_found(evidence: Evidence) -> None:
    rows = for_whom(evidence)['rows']
    ours = evidence.found[0]
    assert sum(row['people'] for row in rows) == 60
    assert rows[0]['people'] == int((ours == 0).sum())
    assert rows[-1]['people'] == int((ours == 1).sum())
    assert rows[0]['shares'][1][1] == round(100 * int((evidence.found[1] == 0).sum()) / 60, 1)


def test_the_worst_have_most_choices_and_find_none(evidence: Evidence) -> None:
    ours, lists = evidence.found[0], evidence.lists
    ids = list(evidence.run.user_ids)
    worst = for_whom(evidence)['worst']
    assert 0 < len(worst) <= 3
    missed = lists.num_targets[ours == 0]
    assert [person['num_wanted'] for person in worst] == missed.sort(descending=True).values[
        : len(worst)
    ].tolist()
    for person in worst:
        user = ids.index(person['id'])
        place = lists.users.tolist().index(user)
        assert not lists.hit[place].any()
        assert person['num_owned'] == len(evidence.owned(user))
        assert [what for what, _ in person['strips']] == [
            'Chose before',
            'Hidden',
            'Was recommended',
        ]


def test_nobody_failed(evidence: Evidence) -> None:
    fine = Evidence(evidence.run)
    fine.found = torch.ones(60), torch.ones(60)
    assert for_whom(fine)['worst'] == []
