"""The life of an order over REST, and every refusal with its recorded body."""

from __future__ import annotations

from typing import Any

import pytest
from exchangeclient import ORDERS, Venue, an_order

NOT_FOUND = {"error": {"code": "not_found", "message": "not found"}}


async def test_an_order_is_created_read_queued_and_cancelled(venue: Venue) -> None:
    await venue.outsider("bid", "0.4000", "7.50")
    created = await venue.order("bid", "0.4000", client_order_id="mine-1")
    order_id = created.body.pop("order_id")
    assert created.status == 201
    assert created.body == {
        "client_order_id": "mine-1", "fill_count": "0.00", "remaining_count": "10.00", "ts_ms": 1_795_337_400_000,
    }  # fmt: skip
    read = (await venue.call("GET", f"/portfolio/orders/{order_id}")).body["order"]
    assert (read["status"], read["book_side"], read["outcome_side"]) == ("resting", "bid", "yes")
    assert (read["yes_price_dollars"], read["no_price_dollars"]) == ("0.4000", "0.6000")
    queue = await venue.call("GET", "/portfolio/orders/queue_positions?market_tickers=KXTEST-26NOV22-A")
    assert queue.body["queue_positions"] == [
        {"order_id": order_id, "market_ticker": "KXTEST-26NOV22-A", "queue_position_fp": "7.50"}
    ]
    cancelled = await venue.call("DELETE", f"{ORDERS}/{order_id}?market_ticker=KXTEST-26NOV22-A")
    assert (cancelled.status, cancelled.body["reduced_by"]) == (200, "10.00")
    again = await venue.call("DELETE", f"{ORDERS}/{order_id}")
    assert (again.status, again.body) == (404, NOT_FOUND)
    listed = (await venue.call("GET", "/portfolio/orders?status=canceled")).body["orders"]
    assert [(o["order_id"], o["remaining_count_fp"]) for o in listed] == [(order_id, "0.00")]


async def test_a_taker_is_told_price_and_fee_as_recorded(venue: Venue) -> None:
    await venue.outsider("ask", "0.5200", "1.00")
    taken = await venue.order("bid", "0.9900", "1.00", time_in_force="immediate_or_cancel")
    assert (taken.body["average_fill_price"], taken.body["average_fee_paid"]) == ("0.5200", "0.0175")
    (fill,) = (await venue.call("GET", "/portfolio/fills")).body["fills"]
    assert (fill["fee_cost"], fill["is_taker"], fill["count_fp"]) == ("0.017500", True, "1.00")
    assert "client_order_id" not in fill
    positions = (await venue.call("GET", "/portfolio/positions")).body
    assert positions["market_positions"][0]["position_fp"] == "1.00"
    assert positions["event_positions"][0]["event_exposure_dollars"] == "0.520000"
    balance = (await venue.call("GET", "/portfolio/balance")).body
    assert (balance["balance"], balance["balance_dollars"]) == (999_946, "9999.462500")
    (trade,) = (await venue.get("/markets/trades?ticker=KXTEST-26NOV22-A"))["trades"]
    assert (trade["trade_id"], trade["taker_book_side"]) == (fill["trade_id"], "bid")


async def test_cancel_all_leaves_nothing(venue: Venue) -> None:
    for price in ("0.1000", "0.2000"):
        await venue.order("bid", price)
    assert (await venue.call("DELETE", ORDERS)).status == 204
    assert (await venue.call("GET", "/portfolio/orders?status=resting")).body == {"orders": [], "cursor": ""}


async def test_a_post_only_order_that_would_cross_is_refused(venue: Venue) -> None:
    await venue.outsider("ask", "0.5000")
    refused = await venue.order("bid", "0.5000", post_only=True)
    assert refused.status == 400
    assert refused.body == {
        "error": {"code": "invalid_order", "message": "invalid order", "details": "post only cross"}
    }


async def test_a_client_order_id_cannot_come_twice(venue: Venue) -> None:
    await venue.order("bid", "0.1000", client_order_id="same")
    refused = await venue.order("bid", "0.1000", client_order_id="same")
    assert refused.status == 409
    assert refused.body == {"error": {"code": "order_already_exists", "message": "order already exists"}}


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"price": "0.4050"}, 400, "invalid_price"),
        ({"price": "1.0000"}, 400, "invalid_price"),
        ({"price": "0.9900", "count": "10099.00"}, 400, "insufficient_balance"),
        ({"count": "0.00"}, 400, "invalid_order_size"),
        ({"ticker": "NOBODY"}, 404, "not_found"),
        ({"exchange_index": 3}, 404, "not_found"),
        ({"order_group_id": "none"}, 404, "order_group_not_found"),
        ({"time_in_force": "fill_or_kill"}, 409, "fill_or_kill_insufficient_resting_volume"),
        ({"expiration_time": 1}, 400, "invalid_order"),
        ({"expiration_time": 1_900_000_000, "time_in_force": "immediate_or_cancel"}, 400, "invalid_order"),
        ({"reduce_only": True}, 400, "invalid_order"),
    ],
)
async def test_what_the_engine_refuses_has_the_nested_form(
    venue: Venue, changes: dict[str, Any], status: int, code: str
) -> None:
    refused = await venue.call("POST", ORDERS, json=an_order("bid", "0.4000", "10.00") | changes)
    assert (refused.status, refused.body["error"]["code"]) == (status, code)
    assert refused.body["error"]["message"] == code.replace("_", " ")


async def test_numbers_for_decimals_are_refused_as_recorded(venue: Venue) -> None:
    refused = await venue.call("POST", ORDERS, json=an_order("bid", "0.0100", "1.00") | {"count": 1})
    assert refused.status == 400
    assert refused.body == {
        "code": "bad_request",
        "message": "bad request",
        "details": "json: cannot unmarshal number into Go struct field CreateOrderV2Request.count of type string",
    }


@pytest.mark.parametrize("changes", [{"price": 0.4}, {"count": "ten"}, {"count": "1.001"}, {"post_only": "yes"}])
async def test_bodies_that_do_not_decode_have_the_flat_form(venue: Venue, changes: dict[str, Any]) -> None:
    refused = await venue.call("POST", ORDERS, json=an_order("bid", "0.4000", "10.00") | changes)
    assert (refused.status, refused.body["code"]) == (400, "bad_request")


@pytest.mark.parametrize(
    "changes",
    [{"side": "yes"}, {"time_in_force": "GTT"}, {"self_trade_prevention_type": None}, {"price": None}, {"side": None}],
)
async def test_missing_and_unknown_words_have_the_bare_form(venue: Venue, changes: dict[str, Any]) -> None:
    body = {k: v for k, v in (an_order("bid", "0.4000", "10.00") | changes).items() if v is not None}
    refused = await venue.call("POST", ORDERS, json=body)
    assert refused.status == 400
    assert refused.body["msg"].startswith("Parameter validation failed")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/portfolio/orders"),
        ("POST", "/portfolio/orders/batched"),
        ("DELETE", "/portfolio/orders/some-id"),
        ("POST", "/portfolio/orders/some-id/amend"),
        ("POST", "/portfolio/orders/some-id/decrease"),
    ],
)
async def test_the_old_order_writes_are_gone(venue: Venue, method: str, path: str) -> None:
    reply = await venue.call(method, path, json={})
    assert (reply.status, reply.body["error"]["code"]) == (410, "deprecated_v1_order_endpoint")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/exchange/announcements"), ("PUT", "/markets"), ("GET", "/nothing")]
)
async def test_what_does_not_exist_is_not_found(venue: Venue, method: str, path: str) -> None:
    reply = await venue.call(method, path)
    assert (reply.status, reply.body) == (404, NOT_FOUND)


async def test_after_the_close_nothing_is_accepted_not_even_a_cancel(venue: Venue) -> None:
    created = await venue.order("bid", "0.4000")
    assert (await venue.control("POST", "/markets/KXTEST-26NOV22-A/close")).body["status"] == "closed"
    assert (await venue.order("bid", "0.4000")).body["error"]["code"] == "market_inactive"
    cancel = await venue.call("DELETE", f"{ORDERS}/{created.body['order_id']}")
    assert cancel.body["error"]["code"] == "market_inactive"


async def test_the_ledger_knows_both_sides_of_a_trade(venue: Venue) -> None:
    await venue.order("ask", "0.5000", "3.00")
    await venue.outsider("bid", "0.5000", "3.00")
    ledger = (await venue.control("GET", "/ledger")).body
    assert ledger["owner"]["positions"][0]["position_fp"] == "-3.00"
    assert ledger["outsider"]["positions"][0]["position_fp"] == "3.00"
    assert ledger["owner"]["fills"][0]["trade_id"] == ledger["outsider"]["fills"][0]["trade_id"]
