from pathlib import Path
from typing import Annotated

import typer

from pyg_mmgef._folders import check_exists
from pyg_mmgef.cli.commands._arguments import Device, OutputFolder, Run
from pyg_mmgef.cli.console import draws_progress
from pyg_mmgef.cli.show import show_run

__all__ = ['update']


def update(
    run: Run,
    dataset: Annotated[
        Path,
        typer.Argument(
            help='Folder of a dataset with what is new, written by "prepare".', show_default=False
        ),
    ],
    output: OutputFolder,
    device: Device = 'auto',
) -> None:
    """Train a run further with new users, items and interactions, into a new run.

    Prepare yesterday's orders as a dataset of their own; ids say who is who. A model that is
    trained in epochs starts from what it knows.

    Example: pyg-mmgef update runs/monday tuesday -o runs/tuesday
    """
    check_exists(run)
    from pyg_mmgef.runs import Run as LoadedRun
    from pyg_mmgef.runs.run_folder import RunFolder

    LoadedRun.load(run).update(dataset, folder=output, device=device, verbose=draws_progress())
    show_run(RunFolder(output))
