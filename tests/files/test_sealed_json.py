import json
import math
from pathlib import Path

import pytest

from pyg_mmgef.files import read_json, write_json
from tests.flips import outcomes

CONTENT = {
    'epochs': 3,
    'recall@20': 0.1 + 0.2,
    'name': 'Größe \u2028',
    'list': [1, {'b': None, 'a': True}],
    'path': '/shop',
}


def test_reads_what_it_wrote(tmp_path: Path) -> None:
    path = tmp_path / 'a.json'
    write_json(path, {**CONTENT, 'path': Path('/shop')})
    assert read_json(path, '') == CONTENT
    plain = json.loads(path.read_text())
    assert len(plain.pop('sha256')) == 64
    assert plain == CONTENT
    write_json(path, {'x': math.nan, 'y': math.inf})
    assert math.isnan(read_json(path, '')['x'])


def test_a_flipped_bit_changes_nothing_or_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / 'a.json'
    write_json(path, CONTENT)
    found = outcomes([path], lambda: read_json(path, 'x'), 2000)
    assert found['detected'] > 1500  # Spaces and the case of hexadecimal digits don't matter.


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('{"a": 1', 'Expecting'),
        ('\xff', 'codec'),
        ('[1]', 'it has no checksum; earlier versions wrote none'),
        ('{"a": 1}', 'it has no checksum'),
        ('{"a": 1, "sha256": 3}', 'its checksum is wrong'),
    ],
)
def test_damaged_files(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / 'a.json'
    path.write_text(text, encoding='latin-1')
    with pytest.raises(ValueError, match=rf"a.json' is damaged \(.*{reason}.*\); do that"):
        read_json(path, 'do that')
