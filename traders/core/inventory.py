"""What a trader holds and what it has paid, from its fills alone.

    inventory = Inventory().after(Side.NO, 5_800, 100, fee_ud=4_300)     position −1 contract, cash −$0.5843
    inventory.trading_ud(book)                                           the result, were it closed where it can be
    inventory.settled(DOLLAR_UD)                                         what settlement leaves: cash only

Position and cash are as the exchange keeps them: opening costs the price of the side that is bought, closing returns
the rest of the dollar, and settlement pays what a contract is worth (facts.md section 10). A payout is whole units of
the account's precision; what it has beyond them goes to the exchange as a rounding fee (section 9), which only values
finer than a cent can make.
"""

from __future__ import annotations

from bisect import bisect_right

import msgspec

from markets.core.book import OrderBook
from markets.core.fees import DIRECT_PRECISION_UD
from markets.core.settlement import Position
from markets.core.units import NO, YES, Side


class Payout(msgspec.Struct, frozen=True):
    """What settlement pays for a position, and the fee that it takes off again."""

    paid_ud: int = 0
    fee_ud: int = 0


MS_US = 1_000
RECENT = 32  # fills among which one that is told late still finds its place


class Traded(msgspec.Struct, frozen=True, array_like=True):
    """A fill, and when the venue says that it traded."""

    time_us: int
    side: Side
    price_cc: int
    count_cx: int
    fee_ud: int


class Inventory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What fills came to; a change makes a new value. Money in micro-dollars.

    What closing releases of the cost depends on which fill came first, and fills are told late or out of order when a
    channel breaks; so the newest are kept, and the position is always that of their true order.

    Unknown fields are refused when it is read: a checkpoint of another shape must not pass for one without a position.

    Attributes:
        position: What is held, what it cost, what was realized; fees as far as they are known.
        cash_ud: Cash moved by fills and settlement, after fees as far as they are known; it starts at 0.
        fills: All fills.
        inferred_fills: Those of them that no print shows.
        unknown_fees: Those whose fee is not known, and not in `cash_ud`.
        recent: The newest fills whose time is known, by that time; `earlier` is the position before them, if there are
            any.
    """

    position: Position = Position()
    cash_ud: int = 0
    fills: int = 0
    inferred_fills: int = 0
    unknown_fees: int = 0
    recent: tuple[Traded, ...] = ()
    earlier: Position = Position()

    @property
    def position_cx(self) -> int:
        """Net Yes position (No negative)."""
        return self.position.position_cx

    def after(
        self,
        side: Side,
        price_cc: int,
        count_cx: int,
        *,
        fee_ud: int | None = None,
        inferred: bool = False,
        time_us: int | None = None,
    ) -> Inventory:
        """Return the inventory after `count_cx` filled on `side`'s ladder at `price_cc`.

        Args:
            fee_ud: What was charged; None is unknown.
            inferred: Whether it is known from a ticker's volume alone.
            time_us: When it traded; None: after all others.
        """
        known_ud = fee_ud or 0
        newest = self.position.after(side, price_cc, count_cx, fee_ud=known_ud)
        fill = None if time_us is None else Traded(time_us, side, price_cc, count_cx, known_ud)
        position, recent, earlier = self._with(fill, newest) if fill else (newest, (), Position())
        return Inventory(
            position=position,
            cash_ud=self.cash_ud + self.position.cash_effect_ud(side, price_cc, count_cx) - known_ud,
            fills=self.fills + 1,
            inferred_fills=self.inferred_fills + inferred,
            unknown_fees=self.unknown_fees + (fee_ud is None),
            recent=recent,
            earlier=earlier,
        )

    def _with(self, fill: Traded, newest: Position) -> tuple[Position, tuple[Traded, ...], Position]:
        """Return position, recent fills and what was before them with one more fill, in its place among them.

        Args:
            newest: The position if it is the newest.
        """
        # The channel tells milliseconds, lists tell microseconds: within one, who was told first traded first.
        place = bisect_right([one.time_us // MS_US for one in self.recent], fill.time_us // MS_US)
        recent = (*self.recent[:place], fill, *self.recent[place:])
        earlier = self.earlier if self.recent else self.position
        position = newest if place == len(self.recent) else _after_all(earlier, recent)
        kept = recent[-RECENT:]
        return position, kept, _after_all(earlier, recent[: -len(kept)])

    def payout(self, value_ud: int, *, precision_ud: int = DIRECT_PRECISION_UD) -> Payout:
        """Return what settlement at `value_ud` per Yes contract pays for what is held.

        Args:
            precision_ud: The account's: its balance is a multiple of it.
        """
        paid_ud = self.position.payout_ud(value_ud)
        return Payout(paid_ud, paid_ud % precision_ud)

    def settled(self, value_ud: int, *, precision_ud: int = DIRECT_PRECISION_UD) -> Inventory:
        """Return the inventory after settlement at `value_ud` per Yes contract: nothing held, the payout in cash."""
        return self.paid_out(self.payout(value_ud, precision_ud=precision_ud))

    def paid_out(self, payout: Payout) -> Inventory:
        """Return the inventory after settlement that paid just this."""
        return msgspec.structs.replace(
            self,
            position=self.position.paid_out(payout.paid_ud, fee_ud=payout.fee_ud),
            recent=(),
            earlier=Position(),
            cash_ud=self.cash_ud + payout.paid_ud - payout.fee_ud,
        )

    def trading_ud(self, book: OrderBook) -> int | None:
        """Return cash plus the position at the price it would have to trade into, after the fees that are known.

        What is held is sold to whoever bids for that side; None when nobody does.
        """
        position_cx = self.position.position_cx
        if not position_cx:
            return self.cash_ud
        side = YES if position_cx > 0 else NO
        mark_cc = book.best_cc[side]
        return self.cash_ud + abs(position_cx) * mark_cc if mark_cc else None


def _after_all(position: Position, fills: tuple[Traded, ...]) -> Position:
    for fill in fills:
        position = position.after(fill.side, fill.price_cc, fill.count_cx, fee_ud=fill.fee_ud)
    return position
