"""One market as it stands: book, tape, state."""

from __future__ import annotations

from collections import deque
from typing import Any

from feed.exchange.candles import Candles
from feed.exchange.catalog import Terms
from feed.exchange.flow.displayed import Displayed
from feed.exchange.happenings import Traded
from feed.exchange.pauses import TRADING_IS_PAUSED, Pauses
from feed.exchange.trading.orders import MARKET_INACTIVE, Refusal
from markets.core.matching import MatchingBook, Outcome, RestingOrder
from markets.core.units import DOLLAR_CC, Side

TRADES_KEPT = 2_000  # the live tier of a busy market; the venue moves older ones to history

INITIALIZED, ACTIVE, INACTIVE, CLOSED = "initialized", "active", "inactive", "closed"
DETERMINED, DISPUTED, AMENDED, FINALIZED = "determined", "disputed", "amended", "finalized"


class Tape:
    """Trades of one market and the sums over them."""

    def __init__(self) -> None:
        self.trades: deque[Traded] = deque(maxlen=TRADES_KEPT)
        self.candles = Candles()
        self.last_price_cc = 0
        self.last_size_cx = 0
        self.volume_cx = 0
        self.open_interest_cx = 0
        self._holdings: dict[str, int] = {}

    def record(self, trade: Traded, *, buyer: str, seller: str) -> None:
        """Add a trade; `buyer` went long YES, `seller` the other way."""
        self.add(trade)
        self.last_price_cc, self.last_size_cx = trade.yes_price_cc, trade.count_cx
        self.volume_cx += trade.count_cx
        self._hold(buyer, trade.count_cx)
        self._hold(seller, -trade.count_cx)

    def add(self, trade: Traded) -> None:
        """Add a trade to what is listed, without the sums: a recording brings its own."""
        self.trades.append(trade)
        self.candles.trade(trade.at_us, price_cc=trade.yes_price_cc, count_cx=trade.count_cx)

    def _hold(self, owner: str, change_cx: int) -> None:
        before = self._holdings.get(owner, 0)
        self._holdings[owner] = before + change_cx
        self.open_interest_cx += max(0, before + change_cx) - max(0, before)


class Market:
    """A listed market; `displayed` holds the recorded levels of a replayed one, `pauses` the halts of its exchange."""

    def __init__(self, terms: Terms, *, displayed: Displayed | None = None, pauses: Pauses | None = None) -> None:
        self.terms = terms
        self.displayed = displayed
        self.pauses = pauses or Pauses()
        self.book = MatchingBook()
        self.tape = Tape()
        self.book_version = 0  # counts its changes: what follows from a book need not be worked out anew
        self.status = INITIALIZED
        self.stage = 0  # grows with every change of status
        self.closing: int | None = None  # the stage in which it closed, until its book is cleared
        self.result = ""
        self.value_cc: int | None = None  # what a YES contract is worth, once determined
        self.settled_us = 0
        self.updated_us = terms.created_us
        self.ticker_due = False
        self.ticker_sent_us = 0
        self.ticker_line: dict[str, Any] = {}  # as last sent, without its times

    @property
    def ticker(self) -> str:
        return self.terms.ticker

    @property
    def is_tradable(self) -> bool:
        """Whether orders are taken now."""
        return self.refusal(cancelling=False) is None

    def refusal(self, *, cancelling: bool) -> Refusal | None:
        """Return why an order request is refused because of the state of market and exchange."""
        paused = self.pauses.refusal(self.terms.exchange_index, self.ticker, cancelling=cancelling)
        if paused is not None:
            return paused
        if self.status == INACTIVE:
            return None if cancelling else TRADING_IS_PAUSED
        return None if self.status == ACTIVE else MARKET_INACTIVE

    def levels(self, side: Side) -> dict[int, int]:
        """Return price_cc → count_cx as published."""
        levels = self.book.levels(side)
        if self.displayed is None:
            return levels
        for price, size in self.displayed.levels(side).items():
            levels[price] = levels.get(price, 0) + size
        return levels

    def best_cc(self, side: Side) -> int:
        best = self.book.best_cc(side)
        return best if self.displayed is None else max(best, self.displayed.best_cc(side))

    def note_quote(self, at_us: int) -> None:
        """Keep the best prices of a moment for the candles."""
        bid, no_bid = self.best_cc(Side.YES), self.best_cc(Side.NO)
        self.tape.candles.quote(
            at_us, bid_cc=bid, ask_cc=DOLLAR_CC - no_bid, open_interest_cx=self.tape.open_interest_cx
        )

    def size_cx(self, side: Side, price_cc: int) -> int:
        size_cx = self.book.size_cx(side, price_cc)
        return size_cx if self.displayed is None else size_cx + self.displayed.shown_cx(side, price_cc)

    def would_cross(self, side: Side, price_cc: int) -> bool:
        best = self.best_cc(side.other)
        return best > 0 and price_cc + best >= DOLLAR_CC

    def reachable_cx(self, side: Side, price_cc: int) -> int:
        """Return what an order of `side` at `price_cc` could trade at once, the taker's own orders included."""
        if self.displayed is None:
            return self.book.reachable_cx(side, price_cc)
        return sum(size for price, size in self.levels(side.other).items() if price + price_cc >= DOLLAR_CC)

    def place(self, order: RestingOrder, *, rest: bool, withdraw_own: bool = False) -> Outcome:
        if self.displayed is None:
            return self.book.place(order, rest=rest, withdraw_own=withdraw_own)
        return self.displayed.place(self.book, order, rest=rest, withdraw_own=withdraw_own)

    def amend(self, order_id: str, *, price_cc: int, remaining_cx: int) -> Outcome:
        """Give a resting order another price or size; see `MatchingBook.amend`."""
        if self.displayed is None:
            return self.book.amend(order_id, price_cc=price_cc, remaining_cx=remaining_cx)
        return self.displayed.amend(self.book, order_id, price_cc=price_cc, remaining_cx=remaining_cx)

    def ahead_cx(self, order_id: str) -> int:
        """Return the contracts ahead of a resting order.

        In a replayed market the recorded level cannot be split by time, so all of it counts as ahead.

        Raises:
            KeyError: It does not rest here.
        """
        ahead = self.book.ahead_cx(order_id)
        if self.displayed is None:
            return ahead
        order = self.book.get(order_id)
        assert order is not None, "ahead_cx has found it"
        return ahead + self.displayed.shown_cx(order.side, order.price_cc)

    def clear(self) -> None:
        """Drop every level: the market is over."""
        self.book = MatchingBook()
        self.book_version += 1
        if self.displayed is not None:
            self.displayed = Displayed()
