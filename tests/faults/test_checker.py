"""The checker itself: it must see what is wrong, or no row means anything."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest

from tests.faults.checker import Verdict, judge
from tests.faults.tables import GapRow, MalformedRow, OwnSnapshot, Tables
from tests.faults.truth import Key, Truth, row_key
from tests.faults.watch import Sight

CONN = 7_000


def a_delta(seq: int, *, delta: str = "1.00", sid: int = 1) -> dict[str, Any]:
    msg = {"market_ticker": "M", "price_dollars": "0.4000", "delta_fp": delta, "side": "yes", "ts_ms": 1_000 + seq}
    return {"type": "orderbook_delta", "sid": sid, "seq": seq, "msg": msg}


def a_snapshot(seq: int) -> dict[str, Any]:
    msg = {"market_ticker": "M", "yes_dollars_fp": [["0.4000", "2.00"]]}
    return {"type": "orderbook_snapshot", "sid": 1, "seq": seq, "sending_ts_ms": 1_000, "msg": msg}


FRAMES = [a_snapshot(1), a_delta(2), a_delta(3), a_delta(4), a_delta(5)]


def sent(frames: list[dict[str, Any]]) -> Truth:
    truth = Truth()
    truth.add([{"number": i, "at_us": i, "connection": 3, "frame": frame} for i, frame in enumerate(frames, start=1)])
    return truth


def stored(frames: list[dict[str, Any]], *, gaps: tuple[GapRow, ...] = (), malformed: bytes = b"") -> Tables:
    tables = Tables.__new__(Tables)
    keys: set[Key] = {key for frame in frames if (key := row_key(frame)) is not None}
    tables.rows = defaultdict(set, {CONN: keys})
    tables.trades, tables.gaps, tables.own = set(), list(gaps), []
    tables.malformed = [MalformedRow(CONN, 2_000, "why", malformed)] if malformed else []
    return tables


def a_gap(expected: int, received: int, *, conn: int = CONN, sid: int = 1, reason: str = "sequence gap") -> GapRow:
    return GapRow(conn, 2_000, "", reason, sid, expected, received)


def verdict(tables: Tables, *sights: Sight, extra: int = 0) -> Verdict:
    return judge(sent(FRAMES), tables, list(sights), after=0, until=5, extra=extra)


def without(*seqs: int) -> list[dict[str, Any]]:
    return [frame for frame in FRAMES if frame["seq"] not in seqs]


def test_what_is_all_stored_is_good() -> None:
    found = verdict(stored(FRAMES))
    assert (found.problems, len(found.stored), found.covered) == ([], 5, 0)


def test_a_missing_message_without_a_gap_row_is_a_problem() -> None:
    assert "neither stored nor marked" in verdict(stored(without(3))).problems[0]


@pytest.mark.parametrize(("expected", "received", "is_good"), [(3, 5, True), (3, 4, False), (4, 5, False)])
def test_a_gap_row_covers_the_numbers_it_names_and_no_others(expected: int, received: int, is_good: bool) -> None:
    found = verdict(stored(without(3, 4), gaps=(a_gap(expected, received),)))
    assert (not found.problems) == is_good


def test_a_gap_of_another_subscription_or_connection_covers_nothing() -> None:
    assert verdict(stored(without(3), gaps=(a_gap(3, 4, sid=2),))).problems
    assert verdict(stored(without(3), gaps=(a_gap(3, 4, conn=CONN + 1),))).problems


def test_a_malformed_frame_covers_its_own_number() -> None:
    assert not verdict(stored(without(3), malformed=b'{"sid":1,"seq":3}')).problems
    assert verdict(stored(without(3), malformed=b'{"sid":1,"se')).problems


def test_a_connections_end_covers_what_was_still_under_way() -> None:
    assert verdict(stored(without(4, 5))).problems
    assert not verdict(stored(without(4, 5), gaps=(a_gap(0, 0, sid=0, reason="closed"),))).problems
    earlier = GapRow(CONN, 1, "", "closed", 0, 0, 0)
    assert verdict(stored(without(4, 5), gaps=(earlier,))).problems
    began = a_gap(0, 0, conn=CONN + 1, sid=0, reason="connection began")
    assert not verdict(stored(without(4, 5), gaps=(began,))).problems
    assert verdict(stored(without(3), gaps=(began,))).problems, "but nothing in its middle"


@pytest.mark.parametrize(("since_us", "is_good"), [(3, True), (-40_000_000, False), (2_000_000, False)])
def test_a_gap_of_a_stream_covers_what_came_behind_its_time(since_us: int, *, is_good: bool) -> None:
    gap = GapRow(0, since_us, "", "kmm:tape:0: the store began anew", 0, 0, 0)
    assert (not verdict(stored(without(3), gaps=(gap,))).problems) == is_good


def test_a_row_nobody_sent_is_a_problem_unless_expected() -> None:
    tables = stored([*FRAMES, a_delta(6)])
    assert "nobody sent" in verdict(tables).problems[0]
    assert not verdict(tables, extra=1).problems


def test_a_row_changed_on_its_way_is_a_problem() -> None:
    found = verdict(stored([*without(3), a_delta(3, delta="9.00")]))
    assert len(found.problems) == 2


def a_sight(seq: int, size_cx: int, *, conn: int = CONN) -> Sight:
    return Sight(9, "M", conn, 1, seq, ({4_000: size_cx}, {}))


def test_a_readers_book_must_be_the_exchanges_at_that_number() -> None:
    assert not verdict(stored(FRAMES), a_sight(1, 200), a_sight(3, 400)).problems
    assert "not the exchange's book" in verdict(stored(FRAMES), a_sight(3, 300)).problems[0]


@pytest.mark.parametrize(("seq", "size_cx", "is_good"), [(3, 400, True), (3, 300, False), (9, 400, False)])
def test_the_gateways_own_snapshot_must_be_the_exchanges_book(seq: int, size_cx: int, is_good: bool) -> None:
    tables = stored(FRAMES)
    tables.own.append(OwnSnapshot(CONN, "M", seq, ({4_000: size_cx}, {})))
    assert (not verdict(tables).problems) == is_good


def test_a_book_of_an_unknown_connection_is_a_problem() -> None:
    assert "does not know" in verdict(stored(FRAMES), a_sight(3, 300, conn=1)).problems[0]
