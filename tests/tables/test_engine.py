import pytest

duckdb = pytest.importorskip('duckdb')

from pyg_mmgef.tables._engine import Connection, connect


def setting(connection: Connection, name: str) -> str:
    return connection.execute(f"SELECT current_setting('{name}')").fetchone()[0]


def test_a_connection_has_a_folder_of_its_own_and_half_of_the_memory() -> None:
    with connect() as one, connect() as other, duckdb.connect() as usual:
        assert setting(one, 'temp_directory') != setting(other, 'temp_directory')
        size, unit = setting(one, 'memory_limit').split()
        usual_size, usual_unit = setting(usual, 'memory_limit').split()
    assert unit == usual_unit
    assert float(size) == pytest.approx(float(usual_size) * 0.5 / 0.8, abs=0.11)
