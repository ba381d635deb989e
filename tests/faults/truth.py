"""What the exchange sent, as rows that must be stored and books that readers may see; nothing of the product's own.

Frames come from the exchange's frame log, which stands before its faults. Prices and sizes are read here once more,
so that a mistake of the product's reading would show.
"""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import Any

import msgspec

Key = tuple[Any, ...]
Levels = dict[int, int]
SIDES = {"yes": 0, "no": 1}


class Message(msgspec.Struct, frozen=True):
    """One frame: the row it must become (None for an answer to a command), and where it stood on its connection."""

    number: int
    at_us: int
    connection: int
    sid: int
    seq: int | None
    key: Key | None


class _Change(msgspec.Struct, frozen=True):
    """What a frame does to a market's book: replaces it, or changes one level."""

    seq: int
    replaces: tuple[Levels, Levels] | None
    side: int = 0
    price_cc: int = 0
    delta_cx: int = 0


class Truth:
    """Everything one account was sent, in order."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.by_key: dict[Key, Message] = {}
        self._changes: defaultdict[tuple[int, int, str], list[_Change]] = defaultdict(list)

    @property
    def last_number(self) -> int:
        return self.messages[-1].number if self.messages else 0

    def add(self, sent: list[dict[str, Any]]) -> None:
        for line in sent:
            frame = line["frame"]
            key = row_key(frame)
            message = Message(
                line["number"], line["at_us"], line["connection"], frame.get("sid", 0), frame.get("seq"), key
            )
            self.messages.append(message)
            if key is not None:
                self.by_key[key] = message
            self._note_change(line["connection"], frame)

    def _note_change(self, connection: int, frame: dict[str, Any]) -> None:
        kind, msg = frame.get("type"), frame.get("msg")
        if kind == "orderbook_snapshot":
            change = _Change(frame["seq"], _levels(msg))
        elif kind == "orderbook_delta":
            side, price, delta = SIDES[msg["side"]], price_cc(msg["price_dollars"]), count_cx(msg["delta_fp"])
            change = _Change(frame["seq"], None, side, price, delta)
        else:
            return
        self._changes[connection, frame["sid"], msg["market_ticker"]].append(change)

    def sids(self, connection: int) -> set[int]:
        """Return the subscriptions of a connection that carry books."""
        return {sid for found, sid, _ in self._changes if found == connection}

    def books(self, connection: int, sid: int, ticker: str) -> dict[int, tuple[Levels, Levels]]:
        """Return the exchange's book of a market after each of its messages, by sequence number."""
        found: dict[int, tuple[Levels, Levels]] = {}
        book: tuple[Levels, Levels] = ({}, {})
        for change in self._changes.get((connection, sid, ticker), ()):
            book = (dict(book[0]), dict(book[1])) if change.replaces is None else change.replaces
            if change.replaces is None:
                size = book[change.side].get(change.price_cc, 0) + change.delta_cx
                assert size >= 0, f"the exchange's own deltas make {ticker} negative"
                book[change.side][change.price_cc] = size
                if not size:
                    del book[change.side][change.price_cc]
            found[change.seq] = book
        return found


def price_cc(text: str) -> int:
    return int(Decimal(text) * 10_000)


def count_cx(text: str) -> int:
    return int(Decimal(text) * 100)


def _levels(msg: dict[str, Any]) -> tuple[Levels, Levels]:
    yes, no = (
        {price_cc(price): count_cx(count) for price, count in msg.get(f"{side}_dollars_fp", ())} for side in SIDES
    )
    return yes, no


def row_key(frame: dict[str, Any]) -> Key | None:
    """Return the row of a frame as the tables must hold it, without the connection; None for one that has no row."""
    msg: Any = frame.get("msg")
    match frame.get("type"):
        case "orderbook_delta":
            side, price, delta = SIDES[msg["side"]], price_cc(msg["price_dollars"]), count_cx(msg["delta_fp"])
            return ("delta", msg["market_ticker"], frame["seq"], msg["ts_ms"] * 1_000, side, price, delta)
        case "orderbook_snapshot":
            yes, no = (tuple(sorted(levels.items())) for levels in _levels(msg))
            return ("snapshot", msg["market_ticker"], frame["seq"], frame["sending_ts_ms"] * 1_000, yes, no)
        case "trade":
            price, count = price_cc(msg["yes_price_dollars"]), count_cx(msg["count_fp"])
            side = SIDES[msg["taker_outcome_side"]]
            return ("trade", msg["market_ticker"], msg["trade_id"], msg["ts_ms"] * 1_000, price, count, side)
        case "ticker":
            counts = ("yes_bid_size_fp", "yes_ask_size_fp", "volume_fp", "open_interest_fp")
            return ("ticker", msg["market_ticker"], msg["ts_ms"] * 1_000, *(count_cx(msg[name]) for name in counts))
    return None
