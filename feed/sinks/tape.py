"""The tape: deltas, snapshots, tickers, trades, gaps and malformed frames into their tables.

Deltas, of which there are most, are packed by hand as soon as they are read, while the server works on those before
them; the rest is gathered and copied when the batch ends.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec

from feed import schema
from feed.sinks.base import Entry
from feed.sinks.dictionary import Dictionary
from feed.sinks.tables import DELTAS, MAKE, TABLES, Values, Words, delta_key, pack_deltas
from kalshimm.runtime import crash
from kalshimm.runtime.copying import NewRows, copy_new
from kalshimm.runtime.database import AsyncConnection


def decode_entry(entry: Entry) -> schema.TapeEntry:
    """Return what an entry of a tape says. Raises ValueError, msgspec.MsgspecError for one that cannot be read."""
    decoded = schema.decode_tape(entry.payload)
    if decoded.version != schema.VERSION:
        raise ValueError(f"tape version {decoded.version}, expected {schema.VERSION}")
    return decoded


class Packed(msgspec.Struct, frozen=True):
    """What is stored of an entry: its deltas as COPY takes them, the values of its other rows, and how many in all."""

    deltas: bytes
    delta_count: int
    others: list[tuple[type, Values]]
    rows: int


class TapeSink:
    """Market data of one tape stream."""

    is_trimmed = True

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.markets = Dictionary("markets_marketkey", "ticker", "varchar")
        self.connections = Dictionary("feed_connection", "identity", "int8")
        self._keys: Words = {}
        self._keys_conn: int | None = None

    async def load(self, connection: AsyncConnection) -> None:
        """Know the markets and connections that are stored already."""
        await self.markets.load(connection)
        await self.connections.load(connection)
        self._keys_conn = None

    def decode(self, entry: Entry) -> Packed | schema.TapeEntry:
        """Return an entry packed, so that the database finds it ready when its turn comes; or only decoded.

        Names that are not known yet, or that a transaction may still take back, are left to the entry's own.
        """
        decoded = decode_entry(entry)
        if not (self.markets.is_committed and self.connections.is_committed):
            return decoded
        try:
            return self.pack(decoded)
        except KeyError:
            return decoded

    def batch(self, connection: AsyncConnection) -> TapeBatch:
        return TapeBatch(self, connection)

    def pack(self, entry: schema.TapeEntry) -> Packed:
        """Return an entry as its tables take it. Raises one of ENTRIES; KeyError for a name that is not known."""
        packed: list[bytes] = []
        others: list[tuple[type, Values]] = []
        numbers, conn = self.markets.numbers, self.connections.numbers[entry.conn]
        for row in pack_deltas(entry.rows, self._keys_of(entry.conn), packed):
            make = MAKE.get(type(row))
            if make is not None:
                others.append((type(row), make(row, numbers[row.ticker] if row.ticker else 0, conn)))
        return Packed(b"".join(packed), len(packed), others, len(entry.rows))

    def _keys_of(self, conn: int) -> Words:
        """Return the packed keys of one connection's markets; those of the last one asked for are remembered."""
        if conn != self._keys_conn:
            number = self.connections.numbers[conn]
            self._keys = {ticker: delta_key(market, number) for ticker, market in self.markets.numbers.items()}
            self._keys_conn = conn
        return self._keys

    async def resolve(self, connection: AsyncConnection, entries: Sequence[schema.TapeEntry]) -> None:
        """Find or make the numbers of every market and connection that the entries name."""
        tickers = {row.ticker for entry in entries for row in entry.rows if row.ticker}
        await self.markets.resolve(connection, tickers)
        await self.connections.resolve(connection, {entry.conn for entry in entries})
        self._keys_conn = None

    def committed(self) -> None:
        self.markets.committed()
        self.connections.committed()

    def rolled_back(self) -> None:
        self.markets.rolled_back()
        self.connections.rolled_back()
        self._keys_conn = None


class TapeBatch:
    """One transaction's worth of tape."""

    def __init__(self, sink: TapeSink, connection: AsyncConnection) -> None:
        self._sink, self._connection = sink, connection
        self._deltas = NewRows(connection, DELTAS)
        self._others: defaultdict[type, list[Values]] = defaultdict(list)
        self._stored: Counter[str] = Counter()
        self.rows = 0

    async def add(self, values: Sequence[Any]) -> None:
        try:
            packed = self._packed(values)
        except KeyError:  # a market or connection that is new; nothing else can run while the COPY is open
            self._stored["deltas"] += await self._deltas.finish()
            named = [value for value in values if isinstance(value, schema.TapeEntry)]
            await self._sink.resolve(self._connection, named)
            packed = self._packed(values)
        for each in packed:
            self.rows += each.rows
            for kind, row in each.others:
                self._others[kind].append(row)
        if count := sum(each.delta_count for each in packed):
            await self._deltas.write(b"".join([each.deltas for each in packed]), count)
            crash.point("writer.in_copy")

    def _packed(self, values: Sequence[Packed | schema.TapeEntry]) -> list[Packed]:
        return [value if isinstance(value, Packed) else self._sink.pack(value) for value in values]

    async def finish(self) -> Counter[str]:
        self._stored["deltas"] += await self._deltas.finish()
        for kind, (name, table) in TABLES.items():
            if self._others[kind]:
                self._stored[name] += await copy_new(self._connection, table, self._others[kind])
        return +self._stored

    async def abandon(self, exc: BaseException) -> None:
        await self._deltas.abandon(exc)
