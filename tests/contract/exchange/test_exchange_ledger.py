"""The ledger's lines: what reached the exchange and what came of it, in one order."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from exchangeclient import ORDERS, Venue

from feed.exchange.ledger import Ledger


async def lines(venue: Venue, query: str = "") -> list[dict[str, Any]]:
    return (await venue.control("GET", f"/ledger/lines{query}")).body["lines"]


async def test_a_request_is_followed_by_what_it_caused(venue: Venue) -> None:
    await venue.order("bid", "0.4000", client_order_id="mine-1")
    found = await lines(venue, "?account=owner")
    assert [(line["line"], line.get("channel"), line.get("method")) for line in found] == [
        ("event", "user_orders", None), ("request", None, "POST"),
    ]  # fmt: skip
    request = found[1]
    assert (request["status"], request["path"]) == (201, "/trade-api/v2" + ORDERS)
    assert request["body"]["client_order_id"] == "mine-1"
    assert found[0]["body"]["client_order_id"] == "mine-1"


async def test_a_request_that_a_fault_swallowed_stands_there_without_an_answer(venue: Venue) -> None:
    await venue.control("POST", "/faults", json=[{"do": "drop"}])
    with pytest.raises(aiohttp.ClientError):
        await venue.order("bid", "0.4000")
    assert [(line["line"], line["status"]) for line in await lines(venue, "?kind=request")] == [("request", 0)]


async def test_lines_are_read_on_from_where_one_stopped(venue: Venue) -> None:
    await venue.order("bid", "0.4000")
    seen = (await lines(venue))[-1]["number"]
    await venue.outsider("ask", "0.4000")
    after = await lines(venue, f"?after={seen}&kind=event")
    assert {line["account"] for line in after} == {"owner", "outsider"}
    assert min(line["number"] for line in after) == seen + 1
    assert (await venue.control("GET", "/ledger/lines?after=x")).status == 400


async def test_lines_that_are_gone_are_told_to_be(venue: Venue) -> None:
    venue.exchange.ledger = Ledger(kept=3)
    for _ in range(7):
        venue.exchange.ledger.request(at_us=1, account="owner", method="GET", path="/", status=200, body=b"")
    gone = await venue.control("GET", "/ledger/lines?after=2")
    assert (gone.status, gone.body["problem"]) == (410, "after: lines before number 4 are gone, ask for those after 3")
    assert [line["number"] for line in await lines(venue, "?after=3")] == [4, 5, 6, 7]
    assert await lines(venue, "?after=7") == []


async def test_a_person_places_amends_and_cancels_beside_us(venue: Venue) -> None:
    placed = (await venue.outsider("bid", "0.4000", "5.00")).body
    order_id = placed["order_id"]
    body = {"ticker": placed["ticker"], "side": "bid", "price": "0.4100", "count": "7.00"}
    amended = await venue.control("POST", f"/orders/{order_id}/amend?account=outsider", json=body)
    assert (amended.status, amended.body["remaining_count"]) == (200, "7.00")
    cancelled = await venue.control("DELETE", f"/orders/{order_id}?account=outsider")
    assert (cancelled.status, cancelled.body["reduced_by"]) == (200, "7.00")
    again = await venue.control("DELETE", f"/orders/{order_id}?account=outsider")
    assert again.status == 404


async def test_the_cash_book_names_why_cash_changed(venue: Venue) -> None:
    await venue.outsider("ask", "0.5200")
    await venue.order("bid", "0.5200")
    owner = (await venue.control("GET", "/ledger?account=owner")).body["owner"]
    assert {entry["kind"] for entry in owner["cash_book"]} == {"opening", "fill", "fee"}


async def test_F3_pauses_stand_there_when_they_begin_and_end_by_hand_or_by_plan(venue: Venue) -> None:
    await venue.control("POST", "/pauses", json={"halt": "exchange", "exchange_index": 2})
    await venue.control("DELETE", "/pauses", json={"halt": "exchange", "exchange_index": 2})
    now_s = venue.clock.wall_us() // 1_000_000
    await venue.control("POST", "/maintenance", json={"start_ts": now_s + 10, "end_ts": now_s + 20})
    for _ in range(2):
        venue.clock.advance_us(10_000_000)
        venue.exchange.step()
    halts = [(line["body"], line["at_us"] // 1_000_000 - now_s) for line in await lines(venue, "?kind=event")
             if line["channel"] == "halt"]  # fmt: skip
    assert halts == [
        ({"halt": "exchange", "scope": 2, "is_on": True}, 0),
        ({"halt": "exchange", "scope": 2, "is_on": False}, 0),
        ({"halt": "trading", "scope": None, "is_on": True}, 10),
        ({"halt": "trading", "scope": None, "is_on": False}, 20),
    ]
