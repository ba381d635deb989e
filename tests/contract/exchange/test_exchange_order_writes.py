"""Amend, decrease, batches, cancel-all and order groups over REST and the stream, with every refusal's form."""

from __future__ import annotations

from typing import Any

import pytest
from exchangeclient import ORDERS, Venue, an_order

from feed.exchange.switches import Switches

TICKER = "KXTEST-26NOV22-A"
GROUPS = "/portfolio/order_groups"
NOT_FOUND = {"error": {"code": "not_found", "message": "not found"}}


async def an_open_order(venue: Venue, **changes: Any) -> str:
    created = await venue.order("bid", "0.4000", "10.00", **changes)
    assert created.status == 201, created
    order_id: str = created.body["order_id"]
    return order_id


def an_amend(price: str = "0.4000", count: str = "8.00", **changes: Any) -> dict[str, Any]:
    return {"ticker": TICKER, "side": "bid", "price": price, "count": count, **changes}


# --- amend and decrease -------------------------------------------------------------------------------------------


async def test_an_amend_answers_what_rests_and_what_it_filled(venue: Venue) -> None:
    await venue.outsider("ask", "0.4500", "6.00")
    order_id = await an_open_order(venue, client_order_id="one")
    amended = await venue.call(
        "POST", f"{ORDERS}/{order_id}/amend", json=an_amend("0.4500", "10.00", updated_client_order_id="two")
    )
    assert (amended.status, amended.body) == (
        200,
        {
            "order_id": order_id, "client_order_id": "two", "remaining_count": "4.00", "fill_count": "6.00",
            "average_fill_price": "0.4500", "average_fee_paid": "0.017333", "ts_ms": 1_795_337_400_000,
        },
    )  # fmt: skip


async def test_an_amend_of_the_expiry_alone_answers_no_counts(venue: Venue) -> None:
    order_id = await an_open_order(venue)
    body = an_amend(count="10.00", expiration_time=1_795_337_460)
    amended = await venue.call("POST", f"{ORDERS}/{order_id}/amend", json=body)
    assert (amended.status, amended.body) == (200, {"order_id": order_id, "ts_ms": 1_795_337_400_000})
    read = (await venue.call("GET", f"/portfolio/orders/{order_id}")).body["order"]
    assert read["expiration_time"] == "2026-11-22T08:51:00Z"
    await venue.call("POST", f"{ORDERS}/{order_id}/amend", json=body | {"expiration_time": 0})
    assert (await venue.call("GET", f"/portfolio/orders/{order_id}")).body["order"]["expiration_time"] is None


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"side": "ask"}, 400, "order_side_mismatch"),
        ({"ticker": "KXTEST-26NOV22-B"}, 400, "order_ticker_mismatch"),
        ({"ticker": "NOBODY"}, 404, "not_found"),
        ({"exchange_index": 2}, 404, "not_found"),
        ({"client_order_id": "x"}, 400, "order_id_and_client_order_id_mismatch"),
        ({"price": "0.4050"}, 400, "invalid_price"),
        ({"count": "-1.00"}, 400, "invalid_amend_qty_for_order"),
        ({"expiration_time": 1}, 400, "invalid_order"),
    ],
)
async def test_the_engine_refuses_an_amend_in_the_nested_form(
    venue: Venue, changes: dict[str, Any], status: int, code: str
) -> None:
    order_id = await an_open_order(venue)
    refused = await venue.call("POST", f"{ORDERS}/{order_id}/amend", json=an_amend() | changes)
    assert (refused.status, refused.body["error"]["code"]) == (status, code)


@pytest.mark.parametrize(
    ("path", "body", "struct"),
    [
        ("amend", an_amend() | {"count": 8}, "AmendOrderV2Request.count of type string"),
        ("amend", an_amend() | {"price": 0.4}, "AmendOrderV2Request.price of type string"),
        ("decrease", {"reduce_by": 2}, "DecreaseOrderV2Request.reduce_by of type string"),
    ],
)
async def test_numbers_for_decimals_are_refused_in_every_write(
    venue: Venue, path: str, body: dict[str, Any], struct: str
) -> None:
    refused = await venue.call("POST", f"{ORDERS}/{await an_open_order(venue)}/{path}", json=body)
    assert refused.status == 400
    assert refused.body["details"] == f"json: cannot unmarshal number into Go struct field {struct}"


async def test_a_decrease_answers_what_is_left(venue: Venue) -> None:
    order_id = await an_open_order(venue, client_order_id="one")
    decreased = await venue.call("POST", f"{ORDERS}/{order_id}/decrease", json={"reduce_by": "2.50"})
    assert (decreased.status, decreased.body) == (
        200,
        {"order_id": order_id, "client_order_id": "one", "remaining_count": "7.50", "ts_ms": 1_795_337_400_000},
    )
    body = {"reduce_to": "0.00", "market_ticker": TICKER, "exchange_index": -1}
    assert (await venue.call("POST", f"{ORDERS}/{order_id}/decrease", json=body)).body["remaining_count"] == "0.00"
    assert (await venue.call("DELETE", f"{ORDERS}/{order_id}")).body == NOT_FOUND


@pytest.mark.parametrize(
    "body", [{}, {"reduce_by": "1.00", "reduce_to": "1.00"}, {"reduce_by": "1.00", "exchange_index": -1}]
)
async def test_a_decrease_names_one_count_and_a_market_to_be_routed_by(venue: Venue, body: dict[str, Any]) -> None:
    refused = await venue.call("POST", f"{ORDERS}/{await an_open_order(venue)}/decrease", json=body)
    assert refused.status == 400
    assert refused.body["msg"].startswith("Parameter validation failed for DecreaseOrderV2")


@pytest.mark.parametrize("query", ["?exchange_index=2", "?subaccount=1", "?market_ticker=NOBODY"])
async def test_a_cancel_that_goes_elsewhere_finds_nothing(venue: Venue, query: str) -> None:
    order_id = await an_open_order(venue)
    missed = await venue.call("DELETE", f"{ORDERS}/{order_id}{query}")
    assert (missed.status, missed.body) == (404, NOT_FOUND)
    assert (await venue.call("DELETE", f"{ORDERS}/{order_id}?exchange_index=-1&market_ticker={TICKER}")).status == 200


async def test_automatic_routing_wants_a_market(venue: Venue) -> None:
    refused = await venue.call("DELETE", f"{ORDERS}/{await an_open_order(venue)}?exchange_index=-1")
    assert (refused.status, "MarketTicker" in refused.body["msg"]) == (400, True)


# --- batches ------------------------------------------------------------------------------------------------------


async def test_a_batch_creates_what_it_can_and_answers_each_order_in_its_place(venue: Venue) -> None:
    await venue.outsider("ask", "0.5000", "10.00")
    wishes = [
        an_order("bid", "0.4000", "1.00", client_order_id="rests"),
        an_order("bid", "0.4050", "1.00", client_order_id="off-grid"),
        an_order("bid", "0.5000", "1.00", post_only=True),
        an_order("bid", "0.5000", "2.00", time_in_force="immediate_or_cancel"),
    ]
    batch = await venue.call("POST", f"{ORDERS}/batched", json={"orders": wishes})
    assert batch.status == 201
    rests, off_grid, crosses, fills = batch.body["orders"]
    assert (rests["client_order_id"], rests["remaining_count"]) == ("rests", "1.00")
    assert off_grid == {"client_order_id": "off-grid", "error": {"code": "invalid_price", "message": "invalid price"}}
    assert crosses["error"]["details"] == "post only cross"
    assert (fills["fill_count"], fills["average_fill_price"]) == ("2.00", "0.5000")


async def test_a_batch_cancels_by_a_body_on_delete(venue: Venue) -> None:
    first, second = [await an_open_order(venue) for _ in range(2)]
    elsewhere, here = {"exchange_index": 2}, {"market_ticker": TICKER}
    items = [{"order_id": first}, {"order_id": second} | elsewhere, {"order_id": second} | here]
    batch = await venue.call("DELETE", f"{ORDERS}/batched", json={"orders": items})
    assert (batch.status, batch.body["orders"]) == (
        200,
        [
            {"order_id": first, "reduced_by": "10.00", "ts_ms": 1_795_337_400_000},
            {"order_id": second, "reduced_by": "0.00", "error": NOT_FOUND["error"]},
            {"order_id": second, "reduced_by": "10.00", "ts_ms": 1_795_337_400_000},
        ],
    )


@pytest.mark.parametrize(
    ("method", "body", "form"),
    [
        ("POST", {}, "msg"),
        ("POST", {"orders": []}, "msg"),
        ("POST", {"orders": {}}, "code"),
        ("POST", {"orders": [an_order("bid", "0.4000", "1.00"), {}]}, "msg"),
        ("POST", {"orders": [an_order("bid", "0.4000", "1.00"), 7]}, "code"),
        ("POST", {"orders": [an_order("bid", "0.4000", "1.00") | {"count": 1}]}, "code"),
        ("DELETE", {"orders": [{}]}, "msg"),
        ("DELETE", {"orders": [{"order_id": 5}]}, "code"),
    ],
)
async def test_a_malformed_batch_is_refused_whole(venue: Venue, method: str, body: dict[str, Any], form: str) -> None:
    refused = await venue.call(method, f"{ORDERS}/batched", json=body)
    assert (refused.status, form in refused.body) == (400, True)
    assert (await venue.call("GET", "/portfolio/orders")).body["orders"] == []


# --- reads --------------------------------------------------------------------------------------------------------


async def test_the_place_in_the_queue_can_be_asked_for_one_order(venue: Venue) -> None:
    await venue.outsider("bid", "0.4000", "7.50")
    order_id = await an_open_order(venue)
    asked = await venue.call("GET", f"/portfolio/orders/{order_id}/queue_position")
    assert asked.body == {"queue_position_fp": "7.50"}
    await venue.call("DELETE", f"{ORDERS}/{order_id}")
    assert (await venue.call("GET", f"/portfolio/orders/{order_id}/queue_position")).body == NOT_FOUND


@pytest.mark.parametrize(
    "path",
    [
        "/portfolio/orders?limit=1001",
        "/portfolio/orders?status=open",
        "/portfolio/orders?event_ticker=" + ",".join(f"E{n}" for n in range(11)),
        "/portfolio/fills?ticker=" + ",".join(f"T{n}" for n in range(101)),
        "/portfolio/fills?min_ts=soon",
    ],
)
async def test_lists_refuse_what_their_validation_does_not_know(venue: Venue, path: str) -> None:
    refused = await venue.call("GET", path)
    assert (refused.status, list(refused.body)) == (400, ["msg"])


async def test_fills_of_many_markets_are_listed_by_ticker(venue: Venue) -> None:
    for ticker in (TICKER, "KXTEST-26NOV22-B"):
        await venue.outsider("ask", "0.4000", "1.00", ticker=ticker)
        await venue.order("bid", "0.4000", "1.00", ticker=ticker)
    both = (await venue.call("GET", f"/portfolio/fills?ticker={TICKER},KXTEST-26NOV22-B")).body["fills"]
    one = (await venue.call("GET", f"/portfolio/fills?ticker={TICKER},NOBODY")).body["fills"]
    assert [len(both), len(one), {fill["ticker"] for fill in one}] == [2, 1, {TICKER}]


# --- groups -------------------------------------------------------------------------------------------------------


async def a_group(venue: Venue, **changes: Any) -> str:
    created = await venue.call("POST", f"{GROUPS}/create", json={"contracts_limit": 5} | changes)
    assert created.status == 201, created
    group_id: str = created.body["order_group_id"]
    return group_id


async def test_F11_a_group_triggers_by_its_fills_and_tells_so(venue: Venue) -> None:
    group_id = await a_group(venue)
    order_id = await an_open_order(venue, order_group_id=group_id)
    async with venue.socket() as socket:
        await socket.subscribe("order_group_updates", "user_orders")
        await socket.settled(2)
        await venue.outsider("ask", "0.4000", "5.01")
        frames = await socket.settled(3)
    told = [(f["type"], f["msg"].get("event_type") or f["msg"].get("status")) for f in frames if f["type"] != "ok"]
    assert told == [("user_order", "resting"), ("order_group_updates", "triggered"), ("user_order", "canceled")]
    assert [f["seq"] for f in frames if f["type"] == "order_group_updates"] == [1]
    refused = await venue.order("bid", "0.4000", order_group_id=group_id)
    assert (refused.status, refused.body["error"]["code"]) == (409, "exceeded_order_group_risk_limit")
    assert (await venue.call("PUT", f"{GROUPS}/{group_id}/reset", json={})).body == {}
    again = await an_open_order(venue, order_group_id=group_id)
    read = (await venue.call("GET", f"{GROUPS}/{group_id}")).body
    assert read == {
        "is_auto_cancel_enabled": True, "contracts_limit_fp": "5.00", "exchange_index": 0, "orders": [again],
    }  # fmt: skip
    assert (await venue.call("GET", f"/portfolio/orders/{order_id}")).body["order"]["order_group_id"] == group_id


async def test_a_group_is_limited_triggered_listed_and_deleted_by_hand(venue: Venue) -> None:
    group_id = await a_group(venue, contracts_limit=5, contracts_limit_fp="5.00")
    order_id = await an_open_order(venue, order_group_id=group_id)
    assert (await venue.call("PUT", f"{GROUPS}/{group_id}/limit", json={"contracts_limit_fp": "2.50"})).status == 200
    listed = (await venue.call("GET", GROUPS)).body["order_groups"]
    assert listed == [
        {"id": group_id, "contracts_limit_fp": "2.50", "is_auto_cancel_enabled": True, "exchange_index": 0}
    ]
    assert (await venue.call("PUT", f"{GROUPS}/{group_id}/trigger", json={})).status == 200
    assert (await venue.call("GET", f"/portfolio/orders/{order_id}")).body["order"]["status"] == "canceled"
    assert (await venue.call("DELETE", f"{GROUPS}/{group_id}")).body == {}
    assert (await venue.call("GET", GROUPS)).body == {"order_groups": []}
    assert (await venue.call("GET", f"{GROUPS}/{group_id}")).body == NOT_FOUND


async def test_the_writes_of_a_group_name_its_shard(venue: Venue) -> None:
    group_id = await a_group(venue, exchange_index=2)
    assert (await venue.call("GET", f"{GROUPS}/{group_id}")).status == 200
    for method, path, options in (
        ("PUT", "/limit", {"json": {"contracts_limit": 9}}),
        ("PUT", "/reset", {}),
        ("PUT", "/trigger", {}),
        ("DELETE", "", {}),
    ):
        assert (await venue.call(method, f"{GROUPS}/{group_id}{path}", **options)).body == NOT_FOUND
        assert (await venue.call(method, f"{GROUPS}/{group_id}{path}?exchange_index=2", **options)).status == 200


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"contracts_limit": 0},
        {"contracts_limit": 1_000_001},
        {"contracts_limit": 5, "contracts_limit_fp": "6.00"},
        {"contracts_limit_fp": "0.50"},
        {"contracts_limit": 5, "subaccount": -1},
    ],
)
async def test_a_group_needs_a_limit_that_makes_sense(venue: Venue, body: dict[str, Any]) -> None:
    refused = await venue.call("POST", f"{GROUPS}/create", json=body)
    assert (refused.status, list(refused.body)) == (400, ["msg"])


async def test_F12_a_create_in_the_minute_after_a_cancel_all_may_be_swept(venue: Venue) -> None:
    venue.exchange.world.switches = Switches(cancel_all_tail="minute")
    assert (await venue.call("DELETE", ORDERS)).status == 204
    order_id = await an_open_order(venue)
    venue.clock.advance_us(60_000_000)
    read = (await venue.call("GET", f"/portfolio/orders/{order_id}")).body["order"]
    assert read["status"] == "canceled"
