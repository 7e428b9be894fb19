"""Configurations that were chosen on validation data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform, Compose

from pyg_mmgef.nn import MMGEF, BPRLoss
from pyg_mmgef.schema import item_graph
from pyg_mmgef.transforms import (
    AddCoInteractionGraph,
    AddItemKNNGraph,
    FuseModalities,
    MergeItemGraphs,
)

__all__ = ['MERGED', 'Preset']


@dataclass(frozen=True)
class Preset:
    """Id embeddings over one item graph with fixed weights, beside LightGCN with edge dropout.

    The defaults are those of :data:`MERGED`; :func:`dataclasses.replace` changes some of them.

    Args:
        graph_weights: The weight of each item graph in the merged one, see
            :class:`~pyg_mmgef.transforms.MergeItemGraphs`.
            (default: ``{'similar': 1.0, 'co_interacts': 0.5}``)
        k: Neighbours of an item in each graph. (default: ``10``)
        min_count: Users that two items must share to be connected. (default: ``3``)
        embedding_dim: Number of channels. (default: ``128``)
        num_item_layers: Convolutions over the merged graph. (default: ``2``)
        edge_dropout: Share of the interactions that an epoch leaves out. (default: ``0.8``)
        l2: The weight of the penalty in :class:`~pyg_mmgef.nn.BPRLoss`. (default: ``1e-3``)
        lr: Learning rate of Adam. (default: ``1e-3``)

    Example:
        >>> MERGED.transform()
        Compose([
          FuseModalities(fusion='concat'),
          AddItemKNNGraph(),
          AddCoInteractionGraph(min_count=3),
          MergeItemGraphs(weights={'similar': 1.0, 'co_interacts': 0.5})
        ])
    """

    graph_weights: Mapping[str, float] = field(
        default_factory=lambda: {'similar': 1.0, 'co_interacts': 0.5}
    )
    k: int = 10
    min_count: int = 3
    embedding_dim: int = 128
    num_item_layers: int = 2
    edge_dropout: float = 0.8
    l2: float = 1e-3
    lr: float = 1e-3

    def transform(self, *, build_similar: bool = True) -> Compose:
        """Return what adds the merged item graph to the train part of a split.

        Args:
            build_similar: Build the item graph ``'similar'`` from the item features;
                :obj:`False` for data that has it already, or that :attr:`graph_weights` leaves
                out. (default: :obj:`True`)
        """
        content: list[BaseTransform] = [FuseModalities('concat'), AddItemKNNGraph(self.k)]
        return Compose(
            [
                *(content if build_similar else []),
                AddCoInteractionGraph(self.k, min_count=self.min_count),
                MergeItemGraphs(self.graph_weights),
            ]
        )

    def model(self, data: HeteroData, **kwargs: Any) -> MMGEF:
        """Return the model for data that :meth:`transform` has made.

        Args:
            data: The train graph, with the item graph ``'merged'``.
            **kwargs: Arguments of :meth:`MMGEF.from_data <pyg_mmgef.nn.MMGEF.from_data>` that
                replace those of the preset.

        Raises:
            ValueError: If the data lacks an item graph, or an argument doesn't fit the model.
        """
        options: dict[str, Any] = {
            'item_graphs': ('merged',),
            'item_input': 'id',
            'skip_weight': 1.0,
            'normalize_item': False,
            'embedding_dim': self.embedding_dim,
            'num_item_layers': self.num_item_layers,
            'edge_dropout': self.edge_dropout,
            **kwargs,
        }
        for relation in options['item_graphs']:
            item_graph(data, relation)
        return MMGEF.from_data(data, **options)

    def loss(self) -> BPRLoss:
        """Return the loss to train with."""
        return BPRLoss(self.l2)


MERGED = Preset()
"""The preset that was chosen on Amazon Baby.

The graphs are merged with weights that were chosen on validation, instead of attention that is
fitted to train. Id embeddings propagate over them twice, as in FREEDOM once (`arXiv 2211.06924
<https://arxiv.org/abs/2211.06924>`_), and are added to LightGCN without a scale.

On Amazon Baby, ``'similar'`` was 0.1 of the image graph and 0.9 of the text graph, and
``'co_interacts'`` connected items that share at least three users, ten neighbours in each. Sparse
data needs that. The results in the documentation show what each part is worth, and how it does on
other data.
"""
