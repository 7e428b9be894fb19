from typing import Annotated

import typer

from pyg_mmgef._folders import check_exists
from pyg_mmgef.cli.commands._arguments import OtherDataset, Run
from pyg_mmgef.cli.console import out

__all__ = ['explain']


def explain(
    run: Run,
    user: Annotated[
        str, typer.Argument(help='Id of a user, as in your table.', show_default=False)
    ],
    item: Annotated[
        str, typer.Argument(help='Id of an item, as in your table.', show_default=False)
    ],
    most: Annotated[
        int, typer.Option(help='Number of reasons that get a sentence of their own.', min=1)
    ] = 3,
    dataset: OtherDataset = None,
) -> None:
    """Say why a user gets an item: the parts that the item's score is the sum of.

    Example: pyg-mmgef explain runs/first anna L7
    """
    check_exists(run)
    from pyg_mmgef.runs import Run as LoadedRun

    explanation = LoadedRun.load(run, dataset).explain(user, item)
    out.print(f'score {explanation.score:.3f}', style='bold')
    for side in ('user', 'item'):
        if getattr(explanation, f'by_{side}') is not None:
            for sentence in explanation.words(side=side, most=most):
                out.print(sentence)
