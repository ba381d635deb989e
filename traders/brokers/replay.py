"""The broker of a backtest: the paper model on a tape, which also says what made each order trade.

A tape without a trade channel tells of trades by its tickers alone. The engine hears only book events, so whoever plays
the tape brings tickers here, and what they decide is told with the next thing that the engine asks or brings.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import msgspec

from feed.schema import BookEvent, BookTrade, TickerRow
from markets.core.book import OrderBook
from traders.brokers.base import OrderEvent
from traders.brokers.paper import PaperBroker, PaperSettings
from traders.core.commands import Command
from traders.core.inventory import Inventory
from traders.core.orders import Fill


class CauseKind(StrEnum):
    PRINT = "print"
    TICKER = "ticker"
    TAKE = "take"


class Cause(msgspec.Struct, frozen=True):
    """What made an order of ours trade.

    Attributes:
        kind: A print; a ticker, by which the market's volume had grown; or our own taking from the visible book.
        time_us: Exchange time of the print or the ticker; of a take, the newest when it was told.
        yes_price_cc: Of the print, or the last trade's by the ticker; None where nothing says it.
        count_cx: Of the print.
        volume_cx: All that had ever traded in the market by the ticker.
    """

    kind: CauseKind
    time_us: int
    yes_price_cc: int | None = None
    count_cx: int | None = None
    volume_cx: int | None = None


class ReplayBroker(PaperBroker):
    """Paper orders on a tape.

    Attributes:
        causes: By the trade id of each fill that has been told.
    """

    def __init__(
        self,
        new_id: Callable[[], str],
        settings: PaperSettings = PaperSettings(),  # noqa: B008 - frozen
        inventory: Inventory = Inventory(),  # noqa: B008 - frozen
    ) -> None:
        super().__init__(new_id, settings, inventory)
        self.causes: dict[str, Cause] = {}
        self._untold: list[OrderEvent] = []

    def on_ticker(self, ticker: TickerRow, *, book: OrderBook) -> None:
        """Take notice of a ticker; what follows from it is told with what comes next."""
        if ticker.volume_cx is None:
            return
        events = self.on_volume(ticker.volume_cx, book=book, time_us=ticker.time_us)
        price_cc, volume_cx = ticker.last_yes_price_cc, ticker.volume_cx
        self._explain(events, Cause(CauseKind.TICKER, ticker.time_us, yes_price_cc=price_cc, volume_cx=volume_cx))
        self._untold += events

    def on_event(self, event: BookEvent, *, book: OrderBook, time_us: int) -> list[OrderEvent]:
        events = super().on_event(event, book=book, time_us=time_us)
        if isinstance(event, BookTrade):
            cause = Cause(CauseKind.PRINT, event.time_us, yes_price_cc=event.yes_price_cc, count_cx=event.count_cx)
            self._explain(events, cause)
        return self._tell(events)

    def on_time(self, time_us: int) -> list[OrderEvent]:
        return self._tell(super().on_time(time_us))

    def execute(self, command: Command, *, book: OrderBook, time_us: int) -> list[OrderEvent]:
        return self._tell(super().execute(command, book=book, time_us=time_us))

    def cancel_all(self, reason: str) -> list[OrderEvent]:
        return self._tell(super().cancel_all(reason))

    def end(self, reason: str) -> list[OrderEvent]:
        return self._tell(super().end(reason))

    def _tell(self, events: list[OrderEvent]) -> list[OrderEvent]:
        """Return what is still to be told, and then `events`."""
        untold, self._untold = self._untold, []
        told = untold + events
        self._explain(told, Cause(CauseKind.TAKE, self._time_us))
        return told

    def _explain(self, events: list[OrderEvent], cause: Cause) -> None:
        """Note the cause of fills: takes are their own, whatever they happened beside."""
        is_take = cause.kind is CauseKind.TAKE
        for event in events:
            if isinstance(event, Fill) and event.is_taker is is_take:
                self.causes[event.trade_id] = cause
