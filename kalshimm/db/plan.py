"""What the history should look like in the database: tables, how they are kept, and what is computed from them.

The same on every server. TimescaleDB keeps each table in chunks of time, packs chunks older than a day into its
columnstore, drops chunks older than the retention, and keeps the views computed (continuous aggregates); on plain
PostgreSQL the views are ordinary ones over the rows that are still kept, and a job deletes the old rows. From ordinary
tables with a time it does so on every server.

One SELECT serves both, so that both give the same figures; on TimescaleDB a row that comes minutes late counts from the
next refresh on. Rows of one moment are put in order by what is left of their key, bytewise: any order would do there,
but it must be the same on every server. A migration that changes a column below a view has to drop the view first;
`manage.py storage` makes it anew.
"""

from __future__ import annotations

import hashlib

import msgspec


class HistoryTable(msgspec.Struct, frozen=True):
    """A table of rows with a time.

    Attributes:
        kept: Name of its retention in `settings.RETENTION_DAYS`.
        segment_by: Columns whose rows the columnstore packs together: what readers ask for.
        order_by: Order inside a segment. With `segment_by` it holds the whole key, so that a late row meets its like in
            a packed chunk without unpacking all of it.
    """

    name: str
    kept: str
    segment_by: str
    order_by: str


class OrdinaryTable(msgspec.Struct, frozen=True):
    """A table with single keys whose rows have a time: not parted by it, and old rows are deleted on every server."""

    name: str
    kept: str


class Aggregate(msgspec.Struct, frozen=True):
    """A view over one table: a row for each thing and `width` of time, columns as the SELECT names them.

    Attributes:
        things: Columns that say what a row is of. On plain PostgreSQL they and the bucket of time are an index of the
            source (0.25 s for an hour of one market among a million trades, 3 ms with it).
        batch: How many widths TimescaleDB computes in one transaction. Its default, 1, takes minutes for a year.
    """

    name: str
    kept: str
    source: str
    things: str
    width: str
    batch: int
    select: str

    @property
    def index(self) -> str:
        return f"{self.name}_rows"

    @property
    def mark(self) -> str:
        """The comment that tells which definition a view in the database has."""
        return f"kalshimm {hashlib.sha256(self.select.encode()).hexdigest()[:16]}"


HISTORY = (
    HistoryTable("markets_book_delta", "book_delta", "market", "time, conn, seq"),
    HistoryTable("markets_book_snapshot", "book_snapshot", "market", "time, conn, seq"),
    HistoryTable("markets_ticker", "ticker", "market", "time, conn, digest"),
    HistoryTable("markets_trade", "trade", "market", "time, trade_id"),
    HistoryTable("traders_decision", "decision", "trader", "time, number"),
    HistoryTable("traders_ratesample", "rate_sample", "trader", "time"),
    HistoryTable("traders_rewardminute", "reward_minute", "market", "time, account, program_id"),
    HistoryTable("ops_service_log", "service_log", "role", "time, entry_id"),
    HistoryTable("ops_beat", "beat", "role, name", "time"),
)

# Gap rows stay for ever: without them nobody knew which of the rest is whole.
ORDINARY = (OrdinaryTable("feed_malformedframe", "malformed"),)

# Block trades are agreed off the book: they count as volume, their price is no candle's.
CANDLES = """
SELECT market,
       time_bucket('1 minute', time) AS time,
       (array_agg(yes_price_cc ORDER BY time, trade_id COLLATE "C") FILTER (WHERE NOT is_block))[1] AS open_yes_cc,
       max(yes_price_cc) FILTER (WHERE NOT is_block) AS high_yes_cc,
       min(yes_price_cc) FILTER (WHERE NOT is_block) AS low_yes_cc,
       (array_agg(yes_price_cc ORDER BY time DESC, trade_id COLLATE "C" DESC) FILTER (WHERE NOT is_block))[1]
           AS close_yes_cc,
       sum(count_cx)::bigint AS volume_cx,
       count(*) AS trades
FROM markets_trade
GROUP BY market, time_bucket('1 minute', time)
"""

# The venue writes an empty side as a bid of 0 or an ask of $1: no quote, and no spread. A mean counts messages, not
# seconds, and is cut to whole centi-cents; sum and count beside it are exact.
SPREADS = """
SELECT market,
       time_bucket('1 minute', time) AS time,
       count(*) AS tickers,
       count(*) FILTER (WHERE yes_bid_cc > 0 AND yes_ask_cc < 10000) AS quotes,
       sum(yes_ask_cc - yes_bid_cc) FILTER (WHERE yes_bid_cc > 0 AND yes_ask_cc < 10000) AS spread_sum_cc,
       (sum(yes_ask_cc - yes_bid_cc) FILTER (WHERE yes_bid_cc > 0 AND yes_ask_cc < 10000)
           / nullif(count(*) FILTER (WHERE yes_bid_cc > 0 AND yes_ask_cc < 10000), 0))::integer AS spread_mean_cc,
       min(yes_ask_cc - yes_bid_cc) FILTER (WHERE yes_bid_cc > 0 AND yes_ask_cc < 10000) AS spread_min_cc,
       max(yes_ask_cc - yes_bid_cc) FILTER (WHERE yes_bid_cc > 0 AND yes_ask_cc < 10000) AS spread_max_cc,
       (array_agg(yes_bid_cc ORDER BY time DESC, conn DESC, digest DESC))[1] AS last_yes_bid_cc,
       (array_agg(yes_ask_cc ORDER BY time DESC, conn DESC, digest DESC))[1] AS last_yes_ask_cc
FROM markets_ticker
GROUP BY market, time_bucket('1 minute', time)
"""

# A sample whose figure is unknown counts among the samples and for nothing else; the last ones may be unknown, too.
TRADER_RATES = """
SELECT trader,
       market,
       mode,
       time_bucket('1 hour', time) AS time,
       count(*) AS samples,
       count(rate_ud_h) AS rates,
       sum(rate_ud_h)::bigint AS rate_sum_ud_h,
       div(sum(rate_ud_h), nullif(count(rate_ud_h), 0))::bigint AS rate_mean_ud_h,
       sum(observed_s) AS observed_s,
       sum(present_yes_s) AS present_yes_s,
       sum(present_no_s) AS present_no_s,
       (array_agg(position_cx ORDER BY time DESC))[1] AS last_position_cx,
       (array_agg(fills ORDER BY time DESC))[1] AS last_fills,
       (array_agg(trading_ud ORDER BY time))[1] AS first_trading_ud,
       (array_agg(trading_ud ORDER BY time DESC))[1] AS last_trading_ud
FROM traders_ratesample
GROUP BY trader, market, mode, time_bucket('1 hour', time)
"""

AGGREGATES = (
    Aggregate("markets_candle_1m", "candle", "markets_trade", "market", "1 minute", 1_440, CANDLES),
    Aggregate("markets_spread_1m", "spread", "markets_ticker", "market", "1 minute", 1_440, SPREADS),
    Aggregate("traders_rate_1h", "trader_rate", "traders_ratesample", "trader", "1 hour", 720, TRADER_RATES),
)

# Days by name of what is kept; 0 keeps it for ever. Books are by far the largest; money is asked about for years.
RETENTION_DAYS = {
    "book_delta": 14,
    "book_snapshot": 14,
    "ticker": 30,
    "trade": 365,
    "malformed": 90,
    "decision": 90,
    "rate_sample": 365,
    "reward_minute": 0,
    "service_log": 30,
    "beat": 30,
    "candle": 0,
    "spread": 365,
    "trader_rate": 0,
}
RETENTION_MAX_DAYS = 36_500
