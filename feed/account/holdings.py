"""The fills and positions of one account: pure parts of the account view."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

import msgspec

from feed.schema import AccountFill, AccountOrder, AccountPosition
from markets.core.settlement import Position
from markets.core.units import Side, yes_price_cc

FILLS_KEPT = 200_000

MarketKey = tuple[str, int]  # ticker, subaccount


def signed_cx(fill: AccountFill) -> int:
    """Return what a fill adds to the position: + YES, − NO."""
    return fill.count_cx if fill.side == Side.YES else -fill.count_cx


class FillBook:
    """Every fill once, by (order id, trade id)."""

    def __init__(self) -> None:
        self._fills: dict[tuple[str, str], AccountFill] = {}
        self._by_order: dict[str, list[AccountFill]] = defaultdict(list)
        self._orphans: set[str] = set()  # ids of orders that nobody has told of yet

    def __len__(self) -> int:
        return len(self._fills)

    def __contains__(self, key: tuple[str, str]) -> bool:
        return key in self._fills

    def all(self) -> list[AccountFill]:
        return list(self._fills.values())

    def book(self, fill: AccountFill, *, is_order_known: bool) -> bool:
        """Book a fill; return False, changing nothing, for one that is there."""
        key = (fill.order_id, fill.trade_id)
        if key in self._fills:
            return False
        if len(self._fills) >= FILLS_KEPT:
            self._forget_oldest()
        self._fills[key] = fill
        self._by_order[fill.order_id].append(fill)
        if not is_order_known:
            self._orphans.add(fill.order_id)
        return True

    def booked_cx(self, order_id: str) -> int:
        return sum(fill.count_cx for fill in self._by_order.get(order_id, ()))

    def order_ids_without(self, orders: Collection[str]) -> set[str]:
        """Return the ids of orders that filled and that nobody has told of."""
        return {order_id for order_id in self._orphans if order_id not in orders}

    def adopted(self, order: AccountOrder) -> list[AccountFill]:
        """Name the order's fills that came before it, and return those."""
        self._orphans.discard(order.order_id)
        adopted = []
        for number, fill in enumerate(self._by_order.get(order.order_id, ())):
            if fill.client_order_id != order.client_order_id or fill.is_external is None:
                named = msgspec.structs.replace(
                    fill, client_order_id=order.client_order_id, is_external=order.is_external
                )
                self._by_order[order.order_id][number] = self._fills[fill.order_id, fill.trade_id] = named
                adopted.append(named)
        return adopted

    def give_up_order(self, order_id: str, as_of_us: int) -> None:
        """Stop asking for an order that the venue's reads, being newer than its fills, do not find."""
        if all(fill.time_us < as_of_us for fill in self._by_order.get(order_id, ())):
            self._orphans.discard(order_id)

    def _forget_oldest(self) -> None:
        for key in list(self._fills)[: FILLS_KEPT // 10]:
            fill = self._fills.pop(key)
            left = [f for f in self._by_order.pop(fill.order_id) if f is not fill]
            if left:
                self._by_order[fill.order_id] = left


class _Position(msgspec.Struct):
    """The venue's newest row, the fills after it, and what the channel says.

    `as_of_us` is the time up to which the row holds every fill. `told_cx` is None when the channel has told nothing
    since the newest fill and row. `listed_us` is the user-data time of the list that the row stood in.
    """

    row: AccountPosition
    as_of_us: int
    later: dict[tuple[str, str], AccountFill] = msgspec.field(default_factory=dict)
    told_cx: int | None = None
    told_us: int = 0
    listed_us: int = 0
    shown: AccountPosition | None = None

    @property
    def position_cx(self) -> int:
        return self.row.position_cx + sum(signed_cx(fill) for fill in self.later.values())

    @property
    def cost_ud(self) -> int | None:
        """What it cost: the row's figure, and what the fills since have made of it."""
        if self.row.cost_ud is None:
            return None
        held = Position(position_cx=self.row.position_cx, cost_ud=self.row.cost_ud)
        for fill in sorted(self.later.values(), key=lambda fill: fill.time_us):
            side = Side(fill.side)
            held = held.after(side, yes_price_cc(side, fill.yes_price_cc), fill.count_cx)
        return held.cost_ud


class PositionBook:
    """Positions by market and subaccount; unknown until the venue's first whole list.

    Each method returns the position if it is to be shown anew, else None.
    """

    def __init__(self) -> None:
        self._positions: dict[MarketKey, _Position] = {}
        self._early: dict[MarketKey, dict[tuple[str, str], AccountFill]] = defaultdict(dict)
        self._told_early: dict[MarketKey, tuple[int, int]] = {}
        self._listed_us: dict[int, int] = {}  # by subaccount: up to when its newest whole list holds every fill
        self.is_short = False  # a row holds fills that nobody has told of

    def all(self) -> list[AccountPosition]:
        return [position.shown for position in self._positions.values() if position.shown is not None]

    def tickers(self, subaccount: int) -> set[str]:
        """Return every market of a subaccount that has had a row, a fill or a word of the channel."""
        known = {*self._positions, *self._early, *self._told_early}
        return {ticker for ticker, number in known if number == subaccount}

    def subaccounts(self) -> set[int]:
        return {number for _, number in {*self._positions, *self._early, *self._told_early}}

    def is_disputed(self) -> bool:
        """Whether fills and channel disagree somewhere, or a market has no row yet."""
        return bool(self._told_early or self._early) or any(
            position.shown is not None and not position.shown.is_agreed for position in self._positions.values()
        )

    def filled(self, fill: AccountFill) -> AccountPosition | None:
        key, fill_key = (fill.ticker, fill.subaccount), (fill.order_id, fill.trade_id)
        position = self._positions.get(key) or self._flat(*key)
        if position is None:
            self._early[key][fill_key] = fill
            return None
        if fill.time_us // 1_000 <= position.as_of_us // 1_000:
            return None  # the row has it
        position.later[fill_key] = fill
        if position.told_cx != position.position_cx:
            position.told_cx = None  # said before this fill
        return self._show(position)

    def told(self, ticker: str, subaccount: int, position_cx: int, told_us: int) -> AccountPosition | None:
        position = self._positions.get((ticker, subaccount)) or self._flat(ticker, subaccount)
        if position is None:
            newest = self._told_early.get((ticker, subaccount), (0, 0))
            self._told_early[ticker, subaccount] = max(newest, (position_cx, told_us), key=lambda told: told[1])
            return None
        if told_us <= max(position.told_us, position.listed_us):
            return None  # an older word, delivered late
        position.told_cx, position.told_us = position_cx, told_us
        return self._show(position)

    def listed(self, row: AccountPosition, changed_us: int, as_of_us: int) -> AccountPosition | None:
        """Take a row of the venue's list.

        Args:
            changed_us: Up to when the row holds every fill.
            as_of_us: Up to when the whole list does: what the channel said before is not held against it.
        """
        key = (row.ticker, row.subaccount)
        before = self._positions.get(key)
        if before is not None and changed_us < before.as_of_us:
            return None  # an older reading
        position = self._positions[key] = _Position(
            row, changed_us, listed_us=as_of_us, shown=before.shown if before else None
        )
        fills = (before.later if before else {}) | self._early.pop(key, {})
        position.later = {k: f for k, f in fills.items() if f.time_us // 1_000 > changed_us // 1_000}
        told = (before.told_cx, before.told_us) if before else self._told_early.pop(key, (None, 0))
        is_history = as_of_us > told[1] and told[0] != position.position_cx
        position.told_cx, position.told_us = (None, told[1]) if is_history else told
        if before is not None and before.position_cx != position.position_cx:
            self.is_short = True
        return self._show(position)

    def _flat(self, ticker: str, subaccount: int) -> _Position | None:
        """Return the position of a market that the newest whole list left out; None before there was one.

        It was flat then: what a fill has made of it since must be told before another list is read, for whoever begins
        meanwhile takes a market that is not told for flat.
        """
        listed_us = self._listed_us.get(subaccount)
        if listed_us is None:
            return None
        self.listed(AccountPosition(ticker, subaccount, 0, 0, None, None, True), listed_us, listed_us)
        return self._positions[ticker, subaccount]

    def listed_whole(self, subaccount: int, as_of_us: int) -> None:
        """Note that a whole list of a subaccount's positions has been taken in."""
        self._listed_us[subaccount] = max(as_of_us, self._listed_us.get(subaccount, 0))

    def missed(self, ticker: str, subaccount: int, as_of_us: int) -> AccountPosition | None:
        """Take it that a market is flat: the list left it out. Believed only past its newest fill."""
        key = (ticker, subaccount)
        before = self._positions.get(key)
        fills = before.later if before else self._early.get(key, {})
        newest_us = max((fill.time_us for fill in fills.values()), default=before.as_of_us if before else 0)
        if as_of_us <= newest_us:
            return None
        flat = AccountPosition(ticker, subaccount, 0, 0, None, None, True)
        return self.listed(flat, as_of_us, as_of_us)

    def settled(self, ticker: str, settled_us: int) -> list[AccountPosition]:
        """Take it that a market has paid out: it holds no position from then on."""
        changed = []
        for name, subaccount in [key for key in {*self._positions, *self._early} if key[0] == ticker]:
            before = self._positions.get((name, subaccount))
            figures = before.row if before else AccountPosition(name, subaccount, 0, None, None, None, True)
            flat = msgspec.structs.replace(figures, position_cx=0, cost_ud=0)
            shown = self.listed(flat, settled_us, settled_us)
            changed += [shown] if shown else []
        return changed

    @staticmethod
    def _show(position: _Position) -> AccountPosition | None:
        told_cx, position_cx = position.told_cx, position.position_cx
        shown = msgspec.structs.replace(
            position.row,
            position_cx=position_cx,
            cost_ud=position.cost_ud,
            is_agreed=told_cx is None or told_cx == position_cx,
        )
        if shown == position.shown:
            return None
        position.shown = shown
        return shown
