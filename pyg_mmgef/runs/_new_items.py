"""Features of items that come after a dataset was made, by the encoders that made its features."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef._encoder_specs import image_encoder, text_encoder
from pyg_mmgef.datasets import IdMap
from pyg_mmgef.encoders import TitleEncoder
from pyg_mmgef.runs._ids import alike
from pyg_mmgef.runs.run_data import RunData, Source
from pyg_mmgef.schema import INTERACTS, ITEM, USER, item_modalities

__all__ = ['FITTED_ON', 'encoded_like', 'new_items']

FITTED_ON = 'fitted_on'
"""The entry of ``about`` with the number of items on whose texts the encoder was fitted."""
_ENCODER = {'batch_size': 64, 'device': 'cpu', 'num_workers': 0}


def encoded_like(
    source: Source,
    known: Mapping[str, Tensor],
    num_items: int,
    texts: Sequence[str | None] | None,
    images: Sequence[str | os.PathLike[str] | None] | None,
    features: Mapping[str, Tensor] | None = None,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the features of new items in the spaces of a dataset's features.

    Args:
        source: The dataset.
        known: Its features by modality.
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
    return x, has


def new_items(
    source: Source,
    ids: Sequence[Any],
    texts: Sequence[str | None] | None,
    images: Sequence[str | os.PathLike[str] | None] | None,
    features: Mapping[str, Tensor] | None,
    fields: Mapping[str, Sequence[Any]],
) -> RunData:
    """Return items that a dataset lacks, with features in the spaces of its own.

    Args:
        source: The dataset.
        ids: Their ids.
        texts: See :func:`encoded_like`.
        images: See :func:`encoded_like`.
        features: See :func:`encoded_like`.
        fields: Values of fields of the catalog by name.

    Raises:
        ValueError: If an id is known already, and as :func:`encoded_like`.
    """
    item_ids = IdMap(ids)
    known, given = alike(source.item_ids, item_ids, ITEM)
    are_known = set(known)
    for own, same in zip(item_ids, given, strict=True):
        if same in are_known:
            raise ValueError(f"'ids' holds {own!r}, which the dataset has already")
    num_items = len(item_ids)
    for name, column in fields.items():
        if len(column) != num_items:
            raise ValueError(f"'fields' has {len(column)} values of {name!r} for {num_items} items")
    graph = HeteroData()
    graph[USER].num_nodes, graph[ITEM].num_nodes = 0, num_items
    graph[INTERACTS].edge_index = torch.empty(2, 0, dtype=torch.long)
    of_source = item_modalities(source.data())[0]
    x, has = encoded_like(source, of_source, num_items, texts, images, features)
    for modality in x:
        graph[ITEM][f'x_{modality}'] = x[modality]
        graph[ITEM][f'has_{modality}'] = has[modality]
    first = next((name for item in source.items() for name in item['fields']), 'text')
    words = [None] * num_items if texts is None else texts
    paths = [None] * num_items if images is None else images
    items = [
        {
            'text': text,
            'image': None if path is None else os.fspath(path),
            'fields': {first: text},
            'kept': {name: column[row] for name, column in fields.items()},
        }
        for row, (text, path) in enumerate(zip(words, paths, strict=True))
    ]
    return RunData(graph, IdMap([]), item_ids, items)


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
