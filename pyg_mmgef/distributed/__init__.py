"""Training on several processes (``torch.distributed``): sharded tables and their checkpoints."""

from pyg_mmgef.distributed.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
from pyg_mmgef.distributed.export import export_checkpoint
from pyg_mmgef.distributed.process_group import Place, process_group
from pyg_mmgef.distributed.sharded_model import ShardedModel, TableShard

__all__ = [
    'Place',
    'ShardedModel',
    'TableShard',
    'export_checkpoint',
    'latest_checkpoint',
    'load_checkpoint',
    'process_group',
    'save_checkpoint',
]
