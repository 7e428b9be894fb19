from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from torch_geometric.data import HeteroData
from torch_geometric.nn.inits import reset

from pyg_mmgef.nn.models.light_gcn import LightGCN
from pyg_mmgef.nn.models.recommender import Recommender
from pyg_mmgef.nn.parts.latent_graphs import LatentGraphs
from pyg_mmgef.schema import num_users_items
from pyg_mmgef.validate import check_positive

__all__ = ['LatentStructureModel']

Model = TypeVar('Model', bound='LatentStructureModel')


class LatentStructureModel(Recommender):
    """Base of models that learn item graphs beside LightGCN, and choose neighbours anew in epochs.

    A model adds what it does with the graphs, and says by :attr:`latent_graphs` where it keeps
    them.

    Args:
        num_users: Number of users.
        num_items: Number of items.
        in_channels: Channels of each modality ``data['item'].x_<modality>``, or :obj:`None`.
        item_graphs: Relations of frozen graphs that the data has, or :obj:`None`.
        embedding_dim: Channels of the embeddings, and of the projected features.
        num_layers: Layers of LightGCN.
        num_item_layers: Convolutions over an item graph.
        skip_weight: The weight of the frozen graphs.
        rebuild_every: Epochs between two choices of the learned neighbours.
        k: Neighbours per item.
        recall: Share of the true neighbours that must be found.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        in_channels: Mapping[str, int] | None,
        item_graphs: Sequence[str] | None,
        embedding_dim: int,
        num_layers: int,
        num_item_layers: int,
        skip_weight: float,
        rebuild_every: int,
        k: int,
        recall: float,
    ) -> None:
        super().__init__(num_users, num_items)
        check_positive('num_item_layers', num_item_layers)
        check_positive('rebuild_every', rebuild_every)
        self.in_channels = None if in_channels is None else dict(in_channels)
        self.item_graphs = item_graphs
        if item_graphs is not None and not isinstance(item_graphs, str):  # One name is refused.
            self.item_graphs = tuple(item_graphs)
        self.embedding_dim, self.num_layers = embedding_dim, num_layers
        self.num_item_layers = num_item_layers
        self.skip_weight, self.rebuild_every = skip_weight, rebuild_every
        self.k, self.recall = k, recall
        self.light_gcn = LightGCN(
            num_users, num_items, embedding_dim=embedding_dim, num_layers=num_layers
        )

    def _new_graphs(self) -> LatentGraphs:
        """Return the item graphs that the arguments ask for."""
        return LatentGraphs(
            self.num_items,
            self.embedding_dim,
            in_channels=self.in_channels,
            item_graphs=self.item_graphs,
            skip_weight=self.skip_weight,
            k=self.k,
            recall=self.recall,
        )

    @property
    @abstractmethod
    def latent_graphs(self) -> LatentGraphs:
        """The item graphs of the model."""

    @classmethod
    def from_data(cls: type[Model], data: HeteroData, **kwargs: Any) -> Model:
        """Build the model for :obj:`data`, see :meth:`LatentGraphs.options` for the defaults."""
        return cls(*num_users_items(data), **LatentGraphs.options(data, cls.__name__, kwargs))

    def reset_parameters(self) -> None:
        """Initialise the parameters anew and clear the graphs."""
        for module in self.children():
            reset(module)

    @property
    def changes_with_epoch(self) -> bool:
        """Whether graphs are learned."""
        return self.skip_weight < 1

    def start_epoch(self, data: HeteroData, epoch: int) -> None:
        """Choose the learned neighbours anew, every ``rebuild_every`` epochs."""
        super().start_epoch(data, epoch)
        if epoch % self.rebuild_every == 0:
            self.latent_graphs.rebuild(data)
