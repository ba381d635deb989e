from __future__ import annotations

from pathlib import Path

from feed.retold import FEED_EVERY_US, Retold, Told
from feed.schema import (
    BookDelta,
    BookSnapshot,
    BookStatus,
    BookTrade,
    DeltaRow,
    LifecycleRow,
    SnapshotRow,
    TickerRow,
    TimeSource,
)
from feed.survey import survey
from feed.tapefile import TapeFile
from markets.core.units import Side
from tests.fixtures.tapes import DELAY_US, START_US, Tape, a_tape


def retold(tape: Tape, folder: Path) -> list[Told]:
    path = tape.save(folder)
    return list(Retold(path, survey(path)).tell())


def kinds(told: list[Told]) -> list[type]:
    return [type(what) for one in told for _, what in one.happened]


def test_events_tickers_and_lives_come_in_the_order_of_the_recording(tmp_path: Path) -> None:
    tape = a_tape().volume(10).delta(Side.YES, 3_900, 1).trade(3_900, 1, Side.NO).volume(11)
    tape.life("deactivated", is_deactivated=True)
    assert kinds(retold(tape, tmp_path)) == [
        BookSnapshot, BookDelta, TickerRow, BookDelta, BookTrade, TickerRow, BookStatus, LifecycleRow
    ]  # fmt: skip


def test_frames_that_came_together_are_told_together(tmp_path: Path) -> None:
    tape = a_tape().volume(10).delta(Side.YES, 3_900, 1)
    assert [len(one.happened) for one in retold(tape, tmp_path) if one.happened] == [1, 1, 2]


def test_the_feed_is_written_every_quarter_of_a_second_and_when_it_changes(tmp_path: Path) -> None:
    told = retold(a_tape().wait(1.0).delta(Side.YES, 100, 1), tmp_path)
    first_us = told[0].received_us
    written = [one.received_us - first_us for one in told if one.feed is not None]
    assert written == [0, 0, *(n * FEED_EVERY_US for n in range(1, 5))]
    assert [one.feed.generations for one in told if one.feed is not None][1:] == [{2: 1}] * 5


def test_the_feed_shows_the_connection_of_its_books(tmp_path: Path) -> None:
    told = retold(a_tape(), tmp_path)
    (snapshot,) = [what for one in told for _, what in one.happened if isinstance(what, BookSnapshot)]
    feed = told[1].feed
    assert feed is not None
    assert (feed.conn, feed.state, feed.generations[snapshot.sid]) == (snapshot.conn, "connected", snapshot.generation)
    assert feed.frame_age_ms == 0


def test_both_clocks_are_the_recordings_and_the_exchanges_is_set_right(tmp_path: Path) -> None:
    told = retold(a_tape(clock_us=3_600_000_000), tmp_path)
    newest = told[-1]
    (_, delta), *_ = newest.happened
    assert isinstance(delta, BookDelta)
    assert newest.received_us == START_US + 3_600_000_000 + 100_000 + DELAY_US
    assert newest.wall_us == delta.time_us == START_US + 100_000


def test_lateness_is_counted_above_the_least(tmp_path: Path) -> None:
    tape = a_tape(clock_us=-3_600_000_000)
    tape.delay_us += 7_000_000
    tape.delta(Side.YES, 100, 1).wait(0.3).delta(Side.YES, 100, 1)
    lags = [one.feed.lag_ms for one in retold(tape, tmp_path) if one.feed is not None]
    assert lags[2:5] == [0, 0, 0]
    assert lags[-1] == 7_000


def test_a_connections_end_leaves_no_book_valid_until_the_next_one_begins(tmp_path: Path) -> None:
    tape = a_tape().delta(Side.YES, 100, 1).wait(1.0).connect().snapshot([(4_000, 300)], [(5_800, 200)])
    told = retold(tape, tmp_path)
    states = [(one.feed.state, one.feed.conn) for one in told if one.feed is not None]
    first, second = states[0][1] or states[1][1], states[-1][1]
    assert first != second
    assert [state for state, _ in states].count("disconnected") == 1 + 1 + 4, "before the first, the end, and the hole"
    gone = next(one for one in told[2:] if one.feed is not None and one.feed.state == "disconnected")
    assert gone.received_us == START_US + 200_000 + DELAY_US, "behind the last frame"
    assert gone.feed is not None
    assert gone.feed.reason == "the recording of this connection ends"


def test_a_gap_changes_the_generation_before_its_events(tmp_path: Path) -> None:
    tape = a_tape().lose().delta(Side.YES, 3_900, 1).wait(0.1).snapshot([(4_000, 300)], [(5_800, 200)])
    path = tape.save(tmp_path)
    player = Retold(path, survey(path))
    told = list(player.tell())
    gap = next(one for one in told if one.feed is not None and one.feed.generations == {2: 2})
    assert gap.happened == ()
    assert gap.received_us == START_US + 200_000 + DELAY_US
    assert (player.counters["gaps"], player.counters["connections"]) == (1, 1)


def test_a_market_whose_subscription_is_over_is_followed_again(tmp_path: Path) -> None:
    tape = a_tape()
    tape._frame({"type": "ok", "id": 5, "sid": 2, "seq": tape._next(2), "msg": {"market_tickers": ["OTHER"]}})
    tape.wait(0.1).snapshot([(4_100, 1)], [])
    told = kinds(retold(tape, tmp_path))
    assert told[-1] is BookSnapshot


def test_time_alone_judges_a_book_that_stays_crossed_and_repeats_a_whole_one(tmp_path: Path) -> None:
    crossed = retold(a_tape().delta(Side.NO, 6_000, 10).wait(1.0).delta(Side.YES, 100, 1), tmp_path)
    (judged,) = [one for one in crossed if any(isinstance(what, BookStatus) for _, what in one.happened)]
    assert judged.feed is not None
    assert judged.received_us - START_US < 700_000
    whole = retold(a_tape().wait(6.0).delta(Side.YES, 100, 1), tmp_path)
    assert kinds(whole).count(BookSnapshot) == 2


def test_a_tape_of_our_own_is_told_under_the_connection_that_it_names(tmp_path: Path) -> None:
    file = TapeFile(tmp_path, "tape", ["M"])
    file.write(77, START_US, SnapshotRow(START_US, int(TimeSource.SENDING), "M", 5, [(4_000, 1)], []))
    file.write(77, START_US + 1, DeltaRow(START_US, int(TimeSource.EXCHANGE), "M", 6, 0, 4_000, 1))
    file.finish("stopped")
    told = list(Retold(file.path, survey(file.path)).tell())
    assert kinds(told) == [BookSnapshot, BookDelta]
    first = next(one for one in told if one.happened)
    assert first.feed is not None, "its book is valid at once"
    assert (first.feed.conn, first.feed.generations) == (77, {1: 1})
