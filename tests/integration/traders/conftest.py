from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from traderworld import HandMadeMarket, Watcher, Workers

from traders.processes import stop_all


@pytest.fixture
def market(redis_client: redis.Redis) -> Iterator[HandMadeMarket]:
    made = HandMadeMarket(redis_client, "HAND-1")
    yield made
    made.stop()


@pytest.fixture
def home() -> Iterator[Path]:
    """A home with a path short enough for a socket; whatever still runs in it is stopped at the end."""
    path = Path(tempfile.mkdtemp(prefix="kmm-"))
    yield path
    stop_all(path, 5.0)
    shutil.rmtree(path)


@pytest.fixture
def workers(home: Path, redis_url: str, redis_client: redis.Redis) -> Iterator[Workers]:
    """Workers that reach Redis and no database."""
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    made = Workers(home, {"REDIS_URL": redis_url, "DATABASE_URL": nowhere})
    yield made
    made.close()


@pytest.fixture
def workers_with_database(
    home: Path, redis_url: str, redis_client: redis.Redis, database_url: str
) -> Iterator[Workers]:
    made = Workers(home, {"REDIS_URL": redis_url, "DATABASE_URL": database_url})
    yield made
    made.close()


@pytest.fixture
def watcher(redis_client: redis.Redis) -> Watcher:
    return Watcher(redis_client)
