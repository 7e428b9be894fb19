import re

from pyg_mmgef.report._evidence import Evidence
from pyg_mmgef.report._people import people


def test_recommendations_stand_beside_their_main_reason(evidence: Evidence) -> None:
    shown = people(evidence, 4)
    assert len(shown) == 4
    run, titles = evidence.run, evidence.cards.titles
    row_of = {titles[row]: row for row in range(evidence.num_items)}
    for person in shown:
        user = list(run.user_ids).index(person['id'])
        items = []
        for group in person['groups']:
            for card in group['cards']:
                item = row_of[card['title']]
                items.append(item)
                parts = run.explainer(user, [item])[0].by_user or ()
                history = {p.item or 0: p.score for p in parts if p.kind == 'history'}
                best = max(history, key=history.__getitem__)
                assert best in evidence.owned(user)
                assert group['because']['title'] == titles[best]
                (share,) = re.findall(r'(\d+) % because you chose', card['reasons'][0][1][0])
                positive = sum(part.score for part in parts if part.score > 0)
                assert int(share) == round(100 * history[best] / positive)
                assert card['hit'] == ('chose it' if item in evidence.wanted(user) else '')
        place = evidence.lists.users.tolist().index(user)
        assert sorted(items) == sorted(evidence.lists.items[place, :6].tolist())
        assert person['num_found'] == int(evidence.lists.hit[place].sum())
        assert person['num_owned'] == len(evidence.owned(user))


def test_the_same_people_for_a_seed(evidence: Evidence) -> None:
    assert [p['id'] for p in people(evidence, 3)] == [p['id'] for p in people(evidence, 5)][:3]
    assert people(evidence, 0) == []
