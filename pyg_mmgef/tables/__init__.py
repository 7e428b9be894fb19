"""Tables in files, databases and memory, read by DuckDB; nothing here needs torch."""

from pyg_mmgef.tables.database import DatabaseQuery, read_database
from pyg_mmgef.tables.find_columns import find_columns
from pyg_mmgef.tables.open_table import open_table
from pyg_mmgef.tables.suggest import TableSample, suggest_columns
from pyg_mmgef.tables.table import Table

__all__ = [
    'DatabaseQuery',
    'Table',
    'TableSample',
    'find_columns',
    'open_table',
    'read_database',
    'suggest_columns',
]
