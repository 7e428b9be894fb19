"""Configurations that were chosen on validation data."""

from collections.abc import Mapping
from dataclasses import dataclass
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
    model: Mapping[str, Any]
    l2: float
    lr: float

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
    l2=1e-3,
    lr=1e-3,
)
"""Id embeddings over one item graph with fixed weights, beside LightGCN with edge dropout.

The graphs are merged with weights that were chosen on validation, instead of attention that is
fitted to train. Id embeddings propagate over them twice, as in FREEDOM once (`arXiv 2211.06924
<https://arxiv.org/abs/2211.06924>`_), and are added to LightGCN without a scale.

Chosen on Amazon Baby, where ``'similar'`` was 0.1 of the image graph and 0.9 of the text graph, and
``'co_interacts'`` connected items that share at least three users, ten neighbours in each. Sparse
data needs that: ``AddCoInteractionGraph(k=10, min_count=3)``. The results in the documentation show
what each part is worth, and how it does on other data.
"""
