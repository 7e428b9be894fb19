"""What all tests need, and what the doctests of the package may use without an import."""

import contextlib
from typing import Any

import pytest
import torch
from torch_geometric.data import HeteroData


def pytest_configure(config: pytest.Config) -> None:
    """Let the process that reports the tests of others import the modules of their warnings."""
    if config.getoption('numprocesses', default=None):
        from pyg_mmgef.encoders.torchvision_compat import import_torchvision

        with contextlib.suppress(ImportError):
            import_torchvision()


@pytest.fixture(autouse=True)
def _doctest_names(doctest_namespace: dict[str, Any]) -> None:
    doctest_namespace.update(torch=torch, HeteroData=HeteroData)
