"""Order entry: what happens to an order from the moment its request is understood.

check → match → print → fill, fee, position, cash → tell. Refusals are values with the venue's status and body.

    orders    what is asked and answered        checks   why a request is refused
    register  which orders there are            fills    what a match brings about
    groups    guards that cancel their orders   sweeps   cancel-all and the minute after it
    telling   what the outside hears of it
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from feed.exchange.trading import orders
from feed.exchange.trading.accounts import CANCELED, RESTING, Account, Fill, Order
from feed.exchange.trading.checks import Checks
from feed.exchange.trading.fills import Fills
from feed.exchange.trading.groups import OrderGroups
from feed.exchange.trading.orders import (
    GTC,
    STP_MAKER,
    Amended,
    Amendment,
    Decrease,
    NewOrder,
    Placed,
    Reduced,
    Refusal,
    Route,
)
from feed.exchange.trading.register import Register
from feed.exchange.trading.sweeps import Sweeps
from feed.exchange.trading.telling import Teller
from markets.core.matching import Outcome, RestingOrder, WouldCrossSelf
from markets.core.units import Side, yes_price_cc

if TYPE_CHECKING:
    from feed.exchange.market import Market
    from feed.exchange.world import World


class OrderEntry:
    """The order desk of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._tell = Teller(world)
        self._register = Register(world)
        self._checks = Checks(world, self._register)
        self.groups = OrderGroups(world, self._tell, self._cancel_if_open)
        self._fills = Fills(world, self._tell, self._register, self.groups, self._end)
        self._sweeps = Sweeps(world, self._cancel_if_open)

    # --- create ---------------------------------------------------------------------------------------------------

    def place(self, account: Account, request: NewOrder) -> Placed | Refusal:
        """Check and execute a create of an account."""
        market = self._world.markets.get(request.ticker)
        if market is None or request.exchange_index not in (orders.AUTO_ROUTE, market.terms.exchange_index):
            return orders.NOT_FOUND
        order = self._new_order(account, market, request)
        refusal = (
            self._checks.of_terms(account, market, request)
            or self._group_refusal(account, order)
            or market.refusal(cancelling=False)
            or self._checks.of_market(account, market, request, order)
        )
        if refusal:
            return refusal
        self._register.enter(account, order)
        if not order.remaining_cx:
            self._end(account, order, orders.REDUCE_ONLY_CANCEL)
            return Placed(order, ())
        if request.post_only and market.would_cross(order.side, order.price_cc):
            self._end(account, order, orders.POST_ONLY_CROSS_CANCEL)
            return Placed(order, ())
        return Placed(order, self._execute(account, market, order))

    def _new_order(self, account: Account, market: Market, request: NewOrder) -> Order:
        now = self._world.now_us
        return Order(
            order_id=self._world.new_id(),
            client_order_id=request.client_order_id,
            account=account.name,
            ticker=market.ticker,
            exchange_index=market.terms.exchange_index,
            side=request.side,
            price_cc=yes_price_cc(request.side, request.yes_price_cc),
            initial_cx=request.count_cx,
            remaining_cx=self._allowed_cx(account, market, request),
            time_in_force=request.time_in_force,
            self_trade_prevention=request.self_trade_prevention,
            created_us=now,
            updated_us=now,
            subaccount=request.subaccount,
            expires_us=request.expires_us,
            order_group_id=request.order_group_id,
            cancel_on_pause=request.cancel_on_pause,
        )

    def _allowed_cx(self, account: Account, market: Market, request: NewOrder) -> int:
        if not request.reduce_only:
            return request.count_cx
        held = account.held_cx(market.ticker, request.subaccount)
        return min(request.count_cx, max(0, -held if request.side is Side.YES else held))

    def _group_refusal(self, account: Account, order: Order) -> Refusal | None:
        if not order.order_group_id:
            return None
        return self.groups.refusal(
            account, order.order_group_id, subaccount=order.subaccount, exchange_index=order.exchange_index
        )

    def _execute(self, account: Account, market: Market, order: Order) -> tuple[Fill, ...]:
        seen = len(account.fills)
        self._world.clearing.drop_unfunded(market, order.side, order.price_cc, order.remaining_cx)
        incoming = RestingOrder(order.order_id, self._self_name(order), order.side, order.price_cc, order.remaining_cx)
        outcome = market.place(
            incoming, rest=order.time_in_force == GTC, withdraw_own=order.self_trade_prevention == STP_MAKER
        )
        self._fills.settle(market, incoming.owner, order.side, outcome, cause=order)
        if outcome.resting_cx:
            account.open[order.order_id] = order
            self._tell.order(account, order)
            self._schedule_expiry(account, order)
        elif order.status == RESTING:
            self._end(account, order, orders.SELF_TRADE_CANCEL if outcome.self_trade_cx else "")
        self._matched()
        return tuple(account.fills[seen:])

    def _matched(self) -> None:
        """Do what a match that is carried out brings about in its turn."""
        self._world.clearing.enforce()
        self.groups.trigger_due()

    def _self_name(self, order: Order) -> str:
        """Return whom an order never trades with."""
        if self._world.switches.subaccounts_are_self:
            return order.account
        return f"{order.account}/{order.subaccount}"

    # --- change ---------------------------------------------------------------------------------------------------

    def amend(
        self, account: Account, order_id: str, request: Amendment, route: Route | None = None
    ) -> Amended | Refusal:
        """Give a resting order another price, total, expiry or client id; all of it, or nothing and a refusal."""
        found = self._find(account, order_id, route, cancelling=False)
        if isinstance(found, Refusal):
            return found
        order, market = found
        refusal = self._checks.of_amend(account, market, order, request)
        if refusal:
            return refusal
        remaining_cx = request.total_cx - order.fill_cx
        is_resized = remaining_cx != order.remaining_cx
        price_cc = yes_price_cc(order.side, request.yes_price_cc)
        if not remaining_cx:
            self._rewrite(account, order, request)
            self.cancel(account, order, reason=orders.AMEND)
            return Amended(order, (), is_resized=True)
        if market.would_cross(order.side, price_cc):
            self._world.clearing.drop_unfunded(market, order.side, price_cc, remaining_cx)
        try:
            outcome = market.amend(order.order_id, price_cc=price_cc, remaining_cx=remaining_cx)
        except WouldCrossSelf:
            return orders.SELF_CROSS
        self._rewrite(account, order, request)
        order.price_cc, order.remaining_cx = price_cc, remaining_cx
        self._touch(account, order, orders.AMEND)
        seen = len(account.fills)
        self._fills.settle(market, order.account, order.side, outcome, cause=order)
        self._matched()
        return Amended(order, tuple(account.fills[seen:]), is_resized=is_resized)

    def _rewrite(self, account: Account, order: Order, request: Amendment) -> None:
        order.initial_cx = request.total_cx
        if request.updated_client_order_id not in ("", order.client_order_id):
            self._register.rename(account, order, request.updated_client_order_id)
        if request.expires_us is None or isinstance(request.expires_us, int):
            order.expires_us = request.expires_us
            self._schedule_expiry(account, order)

    def decrease(
        self, account: Account, order_id: str, request: Decrease, route: Route | None = None
    ) -> Reduced | Refusal:
        """Take contracts off a resting order, which keeps its place; all of them end it."""
        found = self._find(account, order_id, route, cancelling=False)
        if isinstance(found, Refusal):
            return found
        order, market = found
        by_cx = request.by_cx if request.by_cx is not None else order.remaining_cx - (request.to_cx or 0)
        if not 0 < by_cx <= order.remaining_cx:
            return orders.INVALID_SIZE
        if by_cx == order.remaining_cx:
            return Reduced(order, self.cancel(account, order, reason=orders.DECREASE))
        self._tell.changes(market, (market.book.reduce(order_id, by_cx),), cause=order)
        order.remaining_cx -= by_cx
        self._touch(account, order, orders.DECREASE)
        return Reduced(order, by_cx)

    def _touch(self, account: Account, order: Order, reason: str) -> None:
        order.reason = reason
        order.updated_us = account.updated_us = self._world.now_us
        self._tell.order(account, order)

    # --- cancel ---------------------------------------------------------------------------------------------------

    def cancel_by_id(self, account: Account, order_id: str, route: Route | None = None) -> Reduced | Refusal:
        """Cancel a resting order that its owner names."""
        found = self._find(account, order_id, route, cancelling=True)
        if isinstance(found, Refusal):
            return found
        return Reduced(found[0], self.cancel(account, found[0]))

    def cancel_all(self, account: Account, *, subaccount: int | None = None) -> None:
        """Cancel whatever rests, of one subaccount or of all, and perhaps what comes in the next minute."""
        self._sweeps.cancel_all(account, subaccount=subaccount)

    def cancel(self, account: Account, order: Order, *, reason: str = "") -> int:
        """Take a resting order off the book and return the count it still had."""
        market = self._world.markets[order.ticker]
        reduced_cx = order.remaining_cx
        self._tell.changes(market, (market.book.cancel(order.order_id),), cause=order)
        self._end(account, order, reason)
        return reduced_cx

    def _cancel_if_open(self, order: Order) -> None:
        """Cancel for the venue's own reasons, where the market still lets anybody cancel."""
        if self._world.markets[order.ticker].refusal(cancelling=True) is None:
            self.cancel(self._register.account_of(order), order)

    def _schedule_expiry(self, account: Account, order: Order) -> None:
        if order.expires_us is not None:
            self._world.schedule(order.expires_us, lambda: self.expire(account, order.order_id))

    def expire(self, account: Account, order_id: str) -> None:
        """Cancel a resting order whose time has come, where its market lets anybody cancel."""
        order = account.open.get(order_id)
        if order is None or order.expires_us is None or order.expires_us > self._world.now_us:
            return  # it is over, or was given another time
        if self._world.markets[order.ticker].refusal(cancelling=True) is None:
            self.cancel(account, order, reason=orders.EXPIRY_CANCEL)

    def on_pause(self, *, exchange_index: int | None = None, ticker: str | None = None) -> None:
        """Cancel the orders that asked for it when a pause starts: of one shard, one market, or everywhere."""
        for account in self._world.accounts.values():
            for order in account.resting(ticker):
                if order.cancel_on_pause and exchange_index in (None, order.exchange_index):
                    self.cancel(account, order, reason=orders.HALT_CANCEL)

    def drop_all(self, market: Market, *, reason: str) -> None:
        """End every account order of a market whose book is going away."""
        for account in self._world.accounts.values():
            for order in account.resting(market.ticker):
                self._end(account, order, reason)

    def empty(self, market: Market, *, reason: str) -> None:
        """Cancel everything that rests in a market, one order after the other: it starts again from nothing."""
        for account in self._world.accounts.values():
            for order in account.resting(market.ticker):
                self.cancel(account, order, reason=reason)
        for resting in list(market.book.orders()):
            self.cancel_flow(market, resting.order_id)

    def _end(self, account: Account, order: Order, reason: str) -> None:
        self._register.leave(account, order)
        order.status, order.remaining_cx = CANCELED, 0
        self._touch(account, order, reason)

    def _find(
        self, account: Account, order_id: str, route: Route | None, *, cancelling: bool
    ) -> tuple[Order, Market] | Refusal:
        """Return a resting order and its market, if the request gets there and the market lets it."""
        order = self._register.find(account, order_id, route)
        if order is None:
            return orders.NOT_FOUND
        market = self._world.markets[order.ticker]
        return market.refusal(cancelling=cancelling) or (order, market)

    # --- everybody ------------------------------------------------------------------------------------------------

    def place_flow(
        self, market: Market, owner: str, side: Side, price_cc: int, count_cx: int, *, rest: bool
    ) -> str | None:
        """Place an order of the scenario's crowd and return its id if it rests."""
        self._world.clearing.drop_unfunded(market, side, price_cc, count_cx)
        order = RestingOrder(self._world.flow_id(), owner, side, price_cc, count_cx)
        outcome = market.place(order, rest=rest)
        self._settle_flow(market, owner, side, outcome)
        return order.order_id if outcome.resting_cx else None

    def cancel_flow(self, market: Market, order_id: str) -> None:
        """Cancel an order of the crowd, if it still rests."""
        if order_id in market.book:
            self._tell.changes(market, (market.book.cancel(order_id),), cause=None)

    def meet_recorded(self, market: Market, owner: str, side: Side, price_cc: int, count_cx: int) -> int:
        """Let a recorded level that has just appeared trade with our resting orders; return what traded."""
        self._world.clearing.drop_unfunded(market, side, price_cc, count_cx)
        incoming = RestingOrder(self._world.flow_id(), owner, side, price_cc, count_cx)
        outcome = market.book.place(incoming, rest=False)
        self._settle_flow(market, owner, side, outcome)
        return outcome.filled_cx

    def _settle_flow(self, market: Market, owner: str, side: Side, outcome: Outcome) -> None:
        self._fills.settle(market, owner, side, outcome, cause=None)
        self._matched()
