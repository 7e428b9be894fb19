from dataclasses import replace
from typing import Annotated

import typer

from pyg_mmgef._folders import check_exists
from pyg_mmgef.cli.commands._arguments import Dataset, Device, OutputFolder
from pyg_mmgef.cli.config_file import ConfigFile
from pyg_mmgef.cli.console import out
from pyg_mmgef.cli.settings import takes_settings
from pyg_mmgef.cli.show import show_run
from pyg_mmgef.settings import Settings

__all__ = ['tune']

SEARCH = 'Search'


@takes_settings(without=('model', 'preset', 'budget'))
def tune(
    dataset: Dataset,
    output: OutputFolder,
    models: Annotated[
        list[str] | None,
        typer.Option(
            '--model',
            help='Model to try; repeat it for several.',
            show_default='all that the data has what they need for',
            rich_help_panel=SEARCH,
        ),
    ] = None,
    trials: Annotated[
        int,
        typer.Option(
            min=1, help='Number of trials, of all models together.', rich_help_panel=SEARCH
        ),
    ] = 50,
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0,
            help='Minutes after which no further trial starts; the result then depends on the '
            'speed of the machine.',
            show_default='no limit',
            rich_help_panel=SEARCH,
        ),
    ] = None,
    config: ConfigFile = None,
    device: Device = 'auto',
    *,
    settings: Settings,
) -> None:
    """Search for the model and the options that are best on validation.

    Each model is tried with its defaults, then Optuna proposes models and options. Options that are
    given hold for all trials. The winner is trained again as the run "best" in the folder, and the
    test part is used once, by it. Given again, an interrupted command continues.

    Example: pyg-mmgef tune shop --model contentials --model lightgcn --trials 40 -o runs/tuned
    """
    check_exists(dataset)
    from pyg_mmgef.runs.dataset_folder import DatasetFolder
    from pyg_mmgef.runs.run_folder import RunFolder
    from pyg_mmgef.runs.tune import WINNER, tune_settings

    tune_settings(
        DatasetFolder(dataset),
        replace(settings, budget=0),
        models,
        trials=trials,
        minutes=minutes,
        folder=output,
        device=device,
        say=out.print,
    )
    show_run(RunFolder(output / WINNER))
