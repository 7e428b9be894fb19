"""A reader of the files in which NGCF and LightGCN published their data."""

import copy
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Dataset, HeteroData

from pyg_mmgef.datasets._folders import existing_folder, names_in

__all__ = ['LightGCNFolder']

_NO_ID = re.compile(rb'[^0-9\s]|[0-9]{19}')
_FILES = ('train.txt', 'test.txt')


class LightGCNFolder(Dataset):
    r"""Reads ``train.txt`` and ``test.txt`` in the format of NGCF and LightGCN.

    Each line holds a user and the items of this user, all numbered from 0:

    .. code-block:: text

        0 5 13 2
        1 7

    The data set has two graphs, ``train, test = LightGCNFolder(root)``. Both have the *same*
    ``edge_index``, the train interactions, because only these propagate; ``edge_label_index`` holds
    the interactions of the part itself. The largest ids of both files set the numbers of users and
    items. Empty lines, users without items and users that only one file has are allowed.

    Gowalla in this layout has 29,858 users, 40,981 items, 810,128 train and 217,242 test
    interactions. Nothing is written, so the folder may be read-only.

    Args:
        root: The folder.
        transform: Applied to each graph at every access. (default: :obj:`None`)
        pre_transform: Applied to each graph once, when the folder is read. (default: :obj:`None`)

    Raises:
        FileNotFoundError: If the folder or a file is missing.
        ValueError: If a file holds anything but ids, or there is no train interaction.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        transform: Callable[[HeteroData], HeteroData] | None = None,
        pre_transform: Callable[[HeteroData], HeteroData] | None = None,
    ) -> None:
        folder = existing_folder(root)
        absent = [name for name in _FILES if not (folder / name).is_file()]
        if absent:
            raise FileNotFoundError(
                f"'root' has no {' and no '.join(absent)}; it holds {names_in(folder)}"
            )
        super().__init__(str(folder), transform, pre_transform)
        train, test = ((_read(folder / name)) for name in _FILES)
        if train.size(1) == 0:
            raise ValueError("'train.txt' holds no interaction")
        num_users, num_items = (torch.cat([train, test], dim=1).amax(dim=1) + 1).tolist()
        base = HeteroData()
        base['user'].num_nodes, base['item'].num_nodes = num_users, num_items
        base['user', 'interacts', 'item'].edge_index = train
        self._splits = []
        for edges in (train, test):
            data = copy.copy(base)
            data['user', 'interacts', 'item'].edge_label_index = edges
            self._splits.append(data if pre_transform is None else pre_transform(data))

    def len(self) -> int:
        """Return the number of graphs, which is two."""
        return len(self._splits)

    def get(self, idx: int) -> HeteroData:
        """Return a shallow copy of one graph: train or test."""
        return copy.copy(self._splits[idx])


def _read(path: Path) -> Tensor:
    """Return the interactions (user, item) of a file. Shape: ``[2, E]``."""
    content = path.read_bytes().removeprefix(b'\xef\xbb\xbf')
    wrong = _NO_ID.search(content)
    if wrong is not None:
        line = content.count(b'\n', 0, wrong.start()) + 1
        words = content[: wrong.end() + 20].split(b'\n')[line - 1].split(b' ')
        found = next((w for w in words if _NO_ID.search(w)), b'').decode(errors='replace')
        raise ValueError(
            f"line {line} of '{path.name}' holds {found!r}; it must be a user and its items, "
            'numbered from 0 and separated by blanks'
        )
    numbers = np.fromstring(content.decode('ascii'), np.int64, sep=' ')  # takes any blank
    letters = np.frombuffer(content, np.uint8)
    is_blank = letters <= ord(' ')
    begins = np.flatnonzero(~is_blank & np.append(True, is_blank[:-1])[: len(letters)])
    line_of = np.cumsum(letters == ord('\n'), dtype=np.int32)[begins]
    is_user = np.diff(line_of, prepend=-1) > 0
    user = numbers[is_user][np.cumsum(is_user) - 1]
    return torch.from_numpy(np.stack([user[~is_user], numbers[~is_user]]))
