"""Features on disk, written while they are computed; a call that was killed can be continued."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pyg_mmgef.encoders._inputs import check_sequence, warn_unreadable
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
from pyg_mmgef.encoders.store._manifest import (
    DamagedManifestError,
    Manifest,
    read_manifest,
    write_manifest,
)
from pyg_mmgef.validate import check_positive

__all__ = ['FeatureStore']


class FeatureStore:
    r"""Keeps the vectors of pictures and texts in a folder, written while they are computed.

    Each modality has a subfolder with the vectors of the last call, a NumPy array of float32
    with one row per item, and a manifest. A later call encodes only what it must:

    * **Killed at any moment**, a run loses one batch at most. A row counts as done once its vector
      and then its mark, a digest of vector, content and encoder, are on disk.
    * **Nothing changed**: the encoder isn't called. Files whose size and times are as recorded
      aren't even opened.
    * **Items changed, moved, added or reordered**: only new content is encoded. Items go by the
      SHA-256 of the picture's file or of the text, so that a picture may change its path and row,
      and equal ones are encoded once. Vectors that the call doesn't ask for are dropped.
    * **Another encoder**, that is another fingerprint: everything is encoded again. Give each
      encoder a ``name`` of its own to keep the vectors of both.
    * **Damaged files** are noticed: what isn't what was written is encoded again, with a
      :class:`UserWarning` if that is everything.

    A call locks its subfolder, so a second process waits for the first and then finds its work.
    A picture that can't be read is remembered, too, and not tried again while its content is the
    same. Vectors of an encoder may differ in the last digits by the batch in which they were made.

    Args:
        folder: Where to keep the features. It is created by the first call.
        timeout: Seconds to wait for another process that uses the same subfolder, ``-1`` to wait
            for ever. (default: ``600``)

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
        paths: Sequence[PathLike | None],
        *,
        name: str = 'image',
        batch_size: int = 256,
        verbose: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Return the vectors of pictures, encoding those that are not there yet.

        Args:
            encoder: Encodes the pictures.
            paths: Picture files, or :obj:`None` for items without a picture. Files must not change
                during the call.
            name: Name of the modality and of its subfolder. (default: ``'image'``)
            batch_size: Pictures per call of the encoder, after which they are on disk. A multiple
                of the encoder's own batch size wastes nothing. (default: ``256``)
            verbose: Whether to show progress bars. (default: :obj:`False`)

        Returns:
            The vectors, float32 of shape ``[n, channels]`` with zero rows for missing pictures,
            and what is present, bool of shape ``[n]``. The vectors are memory-mapped: they are
            read when they are touched, and what is written to them stays in memory. Pictures that
            can't be read are counted in one :class:`UserWarning`; :meth:`report` names all.

        Raises:
            ImportError: If Pillow is not installed.
            RuntimeError: If a picture changes while it is encoded.
            TimeoutError: If another process uses the subfolder for longer than ``timeout``.
            ValueError: If an argument isn't as described, the encoder doesn't give what
                :class:`~pyg_mmgef.encoders.ImageEncoder` promises, or the subfolder holds
                something else.
        """
        check_sequence('paths', paths)

        def identify(old: Manifest | None) -> Contents:
            return contents_of_pictures(paths, {} if old is None else old.contents.known(), verbose)

        run = Run('image', encoder.fingerprint, quietly(encoder.encode_images), paths, identify)
        x, has, missing = self._features(run, name, batch_size, verbose)
        unreadable = [(item.path, item.reason) for item in missing if item.path is not None]
        warn_unreadable(unreadable, len(paths), stacklevel=2)
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
        """Return the vectors of texts, encoding those that are not there yet.

        Args:
            encoder: Encodes the texts. It must give a text the same vector whatever other texts
                are encoded with it: a :class:`~pyg_mmgef.encoders.TitleEncoder` must be fitted.
            texts: Texts, or :obj:`None` for items without one.
            name: Name of the modality and of its subfolder. (default: ``'text'``)
            batch_size: Texts per call of the encoder, after which they are on disk.
                (default: ``1024``)
            verbose: Whether to show a progress bar. (default: :obj:`False`)

        Returns:
            The vectors and what is present, as :meth:`images` has it.

        Raises:
            TimeoutError: If another process uses the subfolder for longer than ``timeout``.
            ValueError: If an argument isn't as described, the encoder isn't fitted or doesn't give
                what :class:`~pyg_mmgef.encoders.TextEncoder` promises, or the subfolder holds
                something else.
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
            encoder.encode_texts,
            texts,
            lambda _: contents_of_texts(texts),
        )
        x, has, _ = self._features(run, name, batch_size, verbose)
        return x, has

    def report(self, name: str = 'image') -> list[MissingItem]:
        """Return the items that the last call left without a vector, in the order of rows.

        Args:
            name: Name of the modality. (default: ``'image'``)

        Returns:
            Row, path (:obj:`None` for texts and items without a picture) and reason of each. After
            a run that was killed, what was known when it began.

        Raises:
            FileNotFoundError: If the store has no such modality.
            ValueError: If its manifest is damaged or something else's.
        """
        return self._manifest(self._subfolder(name)).missing

    def load(self, name: str) -> tuple[Tensor, Tensor]:
        """Return the vectors of the last call, as that call did, without their encoder.

        Args:
            name: Name of the modality.

        Returns:
            The vectors and what is present, see :meth:`images`.

        Raises:
            FileNotFoundError: If the store has no such modality.
            ValueError: If its files are damaged or something else's, or the call was killed.
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
                f'{num_left} of {len(keys)} features in {str(folder)!r} are not there: they were '
                'damaged, or the call that encodes them was interrupted; encode again'
            )
        return self._tensors(array)

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
    def _tensors(array: FeatureArray) -> tuple[Tensor, Tensor]:
        x = torch.from_numpy(np.load(array.path, mmap_mode='c', allow_pickle=False))
        return x, torch.from_numpy(array.states == PRESENT)

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
            x, has = self._tensors(array)
        return x, has, missing

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({str(self.folder)!r})'
