from pyg_mmgef._folders import check_exists
from pyg_mmgef.cli.commands._arguments import Device, OutputFolder, Run
from pyg_mmgef.cli.console import draws_progress
from pyg_mmgef.cli.show import show_run

__all__ = ['refit']


def refit(
    run: Run,
    output: OutputFolder,
    device: Device = 'auto',
) -> None:
    """Train the model of a run on all interactions, those held out included, to be served.

    What validation has chosen stays: the options and the number of epochs.

    Example: pyg-mmgef refit runs/first -o runs/live
    """
    check_exists(run)
    from pyg_mmgef.runs import Run as LoadedRun
    from pyg_mmgef.runs.run_folder import RunFolder

    LoadedRun.load(run).refit(output, device=device, verbose=draws_progress())
    show_run(RunFolder(output))
