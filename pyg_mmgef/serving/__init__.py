"""A server of recommendations from an exported run, which needs neither torch nor PyG."""

from pyg_mmgef.serving.app import make_app
from pyg_mmgef.serving.engine import Answer, Ask, Engine
from pyg_mmgef.serving.export_folder import ExportFolder, load_export
from pyg_mmgef.serving.server import serve
from pyg_mmgef.serving.settings import Settings

__all__ = [
    'Answer',
    'Ask',
    'Engine',
    'ExportFolder',
    'Settings',
    'load_export',
    'make_app',
    'serve',
]
