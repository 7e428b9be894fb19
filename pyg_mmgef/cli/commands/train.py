from pyg_mmgef._folders import check_exists
from pyg_mmgef.cli.commands._arguments import Dataset, Device, OutputFolder
from pyg_mmgef.cli.config_file import ConfigFile
from pyg_mmgef.cli.console import out
from pyg_mmgef.cli.settings import takes_settings
from pyg_mmgef.cli.show import show_run
from pyg_mmgef.settings import Settings

__all__ = ['train']


@takes_settings
def train(
    dataset: Dataset,
    output: OutputFolder,
    config: ConfigFile = None,
    device: Device = 'auto',
    *,
    settings: Settings,
) -> None:
    """Train a model, and measure how well it ranks the held-out interactions.

    The default model is solved in closed form. Of a model that is trained in epochs, the epoch
    that is best on validation is kept. The test part is used once, at the end.

    Example: pyg-mmgef train shop -o runs/first

    The run.toml of a run repeats it: pyg-mmgef train -o runs/again --config runs/first/run.toml
    """
    check_exists(dataset)
    from pyg_mmgef.runs._train_run import train_run
    from pyg_mmgef.runs.dataset_folder import DatasetFolder
    from pyg_mmgef.runs.run_folder import RunFolder

    train_run(
        DatasetFolder(dataset),
        settings,
        output,
        device=device,
        say=out.print,
        show_progress=True,
    )
    show_run(RunFolder(output))
    out.print(f'wrote {output}; next: pyg-mmgef report {output}')
