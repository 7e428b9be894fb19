"""Files of safetensors in pieces, read by the library."""

import numpy as np
import pytest
import safetensors.numpy

from pyg_mmgef.files import Entry, safetensors_pieces


def test_the_library_reads_it() -> None:
    rows = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    flags = np.array([True, False, True])
    nothing = np.empty((0, 4), np.int64)
    entries = {
        'rows': Entry('F32', rows.shape, (rows[i : i + 2].tobytes() for i in range(0, 7, 2))),
        'flags': Entry('BOOL', [3], [flags.tobytes()]),
        'nothing': Entry('I64', nothing.shape, []),
    }
    found = safetensors.numpy.load(b''.join(safetensors_pieces(entries)))
    for name, expected in (('rows', rows), ('flags', flags), ('nothing', nothing)):
        assert np.array_equal(found[name], expected)
        assert found[name].dtype == expected.dtype
        assert found[name].shape == expected.shape


def test_pieces_that_do_not_fit_are_found_by_the_reader() -> None:
    content = b''.join(safetensors_pieces({'x': Entry('F32', [2], [bytes(4)])}))
    with pytest.raises(safetensors.SafetensorError):
        safetensors.numpy.load(content)
