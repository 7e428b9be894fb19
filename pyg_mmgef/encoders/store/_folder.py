"""The array and manifest of a subfolder: opening the last ones, and preparing new ones."""

import logging
import os
import re
import uuid
import warnings
from pathlib import Path

from pyg_mmgef.encoders.missing_item import MissingItem
from pyg_mmgef.encoders.picture_problem import picture_problem
from pyg_mmgef.encoders.store._array import MISSING, PRESENT, FeatureArray
from pyg_mmgef.encoders.store._contents import Contents
from pyg_mmgef.encoders.store._encoding import Run, count_channels
from pyg_mmgef.encoders.store._manifest import (
    DamagedManifestError,
    Manifest,
    read_manifest,
    write_manifest,
)

__all__ = ['explain_missing', 'known_reasons', 'open_previous', 'prepare_array']

logger = logging.getLogger(__name__)

_OURS = re.compile(r'(x|marks)-[0-9a-f]{8}\.npy|\.manifest\.json\.[0-9]+-[0-9a-f]{8}\.tmp')
"""Names of the files that a killed call may leave behind."""


def open_previous(folder: Path, run: Run) -> tuple[Manifest | None, FeatureArray | None]:
    """Return the last manifest, and its array if the encoder is the same and it is undamaged."""
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


def prepare_array(
    folder: Path,
    run: Run,
    contents: Contents,
    old: Manifest | None,
    previous: FeatureArray | None,
) -> tuple[FeatureArray, Manifest]:
    """Return an array for the rows of this run, with all known vectors, and its manifest."""
    if old is not None and previous is not None and previous.keys == contents.keys:
        previous.take_over(previous)
        _remove_others(folder, previous.path)
        return previous, Manifest(
            run.kind, run.fingerprint, old.channels, old.array, contents, old.missing, run.sizes
        )
    _remove_others(folder, None if previous is None else previous.path)
    channels = count_channels(run) if previous is None else previous.channels
    name = uuid.uuid4().hex[:8]
    array = FeatureArray.create(folder, name, contents.keys, channels, run.encoder)
    if previous is not None:
        array.take_over(previous)
    # Until the manifest names the new array, a killed run leaves the old one as it was.
    known = {} if old is None or previous is None else known_reasons(old)
    missing = explain_missing(run.kind, contents, array, known)
    manifest = Manifest(run.kind, run.fingerprint, channels, name, contents, missing, run.sizes)
    write_manifest(folder, manifest)
    _remove_others(folder, array.path)
    return array, manifest


def _remove_others(folder: Path, keep: Path | None) -> None:
    """Remove the files of killed calls, and replaced arrays."""
    kept = set() if keep is None else {keep.name, keep.name.replace('x-', 'marks-', 1)}
    for entry in os.listdir(folder):
        if _OURS.fullmatch(entry) and entry not in kept:
            try:
                (folder / entry).unlink()
            except OSError as error:  # On Windows, while it is still mapped.
                logger.debug('cannot remove %s: %s', entry, error)


def explain_missing(
    kind: str, contents: Contents, array: FeatureArray, known: dict[str, str]
) -> list[MissingItem]:
    """Return the items without a vector, with reasons."""
    missing = []
    for row in (array.states != PRESENT).nonzero()[0].tolist():
        key, path = contents.keys[row], contents.paths[row]
        if key is None:
            missing.append(MissingItem(row, path, contents.reasons[row]))
        elif array.states[row] == MISSING:
            # Encoders return no reasons, so the few unreadable pictures are read again here.
            if key not in known:
                found = None if path is None else picture_problem(path)
                known[key] = found or f'the encoder gave no vector for this {kind}'
            missing.append(MissingItem(row, path, known[key]))
    return missing


def known_reasons(manifest: Manifest) -> dict[str, str]:
    """Return the reasons of missing items by the key of their content."""
    keys = manifest.contents.keys
    pairs = ((keys[row], reason) for row, _, reason in manifest.missing)
    return {key: reason for key, reason in pairs if key is not None}
