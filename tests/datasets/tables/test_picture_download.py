import io
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from PIL import Image

from pyg_mmgef.datasets import InteractionTables
from pyg_mmgef.datasets.tables import _picture_download as module
from pyg_mmgef.datasets.tables._picture_download import (
    FAILURES,
    download_pictures,
    file_of_address,
)

pa = pytest.importorskip('pyarrow')


def _png(colour: str) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((48, 48), 60).convert('RGB').save(file, 'PNG')
    return file.getvalue() + colour.encode()


PICTURE = _png('red')


class _Pictures(BaseHTTPRequestHandler):
    asked: ClassVar[Counter[str]] = Counter()
    agents: ClassVar[set[str]] = set()

    def do_GET(self) -> None:
        self.asked[self.path] += 1
        self.agents.add(self.headers['User-Agent'])
        if self.path.startswith('/loop'):
            self._send(302, b'', Location=f'/loop{self.asked.total()}')
        elif self.path == '/moved':
            self._send(301, b'', Location='/good/1.png')
        elif self.path == '/file':
            self._send(302, b'', Location='file:///etc/hosts')
        elif self.path == '/page':
            self._send(200, b'<!doctype html><html>nothing here</html>')
        elif self.path == '/half':
            self._send(200, PICTURE[: len(PICTURE) // 2])
        elif self.path == '/broken':
            self._send(200, PICTURE[:100], **{'Content-Length': str(len(PICTURE))})
        elif self.path == '/large':
            self._send(200, PICTURE, **{'Content-Length': str(2**40)})
        elif self.path == '/endless':
            self._drip(bytes(2**20), 0)
        elif self.path == '/drops':
            self._drip(b'x', 0.05)
        elif self.path == '/silent':
            time.sleep(3)
        elif self.path.startswith('/good/'):
            self._send(200, PICTURE)
        else:
            self._send(404, b'')

    def _send(self, code: int, content: bytes, **headers: str) -> None:
        self.send_response(code)
        for name, value in ({'Content-Length': str(len(content))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _drip(self, content: bytes, seconds: float) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            for _ in range(100):
                self.wfile.write(content)
                self.wfile.flush()
                time.sleep(seconds)
        except OSError:
            pass

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv('no_proxy', '*')
    monkeypatch.setattr(module, '_TIMEOUT', 1)
    monkeypatch.setattr(module, '_LONGEST', 1)
    monkeypatch.setattr(module, '_LARGEST', 2**20)
    _Pictures.asked.clear()
    server = ThreadingHTTPServer(('127.0.0.1', 0), _Pictures)
    thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.01})
    thread.start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()
    thread.join()
    server.server_close()


def test_downloads_once_and_goes_on(server: str, tmp_path: Path) -> None:
    addresses = [f'{server}/good/{n}.png' for n in range(6)]
    assert download_pictures([*addresses[:4], addresses[0]], tmp_path) == {}
    assert sorted(_Pictures.asked.values()) == [1, 1, 1, 1]
    assert download_pictures(addresses, tmp_path) == {}
    assert sorted(_Pictures.asked.values()) == [1] * 6
    names = {file_of_address(address) for address in addresses}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {PICTURE}
    assert all(name.endswith('.png') for name in names)
    assert all(agent.startswith('pyg_mmgef/') for agent in _Pictures.agents)


@pytest.mark.parametrize(
    ('path', 'reason'),
    [
        ('/nowhere.jpg', 'HTTP 404 Not Found'),
        ('/page', 'not a picture but a web page'),
        ('/half', 'damaged'),
        ('/broken', 'the connection broke off'),
        ('/large', 'more than 1 MiB'),
        ('/endless', 'more than 1 MiB'),
        ('/drops', 'not whole within 1 seconds'),
        ('/silent', 'no answer within 1 seconds'),
        ('/loop', 'a redirect without an end, or away from the web'),
        ('/file', 'a redirect without an end, or away from the web'),
    ],
)
def test_failures_have_a_reason(server: str, tmp_path: Path, path: str, reason: str) -> None:
    with pytest.warns(UserWarning, match=r'1 of 2 pictures could not be downloaded \(1 '):
        failed = download_pictures([server + path, f'{server}/good/1'], tmp_path)
    assert failed == {server + path: reason}
    files = {entry.name for entry in tmp_path.iterdir()}
    assert files == {FAILURES, file_of_address(f'{server}/good/1')}
    assert (tmp_path / FAILURES).read_text() == f'{server}{path}\t{reason}\n'


@pytest.mark.parametrize(
    ('address', 'reason'),
    [
        ('ftp://127.0.0.1/a.jpg', 'an address that is neither http nor https'),
        ('file:///etc/hosts', 'an address that is neither http nor https'),
        ('http://127.0.0.1:1/a.jpg', 'no connection'),
        ('http://[::1/a.jpg', 'not a valid address'),
        ('http://127.0.0.1:port/a.jpg', 'not a valid address'),
    ],
)
def test_addresses_that_lead_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, reason: str
) -> None:
    monkeypatch.setenv('no_proxy', '*')
    with pytest.warns(UserWarning, match='could not be downloaded'):
        assert download_pictures([address], tmp_path) == {address: reason}


def test_redirects_and_odd_characters(server: str, tmp_path: Path) -> None:
    addresses = [f'{server}/moved', f'{server}/good/ä b.png', f'{server}/good/a%20b.png?x=1&y=2#z']
    assert download_pictures(addresses, tmp_path) == {}
    assert '/good/%C3%A4%20b.png' in _Pictures.asked
    assert '/good/a%20b.png?x=1&y=2' in _Pictures.asked


def test_a_later_success_ends_the_list(server: str, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match='could not be downloaded'):
        download_pictures([f'{server}/half'], tmp_path)
    assert download_pictures([f'{server}/good/1'], tmp_path) == {}
    assert not (tmp_path / FAILURES).exists()


def test_a_full_disk_is_an_error(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(module, 'write_atomically', refuse)
    with pytest.raises(OSError, match='No space left'):
        download_pictures([f'{server}/good/1'], tmp_path)


def test_tables_with_addresses(server: str, tmp_path: Path) -> None:
    cells = [
        f'{server}/good/1.png|{server}/good/2.png',
        f'["{server}/nowhere", "{server}/good/3.png"]',
        f'{server}/good/1.png',
        None,
    ]
    orders = pa.table({'user_id': [1] * 4, 'item_id': range(4)})
    items = pa.table({'item_id': range(4), 'photo': cells})
    options: dict[str, Any] = {'image': 'photo', 'image_folder': tmp_path / 'new' / 'photos'}
    with pytest.warns(UserWarning, match='1 of 2 pictures could not be downloaded'):
        first = InteractionTables(orders, items, **options, download_images=True)
    assert [path is not None for path in first.item_images] == [True, False, True, False]
    assert first.item_images[0] == first.item_images[2]
    assert first.report['pictures not downloaded: HTTP 404 Not Found'] == 1
    assert set(_Pictures.asked) == {'/good/1.png', '/nowhere'}
    with pytest.warns(UserWarning, match='1 of 3 pictures could not be downloaded'):
        every = InteractionTables(orders, items, **options, images='mean', download_images=True)
    assert [len(paths) for paths in every.item_pictures] == [2, 1, 1, 0]
    with pytest.warns(UserWarning, match='1 picture addresses that are not downloaded'):
        offline = InteractionTables(orders, items, **options, images='mean')
    assert offline.item_pictures == every.item_pictures


def test_a_download_needs_a_folder(tmp_path: Path) -> None:
    orders = pa.table({'user_id': [1], 'item_id': [1]})
    items = pa.table({'item_id': [1], 'photo': ['http://x/a.jpg']})
    with pytest.raises(ValueError, match="'download_images' needs 'image'"):
        InteractionTables(orders, items, image='photo', download_images=True)
