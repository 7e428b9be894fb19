"""Models with all that goes with them: item graphs, options, loss and learning rate."""

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
    """A model by its name and options, and how its data is made and it is trained.

    :func:`dataclasses.replace` changes some of it.

    Args:
        recommender: The name of the model, one of :func:`~pyg_mmgef.nn.recommenders`.
        options: Arguments of its ``from_data``. (default: ``{}``)
        transforms: What adds the item graphs that it reads to the train part of a split.
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
        """Return what adds the item graphs to the train part of a split.

        Args:
            build_similar: Build the item graph ``'similar'`` from the item features, where the
                preset does; :obj:`False` for data that has it already, or has no features.
                (default: :obj:`True`)
        """
        of_features = () if build_similar else (FuseModalities, AddItemKNNGraph)
        return Compose([step for step in self.transforms if not isinstance(step, of_features)])

    def model(self, data: HeteroData, **kwargs: Any) -> Recommender:
        """Return the model for data that :meth:`transform` has made.

        Args:
            data: The train graph.
            **kwargs: Arguments of the model's ``from_data`` that replace those of the preset.

        Raises:
            ValueError: If the data lacks an item graph, or an argument doesn't fit the model.
        """
        options = {**self.options, **kwargs}
        for relation in options.get('item_graphs', ()):
            item_graph(data, relation)  # Asked for now, it is missing here, not in the first step.
        return recommenders()[self.recommender].from_data(data, **options)

    def loss(self) -> BPRLoss:
        """Return the loss to train with, for a model that is trained."""
        return BPRLoss(self.l2)


BEST = Preset('ContentIALS', transforms=(AddCoInteractionGraph(),))
"""The preset that ranks best, for warm and for cold items, on all data that we have.

IALS whose items are drawn to what their features and their neighbours say, see
:class:`~pyg_mmgef.nn.ContentIALS`. It is solved, not trained, in seconds. Data without features
lacks nothing but what they would add; an item graph ``'similar'`` stands in for them.
"""

PAPER = Preset(
    'MMGEF',
    {'fusion': 'concat'},
    (FuseModalities('concat'), AddItemKNNGraph(), AddCoInteractionGraph()),
)
"""MM-GEF as in its paper, with features of modalities side by side.

Features of different encoders share no space, so they aren't averaged as those of CLIP are in the
paper; ``replace(PAPER, options={'fusion': 'mean'}, ...)`` does.
"""

ITEM_DROPOUT = Preset(
    'MMGEF',
    {'fusion': 'concat', 'item_dropout': 0.5, 'item_readout': 'mean'},
    PAPER.transforms,
)
"""MM-GEF with half of the items cold in each step, and an item's own content beside that of others.

In the synthetic shop that is better than :data:`PAPER` for warm items too.
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
"""The preset that was chosen on Amazon Baby.

The graphs are merged with weights that were chosen on validation, instead of attention that is
fitted to train. Id embeddings propagate over them twice, as in FREEDOM once (`arXiv 2211.06924
<https://arxiv.org/abs/2211.06924>`_), and are added to LightGCN without a scale.

On Amazon Baby, ``'similar'`` was 0.1 of the image graph and 0.9 of the text graph, and
``'co_interacts'`` connected items that share at least three users, ten neighbours in each. Sparse
data needs that. The results in the documentation show what each part is worth, and how it does on
other data.
"""
