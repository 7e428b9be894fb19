"""Checkpoints of sharded models: written by all processes, read by any number of them."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.optim import Optimizer

from pyg_mmgef.distributed._together import in_first_process, raise_together, same_number
from pyg_mmgef.distributed.sharded_model import ShardedModel
from pyg_mmgef.files import (
    check_sealed,
    damaged,
    make_folder,
    open_sealed,
    read_json,
    sync_folder,
    write_json,
)
from pyg_mmgef.nn.pretrained._folder import describe_model
from pyg_mmgef.nn.pretrained._weights import flat_state, load_state
from pyg_mmgef.validate import check_positive

__all__ = ['latest_checkpoint', 'load_checkpoint', 'save_checkpoint']

CONTENTS, DENSE = 'checkpoint.json', 'dense.pt'
TEMPORARY = '.unfinished'
ADVICE = 'delete this checkpoint, and the one before it is loaded'


class Stateful(Protocol):
    """What has a state of tensors and numbers, such as a loader."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state."""


def save_checkpoint(
    folder: str | os.PathLike[str],
    model: ShardedModel,
    *,
    loader: Stateful | None = None,
    progress: Mapping[str, Any] | None = None,
    keep: int = 2,
) -> Path:
    """Write a checkpoint from which any number of processes can go on.

    Each process writes its own rows and their optimiser's state, by
    :mod:`torch.distributed.checkpoint` in safetensors files; the first one also what is alike in
    all. They write into a temporary folder, which takes its name when all are done and everything
    is on the disk. So a checkpoint is there or it isn't, and a killed process or a full disk leaves
    the one before as it was.

    A process holds a further copy of its rows of one table in memory meanwhile.

    Args:
        folder: The folder of the checkpoints, one that all processes share.
        model: The model.
        loader: The loader, whose state is saved with it, alike in all processes. Save between
            epochs. (default: :obj:`None`)
        progress: What else is to be found again, such as ``{'epoch': 3}``; values of JSON.
            (default: :obj:`None`)
        keep: Checkpoints that are kept; older ones are deleted. (default: ``2``)

    Returns:
        The folder of this checkpoint.

    Raises:
        OSError: If a process can't write, such as to a full disk; in all processes.
        ValueError: If :obj:`keep` isn't positive, or :obj:`progress` isn't JSON.
    """
    check_positive('keep', keep)
    folder, device = Path(folder), model.device
    number = same_number(_next_number(folder) if dist.get_rank() == 0 else 0, device)
    path, temporary = folder / f'checkpoint-{number:08d}', folder / TEMPORARY

    def begin() -> None:
        _check_json(progress)
        _make_empty(temporary)

    in_first_process(begin, device)
    state = model.sharded_state()
    try:
        dcp.save(
            state,
            storage_writer=HuggingFaceStorageWriter(
                str(temporary),
                fqn_to_index_mapping={key: 1 + place for place, key in enumerate(state)},
                save_distributed=True,
            ),
        )
    except dcp.CheckpointException as error:
        raise _readable(error, temporary) from error

    def finish() -> None:
        optimizer = model.dense_optimizer
        with open_sealed(temporary / DENSE) as file:
            torch.save(
                {
                    'model': flat_state(model.model),
                    'optimizer': None if optimizer is None else optimizer.state_dict(),
                    'lr': [group['lr'] for group in model.parallel.fused_optimizer.param_groups],
                    'loader': None if loader is None else loader.state_dict(),
                },
                file,
            )
        contents = {
            'num_processes': dist.get_world_size(),
            'model': describe_model(model.model),
            'tables': {name: [x.num_rows, x.rows.size(1)] for name, x in model.tables.items()},
            'optimizer': model.optimizer_name,
            'progress': dict(progress or {}),
            'bytes': {x.name: x.stat().st_size for x in sorted(temporary.iterdir())},
        }
        write_json(temporary / CONTENTS, contents)
        sync_folder(temporary)
        temporary.rename(path)
        sync_folder(folder)
        for old in _checkpoints(folder)[:-keep]:
            old.rename(temporary)  # So that none is ever half there under its name.
            shutil.rmtree(temporary)

    in_first_process(finish, device)
    return path


def load_checkpoint(
    folder: str | os.PathLike[str], model: ShardedModel, *, loader: Stateful | None = None
) -> dict[str, Any] | None:
    """Go on from the latest checkpoint, with as many processes as there are now.

    The files hold tensors, JSON and what ``torch.load`` reads with ``weights_only=True``, a pickle
    that runs no code of its own. Load checkpoints of your own machines only. Before anything is
    read, the sizes of all files, the model's class and its arguments are compared with what the
    checkpoint says.

    Args:
        folder: The folder that :func:`save_checkpoint` wrote to.
        model: The model, built as the saved one was; it is overwritten.
        loader: The loader, which goes on from its saved state. (default: :obj:`None`)

    Returns:
        The saved ``progress``, or :obj:`None` if there is no checkpoint yet.

    Raises:
        ValueError: If the checkpoint is damaged, or of another model; in all processes.
    """
    path = latest_checkpoint(folder)
    found = same_number(-1 if path is None else _number(path), model.device)
    if found < 0:
        return None
    path = Path(folder) / f'checkpoint-{found:08d}'
    contents: dict[str, Any] = {}
    saved: dict[str, Any] = {}
    with raise_together(model.device):
        contents = read_contents(path)
        _check_fits(path, contents, model)
        saved = torch.load(path / DENSE, map_location='cpu', weights_only=True)
    try:
        dcp.load(model.sharded_state(), storage_reader=HuggingFaceStorageReader(str(path)))
    except dcp.CheckpointException as problem:
        raise _readable(problem, path) from problem
    load_state(model.model, saved['model'])
    for group, lr in zip(model.parallel.fused_optimizer.param_groups, saved['lr'], strict=True):
        group['lr'] = lr
    if model.dense_optimizer is not None:
        _load_in_place(model.dense_optimizer, saved['optimizer'])
    if loader is not None and saved['loader'] is not None:
        loader.load_state_dict(saved['loader'])
    progress: dict[str, Any] = contents['progress']
    return progress


def latest_checkpoint(folder: str | os.PathLike[str]) -> Path | None:
    """Return the folder of the latest whole checkpoint, or :obj:`None`.

    Args:
        folder: The folder that :func:`save_checkpoint` wrote to.
    """
    found = _checkpoints(Path(folder))
    return found[-1] if found else None


def read_contents(path: Path) -> dict[str, Any]:
    """Return what a checkpoint says of itself, after comparing its files with that.

    Raises:
        ValueError: If a file is missing, or has another size than it was written with.
    """
    try:
        contents = read_json(path / CONTENTS, ADVICE)
    except FileNotFoundError as error:
        raise damaged(path / CONTENTS, 'it is missing', ADVICE) from error
    for name, size in contents['bytes'].items():
        file = path / name
        if not file.is_file():
            raise damaged(file, 'it is missing', ADVICE)
        if file.stat().st_size != size:
            reason = f'it has {file.stat().st_size} bytes, and was written with {size}'
            raise damaged(file, reason, ADVICE)
    check_sealed(path / DENSE, ADVICE)
    return contents


def _check_fits(path: Path, contents: Mapping[str, Any], model: ShardedModel) -> None:
    """Raise a :class:`ValueError` unless a checkpoint is one of the model."""
    given = {**describe_model(model.model), 'optimizer': model.optimizer_name}
    saved = {**contents['model'], 'optimizer': contents['optimizer']}
    for key in ('model', 'arguments', 'dtype', 'optimizer'):
        if given[key] != saved[key]:
            raise ValueError(
                f'{str(path)!r} is a checkpoint with {key} {saved[key]}, and the one given has '
                f'{given[key]}; build it as it was built, or save to another folder'
            )


def _check_json(progress: Mapping[str, Any] | None) -> None:
    try:
        json.dumps(progress)
    except TypeError as error:
        raise ValueError(
            f"'progress' must hold values of JSON alone, such as float(loss) ({error})"
        ) from error


def _load_in_place(optimizer: Optimizer, saved: dict[str, Any]) -> None:
    """Load a state into the objects that the optimiser of the whole model holds, too."""
    state, groups = optimizer.state, optimizer.param_groups
    optimizer.load_state_dict(saved)
    state.clear()
    state.update(optimizer.state)
    for group, loaded in zip(groups, optimizer.param_groups, strict=True):
        group.update(loaded)
    optimizer.state, optimizer.param_groups = state, groups


def _make_empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    make_folder(folder)


def _readable(error: dcp.CheckpointException, path: Path) -> Exception:
    """Return the first failure of a process, with its rank and the folder."""
    rank, (problem, _) = min(error.failures.items())
    text = f'process {rank} cannot use the checkpoint {str(path)!r}: {problem}'
    if isinstance(problem, OSError):
        text += '; free some space, and run the same command again to go on from the one before'
        return OSError(problem.errno, text)
    return RuntimeError(text)


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob(f'checkpoint-{"[0-9]" * 8}'))


def _number(path: Path) -> int:
    return int(path.name.removeprefix('checkpoint-'))


def _next_number(folder: Path) -> int:
    latest = latest_checkpoint(folder)
    return 1 if latest is None else _number(latest) + 1
