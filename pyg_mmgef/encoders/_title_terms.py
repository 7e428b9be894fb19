"""The terms of a title: words, and runs of characters in scripts without blanks."""

import re
from collections.abc import Callable, Iterator

from sklearn.feature_extraction.text import TfidfVectorizer

__all__ = ['TermVectorizer', 'character_terms']

_HAN = '\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff'
_KANA = '\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f'
_THAI_LAO = '\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ece\u0edc-\u0edf'
_MYANMAR = '\u1000-\u103f\u1050-\u108f\ua9e0-\ua9ef\ua9fa-\ua9fe\uaa60-\uaa7f'
_KHMER = '\u1780-\u17d3\u17d7\u17dd'
_RUN = re.compile(f'[{_HAN}{_KANA}{_THAI_LAO}{_MYANMAR}{_KHMER}]+')
_IDEOGRAPH = re.compile(f'[{_HAN}]')
_LONGEST = 3


class TermVectorizer(TfidfVectorizer):
    """A TF-IDF vectorizer whose terms are words, or, where a script has no blanks, characters.

    Chinese, Japanese, Thai, Lao, Burmese and Khmer are written without blanks between words. Runs
    of these scripts give the terms of :func:`character_terms`; the rest of a text gives the same
    terms as without this class.
    """

    def build_analyzer(self) -> Callable[[str], list[str]]:
        """Return the function that splits a text into terms."""
        words = super().build_analyzer()
        return lambda text: [*words(_RUN.sub(' ', text)), *character_terms(text)]


def character_terms(text: str) -> Iterator[str]:
    """Yield the pairs and triples of neighbouring characters, and single ideographs.

    An ideograph is often a word by itself, the letters of the other scripts are not.

    Example:
        >>> list(character_terms('red \u7ea2\u8272 \u0e40\u0e2a\u0e37\u0e49\u0e2d'))[:3]
        ['\u7ea2', '\u8272', '\u7ea2\u8272']
    """
    for run in _RUN.findall(text):
        yield from run if len(run) == 1 else _IDEOGRAPH.findall(run)
        for length in range(2, _LONGEST + 1):
            for start in range(len(run) - length + 1):
                yield run[start : start + length]
