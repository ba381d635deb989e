"""The tape: deltas, snapshots, tickers, trades, gaps and malformed frames into their tables.

Deltas, of which there are most, are packed by hand and sent while the next are read; the rest is gathered and copied
when the batch ends.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

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
        """Nothing is known before it is asked for."""

    def decode(self, entry: Entry) -> schema.TapeEntry:
        return decode_entry(entry)

    def batch(self, connection: AsyncConnection) -> TapeBatch:
        return TapeBatch(self, connection)

    def keys(self, conn: int) -> Words:
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
            packed = self._pack(values)
        except KeyError:  # a market or connection that is new; nothing else can run while the COPY is open
            self._stored["deltas"] += await self._deltas.finish()
            await self._sink.resolve(self._connection, values)
            packed = self._pack(values)
        self.rows += sum(len(entry.rows) for entry in values)
        if packed:
            await self._deltas.write(b"".join(packed), len(packed))
            crash.point("writer.in_copy")

    def _pack(self, entries: Sequence[schema.TapeEntry]) -> list[bytes]:
        """Return the deltas packed, and keep the other rows' values; both or nothing."""
        packed: list[bytes] = []
        others: list[tuple[type, Values]] = []
        markets, connections = self._sink.markets.numbers, self._sink.connections.numbers
        for entry in entries:
            conn = connections[entry.conn]
            for row in pack_deltas(entry.rows, self._sink.keys(entry.conn), packed):
                make = MAKE.get(type(row))
                if make is not None:
                    others.append((type(row), make(row, markets[row.ticker] if row.ticker else 0, conn)))
        for kind, values in others:
            self._others[kind].append(values)
        return packed

    async def finish(self) -> Counter[str]:
        self._stored["deltas"] += await self._deltas.finish()
        for kind, (name, table) in TABLES.items():
            if self._others[kind]:
                self._stored[name] += await copy_new(self._connection, table, self._others[kind])
        return +self._stored

    async def abandon(self, exc: BaseException) -> None:
        await self._deltas.abandon(exc)
