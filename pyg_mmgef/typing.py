"""Type aliases."""

from typing import TypeAlias

from torch import Tensor

WeightedGraph: TypeAlias = tuple[Tensor, Tensor]
"""An ``(edge_index, edge_weight)`` pair of shapes ``[2, E]`` and ``[E]``."""

__all__ = ['WeightedGraph']
