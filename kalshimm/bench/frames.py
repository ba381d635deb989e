"""Deterministic `orderbook_delta` frames of many markets, in the wire form of asyncapi.yaml, about 260 bytes each.

Some markets are far more active than others, and levels change as recorded ones do.

A tape is a walk of every book and the same walk back: deltas forward, then their opposites in reverse. So it may be
played over and over, no level is ever negative, no book ever crossed, and after each lap all books are as they began.
Only sequence numbers and times are written when frames are made; the rest of a frame is encoded once.
"""

from __future__ import annotations

import functools
import itertools
import math
import random
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from markets.core.book import OrderBook
from markets.core.units import DOLLAR_CC, Side

SEED = 20_261_126
CENT_CC, TENTH_CC = 100, 10
TENTHS_EACH = 10  # one market in ten has ticks of a tenth of a cent
DEPTH = 12  # levels a side that ever hold something
# As recorded (STATS.md, section 2): traded contracts a minute of the 1st, 5th, … most active market.
ACTIVITY = {1: 48_940, 5: 18_762, 10: 11_771, 25: 4_569, 50: 1_850, 100: 675, 200: 204, 300: 72, 400: 24, 600: 0.5}
# As recorded (STATS.md, section 1): 500 signed sizes make up some 85 % of all deltas, 14 % are no
# whole contracts; 7 % open a level, 7 % empty one, 5 % change the best price.
USUAL = 0.97
USUAL_SIZES_CX = [100 * (1 + n * 37 % 1_000) + (n % 8 == 7) * n % 100 for n in range(500)]
USUAL_WEIGHTS = list(itertools.accumulate(1 / (1 + rank) for rank in range(500)))
REMOVALS = 0.5  # of deltas on a level that holds something
EMPTYING = 0.15  # of removals
SIDE_WORDS = ("yes", "no")
BOOK_SID = 1


class Delta(msgspec.Struct, frozen=True):
    """One level's signed change in the market of this index."""

    market: int
    side: int
    price_cc: int
    delta_cx: int


class Market(msgspec.Struct, frozen=True):
    """A market with the book it begins with: (price_cc, count_cx) on each side's own ladder."""

    ticker: str
    market_id: str
    yes: list[tuple[int, int]]
    no: list[tuple[int, int]]

    def first_book(self) -> OrderBook:
        book = OrderBook()
        book.replace(self.yes, self.no)
        return book


class Tape(msgspec.Struct, frozen=True):
    """Markets, and the deltas of one lap over them."""

    markets: list[Market]
    deltas: list[Delta]

    @property
    def tickers(self) -> list[str]:
        return [market.ticker for market in self.markets]

    @property
    def leased(self) -> list[int]:
        """The indexes of the markets whose book streams somebody reads: a fifth of them, with a fifth of the deltas."""
        return list(range(len(self.markets)))[2::5]

    def books_at(self, position: int) -> list[OrderBook]:
        """Return each market's book after the first `position` deltas of endless laps."""
        books = [market.first_book() for market in self.markets]
        for delta in self.deltas[: position % max(len(self.deltas), 1)]:
            books[delta.market].apply(delta.side, delta.price_cc, delta.delta_cx)
        return books


def tape(markets: int, deltas: int, *, seed: int = SEED) -> Tape:
    """Return the tape of this size, always the same for the same arguments; `deltas` is rounded down to even."""
    chance = random.Random(seed)
    listed = [_market(number, chance) for number in range(markets)]
    books = [market.first_book() for market in listed]
    order = chance.choices(range(markets), cum_weights=_activity(markets), k=deltas // 2)
    forward = [_delta(number, books, chance) for number in order]
    back = [Delta(d.market, d.side, d.price_cc, -d.delta_cx) for d in reversed(forward)]
    return Tape(listed, forward + back)


def _activity(markets: int) -> list[float]:
    """Return how active the markets are, from the most to the least, added up: the recorded shape over any number."""
    points = sorted(ACTIVITY.items())
    weights = []
    for number in range(markets):
        rank = 1 + number * (points[-1][0] - 1) / max(markets, points[-1][0])
        (low, above), (high, below) = next(pair for pair in itertools.pairwise(points) if rank <= pair[1][0])
        part = math.log(rank / low) / math.log(high / low)
        weights.append(above * (below / above) ** part)
    return list(itertools.accumulate(weights))


def tick_cc(number: int) -> int:
    return TENTH_CC if number % TENTHS_EACH == 0 else CENT_CC


def _top_cc(number: int, side: int) -> int:
    """Return the best price a side of this market may ever have: one tick away from meeting the other side."""
    yes_top_cc = 2_000 + number * 700 % 6_000
    return yes_top_cc if side == Side.YES else DOLLAR_CC - yes_top_cc - tick_cc(number)


def _market(number: int, chance: random.Random) -> Market:
    yes, no = (
        [(_top_cc(number, side) - k * tick_cc(number), _size_cx(chance)) for k in range(DEPTH) if chance.random() < 0.8]
        for side in Side
    )
    market_id = uuid.UUID(int=chance.getrandbits(128), version=4)
    return Market(f"KXBENCH-26NOV26-T{number:05d}", str(market_id), yes, no)


def _delta(number: int, books: list[OrderBook], chance: random.Random) -> Delta:
    """Apply and return a change near the touch: more of a level, less of it, or all of it gone."""
    side = chance.randrange(2)
    steps = min(int(chance.expovariate(0.35)), DEPTH - 1)
    price_cc = _top_cc(number, side) - steps * tick_cc(number)
    held_cx = books[number].size_cx(side, price_cc)
    delta_cx = _size_cx(chance)
    if held_cx and chance.random() < REMOVALS:
        if chance.random() < EMPTYING:
            delta_cx = -held_cx
        elif delta_cx < held_cx:
            delta_cx = -delta_cx
    books[number].apply(side, price_cc, delta_cx)
    return Delta(number, side, price_cc, delta_cx)


def _size_cx(chance: random.Random) -> int:
    if chance.random() < USUAL:
        return chance.choices(USUAL_SIZES_CX, cum_weights=USUAL_WEIGHTS)[0]
    whole = 1 + int(chance.lognormvariate(3.5, 1.4))
    return whole * 100 + (chance.randrange(1, 100) if chance.random() < 0.9 else 0)


# ---- wire form -------------------------------------------------------------------------------------------------------


def bodies(tape: Tape, count: int | None = None) -> list[bytes]:
    """Return what stands in the frame of each delta, or of the first `count`, between its number and its time."""
    return [body(tape.markets[delta.market], delta) for delta in tape.deltas[:count]]


def body(market: Market, delta: Delta, client_order_id: str = "") -> bytes:
    """Return what stands in the frame of one delta, between its number and its time.

    Args:
        client_order_id: Of the order that made it, where it was one of the client's own account.
    """
    tag = f'"client_order_id":"{client_order_id}",' if client_order_id else ""
    return (
        f',"msg":{{"market_ticker":"{market.ticker}","market_id":"{market.market_id}",'
        f'"price_dollars":"{dollars(delta.price_cc)}","delta_fp":"{contracts(delta.delta_cx)}",'
        f'"side":"{SIDE_WORDS[delta.side]}",{tag}"ts":"'
    ).encode()


def head(sid: int = BOOK_SID) -> bytes:
    """Return what a delta's frame begins with, up to its sequence number."""
    return b'{"type":"orderbook_delta","sid":%d,"seq":' % sid


def tail(time_us: int) -> bytes:
    """Return what a delta's frame ends with, from the value of its time on."""
    second, part_us = divmod(time_us, 1_000_000)
    return b'%b.%06dZ","ts_ms":%d}}' % (_second(second), part_us, time_us // 1_000)


@functools.lru_cache(maxsize=2)
def _second(second: int) -> bytes:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S").encode()


def delta_frames(bodies: Iterable[bytes], *, first_seq: int, time_us: int, a_millisecond: int = 20) -> list[bytes]:
    """Return whole frames, numbered from `first_seq` on; so many share a millisecond."""
    front, frames, end = head(), [], b""
    for number, body in enumerate(bodies):
        if number % a_millisecond == 0:
            end = tail(time_us + number // a_millisecond * 1_000)
        frames.append(b"%b%d%b%b" % (front, first_seq + number, body, end))
    return frames


def snapshot_frame(market: Market, book: OrderBook, *, seq: int, sid: int = BOOK_SID, command_id: int = 0) -> bytes:
    """Return a market's whole book; a side without levels has its key left out."""
    message: dict[str, object] = {"market_ticker": market.ticker, "market_id": market.market_id}
    for key, levels in zip(("yes_dollars_fp", "no_dollars_fp"), book.levels, strict=True):
        if levels:
            message[key] = [(dollars(price), contracts(size)) for price, size in sorted(levels.items())]
    frame: dict[str, object] = {"type": "orderbook_snapshot", "sid": sid, "seq": seq}
    return msgspec.json.encode((frame | {"id": command_id} if command_id else frame) | {"msg": message})


def dollars(price_cc: int) -> str:
    return f"{price_cc // DOLLAR_CC}.{price_cc % DOLLAR_CC:04d}"


def contracts(count_cx: int) -> str:
    """Return a signed count of contracts with two decimals."""
    whole, part = divmod(abs(count_cx), 100)
    return f"{'-' if count_cx < 0 else ''}{whole}.{part:02d}"
