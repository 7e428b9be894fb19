from typing import Annotated

import typer

from pyg_mmgef._folders import check_exists
from pyg_mmgef.cli.commands._arguments import OtherDataset, Run
from pyg_mmgef.cli.console import out
from pyg_mmgef.cli.show import show_items

__all__ = ['similar']


def similar(
    run: Run,
    item: Annotated[
        str, typer.Argument(help='Id of an item, as in your table.', show_default=False)
    ],
    k: Annotated[int, typer.Option(help='Number of similar items to show.', min=1)] = 10,
    dataset: OtherDataset = None,
) -> None:
    """Show the items whose embeddings are most similar to that of an item."""
    check_exists(run)
    from pyg_mmgef.runs import Run as LoadedRun

    items = LoadedRun.load(run, dataset).similar(item, k)
    show_items(items)
    if len(items) < k:
        out.print(f'{len(items)} of {k}: no other item has an embedding', style='dim')
