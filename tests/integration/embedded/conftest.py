from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kalshimm.embedded import postgres, stores


@pytest.fixture
def no_given_stores(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine where nobody set an address."""
    for name in ("DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def new_home(no_given_stores: None) -> Iterator[Callable[[], Path]]:
    """Make homes of their own; whatever runs in them is stopped and deleted afterwards."""
    made: list[Path] = []

    def make() -> Path:
        # Short, and not under pytest's folder: a socket's path has a limit, and an ordinary user must get through.
        path = Path(tempfile.mkdtemp(prefix="kmm-"))
        made.append(path)
        return path

    yield make
    for path in made:
        if path.exists():
            stores.stop_left_over(path)
            shutil.rmtree(path)
        postgres.purge(path)


@pytest.fixture
def a_home(new_home: Callable[[], Path]) -> Path:
    return new_home()


def is_root() -> bool:
    return os.geteuid() == 0
