"""Tables in files, databases and memory, read by DuckDB; nothing here needs torch."""

from pyg_mmgef.tables._arrow_table import Record, RecordTable, arrow
from pyg_mmgef.tables._files import unpacked
from pyg_mmgef.tables._numbering import DistinctIds
from pyg_mmgef.tables._read_tables import read_tables
from pyg_mmgef.tables.find_columns import find_columns
from pyg_mmgef.tables.open_table import open_table
from pyg_mmgef.tables.table import Table

__all__ = [
    'DistinctIds',
    'Record',
    'RecordTable',
    'Table',
    'arrow',
    'find_columns',
    'open_table',
    'read_tables',
    'unpacked',
]
