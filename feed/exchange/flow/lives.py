"""Recorded markets as compact lives, so that hundreds can be played side by side from one copy in memory.

A recording holds several markets one after the other; each becomes a `Life`: a snapshot, then deltas in arrays (20
bytes each), and whatever else was said, by its place between them.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from pathlib import Path

import msgspec

from feed.exchange.flow.recorded import SIDES, Body, decode_frame, parse_time
from feed.recording import read_frames
from kalshimm.errors import BadRecording
from markets.core.units import Side, parse_count, parse_price

OTHER = -1  # in `levels`: not a delta, but a message


class Ladders(msgspec.Struct, frozen=True):
    """A recorded snapshot: price_cc → count_cx of each side."""

    yes: dict[int, int]
    no: dict[int, int]


class QuoteLine(msgspec.Struct, frozen=True):
    """What a recorded ticker says of trades; `last_size_cx` is None where it does not tell."""

    price_cc: int
    volume_cx: int
    open_interest_cx: int
    last_size_cx: int | None


class Print(msgspec.Struct, frozen=True):
    """A recorded trade."""

    yes_price_cc: int
    count_cx: int
    taker_side: Side


Message = Ladders | QuoteLine | Print


class Life:
    """One recorded market from its first snapshot on. Times are microseconds after that snapshot.

    `levels` holds price_cc × 2 + side of each delta, or OTHER where `messages` has something at that place.
    """

    def __init__(self, ticker: str, start_us: int) -> None:
        self.ticker = ticker
        self.closes_us: int | None = None
        self.at_us = array("q")
        self.levels = array("i")
        self.deltas_cx = array("q")
        self.messages: dict[int, Message] = {}
        self._start_us = start_us

    def __len__(self) -> int:
        return len(self.at_us)

    @property
    def lasts_us(self) -> int:
        return self.at_us[-1] if self.at_us else 0

    @property
    def changes_per_s(self) -> float:
        return (len(self) - len(self.messages)) / max(self.lasts_us / 1e6, 1.0)

    def closes_at(self, at_us: int) -> None:
        self.closes_us = at_us - self._start_us

    def add(self, at_us: int, kind: str, body: Body) -> None:
        level, delta_cx = OTHER, 0
        if kind == "orderbook_delta":
            level, delta_cx = parse_price(body.price_dollars) * 2 + SIDES[body.side], parse_count(body.delta_fp)
        else:
            self.messages[len(self.levels)] = _message(kind, body)
        # Exchange times of a market may step back by a moment; here they must not.
        self.at_us.append(max(at_us - self._start_us, self.lasts_us))
        self.levels.append(level)
        self.deltas_cx.append(delta_cx)

    def side_and_price(self, number: int) -> tuple[Side, int]:
        price_cc, side = divmod(self.levels[number], 2)
        return Side(side), price_cc


KINDS = frozenset({"orderbook_snapshot", "orderbook_delta", "ticker", "trade"})


def read_lives(paths: Iterable[Path]) -> list[Life]:
    """Return every market of the recordings that shows a book, in the order of the recordings.

    Raises:
        BadRecording: One of them cannot be read to its end, or none holds a book.
    """
    lives: list[Life] = []
    last = Path()
    for path in paths:
        last = path
        lives += (life for life in _read(path) if life.changes_per_s > 0)
    if not lives:
        raise BadRecording(last, None, "holds no order book to play.")
    return lives


def _read(path: Path) -> list[Life]:
    lives: dict[str, Life] = {}
    closes: dict[str, int] = {}
    at_us = 0
    for frame in read_frames(path):
        if frame.event is not None:
            if frame.event["event_type"] == "watch_market" and frame.event.get("close_time"):
                closes[str(frame.event["market_ticker"])] = parse_time(str(frame.event["close_time"]))
            continue
        try:
            decoded = decode_frame(frame.frame)
            if decoded.type not in KINDS:
                continue
            at_us = frame.recv_us or decoded.msg.at_us or at_us
            _note(lives, closes, at_us, decoded.type, decoded.msg)
        except (ValueError, KeyError) as exc:
            raise BadRecording(path, frame.line, f"does not hold what its kind of frame does ({exc!r})") from exc
    return list(lives.values())


def _note(lives: dict[str, Life], closes: dict[str, int], at_us: int, kind: str, body: Body) -> None:
    life = lives.get(body.market_ticker)
    if life is None:
        if kind != "orderbook_snapshot" or not (body.yes_dollars_fp or body.no_dollars_fp):
            return  # nothing can be shown before the first book
        life = lives[body.market_ticker] = Life(body.market_ticker, at_us)
        if body.market_ticker in closes:
            life.closes_at(closes[body.market_ticker])
    life.add(at_us, kind, body)


def _message(kind: str, body: Body) -> Message:
    if kind == "orderbook_snapshot":
        yes, no = (
            {parse_price(price): parse_count(count) for price, count in levels}
            for levels in (body.yes_dollars_fp, body.no_dollars_fp)
        )
        return Ladders(yes, no)
    if kind == "ticker":
        last_cx = parse_count(body.last_trade_size_fp) if body.last_trade_size_fp else None
        price_cc = parse_price(body.price_dollars)
        return QuoteLine(price_cc, parse_count(body.volume_fp), parse_count(body.open_interest_fp), last_cx)
    side = SIDES[body.taker_outcome_side or body.taker_side]
    return Print(parse_price(body.yes_price_dollars), parse_count(body.count_fp), side)
