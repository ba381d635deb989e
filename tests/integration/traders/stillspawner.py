"""A spawner whose traders hold their lock, beat, and leave when asked: `python stillspawner.py HOME REDIS_URL`.

Each start leaves a line in the trader's folder, `starts`: wall time, pid, and of a live one epoch and group.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import redis

from feed.schema import TraderView, encode
from kalshimm.runtime.clock import SystemClock
from kalshimm.runtime.heartbeat import BEAT_TTL_S, Pulse, beat_key
from kalshimm.runtime.locks import exclusive
from kalshimm.runtime.process import ProcessIdentity
from traders.processes import Ended, Running, trader_folder, write_ended, write_running
from traders.spawner import Spawner
from traders.start import Start, read_start

BEAT_S = 0.3


def trade(home: Path, trader: int, begun: Callable[[], None], redis_url: str) -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    path = trader_folder(home, trader)
    with exclusive(path / "lock", what=f"Trader {trader}"):
        start = read_start(path)
        identity = ProcessIdentity.own()
        (path / "exit.json").unlink(missing_ok=True)
        write_running(path, Running(identity, start.instance))
        with (path / "starts").open("a") as file:
            live = (start.live.epoch, start.live.group_id) if start.live else (0, "")
            file.write(msgspec.json.encode([SystemClock().wall_us(), identity.pid, *live]).decode() + "\n")
        begun()
        _beat(start, redis_url, stop)
        write_ended(path, Ended(identity, start.instance, 0, "stopped", "asked to stop"))


def _beat(start: Start, redis_url: str, stop: threading.Event) -> None:
    pulse = Pulse(role="trader", name=str(start.trader), clock=SystemClock())
    state = "paused" if start.desired == "paused" else "quoting"
    view = TraderView(
        start.trader, start.ticker, start.mode, state, "", 0, 0, [], True, None, None, None, None,
        facts_digest=start.facts.digest,
    )  # fmt: skip
    pulse.detail = encode(view)
    with redis.Redis.from_url(redis_url) as client:
        while not stop.wait(BEAT_S):
            client.set(beat_key("trader", str(start.trader)), msgspec.msgpack.encode(pulse.snapshot()), ex=BEAT_TTL_S)


if __name__ == "__main__":
    address = sys.argv[2]
    Spawner(Path(sys.argv[1]), lambda home, trader, begun: trade(home, trader, begun, address)).run()
