from typing import Annotated, Literal

import typer

from pyg_mmgef._folders import check_exists
from pyg_mmgef.cli.commands._arguments import OtherDataset, OutputFolder, Run
from pyg_mmgef.cli.console import draws_progress, out

__all__ = ['export']


def export(
    run: Run,
    output: OutputFolder,
    index: Annotated[
        Literal['flat', 'approximate'],
        typer.Option(
            help='The FAISS index: flat is exact; approximate is faster for a million items.'
        ),
    ] = 'flat',
    recall: Annotated[
        float,
        typer.Option(help='Recall that users must have of an approximate index.', min=0, max=1),
    ] = 0.95,
    pictures: Annotated[
        bool, typer.Option('--pictures/--no-pictures', help='Write small pictures of the items.')
    ] = True,
    programs: Annotated[
        list[str] | None,
        typer.Option(
            '--program',
            help="Also write a program that makes an item's vector of its features: pt2 or onnx; "
            'repeat it for both.',
            show_default='none',
        ),
    ] = None,
    dataset: OtherDataset = None,
) -> None:
    """Write what a server needs of a run: vectors, ids, items and an index, readable without torch.

    A folder that holds an earlier export is replaced in one step, while a server reads it.
    """
    check_exists(run)
    from pyg_mmgef.runs import Run as LoadedRun
    from pyg_mmgef.runs import export as write_export

    folder = write_export(
        LoadedRun.load(run, dataset),
        output,
        index=index,
        recall=recall,
        pictures=pictures,
        programs=programs or (),
        verbose=draws_progress(),
    )
    out.print(f'Exported to {folder}; its README.md says how to read it')
