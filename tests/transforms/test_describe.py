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

from pyg_mmgef import transforms
from pyg_mmgef.transforms import (
    AddCoInteractionGraph,
    AddItemKNNGraph,
    FuseModalities,
    MergeItemGraphs,
    SplitColdItems,
    SplitInteractions,
)
from tests.transforms.shops import random_shop

# Of each argument another valid value than the default.
OTHERS: dict[type[BaseTransform], dict[str, Any]] = {
    AddCoInteractionGraph: {
        'k': 3,
        'relation': 'co_interacts_raw',
        'weighting': 'raw',
        'min_count': 2,
        'max_activity': 9,
        'max_memory': 2**20,
        'num_threads': 1,
        'normalize': False,
        'verbose': True,
    },
    AddItemKNNGraph: {
        'k': 3,
        'attr': 'x_text',
        'relation': 'similar_text',
        'metric': 'ip',
        'backend': 'exact',
        'recall': 0.9,
        'loop': True,
        'force_undirected': True,
        'num_threads': 1,
        'generator': torch.Generator().manual_seed(5),
        'normalize': False,
        'verbose': True,
    },
    FuseModalities: {'fusion': 'concat', 'modalities': ('text',)},
    MergeItemGraphs: {'weights': {'similar': 2.0}, 'relation': 'both'},
    SplitColdItems: {'ratio': 0.5, 'strategy': 'time', 'seed': 1},
    SplitInteractions: {'ratios': (0.6, 0.2, 0.2), 'strategy': 'time', 'seed': 1},
}
REQUIRED: dict[type[BaseTransform], dict[str, Any]] = {
    MergeItemGraphs: {'weights': {'similar': 1.0}}
}


def test_every_transform_and_argument_is_listed() -> None:
    assert {cls.__name__ for cls in OTHERS} == set(transforms.__all__)
    for cls, values in OTHERS.items():
        assert set(values) == set(inspect.signature(cls).parameters)


@pytest.mark.parametrize('cls', OTHERS, ids=lambda cls: cls.__name__)
def test_another_argument_is_another_representation(cls: type[BaseTransform]) -> None:
    required = REQUIRED.get(cls, {})
    shown = [repr(cls(**required))]
    for name, value in OTHERS[cls].items():
        shown.append(repr(cls(**{**required, name: value})))
        assert f'{name}=' in shown[-1]
    assert len(set(shown)) == len(shown)


@pytest.mark.parametrize('cls', OTHERS, ids=lambda cls: cls.__name__)
def test_is_the_call_that_makes_it(cls: type[BaseTransform]) -> None:
    values = {name: value for name, value in OTHERS[cls].items() if name != 'generator'}
    shown = repr(cls(**values))
    assert '\n' not in shown
    again = eval(shown, {name: getattr(transforms, name) for name in transforms.__all__})
    assert {name: getattr(again, name) for name in values} == values


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
