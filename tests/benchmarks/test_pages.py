"""The pages of results read well on GitHub and in the documentation."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / 'docs'
PAGES = [*sorted((DOCS / 'results').glob('*.rst')), DOCS / 'best.rst']
# As GitHub renders a page, by the program `rest2html` of its `markup`.
GITHUB = {
    'file_insertion_enabled': False,
    'raw_enabled': False,
    'doctitle_xform': False,
    'report_level': 5,
}


def name_of(path: Path) -> str:
    return path.name


@pytest.mark.parametrize('path', PAGES, ids=name_of)
def test_no_metric_is_a_mail_address(path: Path) -> None:
    text = re.sub(r'``.*?``|^ +:alt:.*$', '', path.read_text(), flags=re.MULTILINE)
    assert re.findall(r'.*[^\\]@.*', text) == []


@pytest.mark.parametrize('path', PAGES, ids=name_of)
def test_no_sign_begins_a_list_within_a_cell(path: Path) -> None:
    assert re.findall(r'^ +(?:\* )?- [-+*] .*', path.read_text(), flags=re.MULTILINE) == []


@pytest.mark.parametrize('path', PAGES, ids=name_of)
def test_tables_are_narrow_and_come_after_the_answer(path: Path) -> None:
    text = path.read_text()
    for table in text.split('.. list-table::')[1:]:
        header = table.split('   * - ')[1]
        assert header.count('\n     -') <= 6, header  # Seven columns.
    assert '.. list-table::' in text
    before = text.partition('.. list-table::')[0]
    assert re.search(r'\.$', before, flags=re.MULTILINE)  # A sentence.


@pytest.mark.parametrize('path', PAGES, ids=name_of)
def test_github_shows_what_is_meant(path: Path) -> None:
    core = pytest.importorskip('docutils.core')
    html = core.publish_parts(path.read_text(), writer='html4', settings_overrides=GITHUB)['body']
    assert 'mailto:' not in html
    assert not re.search(r'<td[^>]*><ul', html)
    for role in (':doc:', ':func:', ':class:', ':ref:'):  # GitHub knows none of these.
        assert role not in html


@pytest.mark.parametrize('path', PAGES, ids=name_of)
def test_links_lead_to_files(path: Path) -> None:
    for target in re.findall(r'<([^<>]+\.(?:rst|md))>`__', path.read_text()):
        assert (path.parent / target).exists(), target


def test_cold_tables_say_by_which_rule() -> None:
    found = 0
    for path in PAGES[:-1]:
        sections = re.split(r'\n(?=.*\n-{4,}\n)', path.read_text())
        for section in sections:
            if section.startswith('A fifth of the items cold: cold'):
                found += 1
                assert section.index('older rule') < section.index('list-table'), path
                assert '../best.rst' in section
    assert found == 4
