"""Sampling of negatives, items that a user has not interacted with."""

import torch
from torch import Tensor
from torch_geometric.utils import cumsum

__all__ = ['NegativeSampler']


class NegativeSampler:
    r"""Sample items that a user has not interacted with, in proportion to ``degree ** popularity``.

    It maps a uniform number :math:`r` to an item, without rejection. The weights :math:`w_c` of the
    candidates are whole numbers, so their sums are exact. Let :math:`p_0 < p_1 < \dots` be the
    positions of a user's items among the candidates. The negatives before :math:`p_t` have the
    total weight :math:`k_t = \sum_{c < p_t} w_c - \sum_{s < t} w_{p_s}`, so a binary search for
    :math:`k_t \le r` finds the user's items before the sampled negative; :math:`r` plus the weight
    of these is the position of the negative in the cumulative weight of all candidates.

    Args:
        positives: Interactions (user, item), repeated ones allowed. Shape: ``[2, E]``.
        size: Number of users and of items.
        negatives_from: ``'warm'`` samples items with an interaction, ``'all'`` any item.
        popularity: The exponent of the degree.
        degree: The number of interactions of each item, where there are more than the positives;
            :obj:`None` means that there are not. Shape: ``[num_items]``. (default: :obj:`None`)

    Raises:
        ValueError: If a user has interacted with all items that could be negatives.
    """

    def __init__(
        self,
        positives: Tensor,
        size: tuple[int, int],
        negatives_from: str,
        popularity: float,
        degree: Tensor | None = None,
    ) -> None:
        num_users, num_items = size
        pair = (positives[0] * num_items + positives[1]).unique()
        user, item = pair // num_items, pair % num_items
        degree = torch.bincount(item, minlength=num_items) if degree is None else degree
        everything = torch.arange(num_items, device=item.device)
        self.candidates = degree.nonzero().view(-1) if negatives_from == 'warm' else everything
        self.uniform = popularity == 0
        degree = degree[self.candidates]
        # The keys of all users fit in 63 bits, and a double resolves every unit of the weight.
        total = min(2**50, 2**61 // num_users)
        weight = torch.ones_like(degree) if self.uniform else _weights(degree, popularity, total)
        self.weight_before = cumsum(weight)
        position = torch.searchsorted(self.candidates, item)
        bounds = cumsum(torch.bincount(user, minlength=num_users))
        self.start = bounds[:-1]
        self.owned_before = cumsum(weight[position])
        self.stride = int(weight.sum()) + 1
        self.available = self.stride - 1 - self.owned_before[bounds].diff()
        full = (self.available == 0).nonzero().view(-1)
        if full.numel() > 0:
            raise ValueError(
                f'{full.numel()} users (first: {int(full[0])}) have interacted with all '
                f'{int((weight > 0).sum())} items that negatives are sampled from '
                f'(negatives_from={negatives_from!r}, popularity={popularity}); leave these users '
                "out of the train data, or sample from 'all' items with popularity=0"
            )
        owned_before = self.owned_before[:-1] - self.owned_before[self.start[user]]
        key = user * self.stride + self.weight_before[position] - owned_before
        # The steps of a binary search over the items of the most active user, and padding for its
        # look-ups beyond the end.
        most = int(bounds.diff().max())
        self.steps = [1 << bit for bit in reversed(range(most.bit_length()))]
        beyond = key.new_full((sum(self.steps),), torch.iinfo(key.dtype).max)
        self.key = torch.cat([key, beyond])

    def __call__(self, users: Tensor, number: Tensor) -> Tensor:
        """Return a negative of each user for each number in [0, 1). Shape: ``[B, N]``.

        Args:
            users: User ids. Shape: ``[B]``.
            number: Uniform random numbers. Shape: ``[B, N]``.
        """
        users = users[:, None]
        available = self.available[users]
        passed = (number.to(users.device) * available).long().clamp(max=available - 1)
        key = users * self.stride + passed
        start = self.start[users]
        end = start.repeat(1, number.size(1))
        # torch.searchsorted would spend most of its time on finding the user.
        for step in self.steps:
            end.add_(self.key.take(end + (step - 1)) <= key, alpha=step)
        if self.uniform:  # Every item weighs one.
            return self._at(passed + end - start)
        return self._at(passed + self.owned_before[end] - self.owned_before[start])

    def shared(self, number: Tensor) -> Tensor:
        """Return a candidate for each number in [0, 1), without regard to users."""
        total = self.stride - 1
        return self._at((number.to(self.candidates.device) * total).long().clamp(max=total - 1))

    def _at(self, passed: Tensor) -> Tensor:
        """Return the candidates at which the cumulative weight exceeds the given values."""
        if self.uniform:
            return self.candidates[passed]
        return self.candidates[torch.searchsorted(self.weight_before, passed, right=True) - 1]


def _weights(degree: Tensor, popularity: float, total: int) -> Tensor:
    """Return whole numbers in proportion to ``degree ** popularity``; their sum is about total."""
    weight = (degree.double() / degree.max()) ** popularity
    return (weight * (total / weight.sum())).round().long().maximum((degree > 0).long())
