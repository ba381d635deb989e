"""Faults on REST requests: each one seen by the client, judged by the ledger, proven by the log."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from exchangeclient import ORDERS, Reply, Venue


async def arm(venue: Venue, **fault: Any) -> None:
    reply = await venue.control("POST", "/faults", json=[fault])
    assert reply.status == 201, reply


async def applied(venue: Venue) -> list[dict[str, Any]]:
    return (await venue.control("GET", "/faults/applied")).body["applied"]


async def orders(venue: Venue) -> list[str]:
    """The owner's orders as the ledger has them, by their client ids."""
    ledger = (await venue.control("GET", "/ledger")).body
    return [order["client_order_id"] for order in ledger["owner"]["orders"]]


async def test_C2_a_dropped_create_is_not_applied(venue: Venue) -> None:
    await arm(venue, do="drop", id="gone", method="POST", path=ORDERS)
    with pytest.raises(aiohttp.ClientError):
        await venue.order("bid", "0.4000", client_order_id="mine-1")
    assert await orders(venue) == []
    assert [(f["id"], f["do"], f["account"]) for f in await applied(venue)] == [("gone", "drop", "owner")]
    assert (await venue.order("bid", "0.4000", client_order_id="mine-2")).status == 201


async def test_C1_a_create_is_applied_and_its_answer_lost(venue: Venue) -> None:
    await arm(venue, do="apply_then_drop", method="POST", path=ORDERS)
    with pytest.raises(aiohttp.ClientError):
        await venue.order("bid", "0.4000", client_order_id="mine-1")
    assert await orders(venue) == ["mine-1"]
    assert len(await applied(venue)) == 1


@pytest.mark.parametrize(
    ("status", "text"),
    [(408, "{}"), (500, "{}"), (502, "<html>"), (503, "{}"), (504, ""), (201, '{"order_id":'), (200, "<html>")],
)
async def test_C1_a_create_is_applied_and_answered_with_an_error(venue: Venue, status: int, text: str) -> None:
    await arm(venue, do="apply_then_answer", method="POST", path=ORDERS, status=status, text=text)
    headers = venue.headers("POST", "/trade-api/v2" + ORDERS)
    body = {
        "ticker": "KXTEST-26NOV22-A", "side": "bid", "price": "0.4000", "count": "1.00", "client_order_id": "mine-1",
        "time_in_force": "good_till_canceled", "self_trade_prevention_type": "maker",
    }  # fmt: skip
    async with aiohttp.ClientSession() as http, http.post(venue.ready.rest + ORDERS, json=body, headers=headers) as got:
        assert (got.status, await got.text()) == (status, text)
    assert await orders(venue) == ["mine-1"]


async def test_an_answer_alone_applies_nothing(venue: Venue) -> None:
    await arm(venue, do="answer", method="POST", status=429, text='{"error":"too many requests"}')
    assert await venue.order("bid", "0.4000") == Reply(429, {"error": "too many requests"})
    assert await orders(venue) == []


async def test_C1_an_answer_is_cut_in_its_body(venue: Venue) -> None:
    await arm(venue, do="cut", method="POST", path=ORDERS, bytes=12)
    with pytest.raises(aiohttp.ClientPayloadError):
        await venue.order("bid", "0.4000", client_order_id="mine-1")
    assert await orders(venue) == ["mine-1"]


async def test_C8_a_create_is_applied_long_before_it_is_answered(venue: Venue) -> None:
    await arm(venue, do="apply_then_delay", method="POST", path=ORDERS, delay_ms=200)
    answer = asyncio.create_task(venue.order("bid", "0.4000", client_order_id="mine-1"))
    while not await orders(venue):
        assert not answer.done()
    assert await applied(venue) == []
    assert (await answer).status == 201
    assert [(f["do"], f["what"]) for f in await applied(venue)] == [("apply_then_delay", "POST /trade-api/v2" + ORDERS)]


async def test_an_answer_without_a_body_is_cut_before_its_head(venue: Venue) -> None:
    await arm(venue, do="cut", method="DELETE", path=ORDERS, times=2)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await venue.call("DELETE", ORDERS)
    assert [f["do"] for f in await applied(venue)] == ["cut"] * 2  # this client sends a DELETE again by itself


async def test_C4_reads_trail_the_engine_while_the_script_says_so(venue: Venue) -> None:
    await arm(venue, do="lag_reads", id="late", lag_ms=2_000, until_ms=10_000)
    venue.exchange.flush()
    venue.clock.advance_us(1_000_000)
    order_id = (await venue.order("bid", "0.4000")).body["order_id"]
    path = f"/portfolio/orders/{order_id}"
    assert (await venue.call("GET", path)).status == 404
    assert await venue.get("/exchange/user_data_timestamp") == {"as_of_time": "2026-11-22T08:49:59Z"}
    venue.clock.advance_us(2_000_000)
    assert (await venue.call("GET", path)).status == 200
    venue.clock.advance_us(7_000_000)
    assert (await venue.call("DELETE", f"{ORDERS}/{order_id}?market_ticker=KXTEST-26NOV22-A")).status == 200
    assert (await venue.call("GET", path)).body["order"]["status"] == "canceled"
    assert [(f["id"], f["do"], f["what"]) for f in await applied(venue)] == [
        ("late", "lag_reads", f"GET /trade-api/v2{path}")
    ] * 2


async def test_F1_what_is_done_on_the_control_port_stands_in_the_log_too(venue: Venue) -> None:
    assert (await venue.control("POST", "/pauses", json={"halt": "trading"})).status == 200
    assert (await venue.control("POST", "/pauses", json={"halt": "tea"})).status == 400
    assert (await venue.outsider("bid", "0.4000")).status == 409
    assert (await venue.control("POST", "/markets/KXTEST-26NOV22-A/close")).status == 200
    assert [(f["do"], f["what"]) for f in await applied(venue)] == [
        ("control", 'POST /pauses {"halt": "trading"}'), ("control", "POST /markets/KXTEST-26NOV22-A/close"),
    ]  # fmt: skip


async def test_a_fault_passes_some_matches_and_ends_after_its_times(venue: Venue) -> None:
    await arm(venue, do="answer", path="/exchange/status", skip=1, times=2, status=409)
    statuses = [(await venue.call("GET", "/exchange/status", headers={})).status for _ in range(4)]
    assert statuses == [200, 409, 409, 200]
    assert [f["number"] for f in await applied(venue)] == [1, 2]


async def test_a_fault_may_mean_one_body_only(venue: Venue) -> None:
    await arm(venue, do="answer", path=ORDERS, body={"client_order_id": "mine-2"}, status=409)
    answers = [(await venue.order("bid", "0.4000", client_order_id=f"mine-{n}")).status for n in (1, 2, 3)]
    assert answers == [201, 409, 201]


async def test_C8_a_delay_comes_before_another_fault(venue: Venue) -> None:
    await arm(venue, do="delay", path=ORDERS, delay_ms=1)
    await arm(venue, do="answer", path=ORDERS, status=409)
    assert (await venue.order("bid", "0.4000")).status == 409
    assert [f["do"] for f in await applied(venue)] == ["delay", "answer"]


async def test_faults_are_listed_and_removed(venue: Venue) -> None:
    await arm(venue, do="drop", id="a", times=None)
    await arm(venue, do="drop", id="b", times=None)
    assert (await venue.control("DELETE", "/faults/a")).body == {"removed": 1}
    assert [f["id"] for f in (await venue.control("GET", "/faults")).body["faults"]] == ["b"]
    assert (await venue.control("DELETE", "/faults")).body == {"removed": 1}
    assert await venue.get("/exchange/status")


@pytest.mark.parametrize(
    ("script", "named"),
    [
        ([{"do": "explode"}], "explode"),
        ([{"do": "delay"}], "delay_ms"),
        ([{"do": "drop", "tiems": 2}], "tiems"),
        ([{"do": "drop", "times": 0}], "times"),
        ([{"do": "close", "code": 1005}], "code"),
        ([{"do": "garble"}], "text or hex"),
        ([{"do": "garble", "text": "x", "hex": "00"}], "text or hex"),
        ([{"do": "inject", "hex": "xyz"}], "hex"),
        ([{"do": "alter", "pattern": "(", "by": ""}], "pattern"),
        ([{"do": "pad", "bytes": 0}], "bytes"),
        ([{"do": "close_at_once", "code": 70_000}], "code"),
        ([{"do": "lag_reads", "lag_ms": 0}], "lag_ms"),
        ([{"do": "lag_reads", "lag_ms": 5, "times": 1}], "times"),
        ([{"do": "apply_then_delay", "delay_ms": -1}], "delay_ms"),
        ({"do": "drop"}, "array"),
    ],
)
async def test_a_bad_script_is_refused_and_names_the_field(venue: Venue, script: Any, named: str) -> None:
    reply = await venue.control("POST", "/faults", json=script)
    assert reply.status == 400
    assert named in reply.body["problem"]
    assert (await venue.control("GET", "/faults")).body["faults"] == []
