"""Texts of others, as a terminal or a page can show them."""

import re

__all__ = ['printable']

# Control characters, line separators, characters that set the direction of other text, and halves
# of surrogate pairs.
_UNPRINTABLE = re.compile(
    r'[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u206f\ufff9-\ufffb\ud800-\udfff]'
)


def printable(text: str) -> str:
    r"""Replace each character that could steer a terminal or a page by a visible escape.

    These are control characters, line separators and the characters that set the direction of
    other text; Escape becomes ``\x1b``. Scripts that are written from right to left, joined emoji
    and combining characters stay as they are.
    """
    return _UNPRINTABLE.sub(lambda found: found[0].encode('unicode_escape').decode(), text)
