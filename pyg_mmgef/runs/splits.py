from torch_geometric.data import HeteroData

from pyg_mmgef._spelling import spelt, spelt_with
from pyg_mmgef.schema import INTERACTS, ITEM, item_modalities
from pyg_mmgef.settings import Settings
from pyg_mmgef.transforms import SplitInteractions
from pyg_mmgef.transforms.split_interactions import MIN_TO_SPLIT

__all__ = ['split_data']


def split_data(settings: Settings, data: HeteroData) -> tuple[HeteroData, HeteroData, HeteroData]:
    """Split the data, and remove the features of modalities that the settings don't name.

    Args:
        settings: Completed settings.
        data: All interactions and features.

    Returns:
        The train, validation and test data.

    Raises:
        ValueError: If the split needs times that the data lacks, or holds nothing out.
    """
    for name in item_modalities(data)[0]:
        if name not in settings.modalities:
            del data[ITEM][f'x_{name}'], data[ITEM][f'has_{name}']
    if settings.split != 'random' and 'time' not in data[INTERACTS]:
        raise ValueError(
            f'{spelt_with("split", settings.split)} needs the times of the interactions, which the '
            f'dataset lacks; prepare it with {spelt("time")}, or use '
            f'{spelt_with("split", "random")}'
        )
    train, val, test = SplitInteractions(strategy=settings.split, seed=settings.seed)(data)
    if min(part[INTERACTS].edge_label_index.size(1) for part in (val, test)) == 0:
        raise ValueError(
            f'validation and test would be empty, as no user has {MIN_TO_SPLIT} different items, '
            'one for each part; prepare a table with more interactions of the same users'
        )
    return train, val, test
