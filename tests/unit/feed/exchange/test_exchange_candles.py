"""Candles: periods include their end, sums of minutes are exact, what was before is carried."""

from __future__ import annotations

import random
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from exchangeworld import CENT, NOW_US, a_world, an_order, place

from feed.exchange.candles import Candles, end_of, historical_rows, rows

SECOND_US = 1_000_000
NOW_S = NOW_US // SECOND_US
HOUR_S = NOW_S // 3_600 * 3_600


def at(seconds: float) -> int:
    """Return a time after the full hour in microseconds."""
    return int((HOUR_S + seconds) * SECOND_US)


def test_a_period_includes_its_end_and_not_its_start() -> None:
    candles = Candles()
    candles.trade(at(60), price_cc=4_000, count_cx=100)
    candles.trade(at(60.000001), price_cc=4_100, count_cx=200)
    assert [(c.end_s - HOUR_S, c.volume_cx) for c in candles.minutes] == [(60, 100), (120, 200)]


def test_a_minute_tells_open_low_high_close_mean_and_what_came_before() -> None:
    candles = Candles()
    for second, price, count in ((1, 4_000, 100), (70, 5_000, 100), (80, 3_000, 200), (90, 4_500, 100)):
        candles.trade(at(second), price_cc=price, count_cx=count)
    (_, row) = rows(candles.between(HOUR_S, HOUR_S + 600, 1))
    assert row["price"] == {
        "open_dollars": "0.5000", "low_dollars": "0.3000", "high_dollars": "0.5000", "close_dollars": "0.4500",
        "mean_dollars": "0.3875", "previous_dollars": "0.4000",
    }  # fmt: skip
    assert (row["end_period_ts"], row["volume_fp"]) == (HOUR_S + 120, "4.00")


def test_quotes_go_on_from_minute_to_minute() -> None:
    candles = Candles()
    candles.quote(at(10), bid_cc=4_000, ask_cc=4_300, open_interest_cx=0)
    candles.quote(at(20), bid_cc=4_200, ask_cc=4_300, open_interest_cx=500)
    candles.trade(at(200), price_cc=4_300, count_cx=100)
    first, second = candles.minutes
    assert (first.bid.open_cc, first.bid.low_cc, first.bid.high_cc, first.bid.close_cc) == (4_000, 4_000, 4_200, 4_200)
    assert (second.bid.open_cc, second.ask.close_cc, second.open_interest_cx) == (4_200, 4_300, 500)
    assert rows([first])[0]["price"]["open_dollars"] is None


def test_longer_periods_are_the_sums_of_their_minutes() -> None:
    chance, candles, trades = random.Random(5), Candles(), []
    now = at(0)
    for _ in range(3_000):
        now += chance.randrange(1, 60 * SECOND_US)
        price, count = chance.randrange(1, 100) * 100, chance.randrange(1, 500)
        candles.trade(now, price_cc=price, count_cx=count)
        trades.append((now, price, count))
    for period in (60, 1_440):
        for candle in candles.between(0, 10**12, period):
            inside = [t for t in trades if end_of(-(-t[0] // (60 * SECOND_US)) * 60, period) == candle.end_s]
            prices = [price for _, price, _ in inside]
            assert candle.price is not None
            assert (candle.price.open_cc, candle.price.close_cc) == (prices[0], prices[-1])
            assert (candle.price.low_cc, candle.price.high_cc) == (min(prices), max(prices))
            assert candle.volume_cx == sum(count for _, _, count in inside)
            assert candle.paid_ud == sum(price * count for _, price, count in inside)
    since = candles.minutes[1_000].end_s
    assert candles.volume_since_cx(since) == sum(c for at_us, _, c in trades if at_us > since * SECOND_US)


@pytest.mark.parametrize(
    ("moment", "end"),
    [
        ("2026-07-01T03:59:00-04:00", "2026-07-02T00:00:00-04:00"),
        ("2026-07-02T00:00:00-04:00", "2026-07-02T00:00:00-04:00"),
        ("2026-11-01T12:00:00-05:00", "2026-11-02T00:00:00-05:00"),  # a day of 25 hours
        ("2026-03-08T12:00:00-04:00", "2026-03-09T00:00:00-04:00"),  # one of 23
    ],
)
def test_days_end_at_midnight_eastern_time(moment: str, end: str) -> None:
    assert end_of(int(datetime.fromisoformat(moment).timestamp()), 1_440) == datetime.fromisoformat(end).timestamp()
    assert datetime.fromisoformat(end).astimezone(ZoneInfo("America/New_York")).hour == 0


def test_what_was_before_the_window_is_carried_to_its_first_boundary() -> None:
    candles = Candles()
    candles.quote(at(10), bid_cc=4_000, ask_cc=4_300, open_interest_cx=700)
    candles.trade(at(11), price_cc=4_300, count_cx=100)
    carried = candles.carried(HOUR_S + 600, 1)
    assert carried is not None
    assert (carried.end_s, carried.price, carried.previous_cc, carried.volume_cx) == (HOUR_S + 660, None, 4_300, 0)
    assert (carried.bid.close_cc, carried.open_interest_cx) == (4_000, 700)
    assert candles.carried(HOUR_S, 1) is None


def test_the_history_has_the_same_values_under_bare_names() -> None:
    candles = Candles()
    candles.trade(at(10), price_cc=4_300, count_cx=100)
    (live,), (past,) = rows(candles.minutes), historical_rows(candles.minutes)
    assert past["price"] == {name.removesuffix("_dollars"): value for name, value in live["price"].items()}
    assert (past["volume"], past["open_interest"]) == (live["volume_fp"], live["open_interest_fp"])


def test_a_market_keeps_the_candles_of_its_trades_and_quotes() -> None:
    world = a_world()
    place(world, "maker", an_order("ask", "0.4500", "5.00"))
    place(world, "taker", an_order("bid", "0.4500", "2.00"))
    world.advance(NOW_US + 2 * SECOND_US)
    market = world.markets[CENT]
    (candle,) = market.tape.candles.minutes
    assert (candle.volume_cx, candle.ask.close_cc, candle.open_interest_cx) == (200, 4_500, 200)
    assert candle.price is not None
    assert candle.price.close_cc == 4_500
