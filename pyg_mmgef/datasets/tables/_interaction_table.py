"""Reader of the interaction files (``*.inter``) of MMRec and RecBole."""

import re
import warnings
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ['Ids', 'InteractionTable', 'read_interaction_table']

Ids: TypeAlias = NDArray[np.int64] | NDArray[np.str_]
Numbers: TypeAlias = NDArray[np.int64] | NDArray[np.float64]

_NAMES = {
    'user': ('userID', 'user_id'),
    'item': ('itemID', 'item_id'),
    'rating': ('rating',),
    'time': ('timestamp',),
    'label': ('x_label',),
}
_WHOLE_NUMBER = re.compile(r'(\d{1,15})\.0*')  # what pandas makes of ids in a column with gaps


class InteractionTable(NamedTuple):
    """The columns of an interaction file; :obj:`None` if the file lacks one."""

    user: Ids
    item: Ids
    rating: NDArray[np.float32] | None
    time: NDArray[np.int64] | None
    label: NDArray[np.int64] | None


def read_interaction_table(path: Path) -> InteractionTable:
    """Read a tab-separated file with a header such as ``userID``, ``itemID``, ``x_label``.

    Ids are integers if all of them are, else strings.

    Raises:
        ValueError: If a column is missing or has invalid values.
    """
    columns = _find_columns(path)
    numbers = {
        key: None if columns[key] is None else _read_numbers(path, _NAMES[key][0], columns[key])
        for key in ('rating', 'time', 'label')
    }
    rating, time, label = numbers['rating'], numbers['time'], numbers['label']
    if label is not None:
        _check_labels(path, label)
    return InteractionTable(
        _read_ids(path, 'user', columns['user']),
        _read_ids(path, 'item', columns['item']),
        None if rating is None else rating.astype(np.float32),
        None if time is None else time.astype(np.int64),
        None if label is None else label.astype(np.int64),
    )


def _find_columns(path: Path) -> dict[str, int | None]:
    with open(path, encoding='utf-8-sig') as file:
        header = [name.strip() for name in file.readline().rstrip('\r\n').split('\t')]
        is_empty = not any(line.strip() for line in file)
    plain = [name.split(':')[0] for name in header]  # RecBole writes 'user_id:token'
    columns = {
        key: next((plain.index(name) for name in names if name in plain), None)
        for key, names in _NAMES.items()
    }
    for key in ('user', 'item'):
        if columns[key] is None:
            raise ValueError(
                f"'{path.name}' has no column {' or '.join(map(repr, _NAMES[key]))} "
                f'(its header is {header}); the file must be tab-separated'
            )
    if is_empty:
        raise ValueError(f"'{path.name}' holds no interaction, only the header {header}")
    return columns


def _read_ids(path: Path, end: str, column: int | None) -> Ids:
    ids = _integers_or_none(path, column)
    if ids is None:
        texts = _load(path, column, np.str_)
        distinct, index = np.unique(texts, return_inverse=True)
        whole = [_WHOLE_NUMBER.fullmatch(text) for text in distinct.tolist()]
        if not all(whole):
            if not distinct[0].strip():  # blanks sort first
                raise ValueError(f"'{path.name}' has rows without {end} id; fill or drop them")
            return texts
        ids = np.array([int(match[1]) for match in whole if match])[index.reshape(-1)]
    if int(ids.min()) < 0:
        raise ValueError(
            f"'{path.name}' holds the negative {end} id {ids.min()}; integer ids start at 0"
        )
    return ids


def _read_numbers(path: Path, name: str, column: int | None) -> Numbers:
    integers = _integers_or_none(path, column)
    if integers is not None:
        return integers
    try:
        numbers = _load(path, column, np.float64)
        if bool(np.isfinite(numbers).all()):
            return numbers
        problem = 'NaN or infinite values'
    except ValueError as error:
        problem = str(error)
    raise ValueError(f"column '{name}' of '{path.name}' must hold numbers: {problem}")


def _check_labels(path: Path, label: Numbers) -> None:
    odd = np.setdiff1d(label, (0, 1, 2))
    if len(odd) > 0:
        raise ValueError(
            f"column 'x_label' of '{path.name}' must hold 0 (train), 1 (validation) or 2 (test); "
            f'it also holds {", ".join(map(str, odd[:5].tolist()))}'
        )


def _integers_or_none(path: Path, column: int | None) -> NDArray[np.int64] | None:
    with warnings.catch_warnings():
        # NumPy reads '2.7' as the integer 2, with no more than this warning.
        warnings.simplefilter('error', DeprecationWarning)
        try:
            return _load(path, column, np.int64)
        except (ValueError, OverflowError, DeprecationWarning):
            return None


def _load(path: Path, column: int | None, dtype: type[np.generic]) -> NDArray:
    try:
        return np.loadtxt(
            path,
            dtype,
            delimiter='\t',
            skiprows=1,
            usecols=column,
            comments=None,
            ndmin=1,
            encoding='utf-8-sig',
        )
    except ValueError as error:
        raise ValueError(f"'{path.name}' could not be read: {error}") from error
