"""The report in a real browser, which has no network."""

import shutil
import subprocess
from html import escape
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.command import pyg_mmgef

BROWSER = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'chrome'))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason='needs Chromium')

OPTIONS = (
    *('--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'),
    *('--disable-background-networking', '--disable-component-update', '--disable-sync'),
    *('--host-resolver-rules=MAP * ~NOTFOUND', '--enable-logging=stderr'),
    '--window-size=1200,3000',
)
# The number of pictures, and of those that could not be shown, becomes the title.
COUNT_PICTURES = """<script>onload = () => { const all = [...document.images];
document.title = all.length + ' ' + all.filter(image => !image.naturalWidth).length }</script>"""

FORBIDS_SCRIPTS = "default-src 'none'"


def title(html: str) -> str:
    return html.partition('<title dir="auto">')[2].partition('</title>')[0]


def browse(path: Path, *options: str) -> tuple[str, str]:
    """Return what a browser prints of a page, and what it complains of."""
    assert BROWSER is not None
    done = subprocess.run(
        [BROWSER, *OPTIONS, f'--user-data-dir={path}.browser', *options, path.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout, '\n'.join(line for line in done.stderr.splitlines() if 'CONSOLE' in line)


@pytest.fixture(scope='module')
def page(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('browser') / 'report.html'
    pyg_mmgef('report', trained, '-o', path)
    return path


def test_nothing_to_complain_of(page: Path, tmp_path: Path) -> None:
    screenshot = tmp_path / 'page.png'
    _, complaints = browse(page, f'--screenshot={screenshot}')
    assert complaints == ''
    colours = Image.open(screenshot).convert('RGB').getcolors(2**24)
    assert colours is not None
    assert len(colours) > 500  # Curves and pictures, not an empty page.


def test_all_pictures_are_shown(page: Path, tmp_path: Path) -> None:
    counting = tmp_path / 'counting.html'
    text = page.read_text()
    assert FORBIDS_SCRIPTS in text
    counting.write_text(
        text.replace(FORBIDS_SCRIPTS, "script-src 'unsafe-inline'") + COUNT_PICTURES
    )
    shown = title(browse(counting, '--dump-dom')[0]).split()
    assert int(shown[0]) > 10
    assert shown[1] == '0'


def test_a_script_on_the_page_would_not_run(page: Path, tmp_path: Path) -> None:
    counting = tmp_path / 'counting.html'
    counting.write_text(page.read_text() + COUNT_PICTURES)
    html, complaints = browse(counting, '--dump-dom')
    assert title(html) == 'shop - pyg_mmgef'
    assert 'Content Security Policy' in complaints


def test_a_page_with_errors_is_noticed(tmp_path: Path) -> None:
    broken = tmp_path / 'broken.html'
    broken.write_text('<img src="https://example.com/a.png"><script>undefinedFunction()</script>')
    _, complaints = browse(broken, f'--screenshot={tmp_path / "page.png"}')
    assert 'undefinedFunction' in complaints
    html, _ = browse(broken, '--dump-dom')
    broken.write_text(html + COUNT_PICTURES)
    assert '<title>1 1</title>' in browse(broken, '--dump-dom')[0]


def test_comparison_fits_a_phone(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / 'compare.html'
    pyg_mmgef('compare', trained, '-o', path)
    assert browse(path, '--dump-dom')[1] == ''
    measuring = tmp_path / 'measuring.html'
    measure = '<script>onload = () => { document.title = document.body.scrollWidth }</script>'
    text = path.read_text().replace(FORBIDS_SCRIPTS, "script-src 'unsafe-inline'")
    frame = f'<iframe srcdoc="{escape(text + measure)}" style="width: 400px"></iframe>'
    report = '<script>onload = () => { document.title = frames[0].document.title }</script>'
    measuring.write_text(f'<title dir="auto"></title>{frame}{report}')
    assert 300 < int(title(browse(measuring, '--dump-dom')[0])) <= 400
