import torch
from torch import Tensor

__all__ = ['new_interactions']


def new_interactions(target: Tensor, exclude: Tensor) -> Tensor:
    """Return the held-out interactions that aren't among those to exclude.

    If users interact with an item repeatedly, a held-out interaction may also be part of train. A
    ranking without the items of train can't find it, so :func:`~pyg_mmgef.ranking.evaluate_ranking`
    refuses such targets. This removes them.

    Args:
        target: Held-out interactions (user, item). Shape: ``[2, E]``.
        exclude: Interactions whose items are left out of the user's ranking. Shape: ``[2, E']``.

    Returns:
        Columns of :obj:`target`, in order. Shape: ``[2, E'']``.

    Raises:
        ValueError: If one of them isn't of shape ``[2, E]`` or doesn't hold integers.

    Example:
        >>> train = torch.tensor([[0, 0, 1], [0, 1, 1]])
        >>> new_interactions(torch.tensor([[0, 0, 1], [1, 2, 0]]), train)
        tensor([[0, 1],
                [2, 0]])
    """
    for name, edges in (('target', target), ('exclude', exclude)):
        if edges.dim() != 2 or edges.size(0) != 2 or edges.is_floating_point():
            raise ValueError(
                f"'{name}' must hold integer ids and have shape [2, E] (got {list(edges.shape)}, "
                f'{edges.dtype})'
            )
    pairs = torch.cat([target.long(), exclude.to(target.device).long()], dim=1)
    if pairs.numel() == 0:
        return target
    key = pairs[0] * (pairs[1].max() + 1) + pairs[1]
    size = [target.size(1), exclude.size(1)]
    return target[:, ~torch.isin(*key.split(size))]
