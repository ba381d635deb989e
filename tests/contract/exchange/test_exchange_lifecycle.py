"""The life of markets and the halts of the exchange, driven from the control port and seen by a client."""

from __future__ import annotations

from typing import Any

import pytest
from exchangeclient import ORDERS, Reply, Socket, Venue

TICKER = "KXTEST-26NOV22-A"
MARKET = f"/markets/{TICKER}"
LIFECYCLE = "market_lifecycle_v2"
SECOND_US = 1_000_000


def code(reply: Reply) -> tuple[int, str]:
    return reply.status, reply.body["error"]["code"]


async def act(venue: Venue, what: str, **body: Any) -> Any:
    reply = await venue.control("POST", f"{MARKET}/{what}", json=body)
    assert reply.status == 200, reply
    return reply.body


async def next_event(socket: Socket) -> dict[str, Any]:
    *_, frame = await socket.until(LIFECYCLE, market_ticker=TICKER)
    message: dict[str, Any] = frame["msg"]
    return message


async def test_F4_a_deactivated_market_refuses_orders_takes_cancels_and_comes_back_empty(venue: Venue) -> None:
    first, second = [(await venue.order("bid", price)).body["order_id"] for price in ("0.3000", "0.3100")]
    async with venue.socket() as socket:
        await socket.subscribe(LIFECYCLE)
        await socket.subscribe("user_orders", command_id=2)
        await act(venue, "deactivate")
        assert (await next_event(socket))["event_type"] == "deactivated"
        assert (await venue.get(MARKET))["market"]["status"] == "inactive"
        assert [m["ticker"] for m in (await venue.get("/markets?status=paused"))["markets"]] == [TICKER]
        assert code(await venue.order("bid", "0.3000")) == (409, "trading_is_paused")
        assert (await venue.call("DELETE", f"{ORDERS}/{first}")).status == 200
        await act(venue, "activate")
        frames = await socket.until(LIFECYCLE, event_type="activated")
        told = [f["msg"] for f in frames if f["type"] == "user_order"]
        ended = {m["order_id"]: m["last_update_reason"] for m in told if m["order_id"] == second}
    assert ended == {second: "HaltCancel"}
    assert (await venue.order("bid", "0.3000")).status == 201


async def test_F6_a_close_can_be_moved_and_a_closed_market_reopened(venue: Venue) -> None:
    async with venue.socket() as socket:
        await socket.subscribe(LIFECYCLE)
        await act(venue, "close")
        assert (await next_event(socket))["event_type"] == "close_date_updated"
        assert code(await venue.order("bid", "0.3000")) == (400, "market_inactive")
        close_ts = venue.clock.wall_us() // 1_000_000 + 60
        body = await act(venue, "move_close", close_ts=close_ts)
        assert body["status"] == "active"
        moved, activated = await next_event(socket), await next_event(socket)
        assert (moved["event_type"], moved["close_ts"]) == ("close_date_updated", close_ts)
        assert activated == {"market_ticker": TICKER, "event_type": "activated", "is_deactivated": False}
    assert (await venue.order("bid", "0.3000")).status == 201


async def test_F7_a_result_can_be_disputed_amended_and_paid(venue: Venue) -> None:
    async with venue.socket() as socket:
        await socket.subscribe(LIFECYCLE)
        await act(venue, "determine", result="no")
        frames = await socket.until(LIFECYCLE, event_type="determined")
        assert frames[-1]["msg"]["settlement_value"] == "0.0000"
        assert (await act(venue, "dispute"))["status"] == "disputed"
        assert [m["status"] for m in (await venue.get("/markets?status=closed"))["markets"]] == ["disputed"]
        assert (await venue.control("POST", f"{MARKET}/settle")).status == 409
        assert (await act(venue, "amend", result="yes"))["status"] == "amended"
        assert (await next_event(socket))["result"] == "yes"
        assert (await act(venue, "settle"))["status"] == "finalized"
        assert (await next_event(socket))["event_type"] == "settled"


async def test_F8_another_price_structure_reaches_rest_and_stream(venue: Venue) -> None:
    async with venue.socket() as socket:
        await socket.subscribe(LIFECYCLE)
        await act(venue, "structure", price_level_structure="center_half_edge_deci_cent")
        message = await next_event(socket)
    market = (await venue.get(MARKET))["market"]
    assert message["price_ranges"] == market["price_ranges"]
    assert [band["step"] for band in market["price_ranges"]] == ["0.0010", "0.0050", "0.0010"]
    assert (await venue.order("bid", "0.4050")).status == 201
    assert code(await venue.order("bid", "0.4040")) == (400, "invalid_price")


async def test_metadata_reaches_the_stream(venue: Venue) -> None:
    async with venue.socket() as socket:
        await socket.subscribe(LIFECYCLE)
        await act(venue, "metadata", yes_sub_title="Above 71", strike={"strike_type": "greater", "floor_strike": 71.5})
        message = await next_event(socket)
    assert (message["yes_sub_title"], message["floor_strike"]) == ("Above 71", 71.5)


@pytest.mark.parametrize(
    ("what", "body", "status"),
    [
        ("activate", {}, 409),
        ("dispute", {}, 409),
        ("determine", {"result": "maybe"}, 400),
        ("determine", {"result": "scalar"}, 400),
        ("determine", {"result": "scalar", "value": "2"}, 400),
        ("structure", {"price_level_structure": "round"}, 400),
        ("move_close", {}, 400),
    ],
)
async def test_a_wrong_wish_is_refused_with_a_reason(
    venue: Venue, what: str, body: dict[str, Any], status: int
) -> None:
    reply = await venue.control("POST", f"{MARKET}/{what}", json=body)
    assert reply.status == status
    assert reply.body["problem"]


async def test_F1_a_trading_pause_is_seen_by_status_and_orders(venue: Venue) -> None:
    placed = (await venue.order("bid", "0.3000")).body["order_id"]
    await venue.control("POST", "/pauses", json={"halt": "trading", "exchange_index": 0})
    status = await venue.get("/exchange/status")
    assert (status["exchange_active"], status["trading_active"]) == (True, False)
    assert code(await venue.order("bid", "0.3000")) == (409, "trading_is_paused")
    amended = await venue.call(
        "POST",
        f"{ORDERS}/{placed}/amend",
        json={"ticker": TICKER, "side": "bid", "price": "0.2900", "count": "10.00"},
    )
    assert code(amended) == (409, "trading_is_paused")
    assert (await venue.call("DELETE", f"{ORDERS}/{placed}")).status == 200
    await venue.control("DELETE", "/pauses", json={"halt": "trading", "exchange_index": 0})
    assert (await venue.order("bid", "0.3000")).status == 201


async def test_F2_an_exchange_pause_refuses_even_cancels(venue: Venue) -> None:
    placed = (await venue.order("bid", "0.3000")).body["order_id"]
    await venue.control("POST", "/pauses", json={"halt": "exchange"})
    status = await venue.get("/exchange/status")
    assert not any(shard["exchange_active"] for shard in status["exchange_index_statuses"])
    assert code(await venue.order("bid", "0.3000")) == (409, "exchange_is_paused")
    assert code(await venue.call("DELETE", f"{ORDERS}/{placed}")) == (409, "exchange_is_paused")
    resting = await venue.call("GET", "/portfolio/orders?status=resting")
    assert [order["order_id"] for order in resting.body["orders"]] == [placed]
    await venue.control("DELETE", "/pauses", json={"halt": "exchange"})
    assert (await venue.call("DELETE", f"{ORDERS}/{placed}")).status == 200


async def test_F3_a_planned_window_stands_in_the_schedule_and_halts_trading(venue: Venue) -> None:
    now_s = venue.clock.wall_us() // 1_000_000
    await venue.control("POST", "/maintenance", json={"start_ts": now_s + 60, "end_ts": now_s + 120})
    (window,) = (await venue.get("/exchange/schedule"))["schedule"]["maintenance_windows"]
    assert window == {"start_datetime": "2026-11-22T08:51:00Z", "end_datetime": "2026-11-22T08:52:00Z"}
    venue.clock.advance_us(60 * SECOND_US)
    status = await venue.get("/exchange/status")
    assert (status["trading_active"], status["exchange_estimated_resume_time"]) == (False, window["end_datetime"])
    venue.clock.advance_us(60 * SECOND_US)
    assert (await venue.get("/exchange/status"))["trading_active"]


@pytest.mark.parametrize(
    "body",
    [
        {"halt": "everything"},
        {"halt": "exchange", "ticker": TICKER},
        {"ticker": "KXNO"},
        {"exchange_index": 9},
        {"scope": 1},
    ],
)
async def test_a_pause_of_nothing_known_is_refused(venue: Venue, body: dict[str, Any]) -> None:
    assert (await venue.control("POST", "/pauses", json=body)).status == 400
    assert (await venue.get("/exchange/status"))["trading_active"]


async def test_F13_cash_can_be_taken_and_given_and_resting_orders_go_with_it(venue: Venue) -> None:
    placed = (await venue.order("bid", "0.5000", "1000.00")).body["order_id"]
    reply = await venue.control("POST", "/accounts/owner/withdraw", json={"amount": "6900.50"})
    assert reply.body["balance_breakdown"][0] == {"exchange_index": 0, "balance": "99.500000"}
    order = (await venue.call("GET", f"/portfolio/orders/{placed}")).body["order"]
    assert order["status"] == "canceled"
    assert code(await venue.order("bid", "0.5000", "200.00")) == (400, "insufficient_balance")
    assert (await venue.control("POST", "/accounts/owner/withdraw", json={"amount": "100"})).status == 409
    await venue.control("POST", "/accounts/owner/deposit", json={"amount": "0.50"})
    assert (await venue.order("bid", "0.5000", "200.00")).status == 201
    for amount in ("-1", "1.0000001", "much", ""):
        assert (await venue.control("POST", "/accounts/owner/deposit", json={"amount": amount})).status == 400
