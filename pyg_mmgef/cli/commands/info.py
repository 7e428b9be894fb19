from pathlib import Path
from typing import Annotated

import typer

from pyg_mmgef._folders import CONFIG, check_exists
from pyg_mmgef.cli.show import show_dataset, show_run

__all__ = ['info']


def info(
    path: Annotated[
        Path | None,
        typer.Argument(help='Folder of a dataset or a run.', show_default='the installation'),
    ] = None,
) -> None:
    """Show the counts of a dataset, or the metrics of a run.

    Without a folder, show the installation: versions, number of threads, compiled extensions in
    use.
    """
    if path is None:
        from pyg_mmgef import show_versions

        show_versions()
        return
    check_exists(path)
    from pyg_mmgef.runs.dataset_folder import DatasetFolder
    from pyg_mmgef.runs.run_folder import RunFolder

    if (path / CONFIG).is_file():
        show_run(RunFolder(path))
    else:
        show_dataset(DatasetFolder(path))
