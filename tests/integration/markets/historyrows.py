"""Rows of one market as the writer stores them, by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg

START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


class History:
    """The market M-1 with connections 1 and 2, whose identities are 101 and 102."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._sql("INSERT INTO markets_marketkey (id, ticker) VALUES (1, 'M-1')")
        self._sql("INSERT INTO feed_connection (id, identity) VALUES (1, 101), (2, 102)")

    def _sql(self, statement: str, *values: object) -> None:
        with psycopg.connect(self._dsn) as connection:
            connection.execute(statement, values)

    def snapshot(self, seconds: float, seq: int, *, conn: int = 1, is_ours: bool = False) -> None:
        self._sql(
            "INSERT INTO markets_book_snapshot (time, market, conn, seq, time_source, yes_price_cc, yes_count_cx, "
            "no_price_cc, no_count_cx, is_ours) VALUES (%s, 1, %s, %s, 0, '{4200}', '{1000}', '{}', '{}', %s)",
            at(seconds), conn, seq, is_ours,
        )  # fmt: skip

    def delta(self, seconds: float, seq: int, delta_cx: int = 100, *, conn: int = 1) -> None:
        self._sql(
            "INSERT INTO markets_book_delta (time, market, conn, seq, side, time_source, price_cc, delta_cx) "
            "VALUES (%s, 1, %s, %s, 0, 0, 4200, %s)",
            at(seconds), conn, seq, delta_cx,
        )  # fmt: skip

    def gap(
        self, seconds: float, reason: str, *, conn: int | None = 1, ticker: str = "", received: int = 0, sid: int = 0
    ) -> None:
        self._sql(
            "INSERT INTO feed_feedgap (time, ticker, connection_id, reason, sid, expected, received) "
            "VALUES (%s, %s, %s, %s, %s, 0, %s)",
            at(seconds), ticker, conn, reason, sid, received,
        )  # fmt: skip

    def trade(self, seconds: float, trade_id: str) -> None:
        self._sql(
            "INSERT INTO markets_trade (time, market, trade_id, time_source, yes_price_cc, count_cx, taker_side, "
            "is_block) VALUES (%s, 1, %s, 0, 4200, 300, 1, false)",
            at(seconds), trade_id,
        )  # fmt: skip

    def ticker(self, seconds: float, volume_cx: int | None) -> None:
        self._sql(
            "INSERT INTO markets_ticker (time, market, conn, digest, time_source, volume_cx) "
            "VALUES (%s, 1, 1, 9, 0, %s)",
            at(seconds), volume_cx,
        )  # fmt: skip

    def stored_until(self, seconds: float) -> None:
        """Both connections lived and were stored at least so long."""
        self._sql("UPDATE feed_connection SET stored_until = %s", at(seconds))
