import re
from html.parser import HTMLParser
from pathlib import Path

from pyg_mmgef.cli.report import _headline
from tests.cli.command import pyg_mmgef


class Page(HTMLParser):
    """Collects what a page refers to and whether its tags close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.references += [value or '' for name, value in attrs if name in ('src', 'href')]
        if tag not in ('meta', 'link', 'img'):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_one_page_that_needs_nothing_else(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / 'pages' / 'first.html'
    pyg_mmgef('report', trained, '-o', path, '--num-users', 3, '--num-items', 2)
    text = path.read_text()
    page = Page(text)
    assert page.open == []
    assert all(reference.startswith('data:') for reference in page.references)
    assert not re.search(r'https?://|<script|@import', text)
    assert text.count('<h3>User <bdi>u') == 3
    assert text.count('<h3>Item <bdi>i') == 2
    assert 'recall@20' in text
    assert 'co_interacts' in text
    assert 'data:image/jpeg;base64,' in text
    assert list(path.parent.iterdir()) == [path]


def test_texts_are_escaped_and_kept_apart(catalogue: Path, tmp_path: Path) -> None:
    _, *rows = (catalogue / 'items.csv').read_text().splitlines()
    lines = [
        f'{row.replace(" no ", " <3 no ")},<p>About & <script>x</script>more</p>' for row in rows
    ]
    lines = [line.replace('i07', '<script>i07') for line in lines]
    lines[3] = f'i03,,{lines[3].split(",", 2)[2]}'
    (tmp_path / 'items.csv').write_text('\n'.join(['sku,title,photo,about', *lines]))
    orders = (catalogue / 'orders.csv').read_text().replace('i07', '<script>i07')
    (tmp_path / 'orders.csv').write_text(orders)
    columns = ('--items', 'items.csv', '--user', 'customer', '--item', 'sku')
    words = ('--text', 'title', '--text', 'about')
    pyg_mmgef('prepare', 'orders.csv', '-o', 'shop', *columns, *words, cwd=tmp_path)
    options = ('--model', 'mmgef', '--epochs', 1, '--neighbors', 5)
    pyg_mmgef('train', tmp_path / 'shop', '-o', tmp_path / 'run', *options)
    pyg_mmgef('report', tmp_path / 'run', '--num-items', 24)
    text = (tmp_path / 'run' / 'report.html').read_text()
    assert re.search(r'<bdi>\d+ % because [^<]+\.</bdi>', text)
    assert '&lt;script&gt;i07' in text
    assert '<script' not in text
    assert re.search(
        r'<bdi>[a-z ]+ &lt;3 no 0</bdi></b>\s*<div class="rest"><bdi>About &amp; more<', text
    )
    assert re.search(r'<b><bdi>i03</bdi></b>\s*<div class="rest"><bdi>About', text)
    assert Page(text).open == []


def test_a_model_without_item_graphs(dataset: Path, tmp_path: Path) -> None:
    pyg_mmgef('train', dataset, '-o', tmp_path, '--epochs', 1, '--model', 'lightgcn')
    pyg_mmgef('report', tmp_path)
    text = (tmp_path / 'report.html').read_text()
    assert 'Attention' not in text
    assert 'User' in text
    assert "one from the user's own parameters" in text
    assert '<ul class="why">' in text


def test_reasons_only_where_scores_have_them(dataset: Path, tmp_path: Path) -> None:
    for model in ('grcn', 'itemknn'):
        run = tmp_path / model
        epochs = ('--epochs', 1) if model == 'grcn' else ()
        pyg_mmgef('train', dataset, '-o', run, '--model', model, *epochs)
        pyg_mmgef('report', run)
    grcn, itemknn = ((tmp_path / m / 'report.html').read_text() for m in ('grcn', 'itemknn'))
    assert 'and their reasons' not in grcn
    assert 'and their reasons' in itemknn
    assert "one from the user's own parameters" not in itemknn


TEST_METRICS = {'recall@10': 0.1, 'recall@20': 0.2, 'ndcg@20': 0.5}


def test_the_headline_compares_with_the_best_of_the_others() -> None:
    others = {'Popularity': {'recall@20': 0.05}, 'EASE': {'recall@20': 0.168}}
    assert _headline(TEST_METRICS, others) == (
        'On average, 20 recommendations contain 20.0% of the items held out for a user; those of '
        'EASE, the best of the baselines Popularity, EASE, contain 16.8%.'
    )


def test_the_headline_of_a_run_without_baselines() -> None:
    assert _headline(TEST_METRICS, {}) == (
        'On average, 20 recommendations contain 20.0% of the items held out for a user.'
    )
