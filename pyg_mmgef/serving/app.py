import asyncio
import hmac
import json
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, FastAPI, Header, HTTPException, Query, Request
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi_offline import FastAPIOffline
from starlette.middleware import Middleware

from pyg_mmgef import __version__
from pyg_mmgef.catalog import Rules
from pyg_mmgef.serving import metrics
from pyg_mmgef.serving.batcher import Batcher, Overloaded
from pyg_mmgef.serving.bodies import (
    LONGEST_ID,
    MOST_ITEMS,
    Failure,
    ItemFields,
    ListOut,
    NewItem,
    RecommendIn,
    SearchOut,
)
from pyg_mmgef.serving.engine import Answer, Ask, Engine, UnknownItem, UnknownUser
from pyg_mmgef.serving.guard import Guard
from pyg_mmgef.serving.item_editor import Conflict, ItemEditor
from pyg_mmgef.serving.settings import Settings
from pyg_mmgef.serving.shop import Job, NotReady, Shop

__all__ = ['make_app']

PAGE = Path(__file__).parent / 'page'
MOST_FOUND = 100

IdPath = Annotated[str, InPath(min_length=1, max_length=LONGEST_ID)]
Count = Annotated[int, Query(ge=1, le=MOST_ITEMS, description='Number of items.')]
RulesText = Annotated[
    str | None,
    Query(max_length=20_000, description='Business rules as JSON, as Rules.to_dict gives them.'),
]
Token = Annotated[str | None, Header(description='"Bearer" and the token of the server.')]

STATUS = {
    UnknownUser: 404,
    UnknownItem: 404,
    Conflict: 409,
    ValueError: 422,
    Overloaded: 503,
    NotReady: 503,
}
RETRY_S = '1'


def make_app(settings: Settings | None = None) -> FastAPI:
    """Return the application that serves an export.

    Args:
        settings: What it serves; :obj:`None` reads it from the environment, where
            :func:`~pyg_mmgef.serving.serve` has put it. (default: :obj:`None`)
    """
    settings = settings or Settings.from_environment()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        shop = Shop(settings)
        app.state.shop = shop
        app.state.batcher = Batcher(_counted(shop.do), settings.queue, settings.patience)
        app.state.token = settings.token()
        app.state.writer = ThreadPoolExecutor(1, 'writer')
        app.state.editor = None
        if app.state.token is not None:
            app.state.editor = ItemEditor(settings.changes_file)
        yield
        app.state.batcher.stop()
        app.state.writer.shutdown()
        if app.state.editor is not None:
            app.state.editor.close()
        shop.stop()

    app = FastAPIOffline(
        redoc_url=None,
        title='pyg_mmgef',
        version=__version__,
        description='Recommendations from an exported run.',
        lifespan=lifespan,
        middleware=[Middleware(Guard)],
        responses={422: {'model': Failure}, 503: {'model': Failure}},
        swagger_ui_oauth2_redirect_url='/docs/oauth2-redirect',
    )
    app.include_router(router)
    for error in STATUS:
        app.add_exception_handler(error, _explain)
    app.add_exception_handler(RequestValidationError, _explain_validation)
    return app


router = APIRouter()


@router.get('/recommend/{user:path}', response_model=ListOut)
async def recommend_to_user(
    request: Request,
    user: IdPath,
    k: Count = 10,
    rules: RulesText = None,
    fallback: Literal['popular', 'error'] = 'popular',
) -> Response:
    """Return items for a user, without those that the user has."""
    ask = Ask(k=k, user=user, rules=_rules_of(rules), needs_user=fallback == 'error')
    return _list(await _do(request, ask))


@router.post('/recommend', response_model=ListOut)
async def recommend(request: Request, body: RecommendIn) -> Response:
    """Return items for a user, for what a visitor likes, or for both together."""
    ask = Ask(
        k=body.k,
        user=body.user,
        liked=body.liked,
        rules=Rules.from_dict(body.rules),
        needs_user=body.fallback == 'error',
    )
    return _list(await _do(request, ask))


@router.get('/similar/{item:path}', response_model=ListOut)
async def similar(
    request: Request, item: IdPath, k: Count = 10, rules: RulesText = None
) -> Response:
    """Return the items whose vectors point most nearly in the direction of an item's."""
    return _list(await _do(request, Ask(k=k, item=item, rules=_rules_of(rules))))


@router.get('/items', response_model=SearchOut)
async def search(
    request: Request,
    search: Annotated[str, Query(max_length=200, description='Part of a title.')] = '',
    limit: Annotated[int, Query(ge=1, le=MOST_FOUND, description='Number of items.')] = 24,
) -> Response:
    """Return items whose title holds a text."""
    found = await _do(request, lambda engine: engine.search(search, limit))
    return JSONResponse({'items': found})


@router.get('/pictures/{item:path}', response_class=FileResponse)
async def picture(request: Request, item: IdPath) -> Response:
    """Return the thumbnail of an item."""
    path = await _do(request, lambda engine: engine.items.picture_of(engine.row_of(item)))
    if path is None:
        raise UnknownItem(f'the export has no picture of the item {item[:80]!r}')
    return FileResponse(path, media_type='image/jpeg', headers={'Cache-Control': 'max-age=3600'})


@router.post('/items', status_code=201)
async def add_item(
    request: Request, body: NewItem, authorization: Token = None
) -> dict[str, Any]:
    """Add an item with its vector, or with features where the model makes a vector of them."""
    return await _edit(request, authorization, lambda editor: editor.added(body.item, body))


@router.put('/items/{item:path}')
async def change_item(
    request: Request, item: IdPath, body: ItemFields, authorization: Token = None
) -> dict[str, Any]:
    """Change what is given of an item."""
    return await _edit(request, authorization, lambda editor: editor.changed(item, body))


@router.delete('/items/{item:path}')
async def retire_item(
    request: Request, item: IdPath, authorization: Token = None
) -> dict[str, Any]:
    """Recommend an item no more."""
    return await _edit(request, authorization, lambda editor: editor.retired(item))


@router.get('/health')
async def health(request: Request) -> Response:
    """Say whether the server can answer, and which export it serves."""
    shop: Shop = request.app.state.shop
    engine = shop.engine
    metrics.REFUSED.set(shop.refused is not None)
    content: dict[str, Any] = {'live': True, 'ready': engine is not None, 'refused': shop.refused}
    if engine is not None:
        meta = engine.export.meta
        content |= {
            'version': engine.export.version,
            **{name: meta.get(name) for name in ('created', 'model', 'num_users')},
            'num_items': int(engine.items.is_there.sum()),
        }
    return JSONResponse(content, 200 if engine is not None else 503)


@router.get('/health/live')
async def live() -> dict[str, bool]:
    """Say that the process answers."""
    return {'live': True}


@router.get('/metrics', response_class=Response)
async def measured() -> Response:
    """Return counts and times of all workers for Prometheus."""
    loop = asyncio.get_running_loop()
    return Response(
        await loop.run_in_executor(None, metrics.exposition),
        media_type='text/plain; version=0.0.4; charset=utf-8',
    )


@router.get('/', include_in_schema=False)
async def demo() -> Response:
    """Return the demonstration page."""
    return FileResponse(PAGE / 'index.html')


@router.get('/page/{name}', include_in_schema=False)
async def demo_file(name: Literal['page.js', 'page.css', 'icon.svg']) -> Response:
    """Return a file of the demonstration page."""
    return FileResponse(PAGE / name)


async def _do(request: Request, job: Job) -> Any:
    return await request.app.state.batcher.do(job)


async def _edit(
    request: Request, authorization: str | None, edit: Callable[[ItemEditor], Any]
) -> dict[str, Any]:
    """Check the token, then the change beside the items, then write it."""
    state = request.app.state
    _check_token(state.token, authorization)
    editor: ItemEditor = state.editor
    change = edit(editor)
    write = await _do(request, change)
    loop = asyncio.get_running_loop()
    item = await loop.run_in_executor(state.writer, write)
    metrics.CHANGES.inc()
    return {'item': item}


def _check_token(token: str | None, authorization: str | None) -> None:
    if token is None:
        raise HTTPException(
            403,
            'this server changes no items; start it with --token-file or the environment variable '
            'PYG_MMGEF_TOKEN',
        )
    given = (authorization or '').encode()
    if not hmac.compare_digest(given, f'Bearer {token}'.encode()):
        raise HTTPException(
            401,
            'send the header "Authorization: Bearer" with the token of the server',
            {'WWW-Authenticate': 'Bearer'},
        )


def _rules_of(text: str | None) -> Rules:
    if text is None:
        return Rules()
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"'rules' is not JSON ({error})") from error
    return Rules.from_dict(given)


def _list(answer: Answer) -> Response:
    return JSONResponse(
        {'version': answer.version, 'reason': answer.reason, 'items': answer.items}
    )


def _counted(do: Callable[[Sequence[Job]], list[Any]]) -> Callable[[Sequence[Job]], list[Any]]:
    def counted(jobs: Sequence[Job]) -> list[Any]:
        metrics.BATCH.observe(len(jobs))
        return do(jobs)

    return counted


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
