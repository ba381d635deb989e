"""Live orders at the local exchange: real sockets, on a time that jumps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.virtualtime import loop_factories


def pytest_asyncio_loop_factories() -> Mapping[str, Any]:
    return loop_factories()


@pytest.fixture(scope="session")
def key_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys for all exchanges of a session: an RSA key takes its time to make."""
    return tmp_path_factory.mktemp("live-keys")
