"""Presets: a model with its item graphs, options, loss and learning rate."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform, Compose

from pyg_mmgef.nn import BPRLoss, Recommender, recommenders
from pyg_mmgef.schema import item_graph
from pyg_mmgef.transforms import (
    AddCoInteractionGraph,
    AddItemKNNGraph,
    FuseModalities,
    MergeItemGraphs,
)

__all__ = ['BEST', 'ITEM_DROPOUT', 'MERGED', 'PAPER', 'Preset']


@dataclass(frozen=True)
class Preset:
    """The name and options of a model, the transforms of its data, and how to train it.

    Use :func:`dataclasses.replace` to change a field.

    Args:
        recommender: The name of the model, one of :func:`~pyg_mmgef.nn.recommenders`.
        options: Arguments of its ``from_data``. (default: ``{}``)
        transforms: Transforms that add the item graphs of the model to the train part of a split.
            (default: ``()``)
        l2: The weight of the penalty in :class:`~pyg_mmgef.nn.BPRLoss`. (default: ``1e-3``)
        lr: Learning rate of Adam. (default: ``5e-3``)

    Example:
        >>> MERGED.transform()
        Compose([
          FuseModalities(fusion='concat'),
          AddItemKNNGraph(),
          AddCoInteractionGraph(min_count=3),
          MergeItemGraphs({'similar': 1.0, 'co_interacts': 0.5})
        ])
    """

    recommender: str
    options: Mapping[str, Any] = field(default_factory=dict)
    transforms: tuple[BaseTransform, ...] = ()
    l2: float = 1e-3
    lr: float = 5e-3

    def transform(self, *, build_similar: bool = True) -> Compose:
        """Return the transform that adds the item graphs to the train part of a split.

        Args:
            build_similar: Whether to build the item graph ``'similar'`` from features, if the
                preset has it; :obj:`False` for data that brings it, or has no features.
                (default: :obj:`True`)
        """
        of_features = () if build_similar else (FuseModalities, AddItemKNNGraph)
        return Compose([step for step in self.transforms if not isinstance(step, of_features)])

    def model(self, data: HeteroData, **kwargs: Any) -> Recommender:
        """Build the model for data that :meth:`transform` returned.

        Args:
            data: The train graph.
            **kwargs: Arguments of the model's ``from_data`` that replace those of the preset.

        Raises:
            ValueError: If the data lacks an item graph, or an argument doesn't fit the model.
        """
        options = {**self.options, **kwargs}
        for relation in options.get('item_graphs', ()):
            item_graph(data, relation)  # Raises now, not in the first step, if it is missing.
        return recommenders()[self.recommender].from_data(data, **options)

    def loss(self) -> BPRLoss:
        """Return the loss for a model that is trained."""
        return BPRLoss(self.l2)


BEST = Preset('ContentIALS', transforms=(AddCoInteractionGraph(),))
"""The default: the preset that ranks warm items best on all data that we have.

For cold items it is best on two data sets of four. It is IALS with item embeddings pulled towards a
prediction from the items' features and neighbours, see :class:`~pyg_mmgef.nn.ContentIALS`. It is
solved in closed form, in seconds. It also works for data without features, and uses an item graph
``'similar'`` in their place.
"""

PAPER = Preset(
    'MMGEF',
    {'fusion': 'concat'},
    (FuseModalities('concat'), AddItemKNNGraph(), AddCoInteractionGraph()),
)
"""MM-GEF as in its paper, except that the features of the modalities are concatenated.

The paper averages CLIP features. Those of different encoders share no space, so they can't be
averaged; ``replace(PAPER, options={'fusion': 'mean'}, ...)`` averages them.
"""

ITEM_DROPOUT = Preset(
    'MMGEF',
    {'fusion': 'concat', 'item_dropout': 0.5, 'item_readout': 'mean'},
    PAPER.transforms,
)
"""MM-GEF with half of the items treated as cold in each step, and ``item_readout='mean'``.

In the synthetic shop it is better than :data:`PAPER` for warm items, too.
"""

MERGED = Preset(
    'MMGEF',
    {
        'item_graphs': ('merged',),
        'item_input': 'id',
        'skip_weight': 1.0,
        'normalize_item': False,
        'embedding_dim': 128,
        'num_item_layers': 2,
        'edge_dropout': 0.8,
    },
    (
        FuseModalities('concat'),
        AddItemKNNGraph(),
        AddCoInteractionGraph(min_count=3),
        MergeItemGraphs({'similar': 1.0, 'co_interacts': 0.5}),
    ),
    lr=1e-3,
)
"""MM-GEF with merged item graphs, as chosen on validation for Amazon Baby.

The graphs are merged with weights chosen on validation, instead of attention that is fitted to
train. Id embeddings propagate over them twice (FREEDOM, `arXiv 2211.06924
<https://arxiv.org/abs/2211.06924>`_, does so once) and are added to LightGCN's without scaling.

On Amazon Baby, ``'similar'`` was 0.1 of the image graph and 0.9 of the text graph, and
``'co_interacts'`` connected items that share at least three users, which sparse data needs; both
had ten neighbours per item. The results in the documentation have an ablation, and other data.
"""
