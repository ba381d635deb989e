"""Tests of this folder run on virtual time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.fixtures.virtualtime import loop_factories


def pytest_asyncio_loop_factories() -> Mapping[str, Any]:
    return loop_factories()
