"""What the doctests of the package may use without an import."""

from typing import Any

import pytest
import torch
from torch_geometric.data import HeteroData


@pytest.fixture(autouse=True)
def _doctest_names(doctest_namespace: dict[str, Any]) -> None:
    doctest_namespace.update(torch=torch, HeteroData=HeteroData)
