import subprocess
import sys
from pathlib import Path

HEAVY = ('torch', 'torch_geometric', 'pandas', 'scipy', 'pyarrow', 'duckdb')


def run(code: str) -> str:
    """Run code in a new interpreter."""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_the_catalog_imports_nothing_heavy() -> None:
    found = run(f'import sys, pyg_mmgef.catalog; print([m for m in {HEAVY} if m in sys.modules])')
    assert found == '[]'


def test_rules_work_without_torch(tmp_path: Path) -> None:
    path = str(tmp_path / 'items.parquet')
    found = run(f"""
import sys
sys.modules['torch'] = None
from pyg_mmgef.catalog import Catalog, Rules
Catalog(['a', 'b'], fields={{'price': [1, 2]}}).save({path!r})
catalog = Catalog.load({path!r})
rules = Rules(where={{'price': (2, None)}})
print(rules.rerank(catalog, [[0, 1]], [[2.0, 1.0]], 1).items.tolist())
""")
    assert found == '[[1]]'
