import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from pyg_mmgef.ranking import list_metrics
from pyg_mmgef.ranking._inputs import (
    candidate_items,
    check_embeddings,
    check_findable,
    checked_cutoffs,
    pair_keys,
    sorted_keys,
)
from pyg_mmgef.ranking.groups import Groups
from pyg_mmgef.ranking.metrics import METRICS, ranking_metrics
from pyg_mmgef.ranking.scoring import top_items
from pyg_mmgef.validate import check_choice, check_ids

__all__ = [
    'ALL_METRICS',
    'DEFAULT',
    'OF_ALL_LISTS',
    'OF_LISTS',
    'PER_USER',
    'TopLists',
    'checked_metrics',
]

BLOCK_TARGETS = 2**18  # Targets compared at a time: 42 MB of items at k = 20.
DEFAULT = ('recall', 'precision', 'ndcg')
OF_LISTS = ('diversity', 'novelty', 'average_popularity')
OF_ALL_LISTS: dict[str, Callable[['TopLists', int], float]] = {
    'coverage': lambda lists, k: list_metrics.coverage(lists.exposure(k)),
    'gini': lambda lists, k: list_metrics.gini(lists.exposure(k)),
    'personalization': lambda lists, k: list_metrics.personalization(lists.items[:, :k]),
}
PER_USER = (*METRICS, *OF_LISTS)
"""The names of the metrics of one user."""
ALL_METRICS = (*PER_USER, *OF_ALL_LISTS)
"""The names of all metrics."""


class TopLists:
    r"""The best items of every user with a held-out item, from which all metrics are computed.

    :meth:`rank` makes them from embeddings. Lists of another system, or those that business rules
    have changed, are evaluated as well. The metrics are, beside those of
    :func:`~pyg_mmgef.ranking.evaluate_ranking` that ask for hits,

    * of each list: ``'diversity'``, ``'novelty'`` and ``'average_popularity'``,
    * of all lists together: ``'coverage'``, ``'gini'`` and ``'personalization'``.

    Their formulas are those of the functions with these names, such as
    :func:`~pyg_mmgef.ranking.diversity`.

    Args:
        users: The users, each once. Shape: ``[N]``.
        items: The list of each user, best first and without repetition, padded with -1.
            Shape: ``[N, K]``.
        target: Held-out interactions (user, item) of these users; a repeated one counts once.
            Shape: ``[2, E]``.
        num_users: Number of all users.
        num_items: Number of all items.
        candidates: The items that may be in a list; :obj:`None` means all. (default: :obj:`None`)
        popularity: Number of train interactions of each item, for ``'novelty'`` and
            ``'average_popularity'``. Shape: ``[num_items]``. (default: :obj:`None`)
        features: Vector of each item, dense or a sparse CSR tensor, for ``'diversity'``.
            Shape: ``[num_items, channels]``. (default: :obj:`None`)
        hits_only: Whether lists without a hit may be missing, so that the metrics of lists are
            unknown. (default: :obj:`False`)

    Raises:
        ValueError: If ids are out of range, a user has no target or a target no user, or shapes
            don't fit.

    Example:
        >>> items = torch.tensor([[2, 0], [1, 2]])
        >>> target = torch.tensor([[0, 1], [2, 0]])
        >>> lists = TopLists(torch.tensor([0, 1]), items, target, num_users=2, num_items=4)
        >>> lists.evaluate(('recall', 'coverage'))
        {'recall@2': 0.5, 'coverage@2': 0.75}
    """

    def __init__(
        self,
        users: Tensor,
        items: Tensor,
        target: Tensor,
        num_users: int,
        num_items: int,
        *,
        candidates: Tensor | None = None,
        popularity: Tensor | None = None,
        features: Tensor | None = None,
        hits_only: bool = False,
    ) -> None:
        check_ids('users', users, num_users, 'user')
        if items.dim() != 2 or len(items) != len(users) or items.size(1) == 0:
            raise ValueError(
                f"'items' must have shape [{len(users)}, K], one list for each of 'users' (got "
                f'{list(items.shape)})'
            )
        if items.is_floating_point() or not -1 <= int(items.min()) <= int(items.max()) < num_items:
            raise ValueError(
                f"'items' must hold item ids in [0, {num_items}), and -1 where a list is shorter "
                f'(got {items.dtype} from {items.min()} to {items.max()})'
            )
        for name, value in (('popularity', popularity), ('features', features)):
            if value is not None and len(value) != num_items:
                raise ValueError(
                    f"'{name}' must have one row for each of {num_items} items (got {len(value)})"
                )
        users, order = users.long().to(items.device).sort()
        self.users: Tensor = users
        self.items: Tensor = items[order].long()
        self.num_users, self.num_items = num_users, num_items
        self.candidates, self.popularity, self.features = candidates, popularity, features
        self.hits_only = hits_only
        key = sorted_keys('target', target, (num_users, num_items), items.device)
        key = key.unique_consecutive()
        self.target = torch.stack([key // num_items, key % num_items])
        found, self.num_targets = self.target[0].unique_consecutive(return_counts=True)
        if not torch.equal(found, users):
            raise ValueError(
                f"'users' must hold each user of 'target' once, and no other (got {len(users)} "
                f'users, and {len(found)} with a target)'
            )

    @classmethod
    @torch.no_grad()
    def rank(
        cls,
        z_user: Tensor,
        z_item: Tensor,
        target: Tensor,
        *,
        exclude: Tensor | None = None,
        k: int = 20,
        candidates: Tensor | None = None,
        popularity: Tensor | None = None,
        features: Tensor | None = None,
        batch_size: int = 2048,
        tie_seed: int = 0,
        hits_only: bool = False,
    ) -> 'TopLists':
        """Rank all items for every user with a held-out item.

        Args:
            z_user: User embeddings, dense or a sparse CSR tensor. Shape: ``[num_users, channels]``.
            z_item: Item embeddings, dense, or a sparse CSR tensor if :obj:`z_user` is one too.
                Shape: ``[num_items, channels]``.
            target: Held-out interactions (user, item). Shape: ``[2, E]``.
            exclude: Interactions whose items are left out of the user's ranking.
                Shape: ``[2, E']``. (default: :obj:`None`)
            k: Length of the lists. (default: ``20``)
            candidates: The items to rank; :obj:`None` ranks all. (default: :obj:`None`)
            popularity: See :class:`TopLists`; :obj:`None` counts the distinct interactions of
                :obj:`exclude`. (default: :obj:`None`)
            features: See :class:`TopLists`; :obj:`None` means :obj:`z_item`. To compare models,
                give all the same. (default: :obj:`None`)
            batch_size: Maximum number of users ranked at a time. (default: ``2048``)
            tie_seed: Seed of the random order of equal scores. (default: ``0``)
            hits_only: Whether lists without a hit may be left empty, which is faster and enough
                for recall and its like. (default: :obj:`False`)

        Raises:
            ValueError: As :func:`~pyg_mmgef.ranking.evaluate_ranking`.
        """
        check_embeddings(z_user, z_item)
        candidates = candidate_items(candidates, z_item)
        checked_cutoffs(k, candidates.numel())
        num_users, num_items = z_user.size(0), z_item.size(0)
        wanted = pair_keys('target', target, z_user, z_item).unique_consecutive()
        excluded = pair_keys('exclude', exclude, z_user, z_item)
        check_findable(wanted, excluded, candidates, num_items)
        users = (wanted // num_items).unique_consecutive()
        _, items = top_items(
            z_user,
            z_item,
            users,
            k,
            excluded,
            candidates,
            batch_size,
            wanted=wanted if hits_only else None,
            tie_seed=tie_seed,
        )
        if popularity is None and exclude is not None and not hits_only:
            popularity = (excluded.unique_consecutive() % num_items).bincount(minlength=num_items)
        return cls(
            users,
            items,
            target,
            num_users,
            num_items,
            candidates=candidates,
            popularity=popularity,
            features=z_item.detach() if features is None else features,
            hits_only=hits_only,
        )

    @cached_property
    def hit(self) -> Tensor:
        """Whether each listed item is a target. Shape: ``[N, K]``."""
        row = torch.arange(len(self.users), device=self.items.device)
        row = row.repeat_interleave(self.num_targets)
        hit = torch.zeros_like(self.items, dtype=torch.bool)
        for part, wanted in zip(
            row.split(BLOCK_TARGETS), self.target[1].split(BLOCK_TARGETS), strict=True
        ):
            found, rank = (self.items[part] == wanted[:, None]).nonzero(as_tuple=True)
            hit[part[found], rank] = True
        return hit

    def exposure(self, k: int) -> Tensor:
        """Return in how many of the lists, cut at :obj:`k`, each candidate stands."""
        count = list_metrics.exposure(self.items[:, :k], self.num_items)
        return count if self.candidates is None else count[self.candidates]

    def evaluate(
        self, metrics: str | Sequence[str] = DEFAULT, k: int | Sequence[int] | None = None
    ) -> dict[str, float]:
        """Return metrics: means over users, and those of all lists together.

        Args:
            metrics: Any of :data:`ALL_METRICS`. (default: ``('recall', 'precision', 'ndcg')``)
            k: Cut-offs; :obj:`None` means the length of the lists. (default: :obj:`None`)

        Returns:
            The metrics by name, such as ``'recall@20'``. Lists without a value, such as the
            diversity of a list of one item, are left out of a mean.

        Raises:
            ValueError: If a metric is unknown or lacks what it needs, or a cut-off is longer than
                the lists.
        """
        names, cutoffs = self._checked(metrics, ALL_METRICS), self._cutoffs(k)
        out = {}
        for name in names:
            for cutoff in cutoffs:
                if name in OF_ALL_LISTS:
                    out[f'{name}@{cutoff}'] = OF_ALL_LISTS[name](self, cutoff)
                else:
                    value = self._of_users(name, cutoff).cpu().double()
                    out[f'{name}@{cutoff}'] = float(value.nanmean())
        return out

    def per_user(
        self, metrics: str | Sequence[str] = DEFAULT, k: int | Sequence[int] | None = None
    ) -> dict[str, Tensor]:
        """Return the metrics of each of :attr:`users`.

        Args:
            metrics: Any of :data:`ALL_METRICS`, but for those of all lists together.
                (default: ``('recall', 'precision', 'ndcg')``)
            k: Cut-offs; :obj:`None` means the length of the lists. (default: :obj:`None`)

        Returns:
            The metrics by name, float32, each of shape ``[N]``; not a number where a list has no
            value.

        Raises:
            ValueError: As :meth:`evaluate`.
        """
        names, cutoffs = self._checked(metrics, PER_USER), self._cutoffs(k)
        return {
            f'{name}@{cutoff}': self._of_users(name, cutoff) for name in names for cutoff in cutoffs
        }

    def columns(
        self,
        metrics: str | Sequence[str] = DEFAULT,
        k: int | Sequence[int] | None = None,
        *,
        ids: Sequence[Any] | None = None,
    ) -> dict[str, list[Any]]:
        """Return the metrics of each user as columns of a table, for a file or a test.

        Args:
            metrics: See :meth:`per_user`. (default: ``('recall', 'precision', 'ndcg')``)
            k: Cut-offs; :obj:`None` means the length of the lists. (default: :obj:`None`)
            ids: The id of each of all users; :obj:`None` writes their rows.
                (default: :obj:`None`)

        Returns:
            The columns ``'user'``, ``'interactions'`` (held-out ones) and one for each metric;
            :obj:`None` where a list has no value.

        Raises:
            ValueError: As :meth:`per_user`.

        Example:
            >>> lists = TopLists(
            ...     torch.tensor([1]), torch.tensor([[2]]), torch.tensor([[1], [2]]), 2, 3
            ... )
            >>> lists.columns('recall', ids=['ann', 'bob'])
            {'user': ['bob'], 'interactions': [1], 'recall@1': [1.0]}
        """
        users = self.users.tolist()
        return {
            'user': users if ids is None else [ids[user] for user in users],
            'interactions': self.num_targets.tolist(),
            **{
                name: [None if math.isnan(x) else x for x in value.tolist()]
                for name, value in self.per_user(metrics, k).items()
            },
        }

    def grouped(
        self,
        groups: Groups,
        metrics: str | Sequence[str] = DEFAULT,
        k: int | Sequence[int] | None = None,
    ) -> dict[str, dict[str, float]]:
        """Return the metrics by group of users, or by group of the held-out items.

        With groups of items, a group's metrics are those of the same lists if only held-out items
        of the group count as hits, over the users who have some. ``'exposure@k'`` is the group's
        share of all that the lists show.

        Args:
            groups: The groups, such as those of :func:`~pyg_mmgef.ranking.popularity_groups`.
            metrics: See :meth:`evaluate`. (default: ``('recall', 'precision', 'ndcg')``)
            k: Cut-offs; :obj:`None` means the length of the lists. (default: :obj:`None`)

        Returns:
            By name of the group, the number of its ``'users'`` and of their held-out
            ``'interactions'``, and the metrics by name. Groups without any are left out.

        Raises:
            ValueError: As :meth:`evaluate`, and if there isn't a group for each user or item.

        Example:
            >>> items, target = torch.tensor([[2, 0]]), torch.tensor([[0, 0], [0, 1]])
            >>> lists = TopLists(torch.tensor([0]), items, target, num_users=1, num_items=3)
            >>> groups = Groups('item', ['old', 'new'], torch.tensor([0, 1, 1]))
            >>> lists.grouped(groups, 'recall')['old']
            {'users': 1, 'interactions': 1, 'recall@2': 1.0, 'exposure@2': 0.5}
        """
        expected = self.num_users if groups.of == 'user' else self.num_items
        if len(groups.index) != expected:
            raise ValueError(
                f"'groups' must have one for each of {expected} {groups.of}s (got "
                f'{len(groups.index)})'
            )
        index = groups.index.to(self.items.device)
        group = index[self.target[0 if groups.of == 'user' else 1]]
        cutoffs, out = self._cutoffs(k), {}
        for place, name in enumerate(groups.names):
            target = self.target[:, group == place]
            if target.numel() == 0:
                continue
            part = self._part(target)
            out[name] = {
                'users': len(part.users),
                'interactions': target.size(1),
                **part.evaluate(metrics, k),
            }
            if groups.of == 'item':
                for cutoff in cutoffs:
                    out[name][f'exposure@{cutoff}'] = self._share(index == place, cutoff)
        return out

    def _part(self, target: Tensor) -> 'TopLists':
        """Return the lists of the users of some targets."""
        kept = torch.isin(self.users, target[0])
        return TopLists(
            self.users[kept],
            self.items[kept],
            target,
            self.num_users,
            self.num_items,
            candidates=self.candidates,
            popularity=self.popularity,
            features=self.features,
            hits_only=self.hits_only,
        )

    def _share(self, is_in: Tensor, k: int) -> float:
        """Return which share of the listed items are some."""
        count = list_metrics.exposure(self.items[:, :k], self.num_items)
        return int(count[is_in].sum()) / int(count.sum())

    def _cutoffs(self, k: int | Sequence[int] | None) -> tuple[int, ...]:
        longest = self.items.size(1)
        cutoffs = checked_cutoffs(longest if k is None else k)
        if max(cutoffs) > longest:
            raise ValueError(f"'k' must be at most {longest}, the length of the lists (got {k})")
        return cutoffs

    def _checked(self, metrics: str | Sequence[str], choices: Sequence[str]) -> tuple[str, ...]:
        names = checked_metrics(metrics, choices)
        if self.hits_only and not METRICS.keys() >= set(names):
            raise ValueError(
                f"'hits_only' lists have no {', '.join(x for x in names if x not in METRICS)}; "
                'rank with hits_only=False'
            )
        return names

    def _of_users(self, name: str, k: int) -> Tensor:
        """Return a metric of each user, of shape ``[N]``."""
        if name in METRICS:
            return ranking_metrics(self.hit, self.num_targets, (k,), (name,))[f'{name}@{k}']
        items = self.items[:, :k]
        if name == 'diversity':
            return list_metrics.diversity(items, self._needed('features', name))
        popularity = self._needed('popularity', name).to(items.device)
        if name == 'novelty':
            return list_metrics.novelty(items, popularity, self.num_users)
        return list_metrics.average_popularity(items, popularity)

    def _needed(self, argument: str, metric: str) -> Tensor:
        value = getattr(self, argument)
        if value is None:
            raise ValueError(f"the metric {metric!r} needs '{argument}', one row for each item")
        return value


def checked_metrics(
    metrics: str | Sequence[str], choices: Sequence[str] = ALL_METRICS
) -> tuple[str, ...]:
    """Return the names of metrics as a tuple, checked."""
    names = (metrics,) if isinstance(metrics, str) else tuple(metrics)
    if not names:
        raise ValueError(f"'metrics' is empty; choose from {', '.join(map(repr, choices))}")
    for name in names:
        if name in OF_ALL_LISTS and name not in choices:
            raise ValueError(
                f'{name!r} is a metric of all lists together, and no user has one of their own; '
                'leave it out here'
            )
        check_choice('metrics', name, choices)
    return names
