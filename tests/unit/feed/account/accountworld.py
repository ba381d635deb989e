"""A tiny exchange account for tests of the view: operations, the frames each one sends, and what reads show when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from feed.account.view import AccountView
from feed.schema import AccountFill, AccountOrder, AccountPosition, AccountSettlement
from markets.core.units import Side

START_US = 1_795_337_400_000_000
MS = 1_000
OURS = "ours-"

Frame = Callable[[AccountView], None]


def is_ours(client_order_id: str) -> bool:
    return client_order_id.startswith(OURS)


def an_order(order_id: str = "o-1", **changes: object) -> AccountOrder:
    order = AccountOrder(
        order_id=order_id, client_order_id=f"{OURS}{order_id}", ticker="M-1", side=Side.YES, yes_price_cc=4_200,
        initial_cx=1_000, filled_cx=0, remaining_cx=1_000, status="resting", reason="", group_id="", exchange_index=0,
        subaccount=0, expires_us=None, time_us=START_US, is_external=False, is_complete=False,
    )  # fmt: skip
    return msgspec.structs.replace(order, **changes)


def a_fill(trade_id: str = "t-1", order_id: str = "o-1", **changes: object) -> AccountFill:
    fill = AccountFill(
        order_id=order_id, trade_id=trade_id, client_order_id=f"{OURS}{order_id}", ticker="M-1", side=Side.YES,
        yes_price_cc=4_200, count_cx=300, is_taker=False, fee_ud=0, exchange_index=0, subaccount=0,
        time_us=START_US + 5 * MS, is_external=False,
    )  # fmt: skip
    return msgspec.structs.replace(fill, **changes)


def a_position(position_cx: int, ticker: str = "M-1") -> AccountPosition:
    return AccountPosition(ticker, 0, position_cx, None, None, None, True)


@dataclass(frozen=True)
class Reads:
    """What the venue's reads show at one moment."""

    as_of_us: int
    orders: dict[str, AccountOrder]
    fills: tuple[AccountFill, ...]
    positions: dict[str, tuple[int, int]]  # ticker → position, time of its last change
    settlements: tuple[AccountSettlement, ...]


@dataclass
class Ledger:
    """The truth. Each operation takes place at a later millisecond."""

    now_us: int = START_US
    orders: dict[str, AccountOrder] = field(default_factory=dict)
    fills: list[AccountFill] = field(default_factory=list)
    positions: dict[str, tuple[int, int]] = field(default_factory=dict)
    settlements: list[AccountSettlement] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)

    def reads(self) -> Reads:
        return Reads(self.now_us, dict(self.orders), tuple(self.fills), dict(self.positions), tuple(self.settlements))

    def place(self, ticker: str, side: Side, *, is_external: bool) -> None:
        self.now_us += MS
        number = len(self.orders)
        client_id = f"{'hand' if is_external else OURS}-{number}"
        order = an_order(f"o-{number}", client_order_id=client_id, ticker=ticker, side=side, time_us=self.now_us)
        self._keep(msgspec.structs.replace(order, is_external=is_external))

    def fill(self, order_id: str, counts_cx: list[int]) -> None:
        """Several matches of one moment."""
        order = self.orders.get(order_id)
        if order is None or order.status != "resting" or order.ticker in {s.ticker for s in self.settlements}:
            return
        self.now_us += MS
        for wanted_cx in counts_cx:
            count_cx = min(wanted_cx, order.remaining_cx)
            if not count_cx:
                continue
            fill = a_fill(f"t-{len(self.fills)}", order_id, ticker=order.ticker, side=order.side, count_cx=count_cx,
                          client_order_id=order.client_order_id, time_us=self.now_us,
                          is_external=order.is_external)  # fmt: skip
            self.fills.append(fill)
            self.frames.append(lambda view, fill=fill: view.on_fill(fill))
            left_cx = order.remaining_cx - count_cx
            order = msgspec.structs.replace(
                order, filled_cx=order.filled_cx + count_cx, remaining_cx=left_cx, reason="Trade",
                status="resting" if left_cx else "executed", time_us=self.now_us,
            )  # fmt: skip
            self._keep(order)
            signed = count_cx if order.side == Side.YES else -count_cx
            self._move(order.ticker, self.positions.get(order.ticker, (0, 0))[0] + signed)

    def cancel(self, order_id: str) -> None:
        order = self.orders.get(order_id)
        if order is None or order.status != "resting":
            return
        self.now_us += MS
        self._keep(msgspec.structs.replace(order, status="canceled", remaining_cx=0, time_us=self.now_us, reason=""))

    def amend(self, order_id: str, remaining_cx: int) -> None:
        order = self.orders.get(order_id)
        if order is None or order.status != "resting":
            return
        self.now_us += MS
        self._keep(
            msgspec.structs.replace(
                order,
                initial_cx=order.filled_cx + remaining_cx,
                remaining_cx=remaining_cx,
                yes_price_cc=4_300,
                reason="Amend",
                time_us=self.now_us,
            )
        )

    def settle(self, ticker: str) -> None:
        if ticker in {s.ticker for s in self.settlements}:
            return
        for order in list(self.orders.values()):
            if order.ticker == ticker:
                self.cancel(order.order_id)
        self.now_us += MS
        self.settlements.append(AccountSettlement(ticker, "yes", 0, 0, 0, 0, 0, 0, 10_000, self.now_us))
        if ticker in self.positions:
            self._move(ticker, 0)

    def _keep(self, order: AccountOrder) -> None:
        self.orders[order.order_id] = order
        self.frames.append(lambda view: view.on_order(order))

    def _move(self, ticker: str, position_cx: int) -> None:
        told_us = self.now_us + len(self.frames) % MS  # sent one after the other within the millisecond
        self.positions[ticker] = (position_cx, self.now_us)
        self.frames.append(lambda view: view.on_position(ticker, 0, position_cx, told_us))


def poll(view: AccountView, reads: Reads, *, what: str = "all", now_us: int | None = None) -> None:
    """Show the view what the venue's reads show."""
    now_us = reads.as_of_us if now_us is None else now_us
    if what in ("all", "orders"):
        resting = [as_read(order) for order in reads.orders.values() if order.status == "resting"]
        view.on_resting_orders(resting, reads.as_of_us, now_us)
        for order_id in sorted(view.wanted().order_ids):
            order = reads.orders.get(order_id)
            if order is None:
                view.on_order_not_found(order_id, reads.as_of_us)
            else:
                view.on_polled_order(as_read(order), now_us)
    if what in ("all", "fills"):
        listed = [msgspec.structs.replace(fill, client_order_id="", is_external=None) for fill in reads.fills]
        view.on_polled_fills(listed, now_us)
        view.on_settlements(reads.settlements)
    if what in ("all", "positions"):
        settled = {settlement.ticker for settlement in reads.settlements}
        rows = [
            (a_position(position_cx, ticker), changed_us)
            for ticker, (position_cx, changed_us) in reads.positions.items()
            if ticker not in settled
        ]
        view.on_positions(rows, 0, reads.as_of_us)


def as_read(order: AccountOrder) -> AccountOrder:
    """Reads do not say why."""
    return msgspec.structs.replace(order, reason="")
