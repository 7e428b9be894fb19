from torch_geometric.data import HeteroData

from pyg_mmgef.transforms._splitting import Split
from pyg_mmgef.transforms._time_windows import TimeWindows
from pyg_mmgef.validate import check_fraction, check_positive

__all__ = ['rolling_folds']


def rolling_folds(data: HeteroData, num_folds: int = 3, *, window: float = 0.1) -> list[Split]:
    r"""Split interactions at several times, for back-testing a recommender on its own past.

    The latest interactions are cut into :obj:`num_folds` + 1 windows of equal size. Fold
    :math:`f`, from the earliest, validates on window :math:`f`, tests on the next one, and trains
    on all that came before. So the train part grows from fold to fold, as the data of a shop does,
    and each test window is tested once:

    .. code-block:: text

        fold 1   train train train train train train val   test
        fold 2   train train train train train train train val   test
        fold 3   train train train train train train train train val   test

    Each fold is a split of :class:`SplitInteractions` with ``strategy='global_time'``, and has its
    rules for repeated interactions, equal times, new items and new users. The last fold is that
    split with the ratios ``(1 - 2 * window, window, window)``.

    Args:
        data: The data before the split, with ``data['user', 'interacts', 'item'].time``.
        num_folds: Number of folds. (default: ``3``)
        window: Share of all interactions in a window. (default: ``0.1``)

    Returns:
        The train, validation and test data of each fold, from the earliest to the latest.

    Raises:
        ValueError: If :obj:`num_folds` isn't positive, the windows leave nothing for the train part
            of the first fold, the data has no interactions, no times, only equal ones, or already
            an item graph built from interactions, or a part of a fold would have no interactions
            of users who are known in train.

    Example:
        >>> import torch
        >>> data = HeteroData({'user': {'num_nodes': 1}, 'item': {'num_nodes': 10}})
        >>> data['user', 'interacts', 'item'].edge_index = torch.tensor([[0] * 10, [*range(10)]])
        >>> data['user', 'interacts', 'item'].time = torch.arange(10)
        >>> for train, val, test in rolling_folds(data, num_folds=2):
        ...     print([part['user', 'interacts', 'item'].edge_label_index[1].tolist()
        ...            for part in (train, val, test)])
        [[0, 1, 2, 3, 4, 5, 6], [7], [8]]
        [[0, 1, 2, 3, 4, 5, 6, 7], [8], [9]]
    """
    check_positive('num_folds', num_folds)
    check_fraction('window', window, '(0, 1)')
    if (num_folds + 1) * window >= 1:
        raise ValueError(
            f'{num_folds} folds need {num_folds + 1} windows of {window:g} of the interactions, '
            "which leaves none for training; give fewer folds or a smaller 'window'"
        )
    windows = TimeWindows(data, [1 - number * window for number in range(num_folds + 1, 0, -1)])
    return [windows.split(fold) for fold in range(1, num_folds + 1)]
