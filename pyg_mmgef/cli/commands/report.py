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
            help='Number of users to show, sampled from those with a test interaction.', min=0
        ),
    ] = 5,
    num_items: Annotated[
        int,
        typer.Option(
            help='Number of items to show with their neighbours, sampled from all.', min=0
        ),
    ] = 5,
    dataset: OtherDataset = None,
) -> None:
    """Write one HTML page about a run: recommendations with reasons, metrics, item graphs."""
    check_exists(run)
    from pyg_mmgef.cli.report import write_report
    from pyg_mmgef.runs import Run as LoadedRun

    path = output or run / 'report.html'
    write_report(LoadedRun.load(run, dataset), path, num_users, num_items)
    out.print(f'Wrote {path}')
