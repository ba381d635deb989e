"""What of history can be exported: its columns as others read them, and how a selection of markets is said.

Whole numbers stay whole, with their unit in the column's name; tickers and connections stand in place of the small
numbers of our tables; times are UTC with microseconds.
"""

from __future__ import annotations

import msgspec

TICKER = "(SELECT ticker FROM markets_marketkey k WHERE k.id = market)"
CONN = "(SELECT identity FROM feed_connection c WHERE c.id = conn)"
GAP_CONN = "(SELECT identity FROM feed_connection c WHERE c.id = connection_id)"
TIME = """to_char(time AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
SIDE = "(ARRAY['yes', 'no'])[{} + 1]"
TIME_SOURCE = "(ARRAY['exchange', 'sending', 'received', 'previous'])[time_source + 1]"
LIST = "'[' || array_to_string({}, ',') || ']'"
# A spreadsheet takes a cell that begins so for a formula.
ESCAPED = "CASE WHEN {0} ~ '^[-=+@\\t\\r]' THEN '''' || {0} ELSE {0} END"
OF_MARKETS = "market = ANY(%(markets)s)"
GAPS_OF_MARKETS = "(ticker = '' OR ticker = ANY(%(tickers)s))"


class Column(msgspec.Struct, frozen=True):
    """A column: its expression over our table, and its type in Parquet. `is_text` may hold what strangers wrote."""

    name: str
    sql: str
    type: str
    is_text: bool = False


class ExportKind(msgspec.Struct, frozen=True):
    """One kind of row: `key` orders it and begins with the time; `of_markets` selects some markets."""

    table: str
    key: tuple[str, ...]
    key_types: tuple[str, ...]
    of_markets: str
    columns: tuple[Column, ...]


def _int(name: str, type_: str = "BIGINT") -> Column:
    return Column(name, name, type_)


_TIME = Column("time", TIME, "TIMESTAMPTZ")
_TICKER = Column("ticker", TICKER, "VARCHAR", is_text=True)
_CONN = Column("conn", CONN, "BIGINT")
_TIME_SOURCE = Column("time_source", TIME_SOURCE, "VARCHAR")
_MINUTE_KEY = (("time", "market"), ("timestamptz", "int4"))
_SEQ_KEY = (("time", "market", "conn", "seq"), ("timestamptz", "int4", "int4", "int8"))

KINDS = {
    "deltas": ExportKind(
        "markets_book_delta", *_SEQ_KEY, OF_MARKETS,
        (
            _TIME, _TICKER, _CONN, _int("seq"), Column("side", SIDE.format("side"), "VARCHAR"),
            _int("price_cc", "INTEGER"), _int("delta_cx"), _TIME_SOURCE,
        ),
    ),
    "snapshots": ExportKind(
        "markets_book_snapshot", *_SEQ_KEY, OF_MARKETS,
        (
            _TIME, _TICKER, _CONN, _int("seq"), _int("is_ours", "BOOLEAN"),
            *(
                Column(name, LIST.format(name), type_)
                for side in ("yes", "no")
                for name, type_ in ((f"{side}_price_cc", "INTEGER[]"), (f"{side}_count_cx", "BIGINT[]"))
            ),
            _TIME_SOURCE,
        ),
    ),
    "trades": ExportKind(
        "markets_trade", ("time", "market", "trade_id"), ("timestamptz", "int4", "varchar"), OF_MARKETS,
        (
            _TIME, _TICKER, Column("trade_id", "trade_id", "VARCHAR", is_text=True), _int("yes_price_cc", "INTEGER"),
            _int("count_cx"), Column("taker_side", SIDE.format("taker_side"), "VARCHAR"), _int("is_block", "BOOLEAN"),
            _TIME_SOURCE,
        ),
    ),
    "tickers": ExportKind(
        "markets_ticker", ("time", "market", "conn", "digest"), ("timestamptz", "int4", "int4", "int8"), OF_MARKETS,
        (
            _TIME, _TICKER, _CONN,
            *(_int(name, "INTEGER") for name in ("last_yes_price_cc", "yes_bid_cc", "yes_ask_cc")),
            *(_int(name) for name in ("yes_bid_cx", "yes_ask_cx", "last_count_cx", "volume_cx", "open_interest_cx")),
            _TIME_SOURCE,
        ),
    ),
    "gaps": ExportKind(
        "feed_feedgap", ("time", "id"), ("timestamptz", "int8"), GAPS_OF_MARKETS,
        (
            _TIME, Column("ticker", "ticker", "VARCHAR", is_text=True), Column("conn", GAP_CONN, "BIGINT"),
            Column("reason", "reason", "VARCHAR", is_text=True), _int("expected"), _int("received"),
        ),
    ),
    "candles": ExportKind(
        "markets_candle_1m", *_MINUTE_KEY, OF_MARKETS,
        (
            _TIME, _TICKER, *(_int(f"{name}_yes_cc", "INTEGER") for name in ("open", "high", "low", "close")),
            _int("volume_cx"), _int("trades"),
        ),
    ),
    "spreads": ExportKind(
        "markets_spread_1m", *_MINUTE_KEY, OF_MARKETS,
        (
            _TIME, _TICKER, _int("tickers"), _int("quotes"), _int("spread_sum_cc"),
            *(_int(name, "INTEGER") for name in ("spread_mean_cc", "spread_min_cc", "spread_max_cc")),
            *(_int(name, "INTEGER") for name in ("last_yes_bid_cc", "last_yes_ask_cc")),
        ),
    ),
}  # fmt: skip
