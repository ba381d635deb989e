"""`/series`, `/events`, `/milestones`, `/structured_targets`, `/incentive_programs`: what there is to trade."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from feed.kalshi.calls import Calls, Listing, Pages, Parameters, comma, listing, segment
from feed.kalshi.endpoints.seconds import from_s
from feed.kalshi.wire.bodies import Body
from feed.kalshi.wire.catalogue import (
    Event,
    EventFeeChange,
    EventMetadata,
    IncentiveProgram,
    Milestone,
    Series,
    SeriesFeeChange,
    StructuredTarget,
)
from feed.kalshi.wire.kinds import write_time

B = TypeVar("B", bound=Body)

EVENTS_PAGE = 200
MILESTONES_PAGE = 500
PROGRAMS_PAGE = 1_000  # the venue would give ten thousand, in an answer of megabytes
FEE_CHANGES_PAGE = 1_000
TARGETS_PAGE = 2_000


class Catalogue:
    """Series, events and what hangs on them. All of it is public."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def series(self, ticker: str, *, with_volume: bool | None = None) -> Series:
        query = Parameters(include_volume=with_volume)
        return await self._calls.read(Series, f"/series/{segment(ticker)}", query, inside="series")

    async def all_series(
        self, *, category: str | None = None, tags: str | None = None, min_updated_us: int | None = None
    ) -> Listing[Series]:
        """Return every series: the venue does not page this list."""
        query = Parameters(category=category, tags=tags, min_updated_ts=from_s(min_updated_us))
        return await self._listing(Series, "/series", query, "series")

    async def series_fee_changes(
        self, *, series_ticker: str | None = None, show_historical: bool | None = None
    ) -> Listing[SeriesFeeChange]:
        query = Parameters(series_ticker=series_ticker, show_historical=show_historical)
        return await self._listing(SeriesFeeChange, "/series/fee_changes", query, "series_fee_change_arr")

    def events(
        self,
        *,
        status: str | None = None,
        series_ticker: str | None = None,
        tickers: Sequence[str] | None = None,
        with_nested_markets: bool = False,
        min_close_us: int | None = None,
        min_updated_us: int | None = None,
    ) -> Pages[Event]:
        """List events, combos left out; `status` is `unopened`, `open`, `closed` or `settled`."""
        query = Parameters(
            limit=EVENTS_PAGE, status=status, series_ticker=series_ticker, tickers=comma(tickers),
            with_nested_markets=with_nested_markets, min_close_ts=from_s(min_close_us),
            min_updated_ts=from_s(min_updated_us),
        )  # fmt: skip
        return Pages(self._calls, Event, "/events", query, "events")

    def multivariate_events(
        self,
        *,
        series_ticker: str | None = None,
        collection_ticker: str | None = None,
        with_nested_markets: bool = False,
    ) -> Pages[Event]:
        """List the events of combos."""
        query = Parameters(
            limit=EVENTS_PAGE, series_ticker=series_ticker, collection_ticker=collection_ticker,
            with_nested_markets=with_nested_markets,
        )  # fmt: skip
        return Pages(self._calls, Event, "/events/multivariate", query, "events")

    async def event(self, ticker: str) -> Event:
        """Return one event with its markets."""
        query = Parameters(with_nested_markets=True)
        return await self._calls.read(Event, f"/events/{segment(ticker)}", query, inside="event")

    async def event_metadata(self, ticker: str) -> EventMetadata:
        return await self._calls.read(EventMetadata, f"/events/{segment(ticker)}/metadata")

    def event_fee_changes(self, *, event_ticker: str | None = None) -> Pages[EventFeeChange]:
        query = Parameters(limit=FEE_CHANGES_PAGE, event_ticker=event_ticker)
        return Pages(self._calls, EventFeeChange, "/events/fee_changes", query, "event_fee_changes")

    def milestones(
        self,
        *,
        category: str | None = None,
        kind: str | None = None,
        related_event_ticker: str | None = None,
        min_start_us: int | None = None,
    ) -> Pages[Milestone]:
        query = Parameters(
            limit=MILESTONES_PAGE, category=category, type=kind, related_event_ticker=related_event_ticker,
            minimum_start_date=None if min_start_us is None else write_time(min_start_us),
        )  # fmt: skip
        return Pages(self._calls, Milestone, "/milestones", query, "milestones")

    async def milestone(self, milestone_id: str) -> Milestone:
        return await self._calls.read(Milestone, f"/milestones/{segment(milestone_id)}", inside="milestone")

    def structured_targets(self, *, kind: str | None = None) -> Pages[StructuredTarget]:
        query = Parameters(page_size=TARGETS_PAGE, type=kind)
        return Pages(self._calls, StructuredTarget, "/structured_targets", query, "structured_targets")

    async def structured_target(self, target_id: str) -> StructuredTarget:
        path = f"/structured_targets/{segment(target_id)}"
        return await self._calls.read(StructuredTarget, path, inside="structured_target")

    def incentive_programs(self, *, status: str = "all", kind: str = "all") -> Pages[IncentiveProgram]:
        """List programs; the only list whose cursor is called `next_cursor`.

        Args:
            status: `all`, `active`, `upcoming`, `closed` or `paid_out`.
            kind: `all`, `liquidity`, `volume` …
        """
        query = Parameters(limit=PROGRAMS_PAGE, status=status, type=kind)
        name = "incentive_programs"
        return Pages(self._calls, IncentiveProgram, "/incentive_programs", query, name, cursor_name="next_cursor")

    async def _listing(self, kind: type[B], path: str, query: Parameters, name: str) -> Listing[B]:
        data = await self._calls.decoded(path, query)
        return self._calls.shaped(lambda value: listing(kind, value, name, path), data, path)
