"""WebSocket sessions without a socket: sequences, answers, price conventions, the slow reader."""

from __future__ import annotations

from typing import Any

import pytest
from exchangewire import Wire, words
from exchangeworld import CENT, NOW_US, TAPERED, a_world, an_order, fund, place

from feed.exchange.stream import subscriptions
from feed.exchange.stream.hub import Hub
from feed.exchange.trading.groups import OrderGroup


@pytest.fixture
def wire() -> Wire:
    world = a_world()
    return Wire(world, Hub(world))


def test_each_channel_is_acknowledged_before_any_data(wire: Wire) -> None:
    frames = wire.subscribe("orderbook_delta", "trade", market_tickers=[CENT, TAPERED])
    assert [(f["type"], f.get("id"), f["msg"].get("sid", f.get("sid"))) for f in frames] == [
        ("subscribed", 1, 1),
        ("subscribed", 1, 2),
        ("orderbook_snapshot", None, 1),
        ("orderbook_snapshot", None, 1),
    ]
    assert "seq" not in frames[0]
    assert [frame["seq"] for frame in frames[2:]] == [1, 2]


def test_one_sequence_runs_over_markets_and_answers(wire: Wire) -> None:
    wire.subscribe("orderbook_delta", market_tickers=[CENT])
    place(wire.world, "other", an_order("bid", "0.4000"))
    assert words(wire.read()) == [("orderbook_delta", 1, 2)]
    added = wire.update("add_markets", sid=1, market_tickers=[TAPERED])
    assert words(added) == [("ok", 1, 3), ("orderbook_snapshot", 1, 4)]
    assert added[0]["msg"] == {"market_tickers": [CENT, TAPERED]}
    place(wire.world, "other", an_order("bid", "0.4000", ticker=TAPERED))
    assert words(wire.read()) == [("orderbook_delta", 1, 5)]
    snapshot = wire.update("get_snapshot", 7, sids=[1], market_tickers=[CENT])
    assert words(snapshot) == [("orderbook_snapshot", 1, 6)]
    assert snapshot[0]["id"] == 7
    assert words(wire.update("delete_markets", sid=1, market_tickers=[CENT])) == [("ok", 1, 7)]
    gone = wire.say({"id": 9, "cmd": "unsubscribe", "params": {"sids": [1]}})
    assert words(gone) == [("unsubscribed", 1, 8)]
    place(wire.world, "other", an_order("bid", "0.4000", ticker=TAPERED))
    assert wire.read() == []


def test_a_second_subscribe_joins_the_first(wire: Wire) -> None:
    wire.subscribe("orderbook_delta", market_tickers=[CENT])
    frames = wire.subscribe("orderbook_delta", market_tickers=[TAPERED])
    assert words(frames) == [("ok", 1, 2), ("orderbook_snapshot", 1, 3)]


def test_an_empty_side_has_no_key_and_an_unknown_market_no_id(wire: Wire) -> None:
    place(wire.world, "other", an_order("bid", "0.4000", "2.50"))
    _, known, unknown = wire.subscribe("orderbook_delta", market_tickers=[CENT, "NOBODY"])
    assert known["msg"] == {
        "market_ticker": CENT, "market_id": f"id-of-{CENT}", "yes_dollars_fp": [["0.4000", "2.50"]],
    }  # fmt: skip
    assert unknown["msg"] == {"market_ticker": "NOBODY", "market_id": ""}


@pytest.mark.parametrize(("use_yes_price", "price"), [(False, "0.3000"), (True, "0.7000")])
def test_no_levels_are_given_in_the_price_that_was_asked_for(wire: Wire, use_yes_price: bool, price: str) -> None:
    place(wire.world, "other", an_order("ask", "0.7000", "3.00"))
    frames = wire.subscribe("orderbook_delta", market_tickers=[CENT], use_yes_price=use_yes_price)
    assert frames[1]["msg"]["no_dollars_fp"] == [[price, "3.00"]]
    place(wire.world, "other", an_order("ask", "0.7000", "1.00"))
    (delta,) = wire.read()
    assert (delta["msg"]["price_dollars"], delta["msg"]["delta_fp"], delta["msg"]["side"]) == (price, "1.00", "no")


def test_only_the_own_connection_sees_the_client_order_id(wire: Wire) -> None:
    stranger = Wire(wire.world, wire.hub, account="stranger")
    for connection in (wire, stranger):
        connection.subscribe("orderbook_delta", market_tickers=[CENT])
    place(wire.world, "us", an_order("bid", "0.4000", client_order_id="mine"))
    assert wire.read()[0]["msg"]["client_order_id"] == "mine"
    assert "client_order_id" not in stranger.read()[0]["msg"]


def test_private_channels_tell_only_their_owner_and_carry_no_sequence(wire: Wire) -> None:
    stranger = Wire(wire.world, wire.hub, account="stranger")
    for connection in (wire, stranger):
        connection.subscribe("fill", "user_orders", "market_positions")
    place(wire.world, "other", an_order("ask", "0.4000", "5.00"))
    place(wire.world, "us", an_order("bid", "0.4000", "2.00", client_order_id="mine"))
    fill, order, position = wire.read()
    assert (fill["type"], order["type"], position["type"]) == ("fill", "user_order", "market_position")
    assert not any("seq" in frame for frame in (fill, order, position))
    assert fill["msg"]["client_order_id"] == "mine"
    assert (order["msg"]["ticker"], order["msg"]["status"]) == (CENT, "executed")
    assert position["msg"]["position_fp"] == "2.00"
    assert stranger.read() == []


def test_a_connection_pinned_to_a_subaccount_hears_of_no_other(wire: Wire) -> None:
    world = wire.world
    fund(world, "us", 1)
    primary, first = (Wire(world, wire.hub, subaccount=number) for number in (0, 1))
    channels = ("orderbook_delta", "fill", "user_orders", "market_positions", "order_group_updates")
    for connection in (wire, primary, first):
        connection.subscribe(*channels, market_tickers=[CENT])
    group = world.entry.groups.create(world.account("us"), limit_cx=10_000, subaccount=1, exchange_index=0)
    assert isinstance(group, OrderGroup)
    place(world, "other", an_order("ask", "0.4000", "5.00"))
    place(world, "us", an_order("bid", "0.4000", "2.00", subaccount=1, order_group_id=group.group_id))
    place(world, "us", an_order("bid", "0.3000", client_order_id="of-1", subaccount=1))
    of_first, of_primary = first.read(), primary.read()
    assert of_first == wire.read()
    assert {frame["type"] for frame in of_first} == {
        "orderbook_delta", "fill", "user_order", "market_position", "order_group_updates",
    }  # fmt: skip
    assert of_first[-2]["msg"]["client_order_id"] == "of-1"
    assert {frame["type"] for frame in of_primary} == {"orderbook_delta"}
    assert not any("client_order_id" in frame["msg"] for frame in of_primary)


def test_trades_carry_a_sequence_and_tickers_do_not(wire: Wire) -> None:
    wire.subscribe("trade", "ticker")
    place(wire.world, "other", an_order("ask", "0.4000", "5.00"))
    place(wire.world, "us", an_order("bid", "0.4000", "2.00"))
    wire.world.advance(NOW_US + 1)
    assert words(wire.read()) == [("trade", 1, 1), ("ticker", 2, None)]


def test_subscriptions_are_listed(wire: Wire) -> None:
    wire.subscribe("fill", "trade")
    (listed,) = wire.say({"id": 5, "cmd": "list_subscriptions"})
    assert listed["msg"] == [{"channel": "fill", "sid": 1}, {"channel": "trade", "sid": 2}]


def test_every_message_says_when_it_was_sent(wire: Wire) -> None:
    frames = wire.subscribe("orderbook_delta", market_tickers=[CENT])
    wire.read()
    assert all("sending_ts_ms" in frame for frame in frames)


SUBSCRIBED = {"id": 1, "cmd": "subscribe", "params": {"channels": ["orderbook_delta"], "market_tickers": [CENT]}}


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("no json", 1),
        ("[]", 1),
        ({"id": 2, "cmd": "subscribe"}, 2),
        ({"id": 2, "cmd": "subscribe", "params": {}}, 3),
        ({"id": 2, "cmd": "unsubscribe", "params": {}}, 4),
        ({"id": 2, "cmd": "dance", "params": {}}, 5),
        ({"id": 2, "cmd": "unsubscribe", "params": {"sids": [99]}}, 7),
        ({"id": 2, "cmd": "subscribe", "params": {"channels": ["multivariate"]}}, 8),
        ({"id": 2, "cmd": "subscribe", "params": {"channels": ["ticker_v2"]}}, 8),
        ({"id": 2, "cmd": "subscribe", "params": {"channels": ["ticker"], "market_tickers": "X"}}, 11),
        (
            {
                "id": 2,
                "cmd": "subscribe",
                "params": {"channels": ["ticker"], "market_ticker": "A", "market_tickers": []},
            },
            11,
        ),
        ({"id": 2, "cmd": "update_subscription", "params": {"sids": [1, 2], "action": "add_markets"}}, 12),
        ({"id": 2, "cmd": "update_subscription", "params": {"action": "add_markets"}}, 12),
        ({"id": 2, "cmd": "update_subscription", "params": {"sid": 1, "action": "rename"}}, 13),
        ({"id": 2, "cmd": "subscribe", "params": {"channels": ["orderbook_delta"]}}, 14),
        ({"id": 2, "cmd": "update_subscription", "params": {"sid": 1, "action": "add_markets"}}, 14),
        ({"id": 2, "cmd": "update_subscription", "action": "get_snapshot", "params": {"sid": 1}}, 15),
    ],
)
def test_a_wrong_command_is_answered_with_its_code(wire: Wire, command: str | dict[str, Any], code: int) -> None:
    wire.say(SUBSCRIBED)
    (answer,) = wire.say(command)
    assert (answer["type"], answer["msg"]["code"]) == ("error", code)
    assert answer.get("id") == (None if isinstance(command, str) else 2)


def test_an_error_about_a_subscription_takes_a_number_of_it(wire: Wire) -> None:
    wire.say(SUBSCRIBED)
    assert words(wire.update("rename", sid=1)) == [("error", 1, 2)]


def test_a_known_channel_is_subscribed_beside_an_unknown_one(wire: Wire) -> None:
    frames = wire.subscribe("ticker", "nonsense")
    assert [frame["type"] for frame in frames] == ["subscribed", "error"]


def test_a_reader_too_slow_loses_the_subscription(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "BUFFER_FRAMES", 3)
    wire.subscribe("orderbook_delta", market_tickers=[CENT])
    for _ in range(5):
        place(wire.world, "other", an_order("bid", "0.4000"))
    (error,) = wire.read()
    assert (error["type"], error["sid"], error["msg"]["code"]) == ("error", 1, 25)
    assert wire.session.subscriptions == {}
    place(wire.world, "other", an_order("bid", "0.4000"))
    assert wire.read() == []


def test_snapshots_asked_for_and_not_read_end_the_subscription_too(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "BUFFER_FRAMES", 3)
    wire.subscribe("orderbook_delta", market_tickers=[CENT])
    wire.hub.publish(wire.world.take(), wall_ms=1)
    subscription = wire.session.subscriptions[1]
    for _ in range(5):
        wire.hub.answer_snapshot(subscription, CENT, command_id=7)
    (error,) = wire.read()
    assert (error["type"], error["sid"], error["msg"]["code"]) == ("error", 1, 25)


def test_a_closed_market_sends_one_more_snapshot_without_ladders(wire: Wire) -> None:
    place(wire.world, "other", an_order("bid", "0.4000"))
    wire.subscribe("orderbook_delta", "market_lifecycle_v2", market_tickers=[CENT])
    wire.world.life.clear(wire.world.markets[CENT])
    (snapshot,) = wire.read()
    assert (snapshot["type"], snapshot["seq"]) == ("orderbook_snapshot", 2)
    assert snapshot["msg"] == {"market_ticker": CENT, "market_id": f"id-of-{CENT}"}
