import gzip
import json
import re
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData

from pyg_mmgef.datasets import IdMap, InteractionTables
from pyg_mmgef.datasets.tables._filters import in_k_core, is_kept_of_pair
from pyg_mmgef.tables import open_table
from pyg_mmgef.transforms import SplitInteractions

pa = pytest.importorskip('pyarrow')
csv = pytest.importorskip('pyarrow.csv')
parquet = pytest.importorskip('pyarrow.parquet')

ORDERS: dict[str, list[Any]] = {
    'user_id': ['bert', 'anna', 'bert', 'cleo'],
    'item_id': ['y', 'x', 'x', 'z'],
    'stars': [5.0, 3.5, 1.0, 4.0],
    'when': [40, 10, 30, 20],
}
# anna, bert, cleo and x, y, z by rank, in the order of the table.
EDGES = [[1, 1], [0, 0], [1, 0], [2, 2]]


def _edges(dataset: InteractionTables) -> list[list[int]]:
    return dataset[0]['user', 'interacts', 'item'].edge_index.t().tolist()


def _named_edges(dataset: InteractionTables) -> list[tuple[Any, Any]]:
    return [(dataset.user_ids[u], dataset.item_ids[i]) for u, i in _edges(dataset)]


def _dropped(dataset: InteractionTables) -> dict[str, int]:
    """The reasons that took rows; together with what is left they are all rows read."""
    reasons = {k: v for k, v in dataset.report.items() if k.startswith(('rows ', 'repeated user'))}
    read = reasons.pop('rows read')
    assert read == sum(reasons.values()) + dataset.report['interactions']
    return {reason: number for reason, number in reasons.items() if number}


def _write_parquet(path: Path) -> Any:
    parquet.write_table(pa.table(ORDERS), path / 'orders.parquet', row_group_size=2)
    return path / 'orders.parquet'


def _write_parquet_folder(path: Path) -> Any:
    (path / 'orders').mkdir()
    for start in (0, 2):
        part = pa.table(ORDERS).slice(start, 2)
        parquet.write_table(part, path / 'orders' / f'part-{start}.parquet')
    return path / 'orders'


def _write_csv(path: Path) -> Any:
    csv.write_csv(pa.table(ORDERS), path / 'orders.csv')
    return path / 'orders.csv'


def _write_gzipped_tsv(path: Path) -> Any:
    rows = zip(*ORDERS.values(), strict=True)
    lines = ['\t'.join(ORDERS), *('\t'.join(map(str, row)) for row in rows)]
    (path / 'orders.tsv.gz').write_bytes(gzip.compress('\r\n'.join(lines).encode('utf-8-sig')))
    return path / 'orders.tsv.gz'


def _write_json_lines(path: Path) -> Any:
    rows = zip(*ORDERS.values(), strict=True)
    lines = [json.dumps(dict(zip(ORDERS, row, strict=True))) for row in rows]
    (path / 'orders.jsonl.gz').write_bytes(gzip.compress('\n'.join(lines).encode()))
    return path / 'orders.jsonl.gz'


def _arrow_table(path: Path) -> Any:
    return pa.table(ORDERS)


def _categories(path: Path) -> Any:
    table = pa.table(ORDERS)
    distinct = pa.array(['unused', 'cleo', 'bert', 'anna'])
    users = pa.DictionaryArray.from_arrays(pa.array([2, 3, 2, 1]), distinct)
    return table.set_column(0, 'user_id', users)


def _frame(path: Path) -> Any:
    return pytest.importorskip('pandas').DataFrame(ORDERS)


class _Stream:
    """What Polars, DuckDB and others have in common."""

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return pa.table(ORDERS).__arrow_c_stream__(requested_schema)


def _stream(path: Path) -> Any:
    return _Stream()


SOURCES = [
    _stream,
    _write_parquet,
    _write_parquet_folder,
    _write_csv,
    _write_gzipped_tsv,
    _write_json_lines,
    _arrow_table,
    _categories,
    _frame,
]


@pytest.mark.parametrize('source', SOURCES)
def test_every_source_gives_the_same_graph(tmp_path: Path, source: Callable[[Path], Any]) -> None:
    dataset = InteractionTables(source(tmp_path), rating='stars', time='when')
    data = dataset[0]
    assert data.validate()
    assert _edges(dataset) == EDGES
    assert data['user'].id == list(dataset.user_ids) == ['anna', 'bert', 'cleo']
    assert data['item'].id == list(dataset.item_ids) == ['x', 'y', 'z']
    interacts = data['user', 'interacts', 'item']
    assert interacts.time.tolist() == [40, 10, 30, 20]
    assert interacts.rating.tolist() == [5.0, 3.5, 1.0, 4.0]
    assert (interacts.time.dtype, interacts.rating.dtype) == (torch.int64, torch.float32)
    assert _dropped(dataset) == {}
    assert dataset.report['rows read'] == 4
    assert repr(dataset) == 'InteractionTables(num_users=3, num_items=3, num_interactions=4)'


def test_the_order_of_rows_does_not_change_the_ids() -> None:
    shuffled = pa.table(ORDERS).take(pa.array([3, 1, 0, 2]))
    dataset = InteractionTables(shuffled)
    assert list(dataset.user_ids) == ['anna', 'bert', 'cleo']
    assert _edges(dataset) == [EDGES[row] for row in (3, 1, 0, 2)]


@pytest.mark.parametrize(
    ('ids', 'expected'),
    [
        ([10, 9, 10], [9, 10]),
        (['10', '9', '10'], [9, 10]),  # by value, not as text
        (['10', '9', 'b'], ['10', '9', 'b']),
        (['010', '9', '9'], ['010', '9']),  # no integer, which would be 10
        (['3.0', '3', ' 3 '], [3]),
        ([3.0, None, 4.0], [3, 4]),  # what pandas makes of integers with gaps
        ([2**63 - 1, 2**62, 2**62], ['4611686018427387904', '9223372036854775807']),
        (['é', 'z', 'Z'], ['Z', 'z', 'é']),
        ([-5, 2, -5], [-5, 2]),
        (pa.array(['b', 'a', 'b'], pa.string_view()), ['a', 'b']),
        (pa.array([b'b', b'a', b'b'], pa.large_binary()), ['a', 'b']),
    ],
)
def test_ids(ids: list[Any], expected: list[Any]) -> None:
    dataset = InteractionTables(pa.table({'user_id': ids, 'item_id': [1, 2, 3]}))
    assert list(dataset.user_ids) == expected


def test_ids_that_are_rows_are_not_kept() -> None:
    data = InteractionTables(pa.table({'user_id': [1, 0], 'item_id': ['0', '1']}))[0]
    assert 'id' not in data['user']
    assert 'id' not in data['item']


def test_ids_of_both_tables_meet_whatever_their_types(tmp_path: Path) -> None:
    (tmp_path / 'items.csv').write_text('item_id,title\n7,seven\n8,eight\n')
    orders = pa.table({'user_id': [1, 1], 'item_id': pa.array([8.0, 7.0])})
    dataset = InteractionTables(orders, tmp_path / 'items.csv', text='title')
    assert list(dataset.item_ids) == [7, 8]
    assert dataset.item_texts == ['seven', 'eight']


def test_many_batches() -> None:
    rng = np.random.default_rng(0)
    users, items = rng.integers(50, size=500), rng.integers(40, size=500)
    columns = {'user_id': [f'u{u}' for u in users], 'item_id': [f'i{i}' for i in items]}
    chunks = [pa.table(columns).slice(start, 7) for start in range(0, 500, 7)]
    dataset = InteractionTables(pa.concat_tables(chunks))
    found = {(u, i) for u, i in _named_edges(dataset)}
    assert found == set(zip(columns['user_id'], columns['item_id'], strict=True))
    assert list(dataset.user_ids) == sorted(set(columns['user_id']))


def test_rows_that_cannot_be_used_are_counted(tmp_path: Path) -> None:
    lines = [
        b'\xef\xbb\xbfuser_id,item_id,stars,when',
        b'anna,"x, the ""first""\r\none",4,1',
        b',x,4,2',
        b'  ,x,4,2',
        b'nan,x,4,2',
        b'bert,,4,2',
        b'b\xffrt,x,4,2',
        b'bert,x,nan,2',
        b'bert,x,good,2',
        b'bert,x,inf,2',
        b'bert,x,1e40,2',  # too large for float32
        b'bert,x,4,noon',
        b'bert,x,4,',
        b'bert,x,4',
        b'bert,x,4,2,5',
        b'',
        b'bert,x,4.5,2',
    ]
    (tmp_path / 'orders.csv').write_bytes(b'\r\n'.join(lines))
    dataset = InteractionTables(tmp_path / 'orders.csv', rating='stars', time='when')
    assert dataset.report['rows read'] == 15
    assert _dropped(dataset) == {
        'rows that could not be parsed': 2,
        'rows without a user id': 4,
        'rows without an item id': 1,
        'rows without a valid rating': 4,
        'rows without a valid time': 2,
    }
    # Every blank of an id but those around it is the id's.
    assert _named_edges(dataset) == [('anna', 'x, the "first"\r\none'), ('bert', 'x')]
    assert dataset[0]['user', 'interacts', 'item'].rating.tolist() == [4.0, 4.5]


def test_json_lines_that_cannot_be_used_are_counted(tmp_path: Path) -> None:
    lines = [
        b'\xef\xbb\xbf{"user_id": "a", "item_id": 5, "stars": 4}',
        b'{"user_id": null, "item_id": 5, "stars": 4}',
        b'{"item_id": 5, "stars": 4}',
        b'{"user_id": "a", "item_id": 6, "stars": NaN}',
        b'{"user_id": "a", "item_id": 7, "stars": "3"}',
        b'{"user_id": "a", "item_id"',
        b'[1, 2]',
        b'{"user_id": "\xff", "item_id": 5, "stars": 4}',
        b'',
    ]
    (tmp_path / 'orders.jsonl').write_bytes(b'\n'.join(lines))
    dataset = InteractionTables(tmp_path / 'orders.jsonl', rating='stars')
    assert _dropped(dataset) == {
        'rows that could not be parsed': 3,
        'rows without a user id': 2,
        'rows without a valid rating': 1,
    }
    assert _named_edges(dataset) == [('a', 5), ('a', 7)]


def test_a_stray_quote_counts_the_lines_that_it_took(tmp_path: Path) -> None:
    (tmp_path / 'orders.csv').write_text('user_id,item_id\n"a,1\nb,2\nc",3,4\nd,5\n')
    dataset = InteractionTables(tmp_path / 'orders.csv')
    assert _dropped(dataset) == {'rows that could not be parsed': 3}
    assert _named_edges(dataset) == [('d', 5)]


@pytest.mark.parametrize(
    ('times', 'expected'),
    [
        ([1_500_000_000, 1_500_000_000_000], [1_500_000_000, 1_500_000_000_000]),
        ([1.9, 2.0], [1, 2]),
        (['12', '13.7'], [12, 13]),
        (['1970-01-02', '1970-01-01T00:00:05'], [86400, 5]),
        (['1970-01-01 00:00:05.5', '1969-12-31T23:59:59.5Z'], [5, -1]),
        (['1970-01-01T01:00:00+01:00', '1970-01-01T00:00:07Z'], [0, 7]),
        (['1970-01-01 01:00:00 +0100', '1970-01-01 00:00:07 UTC'], [0, 7]),
        (['1970-01-01T00:00:00 -05:30', '1970-01-01 00:00:07+0000'], [19800, 7]),
        (pa.array([1500, 2500], pa.timestamp('ms')), [1, 2]),
        (pa.array([1, 2], pa.date32()), [86400, 172800]),
        (pa.array(['3', '4'], pa.large_string()), [3, 4]),
        (pa.array(['3', '4'], pa.string_view()), [3, 4]),
        (pa.array([2**61 + 1, 2**60 + 1], pa.uint64()), [2**61 + 1, 2**60 + 1]),
    ],
)
def test_times(times: Any, expected: list[int]) -> None:
    orders = pa.table({'user_id': [1, 2], 'item_id': [1, 2], 'when': times})
    data = InteractionTables(orders, time='when')[0]
    assert data['user', 'interacts', 'item'].time.tolist() == expected


@pytest.mark.parametrize(
    ('times', 'expected'),
    [
        (['1700000000000000001', 'nan'], [1700000000000000001]),  # no float holds that many digits
        ([1.5, None, float('nan'), 1e300], [1]),
        (pa.array([7, 2**64 - 1], pa.uint64()), [7]),
        (['2020-01-01', '', '31.12.2020', '99999999999999999999'], [1577836800]),
    ],
)
def test_times_that_are_none(times: Any, expected: list[int]) -> None:
    rows = list(range(len(times)))
    dataset = InteractionTables(
        pa.table({'user_id': rows, 'item_id': rows, 'when': times}), time='when'
    )
    assert dataset[0]['user', 'interacts', 'item'].time.tolist() == expected
    assert _dropped(dataset) == {'rows without a valid time': len(times) - 1}


@pytest.mark.parametrize(
    ('duplicates', 'expected'),
    [
        # Ratings and times of (a, x): rows 0, 1 and 3; rows 1 and 3 have the best rating.
        ('first', [0, 2]),
        ('last', [1, 2]),
        ('max', [2, 3]),
    ],
)
def test_repeated_pairs(duplicates: str, expected: list[int]) -> None:
    columns: dict[str, list[Any]] = {
        'user_id': ['a', 'a', 'b', 'a'],
        'item_id': ['x', 'x', 'x', 'x'],
        'stars': [2, 4, 5, 5],
        'when': [10, 30, 0, 20],
    }
    dataset = InteractionTables(
        pa.table(columns), rating='stars', time='when', duplicates=duplicates
    )
    times = dataset[0]['user', 'interacts', 'item'].time.tolist()
    assert times == [columns['when'][row] for row in expected]
    assert _dropped(dataset) == {'repeated user-item pairs': 2}


def test_repeated_pairs_without_times_keep_the_last_row() -> None:
    orders = pa.table({'user_id': [1, 1, 1], 'item_id': [1, 1, 1], 'stars': [3, 5, 4]})
    data = InteractionTables(orders, rating='stars')[0]
    assert data['user', 'interacts', 'item'].rating.tolist() == [4.0]


def test_min_rating_asks_the_rating_that_stays() -> None:
    orders = pa.table({'user_id': [1, 1, 2], 'item_id': [1, 1, 1], 'stars': [5, 2, 4]})
    dataset = InteractionTables(orders, rating='stars', min_rating=4)
    assert _named_edges(dataset) == [(2, 1)]
    assert list(dataset.user_ids) == [2]
    assert _dropped(dataset) == {'repeated user-item pairs': 1, 'rows below min_rating': 1}


def test_min_rating_is_compared_as_ratings_are_kept() -> None:
    orders = pa.table({'user_id': [1, 2], 'item_id': [1, 1], 'stars': [4.1, 4.0]})
    dataset = InteractionTables(orders, rating='stars', min_rating=np.float64(4.1))
    assert list(dataset.user_ids) == [1]


def test_splits_and_keeps_times_beside_their_edges() -> None:
    rng = np.random.default_rng(0)
    user, item = rng.integers(20, size=300), rng.integers(30, size=300)
    orders = pa.table({'user_id': user, 'item_id': item, 'when': user * 100 + item})
    train, val, test = SplitInteractions()(InteractionTables(orders, time='when')[0])
    interacts = train['user', 'interacts', 'item']
    user, item = interacts.edge_index
    assert torch.equal(interacts.time, user * 100 + item)
    assert val['user', 'interacts', 'item'].edge_label_index.size(1) > 0
    assert test['user', 'interacts', 'item'].edge_label_index.size(1) > 0


def test_kept_of_pair_against_a_dictionary() -> None:
    rng = np.random.default_rng(0)
    user, item = (rng.integers(6, size=200).astype(np.int32) for _ in range(2))
    time = rng.integers(10, size=200)
    for first in (False, True):
        best: dict[tuple[int, int], int] = {}
        for row in range(200):
            pair = (int(user[row]), int(item[row]))
            if pair not in best or (not first and time[row] >= time[best[pair]]):
                best[pair] = row
        kept = is_kept_of_pair(user, item, 6, (time,), first=first)
        assert np.flatnonzero(kept).tolist() == sorted(best.values())


def test_k_core_falls_apart_step_by_step() -> None:
    # Users 0 and 1 share items 0 and 1; user 2 hangs on to them by item 2, user 3 by user 2.
    user = np.array([0, 0, 1, 1, 2, 2, 3], np.int32)
    item = np.array([0, 1, 0, 1, 2, 1, 2], np.int32)
    assert in_k_core(user, item, 4, 3, 2).tolist() == [True] * 4 + [False] * 3
    assert in_k_core(user, item, 4, 3, 1).all()
    assert not in_k_core(user, item, 4, 3, 3).any()


def test_k_core_leaves_cold_items_alone() -> None:
    orders = pa.table({'user_id': [0, 0, 1, 1, 2], 'item_id': ['a', 'b', 'a', 'b', 'c']})
    items = pa.table({'item_id': ['c', 'cold', 'a']})
    dataset = InteractionTables(orders, items, k_core=2)
    assert list(dataset.item_ids) == ['a', 'b', 'cold']  # the core removed 'c'
    assert _dropped(dataset) == {'rows outside of the k-core': 1}
    assert dataset.report['items without interactions'] == 1
    warm = InteractionTables(orders, items, k_core=2, keep_cold=False)
    assert list(warm.item_ids) == ['a', 'b']


ITEMS = '''sku,title,about,photo
b, Red  lamp ,"It shines,
and ""more""",b.png
a,nan,,../secret.jpg
b,Another lamp,twice,other.png
,no id,,
cold,None,A cold one,/etc/hosts
d,x,y,z,too many
'''


def test_items_with_texts_and_pictures(tmp_path: Path) -> None:
    (tmp_path / 'secret.jpg').write_bytes(b'x')
    folder = tmp_path / 'shop'
    folder.mkdir()
    (folder / 'items.csv').write_text(ITEMS)
    for name in ('b.png', 'cold.jpg', 'cold.webp', 'notes.txt'):
        (folder / name).write_bytes(b'x')
    orders = pa.table({'user_id': [1, 1, 2], 'item_id': ['b', 'a', 'unknown']})
    dataset = InteractionTables(
        orders, folder / 'items.csv', item_id='sku', text=('title', 'about'), image='photo'
    )
    assert list(dataset.item_ids) == ['a', 'b', 'cold', 'unknown']
    assert dataset.item_texts == [None, 'Red lamp It shines, and "more"', 'A cold one', None]
    assert dataset.item_images == [None, folder / 'b.png', None, None]
    expected = {
        'item rows read': 6,
        'item rows that could not be parsed': 1,
        'item rows without an id': 1,
        'repeated item rows': 1,
        'items without interactions': 1,
        'items that the item table lacks': 1,
        'items without a text': 2,
        'items without a picture': 3,
        'picture names that lead outside of the folder': 2,
        'picture names without a file': 0,
    }
    assert dataset.report.items() >= expected.items()
    by_id = InteractionTables(orders, folder / 'items.csv', item_id='sku', image_folder=folder)
    assert by_id.item_images == [None, folder / 'b.png', folder / 'cold.jpg', None]


@pytest.mark.parametrize('name', ['..\\x.jpg', 'C:\\x.jpg', 'a/../../x.jpg', '\\\\host\\x', '/x'])
def test_names_that_lead_outside(tmp_path: Path, name: str) -> None:
    (tmp_path / 'y.jpg').write_bytes(b'x')
    items = pa.table({'item_id': [1, 2], 'photo': [name, 'y.jpg']})
    orders = pa.table({'user_id': [1], 'item_id': [1]})
    dataset = InteractionTables(orders, items, image='photo', image_folder=tmp_path)
    assert dataset.item_images == [None, tmp_path / 'y.jpg']
    assert dataset.report['picture names that lead outside of the folder'] == 1


def test_texts_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / 'items.csv').write_bytes('item_id,title\n1,Café\n'.encode('latin-1'))
    orders = pa.table({'user_id': [1], 'item_id': [1]})
    broken = InteractionTables(orders, tmp_path / 'items.csv', text='title')
    assert broken.item_texts == ['Caf\ufffd']
    assert broken.report['texts with invalid characters'] == 1
    items = open_table(tmp_path / 'items.csv', encoding='latin-1')
    right = InteractionTables(orders, items, text='title')
    assert right.item_texts == ['Café']
    assert right.report['texts with invalid characters'] == 0


def test_lists_of_texts(tmp_path: Path) -> None:
    (tmp_path / 'items.jsonl').write_text('{"item_id": 1, "words": ["a", ["b "], null]}\n')
    orders = pa.table({'user_id': [1], 'item_id': [1]})
    nested = pa.table({'item_id': [1], 'words': [['a', None, 'b']]})
    for items in (tmp_path / 'items.jsonl', nested):
        assert InteractionTables(orders, items, text='words').item_texts == ['a b']


def test_features() -> None:
    dataset = InteractionTables(pa.table(ORDERS))
    x = torch.tensor([[1.0, 2.0], [0.0, 0.0], [torch.nan, 4.0]])
    dataset.add_features('text', x, torch.tensor([True, False, False]))
    item = dataset[0]['item']
    assert item.x_text.tolist() == [[1, 2], [0, 0], [0, 0]]
    assert item.has_text.tolist() == [True, False, False]
    dataset.add_features('image', torch.tensor([[3.0], [1.0]]), ids=['z', 'elsewhere'])
    item = dataset[0]['item']
    assert item.x_image.tolist() == [[0], [0], [3]]
    assert item.has_image.tolist() == [False, False, True]
    for arguments, match in [
        (('text', x), r"'x' holds NaN or infinite values in 1 of 3 rows"),
        (('my text', x), "'modality' must be made of letters"),
        (('text', x[:2]), r"'x' must be floating point of shape \[3, channels\] \(got \[2, 2\]"),
        (('text', x, torch.ones(3)), r"'has' must be torch.bool of shape \[3\]"),
    ]:
        with pytest.raises(ValueError, match=match):
            dataset.add_features(*arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"none of the 1 'ids' .*'q'.* is an id of an item .*'x'"):
        dataset.add_features('text', x[:1], ids=['q'])


def test_saved_ids(tmp_path: Path) -> None:
    dataset = InteractionTables(pa.table(ORDERS))
    dataset.save_ids(tmp_path / 'ids')
    assert IdMap.load(tmp_path / 'ids' / 'user_ids.jsonl') == dataset.user_ids
    assert IdMap.load(tmp_path / 'ids' / 'item_ids.jsonl').to_ids(torch.tensor([2, 0])) == [
        'z',
        'x',
    ]
    assert sorted(p.name for p in (tmp_path / 'ids').iterdir()) == [
        'item_ids.jsonl',
        'user_ids.jsonl',
    ]


def test_transform_and_copies() -> None:
    def strip(data: HeteroData) -> HeteroData:
        data['user', 'interacts', 'item'].edge_index = torch.empty(2, 0, dtype=torch.int64)
        return data

    dataset = InteractionTables(pa.table(ORDERS), transform=strip)
    assert len(dataset) == 1
    assert _edges(dataset) == []
    assert dataset.get(0)['user', 'interacts', 'item'].edge_index.size(1) == 4


@pytest.mark.parametrize(
    ('arguments', 'match'),
    [
        (
            {'user': 'client'},
            r"'user' names the column 'client', .* columns \['user_id', 'item_id'",
        ),
        ({'min_rating': 3}, "'min_rating' needs ratings"),
        (
            {'event': 'stars', 'event_weights': {'buy': float('inf')}},
            r"'event_weights' must be finite \(got inf for 'buy'\)",
        ),
        ({'duplicates': 'max'}, "'duplicates' needs ratings"),
        ({'duplicates': 'best'}, "'duplicates' must be one of"),
        ({'k_core': -1}, "'k_core' must be a positive integer"),
        ({'text': 'title'}, "'text', 'fields' and 'image' are columns of 'items'"),
        (
            {'time': 'user_id'},
            r"is left: rows read: 4, .* valid time: 4; its first row has .* time 'bert'$",
        ),
        ({'k_core': 9}, r'no interaction .* is left: .*rows outside of the k-core: 4'),
        (
            {'items': {}},
            "'items' must be a path or a list of paths, an Arrow table or a data frame",
        ),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        InteractionTables(pa.table(ORDERS), **arguments)


@pytest.mark.parametrize(
    ('column', 'match'),
    [
        (pa.array([1.5, 2.0]), "column 'user_id' of the table 'interactions' holds the id .*1.5"),
        (pa.array([2.0**60, 2.0]), 'it has lost digits'),
        (pa.array([True, False]), 'holds BOOLEAN; ids must be strings or integers'),
        (pa.array([[1], [2]]), 'ids must be strings or integers'),
    ],
)
def test_columns_that_hold_no_ids(column: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        InteractionTables(pa.table({'user_id': column, 'item_id': [1, 2]}))


def test_columns_that_hold_no_numbers() -> None:
    date = pa.array([1, 2], pa.date32())
    orders = pa.table({'user_id': [1, 2], 'item_id': [1, 2], 'date': date, 'flag': [True, False]})
    with pytest.raises(ValueError, match=r"column 'date' .* holds DATE, not numbers"):
        InteractionTables(orders, rating='date')
    with pytest.raises(ValueError, match=r"column 'flag' .* holds BOOLEAN, not times"):
        InteractionTables(orders, time='flag')


@pytest.mark.parametrize(
    ('name', 'content', 'match'),
    [
        ('a.csv', b'', "'a.csv' .* can't be read"),
        ('a.csv', b'user_id,item_id\n', 'no interaction .* is left: rows read: 0'),
        ('a.csv', b'user_id/item_id\n1/2\n', "name the column separator with 'delimiter'"),
        ('a.csv', b'user_id,user_id,item_id\n1,1,2\n', 'of which there are 2'),
        ('a.csv', b'user_id,item_id,x,x\n1,2\n', 'no interaction .*could not be parsed: 1'),
        ('a.csv', b'user_id,item_id\n1,2\n1,"3\n4,5\n', 'ends inside of a quoted value'),
        ('a.csv.gz', b'user_id,item_id\n1,2\n', "'a.csv.gz' .* can't be read"),
        ('a.jsonl', b'[{"user_id": 1}]', r"'item_id', which does not exist .* \['user_id'\]$"),
        ('a.jsonl', b"{'user_id': 1}", 'none of the first lines is a JSON object'),
        ('a.parquet', b'user_id,item_id\n', "'a.parquet' .* can't be read"),
        ('a.xlsx', b'', "its kind is unknown .* with 'delimiter'"),
        ('a.xlsx', b'PK' + bytes(90), 'is no text file'),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, content: bytes, match: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=match):
        InteractionTables(tmp_path / name)


def test_a_quoted_value_may_end_the_file(tmp_path: Path) -> None:
    (tmp_path / 'a.csv').write_text('user_id,item_id,note\n1,2,"two\nlines"\n')
    assert _named_edges(InteractionTables(tmp_path / 'a.csv')) == [(1, 2)]


def test_missing_files(tmp_path: Path) -> None:
    (tmp_path / 'orders.csv').write_text('user_id,item_id\n1,2\n')
    with pytest.raises(FileNotFoundError, match=r"its folder holds \['orders.csv'\]"):
        InteractionTables(tmp_path / 'order.csv')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(FileNotFoundError, match='which holds no table'):
        InteractionTables(tmp_path / 'empty')
    with pytest.raises(FileNotFoundError, match="'image_folder' must be an existing folder"):
        InteractionTables(tmp_path / 'orders.csv', image_folder=tmp_path / 'nowhere')


def test_delimiter(tmp_path: Path) -> None:
    (tmp_path / 'u.data').write_text('user_id|item_id\n1|2\n')
    (tmp_path / 'u.item').write_text('item_id;title\n2;two, or 2\n')
    orders = open_table(tmp_path / 'u.data', delimiter='|')
    assert _named_edges(InteractionTables(orders)) == [(1, 2)]
    items = open_table(tmp_path / 'u.item', delimiter=';')
    assert InteractionTables(orders, items, text='title').item_texts == ['two, or 2']
    guessed = InteractionTables(tmp_path / 'u.data', tmp_path / 'u.item', text='title')
    assert guessed.item_texts == ['two, or 2']


def test_pandas_columns_of_mixed_kinds() -> None:
    pandas = pytest.importorskip('pandas')
    frame = pandas.DataFrame({'user_id': ['a', 7, None], 'item_id': [1, 2, 3]})
    dataset = InteractionTables(frame)
    assert _named_edges(dataset) == [('a', 1), ('7', 2)]
    assert _dropped(dataset) == {'rows without a user id': 1}


@pytest.mark.realdata
def test_movielens(realdata_root: Path) -> None:
    folder = realdata_root / 'ml100k_multimodal'
    dataset = InteractionTables(
        folder / 'ml-100k.inter',
        folder / 'item_text_poster.csv',
        rating='rating',
        time='timestamp',
        text=('title', 'genre', 'plot'),
        image='poster',
    )
    data = dataset[0]
    assert (data['user'].num_nodes, data['item'].num_nodes) == (943, 1682)
    interacts = data['user', 'interacts', 'item']
    assert interacts.edge_index.size(1) == 100000
    assert interacts.edge_index[:, 0].tolist() == [195, 241]
    assert (float(interacts.rating[0]), int(interacts.time[0])) == (3.0, 881250949)
    assert _dropped(dataset) == {}
    assert sum(path is not None for path in dataset.item_images) == 1445
    assert dataset.item_texts[0] is not None
    assert dataset.item_texts[0].startswith('Toy Story (1995) Animation, Adventure')
    recbole = InteractionTables(
        folder / 'ml-100k.inter',
        folder / 'ml-100k.item',
        text=('movie_title', 'release_year', 'class'),
        image_folder=folder / 'posters',
    )
    assert recbole.item_texts[0] == "Toy Story 1995 Animation Children's Comedy"
    assert recbole.item_images == dataset.item_images


@pytest.mark.parametrize('name', ['duckdb', 'pyarrow'])
def test_without_a_library(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / 'orders.csv').write_text('user_id,item_id\n1,2\n')
    monkeypatch.setitem(sys.modules, name, None)
    source = tmp_path / 'orders.csv' if name == 'duckdb' else data_frame(user_id=[1], item_id=[2])
    with pytest.raises(ImportError, match=rf'needs {name}; .* pip install "pyg-mmgef\[cli\]"'):
        InteractionTables(source)


def data_frame(**columns: Any) -> Any:
    return pytest.importorskip('pandas').DataFrame(columns)


@pytest.mark.parametrize('role', ['time', 'rating'])
def test_a_column_of_uuids_is_no_number(role: str) -> None:
    frame = data_frame(user_id=[1, 2], item_id=[1, 2])
    frame['odd'] = [uuid.UUID(int=1), uuid.UUID(int=2)]
    # An older pyarrow has no type for UUIDs, which are then texts.
    with pytest.raises(ValueError, match=r'holds UUID, not |rows without a valid (time|rating): 2'):
        InteractionTables(frame, **cast(Any, {role: 'odd'}))


def test_objects_that_arrow_does_not_know_are_read_as_text() -> None:
    frame = data_frame(user_id=[1j, 2j, 1j], item_id=[1, 2, 2])
    assert list(InteractionTables(frame).user_ids) == ['1j', '2j']


def test_one_column_for_both_ends_is_refused() -> None:
    frame = data_frame(user_id=[1, 2], item_id=[1, 2])
    with pytest.raises(ValueError, match="'user' and 'item' both name the column 'item_id'"):
        InteractionTables(frame, user='item_id', item='item_id')


def test_features_by_ids_in_an_array() -> None:
    frame = data_frame(user_id=[1, 2], item_id=[7, 9])
    dataset = InteractionTables(frame)
    dataset.add_features('image', torch.tensor([[1.0], [2.0]]), ids=np.array([9, 7]))
    assert dataset[0]['item'].x_image.tolist() == [[2.0], [1.0]]


def test_notes_show_what_could_not_be_read(tmp_path: Path) -> None:
    (tmp_path / 'orders.csv').write_text('user_id,item_id\na,x\nb\n')
    (tmp_path / 'items.csv').write_bytes(b'item_id,title\nx,Caf\xe9\ny,"a \\"real\\" one"\n')
    dataset = InteractionTables(tmp_path / 'orders.csv', tmp_path / 'items.csv', text='title')
    of_orders, of_items, of_texts = dataset.notes
    assert re.fullmatch(
        r"rows of 'orders.csv' .* could not be parsed \(1\), such as 'b'", of_orders
    )
    assert of_items.endswith(r"if backslashes stand before quotes within quotes, pass 'escape' '\'")
    assert "name the right one with 'encoding'" in of_texts


def test_notes_show_a_line_that_is_no_json(tmp_path: Path) -> None:
    (tmp_path / 'a.jsonl').write_text('{"user_id": 1, "item_id": 2}\noops\n')
    assert "such as 'oops'" in InteractionTables(tmp_path / 'a.jsonl').notes[0]


@pytest.mark.parametrize(('duplicates', 'kept'), [(None, [5.0]), ('last', [1.0])])
def test_a_later_view_does_not_take_the_place_of_a_purchase(
    duplicates: str | None, kept: list[float]
) -> None:
    rows = {'user_id': [1, 1], 'item_id': [1, 1], 'event': ['buy', 'view'], 'when': [1, 2]}
    dataset = InteractionTables(
        pa.table(rows),
        time='when',
        event='event',
        event_weights={'view': 1, 'buy': 5},
        duplicates=duplicates,
    )
    assert dataset[0]['user', 'interacts', 'item'].rating.tolist() == kept


def test_a_database_of_sqlite_says_how_it_is_read(tmp_path: Path) -> None:
    (tmp_path / 'shop.sqlite').write_bytes(b'SQLite format 3\0' + bytes(80))
    with pytest.raises(ValueError, match='is an SQLite database; read it with a query'):
        InteractionTables(tmp_path / 'shop.sqlite')
