"""Features of items that come after a dataset was made, by the encoders that made its features."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyg_mmgef._encoder_specs import image_encoder, text_encoder
from pyg_mmgef.encoders import TitleEncoder
from pyg_mmgef.runs.run_data import Source
from pyg_mmgef.schema import item_modalities

__all__ = ['FITTED_ON', 'encoded_like']

FITTED_ON = 'fitted_on'
"""The entry of ``about`` with the number of items on whose texts the encoder was fitted."""
_ENCODER = {'batch_size': 64, 'device': 'cpu', 'num_workers': 0}


def encoded_like(
    source: Source,
    num_items: int,
    texts: Sequence[str | None] | None,
    images: Sequence[str | os.PathLike[str] | None] | None,
    features: Mapping[str, Tensor] | None = None,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the features of new items in the spaces of a dataset's features.

    Args:
        source: The dataset.
        num_items: Number of new items.
        texts: Their texts, for the modality ``'text'``.
        images: The paths of their pictures, for ``'image'``.
        features: Features by modality, instead of texts and pictures. (default: :obj:`None`)

    Returns:
        The features of each modality of the dataset, zeros where there are none, and which items
        have them. Shape of each: ``[num_items, channels]`` and ``[num_items]``.

    Raises:
        ValueError: If lengths or channels differ, a modality is unknown, or the encoder of the
            dataset can't be built again.
    """
    known = item_modalities(source.data())[0]
    given = dict(features or {})
    for name in given:
        if name not in known:
            raise ValueError(
                f"'features' has the modality {name!r}; the dataset has "
                f'{", ".join(map(repr, known)) or "none"}'
            )
    x: dict[str, Tensor] = {}
    has: dict[str, Tensor] = {}
    for name, own in known.items():
        x[name], has[name] = own.new_zeros(num_items, own.size(1)), torch.zeros(num_items).bool()
        if name in given:
            _check_shape(name, given[name], x[name])
            x[name] = given[name].to(own)
            has[name] = (x[name] != 0).any(dim=1)
    for name, values in (('text', texts), ('image', images)):
        if values is None or name in given or name not in known:
            continue
        if len(values) != num_items:
            raise ValueError(f"'{name}s' has {len(values)} entries for {num_items} items")
        if any(value is not None for value in values):
            x[name], has[name] = _encoded(source, name, values)
            _check_shape(name, x[name], known[name][:num_items].new_empty(num_items, known[name].size(1)))
    return x, has


def _encoded(source: Source, name: str, values: Sequence[Any]) -> tuple[Tensor, Tensor]:
    spec = source.about['options'].get(f'{name}_encoder')
    if spec is None:
        raise ValueError(
            f"what made the features of the modality {name!r} isn't known; pass those of the new "
            "items with 'features'"
        )
    if name == 'image':
        pictures = image_encoder(spec, _ENCODER)
        assert pictures is not None
        _check_encoder(source, name, pictures.fingerprint)
        return pictures.encode_images([None if path is None else Path(path) for path in values])
    words = text_encoder(spec, _ENCODER)
    assert words is not None
    if isinstance(words, TitleEncoder):
        known = [item['text'] for item in source.items()]
        words.fit(known[: source.about.get(FITTED_ON, len(known))])
    _check_encoder(source, name, words.fingerprint)
    return words.encode_texts(list(values))


def _check_encoder(source: Source, name: str, fingerprint: str) -> None:
    if fingerprint != source.encoders[name]:
        raise ValueError(
            f'the features of the modality {name!r} were made by {source.encoders[name]}, but here '
            f"the encoder is {fingerprint}; pass those of the new items with 'features'"
        )


def _check_shape(name: str, x: Tensor, expected: Tensor) -> None:
    if x.shape != expected.shape or not x.is_floating_point():
        raise ValueError(
            f'the features of the modality {name!r} must be floating point of shape '
            f'{list(expected.shape)} (got {list(x.shape)}, {x.dtype})'
        )
