"""The demonstration page in a real browser, which has no network but the server."""

import io
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from PIL import Image
from starlette.requests import Request
from starlette.responses import Response

from pyg_mmgef.catalog import Catalog
from pyg_mmgef.serving import Settings, make_app
from tests.serving.exports import make_export
from tests.serving.servers import free_port

BROWSER = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'chrome'))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason='needs Chromium')

OPTIONS = (
    *('--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'),
    *('--disable-background-networking', '--disable-component-update', '--disable-sync'),
    *('--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1', '--enable-logging=stderr'),
    *('--virtual-time-budget=10000', '--hide-scrollbars', '--dump-dom'),
)
HOSTILE = '<img src=x onerror="document.title=1">'
STEPS = """
const all = (path) => [...document.querySelectorAll(path)];
const until = (path) => new Promise((go) => {
  const timer = setInterval(() => { if (all(path).length) { clearInterval(timer); go(); } }, 20);
});
const found = {};
await until('#items .card');
found.popular = all('#items h3').map((one) => one.textContent);
all('#items .deeds button')[0].click();
await until('#advice .because');
found.because = all('#advice .because')[0].textContent;
found.pressed = all('#items .deeds button')[0].ariaPressed;
all('#items .deeds button')[1].click();
await until('#similar .card');
found.similar = document.querySelector('#similar-title').textContent;
document.querySelector('#text').value = 'rug';
document.querySelector('#search button').click();
await new Promise((go) => setTimeout(go, 500));
found.rugs = all('#items h3').map((one) => one.textContent);
document.querySelector('#liked button').click();
found.unpressed = document.querySelector('#liked-part').hidden;
found.overflow = document.documentElement.scrollWidth - innerWidth;
found.unnamed = all('button, input').filter(
  (one) => !(one.textContent || one.labels?.length || one.ariaLabel)).length;
found.broken = all('img').filter((one) => one.complete && !one.naturalWidth).length;
found.images = all('img').length;
found.without_alt = all('img').filter((one) => !one.alt).length;
document.body.replaceChildren(
  Object.assign(document.createElement('pre'),
    { id: 'found', textContent: JSON.stringify(found) }));
"""

PAGE = (
    (Path(__file__).parents[2] / 'pyg_mmgef' / 'serving' / 'page' / 'index.html')
    .read_text()
    .replace('</head>', '<script src="/steps.js" type="module"></script></head>')
)


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (2, 2, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((64, 64)).save(buffer, 'JPEG')
    return buffer.getvalue()


@pytest.fixture(scope='module')
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server whose page is also at /driven, with steps that a visitor takes."""
    folder = tmp_path_factory.mktemp('page')
    titles = [HOSTILE, *(f'{("Lamp", "Rug")[i % 2]} {i}' for i in range(1, 40))]
    catalog = Catalog([f'I{i}' for i in range(40)], titles=titles, fields={'price': [9.5] * 40})
    pictures = {row: picture(row) for row in range(30)}
    make_export(folder, num_items=40, catalog=catalog, pictures=pictures)
    app = make_app(Settings(folder))

    async def driven(request: Request) -> Response:
        return Response(PAGE, media_type='text/html')

    async def steps(request: Request) -> Response:
        return Response(STEPS, media_type='text/javascript')

    app.add_route('/driven', driven)
    app.add_route('/steps.js', steps)
    server = uvicorn.Server(uvicorn.Config(app, port=free_port(), log_level='error'))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f'http://127.0.0.1:{server.config.port}'
    server.should_exit = True
    thread.join()


def browse(address: str, folder: Path, width: int) -> tuple[str, str]:
    """Return the page as it is at last, and what the browser complains of."""
    assert BROWSER is not None
    done = subprocess.run(
        [BROWSER, *OPTIONS, f'--user-data-dir={folder}', f'--window-size={width},1500', address],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout, '\n'.join(line for line in done.stderr.splitlines() if 'CONSOLE' in line)


@pytest.mark.parametrize('width', [400, 1400])
def test_a_visit(address: str, tmp_path: Path, width: int) -> None:
    html, complaints = browse(f'{address}/driven', tmp_path, width)
    assert complaints == ''
    text = html.partition('<pre id="found">')[2].partition('</pre>')[0]
    found: dict[str, Any] = json.loads(text.replace('&lt;', '<').replace('&gt;', '>'))
    assert len(found['popular']) == 24
    assert HOSTILE in found['popular']  # As text: nothing of it ran, or was requested.
    assert found['because'].startswith('Because you liked ')
    assert found['pressed'] == 'true'
    assert found['similar'].startswith('Similar to ')
    assert found['rugs'] == [f'Rug {i}' for i in range(1, 40, 2)]
    assert found['unpressed'] is True
    assert found['overflow'] <= 0
    assert found['unnamed'] == found['broken'] == found['without_alt'] == 0
    assert found['images'] > 10


def test_the_api_page(address: str, tmp_path: Path) -> None:
    html, complaints = browse(f'{address}/docs', tmp_path, 1400)
    assert complaints == ''
    assert '/recommend/{user}' in html
