"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ['MovedDataset', 'OutputFolder', 'Run']

OutputFolder = Annotated[
    Path, typer.Option('--output', '-o', help='Folder to write.', show_default=False)
]
Run = Annotated[
    Path, typer.Argument(help='Folder of a run, written by "train".', show_default=False)
]
MovedDataset = Annotated[
    Path | None,
    typer.Option(
        '--dataset',
        help='Folder of the dataset, if it has been moved since the run was trained.',
        show_default='where it was',
    ),
]
