"""WebSocket commands where the documents leave room or set limits: switches, error codes and their causes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from exchangewire import Wire, code, words
from exchangeworld import CENT, NOW_US, TAPERED, a_world, an_order, place
from hypothesis import given
from hypothesis import strategies as st

from feed.exchange.happenings import Private
from feed.exchange.stream.channels import CHANNELS
from feed.exchange.stream.commands import INDEX_ACTIONS, MARKET_ACTIONS
from feed.exchange.stream.framing import text_frames
from feed.exchange.stream.hub import Hub


def a_wire(**switches: Any) -> Wire:
    world = a_world()
    world.switches = msgspec.structs.replace(world.switches, **switches)
    return Wire(world, Hub(world))


def test_a_second_subscribe_may_get_a_sid_of_its_own() -> None:
    wire = a_wire(second_subscribe="new_sid")
    wire.subscribe("orderbook_delta", market_tickers=[CENT])
    frames = wire.subscribe("orderbook_delta", market_tickers=[TAPERED])
    assert [f["type"] for f in frames] == ["subscribed", "orderbook_snapshot"]
    assert frames[0]["msg"]["sid"] == 2
    assert (frames[1]["sid"], frames[1]["seq"]) == (2, 1)


def test_a_second_subscribe_without_a_filter_widens_the_first_to_all_markets() -> None:
    wire = a_wire()
    wire.subscribe("user_orders", market_tickers=[CENT])
    place(wire.world, "us", an_order("bid", "0.4000", ticker=TAPERED))
    assert wire.read() == []
    (ok,) = wire.subscribe("user_orders")
    assert (ok["type"], ok["msg"]) == ("ok", {"market_tickers": []})
    place(wire.world, "us", an_order("bid", "0.4000", ticker=TAPERED))
    assert words(wire.read()) == [("user_order", 1, None)]


def test_a_second_subscribe_in_the_other_price_convention_gets_its_own_sid() -> None:
    wire = a_wire()
    place(wire.world, "other", an_order("ask", "0.7000"))
    wire.subscribe("orderbook_delta", market_tickers=[CENT], use_yes_price=False)
    subscribed, snapshot = wire.subscribe("orderbook_delta", market_tickers=[CENT], use_yes_price=True)
    assert subscribed["msg"] == {"channel": "orderbook_delta", "sid": 2}
    assert (snapshot["sid"], snapshot["msg"]["no_dollars_fp"][0][0]) == (2, "0.7000")


@pytest.mark.parametrize("action", [["add_markets"], {"add": "markets"}, 7])
def test_an_action_that_is_no_word_is_unsupported(action: Any) -> None:
    wire = a_wire()
    wire.subscribe("orderbook_delta", market_tickers=[CENT])
    assert code(wire.update(action, sid=1, market_tickers=[CENT])) == 13


@pytest.mark.parametrize(("takes_seq", "numbers"), [(True, [2, 3]), (False, [1, 2])])
def test_whether_a_snapshot_on_demand_takes_a_number_is_a_switch(takes_seq: bool, numbers: list[int]) -> None:
    wire = a_wire(snapshot_reply_takes_seq=takes_seq)
    wire.subscribe("orderbook_delta", market_tickers=[CENT])
    (snapshot,) = wire.update("get_snapshot", 7, sids=[1], market_tickers=[CENT])
    place(wire.world, "other", an_order("bid", "0.4000"))
    (delta,) = wire.read()
    assert [snapshot["seq"], delta["seq"]] == numbers
    assert snapshot["id"] == 7


def test_more_markets_than_a_subscription_takes_are_refused_whole() -> None:
    wire = a_wire(markets_per_subscription=1)
    assert code(wire.subscribe("orderbook_delta", market_tickers=[CENT, TAPERED])) == 26
    assert wire.session.subscriptions == {}
    wire.subscribe("orderbook_delta", market_tickers=[CENT])
    (refused,) = wire.update("add_markets", sid=1, market_tickers=[TAPERED])
    assert (refused["msg"]["code"], refused["sid"], refused["id"]) == (26, 1, 2)
    place(wire.world, "other", an_order("bid", "0.4000", ticker=TAPERED))
    assert wire.read() == []
    assert [f["type"] for f in wire.update("add_markets", sid=1, market_tickers=[CENT])] == ["ok"]


def test_commands_beyond_the_rate_are_refused_until_time_has_passed() -> None:
    wire = a_wire(commands_per_s=2)
    listing = {"id": 4, "cmd": "list_subscriptions"}
    assert [wire.say(listing)[0]["type"] for _ in range(3)] == ["ok", "ok", "error"]
    assert code(wire.say(listing)) == 27
    wire.world.advance(NOW_US + 500_000)
    assert [wire.say(listing)[0]["type"] for _ in range(2)] == ["ok", "error"]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"shard_factor": 0}, 19),
        ({"shard_key": 0}, 20),
        ({"shard_factor": 4, "shard_key": 4}, 21),
        ({"shard_factor": 4, "shard_key": -1}, 21),
        ({"shard_factor": 101}, 22),
        ({"shard_factor": "4"}, 11),
    ],
)
def test_a_split_of_communications_is_checked(params: dict[str, Any], expected: int) -> None:
    assert code(a_wire().subscribe("communications", **params)) == expected


@pytest.mark.parametrize(
    "channel",
    [
        *("orderbook_delta", "ticker", "trade", "fill", "user_orders", "market_positions", "market_lifecycle_v2"),
        *("order_group_updates", "multivariate_market_lifecycle", "communications"),
    ],
)
def test_every_channel_a_maker_needs_can_be_subscribed(channel: str) -> None:
    first, *_ = a_wire().subscribe(channel, market_tickers=[CENT])
    assert (first["type"], first["msg"]) == ("subscribed", {"channel": channel, "sid": 1})


def test_index_channels_want_their_names() -> None:
    wire = a_wire()
    wire.subscribe("cfbenchmarks_value", "pyth_value")
    assert code(wire.update("subscribe_indices", sid=1)) == 24
    assert code(wire.update("subscribe_underlyings", sid=2)) == 28
    assert code(wire.update("subscribe_underlyings", sid=1, underlying_tickers=["X"])) == 13
    assert words(wire.update("subscribe_indices", sid=1, index_ids=["BRTI"])) == [("ok", 1, 3)]


def test_index_channels_tell_that_they_have_nothing() -> None:
    wire = a_wire()
    wire.subscribe("cfbenchmarks_value", "pyth_value", "communications")
    (indices,) = wire.update("indexlist", 7, sid=1)
    assert (indices["id"], indices["type"], indices["msg"]) == (7, "cfbenchmarks_value_indexlist", {"index_ids": []})
    (underlyings,) = wire.update("underlying_list", 8, sid=2)
    assert (underlyings["type"], underlyings["msg"]) == ("pyth_value_underlying_list", {"underlying_tickers": []})
    assert code(wire.update("indexlist", sid=3)) == 13


def test_group_updates_reach_their_owner_in_sequence() -> None:
    wire = a_wire()
    wire.world.account("us")
    stranger = Wire(wire.world, wire.hub, account="stranger")
    for connection in (wire, stranger):
        connection.subscribe("order_group_updates")
    for event_type in ("created", "triggered"):
        body = {"event_type": event_type, "order_group_id": "g", "ts_ms": NOW_US // 1_000}
        wire.world.emit(Private("order_group_updates", "us", "", body))
    frames = wire.read()
    assert words(frames) == [("order_group_updates", 1, 1), ("order_group_updates", 1, 2)]
    assert [frame["msg"]["event_type"] for frame in frames] == ["created", "triggered"]
    assert stranger.read() == []


def test_the_ticker_channel_takes_market_ids_and_no_other_does() -> None:
    wire = a_wire()
    wire.subscribe("ticker", market_ids=[f"id-of-{CENT}"])
    for ticker in (CENT, TAPERED):
        place(wire.world, "other", an_order("bid", "0.4000", ticker=ticker))
    wire.world.advance(NOW_US + 1)
    assert [frame["msg"]["market_ticker"] for frame in wire.read()] == [CENT]
    assert code(wire.subscribe("trade", market_id=f"id-of-{CENT}")) == 11
    assert code(wire.subscribe("orderbook_delta", market_id=f"id-of-{CENT}")) == 14


def test_markets_cannot_be_added_where_all_are_subscribed() -> None:
    wire = a_wire()
    wire.subscribe("trade")
    assert code(wire.update("add_markets", sid=1, market_tickers=[CENT])) == 11
    assert code(wire.update("get_snapshot", sid=1, market_tickers=[CENT])) == 13


def test_a_snapshot_is_only_given_of_subscribed_markets_named_in_a_list() -> None:
    wire = a_wire()
    wire.subscribe("orderbook_delta", market_tickers=[CENT])
    assert code(wire.update("get_snapshot", sid=1, market_tickers=[TAPERED])) == 11
    assert code(wire.update("get_snapshot", sid=1, market_ticker=CENT)) == 14


def test_an_answer_without_a_list_says_only_ok() -> None:
    wire = a_wire()
    wire.subscribe("orderbook_delta", market_tickers=[CENT], skip_ticker_ack=True)
    ok, _ = wire.update("add_markets", sid=1, market_tickers=[TAPERED])
    assert "msg" not in ok
    assert (ok["type"], ok["seq"], "sending_ts_ms" in ok) == ("ok", 2, True)


def test_frames_are_taken_in_pieces_and_in_order() -> None:
    wire = a_wire()
    wire.subscribe("orderbook_delta", market_tickers=[CENT])
    for _ in range(10):
        place(wire.world, "other", an_order("bid", "0.4000"))
    wire.hub.publish(wire.world.take(), wall_ms=NOW_US // 1_000)
    pieces = []
    while piece := wire.session.take(500):
        pieces.append(piece)
    assert len(pieces) > 3
    numbers = [msgspec.json.decode(frame)["seq"] for piece in pieces for frame in piece]
    assert numbers == list(range(2, 12))
    assert wire.session.subscriptions[1].waiting == 0


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65_535, 65_536, 100_000])
def test_a_text_frame_says_its_length_as_the_protocol_wants_it(length: int) -> None:
    payload = b"x" * length
    piece = text_frames([payload, b"next"])
    assert piece[0] == 0x81
    head = {True: 2, False: 4 if length <= 65_535 else 10}[length <= 125]
    said = piece[1] if head == 2 else int.from_bytes(piece[2:head], "big")
    assert said == length
    assert piece[1] == (length if head == 2 else 126 if head == 4 else 127)
    assert piece[head : head + length] == payload
    assert piece[head + length :] == b"\x81\x04next"


WORDS = st.sampled_from([*CHANNELS, *MARKET_ACTIONS, *INDEX_ACTIONS, CENT, TAPERED, "NOBODY", ""])
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 7) | st.just(10**30) | st.floats(allow_nan=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=2),
    max_leaves=5,
)
PARAMS = {
    "channels": st.lists(WORDS, max_size=3), "market_tickers": st.lists(WORDS, max_size=3), "action": WORDS,
    "market_ticker": WORDS, "market_ids": st.lists(WORDS, max_size=2), "sid": st.integers(0, 7),
    "sids": st.lists(st.integers(0, 7), max_size=2), "use_yes_price": st.booleans(),
    "send_initial_snapshot": st.booleans(), "skip_ticker_ack": st.booleans(), "shard_factor": st.integers(-1, 101),
    "shard_key": st.integers(-1, 101), "index_ids": st.lists(WORDS, max_size=2),
}  # fmt: skip
COMMANDS = st.fixed_dictionaries(
    {"cmd": st.sampled_from(["subscribe", "unsubscribe", "update_subscription", "list_subscriptions"]) | ANYTHING},
    optional={
        "id": st.integers(0, 99) | ANYTHING,
        "params": st.fixed_dictionaries({}, optional={k: v | ANYTHING for k, v in PARAMS.items()}) | ANYTHING,
    },
)


@given(commands=st.lists(COMMANDS, min_size=1, max_size=12), joins=st.booleans())
def test_every_command_is_answered_whatever_it_says(commands: list[dict[str, Any]], joins: bool) -> None:
    wire = a_wire(second_subscribe="join" if joins else "new_sid")
    last: dict[int, int] = {}
    for command in commands:
        frames = wire.say(command)
        assert frames
        place(wire.world, "us", an_order("bid", "0.4000", "0.01"))
        for frame in (*frames, *wire.read()):
            if "seq" in frame:
                assert frame["seq"] == last.get(frame["sid"], 0) + 1
                last[frame["sid"]] = frame["seq"]
