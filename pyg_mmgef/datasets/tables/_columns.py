"""Conversion of columns to ids, numbers, times or texts, with a mask of the valid cells."""

import math
import re
from collections.abc import Callable
from datetime import datetime, timezone
from functools import wraps
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pyg_mmgef.datasets.tables._arrow import arrow

__all__ = ['MISSING', 'read_ids', 'read_numbers', 'read_texts', 'read_times']

MISSING = ('', 'nan', 'NaN', 'NAN', 'None', 'null', 'NULL', '<NA>', 'NaT')
"""Strings that programs write for a missing value."""

_SECONDS_PER_UNIT = {'s': 1, 'ms': 10**3, 'us': 10**6, 'ns': 10**9}
_EXACT = 2**53  # above this, floating point skips integers
_LATEST = 2**62  # the largest time: nanoseconds fit, and so does int64


Cells = TypeVar('Cells')


def _names_column(read: Callable[[Any, str], Cells]) -> Callable[[Any, str], Cells]:
    """Decorator: turn Arrow's type errors into a :class:`ValueError` naming the column."""

    @wraps(read)
    def named(array: Any, where: str) -> Cells:
        pa = arrow()
        try:
            return read(array, where)
        except (pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
            raise ValueError(
                f'{where} holds {array.type}, which cannot be read ({error}); convert it to '
                'strings or numbers'
            ) from error

    return named


@_names_column
def read_ids(array: Any, where: str) -> tuple[NDArray[np.int32], Any]:
    """Return the ids of a column as indices into distinct strings, ``-1`` for missing ones.

    Blanks around an id are removed. Bytes that aren't UTF-8 count as missing.

    Raises:
        ValueError: If the type of the column can't be an id.
    """
    pa, pc = arrow(), arrow('compute')
    if pa.types.is_nested(array.type) or pa.types.is_boolean(array.type):
        raise ValueError(f'{where} holds {array.type}; ids must be strings or integers')
    if not pa.types.is_dictionary(array.type):
        array = _decoded(array).dictionary_encode()
    values = array.dictionary
    if pa.types.is_floating(values.type):
        values = _whole_numbers(values, where)
    strings, _ = _strings(values, None)
    strings = pc.utf8_trim_whitespace(strings)
    is_missing = pc.or_kleene(pc.is_null(strings), pc.is_in(strings, pa.array(MISSING)))
    indices = np.asarray(pc.fill_null(array.indices, -1)).astype(np.int32)
    has_none = np.append(np.asarray(is_missing), True)  # the last, for index -1
    return np.where(has_none[indices], np.int32(-1), indices), pc.fill_null(strings, '')


@_names_column
def read_numbers(array: Any, where: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the numbers of a column, and a mask of the cells with a finite number.

    Raises:
        ValueError: If the type of the column can't be a number, such as dates.
    """
    pa = arrow()
    array = _decoded(array)
    kind = array.type
    if pa.types.is_string(kind):
        numbers = _try_cast(array, pa.float64())
        if numbers is None:
            return _parse_each(array, float, np.float64)
    elif pa.types.is_temporal(kind) or pa.types.is_nested(kind):
        raise ValueError(f'{where} holds {kind}, not numbers')
    else:
        if pa.types.is_boolean(kind):
            array = array.cast(pa.int8())
        numbers = array.cast(pa.float64(), safe=False)
    out = _to_numpy(numbers, np.nan)
    return out, np.isfinite(out)


@_names_column
def read_times(array: Any, where: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the times of a column, and a mask of the cells with a time.

    Numbers are kept (rounded down), dates and ISO 8601 strings become seconds since 1970, in UTC
    unless they name a time zone.

    Raises:
        ValueError: If the type of the column can't be a time.
    """
    pa = arrow()
    array = _decoded(array)
    kind = array.type
    if pa.types.is_string(kind):
        for target in (pa.int64(), pa.float64(), pa.timestamp('us'), pa.timestamp('us', tz='UTC')):
            parsed = _try_cast(array, target)
            if parsed is not None and not _loses_digits(parsed):
                return read_times(parsed, where)
        return _parse_each(array, _parse_time, np.int64)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        if pa.types.is_date(kind):
            array = array.cast(pa.timestamp('ms'))
        valid = _is_valid(array)
        ticks = _to_numpy(array.cast(pa.int64()), 0)
        return ticks // _SECONDS_PER_UNIT[array.type.unit], valid
    if pa.types.is_integer(kind):
        integers = _to_numpy(array, 0)
        return integers.astype(np.int64), _is_valid(array) & (integers <= _LATEST)
    if pa.types.is_boolean(kind):
        raise ValueError(f'{where} holds {kind}, not times')
    numbers, valid = read_numbers(array, where)
    valid &= np.abs(np.where(valid, numbers, 0)) < _LATEST
    return np.floor(np.where(valid, numbers, 0)).astype(np.int64), valid


@_names_column
def read_texts(array: Any, where: str) -> tuple[list[str | None], int]:
    """Return the texts of a column with single blanks, and how many weren't UTF-8.

    Cells such as ``nan`` or ``None`` (:data:`MISSING`) have no text.
    """
    pa = arrow()
    array = _decoded(array)
    if pa.types.is_nested(array.type):
        texts, num_broken = [_flatten(value) for value in array.to_pylist()], 0
    else:
        strings, num_broken = _strings(array, 'replace')
        texts = strings.to_pylist()
    return [_tidy(text) for text in texts], num_broken


def _tidy(text: str | None) -> str | None:
    if text is None:
        return None
    text = ' '.join(text.split())
    return None if text in MISSING else text


def _flatten(value: Any) -> str | None:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        parts = (_tidy(_flatten(part)) for part in value)
        return ' '.join(part for part in parts if part)
    return None if value is None else str(value)


def _whole_numbers(values: Any, where: str) -> Any:
    """Return integers for the floating point ids that pandas makes in a column with gaps."""
    pa = arrow()
    numbers = _to_numpy(values.cast(pa.float64()), np.nan)
    odd = numbers[np.isinf(numbers) | (np.abs(numbers) >= _EXACT) | (numbers % 1 > 0)]
    if len(odd) > 0:
        raise ValueError(
            f'{where} holds the id {odd[0]!r} as a floating point number, which is not an integer '
            'or has lost digits; read the column as integers or strings'
        )
    is_missing = np.isnan(numbers)
    return pa.array(np.where(is_missing, 0, numbers).astype(np.int64), mask=is_missing)


def _strings(array: Any, errors: str | None) -> tuple[Any, int]:
    """Return UTF-8 strings; invalid ones are repaired, or missing if ``errors`` is ``None``."""
    pa = arrow()
    strings = array.cast(pa.string(), safe=False) if array.type != pa.string() else array
    try:
        strings.validate(full=True)
        return strings, 0
    except ValueError:
        cells = strings.cast(pa.binary()).to_pylist()
    whole = [None if cell is None else cell.decode('utf-8', 'replace') for cell in cells]
    # Strings whose bytes have changed weren't UTF-8.
    broken = [t is not None and t.encode() != c for t, c in zip(whole, cells, strict=True)]
    if errors is None:
        whole = [None if b else t for t, b in zip(whole, broken, strict=True)]
    return pa.array(whole, pa.string()), sum(broken)


def _decoded(array: Any) -> Any:
    """Decode a dictionary, and convert bytes and all kinds of strings to plain strings."""
    pa = arrow()
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    kind = array.type
    if pa.types.is_null(kind):
        return array.cast(pa.string())
    textual = ('string', 'large_string', 'string_view', 'binary', 'large_binary', 'binary_view')
    if any(getattr(pa.types, f'is_{name}')(kind) for name in textual):
        return array.cast(pa.string(), safe=False) if kind != pa.string() else array
    return array


def _loses_digits(array: Any) -> bool:
    if not arrow().types.is_floating(array.type):
        return False
    numbers = _to_numpy(array, np.nan)
    return bool((np.abs(numbers[np.isfinite(numbers)]) >= _EXACT).any())


def _try_cast(array: Any, target: Any) -> Any:
    pa = arrow()
    try:
        return array.cast(target)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None


def _parse_each(
    array: Any, parse: Callable[[str], float], dtype: type[np.generic]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Parse the distinct cells one by one, for columns that Arrow can't cast as a whole."""
    encoded = array.dictionary_encode()
    cells = _strings(encoded.dictionary, None)[0].to_pylist()
    values = np.zeros(len(cells) + 1, dtype)
    valid = np.zeros(len(cells) + 1, bool)  # the last, for index -1
    for index, cell in enumerate(cells):
        try:
            number = parse((cell or '').strip())
        except (ValueError, OverflowError):
            continue
        if math.isfinite(number):
            values[index], valid[index] = number, True
    indices = np.asarray(encoded.indices.fill_null(-1))
    return values[indices], valid[indices]


def _parse_time(text: str) -> int:
    try:
        time = int(text)
    except ValueError:
        try:
            time = math.floor(float(text))
        except ValueError:
            # Python 3.10 reads fractions of three or six digits only.
            whole = re.sub(r'\.(\d{1,6})\d*', lambda part: f'.{part[1]:0<6}', text)
            date = datetime.fromisoformat(whole.replace('Z', '+00:00'))
            zoned = date if date.tzinfo is not None else date.replace(tzinfo=timezone.utc)
            return math.floor(zoned.timestamp())
    if abs(time) > _LATEST:
        raise OverflowError('no time')
    return time


def _is_valid(array: Any) -> NDArray[np.bool_]:
    return np.asarray(array.is_valid())


def _to_numpy(array: Any, missing: float) -> NDArray[Any]:
    return np.asarray(array.fill_null(missing) if array.null_count else array)
