"""Exact nearest neighbours by a FAISS flat index."""

import torch
from torch import Tensor
from tqdm import tqdm

__all__ = ['faiss_search']

QUERY_BLOCK = 4096  # Queries between two steps of the progress bar.


def faiss_search(
    x: Tensor, k: int, *, l2: bool = False, verbose: bool = False
) -> tuple[Tensor, Tensor]:
    """Find the :obj:`k` best other rows of each row with ``IndexFlatIP`` or ``IndexFlatL2``.

    Args:
        x: Rows to compare. Shape: ``[N, channels]``, float32.
        k: Number of neighbours, less than ``N``.
        l2: Rank by smallest squared L2 distance in place of largest inner product.
            (default: :obj:`False`)
        verbose: Show a progress bar. (default: :obj:`False`)

    Returns:
        Inner products (or negative squared distances) and neighbour ids, best first, both of
        shape ``[N, k]``, on the device of :obj:`x`.

    Raises:
        ImportError: If FAISS is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise ImportError(
            "backend='faiss' needs FAISS: pip install faiss-cpu; or use backend='exact'"
        ) from error

    array = x.detach().cpu().contiguous().numpy()
    index = faiss.IndexFlatL2(array.shape[1]) if l2 else faiss.IndexFlatIP(array.shape[1])
    index.add(array)
    scores, neighbors = [], []
    for start in tqdm(range(0, len(array), QUERY_BLOCK), desc='FAISS kNN', disable=not verbose):
        score, neighbor = map(
            torch.from_numpy, index.search(array[start : start + QUERY_BLOCK], k + 1)
        )
        # A row is not always among its own k + 1 best: identical rows may crowd it out, and an
        # inner product may favour longer rows. So drop it where it is, and the worst elsewhere.
        score = -score if l2 else score
        score[neighbor == torch.arange(start, start + len(neighbor))[:, None]] = float('-inf')
        order = score.argsort(dim=1, descending=True, stable=True)[:, :k]
        scores.append(score.gather(1, order))
        neighbors.append(neighbor.gather(1, order))
    return torch.cat(scores).to(x.device), torch.cat(neighbors).to(x.device)
