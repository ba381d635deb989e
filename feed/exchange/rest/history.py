"""REST of the history tier anybody may read: where it begins, its markets, trades and candlesticks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from feed.exchange.candles import historical_rows
from feed.exchange.rest.public import BASE
from feed.exchange.rest.tape import candles_in, read_window, trades_answer, trades_of
from feed.exchange.wire import public as wire
from feed.exchange.wire.answers import Query, answer, newest_first, not_found, page

if TYPE_CHECKING:
    from feed.exchange.server import LocalExchange

MVE_FILTERS = ("only", "exclude")


class HistoryReads:
    """Handlers anybody may call."""

    def __init__(self, exchange: LocalExchange) -> None:
        self._exchange = exchange

    def routes(self) -> list[web.RouteDef]:
        table = {
            "/historical/cutoff": self.cutoff,
            "/historical/markets": self.markets,
            "/historical/markets/{ticker}": self.market,
            "/historical/markets/{ticker}/candlesticks": self.candles,
            "/historical/trades": self.trades,
        }
        return [web.get(BASE + path, handler) for path, handler in table.items()]

    async def cutoff(self, _request: web.Request) -> web.Response:
        """Tell the times before which something is history: markets also go with their event, the rest by age."""
        world = self._exchange.step()
        markets, orders = wire.rfc3339(world.markets_cutoff_us), wire.rfc3339(world.history_cutoff_us)
        return answer(
            {
                "market_settled_ts": markets,
                "trades_created_ts": orders,
                "orders_updated_ts": orders,
                "market_positions_last_updated_ts": orders,
            }
        )

    async def markets(self, request: web.Request) -> web.Response:
        query = Query("GetHistoricalMarkets", request.query)
        limit = query.limit(default=100, maximum=1_000)
        tickers, event_ticker, series_ticker = (
            query.words("tickers"),
            query.text("event_ticker"),
            query.text("series_ticker"),
        )
        if query.choice("mve_filter", MVE_FILTERS) == "only":
            return answer({"markets": [], "cursor": ""})  # no combos are listed here
        world = self._exchange.step()
        found = [
            past.market
            for past in world.past_markets()
            if (not tickers or past.market.ticker in tickers)
            and event_ticker in ("", past.market.terms.event_ticker)
            and series_ticker in ("", past.event.series_ticker)
        ]
        markets, cursor = page(
            found, lambda m: newest_first(m.terms.created_us, m.ticker), limit=limit, cursor=query.text("cursor")
        )
        return answer({"markets": [wire.market_body(market, world.now_us) for market in markets], "cursor": cursor})

    async def market(self, request: web.Request) -> web.Response:
        world = self._exchange.step()
        market = world.past_market(request.match_info["ticker"])
        return answer({"market": wire.market_body(market, world.now_us)}) if market else not_found()

    async def candles(self, request: web.Request) -> web.Response:
        wanted = read_window(Query("GetMarketCandlesticksHistorical", request.query))
        market = self._exchange.step().past_market(request.match_info["ticker"])
        if market is None:
            return not_found()
        found = candles_in(market.tape.candles, *wanted, with_latest=False)
        return answer({"ticker": market.ticker, "candlesticks": historical_rows(found)})

    async def trades(self, request: web.Request) -> web.Response:
        query = Query("GetTradesHistorical", request.query)
        world = self._exchange.step()
        return trades_answer(query, (t for t in trades_of(world, query) if t.at_us < world.history_cutoff_us))
