"""All transforms refuse data whose types have other names, and say which they need."""

import pytest
import torch
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform

from pyg_mmgef.transforms import (
    AddCoInteractionGraph,
    AddItemKNNGraph,
    AddReverseInteractions,
    FuseModalities,
    MergeItemGraphs,
    SplitColdItems,
    SplitInteractions,
)

FOUND = r"'user', 'item' and 'interacts' \(found the node types .* and the edge types .*rates"


def movies(item: str) -> HeteroData:
    """Return data with the names of torch_geometric.datasets.MovieLens, or with one of ours."""
    data = HeteroData()
    data['user'].num_nodes, data[item].x = 3, torch.eye(4)
    data['user', 'rates', item].edge_index = torch.tensor([[0, 1, 2], [0, 1, 3]])
    return data


@pytest.mark.parametrize(
    'transform',
    [
        AddCoInteractionGraph(),
        AddItemKNNGraph(),
        AddReverseInteractions(),
        FuseModalities(),
        MergeItemGraphs({'similar': 1.0}),
        SplitColdItems(0.5),
        SplitInteractions(),
    ],
    ids=lambda transform: type(transform).__name__,
)
def test_other_names(transform: BaseTransform) -> None:
    with pytest.raises(ValueError, match=FOUND):
        transform(movies('movie'))


@pytest.mark.parametrize(
    'transform',
    [
        AddCoInteractionGraph(),
        AddReverseInteractions(),
        SplitColdItems(0.5),
        SplitInteractions(),
    ],
)
def test_another_relation(transform: BaseTransform) -> None:
    with pytest.raises(ValueError, match=FOUND):
        transform(movies('item'))
