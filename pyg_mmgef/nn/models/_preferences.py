import torch
from torch import Tensor
from torch.nn import Module
from torch_geometric.data import HeteroData

from pyg_mmgef.nn.models.ials import IALS
from pyg_mmgef.nn.parts._standard_content import standard_scale, standardized
from pyg_mmgef.nn.parts.tensor_cache import TensorCache
from pyg_mmgef.schema import interaction_edges

__all__ = ['Preferences']


class Preferences(Module):
    """The embeddings of :class:`IALS` as inputs of a model, computed once for the same data.

    Those of users and those of items each have a mean of zero and numbers whose mean square is one.
    Who has no interactions has zeros, the mean. There are no parameters.

    Args:
        num_users: Number of users.
        num_items: Number of items.
        embedding_dim: Channels of the embeddings.
        l2: The penalty of :class:`IALS`.
        unobserved_weight: The weight of pairs that never met, see :class:`IALS`.
    """

    def __init__(
        self,
        num_users: int,
        num_items: int,
        embedding_dim: int,
        l2: float,
        unobserved_weight: float | None,
    ) -> None:
        super().__init__()
        self.ials = IALS(
            num_users,
            num_items,
            embedding_dim=embedding_dim,
            l2=l2,
            unobserved_weight=unobserved_weight,
        )
        self._cache = TensorCache()

    def reset_parameters(self) -> None:
        """Clear the embeddings."""
        self.ials.reset_parameters()
        self._cache.clear()

    def forward(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        """Return the rows of all users and items.

        Returns:
            Shapes: ``[num_users, embedding_dim]`` and ``[num_items, embedding_dim]``.
        """

        @torch.no_grad()
        def build() -> tuple[Tensor, Tensor]:
            z_user, z_item = self.ials.embed(data, None, None)
            return _standardized(z_user), _standardized(z_item)

        return self._cache.get([interaction_edges(data)], build, self.ials.dtype)

    @torch.no_grad()
    def user_scale(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        """Return the mean and the factor that standardise the embeddings of users."""
        z_user, _ = self.ials.embed(data, None, None)
        return standard_scale(z_user, _is_there(z_user))


def _standardized(z: Tensor) -> Tensor:
    is_there = _is_there(z)
    return standardized(z, is_there, is_there)


def _is_there(z: Tensor) -> Tensor:
    return z.ne(0).any(dim=1, keepdim=True)
