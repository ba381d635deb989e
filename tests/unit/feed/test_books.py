from __future__ import annotations

import json
from typing import Any

from feed import schema
from feed.books import Books
from feed.kalshi.channels import BOOK as BOOK_CHANNEL
from feed.kalshi.session import Session
from feed.outbox import Taken
from markets.core.tape import CROSSED_FOR_US, OTHERS

NOW = 1_795_337_400_000_000


def a_feed(*tickers: str) -> Books:
    books = Books(7, Session())
    tickers = tickers or ("M-1",)
    books.session.subscribe(BOOK_CHANNEL, tickers)
    receive(books, type="subscribed", id=1, msg={"channel": BOOK_CHANNEL, "sid": 1})
    for number, ticker in enumerate(tickers, start=1):
        snapshot(books, number, ticker)
    books.take()
    return books


def rows_of(taken: Taken) -> list[schema.TapeRow]:
    """Return the rows as whoever reads the tape gets them."""
    return schema.decode_tape(schema.encode((schema.VERSION, 7, taken.rows))).rows


def receive(books: Books, *, at_us: int = NOW, **frame: Any) -> None:
    books.receive(json.dumps(frame).encode(), at_us)


def snapshot(books: Books, seq: int, ticker: str = "M-1", *, no: str = "0.5500") -> None:
    msg = {"market_ticker": ticker, "yes_dollars_fp": [["0.4200", "20.00"]], "no_dollars_fp": [[no, "10.00"]]}
    receive(books, type="orderbook_snapshot", sid=1, seq=seq, msg=msg)


def delta(books: Books, seq: int, *, ts_ms: int = 1, at_us: int = NOW, **msg: Any) -> None:
    body = {"market_ticker": "M-1", "price_dollars": "0.4200", "delta_fp": "1.00", "side": "yes", "ts_ms": ts_ms} | msg
    receive(books, at_us=at_us, type="orderbook_delta", sid=1, seq=seq, msg=body)


def test_a_book_is_valid_from_its_snapshot_on() -> None:
    books = Books(7, Session())
    books.session.subscribe(BOOK_CHANNEL, ["M-1"])
    receive(books, type="subscribed", id=1, msg={"channel": BOOK_CHANNEL, "sid": 1})
    assert not books.market("M-1").is_valid
    snapshot(books, 1)
    assert books.market("M-1").is_valid


def test_a_delta_is_stored_and_applied() -> None:
    books = a_feed()
    delta(books, 2, ts_ms=5, delta_fp="2.50")
    (row,) = rows_of(books.take())
    assert row == schema.DeltaRow(5_000, schema.TimeSource.EXCHANGE, "M-1", 2, 0, 4_200, 250)
    assert books.market("M-1").size_cx(0, 4_200) == 2_250


def test_B4_a_gap_spoils_every_market_of_the_subscription_until_its_own_snapshot() -> None:
    books = a_feed("M-1", "M-2")
    delta(books, 9)
    taken = books.take()
    assert [m.is_valid for m in books.markets.values()] == [False, False]
    assert taken.snapshots_wanted == [(1, ["M-1", "M-2"])]
    assert taken.is_feed_changed
    assert books.generations() == {1: 2}
    gap, lost = rows_of(taken)
    assert isinstance(gap, schema.GapRow)
    assert isinstance(lost, schema.DeltaRow), "on the tape it is not lost"
    assert (gap.expected, gap.received) == (3, 9)
    snapshot(books, 10, "M-2")
    assert [books.market(t).is_valid for t in ("M-1", "M-2")] == [False, True]
    assert books.market("M-2").generation == 2


def test_B4_deltas_without_a_book_are_stored_but_not_applied() -> None:
    books = a_feed()
    delta(books, 9)
    books.take()
    before = dict(books.market("M-1").levels[0])
    delta(books, 10)
    assert books.market("M-1").levels[0] == before
    assert isinstance(rows_of(books.take())[0], schema.DeltaRow)


def test_B8_a_malformed_frame_spoils_only_its_own_market() -> None:
    books = a_feed("M-1", "M-2")
    delta(books, 3, price_dollars="oops")
    taken = books.take()
    assert [books.market(t).is_valid for t in ("M-1", "M-2")] == [False, True]
    assert isinstance(rows_of(taken)[0], schema.MalformedRow)
    assert taken.snapshots_wanted == [(1, ["M-1"])]


def test_B8_a_malformed_frame_of_a_market_that_is_not_ours_makes_none_of_it() -> None:
    books = a_feed()
    delta(books, 2, market_ticker="M-9", price_dollars="oops")
    assert books.counters["malformed"] == 1
    assert list(books.markets) == ["M-1"]


def test_B8_what_is_no_frame_at_all_may_have_been_of_any_book() -> None:
    books = a_feed("M-1", "M-2")
    books.receive(b'{"type":"orderbook_delta","sid":1,"se', NOW)
    assert [market.is_valid for market in books.markets.values()] == [False, False]
    assert books.take().snapshots_wanted == [(1, ["M-1", "M-2"])]


def test_B8_a_level_below_zero_spoils_the_book_and_is_counted() -> None:
    books = a_feed()
    delta(books, 2, delta_fp="-20.01")
    assert not books.market("M-1").is_valid
    assert books.counters["negative_levels"] == 1
    assert books.take().snapshots_wanted == [(1, ["M-1"])]


def test_B12_a_book_crossed_within_one_time_stamp_is_in_mid_update() -> None:
    books = a_feed()
    delta(books, 2, ts_ms=5, price_dollars="0.4500")  # locks with the NO bid at 0.55
    delta(books, 3, ts_ms=5, price_dollars="0.4500", delta_fp="-1.00")
    delta(books, 4, ts_ms=6)
    assert books.counters["crossed_books"] == 0
    assert books.market("M-1").is_valid


def test_B12_a_book_still_crossed_at_the_next_time_stamp_is_broken() -> None:
    books = a_feed()
    delta(books, 2, ts_ms=5, price_dollars="0.4500")
    delta(books, 3, ts_ms=6)
    assert books.counters["crossed_books"] == 1
    assert books.take().snapshots_wanted == [(1, ["M-1"])]


def test_B12_a_book_crossed_for_long_is_broken_without_another_message() -> None:
    books = a_feed()
    delta(books, 2, price_dollars="0.4500")
    books.tick(NOW + CROSSED_FOR_US - 1)
    assert books.counters["crossed_books"] == 0
    books.tick(NOW + CROSSED_FOR_US)
    assert books.counters["crossed_books"] == 1


def test_B12_a_fresh_snapshot_that_is_crossed_too_pauses_the_market() -> None:
    books = a_feed()
    delta(books, 2, ts_ms=5, price_dollars="0.4500")
    delta(books, 3, ts_ms=6)
    books.take()
    snapshot(books, 4, no="0.5900")
    books.tick(NOW + CROSSED_FOR_US)
    taken = books.take()
    assert not books.market("M-1").is_valid
    assert taken.snapshots_wanted == []
    assert books.take_paused() == ["M-1"]
    assert books.take_paused() == []
    gap = rows_of(taken)[-1]
    assert isinstance(gap, schema.GapRow)
    assert (gap.ticker, gap.reason) == ("M-1", "crossed again after a fresh snapshot: paused")


def test_B1_a_lost_connection_spoils_every_book_and_leaves_a_gap_row() -> None:
    books = a_feed("M-1", "M-2")
    books.disconnected("closed by the venue with code 1006", NOW)
    taken = books.take()
    assert not any(m.is_valid for m in books.markets.values())
    assert [type(row) for row in rows_of(taken)] == [schema.GapRow]
    assert taken.is_feed_changed


def test_a_leased_book_streams_its_snapshot_then_its_deltas() -> None:
    books = a_feed()
    books.lease("M-1", is_leased=True, now_us=NOW)
    delta(books, 2)
    snapshot_event, delta_event = books.take().events["M-1"]
    assert isinstance(snapshot_event, schema.BookSnapshot)
    assert (snapshot_event.conn, snapshot_event.sid, snapshot_event.generation) == (7, 1, 1)
    assert isinstance(delta_event, schema.BookDelta)


def test_a_book_nobody_leases_has_no_stream() -> None:
    books = a_feed()
    delta(books, 2)
    assert books.take().events == {}


def test_a_busy_stream_repeats_its_snapshot() -> None:
    books = a_feed()
    books.lease("M-1", is_leased=True, now_us=NOW)
    for number in range(2, 2 + schema.BOOK_SNAPSHOT_DELTAS):
        delta(books, number)
    assert isinstance(books.take().events["M-1"][-1], schema.BookSnapshot)


def test_a_quiet_stream_repeats_nothing() -> None:
    books = a_feed()
    books.lease("M-1", is_leased=True, now_us=NOW)
    books.take()
    books.tick(NOW + 3_600_000_000)
    assert books.take().is_empty


def test_a_snapshot_takes_its_time_from_when_it_was_received() -> None:
    books = a_feed()
    snapshot(books, 2)
    (row,) = rows_of(books.take())
    assert (row.time_us, row.source) == (NOW, schema.TimeSource.RECEIVED)


def test_the_latest_state_tells_an_empty_side_from_a_price() -> None:
    books = a_feed()
    delta(books, 2, delta_fp="-20.00")
    state = books.market("M-1").state()
    assert (state.yes_bid_cc, state.yes_bid_cx, state.yes_ask_cc, state.yes_ask_cx) == (None, 0, 4_500, 1_000)


def test_what_is_lost_on_the_way_is_noted_and_repeated_whole() -> None:
    books = a_feed()
    books.lease("M-1", is_leased=True, now_us=NOW)
    books.take()
    books.lost("3 stream entries lost", NOW, since_us=NOW - 5)
    taken = books.take()
    gap, own = rows_of(taken)
    assert isinstance(gap, schema.GapRow)
    assert isinstance(own, schema.SnapshotRow)
    assert (gap.time_us, own.time_us, own.is_ours) == (NOW - 5, NOW, True)
    status, whole = taken.events["M-1"]
    assert isinstance(status, schema.BookStatus), "what readers have ends here"
    assert isinstance(whole, schema.BookSnapshot)


def test_B8_a_malformed_first_snapshot_is_asked_for_again() -> None:
    books = Books(7, Session())
    books.session.subscribe(BOOK_CHANNEL, ["M-1"])
    receive(books, type="subscribed", id=1, msg={"channel": BOOK_CHANNEL, "sid": 1})
    msg = {"market_ticker": "M-1", "yes_dollars_fp": [["oops", "1.00"]]}
    receive(books, type="orderbook_snapshot", sid=1, seq=1, msg=msg)
    assert books.take().snapshots_wanted == [(1, ["M-1"])]


def test_B13_a_snapshot_that_never_comes_is_asked_for_with_growing_pauses() -> None:
    books = a_feed("M-1", "M-2")
    delta(books, 9)
    requests = [books.take().snapshots_wanted]
    for second in range(1, 61):
        books.tick(NOW + second * 1_000_000)
        requests.append(books.take().snapshots_wanted)
    asked = [(second, wanted) for second, wanted in enumerate(requests) if wanted]
    assert [second for second, _ in asked] == [0, 1, 2, 4, 8, 16, 32]
    assert asked[1][1] == [(1, ["M-1", "M-2"])], "once more together"
    assert asked[2][1] == [(1, ["M-1"]), (1, ["M-2"])], "then singly: one may spoil the other"


def test_E2_rows_and_lag_follow_a_wall_clock_that_is_set_and_ages_do_not() -> None:
    books = a_feed("M-1", "M-2")
    delta(books, 3, ts_ms=NOW // 1_000, price_dollars="0.4500")
    back_us = -3_600_000_000
    books.wall_ahead(back_us)
    books.tick(NOW + CROSSED_FOR_US)
    taken = books.take()
    assert taken.snapshots_wanted == [(1, ["M-1"])], "an hour back delays no judgement"
    gap = rows_of(taken)[-1]
    assert (gap.time_us, gap.source) == (NOW + CROSSED_FOR_US + back_us, schema.TimeSource.RECEIVED)
    delta(books, 4, ts_ms=(NOW + back_us) // 1_000 - 40, at_us=NOW, market_ticker="M-2")
    assert books.last_lag_ms == 40


def test_B8_a_book_that_was_good_is_asked_for_at_once_only_once() -> None:
    """What comes for it spoiled, again and again, is asked for with growing pauses."""
    books = a_feed()
    asked = 0
    for number, millisecond in enumerate(range(60_000, 120_000, 20), start=2):
        delta(books, number, at_us=NOW + millisecond * 1_000, price_dollars="oops")
        books.tick(NOW + millisecond * 1_000)
        asked += len(books.take().snapshots_wanted)
    assert asked == 7


def test_B8_a_book_that_keeps_breaking_is_not_asked_for_without_end() -> None:
    books = a_feed()
    asked = 0
    for number in range(2, 202, 2):
        delta(books, number, price_dollars="oops")
        asked += len(books.take().snapshots_wanted)
        snapshot(books, number + 1)
    assert asked == 1


def test_a_book_whose_lease_ended_is_told_to_be_over_on_its_stream() -> None:
    books = a_feed()
    books.lease("M-1", is_leased=True, now_us=NOW)
    books.take()
    books.lease("M-1", is_leased=False, now_us=NOW)
    (event,) = books.take().events["M-1"]
    assert event == schema.BookStatus(NOW, False, "no longer leased")


def test_a_book_that_is_unsubscribed_is_forgotten_and_invalid_when_wanted_again() -> None:
    books = a_feed("M-1", "M-2")
    books.session.delete_markets(1, ["M-1"])
    receive(books, type="ok", id=2, sid=1, seq=3, msg={"market_tickers": ["M-2"]})
    taken = books.take()
    assert (taken.gone, set(books.markets)) == ({"M-1"}, {"M-2"})
    books.lease("M-1", is_leased=True, now_us=NOW)
    assert books.take().events == {}, "no snapshot of a book nobody keeps"


def test_B13_a_refused_market_is_noted_once_and_counted() -> None:
    books = a_feed()
    for command in (2, 3):
        books.session.add_markets(1, ["M-9"])
        receive(books, type="error", id=command, msg={"code": 26, "msg": "market limit"})
    assert [row.reason for row in rows_of(books.take())] == ["refused by the venue: 26 market limit"]
    assert books.refusals == {(BOOK_CHANNEL, "M-9"): 2}
    receive(books, type="ok", id=4, sid=1, seq=2, msg={"market_tickers": ["M-1", "M-9"]})
    assert books.refusals == {}


def test_a_lifecycle_message_that_changes_a_detail_leaves_the_status() -> None:
    books = a_feed()
    books.session.subscribe("market_lifecycle_v2")
    receive(books, type="subscribed", id=2, msg={"channel": "market_lifecycle_v2", "sid": 2})
    for number, word in enumerate(("deactivated", "metadata_updated"), start=1):
        body = {"market_ticker": "M-1", "event_type": word}
        receive(books, type="market_lifecycle_v2", sid=2, seq=number, msg=body)
    assert books.market("M-1").state().status == "deactivated"


def test_F4_a_change_of_status_is_told_on_the_book_stream() -> None:
    books = a_feed()
    books.session.subscribe("market_lifecycle_v2")
    receive(books, type="subscribed", id=2, msg={"channel": "market_lifecycle_v2", "sid": 2})
    books.lease("M-1", is_leased=True, now_us=NOW)
    books.take()
    body = {"market_ticker": "M-1", "event_type": "deactivated"}
    receive(books, type="market_lifecycle_v2", sid=2, seq=1, msg=body)
    assert books.take().events["M-1"] == [schema.BookStatus(NOW, True, "deactivated")]


def test_B10_the_end_of_another_channel_spoils_no_book_nor_its_history() -> None:
    books = a_feed()
    books.session.subscribe("trade", ["M-1"])
    receive(books, type="subscribed", id=2, msg={"channel": "trade", "sid": 2})
    books.take()
    receive(books, type="error", id=0, sid=2, msg={"code": 25, "msg": "buffer overflow"})
    gap = next(row for row in rows_of(books.take()) if isinstance(row, schema.GapRow))
    assert gap.reason.startswith(OTHERS)
    assert books.market("M-1").is_valid


def test_a_broken_book_is_told_to_be_broken_again_after_entries_were_lost() -> None:
    books = a_feed()
    books.lease("M-1", is_leased=True, now_us=NOW)
    delta(books, 2, delta_fp="-99.00")
    books.take()  # these entries, the book's end among them, never reach Redis
    books.lost("3 stream entries lost", NOW, since_us=NOW)
    (event,) = books.take().events["M-1"]
    assert isinstance(event, schema.BookStatus)
    assert not event.is_valid


def test_a_delta_of_another_subscription_never_reaches_the_book() -> None:
    books = a_feed()
    receive(books, type="subscribed", id=9, msg={"channel": BOOK_CHANNEL, "sid": 2})
    body = {"market_ticker": "M-1", "price_dollars": "0.4200", "delta_fp": "5.00", "side": "yes", "ts_ms": 1}
    receive(books, type="orderbook_delta", sid=2, seq=1, msg=body)
    assert books.market("M-1").size_cx(0, 4_200) == 2_000


def test_B13_what_one_channel_refuses_another_may_give() -> None:
    books = a_feed()
    books.session.subscribe("ticker", ["M-1"])
    receive(books, type="subscribed", id=2, msg={"channel": "ticker", "sid": 2})
    books.session.add_markets(2, ["M-9"])
    receive(books, type="error", id=3, msg={"code": 26, "msg": "market limit"})
    books.session.add_markets(1, ["M-9"])
    receive(books, type="ok", id=4, sid=1, seq=2, msg={"market_tickers": ["M-1", "M-9"]})
    assert books.refusals == {("ticker", "M-9"): 1}


def test_B13_a_subscribe_refused_for_one_market_blames_that_one_alone() -> None:
    books = Books(7, Session())
    books.session.subscribe(BOOK_CHANNEL, ["M-1", "M-2"])
    msg = {"code": 26, "msg": "market limit", "market_tickers": ["M-2"]}
    receive(books, type="error", id=1, msg=msg)
    assert books.refusals == {(BOOK_CHANNEL, "M-2"): 1}


def test_a_ticker_message_of_a_market_nobody_wants_leaves_no_state() -> None:
    books = a_feed()
    receive(books, type="ticker", sid=3, msg={"market_ticker": "M-7", "volume_fp": "1.00"})
    taken = books.take()
    assert [row.ticker for row in rows_of(taken)] == ["M-7"]
    assert "M-7" not in books.take_changed()
    assert "M-7" not in books.markets


def test_an_unsubscribed_market_leaves_a_gap_row_of_its_own() -> None:
    """What happens to it from now on is missing from history, and nothing else would say so."""
    books = a_feed("M-1", "M-2")
    books.session.delete_markets(1, ["M-2"])
    receive(books, type="ok", id=2, sid=1, seq=3, msg={"market_tickers": ["M-1"]})
    gap = schema.GapRow(NOW, schema.TimeSource.RECEIVED, "M-2", "unsubscribed", 1, 3, 3)
    assert books.take().rows == [gap]


def test_a_gap_among_prints_names_its_channel_and_spoils_no_book() -> None:
    books = a_feed()
    books.session.subscribe("trade", ["M-1"])
    receive(books, type="subscribed", id=2, msg={"channel": "trade", "sid": 2})
    msg = {"market_ticker": "M-1", "trade_id": "t", "yes_price_dollars": "0.4200", "count_fp": "1.00",
           "taker_outcome_side": "yes"}  # fmt: skip
    receive(books, type="trade", sid=2, seq=1, msg=msg)
    receive(books, type="trade", sid=2, seq=5, msg=msg)
    reasons = [row.reason for row in books.take().rows if isinstance(row, schema.GapRow)]
    assert reasons == ["sequence gap of trade"]
    assert books.market("M-1").is_valid
