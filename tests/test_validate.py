import re
from fractions import Fraction

import numpy as np
import pytest

from pyg_mmgef.validate import check_channels, check_fraction, check_not_negative, check_positive

NO_NUMBERS = [True, '1', None, float('nan'), 1j]


@pytest.mark.parametrize('value', [1, 7, np.int64(3)])
def test_positive_integers(value: object) -> None:
    check_positive('k', value)
    check_not_negative('k', value, integer=True)


@pytest.mark.parametrize('value', [0, -1, 1.0, *NO_NUMBERS])
def test_no_positive_integers(value: object) -> None:
    with pytest.raises(
        ValueError, match=re.escape(f"'k' must be a positive integer (got {value!r})")
    ):
        check_positive('k', value)


@pytest.mark.parametrize('value', [1, 1e-9, np.float32(0.5), Fraction(1, 3)])
def test_positive_numbers(value: object) -> None:
    check_positive('lr', value, integer=False)
    check_not_negative('lr', value)


@pytest.mark.parametrize('value', [0, 0.0, -1.0, float('inf'), *NO_NUMBERS])
def test_no_positive_numbers(value: object) -> None:
    with pytest.raises(ValueError, match="'lr' must be positive and finite"):
        check_positive('lr', value, integer=False)


@pytest.mark.parametrize('value', [-1, -1e-9, float('inf'), *NO_NUMBERS])
def test_negative_numbers(value: object) -> None:
    with pytest.raises(ValueError, match="'l2' must be finite and not negative"):
        check_not_negative('l2', value)
    with pytest.raises(ValueError, match="'n' must be an integer that is not negative"):
        check_not_negative('n', value, integer=True)


def test_zero_is_not_negative() -> None:
    check_not_negative('l2', 0)
    check_not_negative('l2', 0.0)
    check_not_negative('n', 0, integer=True)
    with pytest.raises(ValueError, match='integer'):
        check_not_negative('n', 0.0, integer=True)


@pytest.mark.parametrize('interval', ['[0, 1]', '[0, 1)', '(0, 1]', '(0, 1)'])
def test_fractions(interval: str) -> None:
    ends: list[tuple[float, bool]] = [
        (0, interval[0] == '['),
        (0.0, interval[0] == '['),
        (1, interval[-1] == ']'),
    ]
    for value, is_inside in [(0.5, True), *ends, (-0.1, False), (1.1, False)]:
        if is_inside:
            check_fraction('ratio', value, interval)
        else:
            _assert_refused(value, interval)
    for no_number in NO_NUMBERS:
        _assert_refused(no_number, interval)


def _assert_refused(value: object, interval: str) -> None:
    message = f"'ratio' must lie in {interval} (got {value!r})"
    with pytest.raises(ValueError, match=re.escape(message)):
        check_fraction('ratio', value, interval)


def test_channels() -> None:
    check_channels('in_channels', {'image': 4, 'text': 1})
    with pytest.raises(ValueError, match="'in_channels' is empty; name at least one modality"):
        check_channels('in_channels', {})
    with pytest.raises(ValueError, match=r"'in_channels\['text'\]' must be a positive integer"):
        check_channels('in_channels', {'image': 4, 'text': 0})
