"""Whatever ids, titles, names and paths hold, it is shown as text: on the screen and on a page."""

import csv
import os
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from pyg_mmgef.cli.console import printable
from pyg_mmgef.datasets.tables._texts import strip_html
from tests.cli.command import command, environment, printed

MARKUP = ('[gold]x[/gold] :star:', '[/x]', '[link=https://example.com]y[/link]', '[')
STEERING = (
    '\x1b[31mred\x1b[0m',
    '\x1b]0;title\x07',
    '\u202eltr\u202c',
    'a\nb',
    '\x9b2J',
    'c\u2028d',
)
HTML = (
    *('<script>alert(1)</script>', '"><img src=x onerror=alert(1)>', "' onmouseover='alert(1)"),
    *('javascript:alert(1)', '</style><script>1</script>', '{{ 7 * 7 }}', '&lt;b&gt;', '<!-- x'),
)
HOSTILE = (*MARKUP, *STEERING, *HTML)
NUM_USERS, NUM_ITEMS = 30, 40
NAME = '[x] :star: \x1b[31m\u202e<b>'
USER, ITEM, TITLE, PHOTO = (f'{word}{NAME}' for word in ('user', 'item', 'title', 'photo'))


def names(kind: str, number: int) -> list[str]:
    return [HOSTILE[row] if row < len(HOSTILE) else f'{kind}{row}' for row in range(number)]


def write_tables(folder: Path) -> None:
    rng = np.random.default_rng(0)
    photos = folder / '[' / NAME
    photos.mkdir(parents=True)
    items = names('i', NUM_ITEMS)
    with open(folder / 'items.csv', 'w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow([ITEM, TITLE, PHOTO])
        for row, item in enumerate(items):
            photo = f'{NAME.replace("<", "[/")}{row}.png'
            (photos / photo).parent.mkdir(exist_ok=True)
            if row < 5:
                (photos / photo).write_bytes(b'not a picture')
            writer.writerow([item, f'{HOSTILE[-1 - row % len(HOSTILE)]} word', photo])
    with open(folder / 'orders.csv', 'w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow([USER, ITEM])
        for user in names('u', NUM_USERS):
            for item in rng.choice(NUM_ITEMS, 10, replace=False):
                writer.writerow([user, items[item]])


class Shop(NamedTuple):
    """A dataset and a run, and what was printed when they were made."""

    folder: Path
    dataset: Path
    run: Path
    lines: str


@pytest.fixture(scope='module')
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder = tmp_path_factory.mktemp('hostile')
    write_tables(folder)
    dataset, run = folder / f'dataset {NAME}', folder / f'run {NAME}'
    columns = ('--user', USER, '--item', ITEM, '--text', TITLE, '--image', PHOTO)
    prepared = printed(
        *('prepare', folder / 'orders.csv', '-o', dataset, '--items', folder / 'items.csv'),
        *(*columns, '--image-folder', folder / '[' / NAME),
        columns=None,
    )
    assert prepared.code == 0, prepared.err
    options = ('--model', 'mmgef', '--epochs', 1, '--neighbors', 5)
    trained = printed('train', dataset, '-o', run, *options, columns=None)
    assert trained.code == 0, trained.err
    return Shop(folder, dataset, run, ''.join([*prepared[1:], *trained[1:]]))


def is_text(shown: str) -> bool:
    """Return whether there is nothing but printable characters and line feeds."""
    return all(printable(line) == line for line in shown.split('\n'))


def show(*arguments: object) -> str:
    code, out, err = printed(*arguments, columns=None)
    assert code == 0, err
    assert is_text(out + err)
    return out


def test_prepare_and_train(shop: Shop) -> None:
    assert is_text(shop.lines)
    for path in (shop.dataset, shop.run):
        assert printable(path.name) in shop.lines
    for item in HOSTILE[:5]:
        assert f'image of item {printable(item)}: not a picture' in shop.lines
    assert re.search(r'pictures that cannot be read +5 ', shop.lines)
    assert 'Warning' not in shop.lines


def test_a_dry_run_and_the_command_to_type(shop: Shop) -> None:
    words = (
        'prepare',
        shop.folder / 'orders.csv',
        '--items',
        shop.folder / 'items.csv',
        '-o',
        NAME,
    )
    shown = show(*words, '--user', USER, '--item', ITEM, '--text', TITLE, '--dry-run')
    assert f'{printable(TITLE)} ' in shown
    code, out, err = printed(*words, columns=None)
    assert code == 1
    assert is_text(out + err)
    assert f"{printable(NAME)}' " in err
    assert '--user USER_COLUMN' in err


def test_info_and_evaluate(shop: Shop) -> None:
    assert printable(str(shop.dataset)) in show('info', shop.dataset).split('\n')
    assert printable(str(shop.run)) in show('info', shop.run).split('\n')
    assert 'recall@10' in show('evaluate', shop.run)


def test_recommend_and_similar(shop: Shop) -> None:
    wanted = [word for user in HOSTILE for word in ('--user', user)]
    shown = show('recommend', shop.run, *wanted, '--k', 25)
    assert shown.count('\n') == 1 + 25 * len(HOSTILE)
    for name in HOSTILE:
        assert re.search(rf'^{re.escape(printable(name))} +1 ', shown, re.MULTILINE)
        assert re.search(rf' {re.escape(printable(name))} +\S+ ', shown)
        title = ' '.join(strip_html(f'{name} word').split())  # As it is read.
        assert printable(title) in shown
        similar = show('similar', shop.run, name, '--k', 3)
        assert similar.count('\n') == 4
    path = shop.folder / f'{NAME}.csv'
    assert f'40 rows in {printable(str(path))}\n' == show(
        'recommend', shop.run, *wanted[:8], '-o', path
    )
    with open(path, newline='') as file:
        assert {row['user'] for row in csv.DictReader(file)} == set(HOSTILE[:4])


@pytest.mark.parametrize(
    ('arguments', 'code'),
    [
        (('recommend', 'RUN', '--user', NAME), 1),
        (('similar', 'RUN', NAME), 1),
        (('recommend', 'RUN', '-o', NAME), 1),
        (('info', NAME), 1),
        (('evaluate', NAME), 1),
        (('evaluate', 'RUN', '--dataset', NAME), 1),
        (('prepare', NAME, '-o', 'x'), 1),
        (('prepare', 'ORDERS', '-o', 'x', '--user', NAME), 1),
        (('prepare', 'ORDERS', '-o', 'RUN', '--user', USER, '--item', ITEM), 1),
        (('prepare', 'ORDERS', '-o', 'x', '--image-encoder', NAME), 1),
        (('train', 'DATASET', '-o', 'DATASET'), 1),
        (('train', 'DATASET', '-o', 'RUN', '--model', 'lightgcn', '--epochs', '1'), 1),
        (('train', 'DATASET', '-o', 'x', '--model', NAME), 1),
        (('train', 'DATASET', '-o', 'x', '--modality', NAME), 1),
        (('train', 'DATASET', '-o', 'x', '--device', NAME), 1),
        ((NAME,), 2),
        (('info', 'RUN', NAME), 2),
        (('info', f'--{NAME}'), 2),
        (('train', 'DATASET'), 2),
        (('train', 'DATASET', '-o', 'x', '--split', NAME), 2),
    ],
)
def test_mistakes(shop: Shop, arguments: tuple[str, ...], code: int) -> None:
    places = {'RUN': shop.run, 'DATASET': shop.dataset, 'ORDERS': shop.folder / 'orders.csv'}
    named = [places.get(word, word) for word in arguments]
    shown = printed(*named, cwd=shop.folder, columns=None)
    assert shown.code == code, shown.err
    assert shown.err.startswith('Error: ')
    assert shown.err.count('\n') == 1
    assert is_text(shown.out + shown.err)
    if NAME in arguments or 'RUN' in arguments:
        assert '[x] :star: \\x1b[31m\\u202e<b>' in shown.err
    assert not (shop.folder / 'x').exists()


def test_a_terminal(shop: Shop) -> None:
    """On a terminal there are colours, and nothing else but text."""
    pty = pytest.importorskip('pty')
    master, terminal = pty.openpty()
    with subprocess.Popen(
        command('info', shop.dataset),
        env={**environment(), 'TERM': 'xterm-256color'},
        stdout=terminal,
        stderr=terminal,
    ):
        os.close(terminal)
        shown = b''
        while block := read_terminal(master):
            shown += block
    os.close(master)
    text = shown.decode().replace('\r\n', '\n')
    assert '\x1b[1m' in text
    assert is_text(re.sub(r'\x1b\[[\d;]*m', '', text))
    assert printable(shop.dataset.name) in text


def read_terminal(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 2**16)
    except OSError:  # Its other end is closed.
        return b''


class Page(HTMLParser):
    """Collects the elements, attributes and isolated texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.isolated: set[str] = set()
        self.titles: set[str] = set()  # Each is shown alone: of the window, or beside the pointer.
        self.others: set[str] = set()
        self.open = ''
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or '') for name, value in attrs]
        self.open = tag

    def handle_endtag(self, tag: str) -> None:
        self.open = ''

    def handle_data(self, data: str) -> None:
        places = {'bdi': self.isolated, 'title': self.titles}
        places.get(self.open, self.others).add(data)


@pytest.fixture(scope='module')
def page(shop: Shop) -> Page:
    path = shop.folder / f'report {NAME}.html'
    show('report', shop.run, '-o', path, '--num-users', NUM_USERS, '--num-items', NUM_ITEMS)
    text = path.read_text()
    assert is_text(text)
    return Page(text)


def test_nothing_on_a_page_runs(page: Page) -> None:
    assert not page.tags & {'script', 'iframe', 'object', 'embed', 'form', 'base', 'use', 'animate'}
    ids = [value for name, value in page.attributes if name == 'id']
    assert all(re.fullmatch('[a-z]+', own) for own in ids)  # None is from data.
    for name, value in page.attributes:
        assert not name.startswith('on')
        if name in ('src', 'href', 'xlink:href', 'srcset'):
            assert value.startswith('data:') or value[1:] in ids
        if name == 'style':
            assert re.fullmatch(r'width: calc\(\(100% - 4\.5rem\) \* [\d.]+\)', value)
        assert 'javascript:' not in value or name in ('alt', 'title')
    assert ('http-equiv', 'Content-Security-Policy') in page.attributes


def test_data_on_a_page_are_isolated_text(page: Page, shop: Shop) -> None:
    wanted = {printable(name) for name in (*HOSTILE, shop.run.name, shop.dataset.name)}
    assert wanted <= page.isolated
    long = [name for name in wanted if len(name) > 4]
    outside = {text for text in page.others for name in long if name in text}
    assert outside == set()
    assert f'{printable(shop.dataset.name)} - pyg_mmgef' in page.titles
