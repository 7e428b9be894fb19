"""Everything public that has settings, and arguments to build it with."""

import inspect
from typing import Any

from torch.nn import Module
from torch_geometric.transforms import BaseTransform

from pyg_mmgef import nn, transforms
from pyg_mmgef.nn import conv, fusion, loss, parts

PUBLIC = {
    name: getattr(package, name)
    for package in (nn, conv, fusion, loss, parts, transforms)
    for name in package.__all__
}
WITHOUT_SETTINGS = (nn.Recommender, nn.ExplainableMMGEF)
"""The base of the models; and what only wraps a model and a graph."""
WITH_SETTINGS = {
    name: cls
    for name, cls in PUBLIC.items()
    if inspect.isclass(cls)
    and issubclass(cls, Module | BaseTransform)
    and cls not in WITHOUT_SETTINGS
}

GIVEN: dict[str, Any] = {
    'num_users': 3,
    'num_items': 4,
    'in_channels': {'image': 4},
    'num_graphs': 2,
    'out_channels': 5,
    'graphs': ('similar',),
}
"""What a class is built with, of those arguments that it has."""
GIVEN_OF: dict[str, dict[str, Any]] = {
    'FREEDOM': {'item_graphs': {'similar': 1.0}},
    'PGL': {'item_graphs': {'similar': 1.0}},
    'ItemGraphs': {'item_graphs': ('similar',)},
    'MergeItemGraphs': {'item_graphs': {'similar': 1.0}},
    'ItemGraphEncoder': {'in_channels': 4},
    'SoftEdgeFusion': {'in_channels': 4},
}


def build(cls: type, **others: Any) -> object:
    """Build what there is to show, with other arguments than those given."""
    known = inspect.signature(cls).parameters
    given = {name: value for name, value in GIVEN.items() if name in known}
    return cls(**{**given, **GIVEN_OF.get(cls.__name__, {}), **others})
