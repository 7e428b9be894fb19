import sys

import pytest

from pyg_mmgef.files import import_arrow


def test_parts_of_arrow() -> None:
    assert import_arrow().__name__ == 'pyarrow'
    assert import_arrow('parquet').__name__ == 'pyarrow.parquet'


@pytest.mark.parametrize('part', ['', 'parquet'])
def test_without_arrow_the_extra_is_named(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'pyarrow', None)
    monkeypatch.setitem(sys.modules, 'pyarrow.parquet', None)
    with pytest.raises(ImportError, match=r'pip install "pyg-mmgef\[cli\]"'):
        import_arrow(part)
