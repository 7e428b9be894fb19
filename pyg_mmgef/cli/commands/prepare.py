from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from pyg_mmgef.cli.commands._arguments import OutputFolder
from pyg_mmgef.cli.console import draws_progress, err, out
from pyg_mmgef.cli.show import show_dataset

__all__ = ['prepare']

Images = Literal['first', 'mean']
READ, ENCODE = 'What to read', 'Encoders'
FOUND = 'found by names and values'
GUESSED = 'comma in .csv, tab in .tsv, else guessed from the first lines'


def _read(text: str, *names: str, **kwargs: Any) -> Any:
    return typer.Option(
        *names, help=text, rich_help_panel=READ, **{'show_default': 'none', **kwargs}
    )


def _encode(text: str, **kwargs: Any) -> Any:
    return typer.Option(help=text, rich_help_panel=ENCODE, **kwargs)


def prepare(
    context: typer.Context,
    output: OutputFolder,
    interactions: Annotated[
        list[Path] | None,
        typer.Argument(
            help='Table of interactions, one row per click, order or rating: Parquet, CSV, TSV, '
            'JSON Lines or another text file, also compressed (.gz, .zst); several files, a '
            'pattern or a folder of such; or a DuckDB database. Not with --database and --query.',
            show_default='what --query gives',
        ),
    ] = None,
    items: Annotated[
        Path | None, _read('Table of items, one row per item; a file, a pattern or a folder.')
    ] = None,
    user: Annotated[str | None, _read('Column of the user ids.', show_default=FOUND)] = None,
    item: Annotated[str | None, _read('Column of the item ids.', show_default=FOUND)] = None,
    item_id: Annotated[
        str | None, _read('Column of the item ids in --items.', show_default=FOUND)
    ] = None,
    rating: Annotated[
        str | None, _read("Column of the ratings, or 'none'.", show_default=FOUND)
    ] = None,
    time: Annotated[
        str | None,
        _read(
            "Column of the times, numbers or dates as in ISO 8601, or 'none'.", show_default=FOUND
        ),
    ] = None,
    event: Annotated[
        str | None, _read('Column of the kinds of events, such as view or buy.')
    ] = None,
    event_weight: Annotated[
        list[str] | None,
        _read(
            'Rating that an event stands for, as in buy=5; repeat it. Rows of other events are '
            'left out.'
        ),
    ] = None,
    since: Annotated[
        str | None, _read('First time that counts, a date or a number.', show_default='all count')
    ] = None,
    until: Annotated[
        str | None,
        _read('Time from which on none counts, a date or a number.', show_default='all count'),
    ] = None,
    text: Annotated[
        list[str] | None,
        _read(
            "Column of --items with words, or 'none'; repeat it to join several columns.",
            show_default=FOUND,
        ),
    ] = None,
    fields: Annotated[
        list[str] | None,
        _read(
            "Column of --items to keep for business rules, such as price or in_stock, or 'none'; "
            'repeat it. Those of --text are kept in any case.',
            '--field',
            show_default=FOUND,
        ),
    ] = None,
    image: Annotated[
        str | None,
        _read(
            'Column of --items with the file names of the pictures, one or several, or URLs, or '
            "'none'.",
            show_default=FOUND,
        ),
    ] = None,
    image_folder: Annotated[
        Path | None,
        _read(
            'Folder of the pictures; without --image, their files are named after the item ids.',
            show_default='the folder of --items if --image is given, else none',
        ),
    ] = None,
    images: Annotated[
        Images,
        _read(
            "What to use of an item's pictures: the first, or the mean of all vectors.",
            show_default=True,
        ),
    ] = 'first',
    download_images: Annotated[
        bool,
        _read(
            'Download the pictures whose URLs --image holds into --image-folder; what is there is '
            'not downloaded again.',
            show_default=True,
        ),
    ] = False,
    min_rating: Annotated[
        float | None,
        _read('Lowest rating that counts as an interaction.', show_default='all count'),
    ] = None,
    k_core: Annotated[
        int,
        _read(
            'Keep only users and items with at least this many interactions.',
            min=0,
            show_default=True,
        ),
    ] = 0,
    duplicates: Annotated[
        Literal['last', 'first', 'max'] | None,
        _read(
            "Row that is kept of a repeated user-item pair: 'last' (the latest), 'first' or 'max' "
            '(the best rating).',
            show_default="'max' with --event, else 'last'",
        ),
    ] = None,
    columns: Annotated[
        str | None,
        _read(
            'Names of the columns of the interactions, separated by commas, if their file has no '
            'header.',
            show_default='the first row',
        ),
    ] = None,
    item_columns: Annotated[
        str | None, _read('Names of the columns of --items.', show_default='the first row')
    ] = None,
    delimiter: Annotated[
        str | None,
        _read(r'Column separator of the interactions, such as "::" or "\t".', show_default=GUESSED),
    ] = None,
    item_delimiter: Annotated[
        str | None, _read('Column separator of --items.', show_default=GUESSED)
    ] = None,
    quote: Annotated[
        str | None,
        _read(
            "Quote of text files, or 'none' if quotes are letters like others.",
            show_default="'\"', unless it joins whole rows",
        ),
    ] = None,
    escape: Annotated[
        str | None,
        _read('What stands before a quote within quotes.', show_default='another quote'),
    ] = None,
    encoding: Annotated[
        str, _read("Encoding of text files, such as 'latin-1' or 'gb18030'.", show_default=True)
    ] = 'utf-8',
    decimal: Annotated[
        str, _read('Decimal separator of numbers in text files.', show_default=True)
    ] = '.',
    database: Annotated[
        str | None,
        _read(
            "Database to read from: 'sqlite:///shop.db', a path that ends in .sqlite, .db or "
            ".duckdb, or 'postgresql://user@host/name'.",
        ),
    ] = None,
    query: Annotated[
        str | None, _read('SQL whose result are the interactions, for a database.')
    ] = None,
    item_query: Annotated[
        str | None,
        _read('SQL whose result are the items, from the same database unless --items names one.'),
    ] = None,
    image_encoder: Annotated[
        str,
        _encode(
            "Encoder of the pictures: 'small' (colours and shapes), 'open_clip:MODEL/PRETRAINED' "
            "or 'none'."
        ),
    ] = 'small',
    text_encoder: Annotated[
        str,
        _encode(
            "Encoder of the texts: 'small' (words), 'sentence:MODEL', where MODEL is a name or a "
            "folder, 'open_clip:MODEL/PRETRAINED' or 'none'."
        ),
    ] = 'small',
    batch_size: Annotated[int, _encode('Number of pictures or texts in a batch.', min=1)] = 64,
    device: Annotated[str, _encode("Where the encoders run: 'cpu' or 'cuda'.")] = 'cpu',
    num_workers: Annotated[int, _encode('Number of threads that read pictures.', min=0)] = 2,
    dry_run: Annotated[
        bool,
        typer.Option(
            '--dry-run', help='Show columns, three rows and all options, and write nothing.'
        ),
    ] = False,
) -> None:
    """Read tables and pictures, encode them, and write a dataset folder.

    Columns that aren't given are found by their names and values. Rows and pictures that can't be
    used are skipped and counted. The encoders called small need no download.

    Example: pyg-mmgef prepare orders.csv -o shop --items products.csv --text title --image photo
    --image-folder photos
    """
    # Without torch, so that a mistake shows at once.
    from pyg_mmgef.cli import show_inputs as show
    from pyg_mmgef.cli.inputs import UndecidedColumns, read_inputs

    text_files = {
        'quote': '' if quote == 'none' else quote,
        'escape': escape,
        'encoding': encoding,
        'decimal': decimal,
    }
    sources = {
        'database': database,
        'interactions': interactions,
        'items': items,
        'tables': {
            'interactions': {
                **text_files,
                'delimiter': delimiter,
                'columns': _names(columns),
                'query': query,
            },
            'items': {
                **text_files,
                'delimiter': item_delimiter,
                'columns': _names(item_columns),
                'query': item_query,
            },
        },
    }
    arguments = {
        'user': user,
        'item': item,
        'item_id': item_id,
        'rating': rating,
        'time': time,
        'event': event,
        'event_weights': _weights(event_weight),
        'since': since,
        'until': until,
        'text': tuple(text or ()),
        'fields': tuple(fields or ()),
        'image': image,
        'image_folder': image_folder,
        'images': images,
        'download_images': download_images,
        'min_rating': min_rating,
        'k_core': k_core,
        'duplicates': duplicates,
    }
    encoders = {'image_encoder': image_encoder, 'text_encoder': text_encoder}
    try:
        inputs = read_inputs(sources, arguments, output, encoders)
    except UndecidedColumns as undecided:
        show.show_tables(undecided.inputs, err)
        err.print(show.command_to_type(context, undecided))
        raise ValueError(f'{undecided}; fill in the command above') from None
    show.show_found(inputs)
    if dry_run:
        show.show_tables(inputs, out)
        show.show_options(context, inputs)
        return

    from pyg_mmgef.cli.prepare_dataset import prepare_dataset

    dataset = prepare_dataset(
        inputs,
        sources,
        output,
        image=image_encoder,
        text=text_encoder,
        encoder_options={
            'batch_size': batch_size,
            'device': device,
            'num_workers': num_workers,
        },
        verbose=draws_progress(),
    )
    show_dataset(dataset)


def _names(columns: str | None) -> list[str] | None:
    return None if columns is None else [name.strip() for name in columns.split(',')]


def _weights(given: list[str] | None) -> dict[str, float] | None:
    weights = {}
    for text in given or ():
        kind, _, weight = text.rpartition('=')
        try:
            weights[kind.strip()] = float(weight)
        except ValueError:
            kind = ''
        if not kind:
            raise ValueError(f"--event-weight must look like 'buy=5' (got {text!r})")
    return weights or None
