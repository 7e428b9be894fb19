from pathlib import Path
from typing import Annotated

import typer

from pyg_mmgef.cli.commands._arguments import Part, cutoffs
from pyg_mmgef.cli.console import out
from pyg_mmgef.cli.show import show_comparison

__all__ = ['compare']


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(help='Folders of runs, written by "train".', show_default=False),
    ],
    baseline: Annotated[
        str | None,
        typer.Option(
            help='Run that the others are compared with, or Popularity or ItemKNN.',
            show_default='the first run',
        ),
    ] = None,
    part: Part = 'test',
    cutoff: Annotated[list[int] | None, cutoffs('20')] = None,
    category: Annotated[
        str | None,
        typer.Option(
            help='Column of the item table by which to group held-out items, too.',
            show_default='none',
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option('--output', '-o', help='HTML page to write.', show_default='none'),
    ] = None,
    per_user: Annotated[
        Path | None,
        typer.Option(
            help='File for the metrics of each user: .parquet, .csv or .jsonl.',
            show_default='none',
        ),
    ] = None,
) -> None:
    """Compare runs on one dataset and split: metrics, tests over users, groups.

    Popularity and ItemKNN, which need no training, stand beside them.
    """
    from pyg_mmgef.runs import Run
    from pyg_mmgef.runs import compare as compare_runs
    from pyg_mmgef.runs.item_table import check_suffix

    if per_user is not None:
        check_suffix(per_user, 'per_user')
    names = _names(runs)
    found = compare_runs(
        {name: Run.load(path) for path, name in names.items()},
        baseline=names.get(Path(baseline), baseline) if baseline else None,
        part=part,
        k=cutoff or None,
        category=category,
    )
    show_comparison(found)
    if output is not None:
        found.to_html(output)
        out.print(f'Wrote {output}')
    if per_user is not None:
        found.per_user().write(per_user)
        out.print(f'{len(found.per_user())} rows in {per_user}')


def _names(paths: list[Path]) -> dict[Path, str]:
    """Return what to call each run: its folder's name, or the whole path where two have one."""
    names = [path.resolve().name for path in paths]
    are_distinct = len(set(names)) == len(paths)
    return {
        path: name if are_distinct else str(path) for path, name in zip(paths, names, strict=True)
    }
