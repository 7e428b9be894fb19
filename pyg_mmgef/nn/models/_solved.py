from abc import abstractmethod
from collections.abc import Mapping
from typing import Generic, TypeVar

from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn.models.recommender import Recommender
from pyg_mmgef.nn.parts._tensor_digest import tensor_digest
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
        self._given: tuple[str, dict[str, Tensor]] | None = None

    def reset_parameters(self) -> None:
        """Clear what was computed; there are no parameters."""
        self._cache.clear()
        self._given = None

    @abstractmethod
    def _solve(self, data: HeteroData) -> Solution:
        """Compute what embeddings are made of."""

    @abstractmethod
    def _pack(self, solution: Solution) -> dict[str, Tensor]:
        """Return the tensors that a solution is restored from, beside the data."""

    @abstractmethod
    def _unpack(self, data: HeteroData, tensors: Mapping[str, Tensor]) -> Solution:
        """Return the solution that :meth:`_pack` was called with."""

    @abstractmethod
    def _packed_shapes(self) -> dict[str, tuple[int | None, ...]]:
        """Return the shapes of the tensors of :meth:`_pack`; :obj:`None` is any number."""

    def _further_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of tensors that :meth:`give_solution` may get beside those."""
        return {}

    def _sources(self, data: HeteroData) -> list[Tensor]:
        """Return the tensors that the solution is made from."""
        return [interaction_edges(data)]

    def _solution(self, data: HeteroData) -> Solution:
        """Return the solution, computed once for the same sources."""
        return self._cache.get(self._sources(data), lambda: self._restored_or_solved(data))

    def _restored_or_solved(self, data: HeteroData) -> Solution:
        tensors = self._given_for(data)
        return self._solve(data) if tensors is None else self._unpack(data, tensors)

    def _given_for(self, data: HeteroData) -> dict[str, Tensor] | None:
        """Return the tensors that were given for these data, :obj:`None` if there are none."""
        if self._given is None or self._given[0] != tensor_digest(self._sources(data)):
            return None
        device = interaction_edges(data).device
        return {name: x.to(device) for name, x in self._given[1].items()}

    def packed_solution(self) -> tuple[str, dict[str, Tensor]] | None:
        """Return what a file needs so that the solution need not be computed again.

        Returns:
            The digest of what it was computed from, and tensors; :obj:`None` if there is none yet.
        """
        entry = self._cache.entry
        if entry is None:
            return self._given
        digest, tensors = tensor_digest(entry[0]), self._pack(entry[1])
        if self._given is not None and self._given[0] == digest:
            tensors = {**self._given[1], **tensors}
        return digest, tensors

    def give_solution(self, digest: str, tensors: dict[str, Tensor]) -> None:
        """Set the solution for data with this digest; for other data one is computed.

        Raises:
            ValueError: If the tensors aren't those of a solution.
        """
        expected = self._packed_shapes()
        further = {name: shape for name, shape in self._further_shapes().items() if name in tensors}
        expected = {**expected, **further}
        found = {name: tuple(x.shape) for name, x in tensors.items()}
        if found.keys() != expected.keys() or not all(
            len(shape) == len(found[name])
            and all(a in (None, b) for a, b in zip(shape, found[name], strict=True))
            for name, shape in expected.items()
        ):
            raise ValueError(f'a solution must have the tensors {expected} (got {found})')
        self._cache.clear()
        self._given = digest, tensors
