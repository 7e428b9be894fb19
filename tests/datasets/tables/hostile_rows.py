"""Rows that tables really have, and those that break programs, each with what becomes of it."""

from typing import NamedTuple

__all__ = ['HEADER', 'HOSTILE_ROWS', 'KEPT', 'NOTHING', 'HostileRow']

HEADER = b'user_id,item_id,stars,when'
KEPT, NOTHING = 'kept', 'not a row'
NO_USER, NO_ITEM = 'rows without a user id', 'rows without an item id'
NO_RATING, NO_TIME = 'rows without a valid rating', 'rows without a valid time'
NOT_PARSED, LOW = 'rows that could not be parsed', 'rows below min_rating'
REPEATED = 'repeated user-item pairs'


class HostileRow(NamedTuple):
    """A row of a CSV file, what becomes of it, and the ids under which it is kept."""

    name: str
    line: bytes
    outcome: str
    user: str | int = ''
    item: str | int = ''


def kept(name: str, line: bytes, user: str | int, item: str | int) -> HostileRow:
    return HostileRow(name, line, KEPT, user, item)


HOSTILE_ROWS = (
    kept('a comma in quotes', b'"a, b",x,4,1', 'a, b', 'x'),
    kept('a line break in quotes', b'"a\r\nb",x,4,1', 'a\r\nb', 'x'),
    kept('doubled quotes', b'"a ""b""",x,4,1', 'a "b"', 'x'),
    kept('a quote within a field', b'a"b,x,4,1', 'a"b', 'x'),
    kept('blanks around an id', b'  a  ,\tx ,4,1', 'a', 'x'),
    kept('accents and an emoji', 'ánna 🙂,x,4,1'.encode(), 'ánna 🙂', 'x'),
    kept('decomposed accents', 'a\u0301,x,4,1'.encode(), 'a\u0301', 'x'),
    kept('an override of the writing direction', '\u202eab,x,4,1'.encode(), '\u202eab', 'x'),
    kept('leading zeros', b'007,x,4,1', '007', 'x'),
    kept('a negative id', b'-5,x,4,1', '-5', 'x'),
    kept('an id beyond 64 bits', b'18446744073709551616,x,4,1', '18446744073709551616', 'x'),
    kept('an id of ten thousand letters', b'a' * 10_000 + b',x,4,1', 'a' * 10_000, 'x'),
    kept('a null character', b'a\0b,x,4,1', 'a\0b', 'x'),
    kept('a path', b'../../etc/passwd,x,4,1', '../../etc/passwd', 'x'),
    kept('a formula', b'"=HYPERLINK(""x"")",x,4,1', '=HYPERLINK("x")', 'x'),
    kept('a statement', b"'; DROP TABLE users; --,x,4,1", "'; DROP TABLE users; --", 'x'),
    kept('a script', b'<script>alert(1)</script>,x,4,1', '<script>alert(1)</script>', 'x'),
    kept('the word null as an item', b'a,nulls,4,1', 'a', 'nulls'),
    kept('a rating with an exponent', b'a,x,4e0,1', 'a', 'x'),
    kept('a rating with blanks', b'a,x, 4 ,1', 'a', 'x'),
    kept('a time before 1970', b'a,x,4,-1', 'a', 'x'),
    kept('a time with a fraction', b'a,x,4,1.5', 'a', 'x'),
    HostileRow('no user', b',x,4,1', NO_USER),
    HostileRow('a user of blanks', b'   ,x,4,1', NO_USER),
    HostileRow('a user that is nan', b'nan,x,4,1', NO_USER),
    HostileRow('a user in no encoding', b'b\xffrt,x,4,1', NO_USER),
    HostileRow('no item', b'a,,4,1', NO_ITEM),
    HostileRow('an item in no encoding', b'a,\xc3,4,1', NO_ITEM),
    HostileRow('no rating', b'a,x,,1', NO_RATING),
    HostileRow('a rating in words', b'a,x,four,1', NO_RATING),
    HostileRow('a rating that is nan', b'a,x,nan,1', NO_RATING),
    HostileRow('an infinite rating', b'a,x,-inf,1', NO_RATING),
    HostileRow('a rating beyond float32', b'a,x,1e40,1', NO_RATING),
    HostileRow('a rating with a comma', b'a,x,"4,5",1', NO_RATING),
    HostileRow('the header again', HEADER, NO_RATING),
    HostileRow('a low rating', b'a,x,3.9,1', LOW),
    HostileRow('no time', b'a,x,4,', NO_TIME),
    HostileRow('a time in words', b'a,x,4,noon', NO_TIME),
    HostileRow('a time beyond 64 bits', b'a,x,4,99999999999999999999', NO_TIME),
    HostileRow('the 30th of February', b'a,x,4,2024-02-30', NO_TIME),
    HostileRow('the good row again', b'good,good,5,9', REPEATED),
    HostileRow('too few columns', b'a,x,4', NOT_PARSED),
    HostileRow('too many columns', b'a,x,4,1,5', NOT_PARSED),
    HostileRow('semicolons', b'a;x;4;1', NOT_PARSED),
    HostileRow('a comment', b'# exported by hand', NOT_PARSED),
    HostileRow('a quote that nothing closes', b'"a,x,4,1', NOT_PARSED),
    HostileRow('an empty line', b'', NOTHING),
)
