import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from pyg_mmgef.catalog import Catalog
from tests.serving.conftest import TOKEN
from tests.serving.exports import make_export

Start = Callable[..., TestClient]
WITH_TOKEN = {'Authorization': f'Bearer {TOKEN}'}
JPEG = b'\xff\xd8\xff\xe0 a picture'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_export(tmp_path / 'export', content=True, pictures={3: JPEG})


@pytest.fixture
def client(start: Start, folder: Path) -> TestClient:
    return start(folder)


def ids(response: Any) -> list[Any]:
    assert response.status_code == 200, response.text
    return [item['item'] for item in response.json()['items']]


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_items_for_a_user(client: TestClient) -> None:
    answer = client.get('/recommend/u1', params={'k': 3}).json()
    assert answer['reason'] == 'history'
    assert set(answer['items'][0]) == {'item', 'title', 'picture', 'fields', 'score'}
    assert len(answer['items']) == 3
    assert client.post('/recommend', json={'user': 'u1', 'k': 3}).json() == answer


def test_rules_in_the_address_and_in_the_body(client: TestClient) -> None:
    rules = {'where': {'brand': 'Arc', 'price': {'min': 10}}, 'max_per': {'brand': 4}}
    found = ids(client.get('/recommend/u1', params={'rules': json.dumps(rules)}))
    assert len(found) == 4
    assert ids(client.post('/recommend', json={'user': 'u1', 'rules': rules})) == found
    similar = ids(client.get('/similar/I1', params={'rules': json.dumps(rules)}))
    assert len(similar) == 4


def test_unknown_users(client: TestClient) -> None:
    assert client.get('/recommend/nobody').json()['reason'] == 'new user'
    for response in (
        client.get('/recommend/nobody', params={'fallback': 'error'}),
        client.post('/recommend', json={'user': 'nobody', 'fallback': 'error'}),
    ):
        assert response.status_code == 404
        assert "no user 'nobody'" in response.json()['detail']


def test_a_visitor_with_a_basket(client: TestClient) -> None:
    answer = client.post('/recommend', json={'liked': ['I1', 'I2', 'gone']}).json()
    assert answer['reason'] == 'liked'
    assert answer['ignored'] == ['gone']
    assert any('because' in item for item in answer['items'])


def test_search_and_pictures(client: TestClient) -> None:
    assert ids(client.get('/items', params={'search': 'lamp 3', 'limit': 3}))[:2] == ['I3', 'I30']
    assert len(ids(client.get('/items'))) == 24
    assert ids(client.get('/items', params={'search': 'nothing has this'})) == []
    (item,) = client.get('/items', params={'limit': 4}).json()['items'][3:]
    assert client.get(item['picture']).content == JPEG
    assert client.get('/pictures/I4').status_code == 404
    assert client.get('/pictures/none').status_code == 404


@pytest.mark.parametrize('strange', ['a/b', '../x', '100%', 'ä ö', '<b>', '?x=1', '"', '😀', "'"])
def test_strange_ids(start: Start, tmp_path: Path, strange: str) -> None:
    catalog = Catalog([strange, *(f'I{i}' for i in range(19))], titles=['<script>'] * 20)
    make_export(
        tmp_path, num_users=2, num_items=20, catalog=catalog, user_ids=[strange, 'u'],
        pictures={0: JPEG},
    )  # fmt: skip
    client, address = start(tmp_path), quote(strange, safe='')
    assert client.get(f'/recommend/{address}').json()['reason'] == 'history'
    assert len(ids(client.get(f'/similar/{address}'))) == 10
    first = client.get('/items').json()['items'][0]
    assert (first['item'], first['title']) == (strange, '<script>')
    assert client.get(first['picture']).content == JPEG


@pytest.mark.parametrize(
    ('body', 'message'),
    [
        ({'k': 0}, 'k: Input should be greater than or equal to 1'),
        ({'k': 1001}, 'k: Input should be less than or equal to 1000'),
        ({'k': '3'}, None),
        ({'liked': ['a'] * 1001}, 'liked: List should have at most 1000 items'),
        ({'liked': ['']}, 'at least 1 character'),
        ({'liked': ['a' * 501]}, 'at most 500 characters'),
        ({'liked': [None]}, 'valid string'),
        ({'liked': [True]}, 'valid string'),
        ({'liked': [10**30]}, 'liked.0'),
        ({'liked': 'I1'}, 'liked: Input should be a valid list'),
        ({'user': {'a': 1}}, 'valid string'),
        ({'users': 'u1'}, 'users: Extra inputs are not permitted'),
        ({'fallback': 'none'}, "'popular' or 'error'"),
        ({'rules': {'wher': {}}}, "rules have no 'wher' (did you mean 'where'?)"),
        ({'rules': {'where': {'brand': 'Acr'}}}, "did you mean 'Arc'?"),
        ({'rules': {'only': ['none']}}, "'only' names the item 'none'"),
        ({'rules': {'diversity': 2}}, "'diversity' must lie in [0, 1]"),
        ({'rules': {'boost': {'brand=Arc': '1'}}}, "'boost' must be a finite number"),
        ({'rules': []}, 'rules: Input should be a valid dictionary'),
    ],
)
def test_mistakes_are_named(client: TestClient, body: Any, message: str | None) -> None:
    response = client.post('/recommend', json=body)
    if message is None:  # A number as text is a number.
        assert response.status_code == 200
        return
    assert response.status_code == 422
    assert message in response.json()['detail']
    assert '\n' not in response.json()['detail']


@pytest.mark.parametrize(
    'content',
    [
        *(b'', b'{', b'null', b'[1]', b'\xff', b'{"k": NaN}', b'[' * 90_000),
        b'{"liked": ["\\ud800"]}',
    ],
)
def test_bodies_that_are_no_request(client: TestClient, content: bytes) -> None:
    response = client.post(
        '/recommend', content=content, headers={'Content-Type': 'application/json'}
    )
    assert response.status_code in (400, 422)
    assert isinstance(response.json()['detail'], str)


@pytest.mark.parametrize('rules', ['{', '[' * 10_000, '[]', '"a"', 'null', '{"only": ["\\ud800"]}'])
def test_rules_that_are_none(client: TestClient, rules: str) -> None:
    response = client.get('/recommend/u1', params={'rules': rules})
    assert response.status_code == 422
    assert isinstance(response.json()['detail'], str)


def test_long_bodies_are_refused(client: TestClient) -> None:
    response = client.post('/recommend', content=b' ' * (2**20 + 1))
    assert response.status_code == 413
    assert response.json()['detail'] == 'a request may have 1048576 bytes'


@pytest.mark.parametrize('path', ['/none', '/page/none', '/page/..%2fapp.py', '/recommend/'])
def test_other_paths(client: TestClient, path: str) -> None:
    assert client.get(path).status_code in (404, 405, 422)


def test_changing_items_needs_the_token(
    client: TestClient, folder: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = (
        ('POST', '/items', {'item': 'new', 'vector': [1] * 8}),
        ('PUT', '/items/I1', {'fields': {'price': 1}}),
        ('DELETE', '/items/I1', None),
    )
    for method, path, body in calls:
        for headers in ({}, {'Authorization': 'Bearer x'}, {'Authorization': TOKEN}):
            response = client.request(method, path, json=body, headers=headers)
            assert response.status_code == 401
            assert response.headers['WWW-Authenticate'] == 'Bearer'
    monkeypatch.delenv('PYG_MMGEF_TOKEN')
    closed = start(folder)
    for method, path, body in calls:
        response = closed.request(method, path, json=body, headers=WITH_TOKEN)
        assert response.status_code == 403
        assert '--token-file' in response.json()['detail']


def test_an_item_from_its_birth_to_its_end(client: TestClient) -> None:
    def call(method: str, path: str, status: int, body: Any = None) -> Any:
        response = client.request(method, path, json=body, headers=WITH_TOKEN)
        assert response.status_code == status, response.text
        return response.json()

    new = {'item': 'new/1', 'title': 'Novel', 'vector': [9.0] * 8, 'fields': {'price': 7}}
    assert call('POST', '/items', 201, new) == {'item': 'new/1'}
    assert 'is an item' in call('POST', '/items', 409, new)['detail']
    (found,) = client.get('/items', params={'search': 'novel'}).json()['items']
    assert found == {'item': 'new/1', 'title': 'Novel', 'picture': None, 'fields': {'price': 7}}
    call('PUT', '/items/new%2F1', 200, {'fields': {'price': 8, 'brand': 'Arc'}})
    call('PUT', '/items/new%2F1', 200, {'fields': {'brand': None}, 'title': 'Novelty'})
    (found,) = client.get('/items', params={'search': 'novel'}).json()['items']
    assert (found['title'], found['fields']) == ('Novelty', {'price': 8})
    assert call('DELETE', '/items/new%2F1', 200) == call('DELETE', '/items/new%2F1', 200)
    assert client.get('/items', params={'search': 'novel'}).json()['items'] == []
    call('PUT', '/items/new%2F1', 404, {'title': 'a'})
    call('DELETE', '/items/none', 404)
    call('POST', '/items', 201, new)
    assert client.get('/items', params={'search': 'novel'}).json()['items'] != []


def test_an_item_of_the_export_changes(client: TestClient) -> None:
    price = {'fields': {'price': 1234.5}}
    assert client.put('/items/I1', json=price, headers=WITH_TOKEN).status_code == 200
    rules = json.dumps({'where': {'price': 1234.5}})
    assert ids(client.get('/recommend/nobody', params={'rules': rules})) == ['I1']
    response = client.put('/items/I1', json={'vector': [1] * 8}, headers=WITH_TOKEN)
    assert response.status_code == 409
    first = ids(client.get('/recommend/u1'))[0]
    assert client.delete(f'/items/{first}', headers=WITH_TOKEN).status_code == 200
    assert ids(client.get('/recommend/u1'))[0] != first
    assert client.post('/items', json={'item': first}, headers=WITH_TOKEN).status_code == 201
    assert ids(client.get('/recommend/u1'))[0] == first


def test_a_picture_that_is_put_replaces_the_thumbnail(client: TestClient) -> None:
    def picture_of(item: str, **values: Any) -> str:
        response = client.put(f'/items/{item}', json=values, headers=WITH_TOKEN)
        assert response.status_code == 200
        items = client.get('/items', params={'search': ''}).json()['items']
        (found,) = (shown for shown in items if shown['item'] == item)
        return str(found['picture'])

    assert picture_of('I3', title='Hat') == '/pictures/I3'
    for item in ('I3', 'I4'):
        assert picture_of(item, picture='https://shop.example/new.jpg').endswith('/new.jpg')
        assert picture_of(item, title='Cap').endswith('/new.jpg'), 'other changes keep it'
    assert picture_of('I4', picture=None) == 'None'


def test_an_item_by_its_features(client: TestClient) -> None:
    shop: Any = client.app.state.shop  # type: ignore[attr-defined]
    features = {'image': [1.0, 2.0, 3.0], 'text': [0.0, 1.0, 0.0, 1.0]}
    new = {'item': 'new', 'features': features}
    assert client.post('/items', json=new, headers=WITH_TOKEN).status_code == 201
    assert 'new' in ids(client.get('/similar/I1', params={'k': 80}))
    expected = shop.engine.export.content.embed({name: [row] for name, row in features.items()})
    assert shop.engine.items.added.tolist() == expected.tolist()


@pytest.mark.parametrize(
    ('body', 'message'),
    [
        ({'item': 'new'}, "needs a 'vector' of 8 numbers"),
        ({'item': 'new', 'vector': [1] * 7}, "'vector' must have 8 numbers (got 7)"),
        ({'item': 'new', 'vector': [1e300] * 8}, 'too large for float32'),
        ({'item': 'new', 'vector': [1] * 8, 'features': {}}, 'not both'),
        ({'item': 'new', 'features': {'image': [1, 2, 3]}}, "'x' must have a matrix of each"),
        ({'item': 'new', 'vector': [1] * 8, 'fields': {'price': 'a'}}, "'price' holds numbers"),
        ({'item': 'new', 'vector': [1] * 8, 'fields': {'brand': 3}}, "'brand' holds texts"),
        ({'item': 'new', 'vector': [1] * 8, 'color': 'red'}, 'color: Extra inputs'),
        ({'item': '', 'vector': [1] * 8}, 'item'),
    ],
)
def test_items_that_do_not_fit(client: TestClient, body: Any, message: str) -> None:
    response = client.post('/items', json=body, headers=WITH_TOKEN)
    assert response.status_code == 422
    assert message in response.json()['detail']


def test_changes_are_kept(start: Start, folder: Path) -> None:
    first = start(folder)
    first.post('/items', json={'item': 'new', 'vector': [1] * 8}, headers=WITH_TOKEN)
    first.delete('/items/I5', headers=WITH_TOKEN)
    again = start(folder)
    assert ids(first.get('/items', params={'limit': 100})) == ids(
        again.get('/items', params={'limit': 100})
    )
    again.put('/items/new', json={'title': 'From the other'}, headers=WITH_TOKEN)
    assert ids(first.get('/items', params={'search': 'other'})) == ['new']  # At once.


def test_a_new_export_takes_over(start: Start, folder: Path) -> None:
    client = start(folder)
    client.post('/items', json={'item': 'new', 'vector': [1] * 8}, headers=WITH_TOKEN)
    client.post('/items', json={'item': 'I80', 'vector': [1] * 8}, headers=WITH_TOKEN)
    client.put('/items/I3', json={'fields': {'price': 5000}}, headers=WITH_TOKEN)
    before = client.get('/health').json()
    make_export(folder, num_items=100, seed=1)
    wait_for(lambda: client.get('/health').json()['version'] != before['version'])
    health = client.get('/health').json()
    assert (health['num_items'], health['refused']) == (101, None)  # The export has I80 itself.
    assert ids(client.get('/items', params={'search': 'new'})) == ['new']
    rules = json.dumps({'where': {'price': 5000}})
    assert ids(client.get('/recommend/nobody', params={'rules': rules})) == ['I3']


def test_a_link_that_is_turned(start: Start, folder: Path, tmp_path: Path) -> None:
    other = make_export(tmp_path / 'other', seed=1)
    (tmp_path / 'current').symlink_to(folder)
    client = start(tmp_path / 'current')
    before = client.get('/health').json()['version']
    (tmp_path / 'next').symlink_to(other)
    (tmp_path / 'next').replace(tmp_path / 'current')
    wait_for(lambda: client.get('/health').json()['version'] != before)
    assert client.get('/recommend/u1').status_code == 200


def test_a_damaged_export_is_refused(start: Start, folder: Path, tmp_path: Path) -> None:
    other = make_export(tmp_path / 'other', seed=1)
    whole = (other / 'item_vectors.npy').read_bytes()
    (other / 'item_vectors.npy').write_bytes(whole[:-1])
    current = tmp_path / 'current'
    current.symlink_to(folder)
    client = start(current)
    before = client.get('/recommend/u1').json()
    (tmp_path / 'next').symlink_to(other)
    (tmp_path / 'next').replace(current)
    wait_for(lambda: 'item_vectors.npy' in str(client.get('/health').json()['refused']))
    health = client.get('/health')
    assert (health.status_code, health.json()['ready']) == (200, True)
    assert client.get('/recommend/u1').json() == before
    (other / 'item_vectors.npy').write_bytes(whole)
    wait_for(lambda: client.get('/health').json()['refused'] is None)
    assert client.get('/recommend/u1').json() != before


def test_a_worker_without_an_export_waits_for_one(start: Start, tmp_path: Path) -> None:
    client = start(tmp_path / 'export')
    assert client.get('/health/live').status_code == 200
    assert client.get('/health').status_code == 503
    response = client.get('/recommend/u1')
    assert (response.status_code, response.headers['Retry-After']) == (503, '1')
    make_export(tmp_path / 'export')
    wait_for(lambda: client.get('/health').status_code == 200)
    assert client.get('/recommend/u1').status_code == 200


def test_headers_forbid_what_a_page_does_not_need(client: TestClient) -> None:
    for path in ('/', '/recommend/u1', '/none', '/page/page.js'):
        headers = client.get(path).headers
        assert headers['X-Content-Type-Options'] == 'nosniff'
        policy = headers['Content-Security-Policy']
        assert "default-src 'none'" in policy
        assert 'unsafe' not in policy
        assert 'http' not in policy


def test_the_api_page_needs_no_network(client: TestClient) -> None:
    page = client.get('/docs').text
    assert '//' not in page.replace('<!doctype', '')
    for name in ('swagger-ui-bundle.js', 'swagger-ui.css'):
        assert f'/static-offline-docs/{name}' in page
        assert client.get(f'/static-offline-docs/{name}').status_code == 200
    paths = client.get('/openapi.json').json()['paths']
    assert {'/recommend', '/recommend/{user}', '/similar/{item}', '/items', '/health'} <= set(paths)


def test_counts(client: TestClient) -> None:
    def count(line: str) -> float:
        lines = client.get('/metrics').text.splitlines()
        return sum(float(one.rsplit(' ', 1)[1]) for one in lines if one.startswith(line))

    line = 'pyg_mmgef_requests_total{method="GET",route="/recommend/{user}",status="200"}'
    before = count(line)
    client.get('/recommend/u1')
    assert count(line) == before + 1
    assert 'u1' not in client.get('/metrics').text
