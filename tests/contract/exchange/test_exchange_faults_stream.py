"""Faults on WebSocket connections, as a client sees them; the log proves each one."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
import websockets
from exchangeclient import Socket, Venue

from feed.exchange.stream import socket as exchange_socket
from feed.exchange.stream.framelog import FrameLog

A, B = "KXTEST-26NOV22-A", "KXTEST-26NOV22-B"


async def arm(venue: Venue, **fault: Any) -> None:
    reply = await venue.control("POST", "/faults", json=[fault])
    assert reply.status == 201, reply


async def applied(venue: Venue) -> list[str]:
    return [fault["do"] for fault in (await venue.control("GET", "/faults/applied")).body["applied"]]


async def a_book(socket: Socket, *tickers: str) -> None:
    await socket.subscribe("orderbook_delta", market_tickers=list(tickers), use_yes_price=False)
    for _ in (None, *tickers):
        await socket.next()


async def three_deltas(venue: Venue) -> None:
    for price in ("0.1000", "0.2000", "0.3000"):
        await venue.order("bid", price)


def prices(frames: list[dict[str, Any]]) -> list[str]:
    return [frame["msg"]["price_dollars"] for frame in frames if frame["type"] == "orderbook_delta"]


def numbers(frames: list[dict[str, Any]]) -> list[int]:
    return [frame["seq"] for frame in frames if "seq" in frame]


async def test_B4_a_lost_frame_leaves_a_gap_in_the_numbers(venue: Venue) -> None:
    async with venue.socket() as socket:
        await a_book(socket, A)
        await arm(venue, do="lose", type="orderbook_delta", skip=1)
        await three_deltas(venue)
        frames = await socket.settled(9)
    assert (prices(frames), numbers(frames)) == (["0.1000", "0.3000"], [2, 4])
    assert await applied(venue) == ["lose"]


async def test_B5_a_repeated_frame_keeps_its_number(venue: Venue) -> None:
    async with venue.socket() as socket:
        await a_book(socket, A)
        await arm(venue, do="repeat", type="orderbook_delta")
        await three_deltas(venue)
        assert numbers(await socket.settled(9)) == [2, 2, 3, 4]


async def test_B6_swapped_frames_come_in_the_wrong_order(venue: Venue) -> None:
    async with venue.socket() as socket:
        await a_book(socket, A)
        await arm(venue, do="swap", type="orderbook_delta")
        await three_deltas(venue)
        assert numbers(await socket.settled(9)) == [3, 2, 4]


async def test_B6_a_held_frame_comes_when_others_have_passed(venue: Venue) -> None:
    async with venue.socket() as socket:
        await a_book(socket, A)
        await arm(venue, do="hold", type="orderbook_delta", delay_ms=30)
        await three_deltas(venue)
        assert numbers([await socket.next() for _ in range(3)]) == [3, 4, 2]


async def test_B11_a_slow_line_keeps_the_order(venue: Venue) -> None:
    async with venue.socket() as socket:
        await a_book(socket, A)
        await arm(venue, do="slow", type="orderbook_delta", delay_ms=20)
        await three_deltas(venue)
        assert numbers([await socket.next() for _ in range(3)]) == [2, 3, 4]


async def test_B8_a_garbled_frame_is_no_json(venue: Venue) -> None:
    async with venue.socket() as socket:
        await a_book(socket, A)
        await arm(venue, do="garble", text='{"type":"orderbook_delta","sid"')
        await venue.order("bid", "0.1000")
        with pytest.raises(msgspec.DecodeError):
            await socket.next()


async def test_B8_a_frame_may_be_no_text_at_all(venue: Venue) -> None:
    async with venue.socket() as socket:
        await a_book(socket, A)
        await arm(venue, do="garble", hex="ff7b7d")
        await venue.order("bid", "0.1000")
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            await socket.next()
    assert closed.value.sent is not None
    assert closed.value.sent.code == 1007  # what a client says to it


async def test_B8_a_frame_may_be_altered_in_part(venue: Venue) -> None:
    async with venue.socket() as socket:
        await a_book(socket, A)
        await arm(venue, do="alter", pattern='"price_dollars":"[^"]*"', by='"price_dollars":null')
        await venue.order("bid", "0.1000")
        assert (await socket.next())["msg"]["price_dollars"] is None


async def test_B7_a_snapshot_may_come_unasked(venue: Venue) -> None:
    async with venue.socket() as socket:
        await a_book(socket, A)
        await arm(venue, do="renew", type="orderbook_delta")
        await venue.order("bid", "0.1000")
        frames = [await socket.next(), await socket.next()]
    assert [frame["type"] for frame in frames] == ["orderbook_delta", "orderbook_snapshot"]
    assert numbers(frames) == [2, 3]
    assert frames[1]["msg"]["yes_dollars_fp"] == [["0.1000", frames[0]["msg"]["delta_fp"]]]


async def test_B9_a_snapshot_may_be_larger_than_a_mebibyte(venue: Venue) -> None:
    await venue.order("bid", "0.1000")
    await arm(venue, do="pad", type="orderbook_snapshot", bytes=3 << 20)
    async with venue.socket() as socket:
        await socket.subscribe("orderbook_delta", market_tickers=[A], use_yes_price=False)
        await socket.next()
        frame = await socket.connection.recv()
    assert len(frame) == 3 << 20
    assert msgspec.json.decode(frame)["msg"]["yes_dollars_fp"] == [["0.1000", "10.00"]]


async def test_B1_a_connection_is_closed_with_a_code(venue: Venue) -> None:
    async with venue.socket() as socket:
        await a_book(socket, A)
        await arm(venue, do="close", code=1012)
        await venue.order("bid", "0.1000")
        with pytest.raises(websockets.ConnectionClosed):
            await socket.next()
        assert socket.connection.close_code == 1012


@pytest.mark.parametrize("fault", [{"do": "close", "type": "orderbook_delta"}, {"do": "close_at_once"}])
async def test_B1_code_1006_is_a_connection_cut_without_a_word(venue: Venue, fault: dict[str, Any]) -> None:
    async with venue.socket() as before:
        await a_book(before, A)
        await arm(venue, code=1006, **fault)
        async with venue.socket() as after:
            cut = after if fault["do"] == "close_at_once" else before
            await venue.order("bid", "0.1000")
            with pytest.raises(websockets.ConnectionClosedError) as closed:
                await cut.next()
    assert (closed.value.rcvd, closed.value.sent) == (None, None)
    assert await applied(venue) == [fault["do"]]


@pytest.mark.parametrize(("code", "seen"), [(1001, 1001), (1006, None)])
async def test_F3_connections_on_which_nothing_happens_are_closed_by_hand(
    venue: Venue, code: int, seen: int | None
) -> None:
    async with venue.socket() as socket, venue.socket() as other:
        await socket.settled(1)
        await other.settled(1)
        assert (await venue.control("POST", "/clients/close", json={"account": "nobody"})).body == {"clients": 0}
        assert (await venue.control("POST", "/clients/close", json={"code": code})).body == {"clients": 2}
        for connection in (socket, other):
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await connection.next()
            assert (closed.value.rcvd.code if closed.value.rcvd else None) == seen


async def test_B3_connections_on_which_nothing_happens_are_silenced_by_hand(venue: Venue) -> None:
    async with venue.socket() as socket:
        await socket.settled(1)
        assert (await venue.control("POST", "/clients/silence", json={})).body == {"clients": 1}
        await socket.say({"id": 5, "cmd": "list_subscriptions"})
        async with venue.socket() as later:
            await later.settled(1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.connection.recv(), 0.05)
        assert socket.connection.close_code is None


async def test_B2_a_connection_ends_after_half_of_the_snapshots(venue: Venue) -> None:
    await arm(venue, do="close", code=1001, type="orderbook_snapshot", skip=1)
    async with venue.socket() as socket:
        await socket.subscribe("orderbook_delta", market_tickers=[A, B], use_yes_price=False)
        assert [(await socket.next())["type"] for _ in range(2)] == ["subscribed", "orderbook_snapshot"]
        with pytest.raises(websockets.ConnectionClosed):
            await socket.next()


async def test_B1_a_frame_is_cut_in_the_middle(venue: Venue) -> None:
    async with venue.socket() as socket:
        await a_book(socket, A)
        await arm(venue, do="cut_frame", bytes=20)
        await venue.order("bid", "0.1000")
        with pytest.raises(websockets.ConnectionClosedError):
            await socket.next()
        assert socket.connection.close_code == 1006


async def test_B3_a_silent_connection_stays_open_and_answers_nothing(venue: Venue) -> None:
    async with venue.socket() as socket:
        await a_book(socket, A)
        await arm(venue, do="silence")
        await venue.order("bid", "0.1000")
        await socket.say({"id": 5, "cmd": "list_subscriptions"})
        async with venue.socket() as other:  # proves that the exchange itself goes on
            await other.settled(1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.connection.recv(), 0.05)
        assert socket.connection.close_code is None
    assert await applied(venue) == ["silence"]


async def test_B3_a_silent_connection_keeps_what_was_held(venue: Venue) -> None:
    async with venue.socket() as socket:
        await a_book(socket, A)
        await arm(venue, do="hold", type="orderbook_delta", delay_ms=10)
        await arm(venue, do="silence", type="orderbook_delta")
        await three_deltas(venue)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.connection.recv(), 0.05)
    assert await applied(venue) == ["hold", "silence"]


async def test_B3_pings_stay_away_while_frames_go_on(venue: Venue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_socket, "PING_EVERY_S", 0.01)
    async with venue.socket() as socket:
        await arm(venue, do="no_pings")
        await socket.settled(1)
        pings = []
        original = socket.connection.process_event
        monkeypatch.setattr(socket.connection, "process_event", lambda event: pings.append(event) or original(event))
        async with venue.socket() as other:
            received = asyncio.Event()
            told = other.connection.process_event
            monkeypatch.setattr(other.connection, "process_event", lambda event: received.set() or told(event))
            await asyncio.wait_for(received.wait(), 5)  # a ping: nothing else is sent there
        assert pings == []
        await socket.settled(2)
    assert await applied(venue) == ["no_pings"]


@pytest.mark.parametrize("code", [10, 25])
async def test_B10_a_subscription_fails_and_the_rest_of_the_connection_goes_on(venue: Venue, code: int) -> None:
    async with venue.socket() as socket:
        await a_book(socket, A)
        await arm(venue, do="fail", code=code, type="orderbook_delta")
        await three_deltas(venue)
        frames = await socket.settled(9)
    assert [frame["type"] for frame in frames] == ["error", "ok"]
    assert (frames[0]["msg"]["code"], frames[1]["msg"]) == (code, [])


async def test_B13_a_command_is_refused_for_one_of_its_markets(venue: Venue) -> None:
    await arm(venue, do="refuse", cmd="subscribe", code=26, market_tickers=[B])
    async with venue.socket() as socket:
        await socket.subscribe("orderbook_delta", market_tickers=[A, B], use_yes_price=False)
        error = await socket.next()
        assert (error["id"], error["msg"]["code"], error["msg"]["market_tickers"]) == (1, 26, [B])
        await a_book(socket, A)  # the next one is carried out


async def test_B13_one_market_is_refused_and_the_others_are_live(venue: Venue) -> None:
    await arm(venue, do="refuse", cmd="subscribe", code=26, market_tickers=[B], rest=True, times=2)
    async with venue.socket() as socket:
        await socket.subscribe("orderbook_delta", market_tickers=[A, B], use_yes_price=False)
        error, subscribed, snapshot = [await socket.next() for _ in range(3)]
        assert (error["msg"]["code"], error["msg"]["market_tickers"]) == (26, [B])
        assert (subscribed["type"], snapshot["msg"]["market_ticker"]) == ("subscribed", A)
        await socket.subscribe("trade", market_tickers=[B], command_id=2)  # nothing is left of it
        assert [frame["type"] for frame in await socket.settled(3)] == ["error", "ok"]


@pytest.mark.parametrize("code", [18, 27])
async def test_B13_any_command_may_be_refused_with_any_code(venue: Venue, code: int) -> None:
    await arm(venue, do="refuse", cmd="list_subscriptions", code=code)
    async with venue.socket() as socket:
        await socket.say({"id": 3, "cmd": "list_subscriptions"})
        error = await socket.next()
    assert (error["type"], error["id"], error["msg"]["code"]) == ("error", 3, code)


async def test_a_command_is_ignored(venue: Venue) -> None:
    await arm(venue, do="ignore", cmd="subscribe")
    async with venue.socket() as socket:
        await socket.subscribe("fill")
        assert [frame["msg"] for frame in await socket.settled(2)] == [[]]


async def test_B14_connections_are_accepted_and_closed_at_once(venue: Venue) -> None:
    await arm(venue, do="close_at_once", code=1013, times=3)
    for _ in range(3):
        async with venue.socket() as socket:
            with pytest.raises(websockets.ConnectionClosed):
                await socket.next()
    async with venue.socket() as socket:
        assert (await socket.settled(1))[-1]["type"] == "ok"
    assert await applied(venue) == ["close_at_once"] * 3


async def test_a_handshake_is_refused(venue: Venue) -> None:
    await arm(venue, do="answer", path="/trade-api/ws/v2", status=503)
    with pytest.raises(websockets.InvalidStatus):
        async with venue.socket():
            pass


async def test_B16_private_frames_alone_are_lost(venue: Venue) -> None:
    async with venue.socket() as socket:
        await a_book(socket, A)
        await socket.subscribe("user_orders", command_id=2)
        await socket.next()
        await arm(venue, do="lose", type="user_order", times=None)
        await venue.order("bid", "0.1000")
        assert [frame["type"] for frame in await socket.settled(9)] == ["orderbook_delta", "ok"]


PRIVATE = ("fill", "user_orders")


async def two_fills(venue: Venue, socket: Socket) -> None:
    """Rest one order, then trade it in two; subscribed to the private channels."""
    await socket.subscribe(*PRIVATE)
    await socket.settled(8)
    await venue.order("bid", "0.4000", "3.00")
    await socket.settled(8)


def said(frames: list[dict[str, Any]]) -> list[str]:
    return [f["msg"].get("count_fp") or f["msg"]["fill_count_fp"] for f in frames if f["type"] != "ok"]


@pytest.mark.parametrize(
    ("fault", "order"),
    [
        ({"do": "repeat", "type": "fill"}, ["1.00", "1.00", "1.00", "2.00", "3.00"]),
        ({"do": "swap", "type": "user_order"}, ["1.00", "2.00", "1.00", "3.00"]),
        ({"do": "lose", "type": "fill"}, ["1.00", "2.00", "3.00"]),
    ],
)
async def test_B15_private_frames_come_twice_out_of_order_or_not_at_all(
    venue: Venue, fault: dict[str, Any], order: list[str]
) -> None:
    async with venue.socket() as socket:
        await two_fills(venue, socket)
        await arm(venue, **fault)
        for count in ("1.00", "2.00"):
            await venue.outsider("ask", "0.4000", count)
        assert said(await socket.settled(9)) == order
    assert fault["do"] in await applied(venue)


async def test_B15_a_late_fill_comes_behind_the_end_of_its_order(venue: Venue) -> None:
    async with venue.socket() as socket:
        await two_fills(venue, socket)
        await arm(venue, do="hold", type="fill", delay_ms=30)
        await venue.outsider("ask", "0.4000", "3.00")
        order, fill = await socket.next(), await socket.next()
    assert (order["type"], order["msg"]["status"], fill["type"]) == ("user_order", "executed", "fill")


async def test_B15_a_fill_comes_before_the_answer_to_its_create(venue: Venue) -> None:
    await venue.outsider("ask", "0.4000")
    async with venue.socket() as socket:
        await socket.subscribe("fill")
        await socket.settled(8)
        await arm(venue, do="apply_then_delay", path="/portfolio/events/orders", delay_ms=200)
        answer = asyncio.create_task(venue.order("bid", "0.4000"))
        fill = await socket.next()
        assert not answer.done()
        assert (await answer).body["order_id"] == fill["msg"]["order_id"]


async def test_the_frame_log_tells_what_was_sent_before_the_faults(venue: Venue) -> None:
    assert (await venue.control("GET", "/frames")).status == 409
    venue.exchange.frames = FrameLog(kept=100)
    async with venue.socket() as socket:
        await a_book(socket, A)
        await arm(venue, do="lose", type="orderbook_delta", skip=1)
        await three_deltas(venue)
        await socket.settled(9)
    sent = (await venue.control("GET", "/frames?after=1")).body["frames"]
    assert {line["account"] for line in sent} == {"owner"}
    assert prices([line["frame"] for line in sent]) == ["0.1000", "0.2000", "0.3000"]
