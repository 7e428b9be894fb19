import re
from datetime import date
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch_geometric.data import HeteroData

from pyg_mmgef import Run, fit
from pyg_mmgef.report import write_report
from tests.report.page import Page

SECTIONS = ('people', 'new', 'map', 'comparison', 'whom', 'groups', 'reach', 'similar', 'about')


@pytest.fixture(scope='module')
def text(run: Run, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp('pages') / 'new' / 'report.html'
    write_report(run, path, 3, 2, title='Corner shop', verb='bought')
    assert list(path.parent.iterdir()) == [path]
    return path.read_text()


@pytest.fixture(scope='module')
def page(text: str) -> Page:
    return Page(text)


def test_it_begins_with_shop_date_sentence_and_four_numbers(text: str, page: Page) -> None:
    today = date.today()
    assert f'{today.day} {today:%B %Y}' in text
    assert 'Corner shop' in page.text_in('bdi')
    (title,) = page.text_in('h1')
    assert re.match(r'20 recommendations find \d+\s%', title)
    assert text.count('class="big"') == 4
    assert 'best-sellers: ' in text


def test_sections_and_contents(page: Page) -> None:
    assert tuple(page.ids) == SECTIONS
    links = [link['href'] for link in page.having('a')]
    assert links == [f'#{name}' for name in SECTIONS]
    assert page.text_in('h2') == page.text_in('a')
    assert page.text_in('h2')[0] == 'Because you bought …'


def test_it_needs_nothing_else(text: str, page: Page) -> None:
    page.check_needs_nothing_else()
    assert not re.search(r'https?://|<script|@import|url\(', text)
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in text
    assert len(text) < 3_000_000


def test_it_can_be_read_aloud(page: Page) -> None:
    assert [element.tag for element in page.elements].count('main') == 1
    assert page.having('html') == [{'lang': 'en'}]
    assert all(picture['alt'] for picture in page.having('img'))
    assert all(
        picture.get('role') == 'img' or picture['aria-hidden'] == 'true'
        for picture in page.having('svg')
    )
    assert all('aria-label' in svg for svg in page.having('svg') if svg.get('role') == 'img')
    for element in page.elements:
        if element.tag == 'th':
            assert element.attributes['scope'] == ('col' if 'thead' in element.parents else 'row')
        if element.tag == 'td':
            assert 'thead' not in element.parents
    levels = [int(element.tag[1]) for element in page.elements if re.match(r'h\d$', element.tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_products_have_fields_that_stand_apart(text: str) -> None:
    assert re.search(
        r'<bdi class="title">Lamp no \d+</bdi>\s*<div class="fields"><bdi>Lamps</bdi>'
        r'<bdi>price \d\d\.50</bdi></div>\s*<div class="small"><bdi>i\d+<',
        text,
    )
    assert 'of our own making' not in text


def test_reasons_in_words(text: str) -> None:
    assert text.count('Because you bought</p>') >= 3
    assert re.search(r'<li><bdi>\d+ % because you bought &#39;\w+ no \d+&#39;\.</bdi></li>', text)
    assert 'chose &#39;' not in text


def test_no_names_of_the_schema_without_words(page: Page) -> None:
    shown = ' '.join(data for _, data in page.texts)
    for name in ('co_interacts', 'similar_image', 'similar_text'):
        assert all(before.endswith('(') for before in shown.split(name)[:-1])


def test_equal_calls_write_equal_pages(run: Run, text: str, tmp_path: Path) -> None:
    write_report(run, tmp_path / 'again.html', 3, 2, title='Corner shop', verb='bought')
    assert (tmp_path / 'again.html').read_text() == text


def test_numbers_of_people_and_products(run: Run, tmp_path: Path) -> None:
    write_report(run, tmp_path / 'none.html', 0, 0)
    assert Page((tmp_path / 'none.html').read_text()).ids[0] == 'new'
    with pytest.raises(ValueError, match="'num_users' must be finite and not negative"):
        write_report(run, tmp_path / 'x.html', num_users=-1)
    with pytest.raises(ValueError, match="names the field 'colour'"):
        write_report(run, tmp_path / 'x.html', category='colour')
    assert not (tmp_path / 'x.html').exists()


def large_run() -> Run:
    """A run of many items without titles or pictures, most of them never chosen."""
    generator = torch.Generator().manual_seed(0)
    data = HeteroData()
    data['user'].num_nodes, data['item'].num_nodes = 300, 30_000
    edges = torch.stack(
        [
            torch.arange(300).repeat_interleave(12),
            torch.randint(4000, (3600,), generator=generator),
        ]
    )
    data['user', 'interacts', 'item'].edge_index = edges.unique(dim=1)
    return fit(data, 'ials', embedding_dim=8, split='random')


def test_a_large_catalogue_stays_small_on_the_page(tmp_path: Path) -> None:
    path = tmp_path / 'large.html'
    write_report(large_run(), path, 2, 2)
    text = path.read_text()
    assert len(text) < 500_000
    assert '1,500 of ' in text
    assert text.count('class="dot') == 1500
    assert 'By category' not in text
    Page(text).check_needs_nothing_else()


def colours(scheme: str) -> dict[str, str]:
    """The colours of the light or the dark page, by name."""
    style = files('pyg_mmgef.report').joinpath('templates/style.css').read_text()
    light, dark = re.findall(r':root \{(.*?)\}', style, re.DOTALL)[:2]
    found = re.findall(r'--(\w+): (#[0-9a-f]{3,6})\b', light if scheme == 'light' else dark)
    return dict(found)


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else ''.join(2 * digit for digit in colour[1:])
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted(map(luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_colours_can_be_told_apart(scheme: str) -> None:
    found = colours(scheme)
    assert contrast('#000', '#ffffff') == pytest.approx(21)
    for ground in ('page', 'box'):
        for name in ('text', 'soft', 'accent', 'good', 'bad'):
            assert contrast(found[name], found[ground]) >= 4.5, (name, ground)
        for name in ('other', *(f'c{place}' for place in range(8))):
            assert contrast(found[name], found[ground]) >= 3, (name, ground)
