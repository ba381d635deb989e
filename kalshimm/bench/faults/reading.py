"""Readers as traders are, one a market: each notes when it begins and ends to trust its book, and on what it rests."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence

import msgspec

from kalshimm.runtime.resp import Pipe
from kalshimm.runtime.worker import cancel
from traders.feedview import FeedView, StreamReader

BLOCK_MS = 50
Origin = tuple[int, int, int]  # connection, subscription, its generation


class Change(msgspec.Struct, frozen=True):
    """From `at_us` on a reader says `why` it does not trust its book, which is of `origin`; no words are trust."""

    at_us: int
    ticker: str
    why: str
    origin: Origin | None


class Readers:
    """All of them; a task fails with whatever a reader fails with."""

    def __init__(self, redis_url: str, tickers: Sequence[str]) -> None:
        self.changes: list[Change] = []
        self._url, self.tickers = redis_url, tickers
        self._last: dict[str, Change] = {}

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Readers]:
        following = [asyncio.create_task(self._follow(ticker), name=f"reader {ticker}") for ticker in self.tickers]
        try:
            yield self
        finally:
            for task in following:
                await cancel(task)

    @property
    def are_valid(self) -> bool:
        return len(self._last) == len(self.tickers) and not any(change.why for change in self._last.values())

    def since(self, at_us: int) -> list[tuple[int, int]]:
        """Return of each reader that has done both since then: when it gave up its book, and when it had another one.

        One whose next book came with the news that the old one is bad has done both at once.
        """
        found = []
        for ticker in self.tickers:
            before = [change for change in self.changes if change.ticker == ticker and change.at_us < at_us]
            after = [change for change in self.changes if change.ticker == ticker and change.at_us >= at_us]
            origin = before[-1].origin if before else None
            anew = [change.at_us for change in after if not change.why and change.origin != origin]
            if anew:
                found.append((after[0].at_us, anew[0]))
        return found

    async def _follow(self, ticker: str) -> None:
        pipe, view = Pipe(self._url), FeedView()
        try:
            reader = StreamReader(pipe, trader=0, ticker=ticker, control_id="0-0")
            batch = await reader.locate()
            while True:
                if batch.feed is not None:
                    view.on_feed(batch.feed, time.monotonic())
                for event in batch.events:
                    view.on_event(event)
                self._note(ticker, view)
                batch = await reader.read(block_ms=BLOCK_MS, now_s=time.monotonic())
                if batch.lost:
                    view.lose("entries were trimmed before they were read")
                    batch = msgspec.structs.replace(batch, events=(await reader.locate()).events)
        finally:
            pipe.close()

    def _note(self, ticker: str, view: FeedView) -> None:
        basis = view.basis
        change = Change(_now_us(), ticker, view.why_invalid(time.monotonic()), None if basis is None else basis[:3])
        last = self._last.get(ticker)
        if last is None or (last.why, last.origin) != (change.why, change.origin):
            self._last[ticker] = change
            self.changes.append(change)


def _now_us() -> int:
    return time.time_ns() // 1_000
