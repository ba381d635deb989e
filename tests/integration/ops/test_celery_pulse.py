from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from kalshimm.embedded import processes
from kalshimm.runtime.heartbeat import beat_key, decode_beat
from tests.fixtures.stack import eventually

BEAT = beat_key("celery", "worker")


@pytest.fixture
def silent_exchange() -> Iterator[socket.socket]:
    """An exchange that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30.0)
        yield server


@pytest.fixture
def worker(
    silent_exchange: socket.socket, redis_client: redis.Redis, database_url: str, tmp_path: Path
) -> Iterator[subprocess.Popen[bytes]]:
    (tmp_path / "run").mkdir()
    (part,) = (part for part in processes.workers(0) if part.name == "celery")
    address = f"127.0.0.1:{silent_exchange.getsockname()[1]}"
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "kalshimm.settings",
        "DATABASE_URL": database_url,
        "KALSHIMM_HOME": str(tmp_path),
        "KALSHI_REST_URL": f"http://{address}",
        "KALSHI_WS_URL": f"ws://{address}",
    }
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            part.argv, cwd=processes.BASE_DIR, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    yield process
    os.killpg(process.pid, 9)
    process.wait()


def loops(client: redis.Redis) -> int:
    value = client.get(BEAT)
    return decode_beat(value).loops if value else 0


def test_the_worker_beats_while_a_task_keeps_its_only_slot(
    worker: subprocess.Popen[bytes], silent_exchange: socket.socket, redis_client: redis.Redis
) -> None:
    asking, _ = silent_exchange.accept()  # the catalogue is read at once, and waits for an answer
    with asking:
        before = loops(redis_client)
        eventually(lambda: loops(redis_client) >= before + 2, "it beats on")
        value = redis_client.get(BEAT)
        assert value is not None
        assert os.getsid(decode_beat(value).pid) == worker.pid
