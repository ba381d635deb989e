"""The life of a market. Source: facts.md 5.3, 5.4 and 13.

    initialized ─open─► active ─close─► closed ─► determined ─timer─► finalized
                silent   │ ▲   silent     │          │ ▲
              deactivated│ │activated     │ reopened │ │ amended (timer again)
                         ▼ │              ▼          ▼ │
                       inactive         active     disputed (timer stands)

Shortly after the close, what rests is cancelled (CloseCancel) and every subscriber is told of an empty book.
Reactivation, also by reopening, cancels everything that rests. Disputes are silent: the life-cycle channel has no
word for them. Scheduled steps carry the stage of the market they were meant for and lapse when it has moved on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from feed.exchange.catalog import PRICE_STRUCTURES
from feed.exchange.happenings import Announced, BookCleared
from feed.exchange.market import (
    ACTIVE,
    AMENDED,
    CLOSED,
    DETERMINED,
    DISPUTED,
    FINALIZED,
    INACTIVE,
    INITIALIZED,
    Market,
)
from feed.exchange.trading import orders
from feed.exchange.wire import public as wire
from markets.core.units import DOLLAR_CC, format_price

if TYPE_CHECKING:
    from feed.exchange.world import World

SECOND_US = 1_000_000
CLEAR_AFTER_US = 1 * SECOND_US  # resting orders go "shortly after close"
RECORDED_CLEAR_AFTER_US = 10 * SECOND_US  # a recording goes on for some seconds; its player may clear before
BINARY_VALUES = {"yes": DOLLAR_CC, "no": 0}
SCALAR = "scalar"

Judge = Callable[[], str]


class WrongState(Exception):
    """A market cannot do this in the state it is in."""

    def __init__(self, market: Market, wish: str) -> None:
        super().__init__(f"{market.ticker} is {market.status}: it cannot be {wish}")


class Life:
    """Moves the markets of a world from state to state and announces it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._judges: dict[str, tuple[Judge, int]] = {}

    def begin(self, market: Market, judge: Judge, determine_after_us: int) -> None:
        """Open, close and settle a listed market when its times come."""
        world, terms = self._world, market.terms
        self._judges[market.ticker] = (judge, determine_after_us)
        if terms.open_us <= world.now_us:
            self.open(market)
        else:
            world.schedule(terms.open_us, lambda: self.open(market))
        world.schedule(terms.close_us, lambda: self._close_if_due(market))

    def forget(self, ticker: str) -> None:
        del self._judges[ticker]

    def _enter(self, market: Market, status: str) -> None:
        market.status = status
        market.stage += 1

    def _later(self, market: Market, due_us: int, step: Callable[[], None]) -> None:
        stage = market.stage
        self._world.schedule(due_us, lambda: step() if market.stage == stage else None)

    # --- trading --------------------------------------------------------------------------------------------------

    def open(self, market: Market) -> None:
        if market.status != INITIALIZED:
            return
        self._enter(market, ACTIVE)
        for hook in self._world.on_open:
            hook(market)

    def deactivate(self, market: Market) -> None:
        """Halt an open market; cancels still work, orders that asked for it go.

        Raises:
            WrongState: It is not active.
        """
        if market.status != ACTIVE:
            raise WrongState(market, "deactivated")
        self._world.entry.on_pause(ticker=market.ticker)
        self._enter(market, INACTIVE)
        self._announce(market, "deactivated", is_deactivated=True)

    def activate(self, market: Market) -> None:
        """Let a halted market trade again, with an empty book.

        Raises:
            WrongState: It is not halted.
        """
        if market.status != INACTIVE:
            raise WrongState(market, "activated")
        self._reactivate(market)

    def _reactivate(self, market: Market) -> None:
        self._world.entry.empty(market, reason=orders.HALT_CANCEL)
        market.closing = None
        self._enter(market, ACTIVE)
        self._announce(market, "activated", is_deactivated=False)

    # --- the close ------------------------------------------------------------------------------------------------

    def close(self, market: Market, *, determine: bool = True) -> None:
        """End trading; silent on the wire until the book is cleared.

        With `determine` false the market stays closed: nobody knows how it would have ended.
        """
        if market.status not in (INITIALIZED, ACTIVE, INACTIVE):
            return
        self._enter(market, CLOSED)
        market.closing = market.stage
        self._clear_after(market, CLEAR_AFTER_US if market.displayed is None else RECORDED_CLEAR_AFTER_US)
        if determine:
            judge, determine_after_us = self._judges[market.ticker]
            due_us = self._world.now_us + determine_after_us
            self._later(market, due_us, lambda: self.determine(market, judge()))

    def _clear_after(self, market: Market, after_us: int) -> None:
        """Clear a market that has closed, unless it reopens or is cleared before."""
        closing = market.closing
        is_waiting = closing is not None
        due_us = self._world.now_us + after_us
        self._world.schedule(due_us, lambda: self.clear(market) if is_waiting and market.closing == closing else None)

    def move_close(self, market: Market, close_us: int) -> None:
        """Move the close of a market to another time, and say so; a closed market whose close now lies ahead reopens.

        Raises:
            WrongState: Its result is already known.
        """
        if market.status not in (INITIALIZED, ACTIVE, INACTIVE, CLOSED):
            raise WrongState(market, "given another close")
        world = self._world
        market.terms = msgspec.structs.replace(market.terms, close_us=close_us)
        self._announce(market, "close_date_updated", close_ts=wire.seconds(close_us))
        world.schedule(close_us, lambda: self._close_if_due(market))
        if market.status == CLOSED and close_us > world.now_us:
            self._reactivate(market)

    def _close_if_due(self, market: Market) -> None:
        if market.terms.close_us <= self._world.now_us:  # else the close was moved after this was scheduled
            self.close(market)

    def close_early(self, market: Market, *, determine: bool = True) -> None:
        """Move the close to now, and close."""
        self.move_close(market, self._world.now_us)
        self.close(market, determine=determine)
        self._clear_after(market, CLEAR_AFTER_US)

    def clear(self, market: Market) -> None:
        """Cancel what rests and tell every subscriber that the book is empty."""
        market.closing = None
        self._world.entry.drop_all(market, reason=orders.CLOSE_CANCEL)
        market.clear()
        self._world.emit(BookCleared(market.ticker))

    # --- the result -----------------------------------------------------------------------------------------------

    def determine(self, market: Market, result: str, value_cc: int | None = None) -> None:
        """Give a market its result; one that still trades closes early first.

        Args:
            result: `yes`, `no` or `scalar`.
            value_cc: What a YES contract is worth; only for `scalar`.

        Raises:
            WrongState: It has not opened, or has a result.
            ValueError: No such result, or a value that does not go with it.
        """
        worth = value_of(result, value_cc)
        if market.status in (ACTIVE, INACTIVE):
            self.close_early(market, determine=False)
        if market.status != CLOSED:
            raise WrongState(market, "determined")
        self._give_result(market, DETERMINED, result, worth)

    def dispute(self, market: Market) -> None:
        """Stop the settlement timer: somebody objects.

        Raises:
            WrongState: It has no result, or is paid out.
        """
        if market.status not in (DETERMINED, AMENDED):
            raise WrongState(market, "disputed")
        self._enter(market, DISPUTED)

    def amend(self, market: Market, result: str, value_cc: int | None = None) -> None:
        """Determine a market again; the timer starts anew. Arguments as `determine`.

        Raises:
            WrongState: It has no result, or is paid out.
        """
        worth = value_of(result, value_cc)
        if market.status not in (DETERMINED, DISPUTED, AMENDED):
            raise WrongState(market, "amended")
        self._give_result(market, AMENDED, result, worth)

    def _give_result(self, market: Market, status: str, result: str, value_cc: int) -> None:
        self._enter(market, status)
        market.result, market.value_cc = result, value_cc
        now = self._world.now_us
        self._announce(
            market,
            "determined",
            result=result,
            determination_ts=wire.seconds(now),
            settlement_value=format_price(value_cc),
        )
        self._later(market, now + market.terms.settlement_timer_s * SECOND_US, lambda: self.settle(market))

    def settle(self, market: Market) -> None:
        """Pay out now.

        Raises:
            WrongState: It has no result that stands.
        """
        if market.status not in (DETERMINED, AMENDED):
            raise WrongState(market, "settled")
        if len(market.book):
            self.clear(market)
        self._enter(market, FINALIZED)
        market.settled_us = self._world.now_us
        self._world.clearing.settle(market)
        self._announce(market, "settled", settled_ts=wire.seconds(self._world.now_us))

    # --- terms ----------------------------------------------------------------------------------------------------

    def restructure(self, market: Market, structure: str) -> None:
        """Give a market another price structure; what rests keeps its price (facts.md 5.5).

        Raises:
            KeyError: No such structure.
        """
        _ = PRICE_STRUCTURES[structure]
        market.terms = msgspec.structs.replace(market.terms, structure=structure)
        market.book_version += 1  # the same orders lie other steps apart: rewards are counted anew
        self._announce(
            market,
            "price_level_structure_updated",
            price_level_structure=structure,
            price_ranges=wire.price_ranges(market.terms),
        )

    def update_metadata(
        self, market: Market, *, yes_sub_title: str | None = None, strike: dict[str, Any] | None = None
    ) -> None:
        """Change what a market says about itself; `strike` replaces fields of that name (`floor_strike` …)."""
        terms = market.terms
        if yes_sub_title is not None:
            terms = msgspec.structs.replace(terms, yes_sub_title=yes_sub_title)
        changed = strike or {}
        market.terms = msgspec.structs.replace(terms, strike={**terms.strike, **changed})
        market.updated_us = self._world.now_us
        told = changed if yes_sub_title is None else {"yes_sub_title": yes_sub_title, **changed}
        self._announce(market, "metadata_updated", **told)

    # --- telling --------------------------------------------------------------------------------------------------

    def announce_created(self, market: Market) -> None:
        terms = market.terms
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
        self._announce(
            market,
            "created",
            exchange_index=terms.exchange_index,
            open_ts=wire.seconds(terms.open_us),
            close_ts=wire.seconds(terms.close_us),
            price_level_structure=terms.structure,
            price_ranges=wire.price_ranges(terms),
            additional_metadata=details,
        )

    def _announce(self, market: Market, event_type: str, **fields: Any) -> None:
        body = {"market_ticker": market.ticker, "event_type": event_type, **fields}
        self._world.emit(Announced("market_lifecycle_v2", body))


def value_of(result: str, value_cc: int | None) -> int:
    """Return what a YES contract is worth under a result.

    Raises:
        ValueError: No such result, or a value that does not go with it.
    """
    if result in BINARY_VALUES and value_cc is None:
        return BINARY_VALUES[result]
    if result == SCALAR and value_cc is not None and 0 <= value_cc <= DOLLAR_CC:
        return value_cc
    raise ValueError(f"result must be yes, no, or scalar with a value in 0..1 dollar, found {result} and {value_cc}")
