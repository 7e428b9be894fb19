from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from pyg_mmgef.serving import Settings, make_app

TOKEN = 'a-token-of-32-ascii-characters-xx'


@pytest.fixture
def start() -> Iterator[Callable[..., TestClient]]:
    """Start an application that serves an export, until the test ends."""
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setenv('PYG_MMGEF_TOKEN', TOKEN)

        def started(folder: Path, **settings: Any) -> TestClient:
            app = make_app(Settings(folder, **{'poll': 0.02, **settings}))
            return stack.enter_context(TestClient(app, raise_server_exceptions=False))

        yield started
