"""The vendor's own client against the local exchange: a real server with the machine's clock, in a thread of its own.

The client is synchronous and signs with the time of day, so the exchange runs beside the test, not inside its loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from vendorvenue import WITHIN_S, Venue, a_world

from feed.exchange.server import LocalExchange, Ready, serve
from kalshimm.runtime.clock import SystemClock


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[Venue]:
    """An exchange for one test."""
    ready: list[Ready] = []
    is_ready, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    def announce(told: Ready) -> None:
        ready.append(told)
        is_ready.set()

    def run() -> None:
        exchange = LocalExchange(a_world(), clock=SystemClock())
        loop.run_until_complete(serve(exchange, stop, port=0, key_dir=tmp_path / "keys", announce=announce))
        loop.close()

    thread = threading.Thread(target=run, name="exchange")
    thread.start()
    try:
        assert is_ready.wait(WITHIN_S), "the exchange is up"
        yield Venue(ready[0])
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(WITHIN_S)
        assert not thread.is_alive()
