import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from pyg_mmgef._describe import describe
from pyg_mmgef.schema import num_users_items
from pyg_mmgef.transforms._splitting import (
    Split,
    interaction_times,
    interactions_to_split,
    select_parts,
)
from pyg_mmgef.validate import check_choice, check_fraction

__all__ = ['SplitColdItems']

STRATEGIES = ('random', 'time')


@functional_transform('split_cold_items')
class SplitColdItems(BaseTransform):
    r"""Make a share of the items cold: all their interactions are held out.

    Of the :math:`n` items that have interactions, :math:`\mathrm{round}(r \cdot n)` become cold;
    half of them (rounded down), with all their interactions, are for validation, the others for
    test. It returns three :class:`~torch_geometric.data.HeteroData` which all propagate over the
    edges of the remaining items, and have the edges of their own items as ``edge_label_index``. The
    candidates of a cold ranking are ``edge_label_index[1].unique()``.

    With ``strategy='random'``, cold items were on sale as long as the others. With
    ``strategy='time'``, the cold items are those that came last: all whose first interaction is at
    a time :math:`t` or later. What users did with other items from :math:`t` on is the future as
    well (`"A Critical Study on Data Leakage in Recommender System Offline Evaluation"
    <https://arxiv.org/abs/2010.11060>`_), so **interactions with warm items from** :math:`t` **on
    are in no part**. Items first seen at the same time are all cold or all warm, so fewer than
    :math:`r \cdot n` may be cold. Users who came later than :math:`t` have no train interactions.
    Where most items were there from the start, :math:`t` is early and train is small; then take a
    small ratio.

    For warm and cold evaluation of one model, split the train part again:

    .. code-block:: python

        cold = SplitColdItems(0.2, seed=0)(data)
        train, val, test = SplitInteractions(seed=0)(cold[0])  # Or both with strategy='time'.
        # Propagate over `train`; of cold[1] and cold[2] read only `edge_label_index`.

    Args:
        ratio: Share of the items to make cold. (default: ``0.2``)
        strategy: ``'random'``; or ``'time'``, the items that came last, which needs
            ``data['user', 'interacts', 'item'].time``. (default: ``'random'``)
        seed: Seed of the choice of items, of random ones and of the halves. (default: ``0``)

    Raises:
        ValueError: If :obj:`ratio` isn't in (0, 1), the strategy is unknown or needs times that are
            missing, fewer than two items or all of them would be cold, or the data has no
            interactions or already an item graph built from them.
    """

    def __init__(self, ratio: float = 0.2, strategy: str = 'random', seed: int = 0) -> None:
        check_fraction('ratio', ratio, '(0, 1)')
        check_choice('strategy', strategy, STRATEGIES)
        self.ratio = ratio
        self.strategy = strategy
        self.seed = seed

    def forward(self, data: HeteroData) -> Split:
        """Return the train, validation and test data."""
        edge_index, kept = interactions_to_split(data)
        item, num_items = edge_index[1].cpu(), num_users_items(data)[1]
        items = item.unique()
        num_cold = self._checked(round(self.ratio * items.numel()), items)
        generator = torch.Generator().manual_seed(self.seed)
        cold = items[torch.randperm(items.numel(), generator=generator)]
        is_late = torch.zeros_like(item, dtype=torch.bool)
        if self.strategy == 'time':
            time = interaction_times(data, kept, self.strategy)
            first = time.new_zeros(num_items).scatter_reduce(
                0, item, time, 'amin', include_self=False
            )
            last_warm = first[items].sort().values[-num_cold - 1]
            cold = cold[first[cold] > last_warm]
            num_cold = self._checked(cold.numel(), items)
            is_late = time >= first[cold].min()
        part_of_item = torch.zeros(num_items, dtype=torch.long)
        part_of_item[cold[:num_cold]] = 2
        part_of_item[cold[: num_cold // 2]] = 1
        part = part_of_item[item]
        part[is_late & (part == 0)] = -1
        return select_parts(data, kept, part.to(kept.device))

    def _checked(self, num_cold: int, items: Tensor) -> int:
        if num_cold < 2 or num_cold == items.numel():
            raise ValueError(
                f"'ratio' {self.ratio} of {items.numel()} items makes {num_cold} cold; at least "
                'two must be cold (one for validation, one for test) and one must stay'
            )
        return num_cold

    def __repr__(self) -> str:
        return describe(self)
