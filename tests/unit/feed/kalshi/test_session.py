from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed.books import Books
from feed.kalshi import events as wire
from feed.kalshi.channels import BOOK as BOOK_CHANNEL
from feed.kalshi.session import Session
from feed.kalshi.wire import frames
from feed.publisher import tape_commands
from markets.core.units import Side


def frame(kind: str, *, sid: int = 1, seq: int | None = None, id: int | None = None, **msg: Any) -> bytes:  # noqa: A002
    body: dict[str, Any] = {"type": kind, "sid": sid, "msg": msg}
    if seq is not None:
        body["seq"] = seq
    if id is not None:
        body["id"] = id
    return json.dumps(body).encode()


def delta(seq: int, *, ticker: str = "M-1", price: str = "0.4200", count: str = "5.00", side: str = "yes") -> bytes:
    return frame(
        "orderbook_delta", seq=seq, market_ticker=ticker, price_dollars=price, delta_fp=count, side=side, ts_ms=1
    )


def snapshot(seq: int, *, ticker: str = "M-1", **sides: Any) -> bytes:
    return frame("orderbook_snapshot", seq=seq, market_ticker=ticker, **sides)


def a_session(*tickers: str, **options: Any) -> Session:
    session = Session(**options)
    session.subscribe(BOOK_CHANNEL, tickers or ("M-1",))
    session.receive(json.dumps({"id": 1, "type": "subscribed", "msg": {"channel": BOOK_CHANNEL, "sid": 1}}).encode())
    return session


def kinds(events: tuple[wire.Event, ...]) -> list[str]:
    return [type(event).__name__ for event in events]


def test_it_always_says_which_prices_it_wants() -> None:
    (command,) = Session().subscribe(BOOK_CHANNEL, ["M-1"])
    assert json.loads(command)["params"]["use_yes_price"] is False


def test_the_action_of_an_update_sits_inside_params() -> None:
    (command,) = a_session().add_markets(1, ["M-2"])
    assert json.loads(command) == {
        "id": 2,
        "cmd": "update_subscription",
        "params": {"sids": [1], "action": "add_markets", "market_tickers": ["M-2"]},
    }


def test_long_lists_are_sent_in_batches() -> None:
    commands = a_session().add_markets(1, [f"M-{n}" for n in range(1_100)])
    assert [len(json.loads(c)["params"]["market_tickers"]) for c in commands] == [500, 500, 100]


def test_only_a_confirmed_subscription_counts() -> None:
    session = Session()
    session.subscribe(BOOK_CHANNEL, ["M-1"])
    assert session.of_channel(BOOK_CHANNEL) is None
    assert session.is_pending(BOOK_CHANNEL, "subscribe")


def test_frames_in_order_become_events() -> None:
    session = a_session()
    (first,) = session.receive(snapshot(1, yes_dollars_fp=[["0.4200", "20.00"]], no_dollars_fp=[["0.5500", "1.00"]]))
    assert isinstance(first, wire.BookSnapshot)
    assert (first.yes, first.no) == ([(4_200, 2_000)], [(5_500, 100)])
    (second,) = session.receive(delta(2, count="-2.50", side="no", price="0.5500"))
    assert isinstance(second, wire.BookDelta)
    assert (second.side, second.price_cc, second.delta_cx) == (Side.NO, 5_500, -250)


def test_a_missing_side_is_an_empty_one() -> None:
    (event,) = a_session().receive(snapshot(1))
    assert isinstance(event, wire.BookSnapshot)
    assert (event.yes, event.no) == ([], [])


def test_no_prices_are_turned_when_they_come_as_yes_prices() -> None:
    session = a_session(use_yes_price=True)
    (first,) = session.receive(snapshot(1, yes_dollars_fp=[["0.4700", "3.00"]], no_dollars_fp=[["0.5200", "1.00"]]))
    assert isinstance(first, wire.BookSnapshot)
    assert (first.yes, first.no) == ([(4_700, 300)], [(4_800, 100)])
    (second,) = session.receive(delta(2, side="no", price="0.5200", count="1.00"))
    assert isinstance(second, wire.BookDelta)
    assert second.price_cc == 4_800


def test_B4_a_gap_is_shown_with_every_market_of_its_subscription() -> None:
    session = a_session("M-1", "M-2")
    session.receive(snapshot(1))
    session.receive(snapshot(2, ticker="M-2"))
    gap, lost = session.receive(delta(5))
    assert isinstance(gap, wire.Gap)
    assert isinstance(lost, wire.BookDelta), "kept for the tape"
    assert (gap.expected, gap.received, gap.markets) == (3, 5, {"M-1", "M-2"})
    assert session.subscriptions[1].generation == 2


def test_B4_the_sequence_goes_on_after_a_gap() -> None:
    session = a_session()
    session.receive(snapshot(1))
    session.receive(delta(5))
    assert kinds(session.receive(delta(6))) == ["BookDelta"]


def test_B4_a_snapshot_that_shows_a_gap_can_still_be_used() -> None:
    session = a_session()
    session.receive(snapshot(1))
    assert kinds(session.receive(snapshot(4))) == ["Gap", "BookSnapshot"]


def test_B5_a_duplicate_is_dropped_and_counted() -> None:
    session = a_session()
    session.receive(snapshot(1))
    session.receive(delta(2))
    assert session.receive(delta(2)) == ()
    assert session.duplicates == 1


def test_B6_a_lower_number_is_a_gap() -> None:
    session = a_session()
    for number in (1, 2, 3):
        session.receive(delta(number))
    assert kinds(session.receive(delta(2))) == ["Gap", "BookDelta"]


def test_a_subscription_that_does_not_begin_at_one_has_a_gap() -> None:
    assert kinds(a_session().receive(delta(3))) == ["Gap", "BookDelta"]


def test_an_ok_takes_a_number_of_its_subscription() -> None:
    session = a_session()
    session.receive(snapshot(1))
    session.add_markets(1, ["M-2"])
    (confirmed,) = session.receive(b'{"id":2,"sid":1,"seq":2,"type":"ok","msg":{"market_tickers":["M-1","M-2"]}}')
    assert isinstance(confirmed, wire.Confirmed)
    assert confirmed.markets == {"M-1", "M-2"}
    assert kinds(session.receive(delta(3))) == ["BookDelta"]


def test_sequences_of_two_subscriptions_are_apart() -> None:
    session = a_session()
    session.subscribe("trade", ["M-1"])
    session.receive(b'{"id":2,"type":"subscribed","msg":{"channel":"trade","sid":2}}')
    session.receive(snapshot(1))
    trade = {"trade_id": "t", "market_ticker": "M-1", "yes_price_dollars": "0.4500", "count_fp": "12.00"}
    (event,) = session.receive(frame("trade", sid=2, seq=1, taker_outcome_side="yes", **trade))
    assert isinstance(event, wire.TradeEvent)
    assert (event.yes_price_cc, event.count_cx, event.taker_side) == (4_500, 1_200, Side.YES)
    assert kinds(session.receive(delta(2))) == ["BookDelta"]


@pytest.mark.parametrize(
    "bad",
    [
        delta(2, price="0.00005"),
        delta(2, price="1.0000"),
        delta(2, price="0.0000"),
        delta(2, price="NaN"),
        delta(2, count="x"),
        delta(2, side="maybe"),
        frame("orderbook_delta", seq=2, market_ticker="M-1", delta_fp="1.00", side="yes"),
        frame("orderbook_delta", seq=2, market_ticker="M-1", price_dollars=None, delta_fp="1.00", side="yes"),
        snapshot(2, yes_dollars_fp=[["0.4200", "0.00"]]),
        snapshot(2, yes_dollars_fp=[["0.4200"]]),
    ],
)
def test_B8_a_malformed_book_frame_names_its_market_and_keeps_the_sequence(bad: bytes) -> None:
    session = a_session()
    session.receive(snapshot(1))
    (event,) = session.receive(bad)
    assert isinstance(event, wire.Malformed)
    assert (event.ticker, event.frame) == ("M-1", bad)
    assert kinds(session.receive(delta(3))) == ["BookDelta"]


@pytest.mark.parametrize(
    "bad",
    [
        b"", b"{", b"[]", b"null", b'{"type":', b"\xff\xfe", b'{"type":"orderbook_delta","sid":"x"}', b"[" * 100_000,
        b'{"type":"ok","sid":1,"msg":' + b"[" * 100_000,
    ],
)  # fmt: skip
def test_B8_what_is_no_frame_is_kept_never_raises_and_may_be_of_any_book(bad: bytes) -> None:
    session = a_session("M-1", "M-2")
    session.receive(snapshot(1))
    *before, event = session.receive(bad)
    assert isinstance(event, wire.Malformed)
    if b'"ok"' not in bad:
        (gap,) = before
        assert isinstance(gap, wire.Gap)
        assert gap.markets == {"M-1", "M-2"}


def test_B8_an_unknown_type_is_ignored_but_takes_its_number() -> None:
    session = a_session()
    session.receive(snapshot(1))
    assert kinds(session.receive(frame("brand_new", seq=2, anything=1))) == ["Ignored"]
    assert kinds(session.receive(delta(3))) == ["BookDelta"]


HOSTILE = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.text()),
    st.sampled_from(["1e9", "99999999999999999999.00", "0.42", "NaN", "\x00", "A" * 300, 10**19, -1, 2**63]),
)  # fmt: skip
FIELDS = ["market_ticker", "price_dollars", "delta_fp", "side", "ts_ms", "yes_dollars_fp", "trade_id", "count_fp",
          "yes_price_dollars", "taker_outcome_side", "volume_fp", "code", "msg", "channel", "event_type"]  # fmt: skip
KINDS = [*frames.KNOWN_TYPES, "brand_new"]


@given(
    kind=st.sampled_from(KINDS),
    head=st.dictionaries(st.sampled_from(["sid", "seq", "id", "sending_ts_ms"]), HOSTILE),
    msg=st.dictionaries(st.sampled_from(FIELDS), HOSTILE),
    good=st.booleans(),
)
def test_B8_nothing_the_venue_may_send_raises_on_its_way_to_the_tape(
    kind: str, head: dict[str, Any], msg: dict[str, Any], good: bool
) -> None:
    """Hostile values in frames of every type, through session and books into the entries that are published."""
    session = a_session()
    books = Books(1, session)
    sound = {"market_ticker": "M-1", "price_dollars": "0.42", "delta_fp": "1.00", "side": "yes", "trade_id": "t",
             "yes_price_dollars": "0.42", "count_fp": "1.00", "taker_outcome_side": "yes"}  # fmt: skip
    body = {"type": kind, "sid": 1, "seq": 1, "msg": (sound if good else {}) | msg} | head
    books.receive(json.dumps(body).encode(), 1)
    assert all(isinstance(command[-1], bytes) for command in tape_commands("tape", 1, books.take().rows))


@given(st.binary(max_size=200))
def test_B8_nothing_at_all_raises(data: bytes) -> None:
    a_session().receive(data)


def test_B10_a_buffer_overflow_ends_the_subscription() -> None:
    session = a_session()
    session.receive(snapshot(1))
    events = session.receive(frame("error", seq=2, code=25, msg="subscription buffer overflow"))
    assert kinds(events) == ["Refused", "Removed"]
    assert session.of_channel(BOOK_CHANNEL) is None


def test_B10_an_end_that_names_no_subscription_ends_all_of_them_and_the_connection() -> None:
    session = a_session("M-1", "M-2")
    session.receive(snapshot(1))
    assert not session.give_up(9)
    events = session.receive(b'{"type":"error","msg":{"code":25,"msg":"subscription buffer overflow"}}')
    assert kinds(events) == ["Refused", "Removed"]
    assert isinstance(events[1], wire.Removed)
    assert events[1].markets == {"M-1", "M-2"}
    assert session.give_up(9)


def test_B10_an_end_is_understood_without_its_words() -> None:
    session = a_session()
    events = session.receive(b'{"type":"error","sid":1,"msg":{"code":10,"msg":null,"market_tickers":null}}')
    assert kinds(events) == ["Refused", "Removed"]


def test_a_side_that_is_null_is_empty() -> None:
    (event,) = a_session().receive(snapshot(1, yes_dollars_fp=None, no_dollars_fp=[["0.55", "1.00"]]))
    assert isinstance(event, wire.BookSnapshot)
    assert (event.yes, event.no) == ([], [(5_500, 100)])


def test_B10_a_refused_command_ends_no_other_subscription() -> None:
    session = a_session()
    session.subscribe("trade", ["M-1"])
    assert kinds(session.receive(b'{"id":2,"type":"error","msg":{"code":10,"msg":"channel error"}}')) == ["Refused"]
    assert session.of_channel(BOOK_CHANNEL) is not None
    assert not session.give_up(9)


@pytest.mark.parametrize(("code", "is_in_doubt"), [(18, True), (9, False), (27, False)])
def test_B13_a_subscribe_that_timed_out_at_the_venue_is_not_sent_again(code: int, is_in_doubt: bool) -> None:
    session = a_session()
    session.subscribe("trade", ["M-1"])
    error = {"id": 2, "type": "error", "msg": {"code": code, "msg": "no"}}
    assert kinds(session.receive(json.dumps(error).encode())) == ["Refused"]
    assert session.give_up(9) is is_in_doubt


def test_B13_a_refusal_names_what_was_meant() -> None:
    session = a_session()
    session.add_markets(1, ["M-2"])
    (refused,) = session.receive(b'{"id":2,"type":"error","msg":{"code":26,"msg":"market limit"}}')
    assert isinstance(refused, wire.Refused)
    assert (refused.code, refused.tickers) == (26, ("M-2",))
    assert session.subscriptions[1].markets == {"M-1"}


def test_frames_of_a_subscription_that_is_over_are_strays() -> None:
    session = a_session()
    session.receive(b'{"sid":1,"seq":1,"type":"unsubscribed"}')
    assert session.receive(delta(2)) == ()
    assert session.strays == 1


def test_a_recording_that_begins_later_is_taken_up() -> None:
    session = Session(adopt=True)
    assert kinds(session.receive(snapshot(41))) == ["BookSnapshot"]
    assert kinds(session.receive(delta(43))) == ["Gap", "BookDelta"]


def test_only_what_an_ok_lists_counts_as_subscribed() -> None:
    session = a_session()
    session.add_markets(1, ["M-2", "M-3"])
    session.receive(b'{"id":2,"sid":1,"seq":1,"type":"ok","msg":{"market_tickers":["M-1","M-3"]}}')
    assert session.subscriptions[1].markets == {"M-1", "M-3"}


def test_an_ok_without_its_list_confirms_what_was_asked() -> None:
    session = a_session()
    session.add_markets(1, ["M-2"])
    session.receive(b'{"id":2,"sid":1,"seq":1,"type":"ok"}')
    assert session.subscriptions[1].markets == {"M-1", "M-2"}


def test_a_snapshot_asked_for_may_come_without_a_number_of_its_own() -> None:
    session = a_session()
    session.receive(snapshot(1))
    session.get_snapshot(1, ["M-1"])
    asked = json.loads(snapshot(1)) | {"id": 2}
    assert kinds(session.receive(json.dumps(asked).encode())) == ["BookSnapshot"]
    assert session.receive(snapshot(1)) == ()


def test_a_command_whose_answer_is_lost_is_given_up() -> None:
    session = a_session()
    session.add_markets(1, ["M-2"])
    session.give_up(1)
    assert session.is_pending(BOOK_CHANNEL, "add_markets")
    session.give_up(1)
    assert not session.is_pending(BOOK_CHANNEL, "add_markets")


def test_B8_a_book_frame_without_its_market_spoils_every_book_of_the_subscription() -> None:
    for ticker in (None, "", 7, "A" * 300):
        session = a_session("M-1", "M-2")
        session.receive(snapshot(1))
        body = {"market_ticker": ticker, "price_dollars": "0.42", "delta_fp": "1.00", "side": "yes"}
        events = session.receive(frame("orderbook_delta", seq=2, **body))
        assert kinds(events) == ["Gap", "Malformed"]
        assert session.subscriptions[1].generation == 2


def test_a_subscribe_that_is_never_answered_is_not_sent_again() -> None:
    session = Session()
    session.subscribe(BOOK_CHANNEL, ["M-1"])
    assert not session.give_up(0) or session.is_pending(BOOK_CHANNEL, "subscribe")
    assert session.give_up(0), "the connection is no good"
    assert session.is_pending(BOOK_CHANNEL, "subscribe")
