from abc import abstractmethod
from typing import Generic, TypeVar

from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn.models.recommender import Recommender
from pyg_mmgef.nn.parts.tensor_cache import TensorCache
from pyg_mmgef.schema import interaction_edges

__all__ = ['SolvedRecommender']

Solution = TypeVar('Solution')


class SolvedRecommender(Recommender, Generic[Solution]):
    """Base of models that are computed from the data, not trained: once for the same data.

    Such a model is its constructor, :meth:`_solve`, and :meth:`embed`, which reads
    :meth:`_solution`.

    Args:
        num_users: Number of users.
        num_items: Number of items.
    """

    is_trained = False

    def __init__(self, num_users: int, num_items: int) -> None:
        super().__init__(num_users, num_items)
        self._cache = TensorCache()

    def reset_parameters(self) -> None:
        """Clear what was computed; there are no parameters."""
        self._cache.clear()

    @abstractmethod
    def _solve(self, data: HeteroData) -> Solution:
        """Compute what embeddings are made of."""

    def _sources(self, data: HeteroData) -> list[Tensor]:
        """Return the tensors that the solution is made from."""
        return [interaction_edges(data)]

    def _solution(self, data: HeteroData) -> Solution:
        """Return the solution, computed once for the same sources."""
        return self._cache.get(self._sources(data), lambda: self._solve(data))
