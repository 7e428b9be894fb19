import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyg_mmgef.cli.run_folder import LoadedRun
from pyg_mmgef.datasets import IdMap
from pyg_mmgef.files import write_atomically
from pyg_mmgef.ranking import recommend
from pyg_mmgef.search import similar_items
from pyg_mmgef.tables._arrow_table import arrow

__all__ = [
    'check_suffix',
    'find_rows',
    'has_embeddings',
    'neighbours',
    'recommendations',
    'write_table',
]

SUFFIXES = ('.parquet', '.csv', '.jsonl')
FORMULA = ('=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠')
"""The characters with which spreadsheets begin a formula, also those of full width."""


def find_rows(ids: IdMap, wanted: Sequence[str], end: str) -> Tensor:
    """Return the rows of users or items, given ids as typed on the command line.

    Args:
        ids: The ids of all users or items.
        wanted: The ids to find.
        end: ``'user'`` or ``'item'``, for the message.

    Raises:
        ValueError: If an id is unknown.
    """
    row_of = {str(own): row for row, own in enumerate(ids)}
    unknown = [own for own in wanted if own not in row_of]
    if unknown:
        examples = ', '.join(repr(str(ids[row])) for row in range(min(3, len(ids))))
        raise ValueError(
            f'the dataset has no {end} {unknown[0]!r}; it has {len(ids)} {end}s, such as {examples}'
        )
    return torch.tensor([row_of[own] for own in wanted], dtype=torch.long)


def recommendations(run: LoadedRun, users: Tensor | None, k: int) -> dict[str, list[Any]]:
    """Return the items with the highest scores for some or all users, as columns of a table.

    Items that a user has interacted with in train, validation or test are left out.

    Args:
        run: The run.
        users: Rows of the users; :obj:`None` means all. Shape: ``[N]``.
        k: Number of items per user.
    """
    exclude = run.seen('val', 'test')
    scores, items = recommend(run.z_user, run.z_item, users, k=k, exclude=exclude)
    users = torch.arange(run.z_user.size(0)) if users is None else users
    rank = torch.arange(1, k + 1).expand_as(items)
    is_item = items >= 0  # Fewer where a user has almost all items.
    return {
        'user': run.dataset.user_ids.to_ids(users[:, None].expand_as(items)[is_item]),
        'rank': rank[is_item].tolist(),
        'item': run.dataset.item_ids.to_ids(items[is_item]),
        'score': scores[is_item].tolist(),
    }


def neighbours(run: LoadedRun, item: int, k: int) -> dict[str, list[Any]]:
    """Return the items with the embeddings most similar to an item's, as columns of a table.

    There are fewer than :obj:`k` if fewer items have an embedding that isn't zero.

    Args:
        run: The run.
        item: Row of the item.
        k: Number of items.

    Raises:
        ValueError: If the model has no embeddings, or that of the item is zero.
    """
    if not has_embeddings(run):
        raise ValueError(
            f'{type(run.model).__name__} learns no embeddings by which items could be similar; '
            'train another model'
        )
    if not run.z_item[item].any():
        raise ValueError(
            f'the model knows nothing about the item {run.dataset.item_ids[item]!r}: its embedding '
            'is zero, as it has neither interactions in train nor features that the model uses'
        )
    cosine, items = similar_items(run.z_item, torch.tensor([item]), k)
    found = items[0] >= 0
    return {
        'rank': list(range(1, int(found.sum()) + 1)),
        'item': run.dataset.item_ids.to_ids(items[0][found]),
        'cosine': cosine[0][found].tolist(),
    }


def has_embeddings(run: LoadedRun) -> bool:
    """Return whether items have dense embeddings with several channels."""
    return run.z_item.layout == torch.strided and run.z_item.size(1) > 1


def check_suffix(path: Path) -> None:
    """Raise a :class:`ValueError` unless :func:`write_table` can write such a file."""
    if path.suffix not in SUFFIXES:
        raise ValueError(
            f'--output must end in {", ".join(SUFFIXES[:-1])} or {SUFFIXES[-1]} (got {str(path)!r})'
        )


def write_table(path: Path, columns: dict[str, list[Any]], for_spreadsheets: bool = False) -> None:
    """Write columns as Parquet, CSV or JSON Lines, depending on the suffix.

    Args:
        path: The file to write.
        columns: The values of each column.
        for_spreadsheets: Whether to write an apostrophe before texts that a spreadsheet would run
            as a formula. (default: :obj:`False`)

    Raises:
        ValueError: If the suffix is unknown.
    """
    check_suffix(path)
    if for_spreadsheets:
        columns = {name: list(map(_without_formula, column)) for name, column in columns.items()}
    if path.suffix == '.jsonl':
        rows = zip(*columns.values(), strict=True)
        lines = (json.dumps(dict(zip(columns, row, strict=True))) for row in rows)
        content = ''.join(f'{line}\n' for line in lines).encode()
    else:
        buffer, table = io.BytesIO(), arrow().table(columns)
        if path.suffix == '.csv':
            arrow('csv').write_csv(table, buffer)
        else:
            arrow('parquet').write_table(table, buffer)
        content = buffer.getvalue()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)


def _without_formula(value: Any) -> Any:
    is_formula = isinstance(value, str) and value.startswith(FORMULA)
    return f"'{value}" if is_formula else value
