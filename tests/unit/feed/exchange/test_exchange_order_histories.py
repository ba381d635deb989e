"""Everything the order desk can be asked, in any order: what must be true of books, contracts, queues and groups.

A client that only listens keeps its own books and orders; they must be the exchange's after every step.
"""

from __future__ import annotations

from typing import Any

import pytest
from exchangeworld import CENT, TAPERED, a_world, an_amendment, an_order, fund
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from feed.exchange.happenings import BookChanged, Happening, Private, Traded
from feed.exchange.trading.accounts import Order
from feed.exchange.trading.groups import WINDOW_US, OrderGroup
from feed.exchange.trading.orders import FOK, GTC, IOC, STP_MAKER, STP_TAKER, Amended, Decrease, Placed, Reduced
from markets.core.units import DOLLAR_CC, Side

PEOPLE = ("a", "b", "c")
TICKERS = (CENT, TAPERED)
PRICES = st.integers(48, 52).map(lambda cents: f"0.{cents}00")
COUNTS = st.integers(1, 900).map(lambda count_cx: f"{count_cx // 100}.{count_cx % 100:02d}")
SECOND_US = 1_000_000
WISHES = st.fixed_dictionaries({
    "who": st.sampled_from(PEOPLE),
    "ticker": st.sampled_from((CENT, CENT, TAPERED)),
    "side": st.sampled_from(["bid", "ask"]),
    "price": PRICES,
    "count": COUNTS,
    "kind": st.sampled_from([GTC, GTC, GTC, IOC, FOK]),
    "own": st.sampled_from([STP_TAKER, STP_MAKER]),
    "post_only": st.sampled_from([False, False, True]),
    "second": st.booleans(),
    "grouped": st.booleans(),
    "expires_s": st.none() | st.integers(1, 40),
})  # fmt: skip
SIDES = {"yes": Side.YES, "no": Side.NO}


class OrderHistories(RuleBasedStateMachine):
    """Two markets, three people (one with two subaccounts), a crowd, and somebody who listens."""

    @initialize(
        are_self=st.booleans(), group_limit=st.sampled_from(["exceeds", "reaches"]),
        post_only_cross=st.sampled_from(["refuse", "cancel"]), tail=st.sampled_from(["seeded", "minute", "none"]),
        collateral=st.sampled_from(["sum", "max", "none"]),
    )  # fmt: skip
    def begin(self, are_self: bool, group_limit: str, post_only_cross: str, tail: str, collateral: str) -> None:
        self.world = a_world(
            subaccounts_are_self=are_self,
            group_limit=group_limit,
            post_only_cross=post_only_cross,
            cancel_all_tail=tail,
            resting_collateral=collateral,
        )
        fund(self.world, "a", 1)
        self.orders: list[Order] = []
        self.queues: dict[tuple[str, Side, int], list[str]] = {}  # brute force: ids in the order of their places
        self.books: dict[str, dict[Side, dict[int, int]]] = {t: {side: {} for side in Side} for t in TICKERS}
        self.messages: dict[str, dict[str, Any]] = {}
        self.groups: dict[str, OrderGroup] = {}
        self.group_fills: dict[str, list[tuple[int, int]]] = {}
        self.traded_cx = dict.fromkeys(TICKERS, 0)
        self.flow: list[tuple[str, str]] = []
        self.get_ready()
        for who in PEOPLE:
            self.open_group_of(who, 1_000)

    def get_ready(self) -> None:
        """Let whoever else listens begin before anything happens."""

    # --- asking -------------------------------------------------------------------------------------------------------

    @rule(wishes=st.lists(WISHES, min_size=1, max_size=8))  # several at a time, else a history holds little trading
    def place(self, wishes: list[dict[str, Any]]) -> None:
        for wish in wishes:
            self.place_one(**wish)

    def place_one(
        self, who: str, side: str, price: str, count: str, kind: str, expires_s: int | None, **wish: Any
    ) -> None:
        mine = [group for group in self.groups.values() if group.account == who]
        expires_us = self.world.now_us + expires_s * SECOND_US if expires_s and kind == GTC else None
        new = an_order(
            side,
            price,
            count,
            ticker=wish["ticker"],
            time_in_force=kind,
            self_trade_prevention=wish["own"],
            post_only=wish["post_only"] and kind == GTC,
            subaccount=int(wish["second"] and who == "a"),
            expires_us=expires_us,
            order_group_id=mine[-1].group_id if mine and wish["grouped"] else "",
        )
        result = self.world.entry.place(self.world.account(who), new)
        if isinstance(result, Placed):
            self.orders.append(result.order)
            if result.order.order_id in self.world.markets[new.ticker].book:
                self.enqueue(result.order)
        self.listen()

    @rule(side=st.sampled_from(Side), ticker=st.sampled_from(TICKERS), price=PRICES, count_cx=st.integers(1, 900))
    def crowd(self, side: Side, ticker: str, price: str, count_cx: int) -> None:
        price_cc = int(price.replace(".", ""))
        own_cc = price_cc if side is Side.YES else DOLLAR_CC - price_cc
        market = self.world.markets[ticker]
        order_id = self.world.entry.place_flow(market, f"crowd-{side.name}", side, own_cc, count_cx, rest=True)
        if order_id is not None:
            self.queues.setdefault((ticker, side, own_cc), []).append(order_id)
            self.flow.append((ticker, order_id))
        self.listen()

    @precondition(lambda self: any(order.status == "resting" for order in self.orders))
    @rule(data=st.data(), price=st.none() | PRICES, count=COUNTS, expires_s=st.none() | st.integers(1, 40))
    def amend(self, data: st.DataObject, price: str | None, count: str, expires_s: int | None) -> None:
        order = self.resting(data)
        before = (order.price_cc, order.remaining_cx)
        expiry = {} if expires_s is None else {"expires_us": self.world.now_us + expires_s * SECOND_US}
        wish = an_amendment(order, price or f"0.{order.yes_price_cc:04d}", count, **expiry)
        result = self.world.entry.amend(self.world.accounts[order.account], order.order_id, wish)
        if isinstance(result, Amended):
            asked_cx = wish.total_cx - (order.fill_cx - sum(fill.count_cx for fill in result.fills))
            moves = order.price_cc != before[0] or asked_cx > before[1]
            if moves:
                self.queues[order.ticker, order.side, before[0]].remove(order.order_id)
                if order.order_id in self.world.markets[order.ticker].book:
                    self.enqueue(order)
        self.listen()

    @precondition(lambda self: any(order.status == "resting" for order in self.orders))
    @rule(data=st.data(), by_cx=st.integers(1, 900))
    def decrease(self, data: st.DataObject, by_cx: int) -> None:
        order = self.resting(data)
        result = self.world.entry.decrease(self.world.accounts[order.account], order.order_id, Decrease(by_cx=by_cx))
        assert isinstance(result, Reduced) or by_cx > order.remaining_cx
        self.listen()

    @precondition(lambda self: any(order.status == "resting" for order in self.orders))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        order = self.resting(data)
        assert isinstance(self.world.entry.cancel_by_id(self.world.accounts[order.account], order.order_id), Reduced)
        self.listen()

    @precondition(lambda self: self.flow)
    @rule(data=st.data())
    def crowd_cancels(self, data: st.DataObject) -> None:
        ticker, order_id = self.flow.pop(data.draw(st.integers(0, len(self.flow) - 1)))
        self.world.entry.cancel_flow(self.world.markets[ticker], order_id)
        self.listen()

    @rule(who=st.sampled_from(PEOPLE), subaccount=st.sampled_from([None, 0]))
    def cancel_all(self, who: str, subaccount: int | None) -> None:
        self.world.entry.cancel_all(self.world.account(who), subaccount=subaccount)
        self.listen()

    @rule(seconds=st.integers(1, 20))
    def time_passes(self, seconds: int) -> None:
        self.world.advance(self.world.now_us + seconds * SECOND_US)
        self.listen()

    @rule(who=st.sampled_from(PEOPLE), limit_cx=st.integers(100, 2_000))
    def open_group(self, who: str, limit_cx: int) -> None:
        self.open_group_of(who, limit_cx)

    def open_group_of(self, who: str, limit_cx: int) -> None:
        group = self.world.entry.groups.create(
            self.world.account(who), limit_cx=limit_cx, subaccount=0, exchange_index=0
        )
        assert isinstance(group, OrderGroup)
        self.groups[group.group_id] = group
        self.listen()

    @precondition(lambda self: self.groups)
    @rule(data=st.data(), deed=st.sampled_from(["reset", "trigger", "limit"]), limit_cx=st.integers(100, 2_000))
    def handle_group(self, data: st.DataObject, deed: str, limit_cx: int) -> None:
        group = self.groups[data.draw(st.sampled_from(sorted(self.groups)))]
        desk = self.world.entry.groups
        if deed == "limit":
            desk.set_limit(group, limit_cx)
        elif deed == "trigger":
            desk.trigger(group)
        else:
            desk.reset(group)
            self.group_fills[group.group_id] = []
        self.listen()

    def resting(self, data: st.DataObject) -> Order:
        return data.draw(st.sampled_from([order for order in self.orders if order.status == "resting"]))

    def enqueue(self, order: Order) -> None:
        self.queues.setdefault((order.ticker, order.side, order.price_cc), []).append(order.order_id)

    # --- listening ----------------------------------------------------------------------------------------------------

    def listen(self) -> None:
        self.hear(self.world.take())

    def hear(self, happenings: list[Happening]) -> None:
        by_id = {order.order_id: order for order in self.orders}
        for happening in happenings:
            match happening:
                case BookChanged():
                    level = self.books[happening.ticker][happening.side]
                    size = level.pop(happening.price_cc, 0) + happening.delta_cx
                    assert size >= 0, "a level fell below nothing"
                    if size:
                        level[happening.price_cc] = size
                case Traded():
                    self.traded_cx[happening.ticker] += happening.count_cx
                case Private(channel="user_orders", body=body):
                    self.messages[body["order_id"]] = body
                case Private(channel="fill", body=body):
                    group_id = by_id[body["order_id"]].order_group_id if body["order_id"] in by_id else ""
                    if group_id:
                        count_cx = int(body["count_fp"].replace(".", ""))
                        self.group_fills.setdefault(group_id, []).append((self.world.now_us, count_cx))

    # --- always -------------------------------------------------------------------------------------------------------

    @invariant()
    def no_book_crosses(self) -> None:
        for market in self.world.markets.values():
            yes, no = market.best_cc(Side.YES), market.best_cc(Side.NO)
            assert not (yes and no) or yes + no < DOLLAR_CC

    @invariant()
    def deltas_replayed_are_the_book(self) -> None:
        for ticker, market in self.world.markets.items():
            assert {side: market.levels(side) for side in Side} == self.books[ticker]

    @invariant()
    def levels_are_the_sum_of_their_orders(self) -> None:
        for market in self.world.markets.values():
            sums: dict[Side, dict[int, int]] = {side: {} for side in Side}
            for order in market.book.orders():
                level = sums[order.side]
                level[order.price_cc] = level.get(order.price_cc, 0) + order.remaining_cx
            assert {side: market.levels(side) for side in Side} == sums

    @invariant()
    def what_buyers_got_sellers_gave(self) -> None:
        for ticker in TICKERS:
            tape = self.world.markets[ticker].tape
            assert tape.volume_cx == self.traded_cx[ticker]
            positions = [p for account in self.world.accounts.values() for p in account.positions.values()]
            crowd = [held for who, held in tape._holdings.items() if who.startswith("crowd")]
            assert sum(p.position_cx for p in positions if p.ticker == ticker) + sum(crowd) == 0

    @invariant()
    def orders_add_up(self) -> None:
        for order in self.orders:
            fills = [f for f in self.world.accounts[order.account].fills if f.order_id == order.order_id]
            assert order.fill_cx == sum(fill.count_cx for fill in fills)
            book = self.world.markets[order.ticker].book
            resting = book.get(order.order_id)
            if order.status != "resting":
                assert (order.remaining_cx, resting) == (0, None)
                assert order.order_id not in self.world.accounts[order.account].open
                continue
            assert resting is not None
            assert (resting.remaining_cx, resting.price_cc) == (order.remaining_cx, order.price_cc)
            assert order.fill_cx + order.remaining_cx <= order.initial_cx
            assert order.order_id in self.world.accounts[order.account].open

    @invariant()
    def the_last_message_is_the_order(self) -> None:
        for order in self.orders:
            body = self.messages[order.order_id]
            assert body["status"] == order.status
            assert int(body["remaining_count_fp"].replace(".", "")) == order.remaining_cx
            assert int(body["fill_count_fp"].replace(".", "")) == order.fill_cx
            assert SIDES[body["outcome_side"]] is order.side

    @invariant()
    def places_in_the_queue_are_those_of_a_plain_list(self) -> None:
        for (ticker, side, price_cc), ids in self.queues.items():
            book = self.world.markets[ticker].book
            ahead_cx = 0
            for order_id in ids:
                order = book.get(order_id)
                if order is None or (order.side, order.price_cc) != (side, price_cc):
                    continue
                assert book.ahead_cx(order_id) == ahead_cx
                ahead_cx += order.remaining_cx

    @invariant()
    def nobody_traded_with_himself(self) -> None:
        are_self = self.world.switches.subaccounts_are_self
        for account in self.world.accounts.values():
            seen: dict[str, int] = {}
            for fill in account.fills:
                assert seen.setdefault(fill.trade_id, fill.subaccount) == fill.subaccount or not are_self
            doubles = len(account.fills) - len({(f.trade_id, f.subaccount) for f in account.fills})
            assert doubles == 0

    @invariant()
    def windows_are_those_of_a_plain_list(self) -> None:
        now_us = self.world.now_us
        for group_id, group in self.groups.items():
            recent = [count for at, count in self.group_fills.get(group_id, ()) if now_us - at < WINDOW_US]
            assert group.rolling_cx(now_us) == sum(recent)
            over = sum(recent) > group.limit_cx or (
                self.world.switches.group_limit == "reaches" and sum(recent) == group.limit_cx
            )
            assert group.is_triggered or not over
            assert not (group.is_triggered and self.world.entry.groups.resting(group))


class TestOrderHistories(OrderHistories.TestCase):
    settings = settings(max_examples=60, stateful_step_count=30)


@pytest.mark.long
@pytest.mark.timeout(1_200)
class TestLongOrderHistories(OrderHistories.TestCase):
    settings = settings(max_examples=400, stateful_step_count=100)
