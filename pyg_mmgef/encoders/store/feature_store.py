"""Features on disk, written while they are made: a killed run goes on where it was."""

import logging
import os
import re
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from pyg_mmgef.encoders._inputs import check_sequence, warn_unreadable
from pyg_mmgef.encoders.missing_item import MissingItem
from pyg_mmgef.encoders.picture_problem import picture_problem
from pyg_mmgef.encoders.protocol import ImageEncoder, PathLike, TextEncoder
from pyg_mmgef.encoders.store._array import MISSING, PRESENT, FeatureArray
from pyg_mmgef.encoders.store._contents import (
    Contents,
    contents_of_pictures,
    contents_of_texts,
    is_unchanged,
)
from pyg_mmgef.encoders.store._manifest import (
    DamagedManifestError,
    Manifest,
    read_manifest,
    write_manifest,
)
from pyg_mmgef.validate import check_positive

__all__ = ['FeatureStore']

logger = logging.getLogger(__name__)

Encode = Callable[[Sequence[Any]], tuple[Tensor, Tensor]]

_OURS = re.compile(r'(x|marks)-[0-9a-f]{8}\.npy|\.manifest\.json\.[0-9]+-[0-9a-f]{8}\.tmp')


class FeatureStore:
    r"""Keeps the vectors of pictures and texts in a folder, written while they are made.

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

        run = _Run('image', encoder.fingerprint, _quiet(encoder.encode_images), paths, identify)
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
        run = _Run(
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
            array = FeatureArray(folder, manifest.array, keys, manifest.channels, encoder)
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
        self, run: '_Run', name: str, batch_size: int, verbose: bool
    ) -> tuple[Tensor, Tensor, list[MissingItem]]:
        check_positive('batch_size', batch_size)
        folder = self._subfolder(name)
        with self._locked(folder):
            old, previous = _open_previous(folder, run)
            contents = run.identify(old)
            array, manifest = _prepare(folder, run, contents, old, previous)
            _encode_rest(run, contents, array, batch_size, verbose)
            known = {} if old is None else _reasons_by_key(old)
            missing = _explain(run.kind, contents, array, known)
            manifest = replace(manifest, missing=missing)
            if manifest != old:
                write_manifest(folder, manifest)
            x, has = self._tensors(array)
        return x, has, missing

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({str(self.folder)!r})'


class _Run(NamedTuple):
    """What a call wants: how to tell its inputs apart, and how to encode them."""

    kind: str
    fingerprint: str
    encode: Encode
    inputs: Sequence[Any]
    identify: Callable[[Manifest | None], Contents]

    @property
    def encoder(self) -> str:
        """What stands for the encoder in the marks: CLIP's towers share a fingerprint."""
        return f'{self.kind} {self.fingerprint}'


def _quiet(encode: Encode) -> Encode:
    """Leave out an encoder's warning of unreadable pictures: the store warns of all batches."""

    def encode_quietly(inputs: Sequence[Any]) -> tuple[Tensor, Tensor]:
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', r'\d+ of \d+ pictures could not be read', UserWarning)
            return encode(inputs)

    return encode_quietly


def _open_previous(folder: Path, run: _Run) -> tuple[Manifest | None, FeatureArray | None]:
    """Return the manifest, and the array if it is by the same encoder; each if it is whole."""
    try:
        old = read_manifest(folder)
    except DamagedManifestError as error:
        _warn_damaged(folder, error)
        return None, None
    if old is None:
        return None, None
    if old.kind != run.kind:
        raise ValueError(
            f"'name' is {folder.name!r}, under which the store keeps features of the kind "
            f'{old.kind!r}, not {run.kind!r}; choose another name'
        )
    if old.fingerprint != run.fingerprint:
        return old, None
    try:
        return old, FeatureArray(folder, old.array, old.contents.keys, old.channels, run.encoder)
    except ValueError as error:
        _warn_damaged(folder, error)
        return old, None


def _warn_damaged(folder: Path, error: Exception) -> None:
    warnings.warn(
        f'the features in {str(folder)!r} are damaged ({error}) and are encoded again',
        UserWarning,
        stacklevel=5,
    )


def _prepare(
    folder: Path,
    run: _Run,
    contents: Contents,
    old: Manifest | None,
    previous: FeatureArray | None,
) -> tuple[FeatureArray, Manifest]:
    """Return an array with the rows of this run, and with what is known of them already."""
    if old is not None and previous is not None and previous.keys == contents.keys:
        previous.take_over(previous)
        _remove_others(folder, previous.path)
        return previous, Manifest(
            run.kind, run.fingerprint, old.channels, old.array, contents, old.missing
        )
    _remove_others(folder, None if previous is None else previous.path)
    channels = _channels(run) if previous is None else previous.channels
    name = uuid.uuid4().hex[:8]
    array = FeatureArray.create(folder, name, contents.keys, channels, run.encoder)
    if previous is not None:
        array.take_over(previous)
    # Until the manifest names the new array, a killed run leaves the old one as it was.
    known = {} if old is None or previous is None else _reasons_by_key(old)
    missing = _explain(run.kind, contents, array, known)
    manifest = Manifest(run.kind, run.fingerprint, channels, name, contents, missing)
    write_manifest(folder, manifest)
    _remove_others(folder, array.path)
    return array, manifest


def _remove_others(folder: Path, keep: Path | None) -> None:
    """Remove what killed runs left behind, and the array that another one replaces."""
    kept = set() if keep is None else {keep.name, keep.name.replace('x-', 'marks-', 1)}
    for entry in os.listdir(folder):
        if _OURS.fullmatch(entry) and entry not in kept:
            try:
                (folder / entry).unlink()
            except OSError as error:  # on Windows, someone still has it mapped
                logger.debug('cannot remove %s: %s', entry, error)


def _channels(run: _Run) -> int:
    x, has = run.encode([None])
    _check_output(run, x, has, 1)
    return x.size(1)


def _check_output(run: _Run, x: Tensor, has: Tensor, num_rows: int) -> None:
    good = (
        x.dim() == 2
        and x.dtype == torch.float32
        and has.dtype == torch.bool
        and (x.size(0), *has.shape) == (num_rows, num_rows)
    )
    if not good:
        raise ValueError(
            f"'encoder' ({run.fingerprint}) must return float32 of shape [{num_rows}, channels] "
            f'and bool of shape [{num_rows}] (got {x.dtype} {list(x.shape)} and {has.dtype} '
            f'{list(has.shape)})'
        )


def _encode_rest(
    run: _Run, contents: Contents, array: FeatureArray, batch_size: int, verbose: bool
) -> None:
    rows_of: dict[str, list[int]] = {}
    for row in (array.states == 0).nonzero()[0].tolist():
        key = contents.keys[row]
        if key is not None:
            rows_of.setdefault(key, []).append(row)
    groups = list(rows_of.values())
    what = 'pictures' if run.kind == 'image' else 'texts'
    with tqdm(total=len(groups), desc=what, unit=f' {what}', disable=not verbose) as bar:
        for start in range(0, len(groups), batch_size):
            batch = groups[start : start + batch_size]
            _encode_batch(run, contents, array, batch)
            bar.update(len(batch))


def _encode_batch(
    run: _Run, contents: Contents, array: FeatureArray, batch: list[list[int]]
) -> None:
    firsts = [rows[0] for rows in batch]
    x, has = run.encode([run.inputs[row] for row in firsts])
    vectors, present = _checked(run, array, x, has, firsts)
    stable = [is_unchanged(contents, row) for row in firsts]
    rows = [row for keep, group in zip(stable, batch, strict=True) if keep for row in group]
    origin = [n for n, group in enumerate(batch) if stable[n] for _ in group]
    array.put(rows, vectors[origin], np.where(present[origin], PRESENT, MISSING).astype(np.uint8))
    if not all(stable):
        changed = contents.paths[firsts[stable.index(False)]]
        raise RuntimeError(
            f'{changed!r} changed while it was encoded; call again when the files are at rest '
            '(what is finished is kept)'
        )


def _checked(
    run: _Run, array: FeatureArray, x: Tensor, has: Tensor, rows: list[int]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    _check_output(run, x, has, len(rows))
    if x.size(1) != array.channels:
        raise ValueError(
            f"'encoder' ({run.fingerprint}) returned vectors of length {x.size(1)} after others of "
            f'length {array.channels}; a fingerprint must stand for one length'
        )
    present = has.cpu().numpy()
    vectors = np.where(present[:, None], x.detach().cpu().numpy(), np.float32(0))
    bad = (~np.isfinite(vectors).all(axis=1)).nonzero()[0]
    if len(bad) > 0:
        raise ValueError(
            f"'encoder' ({run.fingerprint}) returned NaN or infinite values for row "
            f'{rows[int(bad[0])]} ({str(run.inputs[rows[int(bad[0])]])[:200]!r})'
        )
    return vectors, present


def _explain(
    kind: str, contents: Contents, array: FeatureArray, known: dict[str, str]
) -> list[MissingItem]:
    """Say why rows have no vector, of those of which it is known that they have none."""
    missing = []
    for row in (array.states != PRESENT).nonzero()[0].tolist():
        key, path = contents.keys[row], contents.paths[row]
        if key is None:
            missing.append(MissingItem(row, path, contents.reasons[row]))
        elif array.states[row] == MISSING:
            # Reading the few again keeps reasons out of the protocol of encoders.
            if key not in known:
                found = None if path is None else picture_problem(path)
                known[key] = found or f'the encoder gave no vector for this {kind}'
            missing.append(MissingItem(row, path, known[key]))
    return missing


def _reasons_by_key(manifest: Manifest) -> dict[str, str]:
    keys = manifest.contents.keys
    pairs = ((keys[row], reason) for row, _, reason in manifest.missing)
    return {key: reason for key, reason in pairs if key is not None}
