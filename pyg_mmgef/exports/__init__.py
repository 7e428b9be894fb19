"""Exports, and what they are made of: versions, an index of the items, their thumbnails."""

from pyg_mmgef.exports.item_index import MeasuredIndex, inner_product_index
from pyg_mmgef.exports.programs import (
    ContentProgram,
    export_program,
    write_onnx,
    write_program,
)
from pyg_mmgef.exports.thumbnails import write_thumbnails
from pyg_mmgef.exports.version_folder import NewVersion, new_version
from pyg_mmgef.exports.write_export import write_export

__all__ = [
    'ContentProgram',
    'MeasuredIndex',
    'NewVersion',
    'export_program',
    'inner_product_index',
    'new_version',
    'write_export',
    'write_onnx',
    'write_program',
    'write_thumbnails',
]
