from __future__ import annotations

import itertools

from feed.schema import BookDelta, BookTrade, TickerRow
from markets.core.book import OrderBook
from markets.core.units import Side
from traders.brokers.base import OrderEvent
from traders.brokers.paper import PaperSettings
from traders.brokers.replay import Cause, CauseKind, ReplayBroker
from traders.core.commands import PlaceOrder, TakeOrder
from traders.core.orders import Fill, Order

AT_US = 1_000_000


class Tape:
    """A market at 40 to 42 cents and a broker that hears of it, a millisecond after the other."""

    def __init__(self, *, has_prints: bool, latency_us: int = 0) -> None:
        self.book = OrderBook()
        self.book.replace([(4_000, 300), (3_900, 500)], [(5_800, 200)])
        numbers = itertools.count(1)
        settings = PaperSettings(has_prints=has_prints, latency_us=latency_us)
        self.broker = ReplayBroker(lambda: f"order-{next(numbers)}", settings)
        self.time_us = AT_US

    def hears(self, event: BookDelta | BookTrade) -> list[OrderEvent]:
        return self.broker.on_event(event, book=self.book, time_us=self.time_us)

    def place(self, side: Side, price_cc: int, count_cx: int) -> None:
        self.broker.execute(PlaceOrder(side, price_cc, count_cx), book=self.book, time_us=self.time_us)

    def removal(self, price_cc: int, count_cx: int) -> list[OrderEvent]:
        self.time_us += 1_000
        self.book.apply(Side.YES, price_cc, -count_cx)
        return self.hears(BookDelta(1, self.time_us, int(Side.YES), price_cc, -count_cx))

    def ticker(self, volume_cx: int | None) -> None:
        self.time_us += 1_000
        row = TickerRow(self.time_us, 0, "M", 1, 4_000, None, None, None, None, None, volume_cx, None)
        self.broker.on_ticker(row, book=self.book)


def fills(events: list[OrderEvent]) -> list[Fill]:
    return [event for event in events if isinstance(event, Fill)]


def a_decided_fill() -> Tape:
    """Return a tape on which a ticker has just decided a fill that nobody was told of yet."""
    tape = Tape(has_prints=False)
    tape.ticker(1_000)
    tape.place(Side.YES, 4_100, 100)
    tape.removal(4_000, 200)
    tape.ticker(1_060)
    return tape


def test_a_print_is_the_cause_of_what_it_fills() -> None:
    tape = Tape(has_prints=True)
    tape.place(Side.YES, 4_000, 100)
    (fill,) = fills(tape.hears(BookTrade("t1", AT_US + 500, 3_900, 40, int(Side.NO))))
    assert tape.broker.causes == {fill.trade_id: Cause(CauseKind.PRINT, AT_US + 500, 3_900, 40)}


def test_a_ticker_is_the_cause_of_what_it_decides() -> None:
    tape = a_decided_fill()
    (fill,) = fills(tape.broker.on_time(tape.time_us))
    assert (fill.count_cx, fill.inferred) == (60, True)
    cause = Cause(CauseKind.TICKER, tape.time_us, yes_price_cc=4_000, volume_cx=1_060)
    assert tape.broker.causes == {fill.trade_id: cause}


def test_what_a_ticker_decided_is_told_once_and_before_anything_that_happened_later() -> None:
    tape = a_decided_fill()
    events = tape.broker.cancel_all("enough")
    assert [type(event) for event in events] == [Fill, Order, Order]
    assert events[-1].reason == "enough"
    assert fills(tape.broker.on_time(tape.time_us + 1)) == []


def test_every_way_of_asking_tells_what_is_still_to_be_told() -> None:
    ways = (
        lambda tape: tape.removal(3_900, 1),
        lambda tape: tape.broker.on_time(tape.time_us),
        lambda tape: tape.broker.execute(PlaceOrder(Side.NO, 5_500, 1), book=tape.book, time_us=tape.time_us),
        lambda tape: tape.broker.cancel_all("enough"),
        lambda tape: tape.broker.end("enough"),
    )
    assert [len(fills(way(a_decided_fill()))) for way in ways] == [1] * len(ways)


def test_a_ticker_without_a_volume_says_nothing() -> None:
    tape = Tape(has_prints=False)
    tape.ticker(1_000)
    tape.place(Side.YES, 4_100, 100)
    tape.removal(4_000, 200)
    tape.ticker(None)
    assert tape.broker.on_time(tape.time_us) == []


def test_a_take_is_its_own_cause_also_when_a_print_brings_the_news() -> None:
    tape = Tape(has_prints=True, latency_us=100)
    tape.place(Side.YES, 4_000, 10)
    tape.time_us += 200
    tape.broker.on_time(tape.time_us)
    tape.broker.execute(TakeOrder(Side.YES, 4_200, 50), book=tape.book, time_us=tape.time_us)
    tape.time_us += 1_000
    take, rest = fills(tape.hears(BookTrade("t1", tape.time_us, 3_900, 40, int(Side.NO))))
    assert (take.is_taker, rest.is_taker) == (True, False)
    assert tape.broker.causes[take.trade_id] == Cause(CauseKind.TAKE, tape.time_us)
    assert tape.broker.causes[rest.trade_id].kind is CauseKind.PRINT
