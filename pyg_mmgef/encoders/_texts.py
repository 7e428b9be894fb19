"""Encoding of texts in batches, with zero rows for missing texts."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from pyg_mmgef.encoders._inputs import is_blank

__all__ = ['encode_in_batches']


def encode_in_batches(
    texts: Sequence[str | None],
    encode: Callable[[list[str]], Tensor],
    channels: int,
    *,
    batch_size: int,
    longest_first: bool,
    verbose: bool,
) -> tuple[Tensor, Tensor]:
    """Return the vectors of texts and the mask of present texts, in the form of a text encoder.

    Args:
        texts: Texts, or :obj:`None` for items without one.
        encode: Encodes a batch of texts.
        channels: The length of a vector.
        batch_size: Texts per batch.
        longest_first: Whether to sort texts by length, so that batches need little padding.
        verbose: Whether to show a progress bar.

    Returns:
        Vectors of shape ``[n, channels]`` and a mask of shape ``[n]``.
    """
    vectors = torch.zeros(len(texts), channels)
    present = torch.tensor([not is_blank(text) for text in texts], dtype=torch.bool)
    rows = present.nonzero().view(-1).tolist()
    if longest_first:
        rows.sort(key=lambda row: -len(texts[row] or ''))
    with tqdm(total=len(rows), desc='texts', unit=' texts', disable=not verbose) as bar:
        for start in range(0, len(rows), batch_size):
            batch = rows[start : start + batch_size]
            vectors[batch] = encode([texts[row] or '' for row in batch])
            bar.update(len(batch))
    return vectors, present
