"""Clicks become partitioned interactions, with Spark.

spark-submit examples/partition/interactions_spark.py clicks.parquet partitioned

Writes `interactions`, with row ids, and the tables of ids, `users` and `items`. Clicks with
an empty field are left out.

Needs `pip install pyspark` and Java 17. Spark doesn't read times in nanoseconds, which pandas may
have; write them with `to_parquet(..., coerce_timestamps='us', allow_truncated_timestamps=True)`.
"""

import argparse

from pyspark.sql import DataFrame, SparkSession

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument('clicks', help='Parquet with the columns user_id, item_id and time')
parser.add_argument('output')
parser.add_argument('--parts', type=int, default=64, help='files of interactions')
args = parser.parse_args()

spark = SparkSession.builder.appName('interactions').getOrCreate()
clicks = spark.read.parquet(args.clicks).select('user_id', 'item_id', 'time').dropna()


def numbered(name: str) -> DataFrame:
    """Write the distinct ids with their rows, numbered in sorted order, and return the table."""
    ids = clicks.select(f'{name}_id').distinct().sort(f'{name}_id').rdd.zipWithIndex()
    path = f'{args.output}/{name}s'
    ids.map(lambda pair: (pair[0][0], pair[1])).toDF([f'{name}_id', name]).write.parquet(path)
    return spark.read.parquet(path)


rows = clicks.join(numbered('user'), 'user_id').join(numbered('item'), 'item_id')
rows = rows.select('user', 'item', 'time').repartition(args.parts)
rows.write.parquet(f'{args.output}/interactions')
spark.stop()
