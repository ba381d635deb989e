"""Programs, credits and fee changes over real sockets."""

from __future__ import annotations

from typing import Any

import pytest
from exchangeclient import Venue

A, B = "KXTEST-26NOV22-A", "KXTEST-26NOV22-B"
EVENT = "KXTEST-26NOV22"
START, END = "2026-11-22T08:50:00Z", "2026-11-22T08:51:00Z"  # the clock of these tests stands at the start
LIQUIDITY = {
    "market_ticker": A, "start_date": START, "end_date": END, "period_reward": 600_000, "target_size_fp": "100.00",
    "discount_factor_bps": 5_000,
}  # fmt: skip


async def add(venue: Venue, **changes: Any) -> str:
    reply = await venue.control("POST", "/programs", json=LIQUIDITY | changes)
    assert reply.status == 201, reply
    program_id: str = reply.body["id"]
    return program_id


async def listed(venue: Venue, query: str = "") -> list[str]:
    body = await venue.get(f"/incentive_programs?{query}")
    return [row["id"] for row in body["incentive_programs"]]


async def test_a_program_lives_from_upcoming_to_paid_out_and_its_credit_arrives(venue: Venue) -> None:
    elapsed = 0
    program_id = await add(venue, start_date="2026-11-22T08:50:10Z", end_date="2026-11-22T08:51:10Z", paid_after_s=30)
    statuses = []
    for seconds in (0, 10, 69, 70, 99, 100):
        venue.clock.advance_us((seconds - elapsed) * 1_000_000)
        elapsed = seconds
        (program,) = (await venue.control("GET", "/programs")).body["programs"]
        statuses.append((program["status"], program["paid_out"]))
        if seconds == 0:
            await venue.order("bid", "0.4000", "100.00")
            await venue.order("ask", "0.6000", "100.00")
            before = (await venue.call("GET", "/portfolio/balance")).body["balance_dollars"]
        for status in ("upcoming", "active", "closed", "paid_out"):
            assert (program_id in await listed(venue, f"status={status}")) == (status == program["status"])
    assert statuses == [
        ("upcoming", False), ("active", False), ("active", False), ("closed", False), ("closed", False),
        ("paid_out", True),
    ]  # fmt: skip
    (statement,) = (await venue.control("GET", f"/credits?program_id={program_id}")).body["programs"]
    assert statement == {
        "program_id": program_id, "market_ticker": A, "status": "paid_out", "seconds_total": 60,
        "seconds_included": 60, "is_paid": True,
        "credits": [{"account": "owner", "raw": "60/1", "is_exact": True, "credit_dollars": "60.000000"}],
    }  # fmt: skip
    after = (await venue.call("GET", "/portfolio/balance")).body["balance_dollars"]
    assert float(after) - float(before) == 60


async def test_a_volume_row_has_nulls_and_filters_tell_it_apart(venue: Venue) -> None:
    program_id = await add(
        venue, incentive_type="volume", incentive_description="vip", target_size_fp=None, discount_factor_bps=None,
        max_reward_per_account=123,
    )  # fmt: skip
    other = await add(venue)
    (row,) = (await venue.get("/incentive_programs?type=volume"))["incentive_programs"]
    assert row == {
        "id": program_id, "market_id": "id-of-A", "market_ticker": A, "incentive_type": "volume",
        "incentive_description": "vip", "start_date": START, "end_date": END, "period_reward": 600_000,
        "paid_out": False, "discount_factor_bps": None, "target_size_fp": None, "max_reward_per_account": 123,
    }  # fmt: skip
    assert await listed(venue, "type=liquidity") == [other]
    assert await listed(venue, "incentive_description=vip") == [program_id]
    assert await listed(venue, "incentive_description=vi") == []
    assert sorted(await listed(venue, "type=all&status=all")) == sorted([program_id, other])


async def test_pages_of_programs_follow_next_cursor_to_the_end(venue: Venue) -> None:
    ids = {await add(venue, market_ticker=ticker) for ticker in (A, A, B, B, A)}
    seen, cursor, pages = [], "", 0
    while pages == 0 or cursor:
        body = await venue.get(f"/incentive_programs?limit=2&cursor={cursor}")
        seen += [row["id"] for row in body["incentive_programs"]]
        cursor, pages = body["next_cursor"], pages + 1
    assert (pages, set(seen), len(seen)) == (3, ids, 5)


@pytest.mark.parametrize(
    ("query", "field"), [("limit=10001", "Limit"), ("status=open", "Status"), ("type=luck", "Type")]
)
async def test_bad_queries_for_programs_are_refused_by_name(venue: Venue, query: str, field: str) -> None:
    reply = await venue.call("GET", f"/incentive_programs?{query}")
    assert (reply.status, list(reply.body)) == (400, ["msg"])
    assert field in reply.body["msg"]
    assert (await venue.call("GET", "/incentive_programs?limit=10000")).status == 200


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"market_ticker": "NONE"}, "market_ticker: no market"),
        ({"start_date": "2026-11-22T08:50:00.5Z"}, "start_date:"),
        ({"start_date": "2026-11-22T08:50:00"}, "start_date: expected a time with a zone"),
        ({"target_size_fp": "ten"}, "target_size_fp:"),
        ({"period_reward": "much"}, "$.period_reward"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_a_bad_program_is_refused_by_the_name_of_the_field(
    venue: Venue, changes: dict[str, Any], problem: str
) -> None:
    reply = await venue.control("POST", "/programs", json=LIQUIDITY | changes)
    assert reply.status == 400
    assert problem in reply.body["problem"]


async def test_credits_are_told_by_account(venue: Venue) -> None:
    await add(venue)
    await venue.order("bid", "0.4000", "100.00")
    await venue.outsider("ask", "0.6000", "100.00")
    venue.clock.advance_us(30_000_000)
    (statement,) = (await venue.control("GET", "/credits?account=outsider")).body["programs"]
    assert statement["credits"] == [
        {"account": "outsider", "raw": "15/1", "is_exact": True, "credit_dollars": "15.000000"}
    ]
    assert (statement["status"], statement["is_paid"]) == ("active", False)


# --- fees -----------------------------------------------------------------------------------------------------------


async def test_an_override_is_listed_then_announced_then_charged(venue: Venue) -> None:
    override = {"event_ticker": EVENT, "fee_type_override": "quadratic_with_maker_fees", "fee_multiplier_override": 0.5}
    at = "2026-11-22T08:50:05Z"
    reply = await venue.control("POST", "/fees/events", json={**override, "scheduled_ts": at})
    assert reply.status == 201
    change = {"id": reply.body["id"], **override, "series_ticker": "KXTEST", "scheduled_ts": at}
    assert reply.body == change
    assert await venue.get("/events/fee_changes") == {"event_fee_changes": [change], "cursor": ""}
    assert (await venue.get("/events/fee_changes?event_ticker=OTHER"))["event_fee_changes"] == []
    async with venue.socket() as socket:
        await socket.subscribe("market_lifecycle_v2")
        await socket.until("subscribed")
        venue.clock.advance_us(5_000_000)
        venue.exchange.step()
        message = await socket.next()
    assert (message["type"], message["msg"], message["seq"]) == ("event_fee_update", override, 1)
    event = (await venue.get(f"/events/{EVENT}"))["event"]
    assert {key: event[key] for key in override} == override
    await venue.order("bid", "0.5000", "1.00")
    await venue.outsider("ask", "0.5000", "1.00")
    (fill,) = (await venue.call("GET", "/portfolio/fills")).body["fills"]
    assert fill["fee_cost"] == "0.002200"  # 0.0175 × 0.5 × 0.25, and the balance is kept to $0.0001


async def test_series_changes_are_listed_until_they_are_history(venue: Venue) -> None:
    body = {"series_ticker": "KXTEST", "fee_type": "quadratic", "fee_multiplier": 2, "scheduled_ts": END}
    change_id = (await venue.control("POST", "/fees/series", json=body)).body["id"]
    assert await venue.get("/series/fee_changes") == {"series_fee_change_arr": [{"id": change_id, **body}]}
    assert await venue.get("/series/fee_changes?series_ticker=OTHER") == {"series_fee_change_arr": []}
    venue.clock.advance_us(60_000_000)
    assert await venue.get("/series/fee_changes") == {"series_fee_change_arr": []}
    past = await venue.get("/series/fee_changes?show_historical=true")
    assert [row["id"] for row in past["series_fee_change_arr"]] == [change_id]
    assert (await venue.get("/series/KXTEST"))["series"]["fee_multiplier"] == 2


@pytest.mark.parametrize(
    ("path", "body", "problem"),
    [
        ("series", {"series_ticker": "NONE", "fee_type": "quadratic", "fee_multiplier": 1}, "series_ticker:"),
        ("series", {"series_ticker": "KXTEST", "fee_type": "flat", "fee_multiplier": 1}, "fee_type: no formula"),
        ("series", {"series_ticker": "KXTEST", "fee_type": "quadratic", "fee_multiplier": 0.00001}, "fee_multiplier:"),
        ("events", {"event_ticker": "NONE", "fee_type_override": None, "fee_multiplier_override": None},
         "event_ticker:"),
        ("events", {"event_ticker": EVENT, "fee_type_override": "quadratic", "fee_multiplier_override": None},
         "expected both"),
    ],
)  # fmt: skip
async def test_bad_fees_are_refused_by_the_name_of_the_field(
    venue: Venue, path: str, body: dict[str, Any], problem: str
) -> None:
    reply = await venue.control("POST", f"/fees/{path}", json={**body, "scheduled_ts": END})
    assert reply.status == 400
    assert problem in reply.body["problem"]


async def test_a_waiver_is_shown_and_takes_the_fee_away(venue: Venue) -> None:
    waiver = {"market_ticker": A, "fee_waiver_expiration_time": END}
    assert (await venue.control("POST", "/fees/waivers", json=waiver)).body == waiver
    assert (await venue.get(f"/markets/{A}"))["market"]["fee_waiver_expiration_time"] == END
    await venue.outsider("ask", "0.5000", "1.00")
    await venue.order("bid", "0.5000", "1.00")
    (fill,) = (await venue.call("GET", "/portfolio/fills")).body["fills"]
    assert fill["fee_cost"] == "0.000000"


async def test_who_comes_through_a_broker_pays_to_the_cent(venue: Venue) -> None:
    member = {"account": "owner", "is_direct_member": False}
    assert (await venue.control("POST", "/fees/members", json=member)).body == member
    await venue.outsider("ask", "0.5000", "1.00")
    await venue.order("bid", "0.5000", "1.00")
    (fill,) = (await venue.call("GET", "/portfolio/fills")).body["fills"]
    assert fill["fee_cost"] == "0.020000"
