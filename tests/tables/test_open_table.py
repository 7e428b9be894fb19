"""Text files: separators, quotes, encodings, line ends, and an account of every line."""

import gzip
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('duckdb')

from pyg_mmgef.tables import open_table
from pyg_mmgef.tables._read_tables import TablesRead, read_tables

COLUMNS = {'user': 'user', 'item': 'item'}


def read(path: Path, content: str | bytes, **options: Any) -> TablesRead:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_tables(open_table(path, **options), COLUMNS)


def pairs(found: TablesRead) -> list[tuple[Any, Any]]:
    ends = zip(found.user.tolist(), found.item.tolist(), strict=True)
    return [(found.user_ids[user], found.item_ids[item]) for user, item in ends]


REVIEWS = 'user\titem\ttext\n' + ''.join(
    f'u{row}\ti{row % 7}\t{text}\n'
    for row in range(40)
    for text in ['"Great' if row == 10 else 'the end"' if row == 20 else 'fine']
)


def test_quotes_that_join_whole_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"join lines that would be whole .* set 'quote' to ''"):
        read(tmp_path / 'reviews.tsv', REVIEWS)
    assert len(read(tmp_path / 'reviews.tsv', REVIEWS, quote='').user) == 40
    joined = read(tmp_path / 'reviews.tsv', REVIEWS, quote='"')
    assert len(joined.user) == 30
    assert joined.report['line breaks within quotes of rows'] == 10


def test_texts_of_several_lines_are_read(tmp_path: Path) -> None:
    found = read(tmp_path / 'a.csv', 'user,item,text\na,x,"one, two\nthree"\nb,y,"four\nfive"\n')
    assert pairs(found) == [('a', 'x'), ('b', 'y')]
    assert found.report['line breaks within quotes of rows'] == 2


@pytest.mark.parametrize('line_end', ['\n', '\r\n', '\r'])
@pytest.mark.parametrize('last', ['', 'end'])
def test_line_ends(tmp_path: Path, line_end: str, last: str) -> None:
    lines = ['user,item', 'a,x', '', 'b,y'] + ([''] if last else [])
    found = read(tmp_path / 'a.csv', line_end.join(lines).encode())
    assert pairs(found) == [('a', 'x'), ('b', 'y')]
    assert found.report['rows read'] == 2


def test_line_ends_of_several_kinds(tmp_path: Path) -> None:
    found = read(tmp_path / 'a.csv', b'user,item\r\na,x\nb,y\r\nc,z\n')
    assert pairs(found) == [('a', 'x'), ('b', 'y'), ('c', 'z')]


@pytest.mark.parametrize(
    ('delimiter', 'given'),
    [('\t', r'\t'), ('\t', 'tab'), ('::', '::'), (';', ';'), ('|', '|'), ('~', '~')],
)
def test_delimiters(tmp_path: Path, delimiter: str, given: str) -> None:
    content = f'user{delimiter}item\na,1{delimiter}x\n'
    assert pairs(read(tmp_path / 'a.dat', content, delimiter=given)) == [('a,1', 'x')]


@pytest.mark.parametrize('delimiter', [',', '\t', ';', '|', '::'])
@pytest.mark.parametrize('name', ['a.txt', 'a.csv', 'a.dat.gz'])
def test_a_delimiter_that_splits_all_lines_alike_is_found(
    tmp_path: Path, name: str, delimiter: str
) -> None:
    content = f'user{delimiter}item\na b{delimiter}x\nc{delimiter}y\n'.encode()
    content = gzip.compress(content) if name.endswith('.gz') else content
    assert pairs(read(tmp_path / name, content)) == [('a b', 'x'), ('c', 'y')]


def test_a_delimiter_that_splits_most_lines_alike_is_found(tmp_path: Path) -> None:
    content = '"item";"title";"author"\n"x";"Tales \\"; part 1";"A, B"\n"y";"Z";"C"\n"z";"Z";"D"\n'
    (tmp_path / 'books.csv').write_text(content)
    assert list(open_table(tmp_path / 'books.csv').columns) == ['item', 'title', 'author']
    (tmp_path / 'prose.txt').write_text('In short, no.\nIt was, in a word, prose.\nThe end.\n')
    with pytest.raises(ValueError, match='its lines have no separator in common'):
        open_table(tmp_path / 'prose.txt')


def test_too_long_a_delimiter(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'delimiter' must have one to four characters"):
        read(tmp_path / 'a.csv', 'user,item\n', delimiter='-----')


def test_without_a_header(tmp_path: Path) -> None:
    content = '1,2200318,pv,1511500070\n1,2500377,buy,1511500071\n'
    columns = ['user', 'item', 'kind', 'time']
    found = read(tmp_path / 'UserBehavior.csv', content, columns=columns)
    assert pairs(found) == [(1, 2200318), (1, 2500377)]


@pytest.mark.parametrize('encoding', ['latin-1', 'cp1252', 'utf-16', 'utf-8-sig', 'gb18030'])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    name = '王小明' if encoding == 'gb18030' else 'Zoë'
    content = f'user,item\n{name},x\n'.encode(encoding)
    assert pairs(read(tmp_path / 'a.csv', content, encoding=encoding)) == [(name, 'x')]


def test_unknown_encodings(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'encoding' must be the name of an encoding"):
        read(tmp_path / 'a.csv', 'user,item\na,x\n', encoding='klingon')
    with pytest.raises(ValueError, match="encoded as UTF-16; set 'encoding' to 'utf-16'"):
        read(tmp_path / 'a.csv', 'user,item\na,x\n'.encode('utf-16'))


def test_quotes_behind_backslashes(tmp_path: Path) -> None:
    content = 'user;item;title\n"a";"x";"the \\"real\\"; title"\n'
    (tmp_path / 'a.csv').write_text(content)
    table = open_table(tmp_path / 'a.csv', delimiter=';', escape='\\')
    assert table.sample(1) == [{'user': 'a', 'item': 'x', 'title': 'the "real"; title'}]


def test_decimal_commas(tmp_path: Path) -> None:
    (tmp_path / 'a.csv').write_text('user;item;stars\na;x;4,5\n')
    columns = {**COLUMNS, 'rating': 'stars'}
    found = read_tables(open_table(tmp_path / 'a.csv', decimal=','), columns)
    assert found.rating is not None
    assert found.rating.tolist() == [4.5]
    with_points = read_tables(open_table(tmp_path / 'a.csv'), columns)
    assert with_points.report['rows without a valid rating'] == 1


def test_many_files_with_columns_in_any_order(tmp_path: Path) -> None:
    (tmp_path / 'day 1.csv').write_text('user,item\na,x\n')
    (tmp_path / 'day [2].csv').write_text('item,user\ny,b\n')
    (tmp_path / 'day 3.csv.gz').write_bytes(gzip.compress(b'user,item\nc,z\n'))
    expected = [('a', 'x'), ('b', 'y'), ('c', 'z')]
    paths = [tmp_path / f'day {name}' for name in ('1.csv', '[2].csv', '3.csv.gz')]
    for source in (paths, tmp_path, tmp_path / 'day*'):
        found = read_tables(open_table(source), COLUMNS)
        assert sorted(pairs(found)) == expected
        assert found.report['rows read'] == 3
    assert pairs(read_tables(open_table(paths), COLUMNS)) == expected, 'in the order of the files'
    (tmp_path / 'day 4.csv').write_text('user,sku\na,x\n')
    with pytest.raises(ValueError, match=r"'day 4.csv' has the columns .* but 'day 1.csv' has"):
        open_table(tmp_path)
    (tmp_path / 'day 5.jsonl').write_text('{}')
    with pytest.raises(ValueError, match='files of several kinds'):
        open_table(tmp_path)


def test_zst(tmp_path: Path) -> None:
    pa = pytest.importorskip('pyarrow')
    with pa.CompressedOutputStream(str(tmp_path / 'a.csv.zst'), 'zstd') as file:
        file.write(b'user,item\na,x\n')
    assert pairs(read_tables(open_table(tmp_path / 'a.csv.zst'), COLUMNS)) == [('a', 'x')]


def test_repeated_names_of_columns(tmp_path: Path) -> None:
    (tmp_path / 'a.csv').write_text('user,note,Note,note\na,1,2,3\n')
    table = open_table(tmp_path / 'a.csv')
    assert table.sample(1) == [{'user': 'a', 'note': '1', 'Note': '2', 'note (2)': '3'}]


def test_a_row_that_is_too_long_is_named(tmp_path: Path) -> None:
    content = 'user,item\na,x\nb,"' + 'y' * 5_000_000 + '"\n'
    with pytest.raises(ValueError, match='more than 4,194,304 bytes; a quote that is never closed'):
        read(tmp_path / 'a.csv', content)


def test_folders_of_hive_change_nothing(tmp_path: Path) -> None:
    for day in (1, 2):
        (tmp_path / f'c0={day}').mkdir()
        (tmp_path / f'c0={day}' / 'a.csv').write_text(f'user,item\nu{day},x\n')
    assert pairs(read_tables(open_table(tmp_path), COLUMNS)) == [('u1', 'x'), ('u2', 'x')]


@pytest.mark.parametrize(
    ('options', 'match'),
    [
        ({'quote': '""'}, "'quote' must be one character"),
        ({'escape': 'ab'}, "'escape' must be one character"),
        ({'escape': ''}, "'escape' must be one character"),
        ({'delimiter': '\r'}, "'delimiter' must have one to four characters"),
        ({'encoding': 'hex'}, "'encoding' must be the name of an encoding"),
        ({'columns': ['a', 'a']}, "'columns' must give each column a name of its own"),
        ({'columns': []}, "'columns' must give each column a name of its own"),
    ],
)
def test_options_that_cannot_be(tmp_path: Path, options: dict[str, Any], match: str) -> None:
    (tmp_path / 'a.csv').write_text('user,item\na,x\n')
    with pytest.raises(ValueError, match=match):
        open_table(tmp_path / 'a.csv', **options)


@pytest.mark.parametrize('source', [[], [1], b'ab', 7])
def test_what_is_no_table(source: Any) -> None:
    with pytest.raises(ValueError, match=r"^'source' must be a path or a list"):
        open_table(source)


def test_a_pattern_that_only_folders_match(tmp_path: Path) -> None:
    (tmp_path / 'day 1').mkdir()
    with pytest.raises(FileNotFoundError, match=r"its folder holds \['day 1'\]"):
        open_table(tmp_path / 'day*')
