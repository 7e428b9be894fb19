import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pyg_mmgef.datasets import AmazonReviews
from pyg_mmgef.datasets import _amazon_files as amazon_files
from pyg_mmgef.schema import CO_INTERACTS
from pyg_mmgef.transforms import AddCoInteractionGraph

pytest.importorskip('pyarrow')

REVIEWS = [('A1', 'B000000001', 5.0, 1), ('A1', '0000000002', 2.0, 2), ('A2', 'B000000001', 4.0, 3)]
META_2014 = [
    {
        'asin': 'B000000001',
        'title': "Baby's <b>cup</b> &amp; plate",
        'brand': 'Acme',
        'categories': [['Baby', 'Feeding']],
        'description': 'It\'s "good".',
        'imUrl': 'http://example.com/1.jpg',
        'related': {'also_bought': ['B000000009']},
    },
    {'asin': 'B000000009', 'title': 'nobody reviewed it'},
    {'asin': '0000000002', 'price': 3.5},
]


def _gzip(path: Path, lines: list[str]) -> None:
    path.write_bytes(gzip.compress(''.join(f'{line}\n' for line in lines).encode()))


def _reviews(names: tuple[str, str, str, str]) -> list[str]:
    return [json.dumps(dict(zip(names, row, strict=True)) | {'text': 'x'}) for row in REVIEWS]


def _folder_2014(folder: Path, *more: str) -> Path:
    lines = _reviews(('reviewerID', 'asin', 'overall', 'unixReviewTime'))
    _gzip(folder / 'reviews_Baby_5.json.gz', lines)
    _gzip(folder / 'meta_Baby.json.gz', [*map(repr, META_2014), *more])
    return folder


def test_2014(tmp_path: Path) -> None:
    (tmp_path / 'pictures').mkdir()
    (tmp_path / 'pictures' / '0000000002.jpg').write_bytes(b'x')
    dataset = AmazonReviews(_folder_2014(tmp_path), 'Baby', image_folder=tmp_path / 'pictures')
    assert list(dataset.user_ids) == ['A1', 'A2']
    assert list(dataset.item_ids) == ['0000000002', 'B000000001']
    interacts = dataset[0]['user', 'interacts', 'item']
    assert interacts.edge_index.tolist() == [[0, 0, 1], [1, 0, 1]]
    assert interacts.rating.tolist() == [5, 2, 4]
    assert interacts.time.tolist() == [1, 2, 3]
    text = 'Baby\'s cup & plate Acme Baby Feeding It\'s "good".'
    assert dataset.item_texts == [None, text]
    assert dataset.image_urls == [None, 'http://example.com/1.jpg']
    assert dataset.item_images == [tmp_path / 'pictures' / '0000000002.jpg', None]
    assert dataset.report['item rows read'] == 2  # not that of the item without reviews
    assert repr(dataset) == 'AmazonReviews(num_users=2, num_items=2, num_interactions=3)'


def test_pre_transform_is_stored_in_the_folder(tmp_path: Path) -> None:
    folder = _folder_2014(tmp_path)
    data = AmazonReviews(folder, 'Baby', pre_transform=AddCoInteractionGraph(k=1))[0]
    (file,) = (tmp_path / 'processed').iterdir()
    stored = torch.load(file, weights_only=True)['graph'][CO_INTERACTS]
    assert torch.equal(stored['edge_index'], data[CO_INTERACTS].edge_index)
    with pytest.warns(UserWarning, match="'pre_transform' is AddCoInteractionGraph"):
        AmazonReviews(folder, 'Baby', pre_transform=AddCoInteractionGraph(k=2))[0]
    with pytest.raises(ValueError, match="'pre_filter' refuses"):
        AmazonReviews(folder, 'Baby', pre_filter=lambda data: False, force_reload=True)[0]


def test_metadata_are_never_executed(tmp_path: Path) -> None:
    trap = tmp_path / 'trap'
    call = f"__import__('pathlib').Path({str(trap)!r}).touch()"
    line = f"{{'asin': 'B000000001', 'title': {call}}}"
    dataset = AmazonReviews(_folder_2014(tmp_path, line, 'no dictionary'), 'Baby')
    assert not trap.exists()
    assert dataset.report['item rows that could not be parsed'] == 2


def test_2018(tmp_path: Path) -> None:
    lines = _reviews(('reviewerID', 'asin', 'overall', 'unixReviewTime'))
    (tmp_path / 'All_Beauty_5.json').write_text('\n'.join(lines))  # unpacked
    meta = [
        {
            'asin': 'B000000001',
            'title': 'var aPageStart = (new Date()).getTime();',
            'brand': 'Acme',
            'category': ['Beauty', 'Hair'],
            'description': ['<p>One</p>', 'two&nbsp;three'],
            'imageURL': ['http://example.com/small.jpg'],
            'imageURLHighRes': ['http://example.com/large.jpg', 'http://example.com/2.jpg'],
        }
    ]
    _gzip(tmp_path / 'meta_All_Beauty.json.gz', [json.dumps(row) for row in meta])
    dataset = AmazonReviews(tmp_path, 'All_Beauty', release='2018', min_rating=4)
    assert dataset.item_texts == ['Acme Beauty Hair One two three']
    assert dataset.image_urls == ['http://example.com/large.jpg']
    assert dataset.report['rows below min_rating'] == 1


def test_2023(tmp_path: Path) -> None:
    lines = _reviews(('user_id', 'parent_asin', 'rating', 'timestamp'))
    _gzip(tmp_path / 'Baby_Products.jsonl.gz', lines)
    images = [
        {'variant': 'PT01', 'hi_res': 'http://example.com/b.jpg'},
        {'variant': 'MAIN', 'hi_res': None, 'large': 'http://example.com/a.jpg'},
    ]
    row: dict[str, Any] = {'main_category': 'Baby', 'title': 'Cup', 'store': 'Acme'}
    row |= {'categories': [], 'description': ['d'], 'images': images, 'parent_asin': 'B000000001'}
    _gzip(tmp_path / 'meta_Baby_Products.jsonl.gz', [json.dumps(row)])
    dataset = AmazonReviews(tmp_path, 'Baby_Products', release='2023')
    assert dataset.item_texts == [None, 'Cup Acme d']
    assert dataset.image_urls == [None, 'http://example.com/a.jpg']
    assert dataset.report['items that the item table lacks'] == 1


def test_image_features(tmp_path: Path) -> None:
    x = np.arange(4096, dtype='<f4')
    content = b''.join(
        name + (x + shift).tobytes()
        for name, shift in ((b'B000000009', 5), (b'B000000001', 1), (b'B000000001', 7))
    )
    path = _folder_2014(tmp_path) / 'image_features_Baby.b'
    path.write_bytes(content)
    dataset = AmazonReviews(tmp_path, 'Baby', image_features=True)
    item = dataset[0]['item']
    assert item.has_image.tolist() == [False, True]
    assert item.x_image.dtype == torch.float32
    assert torch.equal(item.x_image[1], torch.arange(1.0, 4097.0))
    assert not item.x_image[0].any()
    assert dataset.report['items without image features'] == 1
    path.write_bytes(content[:-1])
    with pytest.raises(ValueError, match=r"'image_features_Baby.b' has 49181 bytes"):
        AmazonReviews(tmp_path, 'Baby', image_features=True)


def test_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / 'source').mkdir()
    source = _folder_2014(tmp_path / 'source').as_uri()
    release = amazon_files.RELEASES['2014']._replace(
        reviews=f'{source}/reviews_{{}}_5.json.gz', metadata=f'{source}/meta_{{}}.json.gz'
    )
    monkeypatch.setitem(amazon_files.RELEASES, '2014', release)
    root = tmp_path / 'root'
    with pytest.raises(FileNotFoundError, match=r"no 'reviews_Baby_5.json.gz'.*download=True"):
        AmazonReviews(root, 'Baby')
    assert not root.exists()
    assert len(AmazonReviews(root, 'Baby', download=True).item_ids) == 2
    names = ['meta_Baby.json.gz', 'reviews_Baby_5.json.gz']
    expected = sorted([*names, *(f'{name}.sha256' for name in names)])
    assert sorted(path.name for path in root.iterdir()) == expected
    assert len(AmazonReviews(root, 'Baby').item_ids) == 2
    with open(root / 'meta_Baby.json.gz', 'ab') as file:
        file.write(gzip.compress(b'{}'))
    with pytest.raises(ValueError, match=r"'meta_Baby.json.gz' has changed since it was fetched"):
        AmazonReviews(root, 'Baby')


def test_sources() -> None:
    urls = [getattr(r, n) for r in amazon_files.RELEASES.values() for n in ('reviews', 'metadata')]
    assert all(url.format('X').startswith('https://') for url in urls)


@pytest.mark.parametrize(
    ('arguments', 'match'),
    [
        ({'category': '../Baby'}, "'category' must be spelt as"),
        (
            {'category': 'Baby', 'release': '2020'},
            "'release' must be one of '2014', '2018', '2023'",
        ),
        (
            {'category': 'Baby', 'release': '2018', 'image_features': True},
            "'image_features' exist only for release '2014'",
        ),
    ],
)
def test_wrong_arguments(tmp_path: Path, arguments: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        AmazonReviews(tmp_path, **arguments)
