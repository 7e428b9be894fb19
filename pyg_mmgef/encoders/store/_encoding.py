"""Encoding of the rows that an array lacks, and checks of the encoder's output."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from pyg_mmgef.encoders.store._array import MISSING, PRESENT, FeatureArray
from pyg_mmgef.encoders.store._contents import Contents, is_unchanged
from pyg_mmgef.encoders.store._manifest import Manifest

__all__ = ['Encode', 'Run', 'count_channels', 'encode_rest', 'quietly']

Encode = Callable[[Sequence[Any]], tuple[Tensor, Tensor]]


class Run(NamedTuple):
    """The inputs of a call to the store, and functions to identify and encode them."""

    kind: str
    """``'image'`` or ``'text'``."""
    fingerprint: str
    """The fingerprint of the encoder."""
    encode: Encode
    """Encodes a batch of inputs."""
    inputs: Sequence[Any]
    """The pictures' paths or the texts, one per row."""
    identify: Callable[[Manifest | None], Contents]
    """Returns the contents of the inputs, given the last manifest."""
    sizes: list[int] | None = None
    """The number of rows of each item; :obj:`None` if each has one."""

    @property
    def encoder(self) -> str:
        """A name for the encoder; it has the kind, as CLIP's towers share a fingerprint."""
        return f'{self.kind} {self.fingerprint}'


def quietly(encode: Encode) -> Encode:
    """Suppress the encoder's warnings about pictures and texts; the store warns itself."""

    def encode_quietly(inputs: Sequence[Any]) -> tuple[Tensor, Tensor]:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                'ignore', r'\d+ of \d+ (pictures|texts) .* count as missing', UserWarning
            )
            return encode(inputs)

    return encode_quietly


def count_channels(run: Run) -> int:
    """Return the length of the encoder's vectors, by encoding a missing item."""
    x, has = run.encode([None])
    _check_output(run, x, has, 1)
    return x.size(1)


def _check_output(run: Run, x: Tensor, has: Tensor, num_rows: int) -> None:
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


def encode_rest(
    run: Run, contents: Contents, array: FeatureArray, batch_size: int, verbose: bool
) -> None:
    """Encode the contents without a vector, each once, in batches."""
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
    run: Run, contents: Contents, array: FeatureArray, batch: list[list[int]]
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
            f'{changed!r} changed while it was encoded; call again when the files no longer change '
            '(finished vectors are kept)'
        )


def _checked(
    run: Run, array: FeatureArray, x: Tensor, has: Tensor, rows: list[int]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    _check_output(run, x, has, len(rows))
    if x.size(1) != array.channels:
        raise ValueError(
            f"'encoder' ({run.fingerprint}) returned vectors of length {x.size(1)} after others of "
            f'length {array.channels}; vectors of one fingerprint must have one length'
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
