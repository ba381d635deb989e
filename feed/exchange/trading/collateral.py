"""How much cash orders may come to need. Source: facts.md section 10, and the switches `resting_collateral`, `netting`.

An order needs cash for what it opens, at its own price; what it closes needs none. In an event whose collateral the
subaccount has returned, an order also moves the guarantee (netting.py): a NO that adds to it costs less, and a
position that carries it may need cash to be sold. Fees are not reserved, no document says they are: a balance may
fall below zero by the fee of the fill that used it up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from feed.exchange.trading.netting import Leg, guaranteed_ud
from feed.exchange.trading.positions import closing_cx, signed_cx
from markets.core.units import DOLLAR_CC, Side

if TYPE_CHECKING:
    from feed.exchange.market import Market
    from feed.exchange.trading.accounts import Account, Order
    from feed.exchange.world import World

Reservation = Literal["sum", "max", "none"]


class Collateral:
    """Answers what is free, for the accounts of a world."""

    def __init__(self, world: World) -> None:
        self._world = world

    # --- netting --------------------------------------------------------------------------------------------------

    def nets(self, account: Account, subaccount: int, event_ticker: str) -> bool:
        """Whether a subaccount has collateral of that event returned."""
        if not self._world.switches.netting or not account.subaccounts[subaccount].nets:
            return False
        event = self._world.events.get(event_ticker)
        return event is not None and event.collateral_return_type != ""

    def guaranteed_ud(
        self, account: Account, subaccount: int, event_ticker: str, *, ticker: str = "", change_cx: int = 0
    ) -> int:
        """Return the dollars that are certain in an event, were the position in `ticker` changed by `change_cx`."""
        legs = [
            _leg(market, account.held_cx(market.ticker, subaccount) + (change_cx if market.ticker == ticker else 0))
            for market in self._world.markets_of(event_ticker)
        ]
        return guaranteed_ud(self._world.events[event_ticker].collateral_return_type, legs)

    def effect_ud(self, account: Account, order: Order, count_cx: int, *, moved_cx: int = 0) -> int:
        """Return the change of cash, collateral returned included, if `count_cx` of an order filled at its price.

        Args:
            moved_cx: How far the position will have moved before, by orders ahead of this one.
        """
        held = account.held_cx(order.ticker, order.subaccount) + moved_cx
        closing = closing_cx(held, order.side, count_cx)
        cash = closing * (DOLLAR_CC - order.price_cc) - (count_cx - closing) * order.price_cc
        event_ticker = self._event_of(order)
        if not self.nets(account, order.subaccount, event_ticker):
            return cash

        def certain_ud(change_cx: int) -> int:
            return self.guaranteed_ud(
                account, order.subaccount, event_ticker, ticker=order.ticker, change_cx=moved_cx + change_cx
            )

        return cash + certain_ud(signed_cx(order.side, count_cx)) - certain_ud(0)

    def _event_of(self, order: Order) -> str:
        return self._world.markets[order.ticker].terms.event_ticker

    # --- what is free ---------------------------------------------------------------------------------------------

    def need_ud(self, account: Account, order: Order) -> int:
        """Return the cash one order alone may need.

        Where collateral is returned the whole fill is the dearest part of it, or none is: what a contract needs
        never falls along the way.
        """
        if self.nets(account, order.subaccount, self._event_of(order)):
            return max(0, -self.effect_ud(account, order, order.remaining_cx))
        held = account.held_cx(order.ticker, order.subaccount)
        return (order.remaining_cx - closing_cx(held, order.side, order.remaining_cx)) * order.price_cc

    def reserved_ud(self, account: Account, orders: list[Order], reservation: Reservation) -> int:
        """Return what the orders of one balance hold back of it.

        Args:
            orders: Of one shard and subaccount, oldest first.
        """
        if reservation == "none":
            return 0
        if reservation == "max":
            return max((self.need_ud(account, order) for order in orders), default=0)
        by_market: dict[str, list[Order]] = {}
        for order in orders:
            by_market.setdefault(order.ticker, []).append(order)
        return sum(self._market_need_ud(account, group) for group in by_market.values())

    def _market_need_ud(self, account: Account, orders: list[Order]) -> int:
        first = orders[0]
        if self.nets(account, first.subaccount, self._event_of(first)):
            return sum(self.need_ud(account, order) for order in orders)
        return market_need_ud(orders, account.held_cx(first.ticker, first.subaccount))

    def available_ud(
        self,
        account: Account,
        exchange_index: int,
        subaccount: int,
        *,
        with_order: Order | None = None,
        without: Order | None = None,
        reservation: Reservation | None = None,
    ) -> int:
        """Return a balance less what its resting orders, and `with_order` after them, may come to need.

        Args:
            with_order: A new order; it counts in full whatever the reservation.
            without: A resting order left out: an amend frees what it replaces.
            reservation: How resting orders count; the exchange's switch when None.
        """
        how = reservation or self._world.switches.resting_collateral
        orders = [
            order
            for order in account.open.values()
            if order.exchange_index == exchange_index and order.subaccount == subaccount and order is not without
        ]
        free = account.balance_ud(exchange_index, subaccount)
        if with_order is None:
            return free - self.reserved_ud(account, orders, how)
        if how == "sum":
            return free - self.reserved_ud(account, [*orders, with_order], how)
        return free - max(self.need_ud(account, with_order), self.reserved_ud(account, orders, how))


def market_need_ud(orders: list[Order], position_cx: int) -> int:
    """Return the cash that resting orders of one market may need, oldest first.

    The part that closes the position needs none; each held contract frees one order's contract once.
    """
    closable = {Side.NO: max(0, position_cx), Side.YES: max(0, -position_cx)}
    need = 0
    for order in orders:
        closing = min(closable[order.side], order.remaining_cx)
        closable[order.side] -= closing
        need += (order.remaining_cx - closing) * order.price_cc
    return need


def _leg(market: Market, position_cx: int) -> Leg:
    strike = market.terms.strike
    kind = strike.get("strike_type", "")
    return Leg(
        position_cx,
        market.value_cc if market.settled_us else None,
        kind,
        strike.get("floor_strike" if kind.startswith("greater") else "cap_strike"),
    )
