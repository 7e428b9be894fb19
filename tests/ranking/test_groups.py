import pytest
import torch
from torch import Tensor

from pyg_mmgef.ranking import Groups, activity_groups, label_groups, popularity_groups


def edges(count: list[int]) -> Tensor:
    """Interactions in which the ``i``-th end occurs ``count[i]`` times."""
    end = torch.arange(len(count)).repeat_interleave(torch.tensor(count))
    return torch.stack([end, torch.arange(len(end))])


def members(groups: Groups) -> dict[str, list[int]]:
    return {
        name: (groups.index == place).nonzero().view(-1).tolist()
        for place, name in enumerate(groups.names)
    }


def test_activity_by_thirds() -> None:
    groups = activity_groups(edges([1, 5, 2, 9, 3, 0, 4]), 8)
    assert groups.of == 'user'
    assert members(groups) == {'none': [5, 7], 'few': [0, 2], 'medium': [4, 6], 'many': [1, 3]}
    assert groups.notes['few'] == '1 to 2 interactions'
    assert groups.notes['medium'] == '3 to 4 interactions'
    assert groups.notes['many'] == '5 or more interactions'


def test_users_alike_stay_together() -> None:
    groups = activity_groups(edges([1, 1, 1, 1, 7]), 5)
    assert members(groups) == {'none': [], 'few': [0, 1, 2, 3], 'medium': [], 'many': [4]}
    assert groups.notes['few'] == '1 interaction'


def test_activity_by_bounds() -> None:
    groups = activity_groups(edges([1, 5, 2, 9, 3, 0, 4]), 7, bounds=(3, 8))
    assert members(groups) == {'none': [5], 'few': [0, 2, 4], 'medium': [1, 6], 'many': [3]}


def test_nobody_is_active() -> None:
    nothing = torch.empty(2, 0, dtype=torch.int64)
    assert members(activity_groups(nothing, 3))['none'] == [0, 1, 2]
    assert members(popularity_groups(nothing, 3))['cold'] == [0, 1, 2]


def test_popularity_by_share_of_interactions() -> None:
    count = [1, 30, 1, 10, 0, 28, 20, 10]  # Of 100.
    groups = popularity_groups(edges(count).flip(0), 8, head=0.5, tail=0.1)
    assert groups.of == 'item'
    # Item 5 is above half, after item 1. Items 0, 2 have 2 %, items 3 and 7 the next 20 %.
    assert members(groups) == {'head': [1, 5], 'middle': [6], 'tail': [0, 2, 3, 7], 'cold': [4]}
    assert groups.notes['head'] == 'the most popular, with 50% of the interactions'


def test_items_all_alike_are_one_group() -> None:
    groups = popularity_groups(edges([2, 2, 2, 2]).flip(0), 4)
    assert members(groups)['head'] == [0, 1, 2, 3]


def test_labels() -> None:
    labels = ['b', 'a', None, 'c', 'b', 'a', 'd', 'e']
    groups = label_groups(labels, 'item', most=3)
    assert members(groups) == {
        'a': [1, 5],
        'b': [0, 4],
        'c': [3],
        'other labels': [6, 7],
        'no label': [2],
    }
    assert label_groups(['x', 'y'], 'user').names == ('x', 'y')


class TestMistakes:
    def test_groups(self) -> None:
        with pytest.raises(ValueError, match=r"'index' must hold places .* from -1 to 1 .got 0 to"):
            Groups('user', ('a', 'b'), torch.tensor([0, 2]))
        with pytest.raises(ValueError, match="'index' must be a vector"):
            Groups('user', ('a', 'b'), torch.tensor([0.0]))
        with pytest.raises(ValueError, match="'names' must differ"):
            Groups('user', ('a', 'a'), torch.tensor([0]))

    def test_activity(self) -> None:
        with pytest.raises(ValueError, match='holds the user id 2'):
            activity_groups(edges([1, 1, 1]), 2)
        with pytest.raises(ValueError, match=r"'bounds' must increase .got 3 and 3"):
            activity_groups(edges([1]), 2, bounds=(3, 3))

    def test_popularity(self) -> None:
        with pytest.raises(ValueError, match='holds the item id 2'):
            popularity_groups(edges([1, 1, 1]).flip(0), 2)
        with pytest.raises(ValueError, match="'head' must lie in"):
            popularity_groups(edges([1]), 2, head=1.0)
        with pytest.raises(ValueError, match="'head' and 'tail' must add up to at most 1"):
            popularity_groups(edges([1]), 2, head=0.6, tail=0.6)

    def test_labels(self) -> None:
        with pytest.raises(ValueError, match="'labels' has no label"):
            label_groups([None], 'item')
        with pytest.raises(ValueError, match="'most' must be a positive integer"):
            label_groups(['a'], 'item', most=0)
