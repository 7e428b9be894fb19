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
from pyg_mmgef.search import ItemIndex

__all__ = ['check_suffix', 'find_rows', 'recommendations', 'similar_items', 'write_table']

SUFFIXES = ('.parquet', '.csv', '.jsonl')


def find_rows(ids: IdMap, wanted: Sequence[str], end: str) -> Tensor:
    """Return the rows of ids as a person types them.

    Raises:
        ValueError: If an id is unknown.
    """
    row_of = {str(own): row for row, own in enumerate(ids)}
    unknown = [own for own in wanted if own not in row_of]
    if unknown:
        examples = ', '.join(repr(str(ids[row])) for row in range(min(3, len(ids))))
        raise ValueError(
            f'there is no {end} {unknown[0]!r} among the {len(ids)} of the dataset (there are '
            f'{examples}, ...)'
        )
    return torch.tensor([row_of[own] for own in wanted], dtype=torch.long)


def recommendations(run: LoadedRun, users: Tensor | None, k: int) -> dict[str, list[Any]]:
    """Return the best new items of some users, or of all, as columns.

    Nothing that a user has, in train, validation or test, is recommended again.
    """
    exclude = run.seen('val', 'test')
    scores, items = recommend(run.z_user, run.z_item, users, k=k, exclude=exclude)
    users = torch.arange(run.z_user.size(0)) if users is None else users
    rank = torch.arange(1, k + 1).expand_as(items)
    is_item = items >= 0  # A user may have fewer items left.
    return {
        'user': run.dataset.user_ids.to_ids(users[:, None].expand_as(items)[is_item]),
        'rank': rank[is_item].tolist(),
        'item': run.dataset.item_ids.to_ids(items[is_item]),
        'score': scores[is_item].tolist(),
    }


def similar_items(run: LoadedRun, item: int, k: int) -> dict[str, list[Any]]:
    """Return the items whose embeddings have the largest cosine with that of an item."""
    k = min(k, run.z_item.size(0) - 1)
    cosine, neighbours = ItemIndex(run.z_item).search(run.z_item[item : item + 1], k + 1)
    others = neighbours[0] != item
    return {
        'rank': list(range(1, k + 1)),
        'item': run.dataset.item_ids.to_ids(neighbours[0][others][:k]),
        'cosine': cosine[0][others][:k].tolist(),
    }


def check_suffix(path: Path) -> None:
    """Raise a :class:`ValueError` unless :func:`write_table` can write such a file."""
    if path.suffix not in SUFFIXES:
        raise ValueError(
            f'--output must end in {", ".join(SUFFIXES[:-1])} or {SUFFIXES[-1]} (got {str(path)!r})'
        )


def write_table(path: Path, columns: dict[str, list[Any]]) -> None:
    """Write columns as Parquet, CSV or JSON Lines, by the suffix."""
    check_suffix(path)
    if path.suffix == '.jsonl':
        rows = zip(*columns.values(), strict=True)
        lines = (json.dumps(dict(zip(columns, row, strict=True))) for row in rows)
        content = ''.join(f'{line}\n' for line in lines).encode()
    else:
        import pyarrow as pa
        import pyarrow.csv
        import pyarrow.parquet

        buffer, table = io.BytesIO(), pa.table(columns)
        if path.suffix == '.csv':
            pyarrow.csv.write_csv(table, buffer)
        else:
            pyarrow.parquet.write_table(table, buffer)
        content = buffer.getvalue()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)
