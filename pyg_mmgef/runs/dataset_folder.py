import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.data.storage import EdgeStorage

from pyg_mmgef import __version__
from pyg_mmgef._folders import ABOUT, CONFIG, FEATURES, TRAINED_ON, VERSIONS
from pyg_mmgef.catalog import Catalog
from pyg_mmgef.datasets import IdMap
from pyg_mmgef.encoders import FeatureStore
from pyg_mmgef.files import (
    check_sha256,
    has_sha256,
    make_folder,
    open_atomically,
    read_json,
    sha256_of,
    sync_folder,
    write_array,
    write_atomically,
    write_json,
)
from pyg_mmgef.runs._catalog import catalog_of
from pyg_mmgef.schema import INTERACTS, ITEM, USER, item_modalities, item_relations

if TYPE_CHECKING:
    from pyg_mmgef.runs.run_data import RunData

__all__ = ['DatasetFolder', 'features', 'preparing']

FORMAT = 2
_NEW = '.new'
_ITEMS, _GRAPH = 'items.jsonl', 'graph_'
INTERACTION_VALUES = 'edge_index', 'time', 'rating', 'in_train'
GRAPH_VALUES = 'edge_index', 'edge_weight'
PREPARE_AGAIN = 'give its "pyg-mmgef prepare" command again'


class DatasetFolder:
    """The folder of a dataset, as written by ``pyg-mmgef prepare``.

    ``dataset.json`` describes the dataset, has the SHA-256 of each of its files, and so names their
    folder, ``versions/SHA-256 of all these``. There are the interactions as rows
    (``interactions.npz``), the ids of the rows (``user_ids.jsonl``, ``item_ids.jsonl``), the items'
    texts and pictures (``items.jsonl``), and of each modality the features and which items have
    them (``x_image.npy``, ``has_image.npy``). A version never changes. The next ``prepare`` writes
    another, then replaces ``dataset.json``, and keeps the version before for those who still read
    it. ``features/`` has the vectors by content, from which it takes what it need not encode again.

    Args:
        path: The folder.
        advice: What to do if a file is damaged, for the message.
            (default: to give the ``prepare`` command again)

    Raises:
        FileNotFoundError: If the folder doesn't exist, or ``prepare`` hasn't finished.
        ValueError: If it was written by another version of this package, or is damaged.
    """

    def __init__(self, path: Path, advice: str = PREPARE_AGAIN) -> None:
        self.path, self._advice = path, advice
        if (path / CONFIG).is_file():
            raise FileNotFoundError(
                f'{str(path)!r} is a run, not a dataset; give the folder that "pyg-mmgef prepare" '
                f'wrote, or the copy that the run keeps, {str(path / TRAINED_ON)!r}'
            )
        if not (path / ABOUT).is_file():
            raise FileNotFoundError(
                f'{str(path)!r} is not a prepared dataset, it has no {ABOUT}; make it with '
                '"pyg-mmgef prepare", or run that again if it was interrupted'
            )
        self.about: dict[str, Any] = read_json(path / ABOUT, advice)
        if self.about.get('format') != FORMAT:
            raise ValueError(
                f'{str(path / ABOUT)!r} has format {self.about.get("format")!r}, but this version '
                f'reads {FORMAT}; prepare the dataset again'
            )
        self._files: dict[str, str] = self.about['files']
        self._folder = path / VERSIONS / _digest(self._files)
        self.user_ids = IdMap.load(self._checked('user_ids.jsonl'))
        self.item_ids = IdMap.load(self._checked('item_ids.jsonl'))

    @property
    def fingerprint(self) -> str:
        """A hash of the interactions, ids and features, but not of the items' texts."""
        return _digest({name: sha256 for name, sha256 in self._files.items() if name != _ITEMS})

    @property
    def encoders(self) -> dict[str, str]:
        """The fingerprint of the encoder of each modality."""
        return {name: about['encoder'] for name, about in self.about['modalities'].items()}

    def data(self) -> HeteroData:
        """Return the graph with all interactions and features.

        Raises:
            ValueError: If a file is damaged.
        """
        data = HeteroData()
        data[USER].num_nodes, data[ITEM].num_nodes = len(self.user_ids), len(self.item_ids)
        _unpack(self._checked('interactions.npz'), data[INTERACTS])
        for name in self._files:
            if name.startswith(_GRAPH):
                relation = name.removeprefix(_GRAPH).removesuffix('.npz')
                _unpack(self._checked(name), data[ITEM, relation, ITEM])
        for modality in self.encoders:
            for name in _names(modality):
                array = np.load(self._checked(f'{name}.npy'), mmap_mode='c', allow_pickle=False)
                data[ITEM][name] = torch.from_numpy(array)
        return data

    def items(self) -> list[dict[str, Any]]:
        """Return ``'text'`` and ``'image'`` of each item, :obj:`None` where it has none.

        ``'fields'`` has the columns of the text, in the order of their names in ``--text``, and
        ``'kept'`` what else the catalog has, numbers or texts.

        Raises:
            ValueError: If the file is damaged.
        """
        with open(self._checked(_ITEMS), encoding='utf-8') as lines:
            return [json.loads(line) for line in lines]

    def catalog(self) -> Catalog:
        """Return what is known of the items: titles, texts, pictures, and the fields.

        Raises:
            ValueError: If the file is damaged.
        """
        return catalog_of(self.item_ids, self.items())

    def copy_to(self, path: Path) -> None:
        """Make another folder of the same dataset, without the vectors by content.

        Its files are hard links, or copies where there can be none. A folder that is whole stays as
        it is, and one that isn't is mended.

        Args:
            path: The folder to write.

        Raises:
            ValueError: If a file is damaged.
        """
        if _is_whole(path):
            return
        folder = path / VERSIONS / self._folder.name
        make_folder(folder)
        for name, sha256 in self._files.items():
            if not has_sha256(folder / name, sha256):
                _link(self._checked(name), folder / name)
        sync_folder(folder)
        write_json(path / ABOUT, self.about)

    def _checked(self, name: str) -> Path:
        """Return the path of a file after comparing its checksum."""
        path = self._folder / name
        check_sha256(path, self._files[name], self._advice)
        return path

    @staticmethod
    def store(path: Path) -> FeatureStore:
        """Return the store of the features in the folder of a dataset."""
        return FeatureStore(path / FEATURES)

    @classmethod
    def write(cls, path: Path, data: 'RunData') -> 'DatasetFolder':
        """Write a dataset.

        Args:
            path: The folder, see :func:`preparing`.
            data: The dataset in memory.
        """
        graph = data.data()
        x, has = features(graph)
        new = path / VERSIONS / _NEW
        make_folder(new)
        write_atomically(new / 'interactions.npz', _packed(graph[INTERACTS], INTERACTION_VALUES))
        for relation in item_relations(graph):
            store = graph[ITEM, relation, ITEM]
            write_atomically(new / f'{_GRAPH}{relation}.npz', _packed(store, GRAPH_VALUES))
        data.user_ids.save(new / 'user_ids.jsonl')
        data.item_ids.save(new / 'item_ids.jsonl')
        lines = ''.join(f'{json.dumps(item)}\n' for item in data.items())
        write_atomically(new / _ITEMS, lines.encode())
        for modality in x:
            for name, tensor in zip(_names(modality), (x[modality], has[modality]), strict=True):
                write_array(new / f'{name}.npy', tensor.cpu().numpy())
        files = {file.name: sha256_of(file) for file in sorted(new.iterdir())}
        _put_in_place(new, files)
        about = {
            'format': FORMAT,
            'version': __version__,
            **data.about,
            'files': files,
        }
        write_json(path / ABOUT, about)
        return cls(path)


def features(graph: HeteroData) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the features of each modality, and which items have them, from a graph."""
    x, has = item_modalities(graph)
    return x, {name: has.get(name, (x[name] != 0).any(dim=1)) for name in x}


@contextmanager
def preparing(path: Path) -> Iterator[None]:
    """Make the folder of a dataset, and keep other calls of ``prepare`` out during the block.

    Versions that ``dataset.json`` doesn't name, older ones or such that a killed call left, are
    removed first.

    Args:
        path: The folder.

    Raises:
        TimeoutError: If another process is preparing the folder.
    """
    from filelock import FileLock, Timeout

    versions = path / VERSIONS
    make_folder(versions)
    try:
        with FileLock(versions / '.lock', timeout=0):
            _remove_unused(path)
            yield
    except Timeout as error:
        raise TimeoutError(
            f'another "pyg-mmgef prepare" is writing to {str(path)!r}; wait until it has ended'
        ) from error


def _is_whole(path: Path) -> bool:
    try:
        files = read_json(path / ABOUT, PREPARE_AGAIN)['files']
    except (FileNotFoundError, ValueError):
        return False
    folder = path / VERSIONS / _digest(files)
    return all(has_sha256(folder / name, sha256) for name, sha256 in files.items())


def _remove_unused(path: Path) -> None:
    versions = path / VERSIONS
    try:
        used = {_digest(read_json(path / ABOUT, PREPARE_AGAIN)['files'])}
    except FileNotFoundError:
        used = set()
    except (ValueError, KeyError):  # Damaged: what is in use is unknown.
        used = {entry.name for entry in versions.iterdir()} - {_NEW}
    for entry in versions.iterdir():
        if entry.is_dir() and entry.name not in used:
            shutil.rmtree(entry)


def _put_in_place(new: Path, files: Mapping[str, str]) -> None:
    """Give a folder of files the name of its version, or mend that version if it exists."""
    folder = new.with_name(_digest(files))
    if folder.exists():
        for name, sha256 in files.items():
            if not has_sha256(folder / name, sha256):
                os.replace(new / name, folder / name)
        shutil.rmtree(new)
        sync_folder(folder)
    else:
        os.replace(new, folder)
    sync_folder(folder.parent)


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    with suppress(OSError):
        os.link(source, target)
        return
    with open(source, 'rb') as old, open_atomically(target) as file:
        shutil.copyfileobj(old, file)


def _packed(store: EdgeStorage, names: Sequence[str]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **{name: store[name].cpu().numpy() for name in names if name in store})
    return buffer.getvalue()


def _unpack(path: Path, store: EdgeStorage) -> None:
    with np.load(path, allow_pickle=False) as archive:
        for name in archive.files:
            store[name] = torch.from_numpy(archive[name])


def _names(modality: str) -> tuple[str, str]:
    return f'x_{modality}', f'has_{modality}'


def _digest(files: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:16]
