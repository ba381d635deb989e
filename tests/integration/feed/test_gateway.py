"""The gateway between a scripted venue and a real Valkey."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest
import redis
from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from feed import schema
from feed.gateway import Gateway
from feed.kalshi.environments import Environment
from feed.kalshi.session import MOST_TICKERS_A_COMMAND
from feed.link import Waits
from feed.relay import TOPIC_OVERVIEW, group, watch_key
from feed.writer import Writer
from kalshimm.runtime.clock import SystemClock
from kalshimm.runtime.heartbeat import beat_key, decode_beat
from markets.queries import BookAt, book_at

T = TypeVar("T")
DEADLINE_S = 15.0


class Venue:
    """Answers commands as the venue documents them, with one YES level a market; tests send the rest by hand."""

    def __init__(self) -> None:
        self.commands: list[dict[str, Any]] = []
        self.connections = 0
        self._socket: ServerConnection | None = None
        self._sids: dict[int, str] = {}
        self._seq: dict[int, int] = {}
        self._markets: dict[int, set[str]] = {}
        self.hang_up = False
        self.refuse: set[str] = set()
        self.refuse_times, self.refuse_code = 1_000, 26

    async def serve(self, connection: ServerConnection) -> None:
        self.connections += 1
        self._socket, self._sids, self._seq, self._markets = connection, {}, {}, {}
        if self.hang_up:
            await connection.close(1013)
        try:
            async for message in connection:
                await self._command(json.loads(message))
        except ConnectionClosed:
            return

    async def _command(self, command: dict[str, Any]) -> None:
        self.commands.append(command)
        params = command["params"]
        tickers = params.get("market_tickers", [])
        if self.refuse & set(tickers) and self.refuse_times > 0:
            self.refuse_times -= 1
            msg = {
                "code": self.refuse_code,
                "msg": "market limit",
                "market_tickers": sorted(self.refuse & set(tickers)),
            }
            await self.send(type="error", id=command["id"], msg=msg)
            return
        if command["cmd"] == "subscribe":
            sid = len(self._sids) + 1
            self._sids[sid] = params["channels"][0]
            self._markets[sid] = set(tickers)
            await self.send(type="subscribed", id=command["id"], msg={"channel": self._sids[sid], "sid": sid})
        else:
            sid = params["sids"][0]
            if params["action"] != "get_snapshot":
                held = self._markets.setdefault(sid, set())
                held ^= set(tickers)
                await self.numbered(sid, type="ok", id=command["id"], msg={"market_tickers": sorted(held)})
        if self._sids[sid] == "orderbook_delta" and params.get("action") != "delete_markets":
            for ticker in tickers:
                await self.snapshot(sid, ticker)

    async def snapshot(self, sid: int, ticker: str) -> None:
        msg = {"market_ticker": ticker, "yes_dollars_fp": [["0.4200", "20.00"]], "no_dollars_fp": [["0.5500", "5.00"]]}
        await self.numbered(sid, type="orderbook_snapshot", msg=msg)

    async def delta(self, ticker: str, *, skip: int = 0, **changes: Any) -> None:
        """Send one delta; `skip` leaves out sequence numbers before it."""
        sid = self.sid("orderbook_delta")
        self._seq[sid] += skip
        msg = {"market_ticker": ticker, "price_dollars": "0.4200", "delta_fp": "1.00", "side": "yes", "ts_ms": now_ms()}
        await self.numbered(sid, type="orderbook_delta", msg=msg | changes)

    async def numbered(self, sid: int, **frame: Any) -> None:
        self._seq[sid] = self._seq.get(sid, 0) + 1
        await self.send(sid=sid, seq=self._seq[sid], **frame)

    async def send(self, **frame: Any) -> None:
        assert self._socket is not None
        await self._socket.send(json.dumps(frame))

    async def raw(self, text: str) -> None:
        assert self._socket is not None
        await self._socket.send(text)

    def cut(self) -> None:
        assert self._socket is not None
        self._socket.transport.abort()

    def sid(self, channel: str) -> int:
        return next(sid for sid, name in self._sids.items() if name == channel)

    def asked(self, action: str) -> list[dict[str, Any]]:
        return [c["params"] for c in self.commands if c["params"].get("action") == action]


def ended(event: schema.BookEvent) -> schema.BookStatus | None:
    """Return the event if it ends the book, else None."""
    return event if isinstance(event, schema.BookStatus) and not event.is_valid else None


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class WallClock(SystemClock):
    """The machine's clocks, of which the wall's can be set."""

    ahead_us = 0

    def wall_us(self) -> int:
        return super().wall_us() + self.ahead_us


class Stage:
    """A running gateway, its venue and its store."""

    def __init__(self, venue: Venue, client: redis.Redis, gateway: Gateway, clock: WallClock) -> None:
        self.venue, self.redis, self.gateway, self.clock = venue, client, gateway, clock

    def want(self, ticker: str, holder: str = "trader:1", *, for_s: float = 30.0) -> None:
        self.redis.zadd(schema.INTEREST, {schema.interest_member(ticker, holder): time.time() + for_s})

    def feed(self) -> schema.FeedState | None:
        newest = self.redis.xrevrange(schema.FEED, count=1)
        return schema.decode_feed(newest[0][1][schema.FIELD]) if newest else None

    def book(self, ticker: str) -> list[schema.BookEvent]:
        entries = self.redis.xrange(schema.book_stream(ticker))
        return [event for _, fields in entries for event in schema.decode_book(fields[schema.FIELD]).events]

    def tape(self) -> list[schema.TapeRow]:
        entries = self.redis.xrange(schema.TAPE)
        return [row for _, fields in entries for row in schema.decode_tape(fields[schema.FIELD]).rows]

    def state(self, ticker: str) -> schema.MarketState | None:
        value = self.redis.hget(schema.MARKETS, ticker)
        return schema.decode_market(value) if value else None

    async def until(self, what: Callable[[], T | bool | None], why: str, *, within_s: float = DEADLINE_S) -> T:
        """Wait until `what` gives something, looking each 10 ms."""
        give_up = time.monotonic() + within_s
        while not (found := what()):
            assert time.monotonic() < give_up, f"never: {why}"
            await asyncio.sleep(0.01)
        return found  # type: ignore[return-value]

    async def valid(self, ticker: str) -> schema.MarketState:
        return await self.until(
            lambda: (state := self.state(ticker)) is not None and state.is_valid and state, f"{ticker} valid"
        )

    async def invalid(self, ticker: str) -> None:
        await self.until(lambda: (state := self.state(ticker)) is not None and not state.is_valid, f"{ticker} invalid")


@pytest.fixture(params=["picows", "websockets"])
async def stage(request: pytest.FixtureRequest, redis_client: redis.Redis, redis_url: str) -> AsyncIterator[Stage]:
    venue = Venue()
    server = await serve(venue.serve, "127.0.0.1", 0)
    address = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/trade-api/ws/v2"
    clock = WallClock()
    gateway = Gateway(
        environment=Environment("local", "http://127.0.0.1:1/trade-api/v2", address),
        signer=None,
        redis_url=redis_url,
        clock=clock,
        layer=get_channel_layer(),
        adapter=request.param,
    )
    stop = asyncio.Event()
    running = asyncio.create_task(gateway.run(stop))
    yield Stage(venue, redis_client, gateway, clock)
    stop.set()
    await asyncio.wait_for(running, DEADLINE_S)
    server.close()


async def test_a_wanted_market_gets_its_book_stream(stage: Stage) -> None:
    stage.want("M-1")
    await stage.valid("M-1")
    await stage.venue.delta("M-1")
    await stage.until(lambda: len(stage.book("M-1")) >= 2, "snapshot and delta on the book stream")
    snapshot, delta = stage.book("M-1")[:2]
    assert isinstance(snapshot, schema.BookSnapshot)
    assert isinstance(delta, schema.BookDelta)
    feed = await stage.until(stage.feed, "feed state")
    assert (feed.conn, feed.state) == (snapshot.conn, "connected")
    assert feed.generations == {snapshot.sid: snapshot.generation}
    assert [type(row).__name__ for row in stage.tape()] == ["GapRow", "SnapshotRow", "DeltaRow"]


async def test_E2_a_wall_clock_set_an_hour_ahead_unsubscribes_nothing(stage: Stage) -> None:
    """Every lease has ended by it, until its holder renews it."""
    stage.want("M-1")
    await stage.valid("M-1")
    stage.clock.ahead_us = 3_600_000_000
    gone = schema.interest_member("M-1", "trader:1")
    await stage.until(lambda: stage.redis.zscore(schema.INTEREST, gone) is None, "the lease counts as over")
    await stage.venue.delta("M-1", skip=1)
    await stage.venue.snapshot(stage.venue.sid("orderbook_delta"), "M-1")
    await stage.valid("M-1")
    assert not stage.venue.asked("delete_markets")


async def test_E2_B12_a_wall_clock_set_an_hour_back_delays_no_judgement(stage: Stage) -> None:
    stage.want("M-1")
    await stage.valid("M-1")
    await stage.venue.delta("M-1", price_dollars="0.4500")
    stage.clock.ahead_us = -3_600_000_000
    asked = await stage.until(lambda: stage.venue.asked("get_snapshot"), "a crossed book is asked for")
    assert asked[0]["market_tickers"] == ["M-1"]
    told = await stage.until(
        lambda: [row for row in stage.tape() if isinstance(row, schema.GapRow) and row.ticker], "gap"
    )
    assert told[0].time_us < (now_ms() - 3_000_000) * 1_000, "rows follow the wall clock"


async def test_a_quiet_markets_book_of_a_second_ago_is_believed_while_gateway_and_writer_live(
    stage: Stage, redis_url: str, database_url: str
) -> None:
    def a_second_ago() -> BookAt:
        return book_at("M-1", datetime.now(UTC) - timedelta(seconds=1))

    stop = asyncio.Event()
    writer = Writer(redis_url=redis_url, dsn=database_url, clock=SystemClock(), tape_bytes=1 << 30)
    writing = asyncio.create_task(writer.run(stop))
    stage.want("M-1", "tape:test")
    await stage.valid("M-1")
    quiet_since = datetime.now(UTC)
    while not ((found := await database_sync_to_async(a_second_ago)()).is_valid and found.time > quiet_since):
        assert datetime.now(UTC) - quiet_since < timedelta(seconds=DEADLINE_S), found.reason
    assert found.book is not None
    assert found.book.levels == ({4_200: 2_000}, {5_500: 500})
    stop.set()
    await asyncio.wait_for(writing, DEADLINE_S)


async def test_a_market_wanted_for_the_tape_alone_has_no_book_stream(stage: Stage) -> None:
    stage.want("M-1", "tape:recording")
    await stage.valid("M-1")
    assert stage.book("M-1") == []


async def test_markets_come_and_go_without_reconnecting(stage: Stage) -> None:
    stage.want("M-1")
    await stage.valid("M-1")
    stage.want("M-2")
    await stage.valid("M-2")
    stage.redis.zrem(schema.INTEREST, "M-1|trader:1")
    await stage.until(lambda: stage.venue.asked("delete_markets"), "the market is given up")
    assert stage.venue.connections == 1


async def test_a_holder_that_stopped_renewing_is_forgotten(stage: Stage) -> None:
    stage.want("M-1", for_s=-schema.INTEREST_LINGER_S + 0.5)
    await stage.valid("M-1")
    await stage.until(lambda: stage.venue.asked("delete_markets"), "the market is given up")


async def test_B4_a_gap_spoils_the_books_and_heals_by_get_snapshot(stage: Stage) -> None:
    stage.want("M-1")
    stage.want("M-2")
    await stage.valid("M-1")
    await stage.valid("M-2")
    await stage.venue.delta("M-1", skip=3)
    asked = await stage.until(lambda: stage.venue.asked("get_snapshot"), "fresh snapshots asked for")
    assert asked[0]["market_tickers"] == ["M-1", "M-2"]
    await stage.until(lambda: (f := stage.feed()) is not None and 2 in f.generations.values(), "a new generation")
    await stage.valid("M-1")
    gaps = [row for row in stage.tape() if isinstance(row, schema.GapRow) and row.reason == "sequence gap"]
    assert [g.received - g.expected for g in gaps] == [3]  # the first number depends on how many commands it took
    healed = [e for e in stage.book("M-2") if isinstance(e, schema.BookSnapshot)]
    assert [e.generation for e in healed] == [1, 2]


async def test_B8_malformed_frames_are_kept_and_the_gateway_goes_on(stage: Stage) -> None:
    stage.want("M-1")
    await stage.valid("M-1")
    await stage.venue.raw('{"type":"orderbook_del')
    await stage.venue.raw('{"type":"brand_new","msg":{}}')
    await stage.venue.delta("M-1", price_dollars="NaN")
    await stage.until(lambda: stage.venue.asked("get_snapshot"), "the spoilt book is asked for again")
    await stage.valid("M-1")
    kept = [row.frame for row in stage.tape() if isinstance(row, schema.MalformedRow)]
    assert kept[0] == b'{"type":"orderbook_del'
    assert b"NaN" in kept[1]


async def test_B1_after_a_cut_every_book_is_invalid_until_its_new_snapshot(stage: Stage) -> None:
    stage.want("M-1")
    await stage.valid("M-1")
    first = await stage.until(stage.feed, "feed state")
    stage.venue.cut()
    await stage.until(lambda: (f := stage.feed()) is not None and f.conn not in (0, first.conn), "a new connection")
    await stage.valid("M-1")
    snapshots = [e for e in stage.book("M-1") if isinstance(e, schema.BookSnapshot)]
    assert snapshots[-1].conn != first.conn
    reasons = [row.reason for row in stage.tape() if isinstance(row, schema.GapRow)]
    assert reasons[0] == reasons[-1] == "connection began"
    assert "closed" in reasons[1]


async def test_B14_a_venue_that_hangs_up_at_once_is_tried_with_growing_pauses(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.venue.hang_up = True
    stage.want("M-1")
    await stage.until(lambda: stage.venue.connections >= 1, "a first connection")
    stage.venue.cut()
    await stage.until(lambda: "Attempt 3" in caplog.text, "a third attempt", within_s=30)
    waits = [float(wait) for wait in re.findall(r"no feed: .* follows in ([\d.]+) s", caplog.text)]
    assert waits[2] > waits[0]


async def test_B13_a_refused_market_leaves_the_others_and_is_not_asked_for_again_at_once(stage: Stage) -> None:
    stage.want("M-1")
    await stage.valid("M-1")
    stage.venue.refuse = {"M-2"}
    stage.want("M-2")
    await stage.until(lambda: stage.venue.asked("add_markets"), "the market is asked for")
    stage.want("M-3")
    await stage.valid("M-3")
    channels = 3  # book, trade and ticker each ask once
    assert len([p for p in stage.venue.asked("add_markets") if "M-2" in p["market_tickers"]]) <= channels
    refused = [row for row in stage.tape() if isinstance(row, schema.GapRow) and "market limit" in row.reason]
    assert len(refused) == 1


async def test_B13_too_many_commands_makes_it_wait_and_then_ask_for_the_same(stage: Stage) -> None:
    stage.venue.refuse, stage.venue.refuse_code, stage.venue.refuse_times = {"M-1"}, 27, 1
    stage.want("M-1")
    await stage.valid("M-1")
    assert not [row for row in stage.tape() if isinstance(row, schema.GapRow) and "refused" in row.reason]


async def test_B10_a_lifecycle_channel_that_died_is_subscribed_again(stage: Stage) -> None:
    def lifecycles() -> int:
        return sum(c["params"].get("channels") == ["market_lifecycle_v2"] for c in stage.venue.commands)

    await stage.until(lambda: lifecycles() == 1, "it is subscribed")
    await stage.venue.send(type="error", sid=stage.venue.sid("market_lifecycle_v2"), msg={"code": 25, "msg": "slow"})
    await stage.until(lambda: lifecycles() == 2, "it is subscribed again")


async def test_B10_more_markets_than_a_command_takes_are_all_back_after_a_lost_subscription(stage: Stage) -> None:
    tickers = [f"M-{n:04}" for n in range(2 * MOST_TICKERS_A_COMMAND + 100)]
    for ticker in tickers:
        stage.want(ticker)

    def all_valid(sid: int) -> bool:
        state = stage.feed()
        return state is not None and state.subscribed == len(tickers) and list(state.generations) == [sid]

    first = await stage.until(
        lambda: (feed := stage.feed()) and next(iter(feed.generations), 0), "books are subscribed"
    )
    await stage.until(lambda: all_valid(first), "all are valid", within_s=30.0)
    await stage.venue.send(type="error", sid=first, msg={"code": 25, "msg": "slow"})
    again = await stage.until(
        lambda: (feed := stage.feed()) and next((sid for sid in feed.generations if sid != first), 0), "a new one"
    )
    await stage.until(lambda: all_valid(again), "all are valid again", within_s=30.0)
    *before, last = stage.book(tickers[-1])
    assert isinstance(last, schema.BookSnapshot)
    assert last.sid == again, "its readers have the book of the new subscription"
    ends = [end.reason for event in before if (end := ended(event)) is not None]
    assert ends == ["error 25: slow"], "what the first command had no room for was only waited for"


async def test_B1_what_was_not_yet_published_when_the_connection_ended_is_not_lost(stage: Stage) -> None:
    stage.want("M-1")
    await stage.valid("M-1")
    stage.redis.client_pause(1_500, all=False)  # writes wait, as with a slow store
    for number in range(200):
        await stage.venue.delta("M-1", price_dollars=f"0.{1000 + number}")
    stage.venue.cut()
    await stage.until(lambda: stage.venue.connections == 2, "the gateway comes back")
    await stage.until(lambda: len([r for r in stage.tape() if isinstance(r, schema.DeltaRow)]) == 200, "all rows")


async def test_a_market_nobody_wants_any_more_leaves_nothing_behind(stage: Stage) -> None:
    stage.want("M-1")
    await stage.valid("M-1")
    stage.redis.zrem(schema.INTEREST, "M-1|trader:1")
    await stage.until(lambda: stage.state("M-1") is None, "no latest state")
    await stage.until(lambda: ended(stage.book("M-1")[-1]), "the stream tells its end")
    assert stage.redis.ttl(schema.book_stream("M-1")) > 0
    stage.want("M-1")
    await stage.valid("M-1")
    assert stage.redis.ttl(schema.book_stream("M-1")) == -1


async def test_D1_what_happened_while_redis_was_away_is_published_afterwards(stage: Stage) -> None:
    stage.want("M-1")
    await stage.valid("M-1")
    stage.redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await stage.venue.delta("M-1", delta_fp="7.00")
    state = await stage.until(
        lambda: (s := stage.state("M-1")) is not None and s.yes_bid_cx == 2_700 and s, "the change is published"
    )
    assert state.is_valid


async def test_browsers_are_told_only_while_somebody_watches(stage: Stage) -> None:
    layer = get_channel_layer()
    channel = await layer.new_channel()
    await layer.group_add(group(TOPIC_OVERVIEW), channel)
    stage.want("M-1")
    await stage.valid("M-1")
    stage.redis.set(watch_key(TOPIC_OVERVIEW), 1, ex=30)
    await stage.venue.delta("M-1")
    message = await asyncio.wait_for(layer.receive(channel), DEADLINE_S)
    assert (message["type"], message["topic"]) == ("topic.changed", TOPIC_OVERVIEW)


async def test_it_beats_with_what_it_holds(stage: Stage) -> None:
    stage.want("M-1")

    def beat() -> bool:
        value = stage.redis.get(beat_key("gateway", "local"))
        return bool(value) and decode_beat(value).counters.get("books_valid") == 1

    await stage.until(beat, "a beat that counts one valid book")


async def test_B14_a_venue_that_never_answers_is_tried_with_growing_pauses(
    redis_client: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A port that accepts and stays mute: each attempt ends by its own time limit, none was a good connection."""
    monkeypatch.setattr("feed.kalshi.socket.HANDSHAKE_TIMEOUT_S", 0.1)
    mute = await asyncio.start_server(lambda _reader, _writer: asyncio.sleep(60), "127.0.0.1", 0)
    address = f"ws://127.0.0.1:{mute.sockets[0].getsockname()[1]}/"
    gateway = Gateway(
        environment=Environment("local", "http://127.0.0.1:1", address),
        signer=None,
        redis_url=redis_url,
        clock=SystemClock(),
        layer=get_channel_layer(),
        waits=Waits(steady_s=0.1),
    )
    stop = asyncio.Event()
    running = asyncio.create_task(gateway.run(stop))
    give_up = time.monotonic() + DEADLINE_S
    while "Attempt 3" not in caplog.text:
        assert time.monotonic() < give_up, caplog.text
        await asyncio.sleep(0.01)
    stop.set()
    await asyncio.wait_for(running, DEADLINE_S)
    mute.close()


async def test_states_of_markets_without_readers_are_swept_at_the_next_connect(stage: Stage) -> None:
    stage.want("M-1")
    await stage.valid("M-1")
    stage.redis.hset(schema.MARKETS, "OLD-1", stage.redis.hget(schema.MARKETS, "M-1"))
    stage.venue.cut()
    await stage.until(lambda: stage.state("OLD-1") is None, "the old state is gone")
    await stage.valid("M-1")
