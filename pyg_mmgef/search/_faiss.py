"""Exact nearest neighbours by a FAISS flat index."""

import sys
from types import ModuleType

import torch
from torch import Tensor
from tqdm import tqdm

from pyg_mmgef.search._rows import SearchRows

__all__ = ['faiss_search', 'import_faiss']

QUERY_BLOCK = 4096  # Queries between two steps of the progress bar.


def import_faiss(what: str, otherwise: str) -> ModuleType:
    """Import FAISS; the first import gives it as many threads as torch has.

    Args:
        what: What needs FAISS, for the error message.
        otherwise: The alternative to installing it, for the error message.

    Raises:
        ImportError: If FAISS is not installed.
    """
    is_new = 'faiss' not in sys.modules
    try:
        import faiss
    except ImportError as error:
        raise ImportError(f'{what}: pip install faiss-cpu; or {otherwise}') from error
    if is_new:
        faiss.omp_set_num_threads(torch.get_num_threads())
    return faiss


def faiss_search(features: SearchRows, k: int, *, verbose: bool = False) -> tuple[Tensor, Tensor]:
    """Find the :obj:`k` most similar other rows of each row by ``IndexFlatIP`` or ``IndexFlatL2``.

    Args:
        features: Rows to compare.
        k: Number of neighbours, less than their number.
        verbose: Show a progress bar. (default: :obj:`False`)

    Returns:
        Similarities (L2: negative squared distances) and neighbour ids, best first, both of
        shape ``[N, k]``, on the device of the features.

    Raises:
        ImportError: If FAISS is not installed.
    """
    faiss = import_faiss("backend='faiss_flat' needs FAISS", "use backend='exact'")
    l2 = features.metric == 'l2'
    array = (features.x if l2 else features[:]).cpu().contiguous().numpy()
    index = faiss.IndexFlatL2(array.shape[1]) if l2 else faiss.IndexFlatIP(array.shape[1])
    index.add(array)
    scores, neighbors = [], []
    for start in tqdm(range(0, len(array), QUERY_BLOCK), desc='FAISS kNN', disable=not verbose):
        query = array[start : start + QUERY_BLOCK]
        score, neighbor = map(torch.from_numpy, index.search(query, k + 1))
        # A row is not always among its own k + 1 best: there may be more identical rows, and longer
        # ones by the inner product. So drop the row where it is found, else the worst.
        score = -score if l2 else score
        own = torch.arange(start, start + len(neighbor), dtype=torch.int64, device='cpu')
        score[neighbor == own[:, None]] = float('-inf')
        order = score.argsort(dim=1, descending=True, stable=True)[:, :k]
        score, neighbor = score.gather(1, order), neighbor.gather(1, order)
        if l2:  # FAISS computes them from norms and products, which cancel.
            row = own.to(features.device)
            score = features.score(features, row, neighbor.to(features.device)).cpu()
            score, order = score.sort(dim=1, descending=True, stable=True)
            neighbor = neighbor.gather(1, order)
        scores.append(score)
        neighbors.append(neighbor)
    return torch.cat(scores).to(features.device), torch.cat(neighbors).to(features.device)
