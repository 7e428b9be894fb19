"""Metrics of recommended lists that don't ask whether an item was a hit."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from pyg_mmgef.ranking._list_sums import list_sums

__all__ = [
    'average_popularity',
    'coverage',
    'diversity',
    'exposure',
    'gini',
    'novelty',
    'personalization',
]


def exposure(items: Tensor, num_items: int) -> Tensor:
    """Return in how many lists each item stands.

    Args:
        items: Lists of distinct items, -1 where a list is shorter. Shape: ``[N, k]``.
        num_items: Number of items.

    Returns:
        Shape: ``[num_items]``.
    """
    return items[items >= 0].bincount(minlength=num_items)


def coverage(exposure: Tensor) -> float:
    """Return the share of the items that stand in at least one list.

    As PyG's :class:`~torch_geometric.metrics.LinkPredCoverage`. A high value means that more of the
    catalogue is shown.

    Args:
        exposure: In how many lists each item stands, from :func:`exposure`.
            Shape: ``[num_items]``.

    Example:
        >>> coverage(torch.tensor([3, 0, 1, 0]))
        0.5
    """
    return float((exposure > 0).double().mean())


def gini(exposure: Tensor) -> float:
    r"""Return the Gini index of the exposure: how unequally items are shown.

    With :math:`n` items whose exposures are :math:`c_{(1)} \leq \dots \leq c_{(n)}`, it is

    .. math::
        G = \frac{\sum_{j=1}^n (2j - n - 1) \, c_{(j)}}{n \sum_{j=1}^n c_{(j)}},

    0 if all are shown equally often, and :math:`1 - \frac{1}{n}` if one alone is shown (`Fleder and
    Hosanagar, 2009 <https://doi.org/10.1287/mnsc.1080.0974>`_).

    Args:
        exposure: In how many lists each item stands, from :func:`exposure`.
            Shape: ``[num_items]``.

    Returns:
        The index, not a number where nothing is shown.

    Example:
        >>> gini(torch.tensor([2, 2, 2, 2])), gini(torch.tensor([0, 0, 0, 5]))
        (0.0, 0.75)
    """
    count = exposure.double().sort().values
    n = count.numel()
    place = torch.arange(1, n + 1, dtype=torch.int64, device=count.device)
    return float(((2 * place - n - 1) * count).sum() / (n * count.sum()))


def personalization(items: Tensor) -> float:
    r"""Return how much the lists of different users differ.

    It is one minus the mean cosine of two users' lists,

    .. math::
        1 - \frac{1}{N (N - 1)} \sum_{u \neq v} \frac{|L_u \cap L_v|}{\sqrt{|L_u| \, |L_v|}}
        = 1 - \frac{1}{N (N - 1)} \Big( \sum_i \big( \sum_{u: i \in L_u} |L_u|^{-1/2} \big)^2 - N
        \Big),

    as PyG's :class:`~torch_geometric.metrics.LinkPredPersonalization`. That compares at most 4,096
    users, pair by pair; the right-hand side is exact for all of them in time linear in the lists.

    Args:
        items: Lists of distinct items, -1 where a list is shorter. Empty lists are left out.
            Shape: ``[N, k]``.

    Returns:
        A number in :math:`[0, 1]`, not a number for fewer than two lists.

    Example:
        >>> round(personalization(torch.tensor([[0, 1], [1, 2]])), 6)
        0.5
    """
    is_item = items >= 0
    length = is_item.sum(dim=1)
    weight = length.clamp(min=1).double().rsqrt()[:, None].expand_as(items)[is_item]
    shown, place = items[is_item].unique(return_inverse=True)
    total = weight.new_zeros(shown.numel()).index_add_(0, place, weight)
    num_lists = int((length > 0).sum())
    if num_lists < 2:
        return math.nan
    similar = (float(total.square().sum()) - num_lists) / (num_lists * (num_lists - 1))
    return min(max(1 - similar, 0.0), 1.0)  # Rounding errors aside, it lies there.


def average_popularity(items: Tensor, popularity: Tensor) -> Tensor:
    """Return the mean popularity of the items in each list.

    As PyG's :class:`~torch_geometric.metrics.LinkPredAveragePopularity` before its mean over users.

    Args:
        items: Lists of items, -1 where a list is shorter. Shape: ``[N, k]``.
        popularity: Number of train interactions of each item. Shape: ``[num_items]``.

    Returns:
        The means, float32, not a number where a list is empty. Shape: ``[N]``.

    Example:
        >>> average_popularity(torch.tensor([[0, 1], [1, -1]]), torch.tensor([10, 2]))
        tensor([6., 2.])
    """
    return _mean_of_lists(items, popularity.double()).float()


def novelty(items: Tensor, popularity: Tensor, num_users: int) -> Tensor:
    r"""Return the mean self-information of the items in each list.

    An item that :math:`p_i` of the :math:`U` users have interacted with has the self-information
    :math:`-\log_2 (p_i / U)` in bits (`Zhou et al., 2010
    <https://doi.org/10.1073/pnas.1000488107>`_). One without any counts as if one user had.

    Args:
        items: Lists of items, -1 where a list is shorter. Shape: ``[N, k]``.
        popularity: Number of train interactions of each item. Shape: ``[num_items]``.
        num_users: Number of users.

    Returns:
        The means, float32, not a number where a list is empty. Shape: ``[N]``.

    Example:
        >>> novelty(torch.tensor([[0, 1], [1, -1]]), torch.tensor([8, 2]), num_users=16)
        tensor([2., 3.])
    """
    share = popularity.double().clamp(min=1) / num_users
    return _mean_of_lists(items, -share.log2()).float()


def diversity(items: Tensor, features: Tensor) -> Tensor:
    r"""Return the intra-list diversity of each list: one minus the mean cosine of two items.

    With the vector :math:`\mathbf{v}_i` of item :math:`i`, scaled to unit length, and a list
    :math:`L` of :math:`k` items it is

    .. math::
        1 - \frac{1}{k (k - 1)} \sum_{i \neq j \in L} \mathbf{v}_i^{\top} \mathbf{v}_j
        = 1 - \frac{1}{k (k - 1)} \Big( \big\lVert \sum_{i \in L} \mathbf{v}_i \big\rVert^2
        - \sum_{i \in L} \lVert \mathbf{v}_i \rVert^2 \Big)

    (`Smyth and McClave, 2001 <https://doi.org/10.1007/3-540-44593-5_25>`_). With a one-hot vector
    of each item's category it is PyG's :class:`~torch_geometric.metrics.LinkPredDiversity`.

    Args:
        items: Lists of items, -1 where a list is shorter. Shape: ``[N, k]``.
        features: Vector of each item, dense or a sparse CSR tensor. One of zeros is at a right
            angle to all others. Shape: ``[num_items, channels]``.

    Returns:
        The diversity, float32, not a number where a list has fewer than two items.
        Shape: ``[N]``.

    Example:
        >>> features = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
        >>> diversity(torch.tensor([[0, 1], [0, 2]]), features)
        tensor([0., 1.])
    """
    square, own = list_sums(items, features)
    length = (items >= 0).sum(dim=1)
    pairs = length * (length - 1)
    out = 1 - (square - own) / pairs
    return out.clamp(min=0).masked_fill(pairs == 0, float('nan')).float()


def _mean_of_lists(items: Tensor, value: Tensor) -> Tensor:
    padded = F.pad(value, (0, 1))  # The id -1 reads the zero at the end.
    return padded[items].sum(dim=1) / (items >= 0).sum(dim=1)
