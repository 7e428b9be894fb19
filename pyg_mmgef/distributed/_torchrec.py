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
    if device.type == 'cpu':
        _read_as_bags(parallel)
    return parallel


def _read_as_bags(parallel: Any) -> None:
    """Let FBGEMM read rows as bags of one row each, which takes a tenth of the time on the CPU.

    There its backward of tables that aren't pooled takes some microseconds a row.
    """
    from fbgemm_gpu.split_table_batched_embeddings_ops_common import PoolingMode
    from fbgemm_gpu.split_table_batched_embeddings_ops_training import (
        SplitTableBatchedEmbeddingBagsCodegen,
    )

    collection: Any = parallel.module.collection
    for tables in (x for lookup in collection._lookups for x in lookup.modules()):
        if isinstance(tables, SplitTableBatchedEmbeddingBagsCodegen):
            tables.pooling_mode = PoolingMode.SUM
            num_tables = len(tables.feature_table_map)
            tables.forward = partial(_rows_of_bags, tables.forward, num_tables, tables.max_D)


def _rows_of_bags(
    forward: Callable[..., Tensor],
    num_tables: int,
    width: int,
    indices: Tensor,
    offsets: Tensor,
) -> Tensor:
    """Return the rows of some tables one after the other, as without pooling.

    Args:
        forward: What returns for bag :math:`b` the sums of all tables side by side. Tables with
            fewer rows have empty bags at the end.
        num_tables: The number of tables.
        width: Their channels.
        indices: The rows to read, table by table.
        offsets: Where the rows of each table begin is every n-th of these.
    """
    bounds = offsets[:: (len(offsets) - 1) // num_tables]
    sizes = bounds.diff().tolist()
    bags = torch.arange(max(sizes), dtype=offsets.dtype)
    begins = [torch.minimum(bags + bounds[n], bounds[n + 1]) for n in range(num_tables)]
    sums = forward(indices, torch.cat([*begins, bounds[-1:]])).split(width, dim=1)
    return torch.cat([rows[:size] for rows, size in zip(sums, sizes, strict=True)])


EPS = 1e-8
"""What Adagrad adds to its denominator."""
