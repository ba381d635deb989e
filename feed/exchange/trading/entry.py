"""Order entry: what happens to an order from the moment its request is understood.

check → match → print → fill, fee, position, cash → tell. Refusals are values with the venue's status and body.

    orders   what is asked and answered     checks   why a create is refused
    fills    what a match brings about      telling  what the outside hears of it
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from feed.exchange.trading import checks, orders
from feed.exchange.trading.accounts import CANCELED, RESTING, Account, Order
from feed.exchange.trading.fills import Fills
from feed.exchange.trading.orders import GTC, STP_MAKER, NewOrder, Placed, Refusal
from feed.exchange.trading.telling import Teller
from markets.core.matching import Outcome, RestingOrder
from markets.core.units import Side, yes_price_cc

if TYPE_CHECKING:
    from feed.exchange.market import Market
    from feed.exchange.world import World


class OrderEntry:
    """The order desk of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._tell = Teller(world)
        self._fills = Fills(world, self._tell)

    # --- accounts -------------------------------------------------------------------------------------------------

    def place(self, account: Account, request: NewOrder) -> Placed | Refusal:
        """Check and execute a create of an account."""
        market = self._world.markets.get(request.ticker)
        if market is None or request.exchange_index not in (orders.AUTO_ROUTE, market.terms.exchange_index):
            return orders.NOT_FOUND
        refusal = checks.terms_refusal(self._world, account, market, request)
        refusal = refusal or checks.state_refusal(market, cancelling=False)
        if refusal:
            return refusal
        order = self._new_order(account, market, request)
        refusal = checks.market_refusal(self._world, account, market, request, order)
        return refusal or self._execute(account, market, order)

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
            cancel_on_pause=request.cancel_on_pause,
        )

    def _allowed_cx(self, account: Account, market: Market, request: NewOrder) -> int:
        if not request.reduce_only:
            return request.count_cx
        held = account.held_cx(market.ticker, request.subaccount)
        return min(request.count_cx, max(0, -held if request.side is Side.YES else held))

    def _execute(self, account: Account, market: Market, order: Order) -> Placed:
        account.orders[order.order_id] = order
        if order.client_order_id:
            account.client_order_ids.add(order.client_order_id)
        if not order.remaining_cx:
            self._end(account, order, orders.REDUCE_ONLY_CANCEL)
            return Placed(order, ())
        seen = len(account.fills)
        self._world.clearing.drop_unfunded(market, order.side, order.price_cc, order.remaining_cx)
        incoming = RestingOrder(order.order_id, account.name, order.side, order.price_cc, order.remaining_cx)
        outcome = market.place(
            incoming, rest=order.time_in_force == GTC, withdraw_own=order.self_trade_prevention == STP_MAKER
        )
        self._settle(market, account.name, order.side, outcome, cause=order)
        if order.status == RESTING and outcome.resting_cx:
            account.open[order.order_id] = order
            self._tell.order(account, order)
            if order.expires_us is not None:
                self._world.schedule(order.expires_us, lambda: self.expire(account, order.order_id))
        elif order.status == RESTING:
            self._end(account, order, orders.SELF_TRADE_CANCEL if outcome.self_trade_cx else "")
        return Placed(order, tuple(account.fills[seen:]))

    def _settle(self, market: Market, taker: str, side: Side, outcome: Outcome, *, cause: Order | None) -> None:
        def withdraw(order_id: str) -> None:
            if cause is not None:
                account = self._world.accounts[cause.account]
                self._end(account, account.orders[order_id], orders.SELF_TRADE_CANCEL)

        self._fills.settle(market, taker, side, outcome, cause=cause, withdraw=withdraw)

    def cancel(self, account: Account, order: Order, *, reason: str = "") -> int:
        """Take a resting order off the book and return the count it still had."""
        market = self._world.markets[order.ticker]
        self._tell.changes(market, (market.book.cancel(order.order_id),), cause=order)
        reduced = order.remaining_cx
        self._end(account, order, reason)
        return reduced

    def expire(self, account: Account, order_id: str) -> None:
        order = account.open.get(order_id)
        if order is not None and self._world.markets[order.ticker].refusal(cancelling=True) is None:
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
        account.open.pop(order.order_id, None)
        order.status, order.reason, order.remaining_cx = CANCELED, reason, 0
        order.updated_us = account.updated_us = self._world.now_us
        self._tell.order(account, order)

    # --- everybody ------------------------------------------------------------------------------------------------

    def place_flow(
        self, market: Market, owner: str, side: Side, price_cc: int, count_cx: int, *, rest: bool
    ) -> str | None:
        """Place an order of the scenario's crowd and return its id if it rests."""
        self._world.clearing.drop_unfunded(market, side, price_cc, count_cx)
        order = RestingOrder(self._world.flow_id(), owner, side, price_cc, count_cx)
        outcome = market.place(order, rest=rest)
        self._settle(market, owner, side, outcome, cause=None)
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
        self._settle(market, owner, side, outcome, cause=None)
        return outcome.filled_cx
