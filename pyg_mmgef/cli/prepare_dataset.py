import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from pyg_mmgef._encoder_specs import image_encoder, text_encoder
from pyg_mmgef.cli.inputs import Inputs
from pyg_mmgef.datasets import InteractionTables
from pyg_mmgef.encoders import MissingItem, TitleEncoder
from pyg_mmgef.encoders._pictures import is_animation
from pyg_mmgef.runs.dataset_folder import DatasetFolder, preparing
from pyg_mmgef.runs.devices import checked_device
from pyg_mmgef.runs.run_data import RunData
from pyg_mmgef.tables.database import without_password

__all__ = ['prepare_dataset']


def prepare_dataset(
    inputs: Inputs,
    sources: Mapping[str, Any],
    output: Path,
    *,
    image: str,
    text: str,
    encoder_options: dict[str, Any],
    verbose: bool = True,
) -> DatasetFolder:
    """Read the tables, encode texts and pictures, and write a dataset.

    After an interruption, the next call encodes only what is missing or has changed since. Until
    the end, readers of the folder find the dataset of the call before.

    Args:
        inputs: The tables and their columns.
        sources: Where the tables are from, see :func:`~pyg_mmgef.cli.inputs.read_inputs`.
        output: The folder to write.
        image: The encoder of pictures, see :func:`~pyg_mmgef._encoder_specs.image_encoder`.
        text: The encoder of texts, see :func:`~pyg_mmgef._encoder_specs.text_encoder`.
        encoder_options: ``batch_size``, ``device`` and ``num_workers``.
        verbose: Whether to show progress bars. (default: :obj:`True`)

    Raises:
        ValueError: If a table or an encoder's name is invalid, pictures are asked for but none is
            found, or the device isn't available.
        TimeoutError: If another process is preparing the folder.
    """
    checked_device(encoder_options['device'])
    columns = inputs.columns
    # Built before anything is read or written, so that a mistake costs no time and changes nothing.
    asks_images = columns['image'] is not None or columns['image_folder'] is not None
    of_images = image_encoder(image, encoder_options) if asks_images else None
    of_texts = text_encoder(text, encoder_options) if columns['text'] else None
    dataset = InteractionTables(inputs.interactions, inputs.items, **columns, verbose=verbose)
    has_texts = any(words is not None for words in dataset.item_texts)
    if isinstance(of_texts, TitleEncoder) and has_texts:
        of_texts.fit(dataset.item_texts)
    database = sources['database'] and without_password(sources['database'])
    options = {
        **json.loads(json.dumps({**sources, 'database': database, **columns}, default=str)),
        'image_encoder': image,
        'text_encoder': text,
    }
    features: dict[str, tuple[Tensor, Tensor]] = {}
    encoders: dict[str, str] = {}
    with preparing(output):
        store = DatasetFolder.store(output)
        if of_images is not None:
            with warnings.catch_warnings():  # The report lists what can't be read.
                warnings.filterwarnings('ignore', r'\d+ of \d+ pictures could not be read')
                features['image'] = store.images(of_images, dataset.item_pictures, verbose=verbose)
            encoders['image'] = of_images.fingerprint
            dataset.report |= _count_pictures(dataset.item_pictures, store.report('image'))
        if of_texts is not None and has_texts:
            features['text'] = store.texts(of_texts, dataset.item_texts, verbose=verbose)
            encoders['text'] = of_texts.fingerprint
        for name, (x, has) in features.items():
            dataset.add_features(name, x, has)
        about = {
            'options': options,
            'unusable': {
                name: [
                    {'item': dataset.item_ids[bad.row], 'path': bad.path, 'reason': bad.reason}
                    for bad in store.report(name)
                    if bad.path is not None
                ]
                for name in features
            },
        }
        data = RunData.from_tables(dataset, encoders=encoders, about=about)
        return DatasetFolder.write(output, data)


def _count_pictures(
    pictures: Sequence[Sequence[Path]], missing: Sequence[MissingItem]
) -> dict[str, int]:
    paths = {path for of_item in pictures for path in of_item}
    return {
        'pictures that cannot be read': sum(item.path is not None for item in missing),
        'animations, of which the first frame is used': sum(map(is_animation, paths)),
    }
