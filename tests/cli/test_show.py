import pytest
from wcwidth import wcswidth

from pyg_mmgef._printable import shortened

FAMILY, FLAG, ACCENT = '👩‍👩‍👧', '🇩🇪', 'e\u0301'


@pytest.mark.parametrize(
    ('text', 'width', 'shown'),
    [
        ('chair', 5, 'chair'),
        ('chairs', 5, 'ch...'),
        ('', 5, ''),
        ('漢字漢字', 8, '漢字漢字'),
        ('漢字漢字漢', 8, '漢字...'),
        (ACCENT * 6, 6, ACCENT * 6),
        (ACCENT * 7, 6, ACCENT * 3 + '...'),
        (FAMILY * 4, 8, FAMILY * 4),
        (FAMILY * 5, 8, FAMILY * 2 + '...'),
        ('a' + FLAG * 4, 8, 'a' + FLAG * 2 + '...'),
        ('\x1b' * 9, 12, r'\x1b\x1b...'),
    ],
)
def test_shortened(text: str, width: int, shown: str) -> None:
    assert shortened(text, width) == shown
    assert wcswidth(shown) <= width


@pytest.mark.parametrize('text', ['سلام دنیا', 'שלום עולם', 'สวัสดี', '한국어'])
def test_other_scripts_stay_whole(text: str) -> None:
    assert shortened(text, 20) == text
