from pathlib import Path
from typing import Annotated

import typer

from pyg_mmgef._folders import check_exists
from pyg_mmgef.cli.commands._arguments import OtherDataset, Part, Run, cutoffs
from pyg_mmgef.cli.console import out
from pyg_mmgef.cli.show import show_groups, show_metrics

__all__ = ['evaluate']


def evaluate(
    run: Run,
    part: Part = 'test',
    cutoff: Annotated[list[int] | None, cutoffs('10, 20')] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help='Metric: recall, precision, ndcg, map, mrr, hit_ratio, coverage, gini, '
            'personalization, diversity, novelty or average_popularity; repeat it for several.',
            show_default='recall, precision, ndcg',
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            help='Groups to tell apart: activity (of users), popularity (of held-out items), or a '
            'column of the item table.',
            show_default='none',
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            '--output',
            '-o',
            help='File for the metrics of each user: .parquet, .csv or .jsonl.',
            show_default='none',
        ),
    ] = None,
    dataset: OtherDataset = None,
) -> None:
    """Compute metrics of a run, for all users, by group, or for each user."""
    check_exists(run)
    from pyg_mmgef.ranking.top_lists import DEFAULT, PER_USER, checked_metrics
    from pyg_mmgef.runs import Run as LoadedRun
    from pyg_mmgef.runs.item_table import ItemTable, check_suffix
    from pyg_mmgef.runs.run import fitting_cutoffs

    metrics = checked_metrics(metric or DEFAULT)
    of_users = [name for name in metrics if name in PER_USER]
    if output is not None:
        check_suffix(output)
        if not of_users:
            raise ValueError(f'{metrics[0]} has no value for each user; give another --metric')
    loaded = LoadedRun.load(run, dataset)
    cutoffs = cutoff or fitting_cutoffs(len(loaded.item_ids))
    lists = loaded.top_lists(part, max(cutoffs))
    show_metrics(lists.evaluate(metrics, cutoffs))
    if by is not None:
        groups = loaded.groups(by)
        show_groups(lists.grouped(groups, metrics, cutoffs), groups.notes)
    if output is not None:
        table = ItemTable(lists.columns(of_users, cutoffs, ids=list(loaded.user_ids)))
        table.write(output)
        out.print(f'{len(table)} rows in {output}')
