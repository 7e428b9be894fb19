"""Long texts for models with a short context: chunks of tokens, and the mean of their vectors."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ['TokenChunks', 'chunk_tokens', 'mean_by_length']


class TokenChunks(NamedTuple):
    """Texts cut into chunks."""

    tokens: Tensor
    """Tokens of each chunk. Shape: ``[num_chunks, context_length]``."""
    text: Tensor
    """Number of the text that each chunk is from. Shape: ``[num_chunks]``."""
    length: Tensor
    """Number of tokens of the text in each chunk. Shape: ``[num_chunks]``."""


def chunk_tokens(
    encoded: Sequence[Sequence[int]], context_length: int, start: int, end: int
) -> TokenChunks:
    """Cut each text's tokens into chunks that fit between a start and an end token.

    A text without tokens has one empty chunk. Chunks are padded with the token 0, as by CLIP's own
    tokenizer; the model ignores tokens after the end.

    Args:
        encoded: The tokens of each text.
        context_length: Number of tokens that the model takes.
        start: Token that marks the start.
        end: Token that marks the end.
    """
    size = context_length - 2
    chunks = [
        (text, tokens[first : first + size])
        for text, tokens in enumerate(encoded)
        for first in range(0, max(len(tokens), 1), size)
    ]
    out = torch.zeros(len(chunks), context_length, dtype=torch.long)
    for row, (_, chunk) in enumerate(chunks):
        out[row, : len(chunk) + 2] = torch.tensor([start, *chunk, end])
    return TokenChunks(
        out,
        torch.tensor([text for text, _ in chunks], dtype=torch.long),
        torch.tensor([len(chunk) for _, chunk in chunks], dtype=torch.long),
    )


def mean_by_length(vectors: Tensor, chunks: TokenChunks) -> Tensor:
    """Average the vectors of each text's chunks, weighted by their numbers of tokens.

    Args:
        vectors: One vector per chunk, of shape ``[num_chunks, channels]``.
        chunks: The chunks, from :func:`chunk_tokens`.

    Returns:
        One vector per text, of shape ``[num_texts, channels]``; for a text of one chunk, the vector
        of that chunk.
    """
    num_texts = int(chunks.text[-1]) + 1
    length = chunks.length.clamp(min=1).to(vectors.dtype)
    total = length.new_zeros(num_texts).index_add_(0, chunks.text, length)
    share = (length / total[chunks.text]).unsqueeze(1)
    return vectors.new_zeros(num_texts, vectors.size(1)).index_add_(0, chunks.text, share * vectors)
