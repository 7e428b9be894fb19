"""FAISS indices of inner products over items, with the recall that users have of them."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pyg_mmgef.search._faiss import import_faiss
from pyg_mmgef.validate import check_choice, check_fraction, check_positive

__all__ = ['INDICES', 'MeasuredIndex', 'inner_product_index']

INDICES = ('flat', 'approximate')
SAMPLE = 1000  # Users of whom the recall is measured.
LINKS, BREADTH = 32, 100  # Of HNSW: links of an item, and candidates looked at when it is added.
BREADTHS = (128, 256, 512)  # Candidates looked at in a search; with more, IVF is as fast.
POINTS = 39  # Items per cell of IVF, at least, as FAISS asks for.
TINY = 1e-6


class MeasuredIndex(NamedTuple):
    """An index, and how good it is."""

    index: Any
    """The FAISS index, whose ids are the rows of the items."""
    kind: str
    """``'flat'``, ``'hnsw'`` or ``'ivf'``."""
    recall: float | None
    """The share of the best items that users find; :obj:`None` for an exact index."""
    k: int
    """The number of best items of which the recall is measured."""
    sample: int
    """The number of users of whom it is measured."""


def inner_product_index(
    z_item: NDArray[np.float32],
    z_user: NDArray[np.float32],
    kind: str = 'flat',
    *,
    recall: float = 0.95,
    k: int = 100,
    seed: int = 0,
) -> MeasuredIndex:
    r"""Build a FAISS index of inner products, exact or with the wanted recall.

    An approximate index is a graph of neighbours (HNSW, `arXiv 1603.09320
    <https://arxiv.org/abs/1603.09320>`_). Items have different lengths, and users are no items, so
    its recall isn't that of other data: it is measured with a sample of the users, against their
    exact :obj:`k` best items. The search is deepened until the mean over the sample, less two
    standard errors, reaches the wanted recall. Where a graph doesn't, cells of a clustering (IVF)
    take its place, of which so many are searched as it takes; with all of them the search is exact.

    FAISS makes the same graph anew only if it runs on one thread.

    Args:
        z_item: Item vectors. Shape: ``[num_items, channels]``.
        z_user: User vectors. Shape: ``[num_users, channels]``.
        kind: ``'flat'``, which is exact, or ``'approximate'``. (default: ``'flat'``)
        recall: The wanted recall, in ``(0, 1]``. (default: ``0.95``)
        k: Number of best items; all, where there are fewer. (default: ``100``)
        seed: Seed of the sample of users. (default: ``0``)

    Raises:
        ValueError: If an argument is out of range.
        ImportError: If FAISS is not installed.
    """
    check_choice('kind', kind, INDICES)
    check_fraction('recall', recall, '(0, 1]')
    check_positive('k', k)
    faiss = import_faiss('an export needs FAISS', 'install it')
    z_item = np.ascontiguousarray(z_item, np.float32)
    flat = faiss.IndexFlatIP(z_item.shape[1])
    flat.add(z_item)
    k = min(k, len(z_item))
    users = _sample(z_user, seed)
    if kind == 'flat' or len(users) == 0:
        return MeasuredIndex(flat, 'flat', None, k, 0)
    least = flat.search(users, k)[0][:, -1:]
    least = least - TINY * np.abs(least)
    graph = faiss.IndexHNSWFlat(z_item.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = BREADTH
    graph.add(z_item)
    for breadth in BREADTHS:
        graph.hnsw.efSearch = breadth
        found, lower = _recall(graph, users, least, k)
        if lower >= recall:
            return MeasuredIndex(graph, 'hnsw', found, k, len(users))
    cells = _cells(faiss, z_item)
    while True:
        found, lower = _recall(cells, users, least, k)
        if lower >= recall or cells.nprobe == cells.nlist:
            return MeasuredIndex(cells, 'ivf', found, k, len(users))
        cells.nprobe = min(2 * cells.nprobe, cells.nlist)


def _sample(z_user: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Return the vectors of some users; those of whom nothing is known have no best items."""
    order = np.random.default_rng(seed).permutation(len(z_user))
    rows = np.asarray(z_user[np.sort(order[: 2 * SAMPLE])], np.float32)
    return np.ascontiguousarray(rows[rows.any(axis=1)][:SAMPLE])


def _cells(faiss: Any, z_item: NDArray[np.float32]) -> Any:
    num_items, channels = z_item.shape
    num_cells = max(1, min(int(4 * num_items**0.5), num_items // POINTS))
    quantizer = faiss.IndexFlatIP(channels)
    cells = faiss.IndexIVFFlat(quantizer, channels, num_cells, faiss.METRIC_INNER_PRODUCT)
    cells.train(z_item)
    cells.add(z_item)
    cells.nprobe = 1
    return cells


def _recall(
    index: Any, users: NDArray[np.float32], least: NDArray[np.float32], k: int
) -> tuple[float, float]:
    """Return the mean recall, and the mean less two standard errors; equal scores count alike."""
    score, item = index.search(users, k)
    share = ((score >= least) & (item >= 0)).mean(axis=1)
    return float(share.mean()), float(share.mean() - 2 * share.std() / len(share) ** 0.5)
