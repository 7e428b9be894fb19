import time

import pytest

from pyg_mmgef.datasets import InteractionTables
from pyg_mmgef.datasets.tables._texts import clean_texts, join_texts, strip_html
from pyg_mmgef.encoders import TitleEncoder

pa = pytest.importorskip('pyarrow')


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('oak table', 'oak table'),
        ('<p>oak<br/>table</p>', 'oak table'),
        ('<b>oak</b> &amp; ash&nbsp;table', 'oak & ash table'),
        ('<a href="/x?a=1&b=2" title="a > b">oak</a>', 'oak'),
        ('<p class="odd>oak</p>', 'oak'),
        ('<P STYLE="font: \'Arial\'">oak</P>', 'oak'),
        ('<!doctype html><!-- note > here -->oak', 'oak'),
        ('<script>if (a < b) alert("x")</script>oak<style>p > a {}</style>', 'oak'),
        ('<SCRIPT src="x">never closed', ''),
        ('4 < 5 > 3', '4 < 5 > 3'),
        ('a < b', 'a < b'),
        ('I <3 oak', 'I <3 oak'),
        ('oak <', 'oak <'),
        ('from <john@example.com>', 'from <john@example.com>'),
        ('salt&pepper, cut&copy, AT&T', 'salt&pepper, cut&copy, AT&T'),
        ('&#8364;5 &#x20AC;6 &euro;7 &unknown;', '€5 €6 €7 &unknown;'),
        ('&lt;p&gt;oak&lt;/p&gt; &amp;amp; ash', 'oak & ash'),
        ('2 &lt; 3', '2 < 3'),
        ('<p></p>', ''),
        ('', ''),
    ],
)
def test_html(text: str, expected: str) -> None:
    assert ' '.join(strip_html(text).split()) == expected


@pytest.mark.parametrize('part', ['<a "', '<', '<script', '<!--', '<a \'"', '&', '</', '<b x="'])
def test_html_takes_linear_time(part: str) -> None:
    start = time.process_time()
    strip_html(part * (400_000 // len(part)))
    assert time.process_time() - start < 2


def test_lists_are_one_text() -> None:
    cells = ['["a", ["<b>b</b> ", null]]', "['a', 'b']", '{"x": "a", "y": 2}', '[sale] a', '<i>']
    assert clean_texts([*cells, None, '[]']) == ['a b', 'a b', 'a 2', '[sale] a', None, None, None]


def test_joined_fields() -> None:
    fields = {'title': ['a', None, None], 'about': ['b', 'c', None]}
    assert join_texts(fields, 3) == ['a b', 'c', None]
    assert join_texts({}, 2) == [None, None]


MARKUP = (
    '<div class="product-description"><p><span style="font-family: Arial; color: #333333;">{}'
    '</span></p><ul><li><strong>Size&nbsp;&amp;&nbsp;fit</strong></li></ul></div>'
)
TEXTS = [
    'oak dining table',
    'cotton summer dress',
    'steel water bottle',
    'wooden oak table for dining',
    'dress of cotton for summer',
    'bottle of steel',
]


def test_markup_is_no_content() -> None:
    marked = [MARKUP.format(text) if row < 3 else text for row, text in enumerate(TEXTS)]
    items = pa.table({'item_id': range(6), 'Body (HTML)': marked})
    orders = pa.table({'user_id': [1] * 6, 'item_id': range(6)})
    dataset = InteractionTables(orders, items, text='Body (HTML)')
    assert dataset.item_texts[0] == 'oak dining table Size & fit'
    x, _ = TitleEncoder().encode_texts(dataset.item_texts)
    x = x / x.norm(dim=1, keepdim=True)
    assert x[0] @ x[3] > x[0] @ x[1]  # The markup alone makes the second 0.84.
    assert x[0] @ x[1] < 0.3


def test_columns_are_kept_apart() -> None:
    items = pa.table(
        {'item_id': ['b', 'a'], 'title': ['Lamp', None], 'about': ['<p>It shines</p>', 'Old']}
    )
    orders = pa.table({'user_id': [1, 1, 1], 'item_id': ['a', 'b', 'c']})
    dataset = InteractionTables(orders, items, text=('title', 'about'))
    assert dataset.item_fields == {
        'title': [None, 'Lamp', None],
        'about': ['Old', 'It shines', None],
    }
    assert list(dataset.item_fields) == ['title', 'about']
    assert dataset.item_texts == ['Old', 'Lamp It shines', None]
    assert InteractionTables(orders, items).item_fields == {}
