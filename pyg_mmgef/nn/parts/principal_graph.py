import torch
from torch import Tensor

from pyg_mmgef.sparse.csr_pair import CSRPair
from pyg_mmgef.validate import check_positive

__all__ = ['principal_graph']

NEGLIGIBLE = 1e-3  # Smaller weights are no edges, as with the authors.
ITERATIONS = 20  # The last of twice as many directions is far from those that are read.
WEIGHTS_AT_ONCE = 2**24


@torch.no_grad()
def principal_graph(graph: CSRPair, rank: int, seed: int = 0) -> CSRPair:
    r"""Return the part of a graph that its first singular vectors make up.

    .. math::
        \sum_{j=1}^{q} \sigma_j \sigma_{r - q + j} \mathbf{u}_j \mathbf{v}_j^{\top}, \qquad
        q = \max(1, \lfloor r / 4 \rfloor)

    with the first :math:`r` singular values and vectors of its matrix, without entries below
    ``1e-3``: the global subgraph of PGL (`AAAI 2025 <https://doi.org/10.1609/aaai.v39i12.33429>`_).
    The authors' code decomposes the square matrix of all nodes, in which each singular value of a
    bipartite graph is there twice, so their rank is twice as large.

    It is built a block of rows at a time, but has as many edges as there are entries left, which
    can be many times those of :obj:`graph`. Its weights may be negative. Where several vectors have
    the same singular value and not all of them count, the seed says which do.

    Args:
        graph: The normalised graph.
        rank: The number :math:`r`; where a side of the graph has fewer nodes, that many.
        seed: Seed of the directions that the search for the vectors starts from.
            (default: ``0``)

    Raises:
        ValueError: If :obj:`rank` isn't positive.

    Example:
        >>> graph = CSRPair(torch.tensor([[0, 1], [0, 0]]), torch.tensor([0.6, 0.8]), (2, 1))
        >>> principal_graph(graph, rank=1).edges()[1]
        tensor([0.6000, 0.8000])
    """
    check_positive('rank', rank)
    source, value, destination = _singular(graph, rank, seed)
    num_kept = max(1, value.numel() // 4)
    source = source[:, :num_kept] * (value[:num_kept] * value[-num_kept:])
    edges, weights = [], []
    rows_at_once = max(1, WEIGHTS_AT_ONCE // graph.size[1])
    for rows in torch.arange(graph.size[0], device=graph.device).split(rows_at_once):
        block = source[rows] @ destination[:, :num_kept].t()
        row, column = (block.abs() >= NEGLIGIBLE).nonzero(as_tuple=True)
        edges.append(torch.stack([rows[row], column]))
        weights.append(block[row, column])
    dtype = graph.edges()[1].dtype
    return CSRPair(torch.cat(edges, dim=1), torch.cat(weights).to(dtype), graph.size)


def _singular(graph: CSRPair, rank: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the first singular vectors of sources, the values, and the vectors of destinations.

    The subspace of twice as many is iterated, so that those asked for are exact enough.
    """
    width = min(2 * rank, *graph.size)
    generator = torch.Generator(graph.device)
    generator.manual_seed(seed)
    options = {'dtype': torch.double, 'device': graph.device}
    x = torch.randn(graph.size[1], width, generator=generator, **options)  # type: ignore[call-overload]
    for _ in range(ITERATIONS):
        source = torch.linalg.qr(graph.t().matmul(x)).Q
        x = graph.matmul(source)
    destination, value, turn = torch.linalg.svd(x, full_matrices=False)
    return (source @ turn.t())[:, :rank], value[:rank], destination[:, :rank]
