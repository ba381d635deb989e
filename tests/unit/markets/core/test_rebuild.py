from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets.core.rebuild import before, contained, rebuild, spoiling
from markets.core.tape import CONNECTION_BEGAN, CROSSED, Delta, Gap, Snapshot

START_US = 1_795_337_400_000_000
CONN, OTHER = 7, 8
FAR_US = START_US + 10**12

Change = tuple[int, int, int, int]  # milliseconds since the change before, side, price in cents, new size in contracts


def history(changes: list[Change]) -> tuple[Snapshot, list[Delta], list[tuple[dict[int, int], dict[int, int]]]]:
    """Return a snapshot, the deltas that lead level by level to the sizes of `changes`, and the book after each."""
    sides: tuple[dict[int, int], dict[int, int]] = ({1_000: 500}, {2_000: 700})
    snapshot = Snapshot(START_US, CONN, 10, tuple(sides[0].items()), tuple(sides[1].items()))
    deltas, books, time_us = [], [(dict(sides[0]), dict(sides[1]))], START_US
    for number, (step_ms, side, cents, contracts) in enumerate(changes, start=11):
        price, new = cents * 100, contracts * 100
        old = sides[side].pop(price, 0)
        if new:
            sides[side][price] = new
        time_us += step_ms * 1_000
        deltas.append(Delta(time_us, CONN, number, side, price, new - old))
        books.append((dict(sides[0]), dict(sides[1])))
    return snapshot, deltas, books


# Below half a dollar on both sides no book is ever crossed; times may repeat and step back.
CHANGES = st.lists(
    st.tuples(st.integers(-20, 200), st.integers(0, 1), st.integers(1, 49), st.integers(0, 30)), max_size=60
)


@given(CHANGES, st.integers(-100, 12_000))
def test_a_book_is_the_last_state_that_was_not_later_than_the_moment(changes: list[Change], after_ms: int) -> None:
    snapshot, deltas, books = history(changes)
    until_us = START_US + after_ms * 1_000
    happened = max((n for n, delta in enumerate(deltas, start=1) if delta.time_us <= until_us), default=0)
    rebuilt = rebuild(snapshot, contained(deltas, until_us), until_us=until_us)
    assert (rebuilt.book.levels, rebuilt.seq, rebuilt.reason) == (books[happened], 10 + happened, "")


@given(CHANGES, st.data())
def test_what_follows_a_book_continues_it_whatever_its_moment(changes: list[Change], data: st.DataObject) -> None:
    snapshot, deltas, books = history(changes)
    until_us = START_US + data.draw(st.integers(-100, 12_000)) * 1_000
    rebuilt = rebuild(snapshot, contained(deltas, until_us), until_us=until_us)
    rest = [delta for delta in deltas if delta.seq > rebuilt.seq]
    assert all(delta.time_us > until_us for delta in rest)
    for delta in rest:
        rebuilt.book.apply(delta.side, delta.price_cc, delta.delta_cx)
    assert rebuilt.book.levels == books[-1]


def test_more_taken_than_there_is_spoils_the_book_before_it_is_applied() -> None:
    snapshot, (delta,), _ = history([(1, 0, 10, 2)])
    too_much = Delta(delta.time_us, CONN, 12, 0, 1_000, -201)
    rebuilt = rebuild(snapshot, [delta, too_much], until_us=FAR_US)
    assert (rebuilt.seq, rebuilt.reason) == (11, "negative level: YES level 1000 would fall to -1")
    assert rebuilt.book.levels[0] == {1_000: 200}


def test_a_snapshot_level_without_size_is_no_book() -> None:
    assert "negative level" in rebuild(Snapshot(START_US, CONN, 1, ((10, 0),), ()), [], until_us=FAR_US).reason


@pytest.mark.parametrize(
    ("second_ms", "judged_ms", "reason"),
    [(0, 249, ""), (1, 1, CROSSED), (0, 250, CROSSED)],
    ids=["same", "next", "stuck"],
)
def test_a_book_may_be_crossed_within_one_time_stamp_only(second_ms: int, judged_ms: int, reason: str) -> None:
    snapshot, deltas, _ = history([(0, 0, 80, 1), (second_ms, 1, 3, 1)])
    rebuilt = rebuild(snapshot, deltas, until_us=START_US + judged_ms * 1_000)
    assert rebuilt.reason == reason


def gap(*, at_us: int = START_US + 5, conn: int | None = CONN, reason: str = "cut", received: int = 0) -> Gap:
    return Gap(at_us, conn, "", reason, 0, received)


@pytest.mark.parametrize(
    ("found", "spoils"),
    [
        (gap(), True),
        (gap(at_us=START_US - 1), False),
        (gap(at_us=START_US), True),
        (gap(at_us=START_US + 11), False),
        (gap(conn=OTHER), False),
        (gap(conn=None), True),
        (gap(conn=OTHER, reason=CONNECTION_BEGAN), True),
        (gap(conn=CONN, reason=CONNECTION_BEGAN), False),
        (gap(reason="refused by the venue: 26 market limit"), False),
        (gap(reason="sequence gap of trade", received=11), False),
        (gap(received=10), False),
        (gap(received=11), True),
        (gap(received=11, at_us=START_US - 900), True),
        (gap(received=12, at_us=START_US + 900), True),
        (gap(received=13, at_us=START_US + 900), False),
    ],
)  # fmt: skip
def test_a_gap_spoils_what_it_parts_from_its_snapshot(found: Gap, *, spoils: bool) -> None:
    """Snapshot 10 at the start, asked for 10 µs later, last event 12."""
    snapshot = Snapshot(START_US, CONN, 10, (), ())
    assert (spoiling(snapshot, [found], last_seq=12, until_us=START_US + 10) is found) is spoils


@given(CHANGES, st.integers(11, 71))
def test_before_a_numbered_gap_lie_the_smaller_numbers(changes: list[Change], received: int) -> None:
    _, deltas, _ = history(changes)
    kept = list(before(deltas, gap(received=received)))
    assert [delta.seq for delta in kept] == [delta.seq for delta in deltas if delta.seq < received]
    assert all(a.seq < b.seq for a, b in pairwise(kept))


@given(CHANGES, st.integers(11, 71))
def test_before_a_gap_of_a_whole_stream_lie_the_earlier_times_whatever_entry_showed_it(
    changes: list[Change], received: int
) -> None:
    _, deltas, _ = history([(abs(step), *rest) for step, *rest in changes])  # type: ignore[misc]
    kept = list(before(deltas, gap(conn=None, at_us=START_US + 500_000, received=received)))
    assert kept == [delta for delta in deltas if delta.time_us < START_US + 500_000]
