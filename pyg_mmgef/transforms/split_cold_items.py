import torch
from torch_geometric.data import HeteroData
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from pyg_mmgef.schema import num_users_items
from pyg_mmgef.transforms._describe import describe
from pyg_mmgef.transforms._splitting import Split, interactions_to_split, select_parts
from pyg_mmgef.validate import check_fraction

__all__ = ['SplitColdItems']


@functional_transform('split_cold_items')
class SplitColdItems(BaseTransform):
    r"""Make a share of the items cold: all their interactions are held out.

    Of the :math:`n` items that have interactions, :math:`\mathrm{round}(r \cdot n)` become cold;
    half of them (rounded down), with all their interactions, are for validation, the others for
    test. It returns three :class:`~torch_geometric.data.HeteroData` which all propagate over the
    edges of the remaining items, and have the edges of their own items as ``edge_label_index``. The
    candidates of a cold ranking are ``edge_label_index[1].unique()``.

    For warm and cold evaluation of one model, split the train part again:

    .. code-block:: python

        cold = SplitColdItems(0.2, seed=0)(data)
        train, val, test = SplitInteractions(seed=0)(cold[0])
        # Propagate over `train`; of cold[1] and cold[2] read only `edge_label_index`.

    Args:
        ratio: Share of the items to make cold. (default: ``0.2``)
        seed: Seed of the choice of items. (default: ``0``)

    Raises:
        ValueError: If :obj:`ratio` isn't in (0, 1), fewer than two items or all of them would be
            cold, or the data has no interactions or already an item graph built from them.
    """

    def __init__(self, ratio: float = 0.2, seed: int = 0) -> None:
        check_fraction('ratio', ratio, '(0, 1)')
        self.ratio = ratio
        self.seed = seed

    def forward(self, data: HeteroData) -> Split:
        """Return the train, validation and test data."""
        edge_index, kept = interactions_to_split(data)
        item = edge_index[1].cpu()
        warm = item.unique()
        num_cold = round(self.ratio * warm.numel())
        if num_cold < 2 or num_cold == warm.numel():
            raise ValueError(
                f"'ratio' {self.ratio} of {warm.numel()} items makes {num_cold} cold; at least two "
                'must be cold (one for validation, one for test) and one must stay'
            )
        generator = torch.Generator().manual_seed(self.seed)
        cold = warm[torch.randperm(warm.numel(), generator=generator)[:num_cold]]
        part_of_item = torch.zeros(num_users_items(data)[1], dtype=torch.long)
        part_of_item[cold] = 2
        part_of_item[cold[: num_cold // 2]] = 1
        return select_parts(data, kept, part_of_item[item].to(kept.device))

    def __repr__(self) -> str:
        return describe(self)
