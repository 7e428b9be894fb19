from typing import Any

import pytest

from pyg_mmgef.report._evidence import Evidence
from pyg_mmgef.report._new_products import new_products
from pyg_mmgef.report._numbers import percent


def test_who_would_get_them(evidence: Evidence) -> None:
    found: Any = new_products(evidence)
    lists = evidence.lists.items
    assert found['num_new'] == 3
    ids = list(evidence.run.item_ids)
    people = {id_: int((lists == ids.index(id_)).sum()) for id_ in ('i72', 'i73', 'i74')}
    assert found['num_shown'] == sum(count > 0 for count in people.values()) > 0
    share = sum(people.values()) / lists.numel()
    assert found['share'] == percent(share)
    shown = {product['card']['id']: product for product in found['products']}
    assert {id_: count for id_, count in people.items() if count} == {
        id_: product['num_people'] for id_, product in shown.items()
    }
    counts = [product['num_people'] for product in found['products']]
    assert counts == sorted(counts, reverse=True)
    for id_, product in shown.items():
        rank = (lists == ids.index(id_)).nonzero()[:, 1].min() + 1
        assert product['audience'][0]['rank'] == rank
        assert len(product['audience'][0]['chosen']) > 0


def test_nothing_where_nothing_is_new(evidence: Evidence, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, 'popularity', evidence.popularity.clamp(min=1))
    assert new_products(evidence) is None
