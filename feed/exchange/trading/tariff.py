"""Which fee holds for a market at this moment, and the changes that are scheduled.

    the event's override, both fields or neither ──wins over──► the series' fee type and multiplier
    the market's fee waiver, until it expires ──► no trade fee (what a balance cannot hold is still rounded away)

Source: facts.md section 9; openapi.yaml, GetSeriesFeeChanges and GetEventFeeChanges; asyncapi.yaml, eventFeeUpdate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from feed.exchange.catalog import FeeTerms
from feed.exchange.happenings import Announced
from feed.exchange.trading import fees
from feed.exchange.trading.fees import CENT_UD, DIRECT_UD, Charge
from feed.exchange.wire import public as wire

if TYPE_CHECKING:
    from feed.exchange.market import Market
    from feed.exchange.world import World


class SeriesFeeChange(msgspec.Struct, frozen=True):
    """A series gets other fees at `scheduled_us`."""

    change_id: str
    series_ticker: str
    terms: FeeTerms
    scheduled_us: int


class EventFeeChange(msgspec.Struct, frozen=True):
    """An event gets an override at `scheduled_us`; None clears the one it has."""

    change_id: str
    event_ticker: str
    series_ticker: str
    terms: FeeTerms | None
    scheduled_us: int


class Tariff:
    """The fees of one exchange."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.series_changes: list[SeriesFeeChange] = []
        self.event_changes: list[EventFeeChange] = []

    def terms(self, market: Market) -> FeeTerms:
        """Return the fee type and multiplier that hold for a market now; a waiver is not looked at."""
        event = self._world.events[market.terms.event_ticker]
        return event.fee_override or self._world.series[event.series_ticker].fees

    def is_waived(self, market: Market) -> bool:
        until_us = market.terms.fee_waiver_until_us
        return until_us is not None and self._world.now_us < until_us

    def charge(
        self,
        market: Market,
        *,
        is_direct_member: bool,
        is_taker: bool,
        yes_price_cc: int,
        count_cx: int,
        revenue_ud: int,
        gathered_ud: int,
    ) -> Charge:
        """Return what a fill costs its account now; arguments as in `fees`."""
        generation = self._world.switches.fee_generation
        trade_fee_ud = 0
        if not self.is_waived(market):
            trade_fee_ud = fees.trade_fee_ud(
                self.terms(market),
                is_taker=is_taker,
                yes_price_cc=yes_price_cc,
                count_cx=count_cx,
                generation=generation,
            )
        return fees.charge(
            revenue_ud=revenue_ud,
            trade_fee_ud=trade_fee_ud,
            gathered_ud=gathered_ud,
            precision_ud=DIRECT_UD if is_direct_member else CENT_UD,
            generation=generation,
        )

    # --- changes --------------------------------------------------------------------------------------------------

    def change_series(self, series_ticker: str, terms: FeeTerms, *, at_us: int) -> SeriesFeeChange:
        """Schedule other fees for a series.

        Raises:
            KeyError: No such series.
            ValueError: Fees whose formula is not known.
        """
        fees.check(terms)
        series = self._world.series[series_ticker]
        change = SeriesFeeChange(self._world.new_id(), series.ticker, terms, at_us)
        self.series_changes.append(change)
        self._world.schedule(at_us, lambda: self._apply_to_series(change))
        return change

    def change_event(self, event_ticker: str, terms: FeeTerms | None, *, at_us: int) -> EventFeeChange:
        """Schedule an override for an event, or its end (None); announced when it takes effect.

        Raises:
            KeyError: No such event.
            ValueError: Fees whose formula is not known.
        """
        if terms is not None:
            fees.check(terms)
        event = self._world.events[event_ticker]
        change = EventFeeChange(self._world.new_id(), event.ticker, event.series_ticker, terms, at_us)
        self.event_changes.append(change)
        self._world.schedule(at_us, lambda: self._apply_to_event(change))
        return change

    def _apply_to_series(self, change: SeriesFeeChange) -> None:
        series = self._world.series[change.series_ticker]
        self._world.series[change.series_ticker] = msgspec.structs.replace(
            series, fee_type=change.terms.fee_type, fee_multiplier_bps=change.terms.multiplier_bps
        )

    def _apply_to_event(self, change: EventFeeChange) -> None:
        event = self._world.events.get(change.event_ticker)
        if event is None:
            return  # settled and gone to the history before its change was due
        self._world.events[change.event_ticker] = msgspec.structs.replace(event, fee_override=change.terms)
        body = {"event_ticker": change.event_ticker, **wire.fee_override(change.terms)}
        self._world.emit(Announced("event_fee_update", body))
