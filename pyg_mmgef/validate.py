"""Checks of arguments; each error names the argument, the value and what to do."""

import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor

from pyg_mmgef._spelling import spelt

__all__ = [
    'check_channels',
    'check_choice',
    'check_edge_index',
    'check_edge_weight',
    'check_finite',
    'check_fraction',
    'check_graph_weights',
    'check_ids',
    'check_increasing',
    'check_not_negative',
    'check_positive',
]


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise a :class:`ValueError` unless :obj:`value` is one of :obj:`choices`."""
    if value not in choices:
        raise ValueError(
            f'{spelt(name)} must be one of {", ".join(map(repr, choices))} (got {value!r})'
        )


def check_channels(name: str, channels: Mapping[str, int]) -> None:
    """Raise a :class:`ValueError` unless there is a modality, and each has a positive width."""
    if not channels:
        raise ValueError(f"'{name}' is empty; name at least one modality and its channels")
    for modality, width in channels.items():
        check_positive(f'{name}[{modality!r}]', width)


def check_positive(name: str, value: Any, *, integer: bool = True) -> None:
    """Raise a :class:`ValueError` unless :obj:`value` is a positive number.

    Args:
        name: The argument's name, for the message.
        value: The number to check.
        integer: Whether only integers are valid; else all finite numbers are.
            (default: :obj:`True`)
    """
    if integer and not (_is_number(value, Integral) and value >= 1):
        raise ValueError(f"'{name}' must be a positive integer (got {value!r})")
    if not integer and not (_is_number(value, Real) and 0 < value < math.inf):
        raise ValueError(f"'{name}' must be positive and finite (got {value!r})")


def check_not_negative(name: str, value: Any, *, integer: bool = False) -> None:
    """Raise a :class:`ValueError` unless :obj:`value` is zero or a positive number.

    Args:
        name: The argument's name, for the message.
        value: The number to check.
        integer: Whether only integers are valid; else all finite numbers are.
            (default: :obj:`False`)
    """
    if integer and not (_is_number(value, Integral) and value >= 0):
        raise ValueError(f"'{name}' must be an integer that is not negative (got {value!r})")
    if not integer and not (_is_number(value, Real) and 0 <= value < math.inf):
        raise ValueError(f"'{name}' must be finite and not negative (got {value!r})")


def check_fraction(name: str, value: Any, interval: str = '[0, 1]') -> None:
    """Raise a :class:`ValueError` unless :obj:`value` lies between 0 and 1.

    Args:
        name: The argument's name, for the message.
        value: The number to check.
        interval: A round bracket excludes its end, as in ``'[0, 1)'``. (default: ``'[0, 1]'``)
    """
    lies_inside = _is_number(value, Real) and 0 <= value <= 1
    is_excluded = (interval[0] == '(' and value == 0) or (interval[-1] == ')' and value == 1)
    if not lies_inside or is_excluded:
        raise ValueError(f"'{name}' must lie in {interval} (got {value!r})")


def _is_number(value: object, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def check_finite(name: str, x: Tensor) -> None:
    """Raise a :class:`ValueError` if a row of :obj:`x` holds NaN or infinite values."""
    # NaN and infinity show in the extremes, which is many times cheaper than testing every number.
    if (
        torch.compiler.is_compiling()
        or x.numel() == 0
        or bool(torch.isfinite(torch.stack(torch.aminmax(x))).all())
    ):
        return
    rows = (~torch.isfinite(x)).reshape(x.size(0), -1).any(dim=1).nonzero().view(-1)
    raise ValueError(
        f"'{name}' holds NaN or infinite values in {rows.numel()} of {x.size(0)} rows "
        f'(first: row {int(rows[0])}); repair them, or mark these items as missing'
    )


def check_graph_weights(name: str, weights: Mapping[str, float]) -> None:
    """Raise a :class:`ValueError` unless there are graphs and each weight is positive."""
    if not weights:
        raise ValueError(f"'{name}' is empty; name at least one item graph and its weight")
    for relation, weight in weights.items():
        if not 0 < weight < math.inf:
            raise ValueError(f"'{name}' must hold positive numbers (got {weight} for {relation!r})")


def check_edge_index(
    name: str, edge_index: Tensor, size: tuple[int, int], ends: tuple[str, str]
) -> None:
    """Raise a :class:`ValueError` unless :obj:`edge_index` holds ids below :obj:`size`.

    Args:
        name: The argument's name, for the message.
        edge_index: The tensor to check.
        size: Number of source and of destination nodes.
        ends: What the two rows hold, such as ``('user', 'item')``, for the message.

    Without values, on the meta device or under :func:`torch.compile` and :func:`torch.export`, only
    type and shape are checked.
    """
    if not isinstance(edge_index, Tensor):
        raise ValueError(f"'{name}' must be a tensor (got {type(edge_index).__name__})")
    if edge_index.dim() != 2 or edge_index.size(0) != 2:
        raise ValueError(f"'{name}' must have shape [2, E] (got {list(edge_index.shape)})")
    if edge_index.dtype not in (torch.int64, torch.int32):
        raise ValueError(
            f"'{name}' must hold integer ids (got {edge_index.dtype}); convert with '.long()'"
        )
    if torch.compiler.is_compiling() or edge_index.device.type == 'meta' or edge_index.size(1) == 0:
        return
    lowest, highest = torch.aminmax(edge_index, dim=1)
    for row, (end, num_nodes) in enumerate(zip(ends, size, strict=True)):
        if int(lowest[row]) < 0:
            raise ValueError(
                f"'{name}' holds the negative {end} id {int(lowest[row])}; ids start at 0"
            )
        if int(highest[row]) >= num_nodes:
            raise ValueError(
                f"'{name}' holds the {end} id {int(highest[row])}, but there are only "
                f'{num_nodes} {end}s; ids must lie in [0, {num_nodes})'
            )


def check_edge_weight(name: str, edge_weight: Tensor, edge_index: Tensor) -> None:
    """Raise a :class:`ValueError` unless there is one floating point weight per edge."""
    if edge_weight.shape != edge_index.shape[1:]:
        raise ValueError(
            f"'{name}' must have shape [{edge_index.size(1)}], one weight an edge "
            f'(got {list(edge_weight.shape)})'
        )
    if not edge_weight.is_floating_point():
        raise ValueError(f"'{name}' must be floating point (got {edge_weight.dtype})")


def check_increasing(name: str, ids: Tensor, num_nodes: int, end: str) -> None:
    """Raise a :class:`ValueError` unless :obj:`ids` increase strictly inside ``[0, num_nodes)``.

    Args:
        name: The argument's name, for the message.
        ids: What to check, a vector of integers.
        num_nodes: Number of nodes.
        end: The kind of node, such as ``'user'``, for the message.
    """
    if ids.dim() != 1 or ids.dtype != torch.int64:
        raise ValueError(
            f"'{name}' must be a vector of {end} ids, torch.int64 (got {list(ids.shape)}, "
            f'{ids.dtype})'
        )
    if torch.compiler.is_compiling() or ids.numel() == 0:
        return
    if not bool((ids.diff() > 0).all()):
        raise ValueError(f"'{name}' must hold each {end} id once, in order; pass '{name}.unique()'")
    if not 0 <= int(ids[0]) <= int(ids[-1]) < num_nodes:
        raise ValueError(
            f"'{name}' must hold {end} ids in [0, {num_nodes}) (got ids from {int(ids[0])} to "
            f'{int(ids[-1])})'
        )


def check_ids(name: str, ids: Tensor, num_nodes: int, end: str) -> None:
    """Raise a :class:`ValueError` unless :obj:`ids` is an integer vector inside ``[0, num_nodes)``.

    Args:
        name: The argument's name, for the message.
        ids: What to check. A mask is refused: as numbers it would mean the ids 0 and 1.
        num_nodes: Number of nodes.
        end: The kind of node, such as ``'user'``, for the message.
    """
    if not isinstance(ids, Tensor) or ids.dim() != 1 or ids.dtype not in (torch.int64, torch.int32):
        found = f'{list(ids.shape)}, {ids.dtype}' if isinstance(ids, Tensor) else type(ids).__name__
        raise ValueError(
            f"'{name}' must be a tensor, a vector of {end} ids (got {found}); instead of a mask "
            "pass 'mask.nonzero().view(-1)'"
        )
    if ids.numel() == 0:
        return
    lowest, highest = map(int, torch.aminmax(ids))
    if lowest < 0 or highest >= num_nodes:
        raise ValueError(
            f"'{name}' must hold {end} ids in [0, {num_nodes}) (got ids from {lowest} to {highest})"
        )
