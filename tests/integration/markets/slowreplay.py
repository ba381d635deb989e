"""A recording replayed slowly: plain JSON and dicts, nothing of the code that stores or reads history."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import zstandard

Sides = tuple[dict[int, int], dict[int, int]]


class SlowReplay:
    """The book after every event of a recording, by market: (time of the event, its number, the book)."""

    def __init__(self, path: Path) -> None:
        self.states: dict[str, list[tuple[int, int, Sides]]] = {}
        for line in self._lines(path):
            self._take(json.loads(line))

    @staticmethod
    def _lines(path: Path) -> Iterator[str]:
        unpacked = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(path.open("rb"))
        return io.TextIOWrapper(unpacked, "utf-8")

    def _take(self, line: dict[str, object]) -> None:
        body = line["payload_json"]
        assert isinstance(body, dict)
        if line["event_type"] == "orderbook_snapshot":
            time_us = int(line["local_recv_ns"]) // 1_000  # type: ignore[call-overload]
            sides = tuple(
                {self._cc(price): self._cx(size) for price, size in body.get(f"{side}_dollars_fp", [])}
                for side in ("yes", "no")
            )
        elif line["event_type"] == "orderbook_delta":
            time_us = body["ts_ms"] * 1_000
            sides = tuple(dict(side) for side in self.states[body["market_ticker"]][-1][2])
            side, price = sides[body["side"] == "no"], self._cc(body["price_dollars"])
            side[price] = side.get(price, 0) + self._cx(body["delta_fp"])
            if not side[price]:
                del side[price]
        else:
            return
        states = self.states.setdefault(body["market_ticker"], [])
        states.append((time_us, int(line["sequence_number"]), sides))  # type: ignore[call-overload,arg-type]

    @staticmethod
    def _cc(dollars: str) -> int:
        return int(Decimal(dollars) * 10_000)

    @staticmethod
    def _cx(contracts: str) -> int:
        return int(Decimal(contracts) * 100)

    def at(self, ticker: str, time_us: int) -> tuple[int, Sides]:
        """Return number and book of the last event that is not later."""
        _, seq, sides = next(state for state in reversed(self.states[ticker]) if state[0] <= time_us)
        return seq, sides
