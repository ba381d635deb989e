"""Private channels, the life of events, the remaining commands, and errors with what to do about them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed.kalshi import channels, commanderrors, events
from feed.kalshi.commanderrors import Code, Remedy
from feed.kalshi.session import Session
from markets.core.units import Side

FILL = {
    "trade_id": "a1", "order_id": "b7e0", "client_order_id": "mm-17", "market_ticker": "KXA-1", "exchange_index": 2,
    "is_taker": False, "outcome_side": "no", "book_side": "ask", "yes_price_dollars": "0.4500", "count_fp": "12.00",
    "fee_cost": "0.017500", "post_position_fp": "-12.00", "ts_ms": 1795337402000, "purchased_side": "no",
    "subaccount": 3, "brand_new": {"x": [1, 2.50]},
}  # fmt: skip
ORDER = {
    "order_id": "b7e0", "user_id": "c9", "ticker": "KXA-1", "exchange_index": 0, "status": "resting", "side": "no",
    "is_yes": False, "outcome_side": "no", "book_side": "ask", "yes_price_dollars": "0.4500",
    "initial_count_fp": "25.00", "fill_count_fp": "12.00", "remaining_count_fp": "13.00",
    "taker_fill_cost_dollars": "0.000000", "maker_fill_cost_dollars": "6.600000", "taker_fees_dollars": "0.000000",
    "maker_fees_dollars": "0.052500", "client_order_id": "mm-17", "created_ts_ms": 1795335000000,
    "last_update_reason": "Trade", "subaccount_number": 0, "order_group_id": "g-1",
}  # fmt: skip
POSITION = {
    "user_id": "c9", "market_ticker": "KXA-1", "position_fp": "-12.00", "position_cost_dollars": "6.600000",
    "realized_pnl_dollars": "-0.250000", "fees_paid_dollars": "0.017500", "position_fee_cost_dollars": "0.017500",
    "volume_fp": "12.00",
}  # fmt: skip


def a_session(*names: str) -> Session:
    """A session with confirmed subscriptions, sids from 1 in the order of the channels named."""
    session = Session()
    for sid, name in enumerate(names, start=1):
        session.subscribe(name)
        session.receive(json.dumps({"id": sid, "type": "subscribed", "msg": {"channel": name, "sid": sid}}).encode())
    return session


def frame(kind: str, msg: dict[str, Any], *, sid: int = 1, **head: Any) -> bytes:
    return json.dumps({"type": kind, "sid": sid, "msg": msg, **head}).encode()


def one(session: Session, data: bytes) -> events.Event:
    (event,) = session.receive(data)
    return event


def test_a_fill_comes_in_our_units_with_its_body_as_the_venue_sent_it() -> None:
    event = one(a_session(channels.FILL), frame("fill", FILL, sending_ts_ms=9))
    assert isinstance(event, events.FillEvent)
    assert (event.side, event.yes_price_cc, event.count_cx) == (Side.NO, 4_500, 1_200)
    assert (event.fee_ud, event.post_position_cx, event.subaccount) == (17_500, -1_200, 3)
    assert (event.client_order_id, event.exchange_index, event.sending_ms) == ("mm-17", 2, 9)
    assert json.loads(event.body) == FILL


def test_an_order_update_comes_in_our_units() -> None:
    event = one(a_session(channels.ORDERS), frame("user_order", ORDER))
    assert isinstance(event, events.OrderEvent)
    assert (event.initial_cx, event.filled_cx, event.remaining_cx) == (2_500, 1_200, 1_300)
    assert (event.status, event.reason, event.group_id, event.fees_ud) == ("resting", "Trade", "g-1", 52_500)
    assert (event.expires_ms, event.updated_ms) == (None, None)
    assert json.loads(event.body) == ORDER


def test_a_position_comes_in_our_units() -> None:
    event = one(a_session(channels.POSITIONS), frame("market_position", POSITION))
    assert isinstance(event, events.PositionEvent)
    assert (event.position_cx, event.cost_ud, event.realized_ud) == (-1_200, 6_600_000, -250_000)


def test_a_group_update_has_the_sequence_of_its_subscription() -> None:
    session = a_session(channels.GROUPS)
    created = {"event_type": "created", "order_group_id": "g", "contracts_limit_fp": "100.00", "ts_ms": 5}
    event = one(session, frame("order_group_updates", created, seq=1))
    assert isinstance(event, events.GroupEvent)
    assert (event.event_type, event.limit_cx) == ("created", 10_000)
    gap, triggered = session.receive(
        frame("order_group_updates", {"event_type": "triggered", "order_group_id": "g"}, seq=3)
    )
    assert isinstance(gap, events.Gap)
    assert isinstance(triggered, events.GroupEvent)
    assert triggered.limit_cx is None


@pytest.mark.parametrize("status", ["resting", "canceled", "executed", "unknown", "brand_new_word"])
def test_C19_any_status_word_is_kept(status: str) -> None:
    event = one(a_session(channels.ORDERS), frame("user_order", ORDER | {"status": status}))
    assert isinstance(event, events.OrderEvent)
    assert event.status == status


@pytest.mark.parametrize("price", ["0.48", "0.480", "0.4800", 0.48])
def test_C19_prices_are_read_as_strings_of_any_length_and_as_numbers(price: str | float) -> None:
    event = one(a_session(channels.FILL), frame("fill", FILL | {"yes_price_dollars": price, "count_fp": 3}))
    assert isinstance(event, events.FillEvent)
    assert (event.yes_price_cc, event.count_cx) == (4_800, 300)


def test_C19_book_frames_with_numbers_keep_their_exact_digits_and_their_sequence() -> None:
    session = a_session(channels.BOOK)
    ladder = b'{"market_ticker":"M","yes_dollars_fp":[[0.0010,15032.11]]}'
    event = one(session, b'{"type":"orderbook_snapshot","sid":1,"seq":1,"msg":%b}' % ladder)
    assert isinstance(event, events.BookSnapshot)
    assert event.yes == [(10, 1_503_211)]
    delta = b'{"market_ticker":"M","price_dollars":0.48,"delta_fp":-2,"side":"yes"}'
    change = one(session, b'{"type":"orderbook_delta","sid":1,"seq":2,"msg":%b}' % delta)
    assert isinstance(change, events.BookDelta)
    assert (change.price_cc, change.delta_cx) == (4_800, -200)


@pytest.mark.parametrize(
    ("kind", "msg"),
    [
        ("fill", FILL | {"outcome_side": "maybe"}),
        ("fill", FILL | {"count_fp": "0.00"}),
        ("fill", FILL | {"yes_price_dollars": None}),
        ("fill", FILL | {"fee_cost": "0.0000001"}),
        ("user_order", ORDER | {"remaining_count_fp": "-1.00"}),
        ("user_order", {k: v for k, v in ORDER.items() if k != "order_id"}),
        ("market_position", POSITION | {"position_fp": "x"}),
        ("order_group_updates", {"event_type": "reset"}),
    ],
)
def test_B8_a_private_frame_that_cannot_be_used_is_kept(kind: str, msg: dict[str, Any]) -> None:
    data = frame(kind, msg)
    event = one(a_session(channels.FILL), data)
    assert isinstance(event, events.Malformed)
    assert event.frame == data
    assert kind in event.reason


def test_private_frames_before_the_subscription_is_confirmed_do_not_count() -> None:
    session = Session()
    session.subscribe(channels.FILL)
    assert session.receive(frame("fill", FILL)) == ()
    assert session.strays == 1


def test_the_life_of_events_comes_on_the_channel_of_markets_and_shares_its_sequence() -> None:
    session = a_session(channels.LIFECYCLE)
    born = {"event_ticker": "KXA", "series_ticker": "KX", "exchange_index": 2, "title": "t", "subtitle": "s",
            "collateral_return_type": "MECNET"}  # fmt: skip
    event = one(session, frame("event_lifecycle", born, seq=1))
    assert event == events.EventCreated("KXA", "KX", 2, json.dumps(born).encode(), None)
    fees = b'{"event_ticker":"KXA","fee_type_override":"quadratic","fee_multiplier_override":0.50}'
    update = one(session, b'{"type":"event_fee_update","sid":1,"seq":2,"msg":%b}' % fees)
    assert isinstance(update, events.EventFeeUpdate)
    assert (update.fee_type, update.fee_multiplier) == ("quadratic", "0.50")
    gone = {"event_ticker": "KXA", "fee_type_override": None, "fee_multiplier_override": None}
    update = one(session, frame("event_fee_update", gone, seq=3))
    assert isinstance(update, events.EventFeeUpdate)
    assert (update.fee_type, update.fee_multiplier) == (None, None)
    market = {"event_type": "settled", "market_ticker": "KXA-1", "settled_ts": 5}
    assert isinstance(one(session, frame("market_lifecycle_v2", market, seq=4)), events.LifecycleEvent)


def test_combos_have_a_lifecycle_of_their_own() -> None:
    event = one(
        a_session(channels.COMBO_LIFECYCLE),
        frame("multivariate_market_lifecycle", {"event_type": "created", "market_ticker": "KXMVE-1"}, seq=1),
    )
    assert isinstance(event, events.LifecycleEvent)
    assert (event.ticker, event.event_type) == ("KXMVE-1", "created")


def test_a_request_for_quotes_is_kept_as_unknown() -> None:
    data = frame("rfq_created", {"id": "r", "market_ticker": "KXA-1"}, seq=1)
    assert one(a_session("communications"), data) == events.Ignored("rfq_created", data)


# ---- commands --------------------------------------------------------------------------------------------------------


def test_unsubscribed_channels_count_until_the_venue_says_so() -> None:
    session = a_session(channels.FILL, channels.ORDERS)
    (command,) = session.unsubscribe([2, 1])
    assert json.loads(command) == {"id": 3, "cmd": "unsubscribe", "params": {"sids": [1, 2]}}
    assert set(session.subscriptions) == {1, 2}
    for sid in (1, 2):
        event = one(session, json.dumps({"id": 3, "sid": sid, "seq": 1, "type": "unsubscribed"}).encode())
        assert isinstance(event, events.Removed)
        assert event.reason == ""
    assert not session.subscriptions
    assert session.unsubscribe([]) == []


def test_the_venues_own_list_corrects_ours() -> None:
    session = a_session(channels.FILL, channels.ORDERS)
    (command,) = session.list_subscriptions()
    assert json.loads(command) == {"id": 3, "cmd": "list_subscriptions"}
    listed = [{"channel": "fill", "sid": 1}, {"channel": "ticker", "sid": 9}]
    removed, told = session.receive(json.dumps({"id": 3, "type": "ok", "msg": listed}).encode())
    assert isinstance(removed, events.Removed)
    assert (removed.sid, removed.reason) == (2, "not listed")
    assert told == events.Listed(frozenset({1}), ((9, "ticker"),))


def test_a_list_that_cannot_be_read_drops_nothing() -> None:
    session = a_session(channels.FILL)
    session.list_subscriptions()
    assert isinstance(one(session, b'{"id":2,"type":"ok","msg":{"market_tickers":[]}}'), events.Malformed)
    assert set(session.subscriptions) == {1}


def test_acknowledgements_without_their_lists_are_asked_for_by_flag() -> None:
    (command,) = Session(skip_ticker_ack=True).subscribe(channels.TICKER, ["M-1"])
    assert json.loads(command)["params"]["skip_ticker_ack"] is True


# ---- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (7, Remedy.RESUBSCRIBE),
        (8, Remedy.OUR_MISTAKE),
        (9, Remedy.CHECK_KEY),
        (10, Remedy.RESUBSCRIBE),
        (18, Remedy.ASK_AGAIN),
        (25, Remedy.RESUBSCRIBE),
        (26, Remedy.FEWER_MARKETS),
        (27, Remedy.SEND_SLOWER),
        (99, Remedy.OUR_MISTAKE),
    ],
)
def test_each_error_says_what_to_do(code: int, remedy: Remedy) -> None:
    session = a_session(channels.BOOK)
    session.add_markets(1, ["M-1"])
    refused = session.receive(json.dumps({"id": 2, "type": "error", "msg": {"code": code, "msg": "x"}}).encode())[0]
    assert isinstance(refused, events.Refused)
    assert (refused.remedy, refused.tickers) == (remedy, ("M-1",))


@pytest.mark.parametrize("code", [7, 10, 25])
def test_B10_a_dead_subscription_does_not_count_any_more(code: int) -> None:
    session = a_session(channels.FILL)
    _, removed = session.receive(frame("error", {"code": code, "msg": "x"}))
    assert isinstance(removed, events.Removed)
    assert session.of_channel(channels.FILL) is None
    assert session.receive(frame("fill", FILL)) == ()


def test_every_documented_code_has_a_name() -> None:
    documented = {*range(1, 29)} - {6, 16, 17}
    assert {int(code) for code in Code} == documented
    assert {7, 10, 25} == commanderrors.TERMINAL


HOSTILE = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.lists(st.text(max_size=3)),
    st.sampled_from(["1e9", "99999999999999999999.00", "NaN", "A" * 300, 10**19, -1, 2**63, "yes", "0.42"]),
)  # fmt: skip


@given(
    kind=st.sampled_from(["fill", "user_order", "market_position", "order_group_updates", "event_fee_update",
                          "event_lifecycle", "multivariate_market_lifecycle"]),
    changes=st.dictionaries(st.sampled_from(sorted({*FILL, *ORDER, *POSITION, "fee_multiplier_override"})), HOSTILE),
)  # fmt: skip
def test_B8_hostile_private_bodies_never_raise(kind: str, changes: dict[str, Any]) -> None:
    session = a_session(channels.FILL)
    session.receive(frame(kind, FILL | ORDER | POSITION | changes))
