"""`/portfolio` reads. They lag the engine: look at the user-data time before believing that something is gone.

A subaccount left out means *all* on orders, fills and settlements, and the primary one on balance, positions and
queue positions (facts.md section 7.3).
"""

from __future__ import annotations

from collections.abc import Sequence

from feed.kalshi.calls import Calls, Listing, Pages, Parameters, comma, listing, segment
from feed.kalshi.endpoints.seconds import from_s, until_s
from feed.kalshi.wire.portfolio import (
    Balance,
    EventPosition,
    Fill,
    MarketPosition,
    OneQueuePosition,
    Order,
    QueuePosition,
    RestingValue,
    Settlement,
)

PAGE = 1_000


class Portfolio:
    """What the account holds, and what it has resting."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def balance(self, *, subaccount: int | None = None, exchange_index: int | None = None) -> Balance:
        """Return the cash; without a shard it is the sum, with `by_shard` beside it."""
        query = Parameters(subaccount=subaccount, exchange_index=exchange_index)
        return await self._calls.read(Balance, "/portfolio/balance", query)

    async def resting_value(self) -> RestingValue:
        return await self._calls.read(RestingValue, "/portfolio/summary/total_resting_order_value")

    def positions(
        self,
        *,
        ticker: str | None = None,
        event_ticker: str | None = None,
        count_filter: str | None = None,
        settlement_status: str | None = None,
        subaccount: int | None = None,
        exchange_index: int | None = None,
    ) -> Pages[MarketPosition]:
        """List market positions; `settlement_status` is `unsettled`, `settled` or `all`."""
        query = Parameters(
            limit=PAGE, ticker=ticker, event_ticker=event_ticker, count_filter=count_filter,
            settlement_status=settlement_status, subaccount=subaccount, exchange_index=exchange_index,
        )  # fmt: skip
        return Pages(self._calls, MarketPosition, "/portfolio/positions", query, "market_positions")

    def event_positions(
        self, *, event_ticker: str | None = None, subaccount: int | None = None, exchange_index: int | None = None
    ) -> Pages[EventPosition]:
        """List positions by event: the other half of the same answer."""
        query = Parameters(
            limit=PAGE, event_ticker=event_ticker, subaccount=subaccount, exchange_index=exchange_index
        )  # fmt: skip
        return Pages(self._calls, EventPosition, "/portfolio/positions", query, "event_positions")

    def orders(
        self,
        *,
        status: str | None = None,
        ticker: str | None = None,
        event_ticker: str | Sequence[str] | None = None,
        min_us: int | None = None,
        max_us: int | None = None,
        subaccount: int | None = None,
        exchange_index: int | None = None,
    ) -> Pages[Order]:
        """List orders; `status` is `resting`, `canceled` or `executed`, and up to ten events may be named."""
        query = Parameters(
            limit=PAGE, status=status, ticker=ticker, event_ticker=comma(event_ticker), min_ts=from_s(min_us),
            max_ts=until_s(max_us), subaccount=subaccount, exchange_index=exchange_index,
        )  # fmt: skip
        return Pages(self._calls, Order, "/portfolio/orders", query, "orders")

    async def order(self, order_id: str) -> Order:
        """Return one order.

        Raises:
            NotFound: The venue knows no such order, or not yet.
        """
        return await self._calls.read(Order, f"/portfolio/orders/{segment(order_id)}", inside="order")

    async def queue_positions(
        self,
        *,
        market_tickers: Sequence[str] | None = None,
        event_ticker: str | None = None,
        subaccount: int | None = None,
    ) -> Listing[QueuePosition]:
        """List what is ahead of each resting order."""
        path = "/portfolio/orders/queue_positions"
        query = Parameters(market_tickers=comma(market_tickers), event_ticker=event_ticker, subaccount=subaccount)
        data = await self._calls.decoded(path, query)
        return self._calls.shaped(lambda value: listing(QueuePosition, value, "queue_positions", path), data, path)

    async def queue_position_cx(self, order_id: str) -> int:
        """Return the contracts ahead of one order."""
        path = f"/portfolio/orders/{segment(order_id)}/queue_position"
        return (await self._calls.read(OneQueuePosition, path)).ahead_cx

    def fills(
        self,
        *,
        ticker: str | Sequence[str] | None = None,
        order_id: str | None = None,
        min_us: int | None = None,
        max_us: int | None = None,
        subaccount: int | None = None,
        exchange_index: int | None = None,
    ) -> Pages[Fill]:
        """List fills, newest first; up to a hundred markets may be named."""
        query = Parameters(
            limit=PAGE, ticker=comma(ticker), order_id=order_id, min_ts=from_s(min_us), max_ts=until_s(max_us),
            subaccount=subaccount, exchange_index=exchange_index,
        )  # fmt: skip
        return Pages(self._calls, Fill, "/portfolio/fills", query, "fills")

    def settlements(
        self,
        *,
        ticker: str | None = None,
        event_ticker: str | None = None,
        min_us: int | None = None,
        max_us: int | None = None,
        subaccount: int | None = None,
    ) -> Pages[Settlement]:
        query = Parameters(
            limit=PAGE, ticker=ticker, event_ticker=event_ticker, min_ts=from_s(min_us), max_ts=until_s(max_us),
            subaccount=subaccount,
        )  # fmt: skip
        return Pages(self._calls, Settlement, "/portfolio/settlements", query, "settlements")
