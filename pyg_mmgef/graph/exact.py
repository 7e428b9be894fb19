"""Exact nearest neighbours by blocked matrix products."""

import torch
from torch import Tensor
from tqdm import tqdm

__all__ = ['exact_search']

BLOCK_ENTRIES = 2**24  # Scores held at a time: 64 MiB of float32.


def exact_search(
    x: Tensor, k: int, *, l2: bool = False, verbose: bool = False
) -> tuple[Tensor, Tensor]:
    """Find the :obj:`k` best other rows of each row, by inner product or L2 distance.

    Works block by block wherever :obj:`x` is; memory stays bounded by a few blocks of scores.

    Args:
        x: Rows to compare. Shape: ``[N, channels]``, float32.
        k: Number of neighbours, less than ``N``.
        l2: Rank by smallest squared L2 distance in place of largest inner product.
            (default: :obj:`False`)
        verbose: Show a progress bar. (default: :obj:`False`)

    Returns:
        Inner products (or negative squared distances) and neighbour ids, best first, both of
        shape ``[N, k]``.
    """
    if l2:
        x = x.double()  # Norms and products cancel; float32 leaves nothing far from the origin.
    num_rows = x.size(0)
    block = max(1, BLOCK_ENTRIES // num_rows)
    square_norm = x.square().sum(dim=1) if l2 else None
    scores, neighbors = [], []
    for start in tqdm(range(0, num_rows, block), desc='exact kNN', disable=not verbose):
        stop = min(start + block, num_rows)
        score = x[start:stop] @ x.t()
        if square_norm is not None:
            score = 2 * score - square_norm - square_norm[start:stop, None]
        local = torch.arange(stop - start, device=x.device)
        score[local, start + local] = float('-inf')
        score, index = score.topk(k, dim=1)
        scores.append(score)
        neighbors.append(index)
    return torch.cat(scores), torch.cat(neighbors)
