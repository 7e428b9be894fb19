import torch
from torch import Tensor
from torch.nn import Module
from torch_geometric.data import HeteroData

from pyg_mmgef.nn.models.recommender import Recommender
from pyg_mmgef.nn.parts.tensor_cache import TensorCache
from pyg_mmgef.schema import interactions

__all__ = ['ParameterFree']


class ParameterFree(Recommender):
    """A recommender that counts what is in the data and learns nothing.

    It is evaluated as it is built. Without parameters it still has a type, which follows
    ``model.double()`` and the like; the device is that of the data.

    Args:
        num_users: Number of users.
        num_items: Number of items.
    """

    _empty: Tensor

    def __init__(self, num_users: int, num_items: int) -> None:
        super().__init__(num_users, num_items)
        self.register_buffer('_empty', torch.empty(0), persistent=False)
        self._cache = TensorCache()

    @property
    def dtype(self) -> torch.dtype:
        """The type of the embeddings."""
        return self._empty.dtype

    def reset_parameters(self) -> None:
        """Forget what was counted; there is nothing to draw."""
        self._cache.clear()

    def distinct_interactions(self, data: HeteroData) -> Tensor:
        """Return the train interactions, each once, in order. Shape: ``[2, E]``."""
        user, item = interactions(data).long()
        key = (user * self.num_items + item).unique()
        return torch.stack([key // self.num_items, key % self.num_items])

    def loss(
        self, data: HeteroData, users: Tensor, items: Tensor, negatives: Tensor, loss_fn: Module
    ) -> Tensor:
        """Raise a :class:`ValueError`: there is nothing to train."""
        raise ValueError(
            f'{self.__class__.__name__} has no parameters, so there is nothing to train; '
            'evaluate it as it is'
        )
