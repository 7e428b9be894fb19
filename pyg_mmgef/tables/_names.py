"""Names of columns in public data sets, ranked by how clearly they say what a column holds."""

import re
from itertools import product

__all__ = [
    'UNNAMED',
    'id_rank',
    'is_event',
    'is_rule_field',
    'item_rank',
    'joined',
    'rating_rank',
    'text_rank',
    'time_rank',
    'user_rank',
]

UNNAMED = 3
"""What :func:`time_rank` returns for a name that says nothing about times."""

_WORD = re.compile(r'[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_]+')


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


def _compounds(nouns: frozenset[str], endings: frozenset[str]) -> frozenset[str]:
    return frozenset(noun + ending for noun, ending in product(nouns, endings))


_ID = _set('id key no nr number code idx index uuid')

_USERS = _set(
    'user member customer client reviewer visitor shopper buyer account person player viewer '
    'listener reader rater household consumer subscriber'
)
_USER_IDS = _compounds(_USERS, _ID) | {'uid'}
_SESSION_IDS = _compounds(_set('session visit cookie device playlist'), _ID)
_SESSIONS = _SESSION_IDS | {'session', 'usersession'}

_ITEMS = _set(
    'item product prod article movie film book track song artist album video game anime recipe '
    'news restaurant business hotel venue place poi location post listing offer beer wine app '
    'course job show podcast pin document doc content asset variant sku'
)
_ITEM_IDS = _compounds(_ITEMS, _ID) | _set('asin isbn isbn10 isbn13 sku upc ean gtin stockcode')

_TIMES = _set('timestamp ts time datetime date day dat at')
_ACTS = _set(
    'order ordered purchase purchased bought sale sold review reviewed click clicked view viewed '
    'visit visited played watched listened rated rating interaction transaction invoice checkin '
    'session event create created added posted'
)
_TIMES_OF_ACTS = _compounds(_ACTS, _TIMES)
_CLOCKS = _set('timestamp ts datetime unixtime unix')
_OTHER_TIMES = _set(  # The time of something else, or how long it took.
    'update updated modified edited deleted birth birthday release released delivery delivered '
    'shipped shipping expiry expires launch launched publish published publication estimated '
    'approved due start started end ended last limit run duration zone watch play dwell spent '
    'elapsed prep cook reading'
)

_EVENTS = _set('event events action activity behavior behaviour interaction feedback')
_KINDS = _set('type kind name')

_RATINGS = _set('rating ratings overall stars star bookrating ratingvalue')
_SCORES = _set('score scores grade points')
_STATISTICS = _set('average avg mean count num number n total max min std')

_PRICES = _set('price prices pricing msrp rrp')
_STOCKS = _set('stock instock availability available isavailable inventory onsale')
_FLAGS = _set('is has')

_TITLES = _set('title name headline')
_PARTS = (  # What follows the title in the text of an item, in this order.
    _set(
        'brand author authors artist artists publisher director directors manufacturer designer '
        'vendor label studio store cast actors'
    ),
    _set(
        'category categories subcategory genre genres type department group section class style '
        'collection subject subjects cuisine'
    ),
    _set('color colour colors colours material pattern gender season appearance'),
    _set('tag tags keyword keywords feature features highlights ingredients bullets'),
    _set(
        'description descriptions desc descr plot overview summary synopsis abstract text about '
        'body story blurb specification caption'
    ),
)
_NO_TEXT = _set('id ids key code url uri link path file filename image img photo')


def joined(column: str) -> str:
    """Return a name in small letters without what separates its words."""
    return ''.join(_words(column))


def id_rank(column: str) -> int | None:
    """Return how clearly a column of a table of items is named after their ids, best 0."""
    words = _words(column)
    return _first(
        item_rank(column) is not None,
        joined(column) == 'id',
        bool(words) and words[-1] in _ID,
    )


def user_rank(column: str) -> int | None:
    """Return how clearly a column is named after users, best 0; :obj:`None` if it isn't."""
    words = _words(column)
    return _first(
        joined(column) in _USER_IDS,
        _ends_in(words, _USER_IDS),
        joined(column) in _USERS or joined(column) == 'username',
        joined(column) in _SESSIONS,
        'email' in words,
    )


def item_rank(column: str) -> int | None:
    """Return how clearly a column is named after items, best 0; :obj:`None` if it isn't."""
    words = _words(column)
    return _first(
        joined(column) == 'parentasin',  # Amazon's id of a product, of which 'asin' is a variant.
        joined(column) in _ITEM_IDS,
        _ends_in(words, _ITEM_IDS),
        joined(column) in _ITEMS,
    )


def time_rank(column: str) -> int | None:
    """Return how clearly a column is named after times, best 0.

    A name that says nothing about times is :data:`UNNAMED`, the time of something else :obj:`None`.
    """
    words = _words(column)
    if not words or _OTHER_TIMES.intersection(words):
        return None
    ends_in_time = words[-1] in _TIMES
    return _first(
        bool(_CLOCKS.intersection(words)),
        joined(column) in _TIMES_OF_ACTS or (ends_in_time and bool(_ACTS.intersection(words))),
        ends_in_time or words[0] == 'date' or joined(column) == 'when',
        True,
    )


def is_event(column: str) -> bool:
    """Return whether a column is named after kinds of events."""
    words = _words(column)
    is_kind = len(words) == 2 and words[1] in _KINDS
    return bool(words) and (
        (words[0] in _EVENTS and (len(words) == 1 or is_kind)) or words == ('type',)
    )


def rating_rank(column: str) -> int | None:
    """Return how clearly a column is named after ratings, best 0; :obj:`None` if it isn't."""
    words = _words(column)
    if not words or _STATISTICS.intersection(words):
        return None
    return _first(words[-1] in _RATINGS or joined(column) in _RATINGS, words[-1] in _SCORES)


def text_rank(column: str) -> int | None:
    """Return a column's place in the text of an item; :obj:`None` if its name says no text."""
    words = _words(column)
    if not words or _NO_TEXT.intersection(words) or _USERS.intersection(words):
        return None
    for place, part in enumerate(_PARTS, 1):
        if part.intersection(words):
            return place
    if words[-1] not in _TITLES:
        return None
    return 0 if len(words) == 1 or words[0] in _ITEMS else len(_PARTS)


def is_rule_field(column: str) -> bool:
    """Return whether a column of items is named after a price, a stock, or yes and no."""
    words = _words(column)
    if not words or words[-1] in _ID:
        return False
    is_flag = words == ('new',) or (len(words) > 1 and words[0] in _FLAGS)
    return is_flag or bool({joined(column), *words} & (_PRICES | _STOCKS))


def _words(column: str) -> tuple[str, ...]:
    """Return the words of a name; what RecBole appends, such as ``:token``, is none of them."""
    return tuple(word.lower() for word in _WORD.findall(column.split(':')[0]))


def _ends_in(words: tuple[str, ...], compounds: frozenset[str]) -> bool:
    return ''.join(words[-1:]) in compounds or ''.join(words[-2:]) in compounds


def _first(*conditions: bool) -> int | None:
    return next((rank for rank, holds in enumerate(conditions) if holds), None)
