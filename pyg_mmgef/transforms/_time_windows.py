"""Code that the splits at moments that hold for all users share."""

from collections.abc import Sequence

import torch
from torch_geometric.data import HeteroData

from pyg_mmgef.transforms._splitting import (
    Split,
    interaction_times,
    interactions_to_split,
    of_new_users,
    select_parts_of_known,
)

__all__ = ['TimeWindows']

PARTS = 'train', 'validation', 'test'


class TimeWindows:
    """The interactions of all users, cut into consecutive windows at common times.

    A window begins with the first interaction after a share of all, and with all others of that
    very time, so interactions of one time are in one window.

    Args:
        data: The data before the split.
        shares: Increasing shares of the interactions, at which the cuts are. ``W`` shares make
            ``W + 1`` windows.

    Raises:
        ValueError: If the data can't be split, or its interactions have no times or all the same.
    """

    def __init__(self, data: HeteroData, shares: Sequence[float]) -> None:
        self._data = data
        edge_index, self._kept = interactions_to_split(data)
        self._user = edge_index[0].cpu()
        time = interaction_times(data, self._kept, 'global_time')
        ordered, count = time.sort().values, time.numel()
        self.num_times = ordered.unique_consecutive().numel()
        if self.num_times == 1:
            raise ValueError(
                f'all {count} interactions have the same time, so no time divides them; use '
                "strategy='random'"
            )
        places = [min(int(share * count + 0.5), count) for share in shares]
        cuts = ordered[[place for place in places if place < count]]
        self._window = torch.bucketize(time, cuts, right=True)

    def split(self, first: int, needed: Sequence[bool] = (True, True, True)) -> Split:
        """Return a window as validation, the next one as test, and all before them as train.

        Args:
            first: The window of validation.
            needed: Whether train, validation and test must have interactions. For the last two,
                those of users who have train interactions count.
                (default: ``(True, True, True)``)

        Raises:
            ValueError: If a part that is needed would be empty.
        """
        part = (self._window - first + 1).clamp(min=0)
        part[part > 2] = -1  # Later than this split.
        is_new = of_new_users(self._user, part)
        for number, name in enumerate(PARTS):
            if needed[number] and not bool(((part == number) & ~is_new).any()):
                raise self._empty(name, int(((part == number) & is_new).sum()))
        return select_parts_of_known(self._data, self._kept, part.to(self._kept.device))

    def _empty(self, name: str, num_new: int) -> ValueError:
        why = f', but for {num_new} of users without train interactions' if num_new else ''
        return ValueError(
            f'the cuts in time leave no interactions for {name}{why} ({self._user.numel()} '
            f'interactions at {self.num_times} different times); hold out more, or use '
            "strategy='time', which holds out the latest interactions of each user"
        )
