"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = ['OtherDataset', 'OutputFolder', 'Part', 'Run']

Part = Annotated[
    Literal['val', 'test'],
    typer.Option('--split', help='Held-out part to rank: validation or test.'),
]
OutputFolder = Annotated[
    Path, typer.Option('--output', '-o', help='Folder to write.', show_default=False)
]
Run = Annotated[
    Path, typer.Argument(help='Folder of a run, written by "train".', show_default=False)
]
OtherDataset = Annotated[
    Path | None,
    typer.Option(
        '--dataset',
        help='Folder of the dataset that the run was trained on, to read it from there.',
        show_default='the copy in the run',
    ),
]
