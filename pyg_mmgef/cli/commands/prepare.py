from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from pyg_mmgef.cli.commands._arguments import OutputFolder
from pyg_mmgef.cli.show import show_dataset

__all__ = ['prepare']

Images = Literal['first', 'mean']
READ, ENCODE = 'What to read', 'Encoders'
BY_SUFFIX = "by the file's suffix: comma in .csv, tab in .tsv"


def _read(text: str, **kwargs: Any) -> Any:
    return typer.Option(help=text, rich_help_panel=READ, **{'show_default': 'none', **kwargs})


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
    items: Annotated[Path | None, _read('Table of items, one row per item.')] = None,
    user: Annotated[str, _read('Column of the user ids.', show_default=True)] = 'user_id',
    item: Annotated[str, _read('Column of the item ids.', show_default=True)] = 'item_id',
    item_id: Annotated[
        str | None,
        _read('Column of the item ids in --items.', show_default='the name that --item gives'),
    ] = None,
    rating: Annotated[str | None, _read('Column of the ratings.')] = None,
    time: Annotated[
        str | None, _read('Column of the times: numbers, or dates as in ISO 8601.')
    ] = None,
    text: Annotated[
        list[str] | None,
        _read('Column of --items with words; repeat it to join several columns.'),
    ] = None,
    image: Annotated[
        str | None,
        _read('Column of --items with the file names of the pictures, one or several, or URLs.'),
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
    delimiter: Annotated[
        str | None,
        _read('Column separator of the interactions.', show_default=BY_SUFFIX),
    ] = None,
    item_delimiter: Annotated[
        str | None, _read('Column separator of --items.', show_default=BY_SUFFIX)
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
) -> None:
    """Read tables and pictures, encode them, and write a dataset folder.

    Rows and pictures that can't be used are skipped and counted. The encoders called small need
    no download.

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
            'images': images,
            'download_images': download_images,
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
