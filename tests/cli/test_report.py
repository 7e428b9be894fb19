import re
from pathlib import Path

from tests.cli.command import pyg_mmgef
from tests.report.page import Page


def test_one_page_that_needs_nothing_else(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / 'pages' / 'first.html'
    pyg_mmgef('report', trained, '-o', path, '--num-users', 3, '--num-items', 2)
    text = path.read_text()
    Page(text).check_needs_nothing_else()
    assert not re.search(r'https?://|<script|@import', text)
    assert text.count('<div class="person">\n<h3>Person <bdi>u') == 3
    assert len(re.findall(r'<h3>Product <bdi>\w+ \w+ \w+ no \d+</bdi>', text)) == 2
    assert 'recall@20' in text
    assert 'Chosen by the same people (co_interacts)' in text
    assert re.search(r'\(coverage@20\)</span></th><td class="number">(1|0\.\d+)<', text)
    assert '<h3><bdi>By how popular the chosen product is</bdi></h3>' in text
    assert re.search(r'<th scope="row"><bdi>Seldom chosen</bdi></th>', text)
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
    title = r'<bdi class="title">'
    assert re.search(
        rf'{title}[a-z ]+ &lt;3 no 0</bdi>\s*<div class="fields"><bdi>About &amp; more</bdi></div>',
        text,
    )
    assert re.search(rf'{title}i03</bdi>\s*<div class="fields"><bdi>About', text)
    Page(text).check_needs_nothing_else()


def test_a_model_without_item_graphs(dataset: Path, tmp_path: Path) -> None:
    pyg_mmgef('train', dataset, '-o', tmp_path, '--epochs', 1, '--model', 'lightgcn')
    pyg_mmgef('report', tmp_path)
    text = (tmp_path / 'report.html').read_text()
    assert 'attention' not in text.partition('</style>')[2]
    assert 'Person' in text
    assert 'because of your taste in general.' in text
    assert 'because you chose' in text


def test_reasons_only_where_scores_have_them(dataset: Path, tmp_path: Path) -> None:
    for model in ('grcn', 'itemknn'):
        run = tmp_path / model
        epochs = ('--epochs', 1) if model == 'grcn' else ()
        pyg_mmgef('train', dataset, '-o', run, '--model', model, *epochs)
        pyg_mmgef('report', run)
    grcn, itemknn = ((tmp_path / m / 'report.html').read_text() for m in ('grcn', 'itemknn'))
    assert 'Because you chose</p>' not in grcn
    assert 'because you chose' not in grcn
    assert 'Because you chose</p>' in itemknn
    assert 'because you chose' in itemknn
    assert 'your taste in general' not in itemknn


def test_words_of_the_shop(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / 'page.html'
    pyg_mmgef('report', trained, '-o', path, '--title', 'Corner <shop>', '--verb', 'bought')
    text = path.read_text()
    assert '<bdi>Corner &lt;shop&gt;</bdi>' in text
    assert 'Because you bought</p>' in text
    assert 'because you chose' not in text
    error = pyg_mmgef('report', trained, '-o', path, '--category', 'colour', fails=1)
    assert error == (
        "Error: --category names the field 'colour', which the catalog lacks; it has ['title']\n"
    )
