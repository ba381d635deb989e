"""REST of what is listed: series, events, markets, and how to find them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from feed.exchange.catalog import Event, Series
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
from feed.exchange.rest.milestones import milestone_of
from feed.exchange.rest.public import BASE
from feed.exchange.wire import public as wire
from feed.exchange.wire.answers import BadParameter, Query, answer, newest_first, not_found, page
from markets.core.units import format_count

if TYPE_CHECKING:
    from feed.exchange.server import LocalExchange

# The filter's words are not those of the bodies (facts.md 5.3).
STATUS_FILTERS = {
    "unopened": (INITIALIZED,),
    "open": (ACTIVE,),
    "paused": (INACTIVE,),
    "closed": (CLOSED, DETERMINED, DISPUTED, AMENDED),
    "settled": (FINALIZED,),
}
EVENT_STATUSES = ("unopened", "open", "closed", "settled")
COLLECTION_STATUSES = ("unopened", "open", "closed")
MVE_FILTERS = ("only", "exclude")
# Which status filters go with which family of time filters (OpenAPI, GetMarkets).
TIME_FAMILIES: dict[str, tuple[str, ...]] = {
    "created": ("", "unopened", "open"),
    "close": ("", "closed"),
    "settled": ("", "settled"),
    "updated": ("",),
}
FOR_EVER_US = 10**18


class CatalogueReads:
    """Handlers anybody may call."""

    def __init__(self, exchange: LocalExchange) -> None:
        self._exchange = exchange

    def routes(self) -> list[web.RouteDef]:
        table = {
            "/series": self.series_list,
            "/series/{series_ticker}": self.series,
            "/events": self.events,
            "/events/multivariate": self.multivariate_events,
            "/events/{event_ticker}": self.event,
            "/events/{event_ticker}/metadata": self.event_metadata,
            "/markets": self.markets,
            "/markets/{ticker}": self.market,
            "/multivariate_event_collections": self.collections,
            "/multivariate_event_collections/{collection_ticker}": self.collection,
            "/search/tags_by_categories": self.tags,
            "/search/filters_by_sport": self.sports,
        }
        return [web.get(BASE + path, handler) for path, handler in table.items()]

    # --- series ---------------------------------------------------------------------------------------------------

    async def series_list(self, request: web.Request) -> web.Response:
        query = Query("GetSeriesList", request.query)
        category, tags = query.text("category"), query.words("tags")
        with_volume, since_us = query.flag("include_volume"), query.after_us("min_updated_ts")
        self._exchange.step()
        found = [
            series
            for series in self._exchange.world.series.values()
            if category in ("", series.category)
            and (not tags or tags & set(series.tags))
            and (since_us is None or self._updated_us(series) >= since_us)
        ]
        return answer({"series": [self._series_body(series, with_volume=with_volume) for series in found]})

    async def series(self, request: web.Request) -> web.Response:
        series = self._exchange.world.series.get(request.match_info["series_ticker"])
        if series is None:
            return not_found()
        with_volume = Query("GetSeries", request.query).flag("include_volume")
        return answer({"series": self._series_body(series, with_volume=with_volume)})

    def _series_body(self, series: Series, *, with_volume: bool) -> dict[str, Any]:
        body = wire.series_body(series)
        if with_volume:
            markets = self._exchange.world.markets.values()
            volume = sum(m.tape.volume_cx for m in markets if self._exchange.world.series_of(m) is series)
            body["volume_fp"] = format_count(volume)
        return body

    def _updated_us(self, series: Series) -> int:
        """Return when the newest event of a series was listed: nothing else of a series changes here."""
        events = self._exchange.world.events.values()
        return max((event.created_us for event in events if event.series_ticker == series.ticker), default=0)

    # --- events ---------------------------------------------------------------------------------------------------

    async def events(self, request: web.Request) -> web.Response:
        query = Query("GetEvents", request.query)
        limit = query.limit(default=200, maximum=200)
        found = self._events(query)
        events, cursor = page(found, lambda e: e.ticker, limit=limit, cursor=query.text("cursor"))
        nested, world = query.flag("with_nested_markets"), self._exchange.world
        body: dict[str, Any] = {"events": [self._event_body(e, nested=nested) for e in events], "cursor": cursor}
        if query.flag("with_milestones"):
            body["milestones"] = [milestone_of(event, world.series[event.series_ticker]) for event in events]
        return answer(body)

    def _events(self, query: Query) -> list[Event]:
        status = query.choice("status", EVENT_STATUSES)
        tickers, series_ticker = query.words("tickers"), query.text("series_ticker")
        closes_us, since_us = query.after_us("min_close_ts"), query.after_us("min_updated_ts")
        world = self._exchange.step()
        return [
            event
            for event in world.events.values()
            if (not tickers or event.ticker in tickers)
            and series_ticker in ("", event.series_ticker)
            and (not status or any(m.status in STATUS_FILTERS[status] for m in world.markets_of(event.ticker)))
            and (closes_us is None or any(m.terms.close_us >= closes_us for m in world.markets_of(event.ticker)))
            and (since_us is None or event.created_us >= since_us)
        ]

    async def event(self, request: web.Request) -> web.Response:
        world = self._exchange.step()
        event = world.event(request.match_info["event_ticker"])
        if event is None:
            return not_found()
        nested = Query("GetEvent", request.query).flag("with_nested_markets")
        markets = [wire.market_body(market, world.now_us) for market in world.markets_of(event.ticker)]
        return answer({"event": self._event_body(event, nested=nested), "markets": markets})

    def _event_body(self, event: Event, *, nested: bool) -> dict[str, Any]:
        world = self._exchange.world
        body = wire.event_body(event, world.series[event.series_ticker])
        if nested:
            body["markets"] = [wire.market_body(market, world.now_us) for market in world.markets_of(event.ticker)]
        return body

    async def event_metadata(self, request: web.Request) -> web.Response:
        world = self._exchange.step()
        event = world.event(request.match_info["event_ticker"])
        if event is None:
            return not_found()
        name, url = world.series[event.series_ticker].source
        details = [
            {"market_ticker": market.ticker, "image_url": "", "color_code": ""}
            for market in world.markets_of(event.ticker)
        ]
        sources = [{"name": name, "url": url}]
        return answer({"image_url": "", "settlement_sources": sources, "market_details": details})

    # --- markets --------------------------------------------------------------------------------------------------

    async def markets(self, request: web.Request) -> web.Response:
        query = Query("GetMarkets", request.query)
        limit = query.limit(default=100, maximum=1_000)
        world = self._exchange.step()
        markets, cursor = page(
            self._markets(query),
            lambda m: newest_first(m.terms.created_us, m.ticker),
            limit=limit,
            cursor=query.text("cursor"),
        )
        return answer({"markets": [wire.market_body(market, world.now_us) for market in markets], "cursor": cursor})

    def _markets(self, query: Query) -> list[Market]:
        world = self._exchange.world
        status = query.choice("status", tuple(STATUS_FILTERS))
        event_ticker, series_ticker = query.text("event_ticker"), query.text("series_ticker")
        tickers = query.words("tickers")
        bounds = time_bounds(query, status)
        if query.choice("mve_filter", MVE_FILTERS) == "only":
            return []  # no combos are listed here
        return [
            market
            for market in world.markets.values()
            if (not status or market.status in STATUS_FILTERS[status])
            and event_ticker in ("", market.terms.event_ticker)
            and series_ticker in ("", world.series_of(market).ticker)
            and (not tickers or market.ticker in tickers)
            and (bounds is None or bounds[1] <= _time_of(market, bounds[0]) <= bounds[2])
        ]

    async def market(self, request: web.Request) -> web.Response:
        world = self._exchange.step()
        market = world.markets.get(request.match_info["ticker"])
        return answer({"market": wire.market_body(market, world.now_us)}) if market else not_found()

    # --- combos and search ----------------------------------------------------------------------------------------

    async def multivariate_events(self, request: web.Request) -> web.Response:
        query = Query("GetMultivariateEvents", request.query)
        query.limit(default=100, maximum=200)
        if query.text("series_ticker") and query.text("collection_ticker"):
            raise BadParameter("GetMultivariateEvents", "series_ticker and collection_ticker exclude each other")
        return answer({"events": [], "cursor": ""})

    async def collections(self, request: web.Request) -> web.Response:
        query = Query("GetMultivariateEventCollections", request.query)
        query.limit(default=200, maximum=200)
        query.choice("status", COLLECTION_STATUSES)
        return answer({"multivariate_contracts": [], "cursor": ""})

    async def collection(self, _request: web.Request) -> web.Response:
        return not_found()

    async def tags(self, _request: web.Request) -> web.Response:
        found: dict[str, set[str]] = {}
        for series in self._exchange.world.series.values():
            found.setdefault(series.category, set()).update(series.tags)
        return answer({"tags_by_categories": {category: sorted(tags) for category, tags in sorted(found.items())}})

    async def sports(self, _request: web.Request) -> web.Response:
        return answer({"filters_by_sports": {}, "sport_ordering": []})


def time_bounds(query: Query, status: str) -> tuple[str, int, int] | None:
    """Return family, start and end of the time filters, None without any.

    Raises:
        BadParameter: Two families, a family beside a status it does not go with, or `updated` beside other filters.
    """
    bounds = []
    for family in TIME_FAMILIES:
        low, high = query.after_us(f"min_{family}_ts"), query.after_us(f"max_{family}_ts")
        if low is not None or high is not None:
            bounds.append((family, low or 0, FOR_EVER_US if high is None else high))
    if not bounds:
        return None
    if len(bounds) > 1:
        raise BadParameter("GetMarkets", "only one family of timestamp filters may be used")
    family = bounds[0][0]
    if status not in TIME_FAMILIES[family]:
        raise BadParameter("GetMarkets", f"{family} timestamp filters do not go with status {status}")
    if family == "updated":
        _check_updated(query)
    return bounds[0]


def _check_updated(query: Query) -> None:
    if query.text("event_ticker") or query.text("tickers"):
        raise BadParameter("GetMarkets", "updated timestamp filters go with mve_filter=exclude and series_ticker only")
    if query.text("series_ticker") and query.text("mve_filter") != "exclude":
        raise BadParameter("GetMarkets", "updated timestamp filters with series_ticker need mve_filter=exclude")


def _time_of(market: Market, family: str) -> int:
    match family:
        case "created":
            return market.terms.created_us
        case "updated":
            return market.updated_us
        case "close":
            return market.terms.close_us
        case _:
            return market.settled_us or -1  # one not settled yet lies before every bound
