"""A store of features on disk, which continues after an interruption."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pyg_mmgef.encoders._inputs import (
    check_sequence,
    is_blank,
    warn_unknown,
    warn_unreadable,
)
from pyg_mmgef.encoders.missing_item import MissingItem
from pyg_mmgef.encoders.protocol import ImageEncoder, PathLike, TextEncoder
from pyg_mmgef.encoders.store._array import PRESENT, FeatureArray
from pyg_mmgef.encoders.store._contents import Contents, contents_of_pictures, contents_of_texts
from pyg_mmgef.encoders.store._encoding import Run, encode_rest, quietly
from pyg_mmgef.encoders.store._folder import (
    explain_missing,
    known_reasons,
    open_previous,
    prepare_array,
)
from pyg_mmgef.encoders.store._groups import (
    Pictures,
    flatten,
    items_of_rows,
    mean_of_groups,
)
from pyg_mmgef.encoders.store._manifest import (
    DamagedManifestError,
    Manifest,
    read_manifest,
    write_manifest,
)
from pyg_mmgef.validate import check_positive

__all__ = ['FeatureStore']


class FeatureStore:
    r"""Stores the vectors of pictures and texts in a folder, batch by batch.

    Each modality has a subfolder with the vectors of the last call, a NumPy array of float32 with
    one row per item, and a manifest. A later call encodes only what is new:

    * **Killed at any moment**, a call loses at most one batch. A row counts as done once its vector
      and then its mark, a digest of vector, content and encoder, are on disk.
    * **Nothing changed**: the encoder isn't called. Files with the recorded size and times aren't
      even opened.
    * **Items changed, moved, added or reordered**: only new content is encoded. An item's identity
      is the SHA-256 of its picture file or text, so a picture may change its path and row, and
      equal ones are encoded once. Vectors of items that the call lacks are dropped.
    * **Another encoder**, that is another fingerprint: everything is encoded again. Give each
      encoder a ``name`` of its own to keep the vectors of both.
    * **Damaged files**: rows that have changed on disk are encoded again, with a
      :class:`UserWarning` if all are.

    A call locks its subfolder, so a second process waits for the first and then reuses its vectors.
    Unreadable pictures are recorded, too, and not read again until their content changes. Vectors
    may differ in the last digits between batches of different composition.

    Args:
        folder: Folder of the features. The first call creates it.
        timeout: Seconds to wait for another process that uses the same subfolder, ``-1`` waits for
            ever. (default: ``600``)

    Example:
        .. code-block:: python

            store = FeatureStore('features')
            data['item'].x_image, data['item'].has_image = store.images(encoder, paths)
            for row, path, reason in store.report('image'):
                print(row, path, reason)
    """

    def __init__(self, folder: PathLike, *, timeout: float = 600) -> None:
        self.folder = Path(folder)
        self.timeout = timeout

    def images(
        self,
        encoder: ImageEncoder,
        paths: Sequence[Pictures],
        *,
        name: str = 'image',
        batch_size: int = 256,
        verbose: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Return the vectors of pictures, and encode those that are not stored yet.

        Args:
            encoder: Encodes the pictures.
            paths: Picture files, or :obj:`None` for items without a picture. An item with several
                pictures has a sequence of files; its vector is the mean of theirs, without those
                that can't be read. Files must not change during the call.
            name: Name of the modality and of its subfolder. (default: ``'image'``)
            batch_size: Pictures per call of the encoder, after which they are written. Use a
                multiple of the encoder's own batch size. (default: ``256``)
            verbose: Whether to show progress bars. (default: :obj:`False`)

        Returns:
            The vectors, float32 of shape ``[n, channels]`` with zero rows for missing pictures, and
            a mask of the present ones, bool of shape ``[n]``. The vectors are memory-mapped, unless
            an item has several pictures: they are read on access, and writing to them changes
            memory only. One :class:`UserWarning`
            counts the pictures that can't be read; :meth:`report` lists them.

        Raises:
            ImportError: If Pillow is not installed.
            RuntimeError: If a picture changes while it is encoded.
            TimeoutError: If another process uses the subfolder for longer than ``timeout``.
            ValueError: If an argument is invalid, the encoder's output isn't that of an
                :class:`~pyg_mmgef.encoders.ImageEncoder`, or the subfolder holds other files.
        """
        check_sequence('paths', paths)
        files, sizes = flatten(paths)

        def identify(old: Manifest | None) -> Contents:
            return contents_of_pictures(files, {} if old is None else old.contents.known(), verbose)

        encode = quietly(encoder.encode_images)
        run = Run('image', encoder.fingerprint, encode, files, identify, sizes)
        x, has, missing = self._features(run, name, batch_size, verbose)
        unreadable = [(item.path, item.reason) for item in missing if item.path is not None]
        num_given = sum(path is not None for path in files)
        warn_unreadable(unreadable, num_given, stacklevel=2)
        return x, has

    def texts(
        self,
        encoder: TextEncoder,
        texts: Sequence[str | None],
        *,
        name: str = 'text',
        batch_size: int = 1024,
        verbose: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Return the vectors of texts, and encode those that are not stored yet.

        Args:
            encoder: Encodes the texts. The vector of a text must not depend on other texts, so a
                :class:`~pyg_mmgef.encoders.TitleEncoder` must be fitted.
            texts: Texts, or :obj:`None` for items without one.
            name: Name of the modality and of its subfolder. (default: ``'text'``)
            batch_size: Texts per call of the encoder, after which they are written.
                (default: ``1024``)
            verbose: Whether to show a progress bar. (default: :obj:`False`)

        Returns:
            The vectors and the mask of present ones, as from :meth:`images`. One
            :class:`UserWarning` counts the texts in which the encoder finds no word.

        Raises:
            TimeoutError: If another process uses the subfolder for longer than ``timeout``.
            ValueError: If an argument is invalid, the encoder isn't fitted or its output isn't that
                of a :class:`~pyg_mmgef.encoders.TextEncoder`, or the subfolder holds other files.
        """
        check_sequence('texts', texts)
        if not getattr(encoder, 'is_fitted', True):
            raise ValueError(
                f"'encoder' ({encoder!r}) is not fitted, so the vectors of two batches would live "
                "in different spaces; call 'encoder.fit(texts)' first"
            )
        run = Run(
            'text',
            encoder.fingerprint,
            quietly(encoder.encode_texts),
            texts,
            lambda _: contents_of_texts(texts),
        )
        x, has, missing = self._features(run, name, batch_size, verbose)
        given = [not is_blank(text) for text in texts]
        unknown = [texts[item.row] for item in missing if given[item.row]]
        warn_unknown(unknown, sum(given), stacklevel=2)
        return x, has

    def report(self, name: str = 'image') -> list[MissingItem]:
        """Return the items without a vector after the last call, in the order of rows.

        Of an item with several pictures, it lists those that can't be read.

        Args:
            name: Name of the modality. (default: ``'image'``)

        Returns:
            Row, path (:obj:`None` for texts and items without a picture) and reason of each. After
            a killed call, it lists what was known when the call began.

        Raises:
            FileNotFoundError: If the store has no such modality.
            ValueError: If its manifest is damaged or another program's.
        """
        manifest = self._manifest(self._subfolder(name))
        if manifest.sizes is None:
            return manifest.missing
        item_of_row = items_of_rows(manifest.sizes).tolist()
        return [item._replace(row=item_of_row[item.row]) for item in manifest.missing]

    def load(self, name: str) -> tuple[Tensor, Tensor]:
        """Return the vectors of the last call, without an encoder.

        Args:
            name: Name of the modality.

        Returns:
            The vectors and the mask of present ones, see :meth:`images`.

        Raises:
            FileNotFoundError: If the store has no such modality.
            ValueError: If its files are damaged or another program's, or the call was killed.
        """
        folder = self._subfolder(name)
        manifest = self._manifest(folder)
        keys, encoder = manifest.contents.keys, f'{manifest.kind} {manifest.fingerprint}'
        try:
            array = FeatureArray(folder, manifest.array, keys, manifest.channels, encoder, 'r')
        except ValueError as error:
            raise ValueError(
                f'the features in {str(folder)!r} are damaged ({error}); encode again'
            ) from error
        num_left = sum(
            key is not None and state == 0
            for key, state in zip(keys, array.states.tolist(), strict=True)
        )
        if num_left > 0:
            raise ValueError(
                f'{num_left} of {len(keys)} features in {str(folder)!r} are missing: they were '
                'damaged, or the call that encodes them was interrupted; encode again'
            )
        return self._tensors(array, manifest.sizes)

    @staticmethod
    def _manifest(folder: Path) -> Manifest:
        try:
            manifest = read_manifest(folder)
        except DamagedManifestError as error:
            raise ValueError(
                f'the features in {str(folder)!r} are damaged ({error}); encode again'
            ) from error
        if manifest is None:
            raise FileNotFoundError(f'there are no features in {str(folder)!r} yet')
        return manifest

    @staticmethod
    def _tensors(array: FeatureArray, sizes: list[int] | None) -> tuple[Tensor, Tensor]:
        x = torch.from_numpy(np.load(array.path, mmap_mode='c', allow_pickle=False))
        has = torch.from_numpy(array.states == PRESENT)
        return (x, has) if sizes is None else mean_of_groups(x, has, sizes)

    def _subfolder(self, name: str) -> Path:
        if not re.fullmatch(r'\w+', name):
            raise ValueError(
                f"'name' must be made of letters, digits and underscores (got {name!r})"
            )
        return self.folder / name

    @contextmanager
    def _locked(self, folder: Path) -> Iterator[None]:
        from filelock import FileLock, Timeout

        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / '.lock', timeout=self.timeout)
        try:
            lock.acquire()
        except Timeout as error:
            raise TimeoutError(
                f'another process has been using {str(folder)!r} for {self.timeout} seconds; wait '
                "for it, or pass a larger 'timeout'"
            ) from error
        try:
            yield
        finally:
            lock.release()

    def _features(
        self, run: Run, name: str, batch_size: int, verbose: bool
    ) -> tuple[Tensor, Tensor, list[MissingItem]]:
        check_positive('batch_size', batch_size)
        folder = self._subfolder(name)
        with self._locked(folder):
            old, previous = open_previous(folder, run)
            contents = run.identify(old)
            array, manifest = prepare_array(folder, run, contents, old, previous)
            encode_rest(run, contents, array, batch_size, verbose)
            known = {} if old is None else known_reasons(old)
            missing = explain_missing(run.kind, contents, array, known)
            manifest = replace(manifest, missing=missing)
            if manifest != old:
                write_manifest(folder, manifest)
            x, has = self._tensors(array, run.sizes)
        return x, has, missing

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({str(self.folder)!r})'
