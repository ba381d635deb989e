"""What is true of one account, folded from its private channels and from polls. Pure: values and times in, updates out.

    channel: order, fill, position, group      ──►┌─────────────┐──► updates for `kmm:account:{id}`
    polls: resting orders, fills, settlements, ──►│ AccountView │──► wanted: what to read at once
           positions, queue, balances, groups     └─────────────┘

Neither source is believed alone, and order of arrival means nothing:

    fill         booked once by (order id, trade id), whoever tells first, known order or not
    order        the newer by the venue's time wins; a final state is never left; it is complete once its fills are here
    miss         an order that a list of resting ones leaves out is asked for by its id, and only if the reads are newer
                 than the order's newest sign of life; it is gone only if that read finds nothing either
    position     the venue's newest row, and every fill after that row's time; the channel's word is compared
    difference   what a poll found and the channel, being live at the time, has not told within two seconds

Source: design.md sections 1 and 4; faults.md B15, B16, C4, C5, C18, F7; facts.md section 15.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from feed.account.holdings import FillBook, PositionBook
from feed.account.suspects import Suspects
from feed.schema import (
    AccountBalance,
    AccountDifference,
    AccountFill,
    AccountGroup,
    AccountOrder,
    AccountPosition,
    AccountQueue,
    AccountSettlement,
    AccountUpdate,
)

RESTING, GONE = "resting", "gone"
FINAL = frozenset({"canceled", "executed", GONE})
COMPLETE_ORDERS_KEPT = 5_000  # late messages of older ones would make them known anew, as complete as they are

Ours = Callable[[str], bool]


class Wanted(msgspec.Struct, frozen=True):
    """What should be read at once, because something does not fit together."""

    fills: bool = False
    positions: bool = False
    order_ids: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return self.fills or self.positions or bool(self.order_ids)


class AccountView:
    """One account.

    Args:
        is_ours: Whether a client order id was made by this installation.
    """

    def __init__(self, is_ours: Ours) -> None:
        self._is_ours = is_ours
        self.orders: dict[str, AccountOrder] = {}
        self.fills = FillBook()
        self.positions = PositionBook()
        self.queue: AccountQueue | None = None
        self.balance: AccountBalance | None = None
        self.groups: dict[str, AccountGroup] = {}
        self.settlements: set[AccountSettlement] = set()
        self._suspects = Suspects()
        self._missing: set[str] = set()
        self._updates: list[AccountUpdate] = []

    def take(self) -> list[AccountUpdate]:
        """Return what has changed since the last time."""
        taken, self._updates = self._updates, []
        return taken

    def whole(self) -> list[AccountUpdate]:
        """Return everything a newcomer needs."""
        return [
            *(order for order in self.orders.values() if not order.is_complete),
            *(position for position in self.positions.all() if position.position_cx or not position.is_agreed),
            *([self.queue] if self.queue else []),
            *([self.balance] if self.balance else []),
            *self.groups.values(),
        ]

    def wanted(self) -> Wanted:
        """Return what should be read at once."""
        return Wanted(
            fills=bool(self.orders_without_fills()) or self.positions.is_short,
            positions=self.positions.is_disputed(),
            order_ids=frozenset(self._missing | self.fills.order_ids_without(self.orders)),
        )

    def orders_without_fills(self) -> list[str]:
        """Return the ids of orders of which more is filled than the fills we know."""
        open_orders = [order for order in self.orders.values() if not order.is_complete]
        return [order.order_id for order in open_orders if self.fills.booked_cx(order.order_id) < order.filled_cx]

    # ---- the private channels ---------------------------------------------------------------------------------------

    def channel_opened(self, now_us: int) -> None:
        """Note that from now on the private channels tell everything."""
        self._suspects.channel_opened(now_us)

    def channel_closed(self) -> None:
        """Note that nothing is told any more; a group may trigger meanwhile, and no list would say so."""
        self._suspects.channel_closed()
        for group in [group for group in self.groups.values() if group.is_triggered is False]:
            self.groups[group.group_id] = doubtful = msgspec.structs.replace(group, is_triggered=None)
            self._updates.append(doubtful)

    def on_order(self, order: AccountOrder) -> None:
        """Take in an order as the channel tells it."""
        self._suspects.told_order(order.order_id, order.time_us)
        self._fold_order(order)

    def on_fill(self, fill: AccountFill) -> None:
        """Take in a fill as the channel tells it."""
        self._suspects.told_fill(fill.order_id, fill.trade_id)
        self._book(fill)

    def on_position(self, ticker: str, subaccount: int, position_cx: int, told_us: int) -> None:
        """Take in a position as the channel tells it; it says no time of its own, so it only confirms or disputes.

        Args:
            told_us: When the venue sent it, or else when it came.
        """
        self._publish_position(self.positions.told(ticker, subaccount, position_cx, told_us))

    def on_group(self, group: AccountGroup) -> None:
        before = self.groups.get(group.group_id)
        if before is not None:
            group = msgspec.structs.replace(
                group,
                limit_cx=before.limit_cx if group.limit_cx is None else group.limit_cx,
                is_triggered=before.is_triggered if group.is_triggered is None else group.is_triggered,
                exchange_index=before.exchange_index if group.exchange_index is None else group.exchange_index,
            )
        if group == before:
            return
        if group.event == "deleted":
            self.groups.pop(group.group_id, None)
        else:
            self.groups[group.group_id] = group
        self._updates.append(group)

    # ---- polls ------------------------------------------------------------------------------------------------------

    def on_resting_orders(self, orders: Iterable[AccountOrder], as_of_us: int, now_us: int) -> None:
        """Take in the whole list of resting orders.

        Args:
            as_of_us: The user-data time asked before the list was: everything up to it is in the list.
        """
        listed = set()
        for order in orders:
            listed.add(order.order_id)
            self.on_polled_order(order, now_us)
        for order in list(self.orders.values()):
            is_missed = order.order_id not in listed and order.status not in FINAL
            if is_missed and as_of_us > order.time_us:
                self._missing.add(order.order_id)

    def on_polled_order(self, order: AccountOrder, now_us: int) -> None:
        """Take in one order as a read shows it."""
        self._missing.discard(order.order_id)
        if self._fold_order(order):
            detail = f"order {order.status}, {order.filled_cx} filled, {order.remaining_cx} left (hundredths)"
            self._suspects.found_order(order.order_id, order.time_us, detail, now_us)

    def on_order_not_found(self, order_id: str, as_of_us: int) -> None:
        """Note that a read of one order found nothing."""
        order = self.orders.get(order_id)
        if order is None:
            self.fills.give_up_order(order_id, as_of_us)
            return
        if order.status in FINAL or as_of_us <= order.time_us:
            return
        self._missing.discard(order_id)
        gone = msgspec.structs.replace(order, status=GONE, reason="NotFound", remaining_cx=0, time_us=as_of_us)
        self._keep(self._completed(gone))

    def on_polled_fills(self, fills: Iterable[AccountFill], now_us: int) -> None:
        """Take in fills as a read lists them, newest first: they are told in the order in which they traded."""
        self.positions.is_short = False
        found = list(fills)
        found.reverse()  # of one moment, too, the one listed last traded first
        for fill in sorted(found, key=lambda one: one.time_us):
            if self._book(fill):
                detail = f"fill of {fill.count_cx} hundredths at YES {fill.yes_price_cc} cc in {fill.ticker}"
                self._suspects.found_fill(fill.order_id, fill.trade_id, fill.time_us, detail, now_us)

    def on_positions(self, rows: Sequence[tuple[AccountPosition, int | None]], subaccount: int, as_of_us: int) -> None:
        """Take in the whole list of positions of one subaccount.

        Args:
            rows: Each with the venue's time of its last change, None if it does not say.
        """
        listed = set()
        for row, changed_us in rows:
            listed.add(row.ticker)
            self._publish_position(self.positions.listed(row, as_of_us if changed_us is None else changed_us, as_of_us))
        for ticker in self.positions.tickers(subaccount) - listed:
            self._publish_position(self.positions.missed(ticker, subaccount, as_of_us))
        self.positions.listed_whole(subaccount, as_of_us)

    def on_settlements(self, settlements: Iterable[AccountSettlement]) -> None:
        """Take in settlements, each once; a settled market holds no position any more."""
        for settlement in settlements:
            if settlement in self.settlements:
                continue
            self.settlements.add(settlement)
            self._updates.append(settlement)
            for position in self.positions.settled(settlement.ticker, settlement.settled_us):
                self._publish_position(position)

    def on_queue(self, ahead: Sequence[tuple[str, int]], as_of_us: int) -> None:
        queue = AccountQueue(sorted(ahead), as_of_us)
        if self.queue is None or queue.ahead != self.queue.ahead:
            self._updates.append(queue)
        self.queue = queue

    def on_balance(self, balance: AccountBalance) -> None:
        if balance != self.balance:
            self._updates.append(balance)
        self.balance = balance

    def on_groups(self, groups: Iterable[AccountGroup]) -> None:
        """Take in the whole list of groups."""
        listed = {group.group_id: group for group in groups}
        for group_id in set(self.groups) - set(listed):
            self.on_group(msgspec.structs.replace(self.groups[group_id], event="deleted"))
        for group in listed.values():
            before = self.groups.get(group.group_id)
            self.on_group(msgspec.structs.replace(group, event=before.event) if before else group)

    def tick(self, now_us: int) -> list[AccountDifference]:
        """Return, and publish, what polls found and the live channel has kept to itself."""
        differences = self._suspects.due(now_us)
        self._updates += differences
        return differences

    # ---- folding ----------------------------------------------------------------------------------------------------

    def _fold_order(self, order: AccountOrder) -> bool:
        """Keep an order if it says something newer; return whether it did."""
        order = msgspec.structs.replace(order, is_external=not self._is_ours(order.client_order_id))
        before = self.orders.get(order.order_id)
        if before is not None and not _is_newer(order, before):
            return False
        if before is not None:
            order = _without_holes(order, before)
        order = self._completed(order)
        is_news = before is None or _moment(order) != _moment(before)
        if before is not None and not is_news and order == msgspec.structs.replace(before, time_us=order.time_us):
            self.orders[order.order_id] = order  # a read knows the same moment more finely: nothing to tell
            return False
        self._keep(order)
        for fill in self.fills.adopted(order):
            self._updates.append(fill)
        return is_news

    def _keep(self, order: AccountOrder) -> None:
        self.orders.pop(order.order_id, None)  # the newest change is the last
        self.orders[order.order_id] = order
        self._updates.append(order)
        if len(self.orders) > 2 * COMPLETE_ORDERS_KEPT:
            complete = [o.order_id for o in self.orders.values() if o.is_complete]
            for order_id in complete[:-COMPLETE_ORDERS_KEPT]:
                del self.orders[order_id]

    def _completed(self, order: AccountOrder) -> AccountOrder:
        booked_cx = self.fills.booked_cx(order.order_id)
        filled_cx = max(order.filled_cx, booked_cx)
        return msgspec.structs.replace(
            order,
            filled_cx=filled_cx,
            remaining_cx=max(0, order.remaining_cx - (filled_cx - order.filled_cx)),
            is_complete=order.status in FINAL and booked_cx >= filled_cx,
        )

    def _book(self, fill: AccountFill) -> bool:
        """Book a fill unless it is booked; return whether it is new."""
        order = self.orders.get(fill.order_id)
        if order is not None:
            client_id = fill.client_order_id or order.client_order_id
            fill = msgspec.structs.replace(fill, client_order_id=client_id, is_external=order.is_external)
        elif fill.client_order_id:
            fill = msgspec.structs.replace(fill, is_external=not self._is_ours(fill.client_order_id))
        if not self.fills.book(fill, is_order_known=order is not None):
            return False
        self._updates.append(fill)
        self._publish_position(self.positions.filled(fill))
        if order is not None:
            completed = self._completed(order)
            if completed != order:
                self._keep(completed)
        return True

    def _publish_position(self, position: AccountPosition | None) -> None:
        if position is not None:
            self._updates.append(position)


def _moment(order: AccountOrder) -> tuple[int, int, str]:
    """Return what tells two states of an order apart; channels say no more of times than milliseconds."""
    return order.time_us // 1_000, order.filled_cx, order.status


def _is_newer(order: AccountOrder, before: AccountOrder) -> bool:
    """Whether `order` says something that `before` did not know: final beats open, then the venue's time, then fills.

    Times are compared in milliseconds: channels say no more. Any word of the venue's beats our own that it is gone.
    """
    if before.status == GONE:
        return True
    if (order.status in FINAL) != (before.status in FINAL):
        return order.status in FINAL
    return (order.time_us // 1_000, order.filled_cx) >= (before.time_us // 1_000, before.filled_cx)


def _without_holes(order: AccountOrder, before: AccountOrder) -> AccountOrder:
    """Keep what an older message knew and this one left out."""
    return msgspec.structs.replace(
        order,
        client_order_id=order.client_order_id or before.client_order_id,
        is_external=order.is_external if order.client_order_id else before.is_external,
        reason=order.reason or (before.reason if order.status == before.status else ""),
        group_id=order.group_id or before.group_id,
        exchange_index=before.exchange_index if order.exchange_index is None else order.exchange_index,
        time_us=max(order.time_us, before.time_us),
    )
