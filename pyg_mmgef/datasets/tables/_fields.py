"""Fields of the items: columns of numbers or of texts."""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pyg_mmgef.datasets.tables._texts import clean_texts

__all__ = ['field_values', 'number_note']

_NO_NUMBER = frozenset(('n/a', 'na', 'none', 'null', 'nan', 'unknown', '-', '--', '?'))
"""Words, in small letters, that stand for a missing number among numbers."""

_ISO_4217 = (
    'AED|ARS|AUD|BDT|BGN|BRL|CAD|CHF|CLP|CNY|COP|CZK|DKK|EGP|EUR|GBP|HKD|HUF|IDR|ILS|INR|ISK|JPY|'
    'KRW|MXN|MYR|NGN|NOK|NZD|PEN|PHP|PKR|PLN|RON|RSD|RUB|SAR|SEK|SGD|THB|TRY|TWD|UAH|USD|VND|ZAR'
)
_CURRENCY = rf'(?:{_ISO_4217}|[$¢£¤¥\u20a0-\u20c0])'
_CODE = re.compile(r'[-+]?(?:0[0-9]|[0-9]{16})')
"""Numbers that would lose digits: such as begin with a zero, or are longer than float64 holds."""

_FEW = 0.1  # of the cells; with so many words, a column may have been meant as numbers


def field_values(
    cells: Sequence[str | None],
    decimal: str = '.',
    texts: list[str | None] | None = None,
) -> NDArray[np.float64] | list[str | None]:
    """Return a column as float64 if all its cells are numbers, else as texts without HTML.

    Numbers may have separators between thousands and one currency, the same in all cells, as in
    ``1,299.00 EUR``. Words such as ``n/a`` are missing numbers. Digits that would be lost, as of
    ``007``, make texts.

    Args:
        cells: The cells, :obj:`None` where there is none.
        decimal: Decimal separator. (default: ``'.'``)
        texts: The cells without HTML, if they are known. (default: :obj:`None`)
    """
    numbers = _numbers(cells, decimal)
    if numbers is not None:
        return numbers
    return clean_texts(cells) if texts is None else texts


def number_note(cells: Sequence[str | None], decimal: str = '.') -> str:
    """Return why a column of texts may have been meant as numbers, empty if it isn't.

    Args:
        cells: The cells.
        decimal: Decimal separator. (default: ``'.'``)
    """
    present = [cell for cell in cells if cell is not None and cell.lower() not in _NO_NUMBER]
    if not present or _numbers(present, decimal) is not None:
        return ''
    other = ',' if decimal == '.' else '.'
    if _numbers(present, other) is not None:
        return f'looks like numbers with the decimal separator {other!r}'
    number = _number(decimal)
    odd = [cell for cell in present if not number.fullmatch(cell)]
    if 0 < len(odd) <= _FEW * len(present):
        return f'holds numbers, but also {odd[0][:40]!r}'
    is_code = any(_CODE.match(cell) for cell in present)
    return '' if odd or is_code else 'holds numbers of several currencies'


def _numbers(cells: Sequence[str | None], decimal: str) -> NDArray[np.float64] | None:
    number, thousands = _number(decimal), _thousands(decimal)
    out = np.full(len(cells), np.nan)
    currencies = set()
    for row, cell in enumerate(cells):
        if cell is None or cell.lower() in _NO_NUMBER:
            continue
        found = number.fullmatch(cell)
        if found is None or _CODE.match(found['number']):
            return None
        currencies.add((found['before'], found['behind']))
        plain = re.sub(thousands, '', found['number']) if found['groups'] else found['number']
        out[row] = float(plain.replace(decimal, '.'))
    return out if len(currencies) == 1 and np.isfinite(out).any() else None


def _thousands(decimal: str) -> str:
    return '[, ]' if decimal == '.' else '[. ]'


def _number(decimal: str) -> re.Pattern[str]:
    point, groups = (
        re.escape(decimal),
        rf'(?P<groups>[0-9]{{1,3}}(?:{_thousands(decimal)}[0-9]{{3}})+)',
    )
    digits = rf'(?:{groups}|[0-9]+)(?:{point}[0-9]*)?|{point}[0-9]+'
    return re.compile(
        rf'(?P<before>{_CURRENCY}?) ?(?P<number>[-+]?(?:{digits})(?:[eE][-+]?[0-9]{{1,3}})?) ?'
        rf'(?P<behind>{_CURRENCY}?)'
    )
