"""Clicks become partitioned interactions, with Dask.

python examples/partition/interactions_dask.py clicks.parquet partitioned

Writes `interactions`, with row ids, and the tables of ids, `users` and `items`. Clicks with
an empty field are left out. The ids are held in memory, the clicks are not.

Needs `pip install "dask[dataframe]"`.
"""

import argparse
from pathlib import Path

import dask.dataframe as dd
import pandas as pd

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument('clicks', help='Parquet with the columns user_id, item_id and time')
parser.add_argument('output', type=Path)
parser.add_argument('--parts', type=int, default=64, help='files of interactions')
args = parser.parse_args()

columns = ['user_id', 'item_id', 'time']
# Arrow's types keep integers that have empty fields among them.
clicks = dd.read_parquet(args.clicks, columns=columns, dtype_backend='pyarrow').dropna()
clicks = clicks.categorize(columns=['user_id', 'item_id'])
for name in ('user', 'item'):
    ids = clicks[f'{name}_id'].cat.categories
    (args.output / f'{name}s').mkdir(parents=True)
    table = pd.DataFrame({f'{name}_id': ids, name: range(len(ids))})
    table.to_parquet(args.output / f'{name}s' / 'part.0.parquet', index=False)
    clicks[name] = clicks[f'{name}_id'].cat.codes.astype('int64')
rows = clicks[['user', 'item', 'time']].repartition(npartitions=args.parts)
rows.to_parquet(args.output / 'interactions', write_index=False)
