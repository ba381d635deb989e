"""The views, computed from rows once more in Python: the same figures on TimescaleDB and on plain PostgreSQL."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

import pytest
from django.db import connection
from storedrows import DAY, a_sample, insert, now

from markets.models import Ticker, Trade
from tests.integration.db.conftest import Server
from traders.models import RateSample

MINUTE = timedelta(minutes=1)


def a_trade(chance: random.Random, market: int, begin: datetime) -> Trade:
    seconds = chance.choice((0, 0, 1, 59, 60, 61, 119, 600))  # many share their time
    return Trade(
        time=begin + timedelta(seconds=seconds), market=market, trade_id=f"{chance.choice('aAzZé0-')}{chance.random()}",
        time_source=0, yes_price_cc=chance.randrange(1, 10_000), count_cx=chance.randrange(1, 10**12),
        taker_side=0, is_block=chance.random() < 0.2,
    )  # fmt: skip


def a_ticker(chance: random.Random, market: int, begin: datetime) -> Ticker:
    def price(*empty: int | None) -> int | None:
        return chance.choice((*empty, chance.randrange(1, 10_000), chance.randrange(1, 10_000)))

    return Ticker(
        time=begin + timedelta(seconds=chance.choice((0, 0, 1, 60, 61, 600))), market=market,
        conn=chance.randrange(1, 3), digest=chance.getrandbits(63), time_source=0,
        yes_bid_cc=price(None, 0), yes_ask_cc=price(None, 10_000),
    )  # fmt: skip


def whole(value: int, divisor: int) -> int:
    """Divide towards zero, as SQL does."""
    return abs(value) // divisor * (1 if value >= 0 else -1)


def candle(rows: list[Trade]) -> tuple[Any, ...]:
    rows = sorted(rows, key=lambda row: (row.time, row.trade_id.encode()))
    prices = [row.yes_price_cc for row in rows if not row.is_block]
    shown = (prices[0], max(prices), min(prices), prices[-1]) if prices else (None,) * 4
    return (*shown, sum(row.count_cx for row in rows), len(rows))


def spread(rows: list[Ticker]) -> tuple[Any, ...]:
    last = max(rows, key=lambda row: (row.time, row.conn, row.digest))
    spreads = [
        row.yes_ask_cc - row.yes_bid_cc for row in rows
        if row.yes_bid_cc is not None and row.yes_ask_cc is not None and row.yes_bid_cc > 0 and row.yes_ask_cc < 10_000
    ]  # fmt: skip
    figures = (sum(spreads), whole(sum(spreads), len(spreads)), min(spreads), max(spreads)) if spreads else (None,) * 4
    return (len(rows), len(spreads), *figures, last.yes_bid_cc, last.yes_ask_cc)


def trader_rate(rows: list[RateSample]) -> tuple[Any, ...]:
    rows = sorted(rows, key=lambda row: row.time)
    rates = [row.rate_ud_h for row in rows if row.rate_ud_h is not None]
    present = [row.present_yes_s for row in rows if row.present_yes_s is not None]
    return (
        len(rows), len(rates), sum(rates) if rates else None, whole(sum(rates), len(rates)) if rates else None,
        sum(row.observed_s for row in rows), sum(present) if present else None, None,
        rows[-1].position_cx, rows[-1].fills, rows[0].trading_ud, rows[-1].trading_ud,
    )  # fmt: skip


def bucket(time: datetime, width: timedelta) -> datetime:
    origin = datetime(2000, 1, 3, tzinfo=UTC)
    return origin + width * ((time - origin) // width)


def expected(rows: Iterable[Any], width: timedelta, compute: Callable[[list[Any]], tuple[Any, ...]]) -> list[Any]:
    ordered = sorted(rows, key=lambda row: row.time)
    return [(time, *compute(list(group))) for time, group in groupby(ordered, key=lambda row: bucket(row.time, width))]


def shown(server: Server, view: str, thing: str, number: int) -> list[Any]:
    columns = {
        "markets_candle_1m": "open_yes_cc, high_yes_cc, low_yes_cc, close_yes_cc, volume_cx, trades",
        "markets_spread_1m": "tickers, quotes, spread_sum_cc, spread_mean_cc, spread_min_cc, spread_max_cc, "
        "last_yes_bid_cc, last_yes_ask_cc",
        "traders_rate_1h": "samples, rates, rate_sum_ud_h, rate_mean_ud_h, observed_s, present_yes_s, present_no_s, "
        "last_position_cx, last_fills, first_trading_ud, last_trading_ud",
    }[view]
    return server.rows(f"SELECT time, {columns} FROM {view} WHERE {thing} = %s ORDER BY time", number)


def three_times(
    server: Server, view: str, thing: str, number: int, first: list[Any], late: list[Any], want: Any
) -> None:
    """Compare a view with what is wanted as rows came, once it was computed, and after late rows were."""
    insert(server, first)
    assert shown(server, view, thing, number) == want(first)
    server.refresh(view)
    assert shown(server, view, thing, number) == want(first)
    insert(server, late)
    server.refresh(view)
    assert shown(server, view, thing, number) == want(first + late)
    if server.is_timescale:
        assert materialized(server, view) > 0


def materialized(server: Server, view: str) -> int:
    ((schema, table),) = server.rows(
        "SELECT materialization_hypertable_schema, materialization_hypertable_name"
        " FROM timescaledb_information.continuous_aggregates WHERE view_name = %s",
        view,
    )
    return server.rows(f"SELECT count(*) FROM {schema}.{table}")[0][0]


def test_candles_are_those_of_the_trades(server: Server, chance: random.Random) -> None:
    server.storage()
    market, begin = server.a_market(), bucket(now() - 2 * DAY, MINUTE)
    rows = [a_trade(chance, market, begin) for _ in range(300)]
    three_times(
        server, "markets_candle_1m", "market", market, rows[:200], rows[200:], lambda r: expected(r, MINUTE, candle)
    )


def test_a_minute_of_block_trades_alone_has_volume_and_no_price(server: Server, chance: random.Random) -> None:
    server.storage()
    trade = a_trade(chance, server.a_market(), now() - DAY)
    trade.is_block = True
    insert(server, [trade])
    ((_, *figures),) = shown(server, "markets_candle_1m", "market", trade.market)
    assert figures == [None, None, None, None, trade.count_cx, 1]


def test_spreads_are_those_of_the_tickers(server: Server, chance: random.Random) -> None:
    server.storage()
    market, begin = server.a_market(), bucket(now() - 2 * DAY, MINUTE)
    rows = [a_ticker(chance, market, begin) for _ in range(300)]
    three_times(
        server, "markets_spread_1m", "market", market, rows[:200], rows[200:], lambda r: expected(r, MINUTE, spread)
    )


def test_rates_of_an_hour_are_those_of_its_samples(server: Server, chance: random.Random) -> None:
    server.storage()
    trader, begin = server.a_market(), bucket(now() - 2 * DAY, timedelta(hours=1))
    rows = [a_sample(trader, begin + minute * MINUTE, chance) for minute in range(300)]
    chance.shuffle(rows)
    three_times(
        server, "traders_rate_1h", "trader", trader, rows[:200], rows[200:],
        lambda r: expected(r, timedelta(hours=1), trader_rate),
    )  # fmt: skip


def test_an_hour_of_unknown_rates_has_an_unknown_mean(server: Server) -> None:
    server.storage()
    sample = a_sample(server.a_market(), now() - DAY)
    sample.rate_ud_h = None
    insert(server, [sample])
    ((_, samples, rates, total, mean, *_),) = shown(server, "traders_rate_1h", "trader", sample.trader)
    assert (samples, rates, total, mean) == (1, 0, None, None)


@pytest.mark.django_db
def test_on_plain_postgresql_a_view_finds_the_rows_of_one_market_by_an_index() -> None:
    server = Server(connection)
    server.storage()
    server.rows("SET LOCAL enable_seqscan = off")  # which a table of a few rows would be read by
    query = "EXPLAIN SELECT * FROM markets_candle_1m WHERE market = 1 AND time >= now() - interval '1 hour'"
    lines = "".join(line for (line,) in server.rows(query))
    assert "markets_candle_1m_rows" in lines
    (condition,) = [line for (line,) in server.rows(query) if "Index Cond" in line or "Recheck" in line][:1]
    assert "market = 1" in condition
    assert "date_bin" in condition
