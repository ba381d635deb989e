"""Invariants I7 and, as far as readers go, I5, judged by what the exchange sent (faults.md, "Invariants").

I7  every message is stored once, or a gap row (a malformed frame, where it could be read) covers its number
I5  a book that a reader called valid, or that the gateway wrote from its own, equals the exchange's at that number
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Set

import msgspec

from tests.faults.tables import GapRow, Tables
from tests.faults.truth import Key, Message, Truth
from tests.faults.watch import Sight

SHOWN = 5
STORE_AWAY_US = 30_000_000  # a stream's gap begins behind what is stored, and is found when the store is back
ON_ITS_WAY_US = 1_000_000  # from the exchange's word to the store's


class Verdict(msgspec.Struct):
    """What was judged and what is wrong; `covered` messages are marked as missing, `strangers` are rows nobody sent."""

    problems: list[str]
    stored: list[Message]
    sights: list[Sight]
    covered: int = 0
    strangers: set[Key] = msgspec.field(default_factory=set)

    def rows_after(self, at_us: int) -> int:
        return sum(message.at_us > at_us for message in self.stored)

    def books_after(self, at_us: int) -> int:
        return sum(sight.at_us > at_us for sight in self.sights)


def judge(
    truth: Truth,
    tables: Tables,
    sights: list[Sight],
    *,
    after: int,
    until: int,
    extra: int = 0,
    altered: int = 0,
    known: Set[Key] = frozenset(),
) -> Verdict:
    """Return the verdict on the frames numbered above `after` and up to `until`.

    Args:
        sights: Books that readers called valid.
        extra: How many stored rows may be of no frame (those that a fault injected).
        altered: How many messages a fault changed into others that nobody could tell from true ones.
        known: Rows of no frame that earlier faults are to blame for.
    """
    conns = match_connections(truth, tables, sights)
    verdict = Verdict([], [], sights)
    _judge_rows(truth, tables, conns, verdict, after=after, until=until)
    if 0 < len(verdict.problems) <= altered:
        verdict.problems.clear()
    _judge_extra(truth, tables, conns, verdict, extra=extra + altered, known=known)
    _judge_sights(truth, conns, verdict)
    _judge_own(truth, tables, conns, verdict)
    return verdict


# ---- which connection is which -------------------------------------------------------------------------------------


def match_connections(truth: Truth, tables: Tables, sights: Iterable[Sight]) -> dict[int, int]:
    """Return the exchange's connection of each gateway's connection, by the messages both know."""
    votes: defaultdict[int, Counter[int]] = defaultdict(Counter)
    for conn, rows in tables.rows.items():
        votes[conn].update(truth.by_key[key].connection for key in rows if key in truth.by_key)
    connections = {message.connection for message in truth.messages}
    for sight in sights:
        if not votes[sight.conn]:
            votes[sight.conn].update(c for c in connections if _is_book(truth, c, sight))
    return {conn: found.most_common(1)[0][0] for conn, found in votes.items() if found}


def _is_book(truth: Truth, connection: int, sight: Sight) -> bool:
    return truth.books(connection, sight.sid, sight.ticker).get(sight.seq) == sight.levels


# ---- I7 ------------------------------------------------------------------------------------------------------------


def _judge_rows(
    truth: Truth, tables: Tables, conns: dict[int, int], verdict: Verdict, *, after: int, until: int
) -> None:
    identities: defaultdict[int, list[int]] = defaultdict(list)
    for conn, connection in conns.items():
        identities[connection].append(conn)
    lines: defaultdict[tuple[int, int], list[Message]] = defaultdict(list)
    for message in truth.messages:
        if after < message.number <= until and message.key is not None:
            lines[message.connection, message.sid].append(message)
    for (connection, _sid), line in lines.items():
        own = identities[connection]
        rows = tables.trades.union(*(tables.rows[conn] for conn in own))
        _judge_line(line, rows, _Cover(own, tables, connection, truth), verdict)


def _judge_line(line: list[Message], rows: set[Key], cover: _Cover, verdict: Verdict) -> None:
    """Judge the messages of one subscription: stored, or covered by what stands before and behind them."""
    is_stored = [message.key in rows for message in line]
    verdict.stored += [message for message, stored in zip(line, is_stored, strict=True) if stored]
    last_stored = max((i for i, stored in enumerate(is_stored) if stored), default=-1)
    for i, message in enumerate(line):
        if is_stored[i]:
            continue
        if cover.covers(message, is_tail=i > last_stored):
            verdict.covered += 1
        else:
            verdict.problems.append(f"neither stored nor marked as missing: {message}")


class _Cover:
    """The gap rows and malformed frames of one connection."""

    def __init__(self, conns: list[int], tables: Tables, connection: int, truth: Truth) -> None:
        own = [gap for gap in tables.gaps if gap.conn in conns]
        self._ranges = [gap for gap in own if gap.received]
        self._ends = [gap for gap in own if not gap.received and gap.reason != "connection began"]
        self._store = [gap for gap in tables.gaps if gap.conn == 0 or "lost while Redis" in gap.reason]
        self._malformed = {row.place for row in tables.malformed if row.conn in conns}
        began = min(m.at_us for m in truth.messages if m.connection == connection)
        later = [gap for gap in tables.gaps if gap.conn not in conns and gap.reason == "connection began"]
        self._is_followed = any(gap.time_us > began for gap in later)

    def covers(self, message: Message, *, is_tail: bool) -> bool:
        if is_tail and (self._is_followed or self._is_ended(message)):
            return True
        away = (message.at_us - gap.time_us for gap in self._store)
        if not is_tail and any(-ON_ITS_WAY_US <= since_us <= STORE_AWAY_US for since_us in away):
            return True  # what nothing stored follows may still be on its way
        if message.seq is None:
            return False  # nobody can know that a ticker is missing: none may be, without a connection's end
        return (message.sid, message.seq) in self._malformed or any(self._in_range(g, message) for g in self._ranges)

    def _is_ended(self, message: Message) -> bool:
        return any(gap.sid in (0, message.sid) and gap.time_us >= message.at_us for gap in self._ends)

    @staticmethod
    def _in_range(gap: GapRow, message: Message) -> bool:
        assert message.seq is not None
        return gap.sid == message.sid and gap.expected <= message.seq < gap.received


def _judge_extra(
    truth: Truth, tables: Tables, conns: dict[int, int], verdict: Verdict, *, extra: int, known: Set[Key]
) -> None:
    for conn, rows in tables.rows.items():
        verdict.strangers |= {
            key for key in rows - known if key not in truth.by_key or truth.by_key[key].connection != conns.get(conn)
        }
    verdict.strangers |= {key for key in tables.trades - known if key not in truth.by_key}
    if len(verdict.strangers) > extra:
        shown = list(verdict.strangers)[:SHOWN]
        verdict.problems.append(f"{len(verdict.strangers)} rows that nobody sent, {extra} expected: {shown}")


# ---- I5 ------------------------------------------------------------------------------------------------------------


def _judge_sights(truth: Truth, conns: dict[int, int], verdict: Verdict) -> None:
    by_book: defaultdict[tuple[int, int, str], list[Sight]] = defaultdict(list)
    for sight in verdict.sights:
        by_book[sight.conn, sight.sid, sight.ticker].append(sight)
    for (conn, sid, ticker), seen in by_book.items():
        if conn not in conns:
            verdict.problems.append(f"{ticker}: a book of a connection the exchange does not know: {conn}")
            continue
        books = truth.books(conns[conn], sid, ticker)
        wrong = [sight for sight in seen if books.get(sight.seq) != sight.levels]
        verdict.problems += [f"called valid, but not the exchange's book: {sight}" for sight in wrong[:SHOWN]]


def _judge_own(truth: Truth, tables: Tables, conns: dict[int, int], verdict: Verdict) -> None:
    """Judge the gateway's own snapshots on the tape; they do not say which subscription their number is of."""
    for own in tables.own:
        sids = truth.sids(conns.get(own.conn, 0))
        if not any(truth.books(conns[own.conn], sid, own.ticker).get(own.seq) == own.levels for sid in sids):
            verdict.problems.append(f"the gateway's own snapshot is not the exchange's book: {own}")
