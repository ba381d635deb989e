"""The account's stream and the traders' journals in the tables that they share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import redis

from feed import schema
from feed.sinks.account import AccountSink
from feed.sinks.journal import JournalSink
from tests.integration.feed.writerbench import BEFORE, Bench, a_line, an_order

STREAM = schema.account_stream("local")
KNOWN = schema.AccountHealth("live", "", BEFORE, BEFORE)


@pytest.fixture
async def bench(redis_client: redis.Redis, redis_url: str, database_url: str) -> AsyncIterator[Bench]:
    bench = Bench(redis_url, database_url)
    yield bench
    await bench.client.aclose()


def told(order_id: str = "o-1", **changes: Any) -> schema.AccountOrder:
    order = schema.AccountOrder(
        order_id=order_id, client_order_id="c-1", ticker="M-1", side=1, yes_price_cc=4_300, initial_cx=1_000,
        filled_cx=0, remaining_cx=1_000, status="resting", reason="", group_id="g-1", exchange_index=0, subaccount=0,
        expires_us=None, time_us=BEFORE, is_external=False, is_complete=False,
    )  # fmt: skip
    return msgspec.structs.replace(order, **changes)


def a_fill(**changes: Any) -> schema.AccountFill:
    fill = schema.AccountFill(
        order_id="o-1", trade_id="t-1", client_order_id="", ticker="M-1", side=1, yes_price_cc=4_300, count_cx=400,
        is_taker=False, fee_ud=None, exchange_index=None, subaccount=0, time_us=BEFORE, is_external=None,
    )  # fmt: skip
    return msgspec.structs.replace(fill, **changes)


class Desk:
    """Puts entries on the account's stream, as the desk does, and has them stored."""

    def __init__(self, bench: Bench, client: redis.Redis) -> None:
        self.bench, self._client = bench, client

    async def tells(self, *updates: schema.AccountUpdate, is_whole: bool = False) -> None:
        entry = schema.AccountEntry(schema.VERSION, "local", BEFORE, is_whole, list(updates))
        self._client.xadd(STREAM, {schema.FIELD: schema.encode(entry)})
        await self.bench.drain(AccountSink(STREAM))

    async def order(self) -> tuple[Any, ...]:
        (row,) = await self.bench.rows(
            "SELECT trader_id, status, filled_cx, remaining_cx, price_cc, is_complete FROM traders_order"
        )
        return row


@pytest.fixture
def desk(bench: Bench, redis_client: redis.Redis) -> Desk:
    return Desk(bench, redis_client)


async def note(bench: Bench, client: redis.Redis, *bodies: schema.JournalBody, first: int = 1) -> None:
    for number, body in enumerate(bodies, first):
        client.xadd(schema.JOURNAL, {schema.FIELD: a_line(number, body, account="local", mode="live")})
    await bench.drain(JournalSink())


@pytest.mark.parametrize("account_first", [True, False])
async def test_journal_and_account_meet_in_one_order_and_one_fill_in_any_order(
    bench: Bench, desk: Desk, redis_client: redis.Redis, account_first: bool
) -> None:
    mine = schema.FillState("c-1", "o-1", "t-1", 1, 5_700, 400, False, None, -400, False)
    steps = [
        lambda: desk.tells(told(filled_cx=400, remaining_cx=600, time_us=BEFORE + 9_000), a_fill(fee_ud=70)),
        lambda: note(bench, redis_client, an_order(0, "resting", side=1, price_cc=5_700), mine),
    ]
    for step in steps if account_first else reversed(steps):
        await step()
    assert await desk.order() == (3, "resting", 400, 600, 5_700, False)
    fills = "SELECT trader_id, client_order_id, price_cc, count_cx, fee_ud, position_cx, mode FROM traders_fill"
    assert await bench.rows(fills) == [(3, "c-1", 5_700, 400, 70, -400, "live")]


@pytest.mark.parametrize("account_first", [True, False])
async def test_E2_a_fill_has_the_venues_time_whatever_clock_its_trader_has(
    bench: Bench, desk: Desk, redis_client: redis.Redis, account_first: bool
) -> None:
    mine = schema.FillState("c-1", "o-1", "t-1", 1, 5_700, 400, False, None, -400, False)
    steps = [
        lambda: desk.tells(a_fill(time_us=BEFORE - 3_600_000_000)),
        lambda: note(bench, redis_client, mine),
    ]
    for step in steps if account_first else reversed(steps):
        await step()
    ((time_us,),) = await bench.rows("SELECT extract(epoch FROM time) * 1000000 FROM traders_fill")
    assert time_us == BEFORE - 3_600_000_000


async def test_the_venues_word_stays_whatever_the_journal_says_later(
    bench: Bench, desk: Desk, redis_client: redis.Redis
) -> None:
    await desk.tells(told(status="executed", filled_cx=1_000, remaining_cx=0, is_complete=True))
    await note(bench, redis_client, an_order(0, "resting", side=1))
    assert await desk.order() == (3, "executed", 1_000, 0, 5_700, True)


async def test_an_older_word_of_the_venue_never_wins_and_a_complete_order_never_rests_again(desk: Desk) -> None:
    await desk.tells(told(filled_cx=400, remaining_cx=600, time_us=BEFORE + 9_000))
    await desk.tells(told(time_us=BEFORE + 1_000))  # a poll that was late
    assert (await desk.order())[2] == 400
    done = told(filled_cx=400, remaining_cx=0, status="canceled", is_complete=True, time_us=BEFORE)
    await desk.tells(done)  # a read that knows seconds only
    assert (await desk.order())[1] == "canceled"
    await desk.tells(told(filled_cx=400, remaining_cx=600, time_us=BEFORE + 9_900))
    assert (await desk.order())[1] == "canceled"


async def test_the_last_of_two_words_in_one_entry_stays(desk: Desk) -> None:
    await desk.tells(told(), told(filled_cx=1_000, remaining_cx=0, status="executed"))
    assert (await desk.order())[1:3] == ("executed", 1_000)


async def test_C18_a_persons_orders_without_a_client_id_are_told_apart_by_their_order_id(
    bench: Bench, desk: Desk
) -> None:
    theirs = {"client_order_id": "", "is_external": True}
    await desk.tells(told("o-7", **theirs), told("o-8", **theirs), told("o-7", status="canceled", **theirs))
    found = await bench.rows("SELECT order_id, status, is_external, trader_id FROM traders_order ORDER BY order_id")
    assert found == [("o-7", "canceled", True, None), ("o-8", "resting", True, None)]


async def test_what_a_whole_entry_leaves_out_is_over(bench: Bench, desk: Desk) -> None:
    position = schema.AccountPosition("M-1", 0, 700, 5, None, None, True)
    group = schema.AccountGroup("g-1", "listed", 100, False, 0)
    await desk.tells(told(), position, msgspec.structs.replace(position, ticker="M-2"), group, KNOWN)
    await desk.tells(position, KNOWN, is_whole=True)
    assert (await desk.order())[1:] == ("gone", 0, 0, 5_700, True)
    positions = "SELECT ticker, position_cx, cost_ud FROM feed_position ORDER BY ticker"
    assert await bench.rows(positions) == [("M-1", 700, 5), ("M-2", 0, 0)]
    assert await bench.rows("SELECT event FROM feed_ordergroup") == [("deleted",)]
    await desk.tells(told(), KNOWN)  # the desk had only not yet read it
    assert (await desk.order())[1] == "resting"


async def test_an_order_that_a_whole_entry_lists_is_not_over_though_its_time_is_older_than_the_channels(
    desk: Desk,
) -> None:
    await desk.tells(told(time_us=BEFORE + 9_000), KNOWN)  # a message without the order's own time: when it was sent
    await desk.tells(told(time_us=BEFORE + 1_000), KNOWN, is_whole=True)  # as a desk begun anew reads it
    assert (await desk.order())[1:] == ("resting", 0, 1_000, 5_700, False)


async def test_queue_places_and_balances_are_replaced_by_each_list(bench: Bench, desk: Desk) -> None:
    await desk.tells(
        schema.AccountQueue([("o-1", 500), ("o-2", 0)], BEFORE), schema.AccountBalance(9, [(0, 4), (1, 5)])
    )
    await desk.tells(schema.AccountQueue([("o-2", 100)], BEFORE), schema.AccountBalance(7, [(0, 7)]))
    assert await bench.rows("SELECT order_id, ahead_cx FROM feed_queueposition") == [("o-2", 100)]
    balances = "SELECT subaccount, exchange_index, balance_ud FROM feed_accountbalance ORDER BY 1, 2"
    assert await bench.rows(balances) == [(0, -1, 7), (0, 0, 7)]
    await desk.tells(schema.AccountBalance(7, [(0, 7)], [(3, 0, 2), (3, 1, 4)]))
    assert await bench.rows(balances) == [(0, -1, 7), (0, 0, 7), (3, 0, 2), (3, 1, 4)]


async def test_settlements_differences_and_health_are_kept_once(bench: Bench, desk: Desk) -> None:
    settled = schema.AccountSettlement("M-1", "yes", 700, 5, 0, 0, 7_000_000, 0, 10_000, BEFORE)
    difference = schema.AccountDifference("order", "o-1", "not told", BEFORE)
    for _ in range(2):
        await desk.tells(settled, difference, KNOWN)
    assert await bench.rows("SELECT result, revenue_ud, value_cc FROM feed_settlement") == [("yes", 7_000_000, 10_000)]
    assert await bench.count("feed_accountdifference") == 1
    assert await bench.rows("SELECT account, state FROM feed_accountstate") == [("local", "live")]


async def test_others_read_the_accounts_stream_so_it_is_not_trimmed_and_not_stored_twice(
    bench: Bench, desk: Desk, redis_client: redis.Redis
) -> None:
    await desk.tells(a_fill())
    await desk.tells(KNOWN)
    assert redis_client.xlen(STREAM) == 2
    writer = await bench.drain(AccountSink(STREAM))
    assert not writer.stored
    assert await bench.count("feed_feedgap") == 0


async def test_a_fill_whose_time_nobody_tells_keeps_that_at_which_it_was_first_told(bench: Bench, desk: Desk) -> None:
    await desk.tells(a_fill(time_us=BEFORE))
    await desk.tells(a_fill(time_us=0))
    ((time_us,),) = await bench.rows("SELECT extract(epoch FROM time) * 1000000 FROM traders_fill")
    assert time_us == BEFORE
