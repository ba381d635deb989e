"""The WebSocket over a real connection: exact books, life-cycle, private news, the heartbeat."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
import websockets
from exchangeclient import WS_PATH, Venue, hundredths, levels_of

from feed.exchange.stream import socket as exchange_socket
from feed.exchange.stream import subscriptions

TICKER = "KXTEST-26NOV22-A"


async def burst(venue: Venue, socket: Any, seconds: int) -> list[dict[str, Any]]:
    """Let the world run, then read all of it: the answer to a command comes after everything before it."""
    before = await socket.settled(98)
    for _ in range(seconds * 10):
        venue.clock.advance_us(100_000)
        venue.exchange.step()
    return before + await socket.settled(99)


@pytest.mark.parametrize("use_yes_price", [False, True])
async def test_every_book_equals_the_rest_book_after_a_burst(busy_venue: Venue, use_yes_price: bool) -> None:
    tickers = [market["ticker"] for market in (await busy_venue.get("/markets?status=open&limit=1000"))["markets"]]
    async with busy_venue.socket() as socket:
        await socket.subscribe("orderbook_delta", market_tickers=tickers, use_yes_price=use_yes_price)
        frames = await burst(busy_venue, socket, 5)
    assert [f["seq"] for f in frames if "seq" in f] == list(range(1, sum("seq" in f for f in frames) + 1))
    assert sum(frame["type"] == "orderbook_delta" for frame in frames) > 100
    for ticker in tickers:
        rest = (await busy_venue.get(f"/markets/{ticker}/orderbook"))["orderbook_fp"]
        seen = levels_of(frames, ticker)
        for side in ("yes", "no"):
            expected = {price: hundredths(count) for price, count in rest[f"{side}_dollars"]}
            if use_yes_price and side == "no":
                expected = {f"{(10_000 - hundredths(p)) / 10_000:.4f}": size for p, size in expected.items()}
            assert seen[side] == expected, ticker


async def test_a_rolling_market_is_announced_emptied_determined_and_settled(busy_venue: Venue) -> None:
    (first,) = (await busy_venue.get("/markets?series_ticker=KXBTC15M&status=open"))["markets"]
    async with busy_venue.socket() as socket:
        await socket.subscribe("orderbook_delta", "market_lifecycle_v2", market_tickers=[first["ticker"]])
        frames = await burst(busy_venue, socket, 21)
    mine = [frame for frame in frames if isinstance(frame.get("msg"), dict)]
    last_book = [f for f in mine if f["type"].startswith("orderbook") and f["msg"]["market_ticker"] == first["ticker"]][
        -1
    ]
    assert last_book["type"] == "orderbook_snapshot"
    assert set(last_book["msg"]) == {"market_ticker", "market_id"}
    story = [(f["msg"]["event_type"], f["msg"]["market_ticker"]) for f in mine if f["type"] == "market_lifecycle_v2"]
    assert [kind for kind, ticker in story if ticker == first["ticker"]] == ["determined", "settled"]
    created = next(f["msg"] for f in mine if f["msg"].get("event_type") == "created")
    assert created["additional_metadata"]["event_ticker"] in {f["msg"].get("event_ticker") for f in mine}
    (now_open,) = (await busy_venue.get("/markets?series_ticker=KXBTC15M&status=open"))["markets"]
    assert now_open["ticker"] == created["market_ticker"]
    assert now_open["open_time"] == first["close_time"]


async def test_own_orders_and_fills_arrive_in_the_wire_form(venue: Venue) -> None:
    async with venue.socket() as socket:
        await socket.subscribe("orderbook_delta", "user_orders", "fill", "market_positions", market_tickers=[TICKER])
        await socket.until("orderbook_snapshot")
        await venue.order("ask", "0.4500", "25.00", client_order_id="mm-17")
        delta, order = await socket.until("user_order")
        assert delta["msg"]["client_order_id"] == "mm-17"
        assert (delta["msg"]["side"], delta["msg"]["price_dollars"], delta["msg"]["delta_fp"]) == (
            "no",
            "0.5500",
            "25.00",
        )
        assert (order["msg"]["status"], order["msg"]["is_yes"], order["msg"]["subaccount_number"]) == (
            "resting",
            False,
            0,
        )
        await venue.outsider("bid", "0.4500", "12.00")
        frames = await socket.until("market_position")
    kinds = {frame["type"]: frame["msg"] for frame in frames}
    assert "client_order_id" not in kinds["orderbook_delta"]
    assert (kinds["fill"]["post_position_fp"], kinds["fill"]["is_taker"]) == ("-12.00", False)
    assert kinds["fill"]["fee_cost"] == "0.000000"
    assert (kinds["user_order"]["fill_count_fp"], kinds["user_order"]["remaining_count_fp"]) == ("12.00", "13.00")
    assert kinds["user_order"]["maker_fill_cost_dollars"] == "6.600000"
    assert kinds["user_order"]["last_update_reason"] == "Trade"
    assert kinds["market_position"]["position_cost_dollars"] == "6.600000"


async def test_orders_left_at_the_close_are_reported_cancelled(venue: Venue) -> None:
    async with venue.socket() as socket:
        await socket.subscribe("orderbook_delta", "user_orders", market_tickers=[TICKER])
        await venue.order("bid", "0.4500")
        venue.clock.advance_us(3_602_000_000)
        frames = await socket.until("user_order", status="canceled")
        assert frames[-1]["msg"]["last_update_reason"] == "CloseCancel"
        assert (await socket.until("orderbook_snapshot"))[-1]["msg"].keys() == {"market_ticker", "market_id"}


async def test_the_server_pings_with_its_heartbeat(venue: Venue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_socket, "PING_EVERY_S", 0.01)
    pings: list[bytes] = []
    async with venue.socket() as socket:
        original = socket.connection.process_event

        def watch(event: Any) -> None:
            if getattr(event, "opcode", None) == 9:
                pings.append(bytes(event.data))
            original(event)

        monkeypatch.setattr(socket.connection, "process_event", watch)
        while not pings:
            await socket.settled(1)
    assert pings[0] == b"heartbeat"


async def test_a_client_that_leaves_pings_unanswered_is_dropped(venue: Venue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_socket, "PING_EVERY_S", 0.01)
    venue.exchange.world.switches = msgspec.structs.replace(venue.exchange.world.switches, pong_timeout_s=0.05)
    async with venue.socket() as answering, venue.socket() as silent:
        monkeypatch.setattr(silent.connection, "protocol", _Mute(silent.connection.protocol))
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await silent.next()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008
        await answering.settled(1)


async def test_a_client_that_leaves_during_the_handshake_is_no_error(
    venue: Venue, caplog: pytest.LogCaptureFixture
) -> None:
    await venue.control("POST", "/faults", json=[{"do": "delay", "path": WS_PATH, "delay_ms": 20}])
    address = urlsplit(venue.ready.ws)
    _, writer = await asyncio.open_connection(address.hostname, address.port)
    upgrade = {
        "Host": address.netloc, "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", **venue.headers("GET", WS_PATH),
    }  # fmt: skip
    writer.write("\r\n".join([f"GET {WS_PATH} HTTP/1.1", *map(": ".join, upgrade.items()), "", ""]).encode())
    await writer.drain()
    writer.transport.abort()
    handled: list[Any] = []
    while not handled:
        handled = (await venue.control("GET", "/ledger/lines?kind=request")).body["lines"]
    assert venue.exchange.hub.sessions == set()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_connection_that_can_send_no_more_ends_and_says_why(
    venue: Venue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with venue.socket() as socket:
        await socket.settled(1)

        def broken(*_: Any) -> bytes:
            raise RuntimeError("a bug")

        monkeypatch.setattr(exchange_socket, "text_frames", broken)
        with pytest.raises(websockets.ConnectionClosedError):
            await socket.settled(2)
    assert "a bug" in caplog.text


class _Mute:
    """A protocol that swallows its own pongs."""

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol

    def __getattr__(self, name: str) -> Any:
        return getattr(self._protocol, name)

    def data_to_send(self) -> list[bytes]:
        # A client's pong: FIN and opcode 10.
        return [data for data in self._protocol.data_to_send() if data[:1] != b"\x8a"]


async def test_a_client_that_does_not_read_loses_the_subscription_and_keeps_the_connection(
    busy_venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "BUFFER_FRAMES", 100)
    tickers = [market["ticker"] for market in (await busy_venue.get("/markets?status=open&limit=1000"))["markets"]]
    async with busy_venue.socket() as socket:
        await socket.subscribe("orderbook_delta", market_tickers=tickers)
        await socket.settled(98)
        # All in one turn of the loop, so that nothing can be written meanwhile.
        busy_venue.clock.advance_us(5_000_000)
        busy_venue.exchange.step()
        (*_, error) = await socket.until("error")
        assert (error["sid"], error["msg"]["code"]) == (1, 25)
        (listed,) = await socket.settled(99)
    assert listed["msg"] == []
