"""What is installed: extras, hints, links, and what a base installation says."""

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from pyg_mmgef import cli

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / 'pyg_mmgef'
PROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text(encoding='utf-8'))['project']
EXTRAS: dict[str, list[str]] = PROJECT['optional-dependencies']
README = (ROOT / 'README.md').read_text(encoding='utf-8')
ADDRESS = 'https://code.example/team/pyg_mmgef'


def load_setup() -> ModuleType:
    spec = importlib.util.spec_from_file_location('pyg_mmgef_setup', ROOT / 'setup.py')
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def names(requirements: list[str]) -> set[str]:
    return {re.split(r'[\[<>=;~! ]', line)[0].lower() for line in requirements}


def test_every_hint_names_an_extra_for_users() -> None:
    hints = {
        (path.relative_to(PACKAGE).as_posix(), extra)
        for path in PACKAGE.rglob('*.py')
        for extra in re.findall(r'pyg-mmgef\[([^]]*)\]', path.read_text(encoding='utf-8'))
    }
    assert {extra for _, extra in hints} == {
        *('cli', 'clip', 'text', 'database', 'hub', 'serve', 'tune', 'onnx'),
    }
    assert {extra for _, extra in hints} <= set(EXTRAS)
    assert len(hints) > 8


@pytest.mark.parametrize('extra', ['cli', 'serve'])
def test_the_command_knows_its_packages(extra: str) -> None:
    packages = {'PIL': 'pillow', 'sklearn': 'scikit-learn'}
    found = {packages.get(name, name.replace('_', '-')) for name in cli.EXTRAS[extra]}
    only_faster = {'httptools', 'uvloop'}  # uvicorn goes without them.
    assert found == names(EXTRAS[extra]) - only_faster


def test_all_has_what_users_need_and_nothing_is_compiled() -> None:
    assert EXTRAS['all'] == ['pyg-mmgef[cli,clip,text,database,hub,serve,tune]']
    assert names(EXTRAS['sparse']) == {'torch-scatter', 'torch-sparse'}


def shop(folder: Path) -> None:
    from pyg_mmgef.datasets import SyntheticShop

    SyntheticShop(folder, num_users=3, num_items=4)


def pixels(folder: Path) -> None:
    from pyg_mmgef.encoders import PixelEncoder

    PixelEncoder().encode_images([folder / 'none.png'])


def titles(folder: Path) -> None:
    from pyg_mmgef.encoders import TitleEncoder

    TitleEncoder().encode_texts(['red'])


def clip(folder: Path) -> None:
    from pyg_mmgef.encoders import OpenCLIPEncoder

    OpenCLIPEncoder('ViT-B-32', 'none')


def sentences(folder: Path) -> None:
    from pyg_mmgef.encoders import SentenceTransformerEncoder

    SentenceTransformerEncoder(folder)


def tables(folder: Path) -> None:
    from pyg_mmgef.datasets import InteractionTables

    (folder / 'orders.csv').write_text('user_id,item_id\nu,i\n')
    InteractionTables(folder / 'orders.csv')


def sqlite(folder: Path) -> None:
    from pyg_mmgef.tables.database import read_database

    (folder / 'shop.db').touch()
    read_database(str(folder / 'shop.db'), 'SELECT 1')


def postgresql(folder: Path) -> None:
    from pyg_mmgef.tables.database import read_database

    read_database('postgresql://host/shop', 'SELECT 1')


def written(folder: Path) -> None:
    from pyg_mmgef.runs import ItemTable

    ItemTable({'user': [1]}).write(folder / 'out.parquet')


@pytest.mark.parametrize(
    ('package', 'use', 'extra'),
    [
        ('PIL', shop, 'cli'),
        ('PIL', pixels, 'cli'),
        ('sklearn', titles, 'cli'),
        ('duckdb', tables, 'cli'),
        ('pyarrow', written, 'cli'),
        ('open_clip', clip, 'clip'),
        ('sentence_transformers', sentences, 'text'),
        ('adbc_driver_sqlite', sqlite, 'database'),
        ('adbc_driver_postgresql', postgresql, 'database'),
    ],
)
def test_a_missing_package_is_named_with_its_extra(
    package: str,
    use: Callable[[Path], None],
    extra: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    for module in [name for name in sys.modules if name.split('.')[0] == package]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf'pip install "pyg-mmgef\[{extra}\]"') as error:
        use(tmp_path)
    assert '\n' not in str(error.value)


def test_importing_is_light() -> None:
    """The package itself imports nothing; its parts import no optional package but those of PyG."""
    script = (
        'import sys\n'
        'before = set(sys.modules)\n'
        'import pyg_mmgef\n'
        "new = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "assert not (new - {'pyg_mmgef'} - set(sys.stdlib_module_names)), new\n"
        'import torch_geometric\n'
        'before = set(sys.modules)\n'
        'import pyg_mmgef.nn, pyg_mmgef.transforms, pyg_mmgef.ranking, pyg_mmgef.loader\n'
        'import pyg_mmgef.datasets, pyg_mmgef.encoders, pyg_mmgef.runs, pyg_mmgef.presets\n'
        "new = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        f'assert not new & {OPTIONAL!r}, new & {OPTIONAL!r}\n'
    )
    done = subprocess.run([sys.executable, '-c', script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


OPTIONAL = {
    *(name for modules in cli.EXTRAS.values() for name in modules),
    'open_clip',
    'sentence_transformers',
    'transformers',
    'torchvision',
    'torch_sparse',
    'torch_scatter',
    'faiss',
    'adbc_driver_manager',
}
"""What is imported only where it is used."""


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('[a](docs/a.rst)', f'[a]({ADDRESS}/blob/HEAD/docs/a.rst)'),
        ('[a](docs/a.rst#part)', f'[a]({ADDRESS}/blob/HEAD/docs/a.rst#part)'),
        ('![a b](docs/a.png)', f'![a b]({ADDRESS}/raw/HEAD/docs/a.png)'),
        ('[![a](a.svg)](b.md)', f'[![a]({ADDRESS}/raw/HEAD/a.svg)]({ADDRESS}/blob/HEAD/b.md)'),
        ('<a href="b.md">b</a>', f'<a href="{ADDRESS}/blob/HEAD/b.md">b</a>'),
        ('<img width="9" src="c.svg">', f'<img width="9" src="{ADDRESS}/raw/HEAD/c.svg">'),
        *(
            (text, text)
            for text in (
                '[a](https://pyg.org)',
                '[a](mailto:a@code.example)',
                '[a](#part)',
                'the call `models[0](data)`',
                '```python\ngraphs[0](train)\n```',
                '    ```\n',
            )
        ),
    ],
)
def test_relative_links_become_absolute(text: str, expected: str) -> None:
    assert load_setup().absolute_links(text, ADDRESS) == expected
    assert load_setup().absolute_links(text, '') == text


def test_the_long_description_has_no_relative_link() -> None:
    setup = load_setup()
    text = setup.absolute_links(README, ADDRESS)
    relative = [found['path'] for found in setup.CODE_OR_LINK.finditer(text) if found['path']]
    assert relative == []
    assert text.count(f'{ADDRESS}/') > 5
    given = [found['path'] for found in setup.CODE_OR_LINK.finditer(README) if found['path']]
    for path in given:
        assert (ROOT / path.partition('#')[0]).exists(), f'README.md links to {path}'


def test_links_of_the_metadata_need_an_address() -> None:
    setup = load_setup()
    assert setup.project_urls('') == {}
    assert setup.project_urls(ADDRESS)['Source'] == ADDRESS
    assert all(url.startswith(ADDRESS) for url in setup.project_urls(ADDRESS).values())


def test_the_build_says_in_one_line_what_was_not_compiled() -> None:
    """Every extension is tried, and one line names those that have no working compiler."""
    setup = load_setup()
    from setuptools import Distribution

    command = setup.BuildWithWhatThereIs(Distribution())
    command.extensions = [setup.extension(name) for name in setup.NAMES]
    said: list[str] = []
    command.warn = said.append

    class NoCompiler:
        compiler_type = 'unix'

    command.compiler = NoCompiler()
    command.check_extensions_list = lambda extensions: None
    command.get_ext_fullpath = broken
    command.build_extensions()
    (line,) = said
    assert line.count('\n') == 0
    for name in setup.NAMES:
        assert f'pyg_mmgef.{name}' in line
    assert line.endswith('not compiled, torch does their work several times slower: no compiler')


def broken(*arguments: Any) -> str:
    raise OSError('no compiler')


WORKFLOWS = sorted((ROOT / '.github' / 'workflows').glob('*.yml'))


@pytest.mark.parametrize('path', WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_call_targets_that_exist(path: Path) -> None:
    targets = set(re.findall(r'^([a-z-]+):', (ROOT / 'Makefile').read_text(), re.MULTILINE))
    workflow = yaml.safe_load(path.read_text(encoding='utf-8'))
    steps = [step for job in workflow['jobs'].values() for step in job.get('steps', ())]
    called = [
        target for step in steps for target in re.findall(r'\bmake ([a-z-]+)', step.get('run', ''))
    ]
    assert set(called) <= targets
    assert called or path.stem == 'release'
    assert workflow['permissions'], 'say what the jobs may do'


def test_workflows_are_there() -> None:
    assert [path.stem for path in WORKFLOWS] == ['docs', 'lint', 'release', 'test', 'wheels']


def test_the_image_has_what_serving_needs(tmp_path: Path) -> None:
    text = (ROOT / 'docker' / 'Dockerfile').read_text(encoding='utf-8')
    copied = re.findall(r'^COPY (?!--from)(.+) \S+$', text, re.MULTILINE)
    assert all((ROOT / name).exists() for line in copied for name in line.split())
    (script,) = re.findall(r'^RUN python -c "(.+?)" > requirements\.txt$', text, re.M | re.DOTALL)
    assert 'tomllib' in script
    script = script.replace('\\\n', '').replace('tomllib', tomllib.__name__)
    done = subprocess.run(
        [sys.executable, '-c', script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert names(done.stdout.splitlines()) == {'numpy', 'psutil', *names(EXTRAS['serve'])}
    assert 'USER server' in text.partition('ENTRYPOINT')[0]


def test_citation() -> None:
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text(encoding='utf-8'))
    assert citation['authors'] == [{'name': 'The pyg_mmgef team'}]
    assert 'version' not in citation  # It is set in pyg_mmgef/__init__.py.
    (paper,) = citation['references']
    assert paper['identifiers'] == [{'type': 'other', 'value': 'arXiv:2308.07222'}]
