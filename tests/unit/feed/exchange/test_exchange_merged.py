"""Recordings side by side: many markets out of few runs, each with its own pace, sizes, spread and name."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from exchangeworld import NOW_US, a_recording, an_order, place

from feed.exchange.faults.plan import FaultPlan
from feed.exchange.flow.displayed import Displayed
from feed.exchange.flow.lives import read_lives
from feed.exchange.flow.merged import Guise, Player, merge_into
from feed.exchange.happenings import BookChanged, BookCleared, Happening, TickerChanged, Traded
from feed.exchange.stream.commands import Commander
from feed.exchange.stream.hub import Hub
from feed.exchange.world import SECOND_US, World
from kalshimm.errors import BadRecording
from markets.core.grid import TAPERED_DECI_CENT_GRID
from markets.core.units import DOLLAR_CC, Side

RECORDED_US = 1_778_687_780_000_000
DEEP = ("yes", "0.0100", "1.00")  # a change nobody looks at, to make a life last
FIRST, SECOND = "KXBTC15M-26MAY131200-00", "KXBTC15M-26MAY131215-15"


def frame(second: float, kind: str, ticker: str = FIRST, **message: Any) -> str:
    at_us = RECORDED_US + int(second * SECOND_US)
    raw = json.dumps({"type": kind, "sid": 1, "seq": 1, "msg": {"market_ticker": ticker, "market_id": "m", **message}})
    return json.dumps({"recv_ts_ns": at_us * 1_000, "raw": raw})


def snapshot(second: float, ticker: str = FIRST) -> str:
    yes, no = [("0.4000", "10.00"), ("0.3900", "5.00")], [("0.5800", "8.00"), ("0.5700", "4.00")]
    return frame(second, "orderbook_snapshot", ticker, yes_dollars_fp=yes, no_dollars_fp=no)


def delta(second: float, side: str, price: str, count: str, ticker: str = FIRST) -> str:
    return frame(second, "orderbook_delta", ticker, side=side, price_dollars=price, delta_fp=count)


def a_run(path: Path) -> Path:
    """One recording of two markets: ten changes in ten seconds, then eight in eight."""
    first = [delta(s, "yes", "0.3900", "1.00") for s in range(1, 11)]
    second = [delta(20 + s, "no", "0.5700", "1.00", SECOND) for s in range(1, 9)]
    return a_recording(path, [snapshot(0), *first, snapshot(20, SECOND), *second])


def told(world: World, seconds: float) -> list[Happening]:
    happenings: list[Happening] = []
    start_us = world.now_us
    for step in range(1, int(seconds * 20) + 1):
        world.advance(start_us + step * SECOND_US // 20)
        happenings += world.take()
    return happenings


def a_player(tmp_path: Path, guise: Guise, *lines: str, pace: float = 1.0) -> tuple[World, Player]:
    world = World(seed=1, now_us=NOW_US)
    (life,) = read_lives([a_recording(tmp_path / "run.ndjson", [snapshot(0), *lines])])
    player = Player(world, life, guise, pace)
    player.start("KXBTC15M-X-1")
    world.take()
    return world, player


def levels(world: World, side: Side) -> dict[int, int]:
    return world.markets["KXBTC15M-X-1"].levels(side)


def test_each_recorded_market_becomes_a_life(tmp_path: Path) -> None:
    first, second = read_lives([a_run(tmp_path / "a.ndjson")])
    assert (first.ticker, second.ticker) == (FIRST, SECOND)
    assert (len(first), first.lasts_us) == (11, 10 * SECOND_US)
    assert first.changes_per_s == pytest.approx(1.0)
    assert second.side_and_price(3) == (Side.NO, 5_700)


def test_markets_live_side_by_side_under_names_of_their_own(tmp_path: Path) -> None:
    world = World(seed=1, now_us=NOW_US)
    merge_into(world, [a_run(tmp_path / "a.ndjson")], markets=5, speed=0.1)
    assert list(world.markets) == [
        *("KXBTC15M-26MAY131200M001-00", "KXBTC15M-26MAY131215M002-15", "KXBTC15M-26MAY131200M003L1-00"),
        *("KXBTC15M-26MAY131215M004L1-15", "KXBTC15M-26MAY131200M005L2-00"),
    ]
    assert len({market.terms.market_id for market in world.markets.values()}) == 5
    assert all(market.is_tradable and market.best_cc(Side.YES) for market in world.markets.values())


def test_the_busiest_market_moves_thirty_times_a_second_at_speed_one(tmp_path: Path) -> None:
    lines = [delta(s / 10, "yes", "0.3900", "1.00") for s in range(1, 6_000)]
    path = a_recording(tmp_path / "long.ndjson", [snapshot(0), *lines])
    world = World(seed=1, now_us=NOW_US)
    merge_into(world, [path], markets=60, speed=1.0)
    world.take()
    rates = Counter(h.ticker for h in told(world, 10) if isinstance(h, BookChanged))
    ranked = [rates[ticker] / 10 for ticker in world.markets]
    assert ranked[0] == pytest.approx(30, rel=0.1)
    assert ranked[9] == pytest.approx(30 * 11_771 / 48_940, rel=0.2)
    assert ranked[49] < 2


def test_one_sequence_runs_over_all_markets_of_a_sid(tmp_path: Path) -> None:
    world = World(seed=1, now_us=NOW_US)
    merge_into(world, [a_run(tmp_path / "a.ndjson")], markets=4, speed=0.1)
    world.take()
    hub = Hub(world)
    session = hub.open("us")
    command = {
        "id": 1, "cmd": "subscribe", "params": {"channels": ["orderbook_delta"], "market_tickers": list(world.markets)},
    }  # fmt: skip
    Commander(world, hub, FaultPlan(seed=1)).handle(session, json.dumps(command))
    hub.publish(told(world, 10), wall_ms=1)
    frames = [json.loads(data) for data in session.take()][1:]
    assert [f["seq"] for f in frames] == list(range(1, len(frames) + 1))
    deltas = [f["msg"]["market_ticker"] for f in frames if f["type"] == "orderbook_delta"]
    assert len(set(deltas)) == 4


def test_in_a_mirror_yes_and_no_change_places(tmp_path: Path) -> None:
    plain, _ = a_player(tmp_path, Guise(), delta(1, "yes", "0.4000", "-4.00"))
    mirrored, _ = a_player(tmp_path, Guise(mirrored=True), delta(1, "yes", "0.4000", "-4.00"))
    for world in (plain, mirrored):
        told(world, 1)
    assert levels(plain, Side.YES) == {4_000: 600, 3_900: 500} == levels(mirrored, Side.NO)
    assert levels(plain, Side.NO) == levels(mirrored, Side.YES)


def test_sizes_and_spread_are_rescaled(tmp_path: Path) -> None:
    world, _ = a_player(tmp_path, Guise(size_percent=50, wider_cc=200), delta(5, "yes", "0.4000", "1.00"))
    assert levels(world, Side.YES) == {3_800: 500, 3_700: 250}
    assert levels(world, Side.NO) == {5_600: 400, 5_500: 200}


def test_any_history_of_deltas_shows_the_recorded_book_in_its_guise() -> None:
    rng = random.Random(5)
    grid = TAPERED_DECI_CENT_GRID
    for guise in (Guise(37, 100), Guise(1_250, 400), Guise(3, 0, mirrored=True)):
        recorded: dict[int, int] = {}
        shown = Displayed()
        for _ in range(2_000):
            price = rng.choice(grid.prices_cc(Side.YES)[:120])
            before = recorded.get(price, 0)
            after = rng.choice((0, before + rng.randint(1, 5_000), before // 2))
            shown.apply(Side.YES, guise.price_cc(grid, Side.YES, price), guise.count_cx(after) - guise.count_cx(before))
            recorded[price] = after
        expected: dict[int, int] = defaultdict(int)
        for price, size in recorded.items():
            if size:
                expected[guise.price_cc(grid, Side.YES, price)] += guise.count_cx(size)
        assert shown.levels(Side.YES) == expected


def test_the_next_life_begins_when_the_last_has_ended(tmp_path: Path) -> None:
    world = World(seed=1, now_us=NOW_US)
    merge_into(world, [a_run(tmp_path / "a.ndjson")], markets=1, speed=1.0)
    world.take()
    happenings = told(world, 15)
    first, second = list(world.markets.values())[:2]
    assert (first.ticker, first.status) == ("KXBTC15M-26MAY131200M001-00", "finalized")
    assert second.ticker == "KXBTC15M-26MAY131215M001-15"
    assert BookCleared(first.ticker) in happenings
    told(world, 15)
    assert "KXBTC15M-26MAY131200M001L1-00" in world.markets


def test_a_recorded_snapshot_in_the_middle_replaces_the_book(tmp_path: Path) -> None:
    again = frame(2, "orderbook_snapshot", yes_dollars_fp=[("0.4500", "1.00")], no_dollars_fp=[("0.5400", "2.00")])
    world, _ = a_player(tmp_path, Guise(), delta(1, "yes", "0.4000", "-4.00"), again, delta(5, "yes", "0.0100", "1.00"))
    changes = [h for h in told(world, 3) if isinstance(h, BookChanged)]
    assert levels(world, Side.YES) == {4_500: 100}
    assert levels(world, Side.NO) == {5_400: 200}
    signs = [change.delta_cx > 0 for change in changes if change.at_us > NOW_US + SECOND_US]
    assert signs == sorted(signs)


def test_ticker_and_trade_are_given_in_the_guise_of_the_market(tmp_path: Path) -> None:
    line = {"price_dollars": "0.4200", "volume_fp": "100.00", "open_interest_fp": "40.00", "last_trade_size_fp": "6.00"}
    print_ = {
        "yes_price_dollars": "0.4200", "count_fp": "6.00", "trade_id": "t", "taker_outcome_side": "yes",
    }  # fmt: skip
    world, _ = a_player(
        tmp_path, Guise(size_percent=200, mirrored=True), frame(1, "ticker", **line), frame(1, "trade", **print_),
        delta(5, "yes", "0.0100", "1.00"),
    )  # fmt: skip
    happenings = told(world, 2)
    (ticker,) = [h for h in happenings if isinstance(h, TickerChanged)]
    (trade,) = [h for h in happenings if isinstance(h, Traded)]
    assert (ticker.body["price_dollars"], ticker.body["volume_fp"]) == ("0.5800", "200.00")
    assert (ticker.body["yes_bid_dollars"], ticker.body["yes_bid_size_fp"]) == ("0.5800", "16.00")
    assert (trade.yes_price_cc, trade.count_cx, trade.taker_side) == (5_800, 1_200, Side.NO)


def test_our_orders_trade_in_a_merged_market_too(tmp_path: Path) -> None:
    world, _ = a_player(tmp_path, Guise(), delta(2, "no", "0.5900", "4.00"), delta(5, "yes", "0.0100", "1.00"))
    mine = place(world, "us", an_order("bid", "0.4100", "10.00", ticker="KXBTC15M-X-1")).order
    told(world, 2)
    assert (mine.fill_cx, mine.remaining_cx) == (400, 600)


def test_ticker_and_trade_make_candles(tmp_path: Path) -> None:
    line = {"price_dollars": "0.4200", "volume_fp": "100.00", "open_interest_fp": "40.00"}
    print_ = {"yes_price_dollars": "0.4200", "count_fp": "6.00", "trade_id": "t", "taker_outcome_side": "yes"}
    world, _ = a_player(tmp_path, Guise(), frame(1, "ticker", **line), frame(1, "trade", **print_), delta(5, *DEEP))
    told(world, 2)
    (candle,) = world.markets["KXBTC15M-X-1"].tape.candles.minutes
    assert candle.price is not None
    assert (candle.bid.close_cc, candle.ask.close_cc, candle.price.close_cc) == (4_000, 4_200, 4_200)


def test_F6_a_market_closed_early_by_hand_is_emptied_and_the_rest_plays_on(tmp_path: Path) -> None:
    changes = [delta(second, "yes", "0.4000", "-1.00") for second in range(1, 9)]
    world, _ = a_player(tmp_path, Guise(), *changes, delta(30, *DEEP))
    mine = place(world, "us", an_order("bid", "0.3000", ticker="KXBTC15M-X-1")).order
    told(world, 2)
    market = world.markets["KXBTC15M-X-1"]
    world.life.close_early(market)
    happenings = told(world, 8)
    assert (mine.status, market.levels(Side.YES)) == ("canceled", {})
    assert [h for h in happenings if isinstance(h, BookCleared)] == [BookCleared(market.ticker)]
    assert market.status == "finalized"


def test_a_market_whose_close_was_moved_away_keeps_its_book(tmp_path: Path) -> None:
    world, player = a_player(tmp_path, Guise(), delta(2, *DEEP))
    market = world.markets["KXBTC15M-X-1"]
    world.life.move_close(market, player.closes_us + 60 * SECOND_US)
    assert not [h for h in told(world, 10) if isinstance(h, BookCleared)]
    assert (market.status, len(market.levels(Side.NO))) == ("active", 2)
    told(world, 65)
    assert (market.status, market.levels(Side.NO)) == ("finalized", {})


def test_F8_a_level_stays_where_it_was_shown_when_the_grid_changes(tmp_path: Path) -> None:
    world, _ = a_player(
        tmp_path, Guise(wider_cc=200), delta(1, "yes", "0.1050", "3.00"), delta(3, "yes", "0.1050", "-3.00"),
        delta(5, *DEEP),
    )  # fmt: skip
    told(world, 2)
    before = levels(world, Side.YES)
    world.life.restructure(world.markets["KXBTC15M-X-1"], "linear_cent")
    told(world, 2)
    assert before.keys() - levels(world, Side.YES).keys() == {850}


def test_a_settled_life_leaves_the_list_after_an_hour(tmp_path: Path) -> None:
    world = World(seed=1, now_us=NOW_US)
    merge_into(world, [a_run(tmp_path / "a.ndjson")], markets=1, speed=1.0)
    first = next(iter(world.markets))
    world.advance(NOW_US + 3_600 * SECOND_US)
    assert first in world.markets
    world.advance(NOW_US + 3_630 * SECOND_US)
    assert first not in world.markets
    assert world.past_market(first) is not None


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("trade", {"yes_price_dollars": "0.4200", "count_fp": "6.00", "trade_id": "t"}),
        ("ticker", {"price_dollars": "much", "volume_fp": "1.00", "open_interest_fp": "1.00"}),
        ("orderbook_snapshot", {"yes_dollars_fp": [("0.4", "x")]}),
    ],
)
def test_a_message_that_could_not_be_played_is_refused_at_once(
    tmp_path: Path, kind: str, message: dict[str, Any]
) -> None:
    path = a_recording(tmp_path / "a.ndjson", [snapshot(0), frame(1, kind, **message)])
    with pytest.raises(BadRecording, match="line 2"):
        read_lives([path])


def test_a_recording_that_breaks_off_is_refused_with_its_place(tmp_path: Path) -> None:
    path = a_recording(tmp_path / "a.ndjson", [snapshot(0), delta(1, "maybe", "0.4000", "1.00")])
    with pytest.raises(BadRecording, match="line 2"):
        read_lives([path])
    with pytest.raises(BadRecording, match="no order book"):
        read_lives([a_recording(tmp_path / "b.ndjson", [delta(1, "yes", "0.4000", "1.00")])])


def test_markets_without_a_recording_are_a_usage_error(manage: Any) -> None:
    result = manage("exchange", "--markets", "5")
    assert result.returncode != 0
    assert "--markets" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.recorded
def test_one_real_run_becomes_forty_markets_that_never_cross(recorded: Path) -> None:
    path = next((recorded / "ws_l2_kxbtc15m").glob("*20260513T1556Z.ndjson.zst"))
    world = World(seed=1, now_us=NOW_US)
    merge_into(world, [path], markets=40, speed=10.0)
    world.take()
    rates: Counter[str] = Counter()
    for _ in range(20):
        rates.update(h.ticker for h in told(world, 1) if isinstance(h, BookChanged))
        for market in world.markets.values():
            assert market.best_cc(Side.YES) + market.best_cc(Side.NO) < DOLLAR_CC
            for side in Side:
                assert all(market.terms.grid.contains(side, price) for price in market.levels(side))
    busy = sorted(rates.values(), reverse=True)
    assert busy[0] > 4 * busy[20] > 4 * busy[35]
    spreads = {DOLLAR_CC - m.best_cc(Side.YES) - m.best_cc(Side.NO) for m in world.markets.values() if m.is_tradable}
    assert len(spreads) > 2
