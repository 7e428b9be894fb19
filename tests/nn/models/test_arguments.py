"""Every model refuses what it can't be built with, by the name of the argument."""

import inspect
import math
from typing import Any

import pytest

from pyg_mmgef.nn import recommenders
from tests.settings import build

KINDS: dict[str, tuple[tuple[Any, ...], str]] = {
    'size': ((0, -1, 1.5), 'must be a positive integer'),
    'count': ((-1, 1.5), 'must be an integer that is not negative'),
    'weight': ((-0.1, math.inf, math.nan), 'must be finite and not negative'),
    'positive': ((0.0, -1.0, math.inf, math.nan), 'must be positive and finite'),
    'share': ((-0.1, 1.1, math.nan), r'must lie in \[0, 1\]'),
    'share below 1': ((-0.1, 1.0, math.nan), r'must lie in \[0, 1\)'),
    'share above 0': ((0.0, -0.1, 1.1, math.nan), r'must lie in \(0, 1\]'),
    'choice': (('none of them',), 'must be one of'),
    'channels': (({'image': 0},), 'must be a positive integer'),
    'free': ((), ''),
}
"""What an argument of each kind can't be, and what is said then."""
KIND_OF = {
    'size': (
        'num_users num_items embedding_dim feature_dim hidden_dim k rank min_count rebuild_every '
        'num_experts num_hyper_layers num_hyperedges num_item_layers num_steps num_sweeps max_bytes'
    ),
    'count': 'num_layers num_modality_layers num_routings cache_bytes',
    'weight': (
        'alignment_weight content_count contrast_weight embedding_l2 fake_weight feature_weight '
        'feature_loss_weight global_weight l2_exponent map_weight norm_weight target_weight'
    ),
    'positive': 'l2 temperature unobserved_weight',
    'share': 'content_weight history_content similarity_weight skip_weight item_dropout',
    'share below 1': 'dropout edge_dropout',
    'share above 0': 'recall',
    'choice': 'combination item_input item_readout subgraph weighting',
    'channels': 'in_channels',
    'free': 'attention bias fusion item_graphs normalize_item seed sparse',
}
"""The arguments of each kind. What is free is a flag or a seed, or checked by a part."""
EXCEPT = {
    ('GRCN', 'num_layers'): 'size',
    ('MMGCN', 'num_layers'): 'size',
    ('MMGEF', 'num_item_layers'): 'count',
    ('MMGEF', 'item_dropout'): 'share below 1',
}
KIND = {name: kind for kind, names in KIND_OF.items() for name in names.split()}
ARGUMENTS = [
    (model, argument)
    for model, cls in recommenders().items()
    for argument in inspect.signature(cls).parameters
]


@pytest.mark.parametrize(('model', 'argument'), ARGUMENTS)
def test_wrong_values_are_refused(model: str, argument: str) -> None:
    values, message = KINDS[EXCEPT.get((model, argument), KIND[argument])]
    for value in values:
        with pytest.raises(ValueError, match=f"'{argument}.*' {message}"):
            build(recommenders()[model], **{argument: value})


@pytest.mark.parametrize('model', recommenders())
def test_only_the_sizes_go_by_position(model: str) -> None:
    parameters = inspect.signature(recommenders()[model]).parameters.values()
    by_position = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert by_position == ['num_users', 'num_items']
    assert len(by_position) + sum(p.kind is p.KEYWORD_ONLY for p in parameters) == len(parameters)


@pytest.mark.parametrize('model', ['BM3', 'CLCRec', 'DropoutNet', 'GRCN', 'LGMRec', 'VBPR'])
def test_features_need_a_modality(model: str) -> None:
    with pytest.raises(ValueError, match="'in_channels' is empty"):
        build(recommenders()[model], in_channels={})


def test_graphs_need_a_weight() -> None:
    for model in ('FREEDOM', 'PGL'):
        with pytest.raises(ValueError, match="'item_graphs' is empty"):
            build(recommenders()[model], item_graphs={})
        for weight in (0.0, math.nan):
            with pytest.raises(ValueError, match="'item_graphs' must hold positive numbers"):
                build(recommenders()[model], item_graphs={'similar': weight})
