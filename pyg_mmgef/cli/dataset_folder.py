import hashlib
import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef import __version__
from pyg_mmgef.cli.folders import ABOUT, CONFIG
from pyg_mmgef.datasets import IdMap, InteractionTables
from pyg_mmgef.encoders import FeatureStore
from pyg_mmgef.files import write_atomically
from pyg_mmgef.schema import INTERACTS, ITEM, USER

__all__ = ['ABOUT', 'CONFIG', 'DatasetFolder']

FORMAT = 1


class DatasetFolder:
    """The folder of a dataset, as written by ``pyg-mmgef prepare``.

    It holds the interactions as rows (``interactions.npz``), the ids of the rows
    (``user_ids.jsonl``, ``item_ids.jsonl``), the items' texts and pictures (``items.jsonl``), the
    features (``features/``) and, written last, a description (``dataset.json``).

    Args:
        path: The folder.

    Raises:
        FileNotFoundError: If the folder doesn't exist, or ``prepare`` hasn't finished.
        ValueError: If it was written by another version of this package, or is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not (path / ABOUT).is_file():
            raise FileNotFoundError(
                f'{str(path)!r} is not a prepared dataset, it has no {ABOUT}; make it with '
                '"pyg-mmgef prepare", or run that again if it was interrupted'
            )
        self.about: dict[str, Any] = json.loads((path / ABOUT).read_text(encoding='utf-8'))
        if self.about.get('format') != FORMAT:
            raise ValueError(
                f'{str(path / ABOUT)!r} has format {self.about.get("format")!r}, but this version '
                f'reads {FORMAT}; prepare the dataset again'
            )
        self.user_ids = IdMap.load(path / 'user_ids.jsonl')
        self.item_ids = IdMap.load(path / 'item_ids.jsonl')

    @property
    def fingerprint(self) -> str:
        """A hash of the interactions, ids and features."""
        return str(self.about['fingerprint'])

    @property
    def modalities(self) -> list[str]:
        """The names of the features."""
        return list(self.about['modalities'])

    def data(self) -> HeteroData:
        """Return the graph with all interactions and features.

        Raises:
            ValueError: If the files are damaged, or from different calls of ``prepare``.
        """
        try:
            with np.load(self.path / 'interactions.npz', allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        except (zipfile.BadZipFile, ValueError, OSError, EOFError) as error:
            raise self._damaged(str(error)) from error
        features = {name: self.store.load(name) for name in self.modalities}
        if _fingerprint(arrays, self.user_ids, self.item_ids, features) != self.fingerprint:
            raise self._damaged(f"the files don't agree with {ABOUT}")
        data = HeteroData()
        data[USER].num_nodes, data[ITEM].num_nodes = len(self.user_ids), len(self.item_ids)
        for name, array in arrays.items():
            data[INTERACTS][name] = torch.from_numpy(array)
        for name, tensors in features.items():
            data[ITEM][f'x_{name}'], data[ITEM][f'has_{name}'] = tensors
        return data

    def _damaged(self, reason: str) -> ValueError:
        return ValueError(
            f'the dataset {str(self.path)!r} is damaged, or was only half prepared again '
            f'({reason}); give its "pyg-mmgef prepare" command again'
        )

    @property
    def store(self) -> FeatureStore:
        """The store of the features."""
        return FeatureStore(self.path / 'features')

    def items(self) -> list[dict[str, Any]]:
        """Return ``'text'`` and ``'image'`` of each item, :obj:`None` where it has none.

        ``'fields'`` has the columns of the text, in the order of their names in ``--text``.
        """
        with open(self.path / 'items.jsonl', encoding='utf-8') as lines:
            return [json.loads(line) for line in lines]

    @classmethod
    def write(
        cls,
        path: Path,
        tables: InteractionTables,
        encoders: Mapping[str, str],
        options: Mapping[str, Any],
    ) -> 'DatasetFolder':
        """Write a dataset from tables whose features are stored already.

        Args:
            path: The folder.
            tables: The tables.
            encoders: The fingerprint of each modality's encoder.
            options: The options of the command.
        """
        path.mkdir(parents=True, exist_ok=True)
        data = tables[0]
        arrays = {
            name: data[INTERACTS][name].numpy()
            for name in ('edge_index', 'time', 'rating')
            if name in data[INTERACTS]
        }
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        write_atomically(path / 'interactions.npz', buffer.getvalue())
        tables.save_ids(path)
        write_atomically(path / 'items.jsonl', ''.join(_item_lines(tables)).encode())
        store = FeatureStore(path / 'features')
        features = {name: store.load(name) for name in encoders}
        about = {
            'format': FORMAT,
            'version': __version__,
            'options': dict(options),
            'report': tables.report,
            'modalities': {
                name: {
                    'encoder': encoders[name],
                    'channels': x.size(1),
                    'items': int(has.sum()),
                    'unusable': [
                        {'item': tables.item_ids[bad.row], 'path': bad.path, 'reason': bad.reason}
                        for bad in store.report(name)
                        if bad.path is not None
                    ],
                }
                for name, (x, has) in features.items()
            },
            'fingerprint': _fingerprint(arrays, tables.user_ids, tables.item_ids, features),
        }
        write_atomically(path / ABOUT, json.dumps(about, indent=2, default=str).encode())
        return cls(path)


def _item_lines(tables: InteractionTables) -> Iterator[str]:
    for row, (text, image) in enumerate(zip(tables.item_texts, tables.item_images, strict=True)):
        item = {
            'text': text,
            'image': None if image is None else str(image.resolve()),
            'fields': {column: texts[row] for column, texts in tables.item_fields.items()},
        }
        yield f'{json.dumps(item)}\n'


def _fingerprint(
    arrays: Mapping[str, np.ndarray],
    user_ids: IdMap,
    item_ids: IdMap,
    features: Mapping[str, tuple[Tensor, Tensor]],
) -> str:
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f'{name}{array.dtype}{array.shape}'.encode())
        digest.update(np.ascontiguousarray(array).data)
    for ids in (user_ids, item_ids):
        digest.update(json.dumps(list(ids)).encode())
    for name, tensors in features.items():
        for tensor in tensors:
            digest.update(f'{name}{tensor.dtype}{tuple(tensor.shape)}'.encode())
            digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()[:16]
