from typing import Any

import pytest

from pyg_mmgef.tables._picture_names import picture_names


@pytest.mark.parametrize(
    ('cell', 'names'),
    [
        ('a.jpg', ['a.jpg']),
        ('a b.jpg', ['a b.jpg']),
        ('["a.jpg", "b, c.jpg", null]', ['a.jpg', 'b, c.jpg']),
        ("['a.jpg', 'b.jpg']", ['a.jpg', 'b.jpg']),
        ('a.jpg|b.jpg', ['a.jpg', 'b.jpg']),
        ('a.jpg; b.PNG;', ['a.jpg', 'b.PNG']),
        ('a.jpg,b.jpg', ['a.jpg', 'b.jpg']),
        ('red, large.jpg', ['red, large.jpg']),
        ('[]', []),
        ('[draft].jpg', ['[draft].jpg']),
        ('https://x.com/a,w_200.jpg', ['https://x.com/a,w_200.jpg']),
        ('https://x.com/c/w_2,h_3/a.jpg', ['https://x.com/c/w_2,h_3/a.jpg']),
        ('https://x.com/1,https://x.com/2', ['https://x.com/1', 'https://x.com/2']),
        ('[{"thumb": "t", "hi_res": null, "large": "l"}]', ['l']),
        ('[["a.jpg"], 3]', ['a.jpg']),
        (['a.jpg', {'large': 'b.jpg'}], ['a.jpg', 'b.jpg']),
        (' ', []),
        (None, []),
    ],
)
def test_names_in_a_cell(cell: Any, names: list[str]) -> None:
    assert picture_names(cell) == names
