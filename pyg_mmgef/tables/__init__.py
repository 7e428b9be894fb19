"""Tables in files, databases and memory, read by DuckDB; nothing here needs torch."""

from pyg_mmgef.tables.find_columns import find_columns
from pyg_mmgef.tables.open_table import open_table
from pyg_mmgef.tables.table import Table

__all__ = ['Table', 'find_columns', 'open_table']
