"""REST reads that need no signature: exchange, catalogue, books, trades."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from feed.exchange.market import ACTIVE, AMENDED, CLOSED, DETERMINED, DISPUTED, FINALIZED, INACTIVE, INITIALIZED, Market
from feed.exchange.wire import operations
from feed.exchange.wire import public as wire
from feed.exchange.wire.answers import BadParameter, Query, answer, newest_first, not_found, page

if TYPE_CHECKING:
    from feed.exchange.server import LocalExchange

BASE = "/trade-api/v2"
STATUS_FILTERS = {
    "unopened": (INITIALIZED,),
    "open": (ACTIVE,),
    "paused": (INACTIVE,),
    "closed": (CLOSED, DETERMINED, DISPUTED, AMENDED),
    "settled": (FINALIZED,),
}
EVENT_STATUSES = ("unopened", "open", "closed", "settled")
TIME_FAMILIES = ("created", "close", "settled")
BOOKS_MAX = 100


class PublicReads:
    """Handlers of everything anybody may read."""

    def __init__(self, exchange: LocalExchange) -> None:
        self._exchange = exchange

    def routes(self) -> list[web.RouteDef]:
        table = {
            "/exchange/status": self.status,
            "/exchange/schedule": self.schedule,
            "/exchange/user_data_timestamp": self.user_data_timestamp,
            "/series": self.series_list,
            "/series/{ticker}": self.series,
            "/events": self.events,
            "/events/{ticker}": self.event,
            "/markets": self.markets,
            "/markets/trades": self.trades,
            "/markets/orderbooks": self.orderbooks,
            "/markets/{ticker}": self.market,
            "/markets/{ticker}/orderbook": self.orderbook,
        }
        return [web.get(BASE + path, handler) for path, handler in table.items()]

    # --- exchange -------------------------------------------------------------------------------------------------

    async def status(self, _request: web.Request) -> web.Response:
        world = self._exchange.step()
        return answer(operations.status_body(world.pauses, world.now_us))

    async def schedule(self, _request: web.Request) -> web.Response:
        return answer(
            operations.schedule_body(
                self._exchange.step().pauses, weekly=self._exchange.world.switches.weekly_maintenance
            )
        )

    async def user_data_timestamp(self, _request: web.Request) -> web.Response:
        self._exchange.step()
        return answer({"as_of_time": wire.rfc3339(self._exchange.reads.as_of_us)})

    # --- catalogue ------------------------------------------------------------------------------------------------

    async def series_list(self, request: web.Request) -> web.Response:
        query = Query("GetSeriesList", request.query)
        category, tags = query.text("category"), query.words("tags")
        found = [
            series
            for series in self._exchange.world.series.values()
            if category in ("", series.category) and (not tags or tags & set(series.tags))
        ]
        return answer({"series": [wire.series_body(series) for series in found]})

    async def series(self, request: web.Request) -> web.Response:
        series = self._exchange.world.series.get(request.match_info["ticker"])
        return answer({"series": wire.series_body(series)}) if series else not_found()

    async def events(self, request: web.Request) -> web.Response:
        query = Query("GetEvents", request.query)
        limit = query.limit(default=200, maximum=200)
        status = query.choice("status", EVENT_STATUSES)
        tickers, series_ticker, closes = (
            query.words("tickers"),
            query.text("series_ticker"),
            query.after_us("min_close_ts"),
        )
        world = self._exchange.step()
        found = [
            event
            for event in world.events.values()
            if (not tickers or event.ticker in tickers)
            and series_ticker in ("", event.series_ticker)
            and (not status or any(m.status in STATUS_FILTERS[status] for m in world.markets_of(event.ticker)))
            and (closes is None or any(m.terms.close_us >= closes for m in world.markets_of(event.ticker)))
        ]
        events, cursor = page(found, lambda e: e.ticker, limit=limit, cursor=query.text("cursor"))
        nested = query.flag("with_nested_markets")
        return answer({"events": [self._event_body(e.ticker, nested=nested) for e in events], "cursor": cursor})

    async def event(self, request: web.Request) -> web.Response:
        ticker = request.match_info["ticker"]
        world = self._exchange.step()
        if ticker not in world.events:
            return not_found()
        is_nested = Query("GetEvent", request.query).flag("with_nested_markets")
        markets = [wire.market_body(market) for market in world.markets_of(ticker)]
        return answer({"event": self._event_body(ticker, nested=is_nested), "markets": markets})

    def _event_body(self, ticker: str, *, nested: bool) -> dict[str, Any]:
        world = self._exchange.world
        event = world.events[ticker]
        body = wire.event_body(event, world.series[event.series_ticker])
        if nested:
            body["markets"] = [wire.market_body(market) for market in world.markets_of(ticker)]
        return body

    async def markets(self, request: web.Request) -> web.Response:
        query = Query("GetMarkets", request.query)
        limit = query.limit(default=100, maximum=1_000)
        self._exchange.step()
        found = self._filtered(query)
        markets, cursor = page(
            found, lambda m: newest_first(m.terms.created_us, m.ticker), limit=limit, cursor=query.text("cursor")
        )
        return answer({"markets": [wire.market_body(market) for market in markets], "cursor": cursor})

    def _filtered(self, query: Query) -> list[Market]:
        world = self._exchange.world
        status = query.choice("status", tuple(STATUS_FILTERS))
        event_ticker, series_ticker, tickers = (
            query.text("event_ticker"),
            query.text("series_ticker"),
            query.words("tickers"),
        )
        bounds = _time_bounds(query)
        return [
            market
            for market in world.markets.values()
            if (not status or market.status in STATUS_FILTERS[status])
            and event_ticker in ("", market.terms.event_ticker)
            and series_ticker in ("", world.series_of(market).ticker)
            and (not tickers or market.ticker in tickers)
            and all(low <= _time_of(market, family) <= high for family, low, high in bounds)
        ]

    async def market(self, request: web.Request) -> web.Response:
        market = self._exchange.step().markets.get(request.match_info["ticker"])
        return answer({"market": wire.market_body(market)}) if market else not_found()

    # --- books and trades -----------------------------------------------------------------------------------------

    async def orderbook(self, request: web.Request) -> web.Response:
        market = self._exchange.step().markets.get(request.match_info["ticker"])
        query = Query("GetMarketOrderbook", request.query)
        depth = query.integer("depth") or 0
        if not 0 <= depth <= 100:
            raise query.failed("Depth", "lte" if depth > 0 else "gte")
        if market is None:
            return not_found()
        body = wire.orderbook(market)
        # Ascending, so the best levels are the last ones.
        return answer({"orderbook_fp": {side: levels[-depth:] for side, levels in body.items()}})

    async def orderbooks(self, request: web.Request) -> web.Response:
        tickers = request.query.getall("tickers", [])
        if not 1 <= len(tickers) <= BOOKS_MAX:
            raise Query("GetMarketOrderbooks", request.query).failed("Tickers", "max" if tickers else "required")
        world = self._exchange.step()
        books = [
            {"ticker": ticker, "orderbook_fp": wire.orderbook(world.markets[ticker])}
            for ticker in tickers
            if ticker in world.markets
        ]
        return answer({"orderbooks": books})

    async def trades(self, request: web.Request) -> web.Response:
        query = Query("GetTrades", request.query)
        limit = query.limit(default=100, maximum=1_000)
        ticker, low, high = query.text("ticker"), query.after_us("min_ts"), query.after_us("max_ts")
        markets = self._exchange.step().markets
        if query.text("is_block_trade").lower() == "true":
            return answer({"trades": [], "cursor": ""})
        found = [
            trade
            for market in ([markets[ticker]] if ticker in markets else [] if ticker else markets.values())
            for trade in market.tape.trades
            if (low is None or trade.at_us >= low) and (high is None or trade.at_us <= high)
        ]
        trades, cursor = page(
            found, lambda t: newest_first(t.at_us, t.trade_id), limit=limit, cursor=query.text("cursor")
        )
        return answer({"trades": [wire.trade_row(trade) for trade in trades], "cursor": cursor})


def _time_bounds(query: Query) -> list[tuple[str, int, int]]:
    bounds = []
    for family in TIME_FAMILIES:
        low, high = query.after_us(f"min_{family}_ts"), query.after_us(f"max_{family}_ts")
        if low is not None or high is not None:
            bounds.append((family, low or 0, 10**18 if high is None else high))
    if len(bounds) > 1:
        raise BadParameter("GetMarkets", "only one family of timestamp filters may be used")
    return bounds


def _time_of(market: Market, family: str) -> int:
    if family == "created":
        return market.terms.created_us
    # A market not settled yet lies before every bound.
    return market.terms.close_us if family == "close" else market.settled_us or -1
