"""People who trade here: their keys' owner id, money per shard, positions, orders and fills.

Cash effects of a fill, before fees: opening at own-side price p costs p a contract, closing returns $1 − p. The
position of a market is one signed number, YES positive. Source: facts.md section 10.
"""

from __future__ import annotations

import msgspec

from feed.exchange.catalog import SHARD_CRYPTO, SHARD_DEFAULT
from markets.core.units import DOLLAR_CC, DOLLAR_UD, Side, yes_price_cc

# $10,000 in all. Cash must lie on the market's shard before an API order, as at the venue.
OPENING_CASH_UD = {SHARD_DEFAULT: 7_000 * DOLLAR_UD, SHARD_CRYPTO: 3_000 * DOLLAR_UD}

RESTING, CANCELED, EXECUTED = "resting", "canceled", "executed"


class Order(msgspec.Struct, kw_only=True):
    """An order of an account; `price_cc` is on its own side's ladder, money in micro-dollars."""

    order_id: str
    client_order_id: str
    account: str
    ticker: str
    exchange_index: int
    side: Side
    price_cc: int
    initial_cx: int
    remaining_cx: int
    time_in_force: str
    self_trade_prevention: str
    created_us: int
    updated_us: int
    expires_us: int | None = None
    cancel_on_pause: bool = False
    status: str = RESTING
    fill_cx: int = 0
    taker_cost_ud: int = 0
    maker_cost_ud: int = 0
    taker_fees_ud: int = 0
    maker_fees_ud: int = 0
    gathered_ud: int = 0
    reason: str = ""

    @property
    def yes_price_cc(self) -> int:
        return yes_price_cc(self.side, self.price_cc)


class Fill(msgspec.Struct, frozen=True):
    """One match seen from one side."""

    trade_id: str
    order_id: str
    client_order_id: str
    ticker: str
    exchange_index: int
    side: Side
    yes_price_cc: int
    count_cx: int
    is_taker: bool
    fee_ud: int
    post_position_cx: int
    at_us: int


class Position(msgspec.Struct):
    """Holding of one market; `cost_ud` is what the open contracts cost."""

    ticker: str
    event_ticker: str
    exchange_index: int
    position_cx: int = 0
    cost_ud: int = 0
    traded_ud: int = 0
    realized_ud: int = 0
    fees_ud: int = 0
    volume_cx: int = 0
    updated_us: int = 0

    def fill(self, side: Side, price_cc: int, count_cx: int) -> int:
        """Book a fill at own-side `price_cc` and return its cash effect before fees."""
        held = abs(self.position_cx)
        holds_other = self.position_cx and (self.position_cx > 0) != (side is Side.YES)
        closing = min(count_cx, held) if holds_other else 0
        opening = count_cx - closing
        if closing:
            released = self.cost_ud * closing // held
            self.cost_ud -= released
            self.realized_ud += closing * (DOLLAR_CC - price_cc) - released
        self.cost_ud += opening * price_cc
        self.traded_ud += count_cx * price_cc
        self.volume_cx += count_cx
        self.position_cx += count_cx if side is Side.YES else -count_cx
        return closing * (DOLLAR_CC - price_cc) - opening * price_cc

    def settle(self, *, yes_wins: bool) -> int:
        """Pay out the position and return the cash."""
        wins = (self.position_cx > 0) == yes_wins
        cash = abs(self.position_cx) * DOLLAR_CC if wins else 0
        self.realized_ud += cash - self.cost_ud
        self.position_cx = self.cost_ud = 0
        return cash


class Account:
    """One member. `user_id` is a UUID; `name` is ours."""

    def __init__(self, name: str, user_id: str) -> None:
        self.name = name
        self.user_id = user_id
        self.cash_ud = dict(OPENING_CASH_UD)
        self.positions: dict[str, Position] = {}
        self.orders: dict[str, Order] = {}
        self.open: dict[str, Order] = {}  # those of `orders` that rest, oldest first
        self.fills: list[Fill] = []
        self.client_order_ids: set[str] = set()
        self.updated_us = 0

    def resting(self, ticker: str | None = None) -> list[Order]:
        """Return resting orders, oldest first."""
        return [order for order in self.open.values() if ticker in (None, order.ticker)]

    def available_ud(self, exchange_index: int, *, with_order: Order | None = None) -> int:
        """Return cash of a shard less what its resting orders, and `with_order` after them, may come to cost."""
        orders = [order for order in self.resting() if order.exchange_index == exchange_index]
        if with_order is not None:
            orders.append(with_order)
        need = sum(
            collateral_ud([o for o in orders if o.ticker == ticker], self.held_cx(ticker))
            for ticker in {order.ticker for order in orders}
        )
        return self.cash_ud.get(exchange_index, 0) - need

    def held_cx(self, ticker: str) -> int:
        position = self.positions.get(ticker)
        return position.position_cx if position else 0


def collateral_ud(orders: list[Order], position_cx: int) -> int:
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
