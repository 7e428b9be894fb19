"""What is compared: models, how each is built for a data set, and what may be tuned of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch.nn import Module
from torch_geometric.data import HeteroData

from pyg_mmgef import nn
from pyg_mmgef.presets import MERGED
from pyg_mmgef.schema import item_modalities, item_relations

__all__ = ['CONTESTANTS', 'Contestant', 'NotForThisDataError', 'loader_options', 'loss_of']

Space = Mapping[str, list[Any]]
Options = Mapping[str, Any]

# Of every model, and as many trials for each: the budget is equal, not the spaces.
COMMON: Space = {'lr': [5e-4, 1e-3, 5e-3], 'l2': [1e-5, 1e-4, 1e-3, 1e-2]}
TRAINING = ('lr', 'l2', 'loss', 'temperature', 'num_negatives', 'graphs')
FOR_FEATURES = {'fusion', 'item_input', 'skip_weight'}
WITHOUT_FEATURES: Options = {'skip_weight': 1.0}  # Then nothing is learned of them.
LATE = 'late'  # A graph per modality.
USUAL: Options = {'lr': 1e-3, 'l2': 1e-4}
GRAPH_DROPOUT: Space = {'edge_dropout': [0.0, 0.5, 0.8]}


class NotForThisDataError(ValueError):
    """An ablation changes what the data doesn't have."""


@dataclass(frozen=True)
class Contestant:
    """A model under a name.

    Args:
        model: Its class in :mod:`pyg_mmgef.nn`.
        options: Arguments that are the same in every trial, of the model or of training.
        space: Those that the search chooses, and from what.
        first: What the search tries first: usual settings.
        needs: What the data must have: ``'features'``, ``'graphs'`` or nothing.
        variants: Options that replace others, by the name of an ablation.
    """

    model: str
    options: Options = field(default_factory=dict)
    space: Space = field(default_factory=dict)
    first: Options = field(default_factory=dict)
    needs: str = ''
    variants: Mapping[str, Options] = field(default_factory=dict)

    def is_for(self, data: HeteroData) -> bool:
        """Return whether the data has what the model needs."""
        if self.needs == 'features':
            return bool(item_modalities(data)[0])
        graphs = [edge_type for edge_type in data.edge_types if edge_type[1].startswith('similar')]
        return self.needs != 'graphs' or bool(graphs)

    def build(self, data: HeteroData, options: Options) -> nn.Recommender:
        """Return the model, with parameters drawn from torch's generator."""
        own = {key: value for key, value in options.items() if key not in TRAINING}
        x, _ = item_modalities(data)
        widths = {features.size(1) for features in x.values()}
        if len(widths) > 1 and own.get('fusion', 'concat') != 'concat':
            raise NotForThisDataError('its modalities have different widths; they have no mean')
        if not x:
            for key in FOR_FEATURES & set(own):
                if own.pop(key) not in (self.options.get(key), WITHOUT_FEATURES.get(key)):
                    raise NotForThisDataError(
                        f'without item features there is no {key!r} to choose'
                    )
        graphs = own.get('item_graphs')
        if isinstance(graphs, Mapping) and not set(graphs) <= set(item_relations(data)):
            del own['item_graphs']  # Then all modalities count alike.
        if own.get('item_graphs') == LATE:
            per_modality = [name for name in item_relations(data) if name.startswith('similar_')]
            own['item_graphs'] = (*per_modality, 'co_interacts')
        model = nn.recommenders()[self.model].from_data(data, **own)
        model.content_map = None  # The runs compare what the models themselves make of cold items.
        return model


def loss_of(options: Options) -> Module:
    """Return the loss that the options ask for."""
    if options.get('loss', 'bpr') == 'softmax':
        return nn.SampledSoftmaxLoss(options.get('temperature', 0.2), in_batch=False)
    return nn.BPRLoss(options.get('l2', 1e-4))


def loader_options(options: Options) -> dict[str, Any]:
    """Return the negatives that this loss takes."""
    if options.get('loss', 'bpr') == 'softmax':
        return {'num_negatives': options.get('num_negatives', 512), 'shared_negatives': True}
    return {'num_negatives': 1}


MMGEF_ABLATIONS: dict[str, Options] = {
    'fusion-mean': {'fusion': 'mean'},
    'fusion-weighted': {'fusion': 'weighted'},
    'fusion-gated': {'fusion': 'gated'},
    'late-fusion': {'item_graphs': LATE},
    'attention-node': {'attention': 'node'},
    'attention-edge': {'attention': 'edge'},
    'average': {'attention': 'mean'},
    'similar-only': {'item_graphs': ('similar',)},
    'co-interacts-only': {'item_graphs': ('co_interacts',)},
    'depth-0': {'num_item_layers': 0},
    'depth-2': {'num_item_layers': 2},
    'depth-3': {'num_item_layers': 3},
    'k-5': {'k': 5, 'graphs': {'k': 5}},
    'k-20': {'k': 20, 'graphs': {'k': 20}},
    'co-interacts-jaccard': {'graphs': {'weighting': 'jaccard'}},
    'co-interacts-lift': {'graphs': {'weighting': 'lift'}},
    'co-interacts-raw': {'graphs': {'weighting': 'raw'}},
    'co-interacts-lightgcn': {'graphs': {'weighting': 'lightgcn'}},
    'lambda-0': {'skip_weight': 0.0},
    'lambda-0.5': {'skip_weight': 0.5},
    'lambda-1': {'skip_weight': 1.0},
}
BOTH = ('similar', 'co_interacts')
MERGED_GRAPH: Options = {
    **MERGED.options,
    'graphs': {'merge': {'similar': 1.0, 'co_interacts': 0.5}},
}
PRESET: Options = {**MERGED_GRAPH, 'lr': MERGED.lr, 'l2': MERGED.l2}

CONTESTANTS: dict[str, Contestant] = {
    'Popularity': Contestant('Popularity'),
    'ItemKNN': Contestant(
        'ItemKNN',
        space={
            'k': [20, 50, 100, 200],
            'weighting': ['cosine', 'jaccard', 'raw'],
            'min_count': [1, 2, 3],
        },
    ),
    'MF': Contestant('MF', space=COMMON, first=USUAL),
    # As in the paper: the penalty is on the embeddings of layer 0.
    'LightGCN': Contestant(
        'LightGCN',
        {'l2': 0.0},
        {'lr': COMMON['lr'], 'embedding_l2': COMMON['l2'], 'num_layers': [1, 2, 3]},
        {'lr': 1e-3, 'embedding_l2': 1e-4, 'num_layers': 3},
    ),
    'LightGCN, softmax': Contestant(
        'LightGCN',
        {'loss': 'softmax'},
        {'lr': COMMON['lr'], 'temperature': [0.1, 0.15, 0.2, 0.3], 'num_layers': [1, 2, 3]},
        {'lr': 1e-3, 'temperature': 0.2, 'num_layers': 3},
    ),
    'VBPR': Contestant('VBPR', space=COMMON, first=USUAL, needs='features'),
    'MMGCN': Contestant('MMGCN', space=COMMON, first=USUAL, needs='features'),
    'GRCN': Contestant(
        'GRCN',
        space={**COMMON, 'num_routings': [0, 3]},
        first={**USUAL, 'num_routings': 0},
        needs='features',
    ),
    'LATTICE': Contestant('LATTICE', space=COMMON, first=USUAL, needs='graphs'),
    'MICRO': Contestant('MICRO', space=COMMON, first=USUAL, needs='graphs'),
    'BM3': Contestant(
        'BM3',
        space={'lr': COMMON['lr'], 'norm_weight': [0.01, 0.1], 'num_layers': [1, 2]},
        first={'lr': 1e-3, 'norm_weight': 0.1, 'num_layers': 2},
        needs='features',
    ),
    'FREEDOM': Contestant(
        'FREEDOM',
        {'item_graphs': {'similar_image': 0.1, 'similar_text': 0.9}},  # As its authors do.
        space={**COMMON, **GRAPH_DROPOUT},
        first={'lr': 1e-3, 'l2': 1e-3, 'edge_dropout': 0.8},
        needs='graphs',
    ),
    'MGCN': Contestant('MGCN', space=COMMON, first=USUAL, needs='features'),
    # As in the paper.
    'MM-GEF': Contestant(
        'MMGEF',
        {'fusion': 'concat', 'item_graphs': BOTH},
        COMMON,
        {'lr': 1e-3, 'l2': 1e-3},
        needs='graphs',
        variants=MMGEF_ABLATIONS,
    ),
    'MM-GEF, merged': Contestant(
        'MMGEF',
        MERGED_GRAPH,
        {**COMMON, **GRAPH_DROPOUT},
        {'lr': MERGED.lr, 'l2': MERGED.l2, 'edge_dropout': MERGED.options['edge_dropout']},
        needs='graphs',
    ),
    'MM-GEF, preset': Contestant(
        'MMGEF',
        PRESET,
        needs='graphs',
        variants={
            'similar-only': {'graphs': {'merge': {'similar': 1.0}}},
            'graph-attention': {'item_graphs': BOTH},
            'one-item-layer': {'num_item_layers': 1},
            'dim-64': {'embedding_dim': 64},
            'dim-256': {'embedding_dim': 256},
            'no-edge-dropout': {'edge_dropout': 0.0},
            'unit-length': {'normalize_item': True},
        },
    ),
}
