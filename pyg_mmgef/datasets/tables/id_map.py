"""The map between rows of nodes and ids of the data."""

import json
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyg_mmgef.files import read_sealed, write_sealed

__all__ = ['IdMap', 'Ids']

Id: TypeAlias = int | str
Ids: TypeAlias = Sequence[int] | Sequence[str] | Tensor | NDArray[Any]
"""The types in which callers pass ids."""


class IdMap:
    r"""Maps rows of nodes to the ids in your data, and back.

    .. code-block:: python

        scores, items = recommend(z_user, z_item, dataset.user_ids.to_rows(['anna']), k=10)
        dataset.item_ids.to_ids(items)  # [['B000F', 'B00A7', ...]]

    Args:
        ids: The distinct ids in the order of the rows, all integers or all strings; a sequence, a
            tensor or a NumPy array.

    Raises:
        ValueError: If an id repeats, or ids are neither all integers nor all strings.

    Example:
        >>> ids = IdMap(['anna', 'bert', 'cleo'])
        >>> ids.to_rows(['cleo', 'anna'])
        tensor([2, 0])
        >>> ids.to_ids(torch.tensor([[1, -1]]))
        [['bert', None]]
    """

    def __init__(self, ids: Ids) -> None:
        self.ids = _checked(ids)
        """The ids as ``data['user'].id`` holds them: an int64 tensor or a list of strings."""

    @property
    def are_rows(self) -> bool:
        """Whether the ids are ``0 ... n-1``, equal to the rows."""
        return isinstance(self.ids, Tensor) and torch.equal(self.ids, torch.arange(len(self)))

    def to_rows(self, ids: Ids) -> Tensor:
        """Return the row of each id.

        Args:
            ids: Ids of the data.

        Returns:
            The rows. Shape: ``[len(ids)]``.

        Raises:
            ValueError: If an id is unknown.
        """
        wanted: list[Any] = ids.tolist() if isinstance(ids, Tensor | np.ndarray) else list(ids)
        unknown = [i for i in wanted if i not in self._row_of]
        if unknown:
            raise ValueError(
                f"'ids' holds {len(unknown)} unknown ids (first: {unknown[0]!r}); the {len(self)} "
                f'known ones are {"strings" if isinstance(self.ids, list) else "integers"} such as '
                f'{next(iter(self), None)!r}'
            )
        return torch.tensor([self._row_of[i] for i in wanted], dtype=torch.int64)

    def to_ids(self, rows: Tensor) -> list[Any]:
        """Return the id of each row, in nested lists of the shape of the rows.

        Args:
            rows: Rows, of any shape. The padding ``-1`` of :func:`~pyg_mmgef.ranking.recommend`
                becomes :obj:`None`.

        Raises:
            ValueError: If a row is out of range.
        """
        if rows.numel() > 0 and not -1 <= int(rows.min()) <= int(rows.max()) < len(self):
            raise ValueError(
                f"'rows' must lie in [0, {len(self)}), or be -1 (got rows from {int(rows.min())} "
                f'to {int(rows.max())})'
            )
        return self._named(rows.tolist())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the ids as JSON Lines, one per row, atomically.

        The last line, ``{"sha256": "..."}``, is a checksum of all lines before it.

        Args:
            path: The file.
        """
        lines = ''.join(json.dumps(i, ensure_ascii=False) + '\n' for i in self)
        write_sealed(Path(path).expanduser(), lines.encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> 'IdMap':
        """Read the ids that :meth:`save` wrote.

        Args:
            path: The file.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the file is damaged, or isn't such a list of ids.
        """
        path = Path(path).expanduser()
        content = read_sealed(path, 'write the ids again')
        try:
            lines = content.decode().split('\n')  # an id may hold other line ends
            return cls([json.loads(line) for line in lines if line])
        except ValueError as error:
            raise ValueError(f"'{path.name}' is not a list of ids: {error}") from error

    @cached_property
    def _row_of(self) -> dict[Id, int]:
        return {i: row for row, i in enumerate(self)}

    def _named(self, rows: Any) -> Any:
        if isinstance(rows, list):
            return [self._named(row) for row in rows]
        return None if rows == -1 else self[rows]

    def __iter__(self) -> Iterator[Id]:
        return iter(self.ids.tolist() if isinstance(self.ids, Tensor) else self.ids)

    def __getitem__(self, row: int) -> Id:
        found = self.ids[row]
        return int(found) if isinstance(found, Tensor) else found

    def __len__(self) -> int:
        return len(self.ids)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IdMap) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({len(self)})'


def _checked(ids: Ids) -> Tensor | list[str]:
    if isinstance(ids, np.ndarray):
        ids = torch.from_numpy(ids.astype(np.int64)) if ids.dtype.kind in 'iu' else ids.tolist()
    if isinstance(ids, Tensor):
        if ids.dim() != 1 or ids.dtype.is_floating_point or ids.dtype == torch.bool:
            raise ValueError(
                f"'ids' must be a vector of integers (got {list(ids.shape)}, {ids.dtype})"
            )
        ids = ids.long().cpu()
        num_distinct = ids.unique().numel()
    else:
        kinds = {type(i) for i in ids}
        if any(issubclass(kind, np.integer | np.str_) for kind in kinds):
            plain: list[Any] = [i.item() if isinstance(i, np.generic) else i for i in ids]
            ids = plain
            kinds = {type(i) for i in ids}
        if not kinds <= {int} and not kinds <= {str}:
            found = ', '.join(sorted(kind.__name__ for kind in kinds))
            raise ValueError(f"'ids' must be all integers or all strings (got {found})")
        num_distinct = len(set(ids))
    if num_distinct != len(ids):
        raise ValueError(f"'ids' holds {len(ids)} ids, but only {num_distinct} distinct ones")
    if isinstance(ids, Tensor):
        return ids
    strings = [i for i in ids if isinstance(i, str)]
    return strings if strings else torch.tensor(list(ids), dtype=torch.int64)
