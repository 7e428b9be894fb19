from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ['Id', 'IdLookup', 'own_id']

Id: TypeAlias = int | str


def own_id(value: Id, of_numbers: bool) -> Id | None:
    """Return an id as the data has it, or :obj:`None` if the data can't hold such an id.

    A path has text alone, so ``'17'`` is the number 17 where the ids are numbers, and the other
    way round.

    Args:
        value: The id, as a client sent it.
        of_numbers: Whether the ids are numbers.
    """
    if not of_numbers:
        return str(value)
    try:
        number = int(value)
    except ValueError:
        return None
    return number if str(number) == str(value) and -(2**63) <= number < 2**63 else None


class IdLookup:
    """Finds the row of an id by bisection, in an Arrow array that holds no object per id.

    Args:
        ids: A ``pyarrow.Array`` of distinct strings or integers in the order of the rows.

    Raises:
        ValueError: If an id is missing or repeats.
    """

    def __init__(self, ids: Any) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        self.are_numbers: bool = pa.types.is_integer(ids.type)
        """Whether the ids are numbers."""
        if ids.null_count:
            raise ValueError(f'{ids.null_count} ids are missing')
        self._ids: Any = ids.to_numpy() if self.are_numbers else ids
        self._rows: NDArray[np.uint32] | None = None
        if not _increase(ids):
            rows = pc.sort_indices(ids)
            if not _increase(ids.take(rows)):
                raise ValueError('ids repeat; each must be there once')
            self._rows = rows.to_numpy().astype(np.uint32)

    def __len__(self) -> int:
        return len(self._ids)

    def row_of(self, own: Id) -> int | None:
        """Return the row of an id, or :obj:`None` if there is none."""
        wanted = own_id(own, self.are_numbers)
        if wanted is None:
            return None
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self._sorted(middle) < wanted:  # type: ignore[operator]
                low = middle + 1
            else:
                high = middle
        if low == len(self) or self._sorted(low) != wanted:
            return None
        return self._row(low)

    def id_of(self, row: int) -> Id:
        """Return the id in a row."""
        return int(self._ids[row]) if self.are_numbers else self._ids[row].as_py()

    def _sorted(self, place: int) -> Id:
        return self.id_of(self._row(place))

    def _row(self, place: int) -> int:
        return place if self._rows is None else int(self._rows[place])


def _increase(ids: Any) -> bool:
    import pyarrow.compute as pc

    return bool(pc.all(pc.less(ids[:-1], ids[1:])).as_py() in (True, None))
