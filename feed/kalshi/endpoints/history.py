"""`/historical`: what is older than the cutoff and no longer on the live endpoints. Resting orders are always live."""

from __future__ import annotations

from collections.abc import Sequence

from feed.kalshi.calls import Calls, Pages, Parameters, comma, listing, segment
from feed.kalshi.endpoints.seconds import from_s, until_s
from feed.kalshi.wire.markets import HistoricalCandle, HistoricalCutoff, Market, Trade
from feed.kalshi.wire.portfolio import Fill, MarketPosition, Order

PAGE = 1_000


class History:
    """Markets, trades and the account's own past; the cutoff says what stands here."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def cutoff(self) -> HistoricalCutoff:
        return await self._calls.read(HistoricalCutoff, "/historical/cutoff")

    def markets(
        self,
        *,
        tickers: Sequence[str] | None = None,
        event_ticker: str | None = None,
        series_ticker: str | None = None,
        mve_filter: str | None = None,
    ) -> Pages[Market]:
        query = Parameters(
            limit=PAGE, tickers=comma(tickers), event_ticker=event_ticker, series_ticker=series_ticker,
            mve_filter=mve_filter,
        )  # fmt: skip
        return Pages(self._calls, Market, "/historical/markets", query, "markets")

    async def market(self, ticker: str) -> Market:
        return await self._calls.read(Market, f"/historical/markets/{segment(ticker)}", inside="market")

    async def candles(self, ticker: str, *, start_us: int, end_us: int, minutes: int) -> tuple[HistoricalCandle, ...]:
        """Return candles of 1, 60 or 1440 minutes."""
        path = f"/historical/markets/{segment(ticker)}/candlesticks"
        query = Parameters(start_ts=from_s(start_us), end_ts=until_s(end_us), period_interval=minutes)
        data = await self._calls.decoded(path, query)
        return self._calls.shaped(
            lambda value: listing(HistoricalCandle, value, "candlesticks", path), data, path
        ).items  # fmt: skip

    def trades(
        self,
        *,
        ticker: str | None = None,
        min_us: int | None = None,
        max_us: int | None = None,
        is_block_trade: bool | None = None,
    ) -> Pages[Trade]:
        query = Parameters(
            limit=PAGE, ticker=ticker, min_ts=from_s(min_us), max_ts=until_s(max_us), is_block_trade=is_block_trade
        )  # fmt: skip
        return Pages(self._calls, Trade, "/historical/trades", query, "trades")

    def fills(
        self,
        *,
        ticker: str | None = None,
        min_us: int | None = None,
        max_us: int | None = None,
        subaccount: int | None = None,
    ) -> Pages[Fill]:
        query = _own(ticker, min_us, max_us, subaccount)
        return Pages(self._calls, Fill, "/historical/fills", query, "fills")

    def orders(
        self,
        *,
        ticker: str | None = None,
        min_us: int | None = None,
        max_us: int | None = None,
        subaccount: int | None = None,
    ) -> Pages[Order]:
        query = _own(ticker, min_us, max_us, subaccount)
        return Pages(self._calls, Order, "/historical/orders", query, "orders")

    def positions(
        self, *, ticker: str | None = None, event_ticker: str | None = None, subaccount: int | None = None
    ) -> Pages[MarketPosition]:
        query = Parameters(limit=PAGE, ticker=ticker, event_ticker=event_ticker, subaccount=subaccount)
        return Pages(self._calls, MarketPosition, "/historical/positions", query, "market_positions")


def _own(ticker: str | None, min_us: int | None, max_us: int | None, subaccount: int | None) -> Parameters:
    return Parameters(
        limit=PAGE, ticker=ticker, min_ts=from_s(min_us), max_ts=until_s(max_us), subaccount=subaccount
    )  # fmt: skip
