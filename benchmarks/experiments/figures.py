"""How figures are written: without a leading zero, with their spread, with the sign of a gain."""

import statistics
from collections.abc import Sequence

__all__ = ['decimal', 'deviation', 'gain', 'p_text', 'plus_minus', 'share']


def decimal(value: float, digits: int = 4) -> str:
    """Return a figure between -1 and 1 as tables show it: ``.0840``."""
    text = f'{value:.{digits}f}'
    return text.replace('0.', '.', 1) if abs(value) < 1 else text


def plus_minus(values: Sequence[float]) -> str:
    """Return mean and standard deviation; of one value only that."""
    text = decimal(statistics.mean(values))
    return f'{text} ± {decimal(statistics.stdev(values))}' if len(values) > 1 else text


def deviation(values: Sequence[float]) -> float:
    """Return the standard deviation that a plot shows; of one value 0."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def gain(value: float) -> str:
    """Return a difference with its sign; a true minus, as a hyphen would begin a list."""
    text = decimal(abs(value))
    return text if float(text) == 0 else f'{"−" if value < 0 else "+"}{text}'


def p_text(p: float) -> str:
    return 'p < .001' if p < 0.001 else f'p = {decimal(p, 3)}'


def share(value: float) -> str:
    return f'{100 * value:.0f} %'
