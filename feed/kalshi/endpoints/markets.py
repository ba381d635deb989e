"""`/markets` and the candles under `/series`: what is traded and how it stands."""

from __future__ import annotations

from collections.abc import Sequence

from feed.kalshi.calls import Calls, Pages, Parameters, comma, listing, segment
from feed.kalshi.endpoints.seconds import from_s, until_s
from feed.kalshi.errors import ProtocolViolation
from feed.kalshi.wire.markets import Candle, Market, MarketCandles, MarketOrderBook, OrderBook, Trade

MARKETS_PAGE = 1_000
TRADES_PAGE = 1_000
TICKERS_A_READ = 100  # what books and candles take at once, and keeps an address well under what servers take


class Markets:
    """Markets, books, trades, candles. Books are signed when there is a key: the documents disagree on whether to."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def market(self, ticker: str) -> Market:
        """Return one market; one just created may be NotFound for a moment."""
        return await self._calls.read(Market, f"/markets/{segment(ticker)}", inside="market")

    def markets(
        self,
        *,
        status: str | None = None,
        event_ticker: str | None = None,
        series_ticker: str | None = None,
        mve_filter: str | None = None,
        created_us: tuple[int | None, int | None] = (None, None),
        close_us: tuple[int | None, int | None] = (None, None),
        settled_us: tuple[int | None, int | None] = (None, None),
        updated_us: tuple[int | None, int | None] = (None, None),
    ) -> Pages[Market]:
        """List markets. Of the (from, until) spans the venue takes only one at a time.

        Args:
            status: One of `unopened`, `open`, `paused`, `closed`, `settled`: other words than in a market's status.
            mve_filter: `only` or `exclude` combos.
        """
        query = Parameters(
            limit=MARKETS_PAGE, status=status, event_ticker=event_ticker, series_ticker=series_ticker,
            mve_filter=mve_filter, min_created_ts=from_s(created_us[0]), max_created_ts=until_s(created_us[1]),
            min_close_ts=from_s(close_us[0]), max_close_ts=until_s(close_us[1]),
            min_settled_ts=from_s(settled_us[0]), max_settled_ts=until_s(settled_us[1]),
            min_updated_ts=from_s(updated_us[0]), max_updated_ts=until_s(updated_us[1]),
        )  # fmt: skip
        return Pages(self._calls, Market, "/markets", query, "markets")

    async def named(self, tickers: Sequence[str]) -> list[Market]:
        """Return the named markets, whatever their status; one the venue does not know is left out."""
        found: list[Market] = []
        for start in range(0, len(tickers), TICKERS_A_READ):
            query = Parameters(limit=TICKERS_A_READ, tickers=comma(tickers[start : start + TICKERS_A_READ]))
            found += (await Pages(self._calls, Market, "/markets", query, "markets").all()).items
        return found

    async def book(self, ticker: str, *, depth: int | None = None) -> OrderBook:
        """Return the bids of both sides; `depth` 0 or None is all of them."""
        path = f"/markets/{segment(ticker)}/orderbook"
        return await self._calls.read(OrderBook, path, Parameters(depth=depth), inside="orderbook_fp")

    async def books(self, tickers: Sequence[str]) -> dict[str, OrderBook]:
        """Return the books of many markets by ticker.

        Raises:
            ProtocolViolation: A book cannot be read: half a book is none.
        """
        path = "/markets/orderbooks"
        books: dict[str, OrderBook] = {}
        for start in range(0, len(tickers), TICKERS_A_READ):
            data = await self._calls.decoded(path, Parameters(tickers=list(tickers[start : start + TICKERS_A_READ])))
            found = self._calls.shaped(lambda value: listing(MarketOrderBook, value, "orderbooks", path), data, path)
            if found.unreadable:
                raise ProtocolViolation(f"GET {path} answered {len(found.unreadable)} books that cannot be read.")
            books.update((each.ticker, each.book) for each in found.items)
        return books

    def trades(
        self,
        *,
        ticker: str | None = None,
        min_us: int | None = None,
        max_us: int | None = None,
        is_block_trade: bool | None = None,
    ) -> Pages[Trade]:
        """List public trades, newest first."""
        query = Parameters(
            limit=TRADES_PAGE, ticker=ticker, min_ts=from_s(min_us), max_ts=until_s(max_us),
            is_block_trade=is_block_trade,
        )  # fmt: skip
        return Pages(self._calls, Trade, "/markets/trades", query, "trades")

    async def candles(
        self,
        series_ticker: str,
        ticker: str,
        *,
        start_us: int,
        end_us: int,
        minutes: int,
        with_latest_before: bool | None = None,
    ) -> tuple[Candle, ...]:
        """Return candles of 1, 60 or 1440 minutes."""
        path = f"/series/{segment(series_ticker)}/markets/{segment(ticker)}/candlesticks"
        query = Parameters(
            start_ts=from_s(start_us), end_ts=until_s(end_us), period_interval=minutes,
            include_latest_before_start=with_latest_before,
        )  # fmt: skip
        data = await self._calls.decoded(path, query)
        return self._calls.shaped(lambda value: listing(Candle, value, "candlesticks", path), data, path).items

    async def candles_of(
        self,
        tickers: Sequence[str],
        *,
        start_us: int,
        end_us: int,
        minutes: int,
        with_latest_before: bool | None = None,
    ) -> dict[str, tuple[Candle, ...]]:
        """Return candles of many markets by ticker; one answer of the venue holds at most 10,000 of them."""
        path = "/markets/candlesticks"
        candles: dict[str, tuple[Candle, ...]] = {}
        for start in range(0, len(tickers), TICKERS_A_READ):
            query = Parameters(
                market_tickers=comma(tickers[start : start + TICKERS_A_READ]), start_ts=from_s(start_us),
                end_ts=until_s(end_us), period_interval=minutes, include_latest_before_start=with_latest_before,
            )  # fmt: skip
            data = await self._calls.decoded(path, query)
            found = self._calls.shaped(lambda value: listing(MarketCandles, value, "markets", path), data, path)
            candles.update((each.market_ticker, each.candles) for each in found.items)
        return candles
