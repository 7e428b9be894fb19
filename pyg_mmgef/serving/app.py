from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi_offline import FastAPIOffline
from starlette.middleware import Middleware

from pyg_mmgef import __version__
from pyg_mmgef.serving import _metrics as metrics
from pyg_mmgef.serving._batcher import Batcher, Overloaded
from pyg_mmgef.serving._bodies import Failure
from pyg_mmgef.serving._guard import Guard
from pyg_mmgef.serving._item_changes import ItemChanges, NotWritten
from pyg_mmgef.serving._item_edits import Conflict
from pyg_mmgef.serving._routes import router
from pyg_mmgef.serving._shop import Job, NotReady, Shop
from pyg_mmgef.serving.engine import UnknownItem, UnknownUser
from pyg_mmgef.serving.settings import Settings

__all__ = ['make_app']

STATUS = {
    UnknownUser: 404,
    UnknownItem: 404,
    Conflict: 409,
    ValueError: 422,
    NotWritten: 503,
    Overloaded: 503,
    NotReady: 503,
}
RETRY_S = '1'
COMPUTED = ('/recommend', '/similar', '/items', '/pictures')


def make_app(settings: Settings | None = None) -> FastAPI:
    """Return the application that serves an export.

    Args:
        settings: What it serves; :obj:`None` reads it from the environment, where
            :func:`~pyg_mmgef.serving.serve` has put it. (default: :obj:`None`)
    """
    settings = settings or Settings.from_environment()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        state = app.state
        state.shop = shop = Shop(settings)
        state.batcher = batcher = Batcher(_counted(shop.do), settings.queue, settings.patience)
        state.token = settings.token()
        changes = writer = None
        if state.token is not None:
            changes = ItemChanges(settings.changes_file)
            writer = Batcher(changes.write, settings.queue, settings.patience)
        state.writer = writer
        yield
        batcher.stop()
        if writer is not None and changes is not None:
            writer.stop()
            changes.close()
        shop.stop()

    app = FastAPIOffline(
        redoc_url=None,
        title='pyg_mmgef',
        version=__version__,
        description='Recommendations from an exported run.',
        lifespan=lifespan,
        middleware=[Middleware(Guard, is_full=_is_full)],
        responses={422: {'model': Failure}, 503: {'model': Failure}},
        swagger_ui_oauth2_redirect_url='/docs/oauth2-redirect',
    )
    app.include_router(router)
    for error in STATUS:
        app.add_exception_handler(error, _explain)
    app.add_exception_handler(RequestValidationError, _explain_validation)
    return app


def _counted(do: Callable[[Sequence[Job]], list[Any]]) -> Callable[[Sequence[Job]], list[Any]]:
    def counted(jobs: Sequence[Job]) -> list[Any]:
        metrics.BATCH.observe(len(jobs))
        return do(jobs)

    return counted


def _is_full(scope: Any) -> bool:
    """Return whether a request would find no place among those that wait to be computed."""
    return scope['path'].startswith(COMPUTED) and scope['app'].state.batcher.is_full


async def _explain(request: Request, error: Exception) -> Response:
    """Answer a mistake of the client, or that the server can't answer now."""
    status = next(code for kind, code in STATUS.items() if isinstance(error, kind))
    headers = {'Retry-After': RETRY_S} if status == 503 else None
    detail = str(error) or 'there are too many requests; try again'
    return JSONResponse({'detail': detail}, status, headers)


async def _explain_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    parts = []
    for one in error.errors()[:5]:
        place = '.'.join(str(part) for part in one['loc'][1:])
        parts.append(f'{place}: {one["msg"]}' if place else str(one['msg']))
    return JSONResponse({'detail': '; '.join(parts)}, 422)
