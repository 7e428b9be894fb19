"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from pyg_mmgef.cli.settings import TRAINING

__all__ = ['Dataset', 'Device', 'OtherDataset', 'OutputFolder', 'Part', 'Run', 'cutoffs']

Part = Annotated[
    Literal['val', 'test'],
    typer.Option('--split', help='Held-out part to rank: validation or test.'),
]

Dataset = Annotated[
    Path, typer.Argument(help='Folder of a dataset, written by "prepare".', show_default=False)
]
Device = Annotated[
    str,
    typer.Option(
        help="Where to train: 'cpu', 'cuda', or 'auto' for a GPU if there is one.",
        rich_help_panel=TRAINING,
    ),
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


def cutoffs(default: str) -> Any:
    """Return the option of the cut-offs of metrics.

    Args:
        default: What the help says of the default.
    """
    return typer.Option(
        help='Cut-off of the metrics, the k in Recall@k; repeat it for several.',
        min=1,
        show_default=default,
    )
