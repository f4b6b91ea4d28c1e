"""One store for all tests of a module that change nothing in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from assetmgr.server.server import Server
from assetmgr.workspace import Workspace
from tests.hub import Hub
from tests.server.support import serving, stocked, stocked_hub


@pytest.fixture(scope="module")
def hub() -> Hub:
    return stocked_hub()


@pytest.fixture(scope="module")
def workspace(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return stocked(tmp_path_factory.mktemp("stocked"), hub)


@pytest.fixture(scope="module")
def server(workspace: Workspace) -> Iterator[Server]:
    with serving(workspace) as server:
        yield server
