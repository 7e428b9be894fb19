import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.files import make_folder, write_atomically
from pyg_mmgef.nn import ItemKNN, Popularity
from pyg_mmgef.ranking import Groups, PairedTest, TopLists, holm, paired_t_test
from pyg_mmgef.ranking._inputs import checked_cutoffs
from pyg_mmgef.ranking.metrics import METRICS
from pyg_mmgef.ranking.top_lists import checked_metrics
from pyg_mmgef.runs._run_lists import OWN, Part, item_vectors, run_groups, run_lists
from pyg_mmgef.runs.baselines import baseline_embeddings
from pyg_mmgef.runs.item_table import ItemTable
from pyg_mmgef.schema import interactions, num_users_items, supervision_edges
from pyg_mmgef.validate import check_choice

if TYPE_CHECKING:
    from pyg_mmgef.runs.run import Run

__all__ = ['Comparison', 'compare']

SHOWN = (
    *('recall', 'ndcg', 'mrr', 'hit_ratio'),
    *('coverage', 'gini', 'personalization', 'diversity', 'novelty', 'average_popularity'),
)
LENGTH = 20


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Runs beside each other, on the same held-out interactions; see :func:`compare`.

    Args:
        lists: The top lists of each run, by name.
        baseline: The run that the others are compared with.
        groups: Groups of users and of items, by what they have in common.
        metrics: Names of the metrics.
        k: Cut-offs.
        user_ids: The id of each user.
    """

    lists: Mapping[str, TopLists]
    baseline: str
    groups: Mapping[str, Groups]
    metrics: tuple[str, ...]
    k: tuple[int, ...]
    user_ids: Sequence[Any]

    def __repr__(self) -> str:
        return f'Comparison({", ".join(self.lists)}, baseline={self.baseline!r})'

    @cached_property
    def values(self) -> dict[str, dict[str, float]]:
        """The metrics by run and name, such as ``['first']['recall@20']``."""
        return {name: lists.evaluate(self.metrics, self.k) for name, lists in self.lists.items()}

    @cached_property
    def tests(self) -> dict[str, dict[str, PairedTest]]:
        """The difference of each other run to the baseline, by run and name of the metric.

        The metrics are those that ask for hits. The p-values are corrected for the number of all
        tests here by Holm's method, the intervals are not.
        """
        names = [name for name in self.metrics if name in METRICS]
        if not names or len(self.lists[self.baseline].users) < 2:
            return {}
        values = {run: lists.per_user(names, self.k) for run, lists in self.lists.items()}
        base = values.pop(self.baseline)
        found = {
            (run, name): paired_t_test(base[name].cpu(), value.cpu())
            for run, of_run in values.items()
            for name, value in of_run.items()
        }
        corrected = holm([test.p_value for test in found.values()])
        out: dict[str, dict[str, PairedTest]] = {run: {} for run in values}
        for ((run, name), test), p_value in zip(found.items(), corrected, strict=True):
            out[run][name] = test._replace(p_value=p_value)
        return out

    def grouped(self, name: str) -> dict[str, dict[str, dict[str, float]]]:
        """Return the metrics by group and run.

        Args:
            name: One of :attr:`groups`.

        Returns:
            By group and run, what :meth:`TopLists.grouped
            <pyg_mmgef.ranking.TopLists.grouped>` returns, such as
            ``['few']['first']['recall@20']``.
        """
        check_choice('name', name, tuple(self.groups))
        names = [metric for metric in self.metrics if metric in METRICS]
        found = {
            run: lists.grouped(self.groups[name], names, self.k)
            for run, lists in self.lists.items()
        }
        return {group: {run: found[run][group] for run in found} for group in found[self.baseline]}

    def table(self) -> ItemTable:
        """Return the metrics as a table with a row for each run."""
        names = self.values[self.baseline]
        columns = {name: [of_run[name] for of_run in self.values.values()] for name in names}
        return ItemTable({'run': list(self.values), **columns})

    def differences(self) -> ItemTable:
        """Return :attr:`tests` as a table with a row for each run and metric."""
        rows = [
            (run, name, *test)
            for run, of_run in self.tests.items()
            for name, test in of_run.items()
        ]
        columns = ('run', 'metric', *PairedTest._fields)
        return ItemTable({name: [row[place] for row in rows] for place, name in enumerate(columns)})

    def per_user(self) -> ItemTable:
        """Return the metrics of each user by each run, for other tests.

        The columns are ``'user'``, ``'interactions'`` (held-out ones), and such as ``'first
        recall@20'``.
        """
        names = [name for name in self.metrics if name in METRICS]
        out: dict[str, list[Any]] = {}
        for run, lists in self.lists.items():
            columns = lists.columns(names, self.k, ids=self.user_ids)
            out |= {key: columns.pop(key) for key in ('user', 'interactions')}
            out |= {f'{run} {name}': column for name, column in columns.items()}
        return ItemTable(out)

    def to_html(self, path: str | os.PathLike[str]) -> None:
        """Write the comparison as one HTML page that needs nothing else.

        Args:
            path: The file.

        Raises:
            ImportError: If Jinja isn't installed.
        """
        from pyg_mmgef.runs._compare_page import compare_page

        path = Path(path)
        make_folder(path.parent)
        write_atomically(path, compare_page(self).encode())


def compare(
    runs: Mapping[str, 'Run'],
    *,
    baseline: str | None = None,
    part: Part = 'test',
    k: int | Sequence[int] | None = None,
    metrics: Sequence[str] = SHOWN,
    category: str | None = None,
    features: Tensor | None = None,
) -> Comparison:
    """Compare runs that were trained on the same data and split.

    The metrics of each run are computed anew, from one ranking. Beside the runs stand
    :class:`~pyg_mmgef.nn.Popularity` and :class:`~pyg_mmgef.nn.ItemKNN`, fitted to the same train
    interactions, unless a run has that name.

    Args:
        runs: The runs by name.
        baseline: The run that the others are compared with, also ``'Popularity'`` or
            ``'ItemKNN'``; :obj:`None` means the first. (default: :obj:`None`)
        part: The held-out part, ``'val'`` or ``'test'``. (default: ``'test'``)
        k: Cut-offs; :obj:`None` means 20, or the number of items if that is smaller.
            (default: :obj:`None`)
        metrics: Names of metrics, see :class:`~pyg_mmgef.ranking.TopLists`. (default: recall,
            NDCG, MRR and hit ratio, and all of the lists)
        category: Column of the item table by which metrics are grouped, too.
            (default: :obj:`None`)
        features: Vector of each item for ``'diversity'``. :obj:`None` means its content features,
            or its users in train where the data has no content. Shape: ``[num_items,
            channels]``. (default: :obj:`None`)

    Returns:
        The comparison, the baseline first. Its groups are ``'activity'`` of users, ``'popularity'``
        of the held-out items, and the category.

    Raises:
        ValueError: If there is no run, the users, the items, the split or the train interactions
            of two runs differ, or a name is unknown.
    """
    if not runs:
        raise ValueError("'runs' is empty; give at least one run")
    check_choice('part', part, get_args(Part))
    metrics = checked_metrics(metrics)
    name, first = next(iter(runs.items()))
    for other, run in runs.items():
        _check_alike(name, first, other, run)
    baseline = name if baseline is None else baseline
    embeddings = {name: (run.z_user, run.z_item) for name, run in runs.items()}
    for reference in (Popularity, ItemKNN):
        if reference.__name__ not in embeddings:
            embeddings[reference.__name__] = baseline_embeddings(reference, first.split[0])
    check_choice('baseline', baseline, tuple(embeddings))
    embeddings = {baseline: embeddings.pop(baseline), **embeddings}
    longest = min(LENGTH, len(first.item_ids)) if k is None else k
    cutoffs = checked_cutoffs(longest)
    features = item_vectors(first.split[0]) if features is None else features
    lists = {
        name: run_lists(first, part, max(cutoffs), embeddings=z, features=features)
        for name, z in embeddings.items()
    }
    groups = {name: run_groups(first, name) for name in OWN}
    if category is not None:
        groups[category] = run_groups(first, category, 'category')
    return Comparison(lists, baseline, groups, metrics, cutoffs, list(first.user_ids))


def _check_alike(name: str, first: 'Run', other: str, run: 'Run') -> None:
    """Raise a :class:`ValueError` unless two runs can be compared."""
    for end in ('user', 'item'):
        ids, others = (list(getattr(x, f'{end}_ids')) for x in (first, run))
        if ids != others:
            raise ValueError(
                f'{name!r} and {other!r} were trained on different {end}s ({len(ids)} and '
                f'{len(others)}, {len({*ids} & {*others})} in both); compare runs on one dataset'
            )
    for part in ('train', 'val', 'test'):
        mine, theirs = (_pairs(getattr(x, part), part) for x in (first, run))
        if not torch.equal(mine, theirs):
            same = int(torch.isin(mine, theirs).sum())
            raise ValueError(
                f'{name!r} and {other!r} have different {part} interactions ({len(mine)} and '
                f'{len(theirs)}, {same} in both); train both with the same split and seed'
            )


def _pairs(data: HeteroData, part: str) -> Tensor:
    edges = interactions(data) if part == 'train' else supervision_edges(data)
    return (edges[0].long() * num_users_items(data)[1] + edges[1]).unique().cpu()
