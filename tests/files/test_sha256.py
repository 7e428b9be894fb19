import hashlib
from pathlib import Path

import pytest

from pyg_mmgef.files import check_sha256, has_sha256, sha256_of

CONTENT = bytes(range(256)) * 10_000


def test_is_that_of_hashlib(tmp_path: Path) -> None:
    path = tmp_path / 'a'
    path.write_bytes(CONTENT)
    expected = hashlib.sha256(CONTENT).hexdigest()
    assert sha256_of(path) == expected
    assert has_sha256(path, expected)
    check_sha256(path, expected, '')
    path.write_bytes(CONTENT[1:])
    assert not has_sha256(path, expected)
    with pytest.raises(ValueError, match=r"a' is damaged \(its checksum is wrong\); do that"):
        check_sha256(path, expected, 'do that')
    path.unlink()
    assert not has_sha256(path, expected)
    with pytest.raises(ValueError, match=r"a' is damaged \(it is missing\); do that"):
        check_sha256(path, expected, 'do that')
