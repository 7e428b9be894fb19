"""Approximate kNN graphs of learned features, from one index that is kept between rebuilds."""

import torch
from torch import Tensor

from pyg_mmgef.graph.knn import CLUSTER_FROM
from pyg_mmgef.search.item_index import ItemIndex
from pyg_mmgef.typing import WeightedGraph

__all__ = ['ContentIndex']


class ContentIndex:
    """Finds neighbours by learned features, exactly or with an index that is updated.

    The index clusters the items once. A rebuild moves the clusters with the features, which takes
    a small part of the time of an exact search.

    Args:
        recall: Share of the true neighbours that must be found.
    """

    def __init__(self, recall: float) -> None:
        self.recall = recall
        self._index: ItemIndex | None = None

    def clear(self) -> None:
        """Forget the clusters."""
        self._index = None

    def is_exact_for(self, x: Tensor) -> bool:
        """Return whether all neighbours have to be found, or that takes no longer."""
        return self.recall == 1 or x.device.type != 'cpu' or x.size(0) < CLUSTER_FROM

    def graph(self, x: Tensor, k: int) -> WeightedGraph:
        """Return the approximate kNN graph by cosine, without loops.

        Args:
            x: Features; a row of zeros has no neighbours. Shape: ``[N, channels]``.
            k: Neighbours per item; 0 for none.
        """
        x = x.detach().float()
        if k == 0:
            return x.new_empty(2, 0, dtype=torch.int64), x.new_empty(0)
        if self._index is None or self._index.num_items != x.size(0):
            self._index = ItemIndex(x)
        else:
            self._index.update(x)
        return self._index.graph(k, recall=self.recall)
