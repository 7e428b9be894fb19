from typing import Annotated, Literal

import typer

from pyg_mmgef.cli.commands._arguments import OtherDataset, Run
from pyg_mmgef.cli.show import show_metrics

__all__ = ['evaluate']


def evaluate(
    run: Run,
    part: Annotated[
        Literal['val', 'test'],
        typer.Option('--split', help='Held-out part to rank: validation or test.'),
    ] = 'test',
    cutoff: Annotated[
        list[int] | None,
        typer.Option(
            help='Cut-off of the metrics, the k in Recall@k; repeat it for several.',
            min=1,
            show_default='10, 20',
        ),
    ] = None,
    dataset: OtherDataset = None,
) -> None:
    """Compute the metrics of a run for cut-offs of your choice."""
    from pyg_mmgef.runs import Run as LoadedRun

    show_metrics(LoadedRun.load(run, dataset).evaluate(part, cutoff or None))
