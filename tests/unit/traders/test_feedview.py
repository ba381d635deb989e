from __future__ import annotations

import pytest

from feed.schema import (
    CONNECTION_SILENT_MAX_S,
    FEED_ENTRY_MAX_S,
    VERSION,
    BookDelta,
    BookSnapshot,
    BookStatus,
    FeedState,
)
from markets.core.units import Side
from traders.feedview import LAG_MAX_MS, FeedView

NOW_S = 100.0


def a_snapshot(*, conn: int = 7, generation: int = 1) -> BookSnapshot:
    return BookSnapshot(conn, 2, generation, 1, 1_000, [(4_000, 300)], [(5_800, 200)])


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
