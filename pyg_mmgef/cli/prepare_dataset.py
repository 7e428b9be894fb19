import json
from pathlib import Path
from typing import Any

from pyg_mmgef.cli.dataset_folder import CONFIG, DatasetFolder
from pyg_mmgef.cli.devices import checked_device
from pyg_mmgef.cli.encoders import image_encoder, text_encoder
from pyg_mmgef.datasets import InteractionTables
from pyg_mmgef.encoders import FeatureStore
from pyg_mmgef.tables import open_table

__all__ = ['prepare_dataset']


def prepare_dataset(
    interactions: list[Path],
    items: Path | None,
    output: Path,
    *,
    tables: dict[str, dict[str, Any]],
    columns: dict[str, Any],
    image: str,
    text: str,
    encoder_options: dict[str, Any],
    verbose: bool = True,
) -> DatasetFolder:
    """Read the tables, encode texts and pictures, and write a dataset.

    After an interruption, the next call encodes only what is missing or has changed since.

    Args:
        interactions: The files of the interactions.
        items: The table of items.
        output: The folder to write.
        tables: Arguments of :func:`~pyg_mmgef.tables.open_table` for ``'interactions'`` and
            ``'items'``.
        columns: Arguments of :class:`~pyg_mmgef.datasets.InteractionTables`.
        image: The encoder of pictures, see :func:`~pyg_mmgef.cli.encoders.image_encoder`.
        text: The encoder of texts, see :func:`~pyg_mmgef.cli.encoders.text_encoder`.
        encoder_options: ``batch_size``, ``device`` and ``num_workers``.
        verbose: Whether to show progress bars. (default: :obj:`True`)

    Raises:
        ValueError: If a table or an encoder's name is invalid, pictures are asked for but none is
            found, the folder holds a run, or the device isn't available.
    """
    checked_device(encoder_options['device'])
    if (output / CONFIG).exists():
        raise ValueError(f'{str(output)!r} holds a run; give another folder with --output')
    sources = {'interactions': interactions, 'items': items}
    opened = {
        name: None if source is None else open_table(source, argument=name, **tables[name])
        for name, source in sources.items()
    }
    dataset = InteractionTables(opened['interactions'], opened['items'], **columns)
    has_images = any(path is not None for path in dataset.item_images)
    has_texts = any(words is not None for words in dataset.item_texts)
    asked = [name for name in ('image', 'image_folder') if columns.get(name) is not None]
    if asked and not has_images and image != 'none':
        raise ValueError(
            f'none of the {len(dataset.item_ids)} items has a picture file; check '
            '--image and --image-folder, or leave pictures out with --image-encoder none'
        )
    # All encoders are built before anything is written, so that a mistake changes nothing.
    of_images = image_encoder(image, encoder_options) if has_images else None
    of_texts = text_encoder(text, encoder_options, dataset.item_texts) if has_texts else None
    store = FeatureStore(output / 'features')
    encoders: dict[str, str] = {}
    if of_images is not None:
        store.images(of_images, dataset.item_images, verbose=verbose)
        encoders['image'] = of_images.fingerprint
    if of_texts is not None:
        store.texts(of_texts, dataset.item_texts, verbose=verbose)
        encoders['text'] = of_texts.fingerprint
    options = {
        **json.loads(json.dumps({**sources, 'tables': tables, **columns}, default=str)),
        'image_encoder': image,
        'text_encoder': text,
    }
    return DatasetFolder.write(output, dataset, encoders, options)
