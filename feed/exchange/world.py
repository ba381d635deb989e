"""The clockwork of the exchange: what is listed, and what happens when.

Time is passed in. `advance(now)` does everything that has fallen due, in order of time and then of scheduling, so
the same seed and the same steps give the same happenings. What a market lives through is in `life.py`.
"""

from __future__ import annotations

import heapq
import random
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from feed.exchange.catalog import Event, Program, Series, Terms
from feed.exchange.flow.displayed import Displayed
from feed.exchange.happenings import Announced, Halted, Happening, Private, TickerChanged
from feed.exchange.incentives.ledger import Incentives
from feed.exchange.life import Judge, Life
from feed.exchange.market import FINALIZED, Market
from feed.exchange.pauses import Halt, Pauses, Scope, Window, next_weekly_window
from feed.exchange.switches import Switches
from feed.exchange.trading.accounts import Account
from feed.exchange.trading.clearing import Clearing
from feed.exchange.trading.entry import OrderEntry
from feed.exchange.trading.positions import Position
from feed.exchange.trading.tariff import Tariff
from feed.exchange.trading.transfers import Transfers
from feed.exchange.wire import public as wire

SECOND_US = 1_000_000
PAST_MARKETS_KEPT = 2_000
TICKER_EVERY_US = SECOND_US
RETIRE_AGAIN_US = 10 * SECOND_US  # how often to look whether a market that was held up has paid out

DEFAULTS = Switches()

Action = Callable[[], None]


def stable_uuid(name: str) -> str:
    """Return an id that is the same in every run for the same name."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"kalshimm-local-exchange:{name}"))


class PastMarket(msgspec.Struct, frozen=True):
    """A market that is no longer listed, and its event, which can still be asked for by its name."""

    market: Market
    event: Event


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
        self.pauses = Pauses()
        self.life = Life(self)
        self.clearing = Clearing(self)
        self.transfers = Transfers(self)
        self.entry = OrderEntry(self)
        self.tariff = Tariff(self)
        self.incentives = Incentives(self)
        self._delisted_us = 0  # what settled before is history, listed or not
        self._past: dict[str, PastMarket] = {}
        self._markets_of: dict[str, list[str]] = {}
        self._due: list[tuple[int, int, Action]] = []
        self._scheduled = 0
        self._flow_orders = 0
        self._happenings: list[Happening] = []
        # The start time is part of it: ids must not come again after a restart.
        self._ids = random.Random(f"{seed}:ids:{now_us}")
        if switches.weekly_maintenance:
            self.plan(next_weekly_window(now_us))

    # --- time -----------------------------------------------------------------------------------------------------

    def schedule(self, due_us: int, action: Action) -> None:
        """Do `action` when time has reached `due_us` (at the next step if that is past)."""
        self._scheduled += 1
        heapq.heappush(self._due, (due_us, self._scheduled, action))

    def advance(self, now_us: int, *, most: int | None = None) -> bool:
        """Do what is due up to `now_us`, or the first `most` actions of it; return whether all is done.

        Time never steps back; it stands at the last action while some are left.
        """
        left = most
        while self._due and self._due[0][0] <= now_us:
            if left is not None:
                if left <= 0:
                    return False
                left -= 1
            due_us, _, action = heapq.heappop(self._due)
            self.now_us = max(self.now_us, due_us)
            action()
        self.now_us = max(self.now_us, now_us)
        return True

    def emit(self, happening: Happening) -> None:
        self._happenings.append(happening)
        if isinstance(happening, Private):
            self.accounts[happening.account].note_change(self.now_us)

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

    # --- history --------------------------------------------------------------------------------------------------

    @property
    def history_cutoff_us(self) -> int:
        """The time before which what has ended is history and no longer live."""
        return self.now_us - self.switches.live_tier_s * SECOND_US

    def is_settled(self, ticker: str) -> bool:
        """Whether a market has paid out; one that is no longer listed has."""
        market = self.markets.get(ticker)
        return market is None or market.settled_us > 0

    def is_archived(self, position: Position) -> bool:
        """Whether a settled position has left the live reads."""
        return position.updated_us < self.history_cutoff_us and self.is_settled(position.ticker)

    @property
    def markets_cutoff_us(self) -> int:
        """The time before which a market that settled is history: by its age, or by an event that left the list."""
        return max(self._delisted_us, self.history_cutoff_us)

    def past_markets(self) -> list[PastMarket]:
        """Return the markets of the history: those no longer listed, and those listed that settled as long ago."""
        return [*self._past.values(), *(self._as_past(m) for m in self.markets.values() if self._is_past(m))]

    def past_market(self, ticker: str) -> Market | None:
        """Return a market of the history."""
        past, listed = self._past.get(ticker), self.markets.get(ticker)
        if past is not None:
            return past.market
        return listed if listed is not None and self._is_past(listed) else None

    def every_market(self) -> Iterator[Market]:
        """Yield the listed markets, and those no longer listed."""
        yield from self.markets.values()
        yield from (past.market for past in self._past.values())

    def event_of(self, ticker: str) -> str | None:
        """Return the event of a market, listed or past."""
        past, listed = self._past.get(ticker), self.markets.get(ticker)
        return listed.terms.event_ticker if listed else past.event.ticker if past else None

    def _is_past(self, market: Market) -> bool:
        return 0 < market.settled_us < self.markets_cutoff_us

    def _as_past(self, market: Market) -> PastMarket:
        return PastMarket(market, self.events[market.terms.event_ticker])

    def event(self, ticker: str) -> Event | None:
        """Return an event, listed or past: events stay where they were when their markets become history."""
        past = (past.event for past in self._past.values() if past.event.ticker == ticker)
        return self.events.get(ticker) or next(past, None)

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
        market = Market(terms, displayed=displayed, pauses=self.pauses)
        self.markets[terms.ticker] = market
        self._markets_of[terms.event_ticker].append(terms.ticker)
        self.life.announce_created(market)
        self.life.begin(market, judge, determine_after_us)
        return market

    def retire(self, event_ticker: str) -> None:
        """Delist an event as soon as all its markets have paid out."""
        if all(market.status == FINALIZED for market in self.markets_of(event_ticker)):
            self.delist(event_ticker)
        else:
            self.schedule(self.now_us + RETIRE_AGAIN_US, lambda: self.retire(event_ticker))

    def delist(self, event_ticker: str) -> None:
        """Move a settled event to the history."""
        event = self.events.pop(event_ticker)
        for ticker in self._markets_of.pop(event_ticker, ()):
            market = self.markets.pop(ticker)
            self.life.forget(ticker)
            self._past[ticker] = PastMarket(market, event)
            self._delisted_us = max(self._delisted_us, market.settled_us + 1)
        for old in list(self._past)[: max(0, len(self._past) - PAST_MARKETS_KEPT)]:
            del self._past[old]

    # --- halts ----------------------------------------------------------------------------------------------------

    def pause(self, halt: Halt, scope: Scope = None) -> None:
        """Halt trading, or everything, on a shard, in a market, or everywhere; orders that asked for it go first."""
        self.entry.on_pause(
            exchange_index=scope if isinstance(scope, int) else None, ticker=scope if isinstance(scope, str) else None
        )
        self.pauses.set(halt, scope)
        self.emit(Halted(halt, scope, is_on=True))

    def resume(self, halt: Halt, scope: Scope = None) -> None:
        """End a halt; orders that should have expired during an exchange pause do so now."""
        self.pauses.lift(halt, scope)
        self.emit(Halted(halt, scope, is_on=False))
        for account in self.accounts.values():
            for order in account.resting():
                if order.expires_us is not None and order.expires_us <= self.now_us:
                    self.entry.expire(account, order.order_id)

    def plan(self, window: Window) -> None:
        """Announce a maintenance window in the schedule, and halt everything while it runs."""
        self.pauses.windows.append(window)
        self.schedule(window.start_us, lambda: self.pause(window.halt))
        self.schedule(window.end_us, lambda: self._end_window(window))

    def _end_window(self, window: Window) -> None:
        self.pauses.windows.remove(window)
        self.resume(window.halt)
        if self.switches.weekly_maintenance and not self.pauses.windows:
            self.plan(next_weekly_window(window.end_us))

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
        market.note_quote(self.now_us)
        self.emit(TickerChanged(market.ticker, {**line, **wire.ticker_times(self.now_us)}))
