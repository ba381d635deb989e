from __future__ import annotations

import pytest

from feed.schema import (
    CONNECTION_SILENT_MAX_S,
    FEED_ENTRY_MAX_S,
    LAG_MAX_MS,
    VERSION,
    BookDelta,
    BookSnapshot,
    BookStatus,
    BookTrade,
    FeedState,
)
from markets.core.units import Side
from traders.feedview import PRINTS_KEPT, FeedView, _since_snapshot

NOW_S = 100.0


def a_snapshot(*, conn: int = 7, generation: int = 1, seq: int = 1) -> BookSnapshot:
    return BookSnapshot(conn, 2, generation, seq, 1_000, [(4_000, 300)], [(5_800, 200)])


def a_delta(seq: int, delta_cx: int = 50) -> BookDelta:
    return BookDelta(seq, 2_000, int(Side.YES), 4_000, delta_cx)


def a_feed(
    *, conn: int = 7, generation: int = 1, frame_age_ms: int = 10, lag_ms: int | None = 20, reason: str = ""
) -> FeedState:
    return FeedState(VERSION, conn, "live", {2: generation}, frame_age_ms, lag_ms, 1, 1, reason)


def a_view(snapshot: BookSnapshot | None = None, feed: FeedState | None = None) -> FeedView:
    view = FeedView()
    view.on_event(snapshot or a_snapshot())
    view.on_feed(feed or a_feed(), NOW_S)
    return view


def test_a_book_of_the_feeds_connection_and_generation_is_valid() -> None:
    assert a_view().why_invalid(NOW_S) == ""


def test_a_quiet_market_stays_valid_while_the_feed_is_fresh() -> None:
    view = a_view()
    for step in range(1, 1_000):
        view.on_feed(a_feed(lag_ms=None), NOW_S + step)
    assert view.why_invalid(NOW_S + 1_000) == ""


def test_without_a_snapshot_there_is_no_book() -> None:
    view = FeedView()
    view.on_feed(a_feed(), NOW_S)
    view.on_event(BookDelta(1, 1, int(Side.YES), 4_000, 100))
    assert "snapshot" in view.why_invalid(NOW_S)


def test_without_the_feed_there_is_no_valid_book() -> None:
    view = FeedView()
    view.on_event(a_snapshot())
    assert "feed" in view.why_invalid(NOW_S)


def test_an_old_feed_entry_means_the_gateway_is_gone() -> None:
    assert "silent" in a_view().why_invalid(NOW_S + FEED_ENTRY_MAX_S)


def test_a_new_connection_invalidates_every_older_book() -> None:
    assert "older connection" in a_view(feed=a_feed(conn=8)).why_invalid(NOW_S)


def test_a_new_generation_of_its_subscription_invalidates_a_book() -> None:
    assert "gap on sid 2" in a_view(feed=a_feed(generation=2, reason="gap on sid 2")).why_invalid(NOW_S)


def test_a_fresh_snapshot_of_the_new_generation_makes_it_valid_again() -> None:
    view = a_view(feed=a_feed(generation=2))
    view.on_event(a_snapshot(generation=2))
    assert view.why_invalid(NOW_S) == ""


def test_a_silent_connection_invalidates_even_with_fresh_feed_entries() -> None:
    feed = a_feed(frame_age_ms=int(CONNECTION_SILENT_MAX_S * 1_000))
    assert "silent" in a_view(feed=feed).why_invalid(NOW_S)


def test_late_messages_invalidate() -> None:
    assert "late" in a_view(feed=a_feed(lag_ms=LAG_MAX_MS)).why_invalid(NOW_S)


def test_a_status_ends_the_book_until_the_next_snapshot() -> None:
    view = a_view()
    view.on_event(BookStatus(2_000, False, "sequence gap"))
    view.on_event(BookDelta(2, 2_001, int(Side.YES), 4_000, 100))
    assert view.why_invalid(NOW_S) == "sequence gap"
    view.on_event(a_snapshot())
    assert view.why_invalid(NOW_S) == ""


def test_a_change_of_market_status_leaves_the_book_valid() -> None:
    view = a_view()
    view.on_event(BookStatus(2_000, True, "active"))
    assert view.why_invalid(NOW_S) == ""


def test_a_level_below_zero_ends_the_book() -> None:
    view = a_view()
    view.on_event(BookDelta(2, 2_000, int(Side.YES), 4_000, -301))
    assert "not the exchange's book" in view.why_invalid(NOW_S)


@pytest.mark.parametrize("side", list(Side))
def test_deltas_move_the_book(side: Side) -> None:
    view = a_view()
    view.on_event(BookDelta(2, 2_000, int(side), 4_100, 50))
    assert view.book.size_cx(side, 4_100) == 50
    assert view.time_us == 2_000


def test_a_newcomer_to_a_stream_that_has_ended_has_no_book_until_it_goes_on() -> None:
    told = [a_snapshot(), a_delta(2), a_snapshot(seq=2), a_delta(3), BookStatus(3_000, False, "no longer leased")]
    view = FeedView()
    view.on_feed(a_feed(), NOW_S)
    for event in _since_snapshot([*told]):
        view.on_event(event)
    assert view.why_invalid(NOW_S) == "no longer leased"
    view.on_event(a_snapshot(seq=3))
    assert view.why_invalid(NOW_S) == ""


def test_D5_a_delta_that_comes_twice_counts_once() -> None:
    view = a_view()
    assert [view.on_event(a_delta(seq)) for seq in (2, 2, 3, 2, 3)] == [True, False, True, False, False]
    assert view.book.size_cx(Side.YES, 4_000) == 400


def test_D5_a_delta_that_the_snapshot_contains_counts_no_more() -> None:
    view = a_view(a_snapshot(seq=5))
    view.on_event(a_delta(5))
    assert view.book.size_cx(Side.YES, 4_000) == 300


def test_D5_a_whole_round_trip_that_comes_twice_leaves_the_book_as_it_is() -> None:
    view = a_view()
    for event in [a_snapshot(), a_delta(2), a_snapshot(seq=2), a_delta(3)] * 2:
        view.on_event(event)
        assert view.why_invalid(NOW_S) == ""
    assert view.book.size_cx(Side.YES, 4_000) == 350  # a snapshot of this test shows 300


def test_D5_numbers_count_anew_with_each_connection_and_generation() -> None:
    for snapshot, feed in (
        (a_snapshot(conn=8), a_feed(conn=8)),
        (a_snapshot(generation=2), a_feed(generation=2)),
    ):
        view = a_view(a_snapshot(seq=100), feed)
        assert view.on_event(snapshot)
        assert view.on_event(a_delta(2))
        assert view.book.size_cx(Side.YES, 4_000) == 350


def test_D5_after_a_broken_book_an_older_snapshot_is_welcome() -> None:
    view = a_view(a_snapshot(seq=9))
    view.on_event(BookStatus(2_000, False, "malformed frame"))
    assert view.on_event(a_snapshot(seq=8))
    assert view.why_invalid(NOW_S) == ""


def test_D5_deltas_without_a_number_all_count() -> None:
    view = a_view()
    assert [view.on_event(a_delta(0)) for _ in range(2)] == [True, True]


def test_D5_a_print_is_known_by_its_id_for_a_bounded_while() -> None:
    view = a_view()
    prints = [BookTrade(f"t{number}", 2_000, 4_000, 100, int(Side.NO)) for number in range(PRINTS_KEPT + 1)]
    assert all(view.on_event(event) for event in prints)
    assert not view.on_event(prints[-1])
    assert view.on_event(prints[0]), "the oldest was let go"


def test_the_basis_names_connection_subscription_generation_and_number() -> None:
    assert FeedView().basis is None
    view = a_view(a_snapshot(seq=3))
    view.on_event(a_delta(4))
    assert view.basis == (7, 2, 1, 4)
