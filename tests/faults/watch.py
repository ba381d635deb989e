"""Readers as traders are: each follows one market through `FeedView` and `StreamReader`, and notes what it saw.

They live on an event loop in a thread of their own and reach Redis directly, so that what is done to the gateway's or
the writer's lines is not done to them.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time

import msgspec
from redis.exceptions import RedisError

from feed import schema
from kalshimm.runtime import streams
from kalshimm.runtime.resp import Pipe
from traders.feedview import Batch, FeedView, StreamReader

BLOCK_MS = 50
LOOK_S = 0.05
RENEW_S = 0.5
RETRY_S = 0.1
AWAY = (RedisError, ConnectionError, TimeoutError)


class Sight(msgspec.Struct, frozen=True):
    """A book that a reader called valid, and what it rested on."""

    at_us: int
    ticker: str
    conn: int
    sid: int
    seq: int
    levels: tuple[dict[int, int], dict[int, int]]


class Change(msgspec.Struct, frozen=True):
    """From here on a reader said `why` it does not trust its book; an empty text is trust."""

    at_us: int
    ticker: str
    why: str


class Watch:
    """One reader a market."""

    def __init__(self, redis_url: str, tickers: list[str], *, holder: str = "trader:watch") -> None:
        self.tickers = tickers
        self.sights: list[Sight] = []
        self.changes: list[Change] = []
        self.feeds: list[tuple[int, schema.FeedState]] = []
        self.why: dict[str, str] = dict.fromkeys(tickers, "not looked yet")
        self._url, self._holder = redis_url, holder
        self._views = {ticker: FeedView() for ticker in tickers}
        self._is_over = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    @property
    def is_valid(self) -> bool:
        """Whether every reader trusts its book now."""
        self._check()
        return not any(self.why.values())

    @property
    def is_invalid(self) -> bool:
        """Whether no reader trusts its book now."""
        self._check()
        return all(self.why.values())

    def close(self) -> None:
        self._is_over = True
        self._thread.join(10)
        self._check()

    def _check(self) -> None:
        if self._failure is not None:
            raise AssertionError("a reader failed") from self._failure

    def _run(self) -> None:
        try:
            asyncio.run(self._follow_all())
        except BaseException as exc:  # noqa: BLE001  # told in the test's own thread
            self._failure = exc

    async def _follow_all(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._renew(), name="renew")
            tasks.create_task(self._keep_looking(), name="look")
            for ticker in self.tickers:
                tasks.create_task(self._follow(ticker), name=ticker)

    async def _renew(self) -> None:
        client = streams.connect(self._url)
        members = [schema.interest_member(ticker, self._holder) for ticker in self.tickers]
        while not self._is_over:
            with contextlib.suppress(AWAY):  # the store is away: the row's own affair
                await client.zadd(schema.INTEREST, dict.fromkeys(members, time.time() + schema.INTEREST_LEASE_S))
            await asyncio.sleep(RENEW_S)
        await client.aclose()

    async def _keep_looking(self) -> None:
        """Look at the clock, whether the store answers or not, as a trader's own loop does."""
        while not self._is_over:
            for ticker, view in self._views.items():
                self._note_change(ticker, view)
            await asyncio.sleep(LOOK_S)

    async def _follow(self, ticker: str) -> None:
        pipe = Pipe(self._url)
        view = self._views[ticker]
        while not self._is_over:
            try:
                await self._read(pipe, ticker, view)
            except AWAY:
                view.lose("Redis is away")
                self._look(ticker, view)
                await asyncio.sleep(RETRY_S)
        pipe.close()

    async def _read(self, pipe: Pipe, ticker: str, view: FeedView) -> None:
        reader = StreamReader(pipe, trader=0, ticker=ticker, control_id="0-0")
        self._take(ticker, view, await reader.locate())
        while not self._is_over:
            batch = await reader.read(block_ms=BLOCK_MS, now_s=time.monotonic())
            if batch.lost:
                view.lose("entries were trimmed before they were read")
                batch = msgspec.structs.replace(batch, events=(await reader.locate()).events)
            self._take(ticker, view, batch)

    def _take(self, ticker: str, view: FeedView, batch: Batch) -> None:
        if batch.feed is not None:
            view.on_feed(batch.feed, time.monotonic())
            if ticker == self.tickers[0]:
                self.feeds.append((_now_us(), batch.feed))
        for event in batch.events:
            view.on_event(event)
            self._note_change(ticker, view)  # one that heals within the batch was a change all the same
        self._look(ticker, view)

    def _note_change(self, ticker: str, view: FeedView) -> str:
        why = view.why_invalid(time.monotonic())
        if why != self.why[ticker]:
            self.changes.append(Change(_now_us(), ticker, why))
            self.why[ticker] = why
        return why

    def _look(self, ticker: str, view: FeedView) -> None:
        why = self._note_change(ticker, view)
        basis = view.basis
        # Crossed within one time stamp a book is in mid-update: valid, but nobody decides on it.
        if not why and basis is not None and not view.book.is_crossed:
            conn, sid, _generation, seq = basis
            yes, no = view.book.levels
            self.sights.append(Sight(_now_us(), ticker, conn, sid, seq, (dict(yes), dict(no))))


def _now_us() -> int:
    return time.time_ns() // 1_000
