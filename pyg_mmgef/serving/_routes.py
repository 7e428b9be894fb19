import asyncio
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi import Path as InPath
from fastapi.responses import FileResponse, JSONResponse, Response

from pyg_mmgef.catalog import Rules
from pyg_mmgef.serving import _metrics as metrics
from pyg_mmgef.serving._bodies import (
    LONGEST_ID,
    MOST_ITEMS,
    ItemFields,
    ListOut,
    NewItem,
    RecommendIn,
    SearchOut,
)
from pyg_mmgef.serving._item_edits import Check, adding, changing, retiring
from pyg_mmgef.serving._shop import Job, Shop
from pyg_mmgef.serving._tokens import check_token
from pyg_mmgef.serving.engine import Answer, Ask, UnknownItem

__all__ = ['router']

PAGE = Path(__file__).parent / 'page'
MOST_FOUND = 100

IdPath = Annotated[str, InPath(min_length=1, max_length=LONGEST_ID)]
Count = Annotated[int, Query(ge=1, le=MOST_ITEMS, description='Number of items.')]
RulesText = Annotated[
    str | None,
    Query(max_length=20_000, description='Business rules as JSON, as Rules.to_dict gives them.'),
]
NEEDS_TOKEN = [Depends(check_token)]

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


@router.post('/items', status_code=201, dependencies=NEEDS_TOKEN)
async def add_item(request: Request, body: NewItem) -> dict[str, Any]:
    """Add an item with its vector, or with features where the model makes a vector of them."""
    return await _edit(request, adding(body.item, body))


@router.put('/items/{item:path}', dependencies=NEEDS_TOKEN)
async def change_item(request: Request, item: IdPath, body: ItemFields) -> dict[str, Any]:
    """Change what is given of an item."""
    return await _edit(request, changing(item, body))


@router.delete('/items/{item:path}', dependencies=NEEDS_TOKEN)
async def retire_item(request: Request, item: IdPath) -> dict[str, Any]:
    """Recommend an item no more."""
    return await _edit(request, retiring(item))


@router.get('/health')
async def health(request: Request) -> Response:
    """Say whether the server can answer, and which export it serves."""
    shop: Shop = request.app.state.shop
    engine = shop.engine
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


async def _edit(request: Request, check: Check) -> dict[str, Any]:
    """Check a change beside the items, write it, and answer when it is on the disk."""
    edit = await _do(request, check)
    written = await request.app.state.writer.do(edit)
    metrics.CHANGES.inc()
    return {'item': written.item}


def _rules_of(text: str | None) -> Rules:
    if text is None:
        return Rules()
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"'rules' is not JSON ({error})") from error
    return Rules.from_dict(given)


def _list(answer: Answer) -> Response:
    content: dict[str, Any] = {
        'version': answer.version,
        'reason': answer.reason,
        'items': answer.items,
    }
    if answer.ignored:
        content['ignored'] = answer.ignored
    return JSONResponse(content)
