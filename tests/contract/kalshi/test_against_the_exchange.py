"""The client and the local exchange understand each other to the last field."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
from bodywalk import unknown_in
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from feed.kalshi.errors import AlreadyExists, Conflict, Forbidden, InvalidRequest, NotFound, OrderRejected, Unauthorized
from feed.kalshi.rest import Rest
from feed.kalshi.signing import Signer
from feed.kalshi.wire.orders import AmendOrder, CancelOrder, DecreaseOrder, Placed, PlaceOrder
from kalshimm.errors import OutcomeUnknown
from kalshimm.runtime.clock import ManualClock
from markets.core.units import Side

if TYPE_CHECKING:
    from conftest import Desk

TICKER = "KXTEST-26NOV22-A"
ORDERS = "/portfolio/events/orders"
DAY_US = 86_400_000_000
numbers = itertools.count(1)


def an_order(side: Side = Side.YES, price_cc: int = 4_000, count_cx: int = 1_000, **changes: Any) -> PlaceOrder:
    fields = {
        "ticker": TICKER, "client_order_id": f"mm-{next(numbers)}", "side": side, "count_cx": count_cx,
        "yes_price_cc": price_cc, "exchange_index": 0,
    }  # fmt: skip
    return PlaceOrder(**(fields | changes))


def cancelling(order_id: str) -> CancelOrder:
    return CancelOrder(order_id=order_id, market_ticker=TICKER, exchange_index=0)


async def outsider(desk: Desk, side: str, price: str, count: str) -> None:
    body = {
        "ticker": TICKER, "side": side, "price": price, "count": count, "time_in_force": "good_till_canceled",
        "self_trade_prevention_type": "taker_at_cross",
    }  # fmt: skip
    await desk.control("POST", "/orders", body)


async def test_everything_public_is_read(busy_desk: Desk) -> None:
    rest = busy_desk.rest
    found: list[Any] = [
        await rest.exchange.status(),
        await rest.exchange.schedule(),
        await rest.exchange.user_data_timestamp(),
        series := (await rest.catalogue.all_series()).items,
        await rest.catalogue.series(series[0].ticker),
        events := (await rest.catalogue.events(status="open", with_nested_markets=True).all()).items,
        await rest.catalogue.event(events[0].event_ticker),
        await rest.catalogue.series_fee_changes(show_historical=True),
        await rest.catalogue.event_fee_changes().all(),
        programs := (await rest.catalogue.incentive_programs().all()).items,
        markets := (await rest.markets.markets(status="open").all()).items,
        market := await rest.markets.market(markets[0].ticker),
        await rest.markets.book(market.ticker),
        books := await rest.markets.books([each.ticker for each in markets[:5]]),
        await rest.markets.trades().all(),
        await rest.account.endpoint_costs(),
    ]
    assert unknown_in(found) == set()
    assert len(events) >= 5
    assert len(markets) >= 20
    assert len(programs) >= 11
    assert all(program.target_size_cx for program in programs)
    assert all(event.markets for event in events)
    assert all(series.fee_multiplier is not None for series in series)
    assert books.keys() == {each.ticker for each in markets[:5]}
    assert any(book.yes and book.no for book in books.values())
    named = await rest.markets.named([market.ticker, "KXNOBODY-1"])
    assert [each.ticker for each in named] == [market.ticker]


async def test_candles_milestones_and_the_past_of_markets_are_read(busy_desk: Desk) -> None:
    busy_desk.clock.advance_us(120_000_000)
    rest, now_us = busy_desk.rest, busy_desk.clock.wall_us()
    trade = (await rest.markets.trades().all()).items[0]
    market = await rest.markets.market(trade.ticker)
    event = await rest.catalogue.event(market.event_ticker)
    span = {"start_us": now_us - 3 * 3_600_000_000, "end_us": now_us, "minutes": 1}
    candles = await rest.markets.candles(event.series_ticker, market.ticker, **span)
    many = await rest.markets.candles_of([market.ticker], **span)
    found = [
        await rest.history.cutoff(),
        milestones := (await rest.catalogue.milestones().all()).items,
        await rest.catalogue.milestone(milestones[0].id),
        await rest.catalogue.structured_targets().all(),
        await rest.catalogue.multivariate_events().all(),
        await rest.catalogue.event_metadata(event.event_ticker),
        await rest.history.markets().all(),
        await rest.history.trades().all(),
    ]
    assert many[market.ticker] == candles
    assert sum(candle.volume_cx or 0 for candle in candles) >= trade.count_cx
    assert unknown_in([candles, many, found]) == set()
    with pytest.raises(NotFound):
        await rest.catalogue.structured_target("nobody")


async def test_pages_of_the_exchange_follow_each_other(busy_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = (await busy_desk.rest.catalogue.events(status="open").all()).items
    monkeypatch.setattr("feed.kalshi.endpoints.catalogue.EVENTS_PAGE", 3)
    paged = [event async for event in busy_desk.rest.catalogue.events(status="open")]
    assert [event.event_ticker for event in paged] == [event.event_ticker for event in whole]
    assert len(paged) > 3


async def test_an_order_from_its_placing_to_its_end(desk: Desk) -> None:
    rest, wish = desk.rest, an_order(post_only=True, cancel_order_on_pause=True, expiration_s=1_795_339_000)
    placed = await rest.orders.place(wish)
    assert (placed.client_order_id, placed.fill_count_cx, placed.remaining_count_cx) == (wish.client_order_id, 0, 1_000)
    order = await rest.portfolio.order(placed.order_id)
    assert (order.status, order.outcome_side, order.yes_price_cc) == ("resting", Side.YES, 4_000)
    assert (order.initial_count_cx, order.expiration_us) == (1_000, 1_795_339_000_000_000)
    resting = (await rest.portfolio.orders(status="resting").all()).items
    assert [each.order_id for each in resting] == [placed.order_id]
    queue = await rest.portfolio.queue_positions(market_tickers=[TICKER])
    assert [(each.order_id, each.ahead_cx) for each in queue.items] == [(placed.order_id, 0)]
    assert await rest.portfolio.queue_position_cx(placed.order_id) == 0
    worth = await rest.portfolio.resting_value()
    assert (worth.total_ud, [(s.exchange_index, s.balance_ud) for s in worth.by_shard]) == (4_000_000, [(0, 4_000_000)])

    smaller = DecreaseOrder(reduce_by_cx=250, market_ticker=TICKER, exchange_index=0)
    decreased = await rest.orders.decrease(placed.order_id, smaller)
    assert decreased.remaining_count_cx == 750
    change = AmendOrder(ticker=TICKER, side=Side.YES, yes_price_cc=4_100, count_cx=900, exchange_index=0)
    amended = await rest.orders.amend(placed.order_id, change)
    assert amended.remaining_count_cx == 900
    cancelled = await rest.orders.cancel(cancelling(placed.order_id))
    assert (cancelled.order_id, cancelled.reduced_by_cx) == (placed.order_id, 900)
    ended = await rest.portfolio.order(placed.order_id)
    assert (ended.status, ended.remaining_count_cx) == ("canceled", 0)
    assert unknown_in([placed, order, resting, queue, worth, decreased, amended, cancelled, ended]) == set()
    with pytest.raises(NotFound):
        await rest.orders.cancel(cancelling(placed.order_id))


async def test_C3_C14_refusals_have_their_types(desk: Desk) -> None:
    rest, first = desk.rest, an_order()
    await rest.orders.place(first)
    await outsider(desk, "ask", "0.5000", "5.00")
    with pytest.raises(AlreadyExists):
        await rest.orders.place(first)
    with pytest.raises(OrderRejected) as off_grid:
        await rest.orders.place(an_order(price_cc=4_050))
    assert off_grid.value.code == "invalid_price"
    with pytest.raises(OrderRejected, match="post only cross"):
        await rest.orders.place(an_order(price_cc=5_000, post_only=True))
    with pytest.raises(OrderRejected) as poor:
        await rest.orders.place(an_order(count_cx=100_000_000_000))
    assert poor.value.code == "insufficient_balance"
    with pytest.raises(NotFound):
        await rest.markets.market("KXNOBODY-1")
    with pytest.raises(InvalidRequest):
        await rest.markets.book(TICKER, depth=101)


async def test_a_fill_moves_position_and_balance_by_what_it_says(desk: Desk) -> None:
    rest = desk.rest
    before = await rest.portfolio.balance()
    await outsider(desk, "ask", "0.5200", "3.00")
    placed = await rest.orders.place(an_order(price_cc=9_900, count_cx=300, time_in_force="immediate_or_cancel"))
    assert (placed.fill_count_cx, placed.average_fill_price_ud) == (300, 520_000)
    (fill,) = (await rest.portfolio.fills(order_id=placed.order_id).all()).items
    assert (fill.yes_price_cc, fill.count_cx, fill.is_taker, fill.outcome_side) == (5_200, 300, True, Side.YES)
    (position,) = (await rest.portfolio.positions().all()).items
    assert (position.ticker, position.position_cx, position.fees_paid_ud) == (TICKER, 300, fill.fee_ud)
    (event,) = (await rest.portfolio.event_positions().all()).items
    after = await rest.portfolio.balance()
    assert before.balance_ud - after.balance_ud == 5_200 * 300 + fill.fee_ud
    assert sum(shard.balance_ud for shard in after.by_shard) == after.balance_ud
    trades = (await rest.markets.trades(ticker=TICKER).all()).items
    assert [trade.trade_id for trade in trades] == [fill.trade_id]
    settlements = (await rest.portfolio.settlements().all()).items
    assert unknown_in([before, placed, fill, position, event, after, settlements]) == set()
    assert unknown_in(trades) <= {"taker_side"}


async def test_what_is_old_is_read_from_history(desk: Desk) -> None:
    rest = desk.rest
    await outsider(desk, "ask", "0.5200", "3.00")
    bought = await rest.orders.place(an_order(price_cc=5_200, count_cx=300))
    desk.clock.advance_us(15 * DAY_US)
    fills, orders, positions = (
        (await rest.history.fills().all()).items,
        (await rest.history.orders().all()).items,
        (await rest.history.positions().all()).items,
    )
    assert [fill.order_id for fill in fills] == [order.order_id for order in orders] == [bought.order_id]
    assert unknown_in([fills, orders, positions]) == set()


async def test_a_market_that_left_the_live_reads_is_found_in_history(desk: Desk) -> None:
    rest, began_us = desk.rest, desk.clock.wall_us()
    await outsider(desk, "ask", "0.5200", "3.00")
    await rest.orders.place(an_order(price_cc=5_200, count_cx=300))
    await desk.control("POST", f"/markets/{TICKER}/close")
    desk.clock.advance_us(4_000_000_000)
    desk.exchange.step().delist("KXTEST-26NOV22")
    market = await rest.history.market(TICKER)
    candles = await rest.history.candles(TICKER, start_us=began_us, end_us=began_us + 60_000_000, minutes=1)
    assert (market.ticker, market.result) == (TICKER, "yes")
    assert candles[0].volume_cx == 300
    assert unknown_in([market, candles]) == set()


async def test_each_order_of_a_batch_is_answered(desk: Desk) -> None:
    wishes = [an_order(), an_order(price_cc=4_050), an_order(side=Side.NO, price_cc=6_000)]
    first, off_grid, third = await desk.rest.orders.place_all(wishes)
    assert isinstance(first, Placed)
    assert isinstance(third, Placed)
    assert isinstance(off_grid, OrderRejected)
    gone = await desk.rest.orders.cancel_many([cancelling(first.order_id), cancelling("nobody-1")])
    assert unknown_in(gone[0]) == set()
    assert isinstance(gone[1], NotFound)
    await desk.rest.orders.cancel_all()
    assert (await desk.rest.portfolio.orders(status="resting").all()).items == ()


async def test_an_order_group_from_its_creation_to_its_end(desk: Desk) -> None:
    rest = desk.rest
    created = await rest.groups.create(1_000, exchange_index=0)
    placed = await rest.orders.place(an_order(order_group_id=created.order_group_id))
    group = await rest.groups.group(created.order_group_id)
    assert (group.order_ids, group.contracts_limit_cx) == ((placed.order_id,), 1_000)
    await rest.groups.set_limit(created.order_group_id, 2_000, exchange_index=0)
    listed = await rest.groups.groups()
    assert [(each.id, each.contracts_limit_cx) for each in listed.items] == [(created.order_group_id, 2_000)]
    await rest.groups.trigger(created.order_group_id, exchange_index=0)
    assert (await rest.portfolio.order(placed.order_id)).status == "canceled"
    with pytest.raises((OrderRejected, InvalidRequest, Conflict)):
        await rest.orders.place(an_order(order_group_id=created.order_group_id))
    await rest.groups.reset(created.order_group_id, exchange_index=0)
    await rest.orders.place(an_order(order_group_id=created.order_group_id))
    await rest.groups.delete(created.order_group_id, exchange_index=0)
    assert (await rest.groups.groups()).items == ()
    assert unknown_in([created, group, listed]) == set()
    with pytest.raises(NotFound):
        await rest.groups.group(created.order_group_id)


async def test_money_moves_between_subaccounts_and_shards(desk: Desk) -> None:
    funds = desk.rest.funds
    number = await funds.create_subaccount()
    await funds.transfer_between_subaccounts(
        5_000_000, from_subaccount=0, to_subaccount=number, client_transfer_id=UUID, exchange_index=0
    )
    with pytest.raises(Conflict):
        await funds.transfer_between_subaccounts(
            5_000_000, from_subaccount=0, to_subaccount=number, client_transfer_id=UUID, exchange_index=0
        )
    balances = await funds.subaccount_balances()
    held = {(each.subaccount, each.exchange_index): each.balance_ud for each in balances.items}
    assert held[number, 0] == 5_000_000
    moved = (await funds.subaccount_transfers().all()).items
    assert [(each.to_subaccount, each.amount_ud) for each in moved] == [(number, 5_000_000)]
    before = {each.exchange_index: each.balance_ud for each in (await desk.rest.portfolio.balance()).by_shard}
    started = await funds.transfer_between_shards(1_000_000, from_shard=0, to_shard=2, client_transfer_id=UUID)
    assert (await funds.transfer(started)).status == "pending"
    desk.clock.advance_us(10_000_000)
    transfer = await funds.transfer(started)
    after = {each.exchange_index: each.balance_ud for each in (await desk.rest.portfolio.balance()).by_shard}
    assert (transfer.status, transfer.amount_ud, transfer.destination_shard) == ("complete", 1_000_000, 2)
    assert after[2] - before.get(2, 0) == 1_000_000
    await funds.set_netting(0, enabled=True)
    netting = await funds.netting()
    assert {each.subaccount: each.enabled for each in netting.items}[0]
    await funds.set_allocation({0: 60, 2: 40}, resting_margin_reservation="max")
    allocation = await funds.allocation()
    assert {each.exchange_index: each.percent for each in allocation.shares} == {0: 60, 2: 40}
    assert unknown_in([balances, moved, transfer, netting, allocation, await funds.transfers().all()]) == set()


UUID = "0b54c7f6-6f35-4d3c-9d6e-6a6d9d9f2c11"


async def test_keys_and_limits_are_read_and_changed(desk: Desk) -> None:
    account = desk.rest.account
    limits = await account.limits()
    assert limits.write.refill_rate == 9_600
    private = Ed25519PrivateKey.generate()
    pem = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )  # fmt: skip
    registered = await account.register_key("reader", pem.decode(), scopes=["read"])
    generated = await account.generate_key("maker")
    keys = await account.keys()
    assert {registered.api_key_id, generated.api_key_id} <= {key.api_key_id for key in keys.api_keys}
    assert unknown_in([limits, registered, generated, keys]) == set()
    async with Rest(desk.environment, Signer("local", registered.api_key_id, private), desk.clock) as reader:
        assert (await reader.portfolio.balance()).balance_ud > 0
        with pytest.raises(Forbidden):
            await reader.orders.place(an_order())
    await account.delete_key(registered.api_key_id)
    async with Rest(desk.environment, Signer("local", registered.api_key_id, private), desk.clock) as reader:
        with pytest.raises(Unauthorized):
            await reader.portfolio.balance()


async def test_E1_a_wrong_clock_is_refused_and_known(desk: Desk) -> None:
    late = ManualClock(desk.clock.wall_us() - 60_000_000)
    async with Rest(desk.environment, desk.signer, late) as rest:
        assert rest.clock_offset() is None
        with pytest.raises(Unauthorized) as refused:
            await rest.portfolio.balance()
        offset = rest.clock_offset()
    assert refused.value.code == "header_timestamp_expired"
    assert offset is not None
    assert offset.high_us > offset.low_us


@pytest.mark.parametrize(
    "fault",
    [
        {"do": "apply_then_drop"},
        {"do": "apply_then_answer", "status": 408, "text": "{}"},
        {"do": "apply_then_answer", "status": 500, "text": "{}"},
        {"do": "apply_then_answer", "status": 502, "text": "<html>"},
        {"do": "apply_then_answer", "status": 503, "text": "{}"},
        {"do": "apply_then_answer", "status": 504, "text": ""},
        {"do": "apply_then_answer", "status": 201, "text": '{"order_id":"'},
    ],
)
async def test_C1_an_order_whose_answer_was_lost_is_unknown_and_rests_once(desk: Desk, fault: dict[str, Any]) -> None:
    await desk.control("POST", "/faults", [{**fault, "method": "POST", "path": ORDERS}])
    wish = an_order()
    with pytest.raises(OutcomeUnknown) as unknown:
        await desk.rest.orders.place(wish)
    assert unknown.value.client_order_id == wish.client_order_id
    assert len((await desk.control("GET", "/faults/applied"))["applied"]) == 1
    found = (await desk.rest.portfolio.orders(status="resting").all()).items
    assert [order.client_order_id for order in found] == [wish.client_order_id]


async def test_C13_a_cancel_whose_answer_was_lost_is_unknown_and_done(desk: Desk) -> None:
    placed = await desk.rest.orders.place(an_order())
    await desk.control("POST", "/faults", [{"do": "apply_then_drop", "method": "DELETE"}])
    with pytest.raises(OutcomeUnknown, match="cancel order"):
        await desk.rest.orders.cancel(cancelling(placed.order_id))
    assert (await desk.rest.portfolio.order(placed.order_id)).status == "canceled"


async def test_C2_an_order_that_was_dropped_is_as_unknown(desk: Desk) -> None:
    await desk.control("POST", "/faults", [{"do": "drop", "method": "POST", "path": ORDERS}])
    with pytest.raises(OutcomeUnknown):
        await desk.rest.orders.place(an_order())
    assert (await desk.rest.portfolio.orders().all()).items == ()
