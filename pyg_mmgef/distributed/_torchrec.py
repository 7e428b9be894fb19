"""TorchRec: how it is found, and how a module with tables becomes parallel."""

import importlib
import os
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import Module

__all__ = ['OPTIMIZERS', 'as_lookup', 'load_torchrec', 'make_collection', 'make_parallel']

INSTALL = 'pip install --no-deps -r requirements/distributed.txt'

# Our names, and TorchRec's.
OPTIMIZERS = {
    'rowwise_adagrad': 'EXACT_ROWWISE_ADAGRAD',
    'adagrad': 'EXACT_ADAGRAD',
    'sgd': 'EXACT_SGD',
}
OF_BAGS = ('rowwise_adagrad', 'sgd')
"""Those that FBGEMM also has where tables have different numbers of bags."""


def load_torchrec() -> Any:
    """Return the package ``torchrec``.

    Raises:
        ImportError: If it isn't installed, with the command that installs it.
    """
    try:
        return importlib.import_module('torchrec')
    except ImportError as error:
        raise ImportError(
            f'sharded tables need TorchRec ({error}); in a copy of the repository, run: {INSTALL}'
        ) from error


def make_collection(tables: dict[str, tuple[int, int]]) -> Module:
    """Return an ``EmbeddingCollection`` without memory.

    Args:
        tables: The numbers of rows and channels of each table by name. A table is read by the
            feature of the same name.
    """
    torchrec = load_torchrec()
    configs = [
        torchrec.EmbeddingConfig(
            name=name,
            num_embeddings=rows,
            embedding_dim=channels,
            feature_names=[name],
            init_fn=_leave_as_it_is,
        )
        for name, (rows, channels) in tables.items()
    ]
    return torchrec.EmbeddingCollection(tables=configs, device=torch.device('meta'))


def _leave_as_it_is(table: torch.Tensor) -> None:
    """Initialise nothing; the rows are filled once they are sharded."""


def as_lookup(ids: dict[str, Tensor]) -> Any:
    """Return the ids that are read of each table, as one ``KeyedJaggedTensor``."""
    torchrec = load_torchrec()
    values = list(ids.values())
    lengths = torch.tensor([x.numel() for x in values], device=values[0].device)
    return torchrec.KeyedJaggedTensor(keys=list(ids), values=torch.cat(values), lengths=lengths)


def make_parallel(
    module: Module, tables: list[str], device: torch.device, *, optimizer: str, lr: float
) -> Any:
    """Return the module as ``DistributedModelParallel``, its tables sharded by rows.

    Parameters outside the tables are replicated by DistributedDataParallel.

    Args:
        module: The module; the tables are in its child ``collection``.
        tables: The names of the tables.
        device: The device of this process.
        optimizer: One of :data:`OPTIMIZERS`, which updates the tables within ``backward``.
        lr: Its learning rate.
    """
    load_torchrec()
    from fbgemm_gpu.split_embedding_configs import EmbOptimType
    from torchrec.distributed.embedding import EmbeddingCollectionSharder
    from torchrec.distributed.embedding_types import EmbeddingComputeKernel
    from torchrec.distributed.model_parallel import (
        DefaultDataParallelWrapper,
        DistributedModelParallel,
    )
    from torchrec.distributed.planner import EmbeddingShardingPlanner
    from torchrec.distributed.planner.storage_reservations import (
        FixedPercentageStorageReservation,
    )
    from torchrec.distributed.planner.types import (
        HardwareConfig,
        KernelConfig,
        ParameterConstraints,
        TopologyFactory,
        TrainerConfig,
    )
    from torchrec.distributed.types import ShardingType

    fused = {'optimizer': EmbOptimType[OPTIMIZERS[optimizer]], 'learning_rate': lr, 'eps': EPS}
    sharders = [EmbeddingCollectionSharder(fused_params=fused)]
    size = dist.get_world_size()
    topology = TopologyFactory.create_topology(
        TrainerConfig(
            world_size=size, local_world_size=int(os.environ.get('LOCAL_WORLD_SIZE', size))
        ),
        HardwareConfig(),
        KernelConfig(compute_device=device.type),
    )
    by_rows = ParameterConstraints(
        sharding_types=[ShardingType.ROW_WISE.value],
        compute_kernels=[EmbeddingComputeKernel.FUSED.value],
    )
    planner = EmbeddingShardingPlanner(
        topology=topology,
        constraints=dict.fromkeys(tables, by_rows),
        storage_reservation=FixedPercentageStorageReservation(0.1),
        debug=False,
    )
    plan = planner.collective_plan(module, sharders, dist.GroupMember.WORLD)
    frozen = [name for name, p in module.named_parameters() if not p.requires_grad]
    with warnings.catch_warnings():
        # TorchRec passes an argument that DistributedDataParallel has renamed.
        warnings.filterwarnings('ignore', message='`broadcast_buffers` is deprecated')
        parallel = DistributedModelParallel(
            module,
            device=device,
            plan=plan,
            sharders=sharders,
            data_parallel_wrapper=DefaultDataParallelWrapper(params_to_ignore=frozen),
        )
    if device.type == 'cpu' and optimizer in OF_BAGS:
        _update_as_bags(parallel)
    return parallel


def _update_as_bags(parallel: Any) -> None:
    """Let FBGEMM read rows as bags of one row each, whose backward is some 50 times as fast.

    On the CPU, its backward of tables that aren't pooled takes 10 microseconds a row.
    """
    from fbgemm_gpu.split_table_batched_embeddings_ops_common import PoolingMode
    from fbgemm_gpu.split_table_batched_embeddings_ops_training import (
        SplitTableBatchedEmbeddingBagsCodegen,
    )

    collection: Any = parallel.module.collection
    for tables in (x for lookup in collection._lookups for x in lookup.modules()):
        # Where a process has no rows of the last table, it would read past the sizes of tables.
        if isinstance(tables, SplitTableBatchedEmbeddingBagsCodegen) and all(
            num_rows > 0 for num_rows, *_ in tables.embedding_specs
        ):
            tables.pooling_mode = PoolingMode.SUM
            size = len(tables.feature_table_map), tables.max_D
            tables.forward = partial(_rows_as_bags, tables.forward, *size)


def _rows_as_bags(
    forward: Callable[..., Tensor],
    num_features: int,
    width: int,
    indices: Tensor,
    offsets: Tensor,
) -> Tensor:
    """Return the rows of some tables; each table's ids are between every n-th of the offsets."""
    bounds = offsets[:: (len(offsets) - 1) // num_features]
    bags = torch.arange(len(indices) + 1, dtype=offsets.dtype)
    rows = forward(
        indices,
        bags,
        batch_size_per_feature_per_rank=[[size] for size in bounds.diff().tolist()],
    )
    return rows.view(len(indices), width)


EPS = 1e-8
"""What Adagrad adds to its denominator."""
