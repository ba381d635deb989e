"""REST of what trades: books, trades, candlesticks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from aiohttp import web

from feed.exchange.candles import MINUTE_S, PERIODS, Candle, Candles, rows
from feed.exchange.happenings import Traded
from feed.exchange.market import Market
from feed.exchange.rest.public import BASE
from feed.exchange.wire import public as wire
from feed.exchange.wire.answers import Query, answer, newest_first, not_found, page

if TYPE_CHECKING:
    from feed.exchange.server import LocalExchange
    from feed.exchange.world import World

BOOKS_MAX = 100
DEPTH_MAX = 100
CANDLES_MAX, BATCH_CANDLES_MAX = 5_000, 10_000
BATCH_MARKETS_MAX = 100


class TapeReads:
    """Handlers anybody may call (books only with a key where the switch says so: the door's affair)."""

    def __init__(self, exchange: LocalExchange) -> None:
        self._exchange = exchange

    def routes(self) -> list[web.RouteDef]:
        table = {
            "/markets/trades": self.trades,
            "/markets/orderbooks": self.orderbooks,
            "/markets/candlesticks": self.candles_of_many,
            "/markets/{ticker}/orderbook": self.orderbook,
            "/series/{series_ticker}/markets/{ticker}/candlesticks": self.candles,
        }
        return [web.get(BASE + path, handler) for path, handler in table.items()]

    # --- books ----------------------------------------------------------------------------------------------------

    async def orderbook(self, request: web.Request) -> web.Response:
        query = Query("GetMarketOrderbook", request.query)
        depth = query.between("depth", 0, DEPTH_MAX) or 0
        market = self._exchange.step().markets.get(request.match_info["ticker"])
        return answer({"orderbook_fp": self._book(market, depth)}) if market else not_found()

    async def orderbooks(self, request: web.Request) -> web.Response:
        query = Query("GetMarketOrderbooks", request.query)
        tickers = request.query.getall("tickers", [])
        if not 1 <= len(tickers) <= BOOKS_MAX:
            raise query.failed("Tickers", "max" if tickers else "required")
        markets = self._exchange.step().markets
        books = [{"ticker": t, "orderbook_fp": self._book(markets[t], 0)} for t in tickers if t in markets]
        return answer({"orderbooks": books})

    def _book(self, market: Market, depth: int) -> dict[str, Any]:
        """Return both sides in the order the switch names, cut to the best `depth` levels (0: all)."""
        is_ascending = self._exchange.world.switches.book_order == "ascending"
        best_last = {side: levels[-depth:] for side, levels in wire.orderbook(market).items()}
        return best_last if is_ascending else {side: levels[::-1] for side, levels in best_last.items()}

    # --- trades ---------------------------------------------------------------------------------------------------

    async def trades(self, request: web.Request) -> web.Response:
        query = Query("GetTrades", request.query)
        world = self._exchange.step()
        return trades_answer(query, (t for t in trades_of(world, query) if t.at_us >= world.history_cutoff_us))

    # --- candlesticks ---------------------------------------------------------------------------------------------

    async def candles(self, request: web.Request) -> web.Response:
        query = Query("GetMarketCandlesticks", request.query)
        wanted = read_window(query)
        world = self._exchange.step()
        market = world.markets.get(request.match_info["ticker"])
        if market is None or world.series_of(market).ticker != request.match_info["series_ticker"]:
            return not_found()
        found = candles_in(market.tape.candles, *wanted, with_latest=query.flag("include_latest_before_start"))
        return answer({"ticker": market.ticker, "candlesticks": rows(found)})

    async def candles_of_many(self, request: web.Request) -> web.Response:
        query = Query("BatchGetMarketCandlesticks", request.query)
        tickers = [ticker for ticker in query.text("market_tickers").split(",") if ticker]
        if not 1 <= len(tickers) <= BATCH_MARKETS_MAX:
            raise query.failed("MarketTickers", "max" if tickers else "required")
        wanted, with_latest = read_window(query), query.flag("include_latest_before_start")
        markets = self._exchange.step().markets
        left, bodies = BATCH_CANDLES_MAX, []
        for ticker in dict.fromkeys(tickers):
            if ticker not in markets:
                continue
            found = candles_in(markets[ticker].tape.candles, *wanted, with_latest=with_latest)[:left]
            left -= len(found)
            bodies.append({"market_ticker": ticker, "candlesticks": rows(found)})
        return answer({"markets": bodies})


def trades_of(world: World, query: Query) -> Iterator[Traded]:
    """Yield the trades of the market that a query names, or of all; live or history is a question of their age."""
    ticker = query.text("ticker")
    return (t for market in world.every_market() if ticker in ("", market.ticker) for t in market.tape.trades)


def trades_answer(query: Query, trades: Iterable[Traded]) -> web.Response:
    """Return one page of trades, newest first, within the query's times; block trades do not happen here."""
    limit = query.limit(default=100, maximum=1_000)
    low, high = query.after_us("min_ts"), query.after_us("max_ts")
    if query.flag("is_block_trade"):
        return answer({"trades": [], "cursor": ""})
    found = [t for t in trades if (low is None or t.at_us >= low) and (high is None or t.at_us <= high)]
    taken, cursor = page(found, lambda t: newest_first(t.at_us, t.trade_id), limit=limit, cursor=query.text("cursor"))
    return answer({"trades": [wire.trade_row(trade) for trade in taken], "cursor": cursor})


def read_window(query: Query) -> tuple[int, int, int]:
    """Return start, end (Unix seconds) and period (minutes) of a candlestick request.

    Raises:
        BadParameter: One is missing, the period is none of the three, or the window is too wide for one answer.
    """
    start_s, end_s = query.required("start_ts"), query.required("end_ts")
    period_min = query.required("period_interval")
    if period_min not in PERIODS:
        raise query.failed("PeriodInterval", "oneof")
    if end_s < start_s:
        raise query.failed("EndTs", "gtefield")
    if (end_s - start_s) // (period_min * MINUTE_S) > CANDLES_MAX:
        raise query.failed("EndTs", "max")
    return start_s, end_s, period_min


def candles_in(candles: Candles, start_s: int, end_s: int, period_min: int, *, with_latest: bool) -> list[Candle]:
    """Return the candles of a window, on wish with what was before it in front."""
    found = candles.between(start_s, end_s, period_min)
    carried = candles.carried(start_s, period_min) if with_latest else None
    return found if carried is None else [carried, *found]
