"""A market whose best bid moves at a steady cadence, among much that leaves it where it is; and which order answers.

    bid 0.30 … one tick better each `every` deltas … 0.30 + the rungs, and the same way down again

Between two moves sizes grow and shrink behind the best bid and on the other side, and no level opens or empties. The
best bid's own size stays: a trader whose order may just have filled does not follow the market before the print is due,
and that wait is not what is timed. As with other tapes a lap ends with the book that it began with. A bid that joins
the best one names by its price the move that it answers.
"""

from __future__ import annotations

import itertools
import random
import uuid
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from kalshimm.bench.frames import CENT_CC, SEED, Delta, Market, Tape
from markets.core.book import OrderBook
from markets.core.units import DOLLAR_CC, NO, YES

TICKER = "KXBENCH-26NOV26-MOVES"
TICK_CC = CENT_CC
FIRST_BID_CC, ASK_CC = 3_000, 7_000  # far enough apart for the bid to climb
RUNGS_MOST = (ASK_CC - FIRST_BID_CC) // TICK_CC - 1
DEPTH = 12
# A level never falls to what one small order of ours would be a part of.
LEAST_CX, SIZE_CX = 10_000, 100_000
REMOVALS = 0.5


class Move(msgspec.Struct, frozen=True):
    """The delta of this number, from 0, makes this the best bid."""

    number: int
    bid_cc: int


class Due(msgspec.Struct, frozen=True):
    """A move, and when it was due, on the machine's monotonic clock."""

    at_s: float
    bid_cc: int


class Arrival(msgspec.Struct, frozen=True):
    """An order to buy YES at this price, and when its last byte had come."""

    at_s: float
    bid_cc: int


def tape(deltas: int, *, every: int, seed: int = SEED) -> Tape:
    """Return a lap of so many deltas, `every` of them from one move to the next.

    Where the way turns, one delta fewer or more lies between two moves.

    Raises:
        ValueError: No whole number of moves goes into the half of a lap, or more than the bid can climb.
    """
    rungs, rest = divmod(deltas, 2 * every)
    if every < 2 or rest or not 1 <= rungs <= RUNGS_MOST:
        raise ValueError(f"a lap has 1 to {RUNGS_MOST} times 2 × {every} deltas, and 2 or more to a move: not {deltas}")
    chance = random.Random(seed)
    market = _market(chance)
    book = market.first_book()
    up = [
        _climb(book, chance) if number % every == every // 2 else _quiet(book, chance)
        for number in range(rungs * every)
    ]
    down = [Delta(0, one.side, one.price_cc, -one.delta_cx) for one in reversed(up)]
    return Tape([market], up + down)


def _market(chance: random.Random) -> Market:
    yes, no = (
        [(top_cc - step * TICK_CC, LEAST_CX + _size_cx(chance)) for step in range(DEPTH)]
        for top_cc in (FIRST_BID_CC, DOLLAR_CC - ASK_CC)
    )
    return Market(TICKER, str(uuid.UUID(int=chance.getrandbits(128), version=4)), yes, no)


def _climb(book: OrderBook, chance: random.Random) -> Delta:
    return _applied(book, Delta(0, YES, book.best_cc[YES] + TICK_CC, LEAST_CX + _size_cx(chance)))


def _quiet(book: OrderBook, chance: random.Random) -> Delta:
    """Return a change of some level's size, most often near the touch, never of the best bid's."""
    side = chance.choice((YES, NO))
    prices = sorted(book.levels[side], reverse=True)[1 if side is YES else 0 :]
    price_cc = prices[min(int(chance.expovariate(0.35)), len(prices) - 1)]
    size_cx = _size_cx(chance)
    is_removed = book.size_cx(side, price_cc) - size_cx >= LEAST_CX and chance.random() < REMOVALS
    return _applied(book, Delta(0, side, price_cc, -size_cx if is_removed else size_cx))


def _applied(book: OrderBook, delta: Delta) -> Delta:
    book.apply(delta.side, delta.price_cc, delta.delta_cx)
    return delta


def _size_cx(chance: random.Random) -> int:
    return 100 * chance.randrange(1, SIZE_CX // 100)


def moves(tape: Tape) -> list[Move]:
    """Return what moves the best bid in one lap."""
    (book,) = tape.books_at(0)
    found = []
    for number, delta in enumerate(tape.deltas):
        before_cc = book.best_cc[YES]
        book.apply(delta.side, delta.price_cc, delta.delta_cx)
        if book.best_cc[YES] != before_cc:
            found.append(Move(number, book.best_cc[YES]))
    return found


def played(moves: Sequence[Move], lap: int, first: int, count: int) -> Iterator[Move]:
    """Yield the moves among `count` deltas from the one of number `first` of endless laps on, numbered from that."""
    for start in itertools.count(first // lap * lap, lap):
        for move in moves:
            number = start + move.number - first
            if number >= count:
                return
            if number >= 0:
                yield Move(number, move.bid_cc)


def delays_us(moves: Sequence[Due], orders: Sequence[Arrival]) -> list[float]:
    """Return how long after each move the order came that answers it; moves that none answers are left out.

    An order answers the newest move to its price, and only the first one of that price counts.

    Args:
        moves, orders: Each in the order of time.
    """
    found: dict[int, float] = {}
    newest: dict[int, int] = {}
    coming = 0
    for order in orders:
        while coming < len(moves) and moves[coming].at_s <= order.at_s:
            newest[moves[coming].bid_cc] = coming
            coming += 1
        answered = newest.get(order.bid_cc)
        if answered is not None and answered not in found:
            found[answered] = (order.at_s - moves[answered].at_s) * 1e6
    return [found[number] for number in sorted(found)]


def figures(name: str, delays_us: Sequence[float]) -> Mapping[str, float]:
    """Return percentiles of what was seen, under names that begin with `name`; never more than the longest."""
    ordered = sorted(delays_us)
    return {f"{name}p{part}_us": round(ordered[(len(ordered) - 1) * part // 100], 1) for part in (50, 90, 99)}
