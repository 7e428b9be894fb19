import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from pyg_mmgef._describe import describe
from pyg_mmgef.transforms._splitting import (
    Split,
    interaction_times,
    interactions_to_split,
    select_parts,
)
from pyg_mmgef.transforms._time_windows import TimeWindows
from pyg_mmgef.validate import check_choice

__all__ = ['SplitInteractions']

STRATEGIES = ('random', 'time', 'leave_last_out', 'global_time')
MIN_TO_SPLIT = 3  # One interaction for each part.


@functional_transform('split_interactions')
class SplitInteractions(BaseTransform):
    r"""Split interactions into train, validation and test: those of *every user*, or by time.

    It returns three :class:`~torch_geometric.data.HeteroData`. All have the train edges as
    ``edge_index``, the only ones that ever propagate, and their own part as ``edge_label_index``.
    (PyG's ``RandomLinkSplit`` splits globally, which leaves users without train or test edges, and
    lets validation edges propagate at test time.)

    Of a repeated user-item pair only the earliest interaction is kept. With the first three
    strategies, a user with fewer than three interactions keeps all of them in train. Otherwise a
    part with a positive ratio holds
    :math:`\max(1, \mathrm{round}(r \cdot n_u))` of the user's :math:`n_u` interactions, never so
    many that train gets none. The evaluation protocol of MM-GEF and its neighbours is 8:1:1.

    With ``strategy='global_time'``, two moments :math:`t_1 < t_2` divide the interactions of all
    users: train is what came before :math:`t_1`, validation what came from :math:`t_1` on but
    before :math:`t_2`, and test the rest. So a model is measured as it is used: it knows nothing of
    anybody's future (`"A Critical Study on Data Leakage in Recommender System Offline Evaluation"
    <https://arxiv.org/abs/2010.11060>`_). The moments are quantiles of the times, so that the parts
    have the shares of the ratios, except that interactions of one time stay together, in the later
    part. All users and items stay in the graph. Items that came after :math:`t_1` are cold, and are
    among the targets. Users who came after it have no train interactions, so that no model can rank
    for them: their held-out interactions are not in ``edge_label_index``, which would measure
    chance, but in ``data['user', 'interacts', 'item'].new_user_index`` of validation and test,
    where they can be counted. For several such splits, see :func:`rolling_folds`.

    Args:
        ratios: Shares of train, validation and test. (default: ``(0.8, 0.1, 0.1)``)
        strategy: ``'random'``; ``'time'``, the same shares with the latest interactions held out;
            ``'leave_last_out'``, which ignores the ratios and holds out each user's last
            interaction for test and the one before for validation; or ``'global_time'``, two
            moments for all users. The last three need
            ``data['user', 'interacts', 'item'].time``; ties within a user keep the order of the
            data.
            (default: ``'random'``)
        seed: Seed of the random split. (default: ``0``)

    Raises:
        ValueError: If the ratios aren't three non-negative numbers that sum to one with a positive
            first, if the strategy is unknown or needs times that are missing, if the data has
            no interactions or already an item graph built from them, or if a global time cut leaves
            a part without interactions of users who are known in train.
    """

    def __init__(
        self,
        ratios: tuple[float, float, float] = (0.8, 0.1, 0.1),
        strategy: str = 'random',
        seed: int = 0,
    ) -> None:
        check_choice('strategy', strategy, STRATEGIES)
        if len(ratios) != 3 or min(ratios) < 0 or ratios[0] <= 0 or abs(sum(ratios) - 1) > 1e-6:
            raise ValueError(
                "'ratios' must be the shares of train, validation and test, not negative, the "
                f'first positive, with sum 1 (got {ratios})'
            )
        self.ratios = tuple(ratios)
        self.strategy = strategy
        self.seed = seed

    def forward(self, data: HeteroData) -> Split:
        """Return the train, validation and test data."""
        if self.strategy == 'global_time':
            train, val, test = self.ratios
            return TimeWindows(data, (train, train + val)).split(1, (True, val > 0, test > 0))
        edge_index, kept = interactions_to_split(data)
        user = edge_index[0].cpu()
        count = torch.bincount(user)
        order = self._order(data, kept)
        order = order[user[order].argsort(stable=True)]
        rank = torch.arange(user.numel()) - (count.cumsum(0) - count)[user[order]]

        num_val, num_test = self._held_out(count)
        left = (count[user[order]] - rank).to(torch.long)  # 1 for a user's last interaction.
        is_test = left <= num_test[user[order]]
        is_val = ~is_test & (left <= (num_test + num_val)[user[order]])
        part = torch.empty_like(user, dtype=torch.long)
        part[order] = is_val.long() + 2 * is_test.long()
        return select_parts(data, kept, part.to(kept.device))

    def _order(self, data: HeteroData, kept: Tensor) -> Tensor:
        if self.strategy == 'random':
            return torch.randperm(kept.numel(), generator=torch.Generator().manual_seed(self.seed))
        return interaction_times(data, kept, self.strategy).argsort(stable=True)

    def _held_out(self, count: Tensor) -> tuple[Tensor, Tensor]:
        """Return how many interactions of each user go to validation and to test."""
        splittable = count >= MIN_TO_SPLIT
        if self.strategy == 'leave_last_out':
            return splittable.long(), splittable.long()
        num_val, num_test = (
            torch.where(splittable, (ratio * count + 0.5).long().clamp(min=int(ratio > 0)), 0)
            for ratio in self.ratios[1:]
        )
        num_test = torch.minimum(num_test, (count - 1 - int(self.ratios[1] > 0)).clamp(min=0))
        num_val = torch.minimum(num_val, (count - 1 - num_test).clamp(min=0))
        return num_val, num_test

    def __repr__(self) -> str:
        return describe(self)
