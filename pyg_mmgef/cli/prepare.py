import json
from pathlib import Path
from typing import Any

from pyg_mmgef.cli.dataset_folder import DatasetFolder
from pyg_mmgef.cli.devices import checked_device
from pyg_mmgef.cli.encoders import image_encoder, text_encoder
from pyg_mmgef.datasets import InteractionTables
from pyg_mmgef.encoders import FeatureStore

__all__ = ['prepare']


def prepare(
    interactions: Path,
    items: Path | None,
    output: Path,
    *,
    columns: dict[str, Any],
    image: str,
    text: str,
    encoder_options: dict[str, Any],
    verbose: bool = True,
) -> DatasetFolder:
    """Read the tables, encode texts and pictures, and write a dataset.

    Encoding goes on where an earlier call was interrupted, and encodes only what has changed since.

    Args:
        interactions: The table of interactions.
        items: The table of items.
        output: The folder to write.
        columns: Arguments of :class:`~pyg_mmgef.datasets.InteractionTables`.
        image: The encoder of pictures, see :func:`~pyg_mmgef.cli.encoders.image_encoder`.
        text: The encoder of texts, see :func:`~pyg_mmgef.cli.encoders.text_encoder`.
        encoder_options: ``batch_size``, ``device`` and ``num_workers``.
        verbose: Whether to show progress bars. (default: :obj:`True`)

    Raises:
        ValueError: If the tables or an encoder's name are no good, or there is no such device.
    """
    checked_device(encoder_options['device'])
    tables = InteractionTables(interactions, items, **columns)
    store = FeatureStore(output / 'features')
    encoders: dict[str, str] = {}
    if any(path is not None for path in tables.item_images):
        encoder = image_encoder(image, encoder_options)
        if encoder is not None:
            store.images(encoder, tables.item_images, verbose=verbose)
            encoders['image'] = encoder.fingerprint
    if any(text is not None for text in tables.item_texts):
        encoder = text_encoder(text, encoder_options, tables.item_texts)
        if encoder is not None:
            store.texts(encoder, tables.item_texts, verbose=verbose)
            encoders['text'] = encoder.fingerprint
    options = {
        'interactions': str(interactions),
        'items': None if items is None else str(items),
        **json.loads(json.dumps(columns, default=str)),
        'image_encoder': image,
        'text_encoder': text,
    }
    return DatasetFolder.write(output, tables, encoders, options)
