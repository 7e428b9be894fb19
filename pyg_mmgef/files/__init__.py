"""Files that are whole: written atomically, with a checksum that is compared when they are read."""

from pyg_mmgef.files.arrays import load_arrays, write_array
from pyg_mmgef.files.arrow import import_arrow
from pyg_mmgef.files.atomic import (
    disk_errors_name,
    make_folder,
    open_atomically,
    remove_leftovers,
    sync_folder,
    write_atomically,
)
from pyg_mmgef.files.safetensors_pieces import Entry, safetensors_pieces
from pyg_mmgef.files.sealed import check_sealed, open_sealed, read_sealed, write_sealed
from pyg_mmgef.files.sealed_json import read_json, write_json
from pyg_mmgef.files.sha256 import check_sha256, damaged, has_sha256, sha256_of

__all__ = [
    'Entry',
    'check_sealed',
    'check_sha256',
    'damaged',
    'disk_errors_name',
    'has_sha256',
    'import_arrow',
    'load_arrays',
    'make_folder',
    'open_atomically',
    'open_sealed',
    'read_json',
    'read_sealed',
    'remove_leftovers',
    'safetensors_pieces',
    'sha256_of',
    'sync_folder',
    'write_array',
    'write_atomically',
    'write_json',
    'write_sealed',
]
