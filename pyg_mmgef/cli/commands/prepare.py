from pathlib import Path
from typing import Annotated, Any

import typer

from pyg_mmgef.cli.commands._arguments import OutputFolder
from pyg_mmgef.cli.show import show_dataset

__all__ = ['prepare']

READ, ENCODE = 'What to read', 'Encoders'


def _read(text: str, **kwargs: Any) -> Any:
    return typer.Option(help=text, rich_help_panel=READ, **{'show_default': False, **kwargs})


def _encode(text: str, **kwargs: Any) -> Any:
    return typer.Option(help=text, rich_help_panel=ENCODE, **kwargs)


def prepare(
    interactions: Annotated[
        Path,
        typer.Argument(
            help='Table of interactions, one row per click, order or rating: Parquet, CSV, TSV or '
            'JSON Lines.',
            show_default=False,
        ),
    ],
    output: OutputFolder,
    items: Annotated[Path | None, _read('Table of the items.')] = None,
    user: Annotated[str, _read('Column of the user ids.', show_default=True)] = 'user_id',
    item: Annotated[str, _read('Column of the item ids.', show_default=True)] = 'item_id',
    item_id: Annotated[
        str | None, _read('Column of the ids in --items, if it has another name than --item.')
    ] = None,
    rating: Annotated[str | None, _read('Column of the ratings.')] = None,
    time: Annotated[str | None, _read('Column of the times.')] = None,
    text: Annotated[
        list[str] | None,
        _read('Column of --items with words; repeat it to join several into the text of an item.'),
    ] = None,
    image: Annotated[
        str | None, _read('Column of --items with the names of the picture files.')
    ] = None,
    image_folder: Annotated[
        Path | None,
        _read('Folder of the pictures; without --image, the files are named after the item ids.'),
    ] = None,
    min_rating: Annotated[float | None, _read('Ignore ratings below this.')] = None,
    k_core: Annotated[
        int,
        _read(
            'Keep users and items with at least this many interactions.', min=0, show_default=True
        ),
    ] = 0,
    delimiter: Annotated[
        str | None, _read('Column separator; default: guessed from the suffix of the file.')
    ] = None,
    item_delimiter: Annotated[str | None, _read('Column separator in --items.')] = None,
    image_encoder: Annotated[
        str, _encode("'small' (colours and shapes), 'open_clip:MODEL/PRETRAINED' or 'none'.")
    ] = 'small',
    text_encoder: Annotated[
        str,
        _encode(
            "'small' (words), 'sentence:MODEL or folder', 'open_clip:MODEL/PRETRAINED' or 'none'."
        ),
    ] = 'small',
    batch_size: Annotated[int, _encode('Pictures or texts per batch.', min=1)] = 64,
    device: Annotated[str, _encode("Where the encoders run, 'cpu' or 'cuda'.")] = 'cpu',
    num_workers: Annotated[int, _encode('Number of threads that read pictures.', min=0)] = 2,
) -> None:
    """Read tables and pictures, encode them, and write a dataset folder.

    Rows and pictures that can't be used are skipped and counted. The small encoders need no
    download.

    Example: pyg-mmgef prepare orders.csv -o shop --items products.csv --text title --image photo
    --image-folder photos
    """
    from pyg_mmgef.cli.prepare_dataset import prepare_dataset

    dataset = prepare_dataset(
        interactions,
        items,
        output,
        columns={
            'user': user,
            'item': item,
            'item_id': item_id,
            'rating': rating,
            'time': time,
            'text': tuple(text or ()),
            'image': image,
            'image_folder': image_folder,
            'min_rating': min_rating,
            'k_core': k_core,
            'delimiter': delimiter,
            'item_delimiter': item_delimiter,
        },
        image=image_encoder,
        text=text_encoder,
        encoder_options={
            'batch_size': batch_size,
            'device': device,
            'num_workers': num_workers,
        },
    )
    show_dataset(dataset)
