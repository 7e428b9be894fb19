"""Small exports with random vectors, written as the exporter writes them."""

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pyg_mmgef.catalog import Catalog
from pyg_mmgef.catalog.fold_in import LinearFoldIn
from pyg_mmgef.files import sha256_of, write_atomically

BRANDS = ('Arc', 'Lumo', 'Nord', None)


def make_catalog(num_items: int, rng: np.random.Generator) -> Catalog:
    """Return items named I0, I1, ... with a brand, a price and a stock."""
    price = rng.integers(5, 100, num_items).astype(float)
    price[rng.random(num_items) < 0.1] = np.nan
    return Catalog(
        [f'I{i}' for i in range(num_items)],
        titles=[f'{("Lamp", "Rug", "Chair")[i % 3]} {i}' for i in range(num_items)],
        fields={
            'brand': np.array([BRANDS[i % 4] for i in range(num_items)], object),
            'price': price,
            'in_stock': (rng.random(num_items) < 0.8).astype(float),
        },
    )


def make_export(
    folder: Path,
    *,
    num_users: int = 50,
    num_items: int = 80,
    channels: int = 8,
    seed: int = 0,
    seen_each: int = 6,
    fold_in: bool = True,
    content: bool = False,
    vectors: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None,
    catalog: Catalog | None = None,
    user_ids: list[Any] | None = None,
    pictures: dict[int, bytes] | None = None,
    version: str = '',
) -> Path:
    """Write an export, ``export.json`` last, and return its folder.

    The files of a version lie in a folder of their own, so that another one can take its place.
    """
    rng = np.random.default_rng(seed)
    whole, folder = folder, folder / version
    folder.mkdir(parents=True, exist_ok=True)
    if vectors is None:
        vectors = (
            rng.standard_normal((num_users, channels), np.float32),
            rng.standard_normal((num_items, channels), np.float32),
        )
    user_vectors, item_vectors = vectors
    catalog = make_catalog(num_items, rng) if catalog is None else catalog
    seen = [np.sort(rng.choice(num_items, seen_each, False)) for _ in range(num_users)]
    if user_ids is None:
        user_ids = [f'u{i}' for i in range(num_users)]
    arrays: dict[str, NDArray[Any]] = {
        'user_vectors.npy': user_vectors,
        'item_vectors.npy': item_vectors,
        'seen_indptr.npy': np.arange(num_users + 1) * seen_each,
        'seen_indices.npy': np.concatenate(seen).astype(np.int32),
        'popularity.npy': rng.integers(0, 30, num_items).astype(np.float32),
    }
    settings = None
    if fold_in:
        linear = LinearFoldIn(rng.standard_normal((num_items, channels), np.float32))
        settings = linear.settings
        arrays |= {f'fold_in_{name}.npy': array for name, array in linear.to_arrays().items()}
    modalities = None
    if content:
        modalities = {'modalities': ['image', 'text'], 'channels': {'image': 3, 'text': 4}}
        arrays |= {
            'content_mean_image.npy': rng.standard_normal(3),
            'content_mean_text.npy': rng.standard_normal(4),
            'content_weight.npy': rng.standard_normal((7, channels)),
            'content_bias.npy': rng.standard_normal(channels),
        }
        arrays |= {
            name.replace('content', 'history'): -x for name, x in arrays.items() if name[0] == 'c'
        }
    for name, array in arrays.items():
        temporary = folder / f'new_{name}'
        np.save(temporary, array)
        temporary.replace(folder / name)
    pq.write_table(pa.table({'id': user_ids}), folder / 'users.parquet')
    catalog.save(folder / 'items.parquet')
    index = faiss.IndexFlatIP(channels)
    index.add(item_vectors)
    faiss.write_index(index, str(folder / 'item_index.faiss'))
    if pictures:
        (folder / 'pictures').mkdir(exist_ok=True)
        for row, picture in pictures.items():
            (folder / 'pictures' / f'{row}.jpg').write_bytes(picture)
    names = [*arrays, 'users.parquet', 'items.parquet', 'item_index.faiss']
    meta = {
        'format': 1,
        'created': datetime.now(timezone.utc).isoformat(),
        'pyg_mmgef': '0',
        'model': 'Random',
        'num_users': num_users,
        'num_items': num_items,
        'channels': channels,
        'score': 'inner product',
        'index': {'kind': 'flat', 'metric': 'inner product', 'recall': None},
        'fold_in': settings,
        'content': modalities,
        'history': modalities,
        'folder': version,
        'files': {name: sha256_of(folder / name) for name in names},
    }
    write_atomically(whole / 'export.json', json.dumps(meta).encode())
    return whole
