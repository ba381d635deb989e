"""Faults on WebSocket connections, as a client sees them; the log proves each one."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
import websockets
from exchangeclient import Socket, Venue

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


async def test_B1_a_connection_is_closed_with_a_code(venue: Venue) -> None:
    async with venue.socket() as socket:
        await a_book(socket, A)
        await arm(venue, do="close", code=1012)
        await venue.order("bid", "0.1000")
        with pytest.raises(websockets.ConnectionClosed):
            await socket.next()
        assert socket.connection.close_code == 1012


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
