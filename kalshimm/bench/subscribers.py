"""Subscribers that read everything, check the sequences, and count."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgspec

from feed.kalshi import socket
from kalshimm.bench.venue import Venue
from kalshimm.errors import KalshimmError
from kalshimm.runtime.clock import SystemClock

CHANNELS = ("orderbook_delta", "trade", "ticker")
COUNTED = frozenset({"orderbook_delta", "trade", "ticker"})
SAMPLE_FRAMES = 5_000
READY_WITHIN_S = 30.0


class _Frame(msgspec.Struct):
    type: str
    sid: int = 0
    seq: int | None = None
    msg: msgspec.Raw = msgspec.Raw()


_decode = msgspec.json.Decoder(_Frame).decode


class Subscriber:
    """One connection. `events` counts deltas, trades and tickers; `sample` keeps some frames as they came."""

    def __init__(self, *, keep_sample: bool) -> None:
        self.events = 0
        self.snapshots = 0
        self.sample: list[bytes] = []
        self.problem = ""
        self._keep_sample = keep_sample
        self._seqs: dict[int, int] = {}

    def on_turn(self) -> None:
        pass

    def on_ping(self) -> None:
        pass

    def on_frame(self, data: bytes | memoryview) -> None:
        frame = _decode(data)
        if frame.seq is not None:
            if frame.seq != self._seqs.get(frame.sid, 0) + 1:
                self.problem = f"a gap: {frame.seq} after {self._seqs.get(frame.sid, 0)}"
            self._seqs[frame.sid] = frame.seq
        if frame.type in COUNTED:
            self.events += 1
            if self._keep_sample and len(self.sample) < SAMPLE_FRAMES:
                self.sample.append(bytes(data))
        elif frame.type == "orderbook_snapshot":
            self.snapshots += 1
        elif frame.type == "error":
            self.problem = bytes(frame.msg).decode()

    def check(self) -> None:
        """Raise KalshimmError if something was lost or refused: then the figures are worth nothing."""
        if self.problem:
            raise KalshimmError(f"A subscriber saw {self.problem}.")


@contextlib.asynccontextmanager
async def subscribed(venue: Venue, tickers: list[str], count: int) -> AsyncIterator[list[Subscriber]]:
    """Connect `count` subscribers to all of `tickers` and wait until each has every book."""
    subscribers = [Subscriber(keep_sample=number == 0) for number in range(count)]
    params = {"channels": CHANNELS, "market_tickers": tickers, "use_yes_price": True}
    command = msgspec.json.encode({"id": 1, "cmd": "subscribe", "params": params})
    async with contextlib.AsyncExitStack() as stack:
        for subscriber in subscribers:
            headers = venue.signer.headers("GET", venue.ws, wall_ms=SystemClock().wall_us() // 1_000)
            connection = await socket.connect("picows", venue.ws, headers, subscriber)
            stack.push_async_callback(connection.close)
            connection.send(command)
        async with asyncio.timeout(READY_WITHIN_S):
            while any(s.snapshots < len(tickers) and not s.problem for s in subscribers):  # noqa: ASYNC110 - a count
                await asyncio.sleep(0.02)
        for subscriber in subscribers:
            subscriber.check()
        yield subscribers
