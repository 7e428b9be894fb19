"""Groups of users and of items, by which metrics are told apart."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from pyg_mmgef.validate import check_edge_index, check_fraction, check_positive

__all__ = ['Groups', 'activity_groups', 'label_groups', 'popularity_groups']


@dataclass(frozen=True, eq=False)
class Groups:
    """A partition of the users, or of the items.

    Args:
        of: ``'user'`` or ``'item'``.
        names: The names of the groups, in the order in which to show them.
        index: The group of each user or item, a place in :obj:`names`; -1 means none.
            Shape: ``[num_users]`` or ``[num_items]``.
        notes: What a group holds, in words, by name. (default: none)

    Raises:
        ValueError: If two groups have one name, or :obj:`index` isn't a vector of such places.
    """

    of: Literal['user', 'item']
    names: Sequence[str]
    index: Tensor
    notes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        index = self.index
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"'names' must differ (got {', '.join(map(repr, self.names))})")
        if index.dim() != 1 or index.dtype != torch.int64:
            raise ValueError(
                f"'index' must be a vector of torch.int64, one group for each {self.of} (got "
                f'{list(index.shape)}, {index.dtype})'
            )
        if index.numel() and not -1 <= int(index.min()) <= int(index.max()) < len(self.names):
            raise ValueError(
                f"'index' must hold places in 'names', from -1 to {len(self.names) - 1} (got "
                f'{int(index.min())} to {int(index.max())})'
            )


def activity_groups(
    edge_index: Tensor, num_users: int, *, bounds: tuple[int, int] | None = None
) -> Groups:
    """Group users by their number of train interactions.

    The groups are ``'none'``, ``'few'``, ``'medium'`` and ``'many'``.

    Args:
        edge_index: Train interactions (user, item); a repeated one counts each time.
            Shape: ``[2, E]``.
        num_users: Number of users.
        bounds: The largest numbers of interactions that are few and medium; :obj:`None` cuts the
            users with interactions into thirds, as equal as users with the same number of
            interactions allow. (default: :obj:`None`)

    Returns:
        The groups; a group may be empty.

    Raises:
        ValueError: If ids are out of range, or the bounds don't increase.

    Example:
        >>> edge_index = torch.tensor([[0, 1, 1, 1, 1, 3], [0, 0, 1, 2, 3, 1]])
        >>> groups = activity_groups(edge_index, num_users=4, bounds=(1, 3))
        >>> [groups.names[place] for place in groups.index]
        ['few', 'many', 'none', 'few']
    """
    check_edge_index('edge_index', edge_index, (num_users, 2**62), ('user', 'item'))
    count = edge_index[0].long().bincount(minlength=num_users)
    if bounds is None:
        active = count[count > 0].sort().values
        few, medium = (
            int(active[-(-third * len(active) // 3) - 1]) if len(active) else third
            for third in (1, 2)
        )
    else:
        few, medium = bounds
        check_positive('bounds', few)
        if not few < medium:
            raise ValueError(f"'bounds' must increase (got {few} and {medium})")
    edge = torch.tensor([1, few + 1, medium + 1], device=count.device)
    notes = {
        'none': 'no interactions',
        'few': _between(1, few),
        'medium': _between(few + 1, medium),
        'many': f'{medium + 1} or more interactions',
    }
    index = torch.bucketize(count, edge, right=True)
    return Groups('user', tuple(notes), index, notes)


def popularity_groups(
    edge_index: Tensor, num_items: int, *, head: float = 0.2, tail: float = 0.2
) -> Groups:
    """Group items by their popularity: ``'head'``, ``'middle'``, ``'tail'`` and ``'cold'``.

    The head are the most popular items that together have at least the share :obj:`head` of the
    train interactions, and the tail the least popular with at least the share :obj:`tail`
    (`Abdollahpouri et al., 2021 <https://doi.org/10.1145/3450613.3456821>`_). Items of one
    popularity stay together. Cold items have no train interactions.

    Args:
        edge_index: Train interactions (user, item); a repeated one counts each time.
            Shape: ``[2, E]``.
        num_items: Number of items.
        head: Share of the interactions of the head. (default: ``0.2``)
        tail: Share of the interactions of the tail. (default: ``0.2``)

    Returns:
        The groups; a group may be empty.

    Raises:
        ValueError: If ids are out of range, or the shares don't lie in (0, 1) or add up to more
            than 1.

    Example:
        >>> item = torch.tensor([0] * 5 + [1] * 3 + [2] * 2)
        >>> groups = popularity_groups(torch.stack([torch.arange(10), item]), num_items=4)
        >>> [groups.names[place] for place in groups.index]
        ['head', 'middle', 'tail', 'cold']
    """
    check_fraction('head', head, '(0, 1)')
    check_fraction('tail', tail, '(0, 1)')
    if head + tail > 1:
        raise ValueError(f"'head' and 'tail' must add up to at most 1 (got {head} and {tail})")
    check_edge_index('edge_index', edge_index, (2**62, num_items), ('user', 'item'))
    popularity = edge_index[1].long().bincount(minlength=num_items)
    level, place, size = popularity.unique(return_inverse=True, return_counts=True)
    held = (level * size).double()
    below = held.cumsum(0) - held
    share_below = (below / held.sum())[place]
    share_above = ((held.sum() - below - held) / held.sum())[place]
    index = torch.ones_like(popularity)
    index[share_below < tail] = 2
    index[share_above < head] = 0
    index[popularity == 0] = 3
    notes = {
        'head': f'the most popular, with {head:.0%} of the interactions',
        'middle': 'all others',
        'tail': f'the least popular, with {tail:.0%} of the interactions',
        'cold': 'no interactions',
    }
    return Groups('item', tuple(notes), index, notes)


def label_groups(
    labels: Sequence[str | None], of: Literal['user', 'item'], *, most: int = 10
) -> Groups:
    """Group users or items by a label of each, such as a category.

    Args:
        labels: The label of each user or item; :obj:`None` means that it has none.
        of: ``'user'`` or ``'item'``.
        most: The number of labels with a group of their own, the most frequent ones first. All
            others share the group ``'other labels'``. (default: ``10``)

    Returns:
        The groups. Users or items without a label form the last one, ``'no label'``.

    Raises:
        ValueError: If :obj:`most` isn't positive, or nothing has a label.

    Example:
        >>> groups = label_groups(['shoes', 'hats', 'shoes', None], 'item')
        >>> groups.names, groups.index
        (('shoes', 'hats', 'no label'), tensor([0, 1, 0, 2]))
    """
    check_positive('most', most)
    # Labels with the same count in the order of the alphabet, whatever that of the items.
    count = sorted(Counter(x for x in labels if x is not None).items(), key=lambda x: (-x[1], x[0]))
    if not count:
        raise ValueError(f"'labels' has no label; give one for at least one {of}")
    kept = [label for label, _ in count[:most]]
    place: dict[str | None, int] = {label: i for i, label in enumerate(kept)}
    names = list(kept)
    if len(count) > most:
        place |= {label: len(names) for label, _ in count[most:]}
        names.append('other labels')
    if None in labels:
        place[None] = len(names)
        names.append('no label')
    index = torch.tensor([place[label] for label in labels])
    return Groups(of, tuple(names), index)


def _between(first: int, last: int) -> str:
    if first >= last:
        return f'{last} interaction' + ('s' if last > 1 else '')
    return f'{first} to {last} interactions'
