from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import Embedding, Module, Parameter
from torch.optim import Optimizer
from torch_geometric.data import HeteroData

from pyg_mmgef.distributed._initial_rows import Fill, fill_rows, fills_of
from pyg_mmgef.distributed._row_lookup import RowLookup
from pyg_mmgef.distributed._torchrec import (
    OPTIMIZERS,
    as_lookup,
    load_torchrec,
    make_collection,
    make_parallel,
)
from pyg_mmgef.nn.models.recommender import Recommender
from pyg_mmgef.schema import ITEM, USER
from pyg_mmgef.validate import check_choice, check_not_negative, check_positive

__all__ = ['ShardedModel', 'TableShard']

NODE_TYPE_OF = {'user_embedding': USER, 'item_embedding': ITEM}


class TableShard(NamedTuple):
    """The rows of a table that a process holds, a contiguous range."""

    start: int
    """The number of the first row in the table."""
    rows: Tensor
    """The rows themselves, not a copy.

    Shape: ``[N, channels]``.
    """
    num_rows: int
    """Rows of the whole table."""


class ShardedModel(Module):
    r"""A model whose embeddings of users and items are spread over processes.

    Of both tables, process :math:`p` of :math:`P` holds the rows from
    :math:`p \lceil N / P \rceil` on, with their part of the optimiser's state. A step fetches the
    rows of its batch, of both tables at once, and sends their gradients back; what it costs doesn't
    depend on the number of rows. The tables are an ``EmbeddingCollection`` of
    `TorchRec <https://docs.pytorch.org/torchrec/>`_ under ``DistributedModelParallel``, planned by
    its ``EmbeddingShardingPlanner``; all other parameters are replicated, and their gradients
    averaged by :class:`~torch.nn.parallel.DistributedDataParallel`.

    ``backward`` itself updates the rows of the tables. With

    .. math::
        \mathbf{g}_r = \frac{1}{P} \sum_{p=1}^{P} \frac{\partial \mathcal{L}_p}{\partial
        \mathbf{x}_r}, \qquad s_r \leftarrow s_r + \frac{1}{D} \lVert \mathbf{g}_r \rVert^2, \qquad
        \mathbf{x}_r \leftarrow \mathbf{x}_r - \frac{\eta}{\sqrt{s_r} + \epsilon} \mathbf{g}_r

    the default is row-wise Adagrad, whose state is one number per row. With the loader's
    ``loss_weight`` for the loss :math:`\mathcal{L}_p` of each process's share of a batch,
    :math:`\mathbf{g}_r` is the gradient of the whole batch: any number of processes then takes the
    steps of one, up to rounding.

    The rows start as the model's ``reset_parameters`` has them, sampled by each process for its own
    rows. A row depends on :obj:`seed` and its number alone, never on the number of processes.

    **What TorchRec can't do on the CPU:** its fused Adam and LAMB run on GPUs alone, so they aren't
    offered. Its other optimisers keep to rows that a batch reads.

    Args:
        model: The model, built ``with torch.device('meta')``, so that nobody needs memory for whole
            tables. It is changed: the modules ``user_embedding`` and ``item_embedding``, wherever
            they are in it, are replaced. It must read them by calling them with ``n_id`` of the
            batch.
        loss_fn: What :meth:`~pyg_mmgef.nn.Recommender.loss` takes.
        lr: The learning rate :math:`\eta` of the tables.
        optimizer: That of the tables: ``'rowwise_adagrad'``, ``'adagrad'`` or ``'sgd'``.
            (default: ``'rowwise_adagrad'``)
        dense_optimizer: Called with all other parameters, if there are any, it returns their
            optimiser. (default: :class:`torch.optim.Adam`)
        device: The device of this process. (default: ``'cpu'``)
        seed: Seed of the initial parameters. (default: ``0``)

    Raises:
        ImportError: If TorchRec isn't installed.
        RuntimeError: If the process belongs to no process group.
        ValueError: If the model isn't on the device ``'meta'``, has no such tables, tables of
            different widths, or a further table, or an argument is out of range.
    """

    optimizer: Optimizer
    """Steps of all parameters but the tables; also holds the learning rates of these."""
    tables: dict[str, TableShard]
    """The rows of each table that this process holds, by the name of the parameter in the model."""

    def __init__(
        self,
        model: Recommender,
        loss_fn: Module,
        *,
        lr: float,
        optimizer: str = 'rowwise_adagrad',
        dense_optimizer: Callable[[Iterable[Parameter]], Optimizer] = torch.optim.Adam,
        device: torch.device | str = 'cpu',
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_positive('lr', lr, integer=False)
        check_choice('optimizer', optimizer, tuple(OPTIMIZERS))
        check_not_negative('seed', seed, integer=True)
        load_torchrec()
        if not dist.is_initialized():
            raise RuntimeError(
                'ShardedModel needs a process group; make it within process_group(), and start the '
                'script with torchrun'
            )
        device = torch.device(device)
        found = _find_tables(model)
        fills = fills_of(model, {name: found[name].weight for name in found})
        lookups = _replace(model, found, device, seed)
        self.device, self.optimizer_name, self.seed = device, optimizer, seed
        step = _Step(model, loss_fn, lookups)
        names = list(step.paths)
        self.parallel = make_parallel(step, names, device, optimizer=optimizer, lr=lr)
        self.tables = self._shards(fills)
        dense = [p for p in model.parameters() if p.requires_grad]
        self.dense_optimizer = dense_optimizer(dense) if dense else None
        self.optimizer = _combined(self.parallel, model, self.dense_optimizer)

    @property
    def model(self) -> Recommender:
        """The model; its tables are there within a call of this module alone."""
        return self._step.model

    @property
    def _step(self) -> '_Step':
        return self.parallel.module

    def forward(self, batch: HeteroData) -> Tensor:
        """Return the loss of a batch of triplets, whose ``backward`` updates the tables.

        All processes must call it, each with its share of the batch.

        Args:
            batch: A sampled batch, on the device.

        Raises:
            ValueError: If the batch doesn't fit the model.
        """
        self.parallel.fused_optimizer.step()  # Only hands changed learning rates to the tables.
        loss: Tensor = self.parallel(batch)
        return loss

    @torch.no_grad()
    def embed(
        self, batch: HeteroData, users: Tensor | None = None, items: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the embeddings of users and items of a batch; all processes must call it.

        Args:
            batch: A sampled batch, on the device.
            users: Their local ids; :obj:`None` means all. (default: :obj:`None`)
            items: Their local ids; :obj:`None` means all. (default: :obj:`None`)
        """
        with self._step.rows_of(batch):
            out: tuple[Tensor, Tensor] = self.model(batch, users, items)
            return out

    def sharded_state(self) -> dict[str, Any]:
        """Return the tables and their optimiser's state as sharded tensors, nothing is copied."""
        paths = self._step.paths
        weights = self._step.collection.state_dict()
        out = {f'{paths[name]}.weight': weights[f'embeddings.{name}.weight'] for name in paths}
        states = self.parallel.fused_optimizer.state_dict()['state']
        for key, state in states.items():
            name = key.split('.')[-2]
            for part, value in state.items():
                out[f'optimizer.{paths[name]}.{part.split(".")[-1]}'] = value
        return out

    def _shards(self, fills: dict[str, Fill]) -> dict[str, TableShard]:
        """Initialise the rows of this process and return them."""
        state = self.sharded_state()
        shards = {}
        for path, lookup in ((path, self._step.lookups[x]) for x, path in self._step.paths.items()):
            name = f'{path}.weight'
            (local,) = state[name].local_shards()
            start = local.metadata.shard_offsets[0]
            fill_rows(local.tensor, start, name, fills[name], self.seed)
            shards[name] = TableShard(start, local.tensor, lookup.num_embeddings)
        return shards

    def __repr__(self) -> str:
        held = ', '.join(f'{len(x.rows)} of {x.num_rows}' for x in self.tables.values())
        return f'{type(self).__name__}({type(self.model).__name__}, rows={held})'


class _Step(Module):
    """The loss of a batch as one module, which holds the tables and the model."""

    def __init__(self, model: Recommender, loss_fn: Module, lookups: dict[str, RowLookup]) -> None:
        super().__init__()
        self.paths = {path.replace('.', '_'): path for path in lookups}
        self.lookups = {path.replace('.', '_'): x for path, x in lookups.items()}
        self.collection: Any = make_collection(
            {name: (x.num_embeddings, x.embedding_dim) for name, x in self.lookups.items()}
        )
        self.model, self.loss_fn = model, loss_fn

    @contextmanager
    def rows_of(self, batch: HeteroData) -> Iterator[None]:
        """Fetch the rows of a batch, of all tables at once, and hold them within the block."""
        ids = {
            name: batch[NODE_TYPE_OF[path.split('.')[-1]]].n_id for name, path in self.paths.items()
        }
        rows = self.collection(as_lookup(ids))
        try:
            for name, lookup in self.lookups.items():
                lookup.hold(ids[name], rows[name].values())
            yield
        finally:
            for lookup in self.lookups.values():
                lookup.release()

    def forward(self, batch: HeteroData) -> Tensor:
        with self.rows_of(batch):
            return self.model.loss(
                batch,
                batch[USER].src_index,
                batch[ITEM].dst_pos_index,
                batch[ITEM].dst_neg_index,
                self.loss_fn,
            )


def _find_tables(model: Module) -> dict[str, Embedding]:
    """Return the tables of a model, by the names of their weights."""
    name_of_model = type(model).__name__
    tables, others = {}, []
    for path, module in model.named_modules():
        if isinstance(module, Embedding):
            if path.split('.')[-1] in NODE_TYPE_OF:
                tables[f'{path}.weight'] = module
            else:
                others.append(path)
    if not tables:
        raise ValueError(
            f"{name_of_model} has no torch.nn.Embedding named 'user_embedding' or "
            "'item_embedding', so there is nothing to shard; train it with DistributedDataParallel"
        )
    if others:
        raise ValueError(
            f'{name_of_model} also has the table {others[0]!r}, which would be whole in every '
            'process; shard a model whose only tables are user_embedding and item_embedding'
        )
    if any(x.weight.device.type != 'meta' for x in tables.values()):
        raise ValueError(
            f"{name_of_model} already has its tables in memory; build it with torch.device('meta')"
        )
    widths = {x.embedding_dim for x in tables.values()}
    if len(widths) > 1:
        raise ValueError(
            f'the tables of {name_of_model} must have the same number of channels (got '
            f'{sorted(widths)})'
        )
    return tables


def _replace(
    model: Module, tables: dict[str, Embedding], device: torch.device, seed: int
) -> dict[str, RowLookup]:
    """Initialise a model but for its tables, and put lookups in their place."""
    lookups = {}
    for name, table in tables.items():
        path = name.removesuffix('.weight')
        model.set_submodule(path, Embedding(1, table.embedding_dim, device='meta'))
        lookups[path] = RowLookup(path, table.num_embeddings, table.embedding_dim)
    model.to_empty(device='cpu')
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for buffer in model.buffers():
            buffer.zero_()
        model.reset_parameters()  # type: ignore[operator]
    for path, lookup in lookups.items():
        model.set_submodule(path, lookup)
    model.to(device)
    return lookups


def _combined(parallel: Any, model: Module, dense: Optimizer | None) -> Optimizer:
    """Return one optimiser of the tables and of all else."""
    from torchrec.optim.keyed import CombinedOptimizer, KeyedOptimizerWrapper

    optimizers = [('tables', parallel.fused_optimizer)]
    if dense is not None:
        named = {name: p for name, p in model.named_parameters() if p.requires_grad}
        optimizers.append(('dense', KeyedOptimizerWrapper(named, lambda _: dense)))
    return CombinedOptimizer(optimizers)
