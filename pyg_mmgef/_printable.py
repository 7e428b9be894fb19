"""Texts of others, as a terminal or a page can show them."""

import re

__all__ = ['printable', 'shortened']

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


def shortened(text: str, width: int) -> str:
    """Return a text as it can be shown, cut with ``...`` if it is too wide.

    Letters with their accents, joined emoji and the escapes of :func:`printable` are kept or left
    out as a whole.

    Args:
        text: The text.
        width: The most columns of a terminal that it may take; a Chinese character takes two.
    """
    from wcwidth import iter_graphemes, wcswidth  # Of the extra ``cli``.

    pieces, taken, kept = [], 0, 0
    for character in iter_graphemes(text):
        pieces.append(printable(character))
        taken += max(0, wcswidth(pieces[-1]))
        if taken <= width - len('...'):
            kept = len(pieces)
        if taken > width:
            return ''.join(pieces[:kept]) + '...'
    return ''.join(pieces)
