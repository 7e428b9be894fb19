import io

import pytest
from rich.table import Table

from pyg_mmgef.cli.console import PlainConsole, one_line, plain, printable

ORDINARY = (
    'Ä ñ e\u0301 漢字 한국어 ไทย',
    'سلام עברית \u200f(\u200e',
    '🙂‍↔️ 👩‍👩‍👧 🇩🇪 👍🏽',
    r'C:\x1b',
)
MARKUP = '[bold]x[/bold] [/y] :star: [link=https://example.com]z[/link]'


def on_a_terminal(*objects: object, width: int = 80) -> str:
    file = io.StringIO()
    console = PlainConsole(
        file=file, force_terminal=True, color_system='standard', width=width, legacy_windows=False
    )
    console.print(*objects, style='red')
    return file.getvalue()


def table(*rows: str) -> Table:
    shown = Table('header :star:', box=None, pad_edge=False)
    for row in rows:
        shown.add_row(row)
    return shown


@pytest.mark.parametrize(
    ('text', 'shown'),
    [
        ('a\x1b[31mb', r'a\x1b[31mb'),
        ('a\u202eb\u2066c\u2069', r'a\u202eb\u2066c\u2069'),
        ('\x9b\x07\x7f\x00', r'\x9b\x07\x7f\x00'),
        ('a\tb\r\nc\u2028d', r'a\tb\r\nc\u2028d'),
        ('\ud800 \udcff', r'\ud800 \udcff'),
    ],
)
def test_what_could_steer_a_terminal_is_visible(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert plain(text).plain == shown


@pytest.mark.parametrize('text', ORDINARY)
def test_ordinary_writing_stays(text: str) -> None:
    assert printable(text) == text


def test_nothing_is_markup() -> None:
    assert plain(MARKUP).plain == MARKUP
    assert on_a_terminal(MARKUP) == f'\x1b[31m{MARKUP}\x1b[0m\n'
    shown = on_a_terminal(table(MARKUP, '\x1b]0;title\x07'))
    assert 'header :star:' in shown
    assert MARKUP in shown
    assert r'\x1b]0;title\x07' in shown
    assert '\x1b]' not in shown


def test_whatever_is_printed_is_a_string() -> None:
    assert on_a_terminal(['\x1b', ':star:'], 1) == "\x1b[31m['\\x1b', ':star:'] 1\x1b[0m\n"


def test_a_line_is_not_wrapped() -> None:
    assert on_a_terminal('word ' * 40, width=20).count('\n') == 1


def test_tables_fit_a_terminal_but_not_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv('COLUMNS', raising=False)
    assert on_a_terminal(table('word ' * 40), width=50).count('\n') == 5
    file = io.StringIO()
    PlainConsole(file=file).print(table('word ' * 40))
    assert file.getvalue().count('\n') == 2


def test_messages_of_several_lines() -> None:
    assert one_line(ValueError('one\n  two\n\nthree ')) == 'one two three'
