from pathlib import Path
from typing import Annotated

import typer

from pyg_mmgef._folders import check_exists
from pyg_mmgef.cli.commands._arguments import OtherDataset, Run
from pyg_mmgef.cli.console import out

__all__ = ['report']


def report(
    run: Run,
    output: Annotated[
        Path | None,
        typer.Option(
            '--output', '-o', help='HTML file to write.', show_default='report.html in the run'
        ),
    ] = None,
    num_users: Annotated[
        int,
        typer.Option(
            help='Number of people to show, sampled from those with a test interaction.', min=0
        ),
    ] = 5,
    num_items: Annotated[
        int,
        typer.Option(help='Number of products to show with similar ones, sampled from all.', min=0),
    ] = 5,
    title: Annotated[
        str | None,
        typer.Option(help='Name of the shop.', show_default='the name of the dataset'),
    ] = None,
    category: Annotated[
        str | None,
        typer.Option(
            help='Field of the products by which results are grouped.',
            show_default='a field of few short texts',
        ),
    ] = None,
    verb: Annotated[
        str,
        typer.Option(help='What people do with products, in the past, such as bought or watched.'),
    ] = 'chose',
    dataset: OtherDataset = None,
) -> None:
    """Write one HTML page about a run, to share: recommendations with reasons, results, a map."""
    check_exists(run)
    from pyg_mmgef.report import write_report
    from pyg_mmgef.runs import Run as LoadedRun

    path = output or run / 'report.html'
    loaded = LoadedRun.load(run, dataset)
    write_report(loaded, path, num_users, num_items, title=title, category=category, verb=verb)
    out.print(f'Wrote {path}')
