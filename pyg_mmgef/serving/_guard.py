import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from starlette.exceptions import HTTPException

from pyg_mmgef.serving import _metrics as metrics

__all__ = ['Guard']

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]

LOG = logging.getLogger('pyg_mmgef.serving')

MOST_BYTES = 2**20
SECONDS = 10.0

PAGE = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
DOCS = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Swagger's page has a script and styles of its own inside."""

BUSY = b'{"detail":"there are too many requests; try again"}'
RETRY = [
    (b'content-type', b'application/json'),
    (b'content-length', str(len(BUSY)).encode()),
    (b'retry-after', b'1'),
]


class Guard:
    """Around an application: limits of what is sent, headers, a log line and counts.

    A log line has the template of the route, never the path, so it doesn't say whose it is.

    Args:
        application: The application.
        most_bytes: Bytes that a request may have. (default: ``2**20``)
        seconds: Seconds in which a request must have come. (default: ``10.0``)
        is_full: Says of a request whether it can't be answered now. Then it gets 503 before
            anything is spent on it, so that others are answered. (default: never)
    """

    def __init__(
        self,
        application: Application,
        most_bytes: int = MOST_BYTES,
        seconds: float = SECONDS,
        is_full: Callable[[Message], bool] = lambda scope: False,
    ) -> None:
        self._application, self._is_full = application, is_full
        self._most_bytes, self._seconds = most_bytes, seconds

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle a connection."""
        if scope['type'] != 'http':
            await self._application(scope, receive, send)
            return
        start, status = time.perf_counter(), 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message['type'] == 'http.response.start':
                status = message['status']
                policy = DOCS if scope['path'] == '/docs' else PAGE
                message['headers'] = [
                    *message.get('headers', ()),
                    (b'x-content-type-options', b'nosniff'),
                    (b'referrer-policy', b'no-referrer'),
                    (b'content-security-policy', policy.encode()),
                ]
            await send(message)

        try:
            if self._is_full(scope):
                await sending({'type': 'http.response.start', 'status': 503, 'headers': RETRY})
                await sending({'type': 'http.response.body', 'body': BUSY})
                return
            await self._application(scope, self._limited(scope, receive), sending)
        finally:
            self._note(scope, status, time.perf_counter() - start)

    def _limited(self, scope: Message, receive: Receive) -> Receive:
        """Return what receives a body that is neither too long nor too slow."""
        until, size = time.monotonic() + self._seconds, 0
        complete = False

        async def limited() -> Message:
            nonlocal size, complete
            if complete:  # What follows is that the client has gone.
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, until - time.monotonic()))
            except asyncio.TimeoutError:
                raise _refusal(408, f'the request took longer than {self._seconds:g} s') from None
            if message['type'] == 'http.request':
                size += len(message.get('body', b''))
                complete = not message.get('more_body', False)
            if size > self._most_bytes:
                raise _refusal(413, f'a request may have {self._most_bytes} bytes')
            return message

        return limited

    def _note(self, scope: Message, status: int, seconds: float) -> None:
        route = getattr(scope.get('route'), 'path_format', 'other')
        metrics.REQUESTS.labels(route, scope['method'], status).inc()
        metrics.SECONDS.labels(route).observe(seconds)
        if LOG.isEnabledFor(logging.INFO):
            data = {
                'method': scope['method'],
                'route': route,
                'status': status,
                'ms': round(1e3 * seconds, 2),
            }
            LOG.info('request', extra={'data': data})


def _refusal(status: int, reason: str) -> HTTPException:
    """Return an error after which the connection is closed, as the rest of the body isn't read."""
    return HTTPException(status, reason, {'Connection': 'close'})
