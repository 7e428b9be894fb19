from pathlib import Path
from typing import Annotated

import typer

from pyg_mmgef._folders import check_exists
from pyg_mmgef.catalog import Rules
from pyg_mmgef.cli.commands._arguments import OtherDataset, Run
from pyg_mmgef.cli.console import draws_progress, out
from pyg_mmgef.cli.rule_options import takes_rules
from pyg_mmgef.cli.show import show_items

__all__ = ['recommend']


@takes_rules
def recommend(
    run: Run,
    user: Annotated[
        list[str] | None,
        typer.Option(
            help='Id of a user, as in your table; repeat it for several.', show_default='all users'
        ),
    ] = None,
    liked: Annotated[
        list[str] | None,
        typer.Option(
            help='Id of an item that a new user likes or has in the basket, instead of --user; '
            'repeat it for several.',
            show_default='none',
        ),
    ] = None,
    k: Annotated[int, typer.Option(help='Number of items to recommend to each user.', min=1)] = 10,
    output: Annotated[
        Path | None,
        typer.Option(
            '--output',
            '-o',
            help='File to write: .parquet, .csv or .jsonl.',
            show_default='print them',
        ),
    ] = None,
    for_spreadsheets: Annotated[
        bool,
        typer.Option(
            '--for-spreadsheets',
            help="Write ' before ids that begin with =, +, -, @, a tab or a line break, which a "
            'spreadsheet would run as a formula (.csv only).',
            show_default='exact ids, for programs',
        ),
    ] = False,
    dataset: OtherDataset = None,
    *,
    rules: Rules,
) -> None:
    """Recommend to users items that they haven't interacted with.

    Rules say which items may be recommended, and what comes first. Their fields are the columns
    that "prepare" kept with --text and --field.

    Without --user, those of all users are written to the file that --output names.
    """
    check_exists(run)
    from pyg_mmgef.runs import Run as LoadedRun
    from pyg_mmgef.runs import recommend_all
    from pyg_mmgef.runs.item_table import check_suffix

    if output is not None:
        check_suffix(output)
    elif not user and not liked:
        raise ValueError(
            'recommendations for all users need a file; give --output, or --user, or --liked'
        )
    if for_spreadsheets and (output is None or output.suffix != '.csv'):
        raise ValueError('--for-spreadsheets is for .csv files; give --output FILE.csv with it')
    loaded = LoadedRun.load(run, dataset)
    if output is not None and output.suffix == '.parquet' and not user and not liked:
        # The other formats aren't for so many rows that they would not fit into memory.
        num_rows = recommend_all(loaded, output, k=k, rules=rules, verbose=draws_progress())
        out.print(f'{num_rows} rows in {output}')
        return
    items = loaded.recommend(user or None, liked=liked or None, k=k, rules=rules)
    if output is not None:
        items.write(output, for_spreadsheets=for_spreadsheets)
        out.print(f'{len(items)} rows in {output}')
    else:
        show_items(items)
