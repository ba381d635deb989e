"""Balances, subaccounts, transfers, netting, settlements and the past over REST; the venue's document judges each."""

from __future__ import annotations

import uuid
from typing import Any

import msgspec
import pytest
from exchangeclient import Reply, Venue

TICKER = "KXTEST-26NOV22-A"
OTHER = "KXTEST-26NOV22-B"
PORTFOLIO = "/portfolio"
SHARDS = f"{PORTFOLIO}/intra_exchange_instance_transfer"
SECOND_US = 1_000_000


def set_switches(venue: Venue, **changes: Any) -> None:
    world = venue.exchange.world
    world.switches = msgspec.structs.replace(world.switches, **changes)


def code(reply: Reply) -> tuple[int, str]:
    return reply.status, reply.body["error"]["code"]


async def read(venue: Venue, path: str) -> Any:
    reply = await venue.call("GET", path)
    assert reply.status == 200, reply
    return reply.body


async def transfer(venue: Venue, source: int, destination: int, cents: int, **changes: Any) -> Reply:
    body = {
        "client_transfer_id": str(uuid.uuid4()),
        "from_subaccount": source,
        "to_subaccount": destination,
        "amount_cents": cents,
    }
    return await venue.call("POST", f"{PORTFOLIO}/subaccounts/transfer", json=body | changes)


async def subaccount(venue: Venue) -> int:
    reply = await venue.call("POST", f"{PORTFOLIO}/subaccounts", json={})
    assert reply.status == 201, reply
    number: int = reply.body["subaccount_number"]
    return number


async def long_yes(venue: Venue, count: str = "10.00", price: str = "0.4000", **changes: Any) -> None:
    await venue.outsider("ask", price, count, **{k: v for k, v in changes.items() if k == "ticker"})
    reply = await venue.order("bid", price, count, **changes)
    assert reply.body["fill_count"] == count, reply


async def test_balances_are_cut_to_cents_and_broken_down_by_shard(venue: Venue) -> None:
    await long_yes(venue, "1.00", "0.5200")
    body = await read(venue, f"{PORTFOLIO}/balance")
    assert (body["balance"], body["balance_dollars"], body["portfolio_value"]) == (999_946, "9999.462500", 52)
    assert body["balance_breakdown"] == [
        {"exchange_index": 0, "balance": "6999.462500"},
        {"exchange_index": 2, "balance": "3000.000000"},
    ]
    assert (await read(venue, f"{PORTFOLIO}/balance?exchange_index=2"))["balance"] == 300_000


async def test_subaccounts_are_numbered_in_turn_and_hold_cash_of_their_own(venue: Venue) -> None:
    assert [await subaccount(venue), await subaccount(venue)] == [1, 2]
    assert (await transfer(venue, 0, 1, 50_000)).status == 200
    rows = (await read(venue, f"{PORTFOLIO}/subaccounts/balances"))["subaccount_balances"]
    found = {(row["subaccount_number"], row["exchange_index"]): row["balance"] for row in rows}
    assert found == {(0, 0): "6500.000000", (0, 2): "3000.000000", (1, 0): "500.000000", (2, 0): "0.000000"}
    assert (await read(venue, f"{PORTFOLIO}/balance?subaccount=1"))["balance"] == 50_000
    assert (await venue.call("GET", f"{PORTFOLIO}/balance?subaccount=9")).status == 404


async def test_a_repeated_client_transfer_id_is_a_conflict(venue: Venue) -> None:
    await subaccount(venue)
    name = str(uuid.uuid4())
    assert (await transfer(venue, 0, 1, 100, client_transfer_id=name)).status == 200
    assert code(await transfer(venue, 0, 1, 100, client_transfer_id=name)) == (409, "transfer_already_exists")
    (row,) = (await read(venue, f"{PORTFOLIO}/subaccounts/transfers"))["transfers"]
    assert (row["from_subaccount"], row["to_subaccount"], row["amount_cents"]) == (0, 1, 100)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"amount_cents": 0}, 400),
        ({"amount_cents": -1}, 400),
        ({"amount_cents": "1"}, 400),
        ({"amount_cents": 10**9}, 400),
        ({"to_subaccount": 0}, 400),
        ({"to_subaccount": 7}, 404),
        ({"exchange_index": 9}, 400),
        ({"client_transfer_id": "again"}, 400),
    ],
)
async def test_a_transfer_that_makes_no_sense_is_refused(venue: Venue, changes: dict[str, Any], status: int) -> None:
    await subaccount(venue)
    assert (await transfer(venue, 0, 1, 100, **changes)).status == status
    assert (await read(venue, f"{PORTFOLIO}/subaccounts/transfers"))["transfers"] == []


async def test_cash_moves_between_shards_in_its_time(venue: Venue) -> None:
    body = {
        "source": "event_contract",
        "destination": "event_contract",
        "amount": 1_000_000,
        "source_exchange_shard": 2,
        "destination_exchange_shard": 1,
    }
    reply = await venue.call("POST", SHARDS, json=body)
    transfer_id = reply.body["transfer_id"]
    assert (await read(venue, f"{SHARDS}s/{transfer_id}"))["transfer"]["status"] == "pending"
    venue.clock.advance_us(1 * SECOND_US)
    (row,) = (await read(venue, f"{SHARDS}s"))["transfers"]
    assert (row["transfer_id"], row["status"], row["amount"]) == (transfer_id, "complete", "100.000000")
    assert (await read(venue, f"{PORTFOLIO}/balance?exchange_index=1"))["balance"] == 10_000
    assert (await venue.call("GET", f"{SHARDS}s/unknown")).status == 404
    margined = await venue.call("POST", SHARDS, json=body | {"destination": "margined"})
    assert margined.status == 403


async def test_an_allocation_is_kept_and_acted_on(venue: Venue) -> None:
    path = f"{PORTFOLIO}/target_balance_allocation"
    assert (await read(venue, path)) == {"allocations": [], "resting_margin_reservation": "sum"}
    wanted = {"allocations": [{"exchange_index": 0, "percent": 40}, {"exchange_index": 3, "percent": 60}]}
    assert (await venue.call("POST", path, json=wanted)).status == 200
    assert (await read(venue, path))["allocations"] == wanted["allocations"]
    venue.clock.advance_us(10 * SECOND_US)
    rows = (await read(venue, f"{PORTFOLIO}/balance"))["balance_breakdown"]
    assert {row["exchange_index"]: row["balance"] for row in rows} == {
        0: "4000.000000",
        2: "0.000000",
        3: "6000.000000",
    }
    short = {"allocations": [{"exchange_index": 0, "percent": 40}]}
    assert (await venue.call("POST", path, json=short)).status == 400


async def test_netting_is_a_setting_that_returns_collateral(venue: Venue) -> None:
    path = f"{PORTFOLIO}/subaccounts/netting"
    assert (await read(venue, path))["netting_configs"] == [
        {"subaccount_number": 0, "enabled": False, "exchange_index": 0}
    ]
    for ticker, price in ((TICKER, "0.4000"), (OTHER, "0.3000")):
        await venue.outsider("bid", price, "1.00", ticker=ticker)
        await venue.order("ask", price, "1.00", ticker=ticker)
    before = (await read(venue, f"{PORTFOLIO}/balance"))["balance"]
    assert (await venue.call("PUT", path, json={"subaccount_number": 0, "enabled": True})).status == 200
    assert (await read(venue, f"{PORTFOLIO}/balance"))["balance"] == before + 100
    (event,) = (await read(venue, f"{PORTFOLIO}/positions"))["event_positions"]
    assert event["event_exposure_dollars"] == "0.300000"
    assert await subaccount(venue) == 1
    assert (await read(venue, path))["netting_configs"][1]["enabled"]
    assert (await venue.call("PUT", path, json={"subaccount_number": 5, "enabled": True})).status == 404


async def test_positions_belong_to_a_subaccount_the_primary_by_default(venue: Venue) -> None:
    await subaccount(venue)
    await transfer(venue, 0, 1, 10_000)
    await long_yes(venue, "3.00")
    await long_yes(venue, "2.00", subaccount=1)
    (primary,) = (await read(venue, f"{PORTFOLIO}/positions"))["market_positions"]
    (numbered,) = (await read(venue, f"{PORTFOLIO}/positions?subaccount=1"))["market_positions"]
    assert (primary["position_fp"], numbered["position_fp"]) == ("3.00", "2.00")
    assert (numbered["market_exposure_dollars"], numbered["total_traded_dollars"]) == ("0.800000", "0.800000")


async def test_F7_a_settlement_pays_leaves_a_row_and_moves_the_position_to_settled(venue: Venue) -> None:
    await long_yes(venue)
    before = (await read(venue, f"{PORTFOLIO}/balance"))["balance"]
    async with venue.socket() as socket:
        await socket.subscribe("market_positions")
        await venue.control("POST", f"/markets/{TICKER}/determine", json={"result": "scalar", "value": "0.7000"})
        await venue.control("POST", f"/markets/{TICKER}/settle")
        *_, frame = await socket.until("market_position")
        assert (frame["msg"]["position_fp"], frame["msg"]["position_cost_dollars"]) == ("0.00", "0.000000")
    assert (await read(venue, f"{PORTFOLIO}/balance"))["balance"] == before + 700
    (row,) = (await read(venue, f"{PORTFOLIO}/settlements?ticker={TICKER}"))["settlements"]
    assert (row["market_result"], row["revenue"], row["value"], row["yes_count_fp"]) == ("scalar", 700, 70, "10.00")
    assert (await read(venue, f"{PORTFOLIO}/settlements?ticker={OTHER}"))["settlements"] == []
    assert (await read(venue, f"{PORTFOLIO}/positions"))["market_positions"] == []
    settled = await read(venue, f"{PORTFOLIO}/positions?settlement_status=settled")
    assert [p["realized_pnl_dollars"] for p in settled["market_positions"]] == ["3.000000"]
    market = (await venue.get(f"/markets/{TICKER}"))["market"]
    assert (market["status"], market["result"], market["settlement_value_dollars"]) == (
        "finalized",
        "scalar",
        "0.7000",
    )


async def test_the_past_leaves_the_live_reads_and_comes_out_of_history(venue: Venue) -> None:
    set_switches(venue, live_tier_s=3_600)
    await long_yes(venue)
    await venue.order("bid", "0.1000", "1.00")
    await venue.control("POST", f"/markets/{TICKER}/determine", json={"result": "yes"})
    await venue.control("POST", f"/markets/{TICKER}/settle")

    async def counts(*paths: str) -> list[int]:
        bodies = [await read(venue, path) for path in paths]
        return [len(next(v for k, v in body.items() if k != "cursor")) for body in bodies]

    live = ("/portfolio/fills", "/portfolio/orders", "/portfolio/settlements",
            "/portfolio/positions?settlement_status=settled")  # fmt: skip
    past = ("/historical/fills", "/historical/orders", "/historical/positions")
    assert (await counts(*live), await counts(*past)) == ([1, 2, 1, 1], [0, 0, 0])
    venue.clock.advance_us(3_601 * SECOND_US)
    assert (await counts(*live), await counts(*past)) == ([0, 0, 0, 0], [1, 2, 1])


async def test_C4_reads_trail_the_engine_and_the_user_data_time_says_so(venue: Venue) -> None:
    set_switches(venue, read_lag_ms=2_000)
    venue.exchange.flush()
    venue.clock.advance_us(1 * SECOND_US)
    placed = await venue.order("bid", "0.3000")
    path = f"{PORTFOLIO}/orders/{placed.body['order_id']}"
    assert (await venue.call("GET", path)).status == 404
    stamp = (await venue.get("/exchange/user_data_timestamp"))["as_of_time"]
    assert stamp == "2026-11-22T08:49:59Z"
    venue.clock.advance_us(2 * SECOND_US)
    assert (await read(venue, path))["order"]["status"] == "resting"
    cancelled = await venue.call("DELETE", f"/portfolio/events/orders/{placed.body['order_id']}")
    assert cancelled.status == 200
    assert (await read(venue, path))["order"]["status"] == "resting"
    assert (await read(venue, f"{PORTFOLIO}/orders/queue_positions"))["queue_positions"] == []
    again = await venue.call("DELETE", f"/portfolio/events/orders/{placed.body['order_id']}")
    assert again.status == 404
    venue.clock.advance_us(2 * SECOND_US)
    assert (await read(venue, path))["order"]["status"] == "canceled"


async def test_the_cash_book_on_the_control_port_explains_every_balance(venue: Venue) -> None:
    await subaccount(venue)
    await transfer(venue, 0, 1, 10_000)
    await long_yes(venue, "3.00")
    await long_yes(venue, "2.00", subaccount=1)
    await venue.control("POST", "/accounts/owner/withdraw", json={"amount": "12.345678"})
    await venue.control("POST", f"/markets/{TICKER}/determine", json={"result": "yes"})
    await venue.control("POST", f"/markets/{TICKER}/settle")
    owner = (await venue.control("GET", "/ledger")).body["owner"]
    sums: dict[tuple[int, int], int] = {}
    for entry in owner["cash_book"]:
        where = (entry["exchange_index"], entry["subaccount_number"])
        sums[where] = sums.get(where, 0) + int(entry["amount_dollars"].replace(".", ""))
    shown = {
        (row["exchange_index"], row["subaccount_number"]): int(row["balance"].replace(".", ""))
        for row in owner["subaccount_balances"]
    }
    assert sums == shown
    kinds = {entry["kind"] for entry in owner["cash_book"]}
    assert kinds == {"opening", "transfer", "fill", "fee", "withdrawal", "settlement"}
