"""Clicks become partitioned interactions, with Ray Data.

python examples/partition/interactions_ray.py clicks.parquet partitioned

Writes `interactions`, with row ids, and the tables of ids, `users` and `items`. Clicks with
an empty field are left out. The ids are held in memory, the clicks are not.

Needs `pip install "ray[data]"`. On several machines, both paths must be on storage that all share.
"""

import argparse
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import ray

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument('clicks', help='Parquet with the columns user_id, item_id and time')
parser.add_argument('output', type=Path)
parser.add_argument('--parts', type=int, default=64, help='files of interactions')
args = parser.parse_args()

clicks = ray.data.read_parquet(str(Path(args.clicks).resolve()))
clicks = clicks.select_columns(['user_id', 'item_id', 'time'])
clicks = clicks.map_batches(pa.Table.drop_null, batch_format='pyarrow')
ids = {name: pa.array(sorted(clicks.unique(f'{name}_id'))) for name in ('user', 'item')}
for name, known in ids.items():
    (args.output / f'{name}s').mkdir(parents=True)
    table = pa.table({f'{name}_id': known, name: range(len(known))})
    pq.write_table(table, args.output / f'{name}s' / 'part-0.parquet')
of_ids = ray.put(ids)


def with_rows(part: pa.Table) -> pa.Table:
    """Replace ids by rows."""
    known = ray.get(of_ids)
    columns = {name: pc.index_in(part[f'{name}_id'], known[name]) for name in known}
    return pa.table({**columns, 'time': part['time']})


rows = clicks.map_batches(with_rows, batch_format='pyarrow').repartition(args.parts)
rows.write_parquet(str((args.output / 'interactions').resolve()))
