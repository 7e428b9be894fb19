import asyncio
from typing import Any

import pytest
from starlette.exceptions import HTTPException

from pyg_mmgef.serving._guard import Guard

SCOPE = {'type': 'http', 'method': 'POST', 'path': '/recommend', 'headers': []}


async def read_all(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get('more_body'):
        pass
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    await send({'type': 'http.response.body', 'body': b''})


def sent(*chunks: bytes, pause: float = 0.0, **limits: Any) -> list[Any]:
    """Return what is answered to a body that comes in chunks."""
    out: list[Any] = []
    left = list(chunks)

    async def receive() -> Any:
        await asyncio.sleep(pause)
        body = left.pop(0)
        return {'type': 'http.request', 'body': body, 'more_body': bool(left)}

    async def send(message: Any) -> None:
        out.append(message)

    asyncio.run(Guard(read_all, **limits)(dict(SCOPE), receive, send))
    return out


def test_a_body_within_the_limits() -> None:
    start, _ = sent(b'123', b'45', most_bytes=5)
    assert start['status'] == 200
    assert (b'x-content-type-options', b'nosniff') in start['headers']


def test_a_body_that_is_too_long() -> None:
    with pytest.raises(HTTPException, match='413: a request may have 5 bytes'):
        sent(b'123', b'456', most_bytes=5)


def test_a_body_that_is_slow_to_come() -> None:
    with pytest.raises(HTTPException, match=r'408: the request took longer than 0\.05 s'):
        sent(b'1', b'2', b'3', b'4', pause=0.03, seconds=0.05)


def test_a_request_that_finds_no_place() -> None:
    start, body = sent(b'1', is_full=lambda scope: True)
    assert start['status'] == 503
    assert (b'retry-after', b'1') in start['headers']
    assert body['body'] == b'{"detail":"there are too many requests; try again"}'
