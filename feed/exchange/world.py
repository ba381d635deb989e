"""The clockwork of the exchange: what is listed, and what happens when.

Time is passed in. `advance(now)` does everything that has fallen due, in order of time and then of scheduling, so
the same seed and the same steps give the same happenings. Life of a market (facts.md 5.3):

    initialized ─open─► active ─close─► closed ─book cleared─ determined ─ finalized
                silent         silent          snapshot without ladders, CloseCancel to owners; then two announcements
"""

from __future__ import annotations

import heapq
import random
import uuid
from collections.abc import Callable
from typing import Any

import msgspec

from feed.exchange.catalog import Event, Program, Series, Terms
from feed.exchange.flow.displayed import Displayed
from feed.exchange.happenings import Announced, BookCleared, Happening, TickerChanged
from feed.exchange.incentives.ledger import Incentives
from feed.exchange.market import ACTIVE, CLOSED, DETERMINED, FINALIZED, INITIALIZED, Market
from feed.exchange.switches import Switches
from feed.exchange.trading.accounts import Account
from feed.exchange.trading.entry import OrderEntry
from feed.exchange.trading.tariff import Tariff
from feed.exchange.wire import public as wire

SECOND_US = 1_000_000
CLEAR_AFTER_US = 1 * SECOND_US  # resting orders go "shortly after close"
TICKER_EVERY_US = SECOND_US

DEFAULTS = Switches()

Action = Callable[[], None]
Judge = Callable[[], str]


def stable_uuid(name: str) -> str:
    """Return an id that is the same in every run for the same name."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"kalshimm-local-exchange:{name}"))


class World:
    """One exchange in memory. Not for two threads."""

    def __init__(self, *, seed: int, now_us: int, switches: Switches = DEFAULTS) -> None:
        self.seed = seed
        self.switches = switches
        self.now_us = now_us
        self.series: dict[str, Series] = {}
        self.events: dict[str, Event] = {}
        self.markets: dict[str, Market] = {}
        self.programs: dict[str, Program] = {}
        self.accounts: dict[str, Account] = {}
        self.on_open: list[Callable[[Market], None]] = []
        self.entry = OrderEntry(self)
        self.tariff = Tariff(self)
        self.incentives = Incentives(self)
        self._markets_of: dict[str, list[str]] = {}
        self._judges: dict[str, tuple[Judge, int]] = {}
        self._due: list[tuple[int, int, Action]] = []
        self._scheduled = 0
        self._flow_orders = 0
        self._happenings: list[Happening] = []
        # The start time is part of it: ids must not come again after a restart.
        self._ids = random.Random(f"{seed}:ids:{now_us}")

    # --- time -----------------------------------------------------------------------------------------------------

    def schedule(self, due_us: int, action: Action) -> None:
        """Do `action` when time has reached `due_us` (at the next step if that is past)."""
        self._scheduled += 1
        heapq.heappush(self._due, (due_us, self._scheduled, action))

    def advance(self, now_us: int) -> None:
        """Do all that is due up to `now_us`; time never steps back."""
        while self._due and self._due[0][0] <= now_us:
            due_us, _, action = heapq.heappop(self._due)
            self.now_us = max(self.now_us, due_us)
            action()
        self.now_us = max(self.now_us, now_us)

    def emit(self, happening: Happening) -> None:
        self._happenings.append(happening)

    def take(self) -> list[Happening]:
        """Return and forget what has happened since the last call."""
        taken, self._happenings = self._happenings, []
        return taken

    # --- identity -------------------------------------------------------------------------------------------------

    def new_id(self) -> str:
        return str(uuid.UUID(int=self._ids.getrandbits(128), version=4))

    def flow_id(self) -> str:
        self._flow_orders += 1
        return f"flow-{self._flow_orders}"

    def account(self, name: str) -> Account:
        """Return the account of that name, opened on first use."""
        if name not in self.accounts:
            self.accounts[name] = Account(name, stable_uuid(f"user:{name}"), at_us=self.now_us)
        return self.accounts[name]

    # --- catalogue ------------------------------------------------------------------------------------------------

    def series_of(self, market: Market) -> Series:
        return self.series[self.events[market.terms.event_ticker].series_ticker]

    def markets_of(self, event_ticker: str) -> list[Market]:
        return [self.markets[ticker] for ticker in self._markets_of.get(event_ticker, ())]

    def list_event(self, event: Event) -> None:
        self.events[event.ticker] = event
        self._markets_of[event.ticker] = []
        body: dict[str, Any] = {
            "event_ticker": event.ticker,
            "exchange_index": event.exchange_index,
            "title": event.title,
            "subtitle": event.sub_title,
            "collateral_return_type": event.collateral_return_type,
            "series_ticker": event.series_ticker,
            "strike_date": wire.seconds(event.strike_us),
        }
        self.emit(Announced("event_lifecycle", body))

    def list_market(
        self, terms: Terms, *, judge: Judge, determine_after_us: int, displayed: Displayed | None = None
    ) -> Market:
        """List a market of a listed event; it opens, closes and settles by itself.

        Args:
            judge: Asked once, `determine_after_us` after the close: "yes" or "no".
            displayed: The recorded side of a replayed market.
        """
        market = Market(terms, displayed=displayed)
        self.markets[terms.ticker] = market
        self._markets_of[terms.event_ticker].append(terms.ticker)
        self._judges[terms.ticker] = (judge, determine_after_us)
        self._announce_created(terms)
        if terms.open_us <= self.now_us:
            self.open_market(market)
        else:
            self.schedule(terms.open_us, lambda: self.open_market(market))
        self.schedule(terms.close_us, lambda: self._close_if_due(market))
        return market

    def delist(self, event_ticker: str) -> None:
        """Forget a settled event: the venue moves such to its history."""
        for ticker in self._markets_of.pop(event_ticker, ()):
            del self.markets[ticker], self._judges[ticker]
        del self.events[event_ticker]

    def _announce_created(self, terms: Terms) -> None:
        details = {
            "name": terms.yes_sub_title,
            "title": terms.title,
            "yes_sub_title": terms.yes_sub_title,
            "no_sub_title": terms.no_sub_title,
            "rules_primary": terms.rules_primary,
            "rules_secondary": terms.rules_secondary,
            "can_close_early": True,
            "event_ticker": terms.event_ticker,
            "expected_expiration_ts": wire.seconds(terms.expected_expiration_us),
            **terms.strike,
        }
        body = {
            "market_ticker": terms.ticker,
            "event_type": "created",
            "exchange_index": terms.exchange_index,
            "open_ts": wire.seconds(terms.open_us),
            "close_ts": wire.seconds(terms.close_us),
            "price_level_structure": terms.structure,
            "price_ranges": wire.price_ranges(terms),
            "additional_metadata": details,
        }
        self.emit(Announced("market_lifecycle_v2", body))

    # --- life of a market -----------------------------------------------------------------------------------------

    def open_market(self, market: Market) -> None:
        if market.status != INITIALIZED:
            return
        market.status = ACTIVE
        for hook in self.on_open:
            hook(market)

    def close_market(self, market: Market, *, determine: bool = True) -> None:
        """End trading; silent on the wire until the book is cleared.

        With `determine` false the market stays closed: nobody knows how it would have ended.
        """
        if market.status not in (INITIALIZED, ACTIVE):
            return
        market.status = CLOSED
        if market.displayed is None:
            self.schedule(self.now_us + CLEAR_AFTER_US, lambda: self.clear_market(market))
        if not determine:
            return
        _, determine_after_us = self._judges[market.ticker]
        self.schedule(self.now_us + determine_after_us, lambda: self._determine(market))

    def move_close(self, market: Market, close_us: int) -> None:
        """Move the close of a market to another time, and say so."""
        market.terms = msgspec.structs.replace(market.terms, close_us=close_us)
        self._announce(market, "close_date_updated", close_ts=wire.seconds(close_us))
        self.schedule(close_us, lambda: self._close_if_due(market))

    def _close_if_due(self, market: Market) -> None:
        if market.terms.close_us <= self.now_us:  # else the close was moved after this was scheduled
            self.close_market(market)

    def close_early(self, market: Market, *, determine: bool = True) -> None:
        """Move the close to now, and close."""
        self.move_close(market, self.now_us)
        self.close_market(market, determine=determine)

    def clear_market(self, market: Market) -> None:
        """Cancel what rests and tell every subscriber that the book is empty."""
        self.entry.drop_all(market, reason="CloseCancel")
        market.clear()
        self.emit(BookCleared(market.ticker))

    def _determine(self, market: Market) -> None:
        judge, _ = self._judges[market.ticker]
        market.status, market.result = DETERMINED, judge()
        self._announce(
            market,
            "determined",
            result=market.result,
            determination_ts=wire.seconds(self.now_us),
            settlement_value="1.0000" if market.result == "yes" else "0.0000",
        )
        self.schedule(self.now_us + market.terms.settlement_timer_s * SECOND_US, lambda: self._finalize(market))

    def _finalize(self, market: Market) -> None:
        market.status, market.settled_us = FINALIZED, self.now_us
        self.entry.pay_out(market)
        self._announce(market, "settled", settled_ts=wire.seconds(self.now_us))

    def _announce(self, market: Market, event_type: str, **fields: Any) -> None:
        body = {"market_ticker": market.ticker, "event_type": event_type, **fields}
        self.emit(Announced("market_lifecycle_v2", body))

    # --- quote line -----------------------------------------------------------------------------------------------

    def touch(self, market: Market) -> None:
        """Note that a book changed, and with it perhaps the quote line: sent at once, but at most each second."""
        market.book_version += 1
        if market.ticker_due or market.displayed is not None:
            return
        market.ticker_due = True
        self.schedule(max(self.now_us, market.ticker_sent_us + TICKER_EVERY_US), lambda: self._send_ticker(market))

    def _send_ticker(self, market: Market) -> None:
        market.ticker_due = False
        line = wire.ticker_line(market)
        if line == market.ticker_line:
            return  # the change lay deeper than what the line shows
        market.ticker_line, market.ticker_sent_us = line, self.now_us
        self.emit(TickerChanged(market.ticker, {**line, **wire.ticker_times(self.now_us)}))
