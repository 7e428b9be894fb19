"""The README: its code runs, its figures have a source, its links lead somewhere."""

import re
import shlex
import sys
import warnings
from pathlib import Path

import pytest
import torch

from tests.cli.command import pyg_mmgef
from tests.docs.pages import FIGURE
from tests.prepared import write_catalogue

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / 'benchmarks'))
TEXT = (ROOT / 'README.md').read_text(encoding='utf-8')
MADE = re.compile(r'<!-- \w+: made by [\w/.]+ -->\n.*?<!-- end -->', re.DOTALL)


def blocks(language: str) -> list[str]:
    return re.findall(rf'```{language}\n(.*?)```', TEXT, re.DOTALL)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of a reader, with the tables and pictures that the README names."""
    write_catalogue(tmp_path)
    (tmp_path / 'items.csv').rename(tmp_path / 'products.csv')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_commands_run_in_order(shop: Path) -> None:
    (block,) = (block for block in blocks('bash') if 'pyg-mmgef' in block)
    for line in block.splitlines():
        command, *words = shlex.split(line, comments=True)
        assert command == 'pyg-mmgef'
        pyg_mmgef(*words, cwd=shop)
    assert (shop / 'recommendations.csv').read_text().count('\n') > 100
    assert (shop / 'runs' / 'first' / 'report.html').exists()


def test_python_runs_in_order(shop: Path, capsys: pytest.CaptureFixture) -> None:
    names: dict[str, object] = {}
    warnings.filterwarnings('error', message='There exist node types')
    warnings.filterwarnings('ignore', message='1 of 24 pictures could not be read')
    for block in blocks('python'):
        exec(compile(block, 'README.md', 'exec'), names)
    assert 'because you chose' in capsys.readouterr().out
    out = names['out']
    assert isinstance(out, dict)
    assert isinstance(out['item'], torch.Tensor)
    assert out['item'].size(1) == 64


def test_make_has_the_targets() -> None:
    (block,) = (block for block in blocks('bash') if 'make demo' in block)
    targets = re.findall(r'^make (\w+)', block, re.MULTILINE)
    assert targets == ['demo', 'test']
    rules = (ROOT / 'Makefile').read_text()
    assert all(re.search(rf'^{target}:', rules, re.MULTILINE) for target in targets)


def test_what_is_made_is_up_to_date() -> None:
    pytest.importorskip('matplotlib')
    import readme

    assert readme.filled(TEXT) == TEXT


def test_every_other_figure_is_refused() -> None:
    assert FIGURE.search('it is 31 times faster, in 4.1 s, at .2342 or 5 %')
    hand_written = re.sub(r'```.*?```', '', MADE.sub('', TEXT), flags=re.DOTALL)
    assert [found[0] for found in FIGURE.finditer(hand_written)] == []


def test_links_lead_somewhere() -> None:
    targets = re.findall(r'\]\(([^)]+)\)', TEXT)
    local = [target.partition('#')[0] for target in targets if '://' not in target]
    assert len(local) > 10
    assert [target for target in local if not (ROOT / target).exists()] == []


def test_it_is_short() -> None:
    assert len(TEXT.splitlines()) <= 150
    assert len(TEXT.split()) <= 1300


@pytest.mark.parametrize('folder', ['benchmarks', 'examples'])
def test_folders_say_what_their_scripts_are(folder: str) -> None:
    text = (ROOT / folder / 'README.md').read_text(encoding='utf-8')
    named = set(re.findall(r'`(\w+\.py)`', text))
    assert named == {path.name for path in (ROOT / folder).glob('*.py')}
