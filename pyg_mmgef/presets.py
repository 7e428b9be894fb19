"""Configurations that were found on validation data, with the evidence for each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch_geometric.data import HeteroData

from pyg_mmgef.nn import MMGEF, BPRLoss
from pyg_mmgef.transforms import MergeItemGraphs

__all__ = ['MERGED', 'Preset']


@dataclass(frozen=True)
class Preset:
    """Options that go together: of the item graph, of the model and of training.

    Args:
        graph_weights: The weight of each item graph, see
            :class:`~pyg_mmgef.transforms.MergeItemGraphs`.
        model: Arguments of :meth:`MMGEF.from_data <pyg_mmgef.nn.MMGEF.from_data>`.
        l2: The weight of the penalty in :class:`~pyg_mmgef.nn.BPRLoss`.
        lr: Learning rate of Adam.
    """

    graph_weights: Mapping[str, float]
    model: Mapping[str, Any] = field(default_factory=dict)
    l2: float = 1e-3
    lr: float = 1e-3

    def build(self, data: HeteroData, **kwargs: Any) -> tuple[HeteroData, MMGEF]:
        """Return the data with the merged item graph, and the model for it.

        Args:
            data: The train graph, with the item graphs that :attr:`graph_weights` names.
            **kwargs: Arguments of the model that replace those of the preset.

        Raises:
            ValueError: If the data lacks a graph, or an argument doesn't fit the model.
        """
        data = MergeItemGraphs(self.graph_weights)(data)
        return data, MMGEF.from_data(data, **{**self.model, **kwargs})

    def loss_fn(self) -> BPRLoss:
        """Return the loss to train with."""
        return BPRLoss(self.l2)


MERGED = Preset(
    graph_weights={'similar': 1.0, 'co_interacts': 0.5},
    model={
        'item_graphs': ('merged',),
        'item_input': 'id',
        'skip_weight': 1.0,
        'num_item_layers': 2,
        'embedding_dim': 128,
        'edge_dropout': 0.8,
        'normalize_item': False,
    },
)
"""Id embeddings over one item graph with fixed weights, beside LightGCN with edge dropout.

MM-GEF learns the weights of its item graphs in training. There, the co-interaction graph explains
the very interactions it was made of, so attention leans on it more than validation would. This
preset merges the graphs with weights that were chosen on validation, propagates id embeddings over
them twice, as FREEDOM does once (`arXiv 2211.06924 <https://arxiv.org/abs/2211.06924>`_), and adds
the result to LightGCN without scaling it to unit length.
"""
