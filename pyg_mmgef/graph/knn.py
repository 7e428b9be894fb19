from importlib.util import find_spec

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pyg_mmgef.graph.exact import exact_search
from pyg_mmgef.graph.faiss import faiss_search
from pyg_mmgef.graph.weights import symmetrize
from pyg_mmgef.typing import WeightedGraph
from pyg_mmgef.validate import check_choice, check_finite, check_positive

__all__ = ['knn_graph']

METRICS = ('cosine', 'ip', 'l2')
BACKENDS = ('auto', 'exact', 'faiss')
DISTANCE_BLOCK = 1024  # Items whose neighbours' features are gathered at a time.


def knn_graph(
    x: Tensor | np.ndarray,
    k: int,
    *,
    metric: str = 'cosine',
    backend: str = 'auto',
    symmetric: bool = False,
    verbose: bool = False,
) -> WeightedGraph:
    r"""Connect every row to its :obj:`k` most similar other rows.

    For the cosine metric the weight of the edge :math:`j \to i` is

    .. math::
        S_{ij} = \frac{\mathbf{x}_i^{\top} \mathbf{x}_j}
        {\lVert \mathbf{x}_i \rVert \lVert \mathbf{x}_j \rVert},

    kept for the :math:`k` largest per item, self excluded: the multimodal item graph of MM-GEF
    (`arXiv 2308.07222 <https://arxiv.org/abs/2308.07222>`_; the same construction as LATTICE,
    `arXiv 2104.09036 <https://arxiv.org/abs/2104.09036>`_, Eqs. 3-4). Weights are raw
    similarities, best first per destination, and can be negative.

    Rows of zeros (items without content) have no direction: under ``'cosine'`` they neither
    receive nor send edges, and with few other rows left every item gets all of them, fewer than
    :obj:`k`. All computation is in float32, exact, and in bounded memory.

    Args:
        x: Item features, a tensor or an array, floating point. Shape: ``[N, channels]``.
        k: Number of neighbours of an item, less than ``N``.
        metric: ``'cosine'``, ``'ip'`` (inner product) or ``'l2'`` (ranked by distance; the
            weight is the *negative squared* distance, so larger is always closer).
            (default: ``'cosine'``)
        backend: ``'exact'`` (blocked products in torch, on the device of :obj:`x`), ``'faiss'``
            (a flat index, on the CPU) or ``'auto'``: FAISS, if installed, for CPU inputs, torch
            elsewhere.
            (default: ``'auto'``)
        symmetric: Also add the reverse of every edge. (default: :obj:`False`)
        verbose: Show a progress bar. (default: :obj:`False`)

    Returns:
        ``edge_index`` of shape ``[2, E]`` (neighbour, item that receives) and ``edge_weight`` of
        shape ``[E]``, on the device of :obj:`x`.

    Raises:
        ValueError: If :obj:`x` isn't a non-empty floating point matrix of finite values, if
            :obj:`k` is not in ``[1, N)``, or for an unknown :obj:`metric` or :obj:`backend`.
        ImportError: If ``backend='faiss'`` and FAISS is not installed.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
        >>> edge_index, edge_weight = knn_graph(x, k=1)
        >>> edge_index
        tensor([[1, 0, 3, 2],
                [0, 1, 2, 3]])
    """
    check_choice('metric', metric, METRICS)
    check_choice('backend', backend, BACKENDS)
    x = _checked_features(x, k)
    num_nodes = x.size(0)

    kept = None
    if metric == 'cosine':
        length = x.abs().amax(dim=1, keepdim=True)
        has_content = length.view(-1) > 0
        # Scaled first, so that squares neither overflow nor underflow.
        x = F.normalize(x / torch.where(length > 0, length, 1.0), dim=1)
        if not bool(has_content.all()):
            kept = has_content.nonzero().view(-1)
            x = x[kept]
    k = min(int(k), x.size(0) - 1)
    if k < 1:  # At most one item has content.
        return torch.empty(2, 0, dtype=torch.long, device=x.device), x.new_empty(0)

    if backend == 'auto':
        on_cpu = x.device.type == 'cpu'
        backend = 'faiss' if on_cpu and find_spec('faiss') is not None else 'exact'
    search = faiss_search if backend == 'faiss' else exact_search
    score, neighbor = search(x, k, l2=metric == 'l2', verbose=verbose)
    if metric == 'l2':
        score, neighbor = _exact_distances(x, neighbor)

    item = torch.arange(x.size(0), device=x.device).repeat_interleave(k)
    edge_index = torch.stack([neighbor.view(-1), item])
    if kept is not None:
        edge_index = kept[edge_index]
    edge_weight = score.view(-1)
    if symmetric:
        return symmetrize(edge_index, edge_weight, num_nodes)
    return edge_index, edge_weight


def _exact_distances(x: Tensor, neighbor: Tensor) -> tuple[Tensor, Tensor]:
    """Return negative squared distances from differences, where the search has them from norms."""
    blocks = zip(x.split(DISTANCE_BLOCK), neighbor.split(DISTANCE_BLOCK), strict=True)
    score = torch.cat([-(x[index] - row[:, None]).square().sum(dim=-1) for row, index in blocks])
    score, order = score.sort(dim=1, descending=True, stable=True)
    return score, neighbor.gather(1, order)


def _checked_features(x: Tensor | np.ndarray, k: int) -> Tensor:
    if isinstance(x, np.ndarray):
        # torch warns of a read-only array, such as a memory map, even if nobody writes to it.
        x = torch.from_numpy(x if x.flags.writeable else x.copy())
    if not isinstance(x, Tensor):
        raise ValueError(f"'x' must be a tensor or a NumPy array (got {type(x).__name__})")
    if x.dim() != 2 or x.size(0) == 0 or x.size(1) == 0:
        raise ValueError(f"'x' must be a non-empty [N, channels] matrix (got {list(x.shape)})")
    if not x.is_floating_point():
        raise ValueError(f"'x' must be floating point (got {x.dtype}); convert with '.float()'")
    check_positive('k', k)
    if k >= x.size(0):
        raise ValueError(
            f"'k' must be less than the number of items (got k={k} for {x.size(0)} items, of "
            f'which each has {x.size(0) - 1} others)'
        )
    x = x.detach().float()
    check_finite('x', x)
    return x
