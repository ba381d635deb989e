"""Replayed markets: the recorded book, and our own orders beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from exchangeworld import NOW_US, a_recording, an_order, place

from feed.exchange.flow.replayed import replay_into
from feed.exchange.happenings import Announced, BookChanged, BookCleared, Happening, TickerChanged, Traded
from feed.exchange.wire.public import rfc3339
from feed.exchange.world import SECOND_US, World
from feed.recording import read_frames
from markets.core.book import OrderBook
from markets.core.units import DOLLAR_CC, Side, parse_count, parse_price

TICKER = "KXBTC15M-26MAY131200-00"
RECORDED_US = 1_778_687_780_000_000


def frame(second: float, kind: str, **message: Any) -> str:
    at_us = RECORDED_US + int(second * SECOND_US)
    body = {"market_ticker": TICKER, "market_id": "m", **message}
    if kind == "orderbook_delta":
        body["ts_ms"] = at_us // 1_000
    raw = json.dumps({"type": kind, "sid": 1, "seq": 1, "msg": body})
    return json.dumps({"recv_ts_ns": at_us * 1_000, "raw": raw})


def snapshot(second: float, yes: list[tuple[str, str]], no: list[tuple[str, str]]) -> str:
    return frame(second, "orderbook_snapshot", yes_dollars_fp=yes, no_dollars_fp=no)


def delta(second: float, side: str, price: str, count: str) -> str:
    return frame(second, "orderbook_delta", side=side, price_dollars=price, delta_fp=count)


START = snapshot(0, [("0.4000", "10.00"), ("0.3900", "5.00")], [("0.5800", "8.00"), ("0.5700", "4.00")])


def a_replay(tmp_path: Path, *lines: str, speed: float = 1.0) -> World:
    world = World(seed=1, now_us=NOW_US)
    replay_into(
        world,
        [a_recording(tmp_path / "recording.ndjson", [START, *lines, delta(900, "yes", "0.0100", "1.00")])],
        speed=speed,
    )
    world.advance(NOW_US)
    world.take()
    return world


def levels(world: World, side: Side) -> dict[int, int]:
    return world.markets[TICKER].levels(side)


def our_order(side: str, price: str, count: str) -> Any:
    return an_order(side, price, count, ticker=TICKER)


def test_the_book_follows_the_recording_at_its_times(tmp_path: Path) -> None:
    world = a_replay(tmp_path, delta(10, "yes", "0.4000", "-4.00"))
    world.advance(NOW_US + 9 * SECOND_US)
    assert levels(world, Side.YES) == {4_000: 1_000, 3_900: 500}
    world.advance(NOW_US + 10 * SECOND_US)
    assert levels(world, Side.YES) == {4_000: 600, 3_900: 500}
    (change,) = world.take()
    assert isinstance(change, BookChanged)
    assert (change.delta_cx, change.at_us) == (-400, NOW_US + 10 * SECOND_US)


def test_speed_shortens_every_wait(tmp_path: Path) -> None:
    world = a_replay(tmp_path, delta(10, "yes", "0.4000", "-4.00"), speed=5.0)
    world.advance(NOW_US + 2 * SECOND_US)
    assert levels(world, Side.YES)[4_000] == 600


def test_an_order_that_crosses_takes_what_is_shown_once(tmp_path: Path) -> None:
    world = a_replay(tmp_path)
    placed = place(world, "us", our_order("bid", "0.4300", "20.00"))
    assert [(f.yes_price_cc, f.count_cx) for f in placed.fills] == [(4_200, 800), (4_300, 400)]
    assert sum(isinstance(h, Traded) for h in world.take()) == 2
    assert levels(world, Side.NO) == {}
    assert levels(world, Side.YES)[4_300] == 800
    again = place(world, "us", our_order("bid", "0.4300", "1.00"))
    assert again.fills == ()


def test_what_was_taken_returns_only_as_the_recording_renews_it(tmp_path: Path) -> None:
    world = a_replay(tmp_path, delta(5, "no", "0.5800", "-8.00"), delta(6, "no", "0.5800", "3.00"))
    place(world, "us", our_order("bid", "0.4200", "8.00"))
    world.advance(NOW_US + 5 * SECOND_US)
    assert levels(world, Side.NO) == {5_700: 400}
    world.advance(NOW_US + 6 * SECOND_US)
    assert levels(world, Side.NO) == {5_700: 400, 5_800: 300}


def test_a_recorded_add_that_reaches_us_fills_us_up_to_its_size(tmp_path: Path) -> None:
    world = a_replay(tmp_path, delta(5, "no", "0.5900", "4.00"))
    mine = place(world, "us", our_order("bid", "0.4100", "10.00")).order
    assert levels(world, Side.YES)[4_100] == 1_000
    world.take()
    world.advance(NOW_US + 5 * SECOND_US)
    assert (mine.fill_cx, mine.remaining_cx) == (400, 600)
    (trade,) = [h for h in world.take() if isinstance(h, Traded)]
    assert (trade.yes_price_cc, trade.count_cx, trade.taker_side) == (4_100, 400, Side.NO)
    assert 5_900 not in levels(world, Side.NO)
    assert world.account("us").fills[0].is_taker is False


def test_all_that_is_shown_at_our_price_counts_as_ahead(tmp_path: Path) -> None:
    world = a_replay(tmp_path)
    mine = place(world, "us", our_order("bid", "0.4000", "1.00")).order
    assert world.markets[TICKER].ahead_cx(mine.order_id) == 1_000


def test_the_market_stops_where_the_recording_ends(tmp_path: Path) -> None:
    world = a_replay(tmp_path)
    mine = place(world, "us", our_order("bid", "0.2000", "1.00")).order
    world.advance(NOW_US + 901 * SECOND_US)
    assert world.markets[TICKER].status == "closed"
    assert mine.reason == "CloseCancel"
    assert BookCleared(TICKER) in world.take()


def test_several_recordings_play_one_after_the_other(tmp_path: Path) -> None:
    first = a_recording(tmp_path / "a.ndjson", [START, delta(2, "yes", "0.4000", "-1.00")])
    second = a_recording(tmp_path / "b.ndjson", [START, delta(2, "yes", "0.4000", "-3.00")])
    world = World(seed=1, now_us=NOW_US)
    replay_into(world, [first, second], speed=1.0)
    world.advance(NOW_US + 3 * SECOND_US)
    assert levels(world, Side.YES)[4_000] == 1_000
    world.advance(NOW_US + 4 * SECOND_US - 1)
    assert world.markets[TICKER].is_tradable


def watch(second: float, closes_after_s: int) -> str:
    at_us = RECORDED_US + int(second * SECOND_US)
    closes = rfc3339(RECORDED_US + closes_after_s * SECOND_US)
    body = {"close_time": closes, "market_ticker": TICKER, "strike": 79_257.99}
    return json.dumps({"event_type": "watch_market", "local_recv_ns": at_us * 1_000, "payload_json": body})


def test_a_market_that_goes_on_in_the_next_recording_closes_as_that_one_says(tmp_path: Path) -> None:
    first = a_recording(tmp_path / "a.ndjson", [watch(0, 10), START, delta(2, "yes", "0.4000", "-1.00")])
    second = a_recording(tmp_path / "b.ndjson", [watch(0, 20), START, delta(30, "yes", "0.4000", "-1.00")])
    world = World(seed=1, now_us=NOW_US)
    replay_into(world, [first, second], speed=1.0)
    world.advance(NOW_US + 21 * SECOND_US)
    assert world.markets[TICKER].is_tradable
    assert world.markets[TICKER].terms.strike["floor_strike"] == 79_257.99
    world.advance(NOW_US + 22 * SECOND_US)
    assert world.markets[TICKER].status == "closed"


@pytest.mark.parametrize(
    "damage", [{"delta_fp": "-99.00"}, {"side": "maybe"}, {"price_dollars": "NaN"}, {"market_ticker": None}]
)
def test_a_frame_that_does_not_fit_ends_the_recording_and_names_file_and_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: dict[str, Any]
) -> None:
    line = json.loads(delta(1, "yes", "0.4000", "1.00"))
    sound = json.loads(line["raw"])
    sound["msg"] |= damage
    world = a_replay(tmp_path, json.dumps(line | {"raw": json.dumps(sound)}))
    world.advance(NOW_US + 5 * SECOND_US)
    assert "recording broken off" in caplog.text
    assert not world.markets[TICKER].is_tradable
    world.advance(NOW_US + 10 * SECOND_US)


@pytest.mark.recorded
def test_a_recorded_run_replays_to_the_recorded_book_and_rolls_over(recorded: Path) -> None:
    path = next((recorded / "ws_l2_kxbtc15m").glob("*20260513T1556Z.ndjson.zst"))
    books: dict[str, OrderBook] = {}
    for line in read_frames(path):
        message = json.loads(line.frame)["msg"] if line.frame else {}
        if "delta_fp" in message:
            side = Side.YES if message["side"] == "yes" else Side.NO
            price, change = parse_price(message["price_dollars"]), parse_count(message["delta_fp"])
            books[message["market_ticker"]].apply(side, price, change)
        elif "yes_dollars_fp" in message or "no_dollars_fp" in message:
            sides = [
                [(parse_price(p), parse_count(c)) for p, c in message.get(k, [])]
                for k in ("yes_dollars_fp", "no_dollars_fp")
            ]
            books[message["market_ticker"]] = OrderBook()
            books[message["market_ticker"]].replace(*sides)
    world = World(seed=1, now_us=NOW_US)
    replay_into(world, [path], speed=100.0)
    told: list[Happening] = []
    for step in range(600):
        world.advance(NOW_US + step * 10_000)
        told += world.take()
        for market in world.markets.values():
            assert market.best_cc(Side.YES) + market.best_cc(Side.NO) < DOLLAR_CC
    second = "KXBTC15M-26MAY131215-15"
    shown = OrderBook()
    for change in told:
        if isinstance(change, BookChanged) and change.ticker == second:
            shown.apply(change.side, change.price_cc, change.delta_cx)
    assert shown.levels == books[second].levels
    assert sum(isinstance(h, TickerChanged) for h in told) == 338
    kinds = [
        (h.body["event_type"], h.body["market_ticker"])
        for h in told
        if isinstance(h, Announced) and "event_type" in h.body
    ]
    assert [kind for kind, ticker in kinds if ticker == TICKER] == ["created", "determined", "settled"]
    assert ("created", second) in kinds


def test_F6_a_market_closed_early_by_hand_is_emptied_and_the_recording_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = a_replay(tmp_path, *(delta(second, "yes", "0.4000", "-1.00") for second in range(1, 9)))
    mine = place(world, "us", our_order("bid", "0.3000", "1.00")).order
    world.advance(NOW_US + 2 * SECOND_US)
    world.life.close_early(world.markets[TICKER])
    world.take()
    world.advance(NOW_US + 20 * SECOND_US)
    assert (mine.status, levels(world, Side.YES)) == ("canceled", {})
    assert [h for h in world.take() if isinstance(h, BookCleared)] == [BookCleared(TICKER)]
    assert "broken off" not in caplog.text


def test_a_time_that_is_none_breaks_the_recording_off_and_not_the_exchange(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raw = json.dumps({"type": "ticker", "sid": 1, "seq": 1, "msg": {"market_ticker": TICKER, "ts": "yesterday"}})
    world = a_replay(tmp_path, json.dumps({"raw": raw}))
    world.advance(NOW_US + SECOND_US)
    assert "broken off" in caplog.text
