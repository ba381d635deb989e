"""A small exchange for the tests of live orders: its own ledger, private messages, and reads that may lag."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace

from feed.schema import AccountFill, AccountGroup, AccountOrder
from markets.core.units import Side, yes_price_cc
from traders.core.intents import Answered, Cancel, Decrease, Intent, Outcome, Place, Renew, Take

TICKER = "KXA-1"
PERSON = "person"  # client order id of what is placed by hand
START_US = 1_790_000_000_000_000
MS_US = 1_000
Message = AccountOrder | AccountFill | AccountGroup


@dataclass
class VenueOrder:
    order_id: str
    client_order_id: str
    side: Side
    price_cc: int
    total_cx: int
    expires_us: int | None
    group_id: str
    changed_us: int
    filled_cx: int = 0
    status: str = "resting"
    reason: str = ""

    @property
    def live_cx(self) -> int:
        return self.total_cx - self.filled_cx if self.status == "resting" else 0

    def shown(self, *, is_read: bool = False) -> AccountOrder:
        """Return it as the account's stream tells it, or as a read, which knows times more finely."""
        return AccountOrder(
            order_id=self.order_id,
            client_order_id=self.client_order_id,
            ticker=TICKER,
            side=int(self.side),
            yes_price_cc=yes_price_cc(self.side, self.price_cc),
            initial_cx=self.total_cx,
            filled_cx=self.filled_cx,
            remaining_cx=self.live_cx,
            status=self.status,
            reason=self.reason,
            group_id=self.group_id,
            exchange_index=0,
            subaccount=0,
            expires_us=self.expires_us,
            time_us=self.changed_us if is_read else self.changed_us // MS_US * MS_US,
            is_external=False,
            is_complete=False,
        )


@dataclass
class Venue:
    """The ledger is the truth. `messages` are those that nobody has delivered."""

    now_us: int = START_US
    orders: dict[str, VenueOrder] = field(default_factory=dict)
    fills: list[AccountFill] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    triggered: set[str] = field(default_factory=set)
    is_closed: bool = False
    is_paused: bool = False

    def __post_init__(self) -> None:
        self._order_ids, self._trade_ids = itertools.count(1), itertools.count(1)
        self._past: list[VenueOrder] = []

    def of(self, client_order_id: str) -> VenueOrder | None:
        return next((one for one in self.orders.values() if one.client_order_id == client_order_id), None)

    def position_cx(self, client_order_ids: set[str]) -> int:
        ours = [fill for fill in self.fills if fill.client_order_id in client_order_ids]
        return sum(fill.count_cx if fill.side == Side.YES else -fill.count_cx for fill in ours)

    def _touch(self, order: VenueOrder) -> None:
        order.changed_us = self.now_us
        self._past.append(replace(order))
        self.messages.append(order.shown())

    # --- requests -----------------------------------------------------------------------------------------------------

    def carry_out(self, intent: Intent, group_id: str, *, fate: str = "rest", as_amend: bool = True) -> Answered:
        """Do what a request asks, and return the answer to it.

        Args:
            fate: Of a new order: rest, part (some of it trades at once), refuse, cancel.
            as_amend: Whether a decrease is sent as an amend to a total; else as a decrease by a difference.
        """
        wish = intent.wish
        if isinstance(wish, Place | Take):
            return self._create(intent, wish, group_id, fate)
        order = self.orders.get(wish.order_id)
        if isinstance(wish, Cancel):
            return self._cancel(intent, order)
        if self.is_paused or self.is_closed:
            return self._answer(intent, Outcome.DECLINED, code="trading_is_paused")
        if order is None or order.status != "resting":
            return self._answer(intent, Outcome.NOT_FOUND, code="not_found")
        if isinstance(wish, Decrease) and not as_amend:
            return self._decrease(intent, order, wish.less_cx)
        return self._amend(intent, order, wish)

    def _answer(self, intent: Intent, outcome: Outcome, **more: object) -> Answered:
        return Answered(intent.number, self.now_us, outcome, **more)

    def _create(self, intent: Intent, wish: Place | Take, group_id: str, fate: str) -> Answered:
        if self.of(intent.client_order_id) is not None:
            return self._answer(intent, Outcome.EXISTS, code="order_already_exists")
        if group_id in self.triggered:
            return self._answer(intent, Outcome.DECLINED, code="exceeded_order_group_risk_limit")
        if fate == "refuse" or self.is_closed or self.is_paused:
            return self._answer(intent, Outcome.DECLINED, code="invalid_order")
        is_take = isinstance(wish, Take)
        price_cc = wish.limit_cc if isinstance(wish, Take) else wish.price_cc
        expires_us = None if isinstance(wish, Take) else wish.expires_us
        order = VenueOrder(
            f"V{next(self._order_ids)}", intent.client_order_id, wish.side, price_cc, wish.count_cx, expires_us,
            group_id, self.now_us,
        )  # fmt: skip
        self.orders[order.order_id] = order
        self._touch(order)
        if fate == "part" or (is_take and fate == "rest"):
            self.fill(order, wish.count_cx if fate == "rest" else (wish.count_cx + 1) // 2)
        filled_cx = order.filled_cx
        if order.status == "resting" and (is_take or fate == "cancel"):
            self.cancel(order, "PostOnlyCrossCancel")
        return self._answer(
            intent, Outcome.ACCEPTED, order_id=order.order_id, filled_cx=filled_cx, remaining_cx=order.live_cx,
            engine_us=self.now_us // MS_US * MS_US,
        )  # fmt: skip

    def _cancel(self, intent: Intent, order: VenueOrder | None) -> Answered:
        if self.is_closed:
            return self._answer(intent, Outcome.CLOSED, code="market_closed")
        if self.is_paused:
            return self._answer(intent, Outcome.DECLINED, code="exchange_is_paused")
        if order is None or order.status != "resting":
            return self._answer(intent, Outcome.NOT_FOUND, code="not_found")
        reduced_cx = order.live_cx
        self.cancel(order)
        return self._answer(intent, Outcome.ACCEPTED, reduced_cx=reduced_cx, engine_us=self.now_us // MS_US * MS_US)

    def _amend(self, intent: Intent, order: VenueOrder, wish: Decrease | Renew) -> Answered:
        if wish.total_cx < order.filled_cx:
            return self._answer(intent, Outcome.DECLINED, code="invalid_order_size")
        order.total_cx = wish.total_cx
        if isinstance(wish, Renew):
            order.expires_us = wish.expires_us // 1_000_000 * 1_000_000
        return self._amended(intent, order, "Amend")

    def _decrease(self, intent: Intent, order: VenueOrder, less_cx: int) -> Answered:
        if less_cx > order.live_cx:
            return self._answer(intent, Outcome.DECLINED, code="invalid_order_size")
        order.total_cx -= less_cx
        return self._amended(intent, order, "Decrease")

    def _amended(self, intent: Intent, order: VenueOrder, reason: str) -> Answered:
        if order.live_cx:
            order.reason = reason
            self._touch(order)
        else:
            self.cancel(order, reason)
        engine_us = self.now_us // MS_US * MS_US
        return self._answer(intent, Outcome.ACCEPTED, remaining_cx=order.live_cx, engine_us=engine_us)

    # --- what happens by itself, or by other hands --------------------------------------------------------------------

    def fill(self, order: VenueOrder, count_cx: int) -> None:
        order.filled_cx += count_cx
        fill = AccountFill(
            order_id=order.order_id,
            trade_id=f"t{next(self._trade_ids)}",
            client_order_id=order.client_order_id,
            ticker=TICKER,
            side=int(order.side),
            yes_price_cc=yes_price_cc(order.side, order.price_cc),
            count_cx=count_cx,
            is_taker=False,
            fee_ud=0,
            exchange_index=0,
            subaccount=0,
            time_us=self.now_us,
            is_external=False,
        )
        self.fills.append(fill)
        self.messages.append(fill)
        if order.filled_cx == order.total_cx:
            order.status = "executed"
        order.reason = "Trade"
        self._touch(order)

    def cancel(self, order: VenueOrder, reason: str = "") -> None:
        order.status, order.reason = "canceled", reason
        self._touch(order)

    def reduce(self, order: VenueOrder, left_cx: int) -> None:
        order.total_cx, order.reason = order.filled_cx + left_cx, "Decrease"
        self._touch(order)

    def place_external(self, side: Side, price_cc: int, count_cx: int) -> VenueOrder:
        order = VenueOrder(f"V{next(self._order_ids)}", PERSON, side, price_cc, count_cx, None, "", self.now_us)
        self.orders[order.order_id] = order
        self._touch(order)
        return order

    def trigger(self, group_id: str) -> None:
        self.triggered.add(group_id)
        for order in self.orders.values():
            if order.group_id == group_id and order.status == "resting":
                self.cancel(order)
        self.messages.append(AccountGroup(group_id, "triggered", None, True, 0))

    def expire(self) -> None:
        """Cancel what has expired, where anybody may."""
        for order in self.orders.values():
            is_over = order.expires_us is not None and order.expires_us <= self.now_us
            if order.status == "resting" and is_over and not self.is_closed and not self.is_paused:
                self.cancel(order, "ExpiryCancel")

    # --- reads --------------------------------------------------------------------------------------------------------

    def read(self, as_of_us: int) -> dict[str, VenueOrder]:
        """Return the orders as they were: everything up to then."""
        return {one.order_id: one for one in self._past if one.changed_us <= as_of_us}

    def read_fills(self, as_of_us: int, order_id: str) -> list[AccountFill]:
        """Return an order's fills as they were known; a read names no client order ids."""
        found = [fill for fill in self.fills if fill.time_us <= as_of_us and fill.order_id == order_id]
        return [
            AccountFill(*[getattr(f, n) if n != "client_order_id" else "" for n in f.__struct_fields__]) for f in found
        ]
