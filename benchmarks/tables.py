"""Seconds and memory of reading tables: InteractionTables beside pandas and polars.

Ten million interactions of a million users with half a million items, whose ids are strings, with a
rating and a time, from Parquet and CSV. The files are made in a temporary folder. pandas and polars
read the same columns, number the ids and keep the last row of each user-item pair: what people
write by hand. They check and count nothing. Every measurement is alone in a new process, whose peak
of memory is shown, with what the imports alone take.
"""

import importlib
import importlib.util
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from common import parser, write_json
from process import memory, run_alone

NUM_USERS, NUM_ITEMS, NUM_ROWS = 1_000_000, 500_000, 10_000_000
FILES = ('interactions.parquet', 'interactions.csv')


def make_files(folder: Path, num_rows: int, scale: float) -> None:
    """Write the same random interactions as Parquet and as CSV, a million rows at a time."""
    pa, csv, parquet = map(importlib.import_module, ('pyarrow', 'pyarrow.csv', 'pyarrow.parquet'))
    rng = np.random.default_rng(0)
    num_users, num_items = int(NUM_USERS * scale), int(NUM_ITEMS * scale)
    schema = pa.schema(
        {'user': pa.string(), 'item': pa.string(), 'rating': pa.float64(), 'time': pa.int64()}
    )
    with (
        parquet.ParquetWriter(folder / FILES[0], schema) as columns,
        csv.CSVWriter(folder / FILES[1], schema) as lines,
    ):
        for start in range(0, num_rows, 1_000_000):
            size = min(1_000_000, num_rows - start)
            user = rng.integers(num_users, size=size) * 7919
            item = (rng.random(size) ** 3 * num_items).astype(np.int64) * 104729
            table = pa.table(
                {
                    'user': [f'A{u:013X}' for u in user.tolist()],
                    'item': [f'B{i:09X}' for i in item.tolist()],
                    'rating': rng.integers(1, 6, size=size).astype(float),
                    'time': rng.integers(1_300_000_000, 1_700_000_000, size=size),
                },
                schema,
            )
            columns.write_table(table)
            lines.write_table(table)


def read_with_pandas(path: Path) -> int:
    """Return the number of interactions that pandas keeps."""
    pd = importlib.import_module('pandas')
    names = ['user', 'item', 'rating', 'time']
    is_csv = path.suffix == '.csv'
    frame = pd.read_csv(path, usecols=names) if is_csv else pd.read_parquet(path, columns=names)
    frame = frame.sort_values('time', kind='stable').drop_duplicates(['user', 'item'], keep='last')
    frame = frame.sort_index()
    user, user_ids = pd.factorize(frame['user'], sort=True)
    item, item_ids = pd.factorize(frame['item'], sort=True)
    edge_index = torch.from_numpy(np.stack([user, item]))
    kept = (edge_index, torch.tensor(frame['time'].to_numpy()), user_ids, item_ids)
    return kept[0].size(1)


def read_with_polars(path: Path) -> int:
    """Return the number of interactions that polars keeps."""
    pl = importlib.import_module('polars')
    names = ['user', 'item', 'rating', 'time']
    table = pl.scan_csv(path) if path.suffix == '.csv' else pl.scan_parquet(path)
    frame = (
        table.select(names)
        .with_row_index()
        .sort('time', maintain_order=True)
        .unique(['user', 'item'], keep='last', maintain_order=True)
        .sort('index')
        .with_columns(pl.col('user', 'item').rank('dense') - 1)
        .collect()
    )
    edge_index = torch.stack([frame[end].to_torch().long() for end in ('user', 'item')])
    kept = (edge_index, frame['time'].to_torch(), frame['rating'].to_torch())
    return kept[0].size(1)


def read_with_ours(path: Path) -> int:
    """Return the number of interactions that InteractionTables keeps."""
    from pyg_mmgef.datasets import InteractionTables

    dataset = InteractionTables(path, user='user', item='item', rating='rating', time='time')
    return dataset[0]['user', 'interacts', 'item'].edge_index.size(1)


READERS: dict[str, tuple[Callable[[Path], int], tuple[str, ...]]] = {
    'InteractionTables': (read_with_ours, ('duckdb', 'pyg_mmgef.datasets')),
    'pandas': (read_with_pandas, ('pandas', 'pyarrow.parquet')),
    'polars': (read_with_polars, ('polars',)),
}
"""The methods, and what they import, which isn't timed."""


def measure(method: str, path: Path) -> dict[str, float]:
    """Read a file with one method, in this process."""
    read, modules = READERS[method]
    for module in modules:
        importlib.import_module(module)
    before = memory('VmRSS')
    start = time.perf_counter()
    kept = read(path)
    seconds = time.perf_counter() - start
    return {'seconds': seconds, 'MiB': memory('VmHWM'), 'imports': before, 'interactions': kept}


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument('--rows', type=int, default=NUM_ROWS)
    arguments.add_argument('--alone', nargs=2, help='method and file: one measurement')
    args = arguments.parse_args()
    torch.set_num_threads(args.threads)
    if args.alone:
        print(json.dumps(measure(args.alone[0], Path(args.alone[1]))))
        return
    num_rows = 200_000 if args.quick else args.rows
    methods = [name for name, (_, needs) in READERS.items() if importlib.util.find_spec(needs[0])]
    results: dict[str, dict[str, dict]] = {}
    with tempfile.TemporaryDirectory() as folder:
        make_files(Path(folder), num_rows, min(1.0, num_rows / NUM_ROWS))
        print(f'{num_rows:,} interactions, {args.threads} threads')
        print(f'{"":<22}{"":<20}{"seconds":>9}{"peak GB":>9}{"imports GB":>12}{"kept":>12}')
        for name in FILES:
            results[name] = {}
            for method in methods:
                row = run_alone(
                    __file__, ['--alone', method, str(Path(folder) / name)], args.threads
                )
                results[name][method] = row
                if 'failed' in row:
                    print(f'{name:<22}{method:<20}  failed: {row["failed"]}')
                    continue
                print(
                    f'{name:<22}{method:<20}{row["seconds"]:>9.1f}{row["MiB"] / 1024:>9.2f}'
                    f'{row["imports"] / 1024:>12.2f}{row["interactions"]:>12,}'
                )
    write_json(args.output / 'tables.json', results)


if __name__ == '__main__':
    main()
