"""Recordings of our own: the rows of the tape as lines of JSON, in a file that stays readable however its writer ends.

    {"kalshimm_tape":1,"markets":[…]}               the first line
    {"conn":…,"recv_us":…,"row":[0,…]}              a row as it stood on the tape (feed.schema), in the order it came
    {"kalshimm_tape_end":"rotated","rows":…}        the last line; a file without it was cut off

`recv_us` is when the store took the row in, `conn` the 63-bit identity of its connection: a replay into the tables
finds the very rows that the writer stored. Gaps are rows like the others. What is flushed is a whole zstd frame.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import zstandard

from feed import schema
from kalshimm.errors import KalshimmError
from markets.core.units import DOLLAR_CC, Side, format_count, format_price

VERSION = 1
SUFFIX = ".ndjson.zst"
OPEN_SUFFIX = f".open{SUFFIX}"  # of a file that is still being written
LEVEL = 6
FLUSH_BYTES = 1 << 18

SIDS = {"orderbook_snapshot": 1, "orderbook_delta": 1, "trade": 2, "ticker": 3, "market_lifecycle_v2": 4}
SIDE_WORDS = {Side.YES: "yes", Side.NO: "no"}


class Head(msgspec.Struct, frozen=True):
    """First line of a file."""

    kalshimm_tape: int
    markets: list[str]


class RowLine(msgspec.Struct, frozen=True):
    """One row of the tape."""

    conn: int
    recv_us: int
    row: schema.TapeRow


class End(msgspec.Struct, frozen=True):
    """Last line of a file: why it ends, and how many rows it holds."""

    kalshimm_tape_end: str
    rows: int


encode_line = msgspec.json.Encoder().encode
decode_row = msgspec.json.Decoder(RowLine).decode


class TapeFile:
    """A file that is being written; it gets its own name when it is finished.

    Args:
        folder: Where it lies; made if it is missing.
        stem: Its name without suffix; a number is added where it is taken.
    """

    def __init__(self, folder: Path, stem: str, markets: list[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = _free(folder, stem)
        self._writing = self.path.with_name(self.path.name.removesuffix(SUFFIX) + OPEN_SUFFIX)
        self._file = self._writing.open("xb")
        self._compressor = zstandard.ZstdCompressor(level=LEVEL)
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self.rows = 0
        self.bytes = 0
        self._add(encode_line(Head(VERSION, markets)))
        self.flush()

    def write(self, conn: int, recv_us: int, row: schema.TapeRow) -> None:
        """Add a row; it is on disk after the next `flush`."""
        self._add(encode_line(RowLine(conn, recv_us, row)))
        self.rows += 1
        if self._waiting_bytes >= FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Bring what was written to the disk, as a zstd frame of its own.

        Raises:
            KalshimmError: The disk does not take it.
        """
        if not self._waiting:
            return
        frame = self._compressor.compress(b"\n".join(self._waiting) + b"\n")
        try:
            self._file.write(frame)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as exc:
            raise KalshimmError(
                f"{self._writing} cannot be written ({exc.strerror}); what it holds so far can be read. "
                "Make room, and record again."
            ) from exc
        self.bytes += len(frame)
        self._waiting, self._waiting_bytes = [], 0

    def finish(self, reason: str) -> None:
        """Write the last line and give the file its own name."""
        self._add(encode_line(End(reason, self.rows)))
        self.flush()
        self._file.close()
        self._writing.rename(self.path)

    def _add(self, line: bytes) -> None:
        self._waiting.append(line)
        self._waiting_bytes += len(line)


def _free(folder: Path, stem: str) -> Path:
    number = 1
    while True:
        name = stem if number == 1 else f"{stem}-{number}"
        if not (folder / (name + SUFFIX)).exists() and not (folder / (name + OPEN_SUFFIX)).exists():
            return folder / (name + SUFFIX)
        number += 1


class WireFrames:
    """The frames that the rows of one connection came from, for whoever plays frames.

    The numbers run on without a hole, for a file holds a few of a connection's markets; a gap leaves one out, so that
    whoever follows the numbers meets it where it was.
    """

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}

    def of(self, row: schema.TapeRow) -> bytes:
        """Return the frame, empty for a row that never was one."""
        match row:
            case schema.DeltaRow():
                body = {"price_dollars": format_price(row.price_cc), "delta_fp": format_count(row.delta_cx)}
                return self._frame("orderbook_delta", row, body | {"side": SIDE_WORDS[Side(row.side)]})
            case schema.SnapshotRow():
                return self._frame("orderbook_snapshot", row, _levels(row))
            case schema.TradeRow():
                return self._frame("trade", row, _trade(row))
            case schema.TickerRow():
                return self._frame("ticker", row, _ticker(row))
            case schema.LifecycleRow():
                return self._frame("market_lifecycle_v2", row, msgspec.json.decode(row.body))
            case schema.GapRow():
                self._numbers = {sid: number + 1 for sid, number in self._numbers.items()}
        return b""

    def _frame(self, kind: str, row: schema.TapeRow, body: dict[str, Any]) -> bytes:
        sid = SIDS[kind]
        body = {"market_ticker": row.ticker} | body
        frame: dict[str, Any] = {"type": kind, "sid": sid}
        if kind != "ticker":  # tickers carry no number
            frame["seq"] = self._numbers[sid] = self._numbers.get(sid, 0) + 1
        if row.source == schema.TimeSource.EXCHANGE:
            body["ts_ms"] = row.time_us // 1_000
        elif row.source == schema.TimeSource.SENDING:
            frame["sending_ts_ms"] = row.time_us // 1_000
        return encode_line(frame | {"msg": body})


def _levels(row: schema.SnapshotRow) -> dict[str, Any]:
    sides = {"yes_dollars_fp": row.yes, "no_dollars_fp": row.no}
    return {
        name: [[format_price(price), format_count(count)] for price, count in levels]
        for name, levels in sides.items()
        if levels  # the venue leaves an empty side out
    }


def _trade(row: schema.TradeRow) -> dict[str, Any]:
    side = Side(row.taker_side)
    return {
        "trade_id": row.trade_id,
        "yes_price_dollars": format_price(row.yes_price_cc),
        "no_price_dollars": format_price(DOLLAR_CC - row.yes_price_cc),
        "count_fp": format_count(row.count_cx),
        "taker_outcome_side": SIDE_WORDS[side],
        "taker_book_side": side.book_side,
        "is_block_trade": row.is_block,
    }


def _ticker(row: schema.TickerRow) -> dict[str, Any]:
    prices = {"price": row.last_yes_price_cc, "yes_bid": row.yes_bid_cc, "yes_ask": row.yes_ask_cc}
    counts = {
        "yes_bid_size": row.yes_bid_cx,
        "yes_ask_size": row.yes_ask_cx,
        "last_trade_size": row.last_count_cx,
        "volume": row.volume_cx,
        "open_interest": row.open_interest_cx,
    }
    told = {f"{name}_dollars": format_price(price) for name, price in prices.items() if price is not None}
    return told | {f"{name}_fp": format_count(count) for name, count in counts.items() if count is not None}
