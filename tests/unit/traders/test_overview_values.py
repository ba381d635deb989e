from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from feed import schema
from kalshimm.runtime.heartbeat import BEAT_VERSION, Beat
from markets.core.units import Side
from traders.overview import (
    DRY_RUN,
    LIVE,
    Live,
    OverviewPage,
    Stored,
    StoredEvent,
    StoredMarket,
    StoredTrader,
    TraderRow,
    assemble,
    remember,
)

NOW = datetime(2026, 11, 22, 19, 32, 8, tzinfo=UTC)
NOW_US = int(NOW.timestamp()) * 1_000_000
ROLES = ("gateway", "writer")


def a_trader(number: int = 1, **changes: Any) -> StoredTrader:
    trader = StoredTrader(number, f"nyc-{number}", f"M{number}", DRY_RUN, "running", "quoting", "")
    return msgspec.structs.replace(trader, **changes)


def a_stored(*traders: StoredTrader, **changes: Any) -> Stored:
    markets = {t.ticker: StoredMarket(t.ticker, f"{t.id}° or above", "E", NOW) for t in traders}
    stored = Stored(traders=traders, markets=markets, events={"E": StoredEvent("E", "Heat", True)})
    return msgspec.structs.replace(stored, **changes)


def a_quote(side: Side, price_cc: int, **changes: Any) -> schema.QuoteView:
    quote = schema.QuoteView(side, price_cc, 10_000, 10_000, 6_000, 10_000, True)
    return msgspec.structs.replace(quote, **changes)


def a_beat(number: int = 1, *, age_ms: int = 200, **changes: Any) -> Beat:
    view = schema.TraderView(
        trader=number,
        ticker=f"M{number}",
        mode=DRY_RUN,
        state="quoting",
        why="joins",
        position_cx=0,
        fills=0,
        quotes=[a_quote(Side.YES, 2_400), a_quote(Side.NO, 7_300)],
        book_is_valid=True,
        yes_bid_cc=2_400,
        yes_ask_cc=2_700,
        rate_ud_h=None,
        trading_ud=0,
    )
    return service_beat("trader", str(number), age_ms, schema.encode(msgspec.structs.replace(view, **changes)))


def service_beat(role: str, name: str = "main", age_ms: int = 200, detail: bytes = b"") -> Beat:
    written = NOW_US - age_ms * 1_000
    return Beat(BEAT_VERSION, role, name, 1, "boot", 0, written, 1, 0, "running", "", {}, detail)


def a_page(stored: Stored, *beats: Beat, **live: Any) -> OverviewPage:
    return assemble(stored, Live(beats=beats, **live), now_us=NOW_US, environment="local", expected_roles=ROLES)


def only_row(*beats: Beat, trader: StoredTrader | None = None, **live: Any) -> TraderRow:
    return a_page(a_stored(trader or a_trader()), *beats, **live).groups[0].rows[0]


def vital(page: OverviewPage, label: str) -> tuple[str, str]:
    found = next(vital for vital in page.vitals if vital.label == label)
    return found.state, found.text


def test_the_ask_is_shown_in_yes_view() -> None:
    row = only_row(a_beat())
    assert row.bid
    assert row.ask
    assert (row.bid.yes_price_cc, row.ask.yes_price_cc) == (2_400, 2_700)


def test_buffer_percent_is_of_buffer_and_remaining() -> None:
    quote = a_quote(Side.YES, 2_400, remaining_cx=30_000, buffer_cx=10_000)
    row = only_row(a_beat(quotes=[quote]))
    assert row.bid
    assert row.bid.buffer_hundredths == 2_500


def test_of_several_orders_on_a_side_the_best_is_shown_and_the_others_counted() -> None:
    row = only_row(a_beat(quotes=[a_quote(Side.NO, 7_200), a_quote(Side.NO, 7_300)]))
    assert row.ask
    assert (row.ask.yes_price_cc, row.ask.others, row.orders) == (2_700, 1, 2)


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({}, ("ok", "quoting")),
        ({"quotes": [a_quote(Side.YES, 2_400)]}, ("hold", "one-sided")),
        ({"quotes": []}, ("hold", "no quotes")),
        ({"book_is_valid": False}, ("warn", "book stale")),
        ({"state": "paused"}, ("hold", "paused")),
        ({"state": "draining"}, ("work", "draining")),
        ({"state": "dreaming"}, ("unknown", "dreaming")),
    ],
)
def test_state_is_a_glyph_and_a_word(changes: dict[str, Any], shown: tuple[str, str]) -> None:
    row = only_row(a_beat(**changes))
    assert (row.glyph, row.word) == shown


def test_a_paused_trader_says_why_if_no_person_paused_it() -> None:
    waits = a_trader(state="paused", state_reason="it needs resume")
    assert only_row(a_beat(state="paused", why="paused"), trader=waits).why == "it needs resume"
    assert only_row(a_beat(state="paused", why="paused"), trader=a_trader(state="paused")).why == "paused"
    assert only_row(a_beat(why="at the touch"), trader=waits).why == "at the touch", "it was resumed a moment ago"


def test_a_trader_whose_beat_is_old_is_silent_and_keeps_its_last_figures() -> None:
    row = only_row(a_beat(age_ms=5_000, position_cx=700))
    assert (row.word, row.is_stale, row.position_cx) == ("silent", True, 700)


def test_a_trader_never_heard_is_unknown_in_every_figure() -> None:
    row = only_row()
    assert (row.word, row.position_cx, row.trading_ud, row.rate_ud_h) == ("silent", None, None, None)
    assert row.void.startswith("Unknown: no beat")


def test_a_trader_the_supervisor_has_not_started_yet_is_starting() -> None:
    assert only_row(trader=a_trader(state="stopped")).word == "starting"


def test_a_failed_trader_says_why() -> None:
    row = only_row(trader=a_trader(state="failed", state_reason="restart 3 of 5"))
    assert (row.word, row.why) == ("failed", "restart 3 of 5")


def test_a_failed_trader_stays_so_until_somebody_starts_it() -> None:
    row = only_row(trader=a_trader(state="failed"))
    assert "until somebody starts it" in row.void


def test_a_failed_trader_is_called_so_also_while_its_last_beat_is_remembered() -> None:
    row = only_row(a_beat(age_ms=9_000), trader=a_trader(state="failed", state_reason="crashed 4 times"))
    assert (row.glyph, row.word, row.why) == ("bad", "failed", "crashed 4 times")


@pytest.mark.parametrize("beats", [(), (a_beat(age_ms=9_000),)])
def test_a_trader_whose_process_lives_without_a_beat_is_silent_and_unknown(beats: tuple[Beat, ...]) -> None:
    row = only_row(*beats, trader=a_trader(state="silent", state_reason="no beat since 19:31:00 UTC"))
    assert (row.glyph, row.word, row.why) == ("unknown", "silent", "no beat since 19:31:00 UTC")


def test_a_trader_that_has_stopped_as_it_should_is_not_called_silent() -> None:
    over = a_trader(desired="stopped", state="stopped", state_reason="its market has closed")
    assert a_page(a_stored(over), a_beat(age_ms=9_000)).groups == ()
    assert [row.word for group in a_page(a_stored(over), a_beat()).groups for row in group.rows] == ["quoting"]
    still = msgspec.structs.replace(over, state="quoting")
    assert only_row(a_beat(age_ms=9_000), trader=still).word == "silent"


def test_with_redis_away_nothing_is_called_silent() -> None:
    page = a_page(a_stored(a_trader()), problem="Redis does not answer.")
    assert page.groups[0].rows[0].word == "unknown"
    assert page.services_silent == 0
    assert vital(page, "Redis") == ("bad", "away")


def test_with_redis_away_the_last_figures_stand_in_rows_but_not_in_sums() -> None:
    page = a_page(a_stored(a_trader()), a_beat(age_ms=9_000, position_cx=700), problem="Redis does not answer.")
    assert page.groups[0].rows[0].position_cx == 700
    total = page.totals[0]
    assert (total.quoting, total.trading_ud) == (None, None)
    assert total.orders_void
    assert vital(page, "Books") == ("unknown", "?")


def test_totals_keep_live_and_paper_apart_and_live_comes_first() -> None:
    stored = a_stored(a_trader(1), a_trader(2, mode=LIVE), fills_today={LIVE: 3})
    totals = a_page(stored, a_beat(1, trading_ud=5), a_beat(2, trading_ud=7)).totals
    assert [(t.mode, t.trading_ud, t.orders, t.fills_today) for t in totals] == [(LIVE, 7, 2, 3), (DRY_RUN, 5, 2, 0)]


def test_a_sum_with_an_unknown_part_is_unknown_and_names_it() -> None:
    stored = a_stored(a_trader(1), a_trader(2))
    total = a_page(stored, a_beat(1, trading_ud=5), a_beat(2, trading_ud=None)).totals[0]
    assert total.trading_ud is None
    assert "nyc-2" in total.trading_void


def test_a_rate_of_zero_is_not_an_unknown_rate() -> None:
    stored = a_stored(a_trader(1))
    assert a_page(stored, a_beat(1, rate_ud_h=0)).totals[0].rate_ud_h == 0
    assert a_page(stored, a_beat(1)).totals[0].rate_ud_h is None


def test_collateral_is_own_price_times_remaining() -> None:
    total = a_page(a_stored(a_trader()), a_beat()).totals[0]
    assert total.collateral_ud == 2_400 * 10_000 + 7_300 * 10_000


def test_events_are_ordered_by_what_closes_next_after_the_live_ones() -> None:
    traders = (a_trader(1), a_trader(2), a_trader(3, mode=LIVE), a_trader(4, ticker="unlisted"))
    markets = {
        "M1": StoredMarket("M1", "a", "E1", NOW.replace(hour=23)),
        "M2": StoredMarket("M2", "b", "E2", NOW.replace(hour=20)),
        "M3": StoredMarket("M3", "c", "E3", NOW.replace(hour=23)),
    }
    groups = a_page(Stored(traders=traders, markets=markets)).groups
    assert [group.ticker for group in groups] == ["E3", "E2", "E1", ""]
    assert [group.closes_in_s for group in groups] == [14_400, 3_600, 14_400, None]


def test_a_market_the_catalogue_does_not_know_goes_by_its_ticker() -> None:
    page = a_page(Stored(traders=(a_trader(),)))
    assert page.groups[0].rows[0].market == "M1"
    assert not page.groups[0].mutually_exclusive


def a_feed(**changes: Any) -> schema.FeedState:
    feed = schema.FeedState(1, 7, "connected", {}, 40, 12, NOW_US - 100_000, 6)
    return msgspec.structs.replace(feed, **changes)


def test_feed_age_adds_the_age_of_the_entry() -> None:
    page = a_page(Stored(), feed=a_feed())
    age = next(v for v in page.vitals if v.label == "Feed age")
    assert (age.state, age.age_ms) == ("ok", 140)


@pytest.mark.parametrize("changes", [{"written_us": NOW_US - 1_600_000}, {"frame_age_ms": 15_001}])
def test_an_old_entry_or_a_silent_connection_is_bad(changes: dict[str, Any]) -> None:
    assert vital(a_page(Stored(), feed=a_feed(**changes)), "Feed age")[0] == "bad"


@pytest.mark.parametrize(
    ("feed", "shown"),
    [
        (a_feed(), ("ok", "local, connected")),
        (a_feed(state="connecting"), ("warn", "local, connecting")),
        (a_feed(state="disconnected"), ("bad", "local, disconnected")),
        (None, ("bad", "local, no gateway")),
    ],
)
def test_the_exchange_is_as_the_gateway_says(feed: schema.FeedState | None, shown: tuple[str, str]) -> None:
    assert vital(a_page(Stored(), feed=feed), "Exchange") == shown


def test_stale_books_are_counted() -> None:
    page = a_page(a_stored(a_trader(1), a_trader(2)), a_beat(1), a_beat(2, book_is_valid=False))
    assert vital(page, "Books") == ("warn", "1 good, 1 stale")


def test_an_expected_worker_that_is_silent_is_listed_all_the_same() -> None:
    page = a_page(Stored(), service_beat("gateway"), service_beat("exchange"))
    assert [(row.role, row.state) for row in page.services] == [
        ("gateway", "running"),
        ("writer", "silent"),
        ("exchange", "running"),
    ]
    assert vital(page, "Services") == ("bad", "1 silent")


def test_an_old_beat_of_a_worker_is_silence() -> None:
    row = a_page(Stored(), service_beat("gateway", age_ms=4_000)).services[0]
    assert (row.glyph, row.state, row.age_ms) == ("bad", "silent", 4_000)


def test_what_fell_silent_is_remembered_for_a_while() -> None:
    old, gone = service_beat("writer", age_ms=5_000), service_beat("gateway", age_ms=60_000)
    heard = service_beat("supervisor")
    kept = remember([old, gone], [heard], now_us=NOW_US, keep_us=30_000_000)
    assert [beat.role for beat in kept] == ["supervisor", "writer"]


def test_what_is_heard_replaces_what_was_known() -> None:
    old, new = service_beat("writer", age_ms=5_000), service_beat("writer", age_ms=10)
    assert remember([old], [new], now_us=NOW_US, keep_us=30_000_000) == (new,)
