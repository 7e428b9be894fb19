"""Recommendations by rules against a ranking of all items, one user at a time."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pyg_mmgef.catalog import Catalog, Rules
from pyg_mmgef.ranking import recommend
from pyg_mmgef.runs._by_rules import recommend_by_rules

NUM_USERS, NUM_ITEMS = 12, 60
BRANDS = np.array(['Arc', 'Lumo', 'Nord'])


@pytest.fixture(scope='module')
def catalog() -> Catalog:
    rng = np.random.default_rng(0)
    return Catalog(
        [f'i{item}' for item in range(NUM_ITEMS)],
        fields={
            'brand': rng.choice(BRANDS, NUM_ITEMS),
            'price': rng.uniform(1, 100, NUM_ITEMS),
            'new': rng.random(NUM_ITEMS) < 0.2,
        },
    )


def embeddings(layout: str, channels: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    z_user = torch.randn(NUM_USERS, channels, generator=generator)
    z_item = torch.randn(NUM_ITEMS, channels, generator=generator) + 0.5
    if layout != 'dense':
        z_user = (z_user * (torch.rand(z_user.shape, generator=generator) < 0.7)).to_sparse_csr()
    return z_user, z_item.to_sparse_csr() if layout == 'both sparse' else z_item


@pytest.fixture(scope='module')
def seen() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    users = torch.randint(0, NUM_USERS, (80,), generator=generator)
    items = torch.randint(0, NUM_ITEMS, (80,), generator=generator)
    return torch.stack([users, items]).unique(dim=1)


def slowly(
    z_user: Tensor, z_item: Tensor, user: int, rules: Rules, catalog: Catalog, k: int, seen: Tensor
) -> list[int]:
    """The list of a user from the scores of all items."""
    scores = (z_user.to_dense()[user] @ z_item.to_dense().T).double().numpy()
    boosted = scores + scores.std() * rules.boosts(catalog)
    own = set(seen[1, seen[0] == user].tolist()) if not rules.repeat else set()
    order = [row for row in np.argsort(-boosted, kind='stable').tolist() if row not in own]
    pins = [[np.nan if row in own else boosted[row] for row in catalog.rows_of(rules.pin)]]
    found = rules.rerank(
        catalog,
        [order],
        [boosted[order]],
        k,
        pin_scores=pins,
        vectors=z_item.to_dense().numpy(),
    )
    return found.items[0].tolist()


RULES = {
    'none': Rules(),
    'where': Rules(where={'price': (20, 70), 'brand': ['Arc', 'Nord']}),
    'repeat': Rules(repeat=True, exclude=['i3']),
    'only': Rules(only=['i1', 'i2', 'i5']),
    'max_per': Rules(max_per={'brand': 2}),
    'boost': Rules(boost={'new': 1.5, 'brand=Lumo': -0.5}),
    'pin': Rules(pin=['i7', 'i3', 'i9'], where={'price': (20, None)}),
    'diversity': Rules(diversity=0.4),
    'all': Rules(
        where={'price': (5, 95)},
        max_per={'brand': 3},
        boost={'new': 2},
        pin=['i8', 'i1'],
        diversity=0.3,
        exclude=['i4'],
    ),
}


@pytest.mark.parametrize('layout', ['dense', 'sparse users', 'both sparse'])
@pytest.mark.parametrize('name', RULES)
def test_lists_are_those_of_a_ranking_of_all_items(
    name: str, layout: str, catalog: Catalog, seen: Tensor
) -> None:
    rules, (z_user, z_item) = RULES[name], embeddings(layout)
    if rules.diversity and layout == 'both sparse':
        pytest.skip('such models have no embeddings to compare')
    users = torch.tensor([3, 0, 3, 11, 7])
    scores, items = recommend_by_rules(z_user, z_item, users, rules, catalog, k=8, seen=seen)
    assert items.shape == scores.shape == (5, 8)
    assert (scores.isneginf() == (items == -1)).all()
    for user, row in zip(users.tolist(), items.tolist(), strict=True):
        assert row == slowly(z_user, z_item, user, rules, catalog, 8, seen)


def test_without_rules_lists_are_those_of_recommend(catalog: Catalog, seen: Tensor) -> None:
    z_user, z_item = embeddings('dense')
    users = torch.arange(NUM_USERS)
    plain = recommend(z_user, z_item, k=8, exclude=seen)
    found = recommend_by_rules(z_user, z_item, users, Rules(), catalog, k=8, seen=seen)
    assert torch.equal(found.items, plain.items)
    assert torch.equal(found.scores, plain.scores)


def test_nothing_is_allowed(catalog: Catalog, seen: Tensor) -> None:
    rules = Rules(only=['i1'], exclude=['i1'], pin=['i1'])
    users = torch.arange(2)
    _, items = recommend_by_rules(*embeddings('dense'), users, rules, catalog, k=3, seen=seen)
    assert items.tolist() == [[-1] * 3] * 2


def test_half_precision(catalog: Catalog, seen: Tensor) -> None:
    z_user, z_item = (z.bfloat16() for z in embeddings('dense'))
    scores, _ = recommend_by_rules(
        z_user, z_item, torch.arange(3), RULES['all'], catalog, k=4, seen=seen
    )
    assert scores.dtype == torch.float32


@pytest.mark.parametrize(('layout', 'channels'), [('both sparse', 6), ('dense', 1)])
def test_diversity_needs_embeddings(
    layout: str, channels: int, catalog: Catalog, seen: Tensor
) -> None:
    arguments: Any = (*embeddings(layout, channels), torch.arange(2), Rules(diversity=0.1), catalog)
    message = "'diversity' compares embeddings of items, and this model has none"
    with pytest.raises(ValueError, match=re.escape(message)):
        recommend_by_rules(*arguments, k=3, seen=seen)
