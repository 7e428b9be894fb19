from typing import Any

import pytest

from pyg_mmgef.tables._engine import connect

duckdb = pytest.importorskip('duckdb')

UNITS = {'KiB': 2**10, 'MiB': 2**20, 'GiB': 2**30, 'TiB': 2**40}


def setting(connection: Any, name: str) -> str:
    return connection.execute(f"SELECT current_setting('{name}')").fetchone()[0]


def memory_of(connection: Any) -> float:
    size, unit = setting(connection, 'memory_limit').split()
    return float(size) * UNITS[unit]


def test_a_connection_has_a_folder_of_its_own_and_half_of_the_memory() -> None:
    with connect() as one, connect() as other, duckdb.connect() as usual:
        assert setting(one, 'temp_directory') != setting(other, 'temp_directory')
        assert memory_of(one) == pytest.approx(memory_of(usual) * 0.5 / 0.8, rel=0.05)
