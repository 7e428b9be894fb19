"""What shows itself shows every setting: all public layers, losses, parts, models, transforms."""

import inspect
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch_geometric.data import HeteroData, InMemoryDataset
from torch_geometric.transforms import BaseTransform

from pyg_mmgef.transforms import AddItemKNNGraph, FuseModalities
from tests.settings import PUBLIC, WITH_SETTINGS, build
from tests.transforms.shops import random_shop

OTHERS: dict[str, Any] = {
    'alignment_weight': 1.5,
    'attention': 'node',
    'attr': 'x_text',
    'backend': 'exact',
    'cache_bytes': 0,
    'combination': 'add',
    'content_weight': 0.25,
    'content_count': 2.0,
    'history_content': 0.5,
    'contrast_weight': 0.75,
    'dropout': 0.125,
    'edge_dropout': 0.25,
    'embedding_dim': 8,
    'embedding_l2': 0.5,
    'fake_weight': 0.5,
    'feature_dim': 7,
    'feature_loss_weight': 0.5,
    'feature_weight': 5.0,
    'fusion': 'concat',
    'gamma': 2.0,
    'generator': torch.Generator().manual_seed(5),
    'global_weight': 0.5,
    'graphs': ('similar_text',),
    'hidden_dim': 6,
    'in_channels': {'text': 6},
    'item_dropout': 0.25,
    'item_graphs': ('similar',),
    'item_input': 'sum',
    'item_readout': 'mean',
    'k': 3,
    'l2': 0.25,
    'l2_exponent': 1.0,
    'map_weight': 0.5,
    'max_activity': 9,
    'max_bytes': 2**20,
    'max_memory': 2**20,
    'metric': 'ip',
    'min_count': 2,
    'modalities': ('text',),
    'mode': 'concat',
    'norm_weight': 0.5,
    'num_experts': 2,
    'num_graphs': 3,
    'num_hyper_layers': 3,
    'num_hyperedges': 5,
    'num_item_layers': 4,
    'num_items': 6,
    'num_layers': 5,
    'num_modality_layers': 3,
    'num_routings': 1,
    'num_steps': 2,
    'num_sweeps': 5,
    'num_threads': 1,
    'num_users': 5,
    'out_channels': 6,
    'rank': 4,
    'ratio': 0.5,
    'ratios': (0.6, 0.2, 0.2),
    'readout': 'mean',
    'rebuild_every': 3,
    'recall': 0.9,
    'relation': 'another',
    'seed': 7,
    'similarity_weight': 0.5,
    'skip_weight': 0.25,
    'strategy': 'time',
    'subgraph': 'global',
    'target_weight': 0.5,
    'temperature': 3.0,
    'unobserved_weight': 0.125,
    'user_share': 0.25,
    'weighting': 'raw',
}
"""Of each argument another valid value than any default, but for flags, which are negated."""
OTHERS_OF: dict[str, dict[str, Any]] = {
    'AddCoInteractionGraph': {'relation': 'co_interacts_raw'},
    'COHESION': {'item_graphs': {'similar': 2.0}},
    'ContentIALS': {'item_graphs': {'similar': 2.0}},
    'FREEDOM': {'item_graphs': {'similar': 2.0}},
    'MergeItemGraphs': {'item_graphs': {'similar': 2.0}},
    'PGL': {'item_graphs': {'similar': 2.0}},
    'ItemGraphEncoder': {'in_channels': 6},
    'ItemGraphs': {'item_graphs': {'similar': 2.0}},
    'SoftEdgeFusion': {'mode': 'node', 'in_channels': 6},
}


def other(cls: type, parameter: inspect.Parameter) -> dict[str, Any]:
    """Return an argument, by its name, with another value."""
    if parameter.kind is parameter.VAR_KEYWORD:  # Of PyG's MessagePassing.
        return {'decomposed_layers': 2}
    if isinstance(parameter.default, bool):
        return {parameter.name: not parameter.default}
    own = OTHERS_OF.get(cls.__name__, {})
    return {parameter.name: {**OTHERS, **own}[parameter.name]}


def shown(cls: type) -> list[str]:
    """Show a class as it is given, and with another value for each of its arguments."""
    parameters = inspect.signature(cls).parameters.values()
    return [repr(build(cls)), *(repr(build(cls, **other(cls, p))) for p in parameters)]


@pytest.mark.parametrize('cls', WITH_SETTINGS.values(), ids=list(WITH_SETTINGS))
def test_another_argument_is_another_representation(cls: type) -> None:
    lines = shown(cls)
    assert len(set(lines)) == len(lines)


@pytest.mark.parametrize('cls', WITH_SETTINGS.values(), ids=list(WITH_SETTINGS))
def test_is_the_call_that_makes_it(cls: type) -> None:
    for line in shown(cls):
        assert '\n' not in line
        assert len(line) < 160
        if 'Generator(' not in line:
            assert repr(eval(line, dict(PUBLIC))) == line


def test_says_no_more_than_it_must() -> None:
    for line in (
        "MMGEF(3, 4, in_channels={'image': 4}, embedding_dim=16)",
        'LightGCN(3, 4)',
        "ItemGraphEncoder(ItemGraphs(4, ('similar',)), 4, 5, num_layers=2)",
        'BPRLoss()',
        "SplitInteractions(ratios=(0.7, 0.1, 0.2), strategy='time')",
    ):
        assert repr(eval(line, dict(PUBLIC))) == line


def test_a_generator_is_shown_alike_in_all_processes() -> None:
    script = (
        'import torch; from pyg_mmgef.transforms import AddItemKNNGraph;'
        'print(AddItemKNNGraph(generator=torch.Generator().manual_seed(5)))'
    )
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True)
    shown = repr(AddItemKNNGraph(generator=torch.Generator().manual_seed(5)))
    assert done.stdout.strip() == shown == 'AddItemKNNGraph(generator=Generator(seed=5))'


class Shop(InMemoryDataset):
    """A dataset that keeps what its pre_transform makes."""

    def __init__(self, root: Path, pre_transform: BaseTransform) -> None:
        super().__init__(str(root), pre_transform=pre_transform)
        self.load(self.processed_paths[0], data_cls=HeteroData)

    @property
    def processed_file_names(self) -> str:
        return 'data.pt'

    def process(self) -> None:
        assert self.pre_transform is not None
        self.save([self.pre_transform(FuseModalities()(random_shop()))], self.processed_paths[0])


def test_pyg_warns_of_a_file_made_with_another_metric(tmp_path: Path) -> None:
    Shop(tmp_path, AddItemKNNGraph(k=3))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        Shop(tmp_path, AddItemKNNGraph(k=3))
    with pytest.warns(UserWarning, match='pre_transform'):
        Shop(tmp_path, AddItemKNNGraph(k=3, metric='ip'))
