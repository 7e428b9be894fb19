"""Checks of the inputs of a ranking: embeddings, candidates, cut-offs and interactions."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pyg_mmgef.validate import check_edge_index, check_finite, check_ids, check_positive

__all__ = [
    'candidate_items',
    'check_embeddings',
    'check_findable',
    'checked_cutoffs',
    'pair_keys',
    'sorted_keys',
]


def checked_cutoffs(k: int | Sequence[int], num_items: int | None = None) -> tuple[int, ...]:
    """Return the cut-offs of a ranking as a tuple, checked.

    Args:
        k: One cut-off or several.
        num_items: Number of items to rank, which bounds them; :obj:`None` checks no bound.
            (default: :obj:`None`)

    Raises:
        ValueError: If there is none, or one isn't a positive integer or exceeds the bound.
    """
    cutoffs = tuple(k) if isinstance(k, Sequence) else (k,)
    for cutoff in cutoffs:
        check_positive('k', cutoff)
    if not cutoffs:
        raise ValueError("'k' is empty; name at least one cut-off")
    if num_items is not None and max(cutoffs) > num_items:
        raise ValueError(
            f"'k' must lie in [1, {num_items}], the number of items to rank (got {k}); pass "
            'smaller cut-offs'
        )
    return cutoffs


def check_embeddings(z_user: Tensor, z_item: Tensor) -> None:
    """Raise a :class:`ValueError` unless both are finite matrices of one width, dense or CSR.

    Numbers whose products overflow the precision of the scores are refused, too.
    """
    for name, z in (('z_user', z_user), ('z_item', z_item)):
        if z.dim() != 2 or not z.is_floating_point():
            raise ValueError(
                f"'{name}' must be a floating point matrix (got {list(z.shape)}, {z.dtype})"
            )
        if z.layout == torch.sparse_csr:
            _check_entries(name, z)
        elif z.layout != torch.strided:
            raise ValueError(
                f"'{name}' must be dense or in CSR form (got {z.layout}); convert it with "
                "'.to_sparse_csr()'"
            )
    if z_item.layout == torch.sparse_csr and z_user.layout != torch.sparse_csr:
        raise ValueError(
            "'z_item' is sparse, but 'z_user' is dense; give both in CSR form, or 'z_user' alone"
        )
    if z_user.size(1) != z_item.size(1):
        raise ValueError(
            f"'z_user' and 'z_item' must have the same number of channels (got "
            f'{z_user.size(1)} and {z_item.size(1)})'
        )
    scores = torch.promote_types(torch.promote_types(z_user.dtype, z_item.dtype), torch.float32)
    for name, z in (('z_user', z_user), ('z_item', z_item)):
        _check_magnitude(name, z, scores)


def _check_magnitude(name: str, z: Tensor, dtype: torch.dtype) -> None:
    """Raise a :class:`ValueError` if numbers aren't finite, or inner products may overflow."""
    numbers = z.values() if z.layout == torch.sparse_csr else z
    if numbers.numel() == 0:
        return
    largest = max(abs(float(end)) for end in torch.aminmax(numbers))
    if not math.isfinite(largest):
        check_finite(name, z)
    if largest > math.sqrt(torch.finfo(dtype).max / z.size(1)):
        raise ValueError(
            f"'{name}' holds numbers as large as {largest:.0e}, whose inner products overflow "
            f'{dtype}; if training diverged, train again with a lower learning rate, else divide '
            'all embeddings by one number, which keeps the ranking'
        )


def _check_entries(name: str, z: Tensor) -> None:
    """Raise a :class:`ValueError` unless the entries of a CSR matrix are finite and inside it."""
    check_ids(name, z.col_indices(), z.size(1), 'column')
    row = torch.repeat_interleave(z.crow_indices().diff())
    # Zero times a value that isn't finite is NaN, so each bad row of the matrix gives a bad sum.
    check_finite(name, z.values().new_zeros(z.size(0)).index_add_(0, row, z.values() * 0))


def candidate_items(candidates: Tensor | None, z_item: Tensor) -> Tensor:
    """Return the distinct ids of the items to rank, checked; :obj:`None` means all items."""
    if candidates is None:
        return torch.arange(z_item.size(0), device=z_item.device)
    check_ids('candidates', candidates, z_item.size(0), 'item')
    if candidates.numel() == 0:
        raise ValueError("'candidates' is empty; there is no item to rank")
    return candidates.long().unique().to(z_item.device)


def pair_keys(name: str, pairs: Tensor | None, z_user: Tensor, z_item: Tensor) -> Tensor:
    """Return the sorted keys ``user * num_items + item`` of interactions, after checking them.

    Args:
        name: The argument's name, for the error message.
        pairs: Interactions (user, item), repeated ones allowed; :obj:`None` means none. Shape:
            ``[2, E]``.
        z_user: User embeddings. Shape: ``[num_users, channels]``.
        z_item: Item embeddings. Shape: ``[num_items, channels]``.
    """
    if pairs is None:
        return torch.empty(0, dtype=torch.long, device=z_user.device)
    return sorted_keys(name, pairs, (z_user.size(0), z_item.size(0)), z_user.device)


def sorted_keys(name: str, pairs: Tensor, size: tuple[int, int], device: torch.device) -> Tensor:
    """Return the sorted keys ``user * num_items + item`` of interactions, after checking them.

    Args:
        name: The argument's name, for the error message.
        pairs: Interactions (user, item), repeated ones allowed. Shape: ``[2, E]``.
        size: Numbers of users and of items.
        device: Device of the keys.
    """
    check_edge_index(name, pairs, size, ('user', 'item'))
    user, item = pairs.to(device).long()
    key = user * size[1] + item
    # A split keeps the order of sorted data, and checking that is many times faster than sorting.
    return key if bool((key[1:] >= key[:-1]).all()) else key.sort().values


def check_findable(wanted: Tensor, excluded: Tensor, candidates: Tensor, num_items: int) -> None:
    """Raise a :class:`ValueError` unless there are targets, all of which can be ranked."""
    if wanted.numel() == 0:
        raise ValueError("'target' is empty; there is no held-out interaction to evaluate")
    overlap = int(_is_in(wanted, excluded).sum())
    if overlap > 0:
        raise ValueError(
            f"'target' and 'exclude' share {overlap} interactions, which could "
            'never be ranked; held-out interactions must not be part of train, so pass '
            'new_interactions(target, exclude)'
        )
    missing = int((~_is_in(wanted % num_items, candidates)).sum())
    if missing > 0:
        raise ValueError(
            f"'target' holds {missing} interactions with items that are not among "
            "'candidates', which could never be ranked"
        )


def _is_in(key: Tensor, keys: Tensor) -> Tensor:
    """Return for each key whether it is among :obj:`keys`, which are sorted."""
    if keys.numel() == 0:
        return torch.zeros_like(key, dtype=torch.bool)
    return keys[torch.searchsorted(keys, key).clamp_(max=keys.numel() - 1)] == key
