"""The bench of decisions: what it plays, and what it makes of a trader that is wrong or idle."""

from __future__ import annotations

import itertools
from pathlib import Path

import msgspec
import pytest

from feed.schema import BookDelta, BookSnapshot, BookTrade
from kalshimm.bench import engine
from kalshimm.bench.engine import EngineBench
from kalshimm.bench.report import Effort, Round
from kalshimm.errors import KalshimmError
from markets.core.book import OrderBook
from markets.core.units import Side, yes_price_cc
from traders.core.guards import Guards


def a_material(events: int = 600) -> engine.Material:
    told, facts = engine.generated(events)
    return engine.Material(engine.moments(told), facts, [], is_recorded=False)


def test_a_generated_market_ends_with_the_book_that_it_began_with() -> None:
    events, facts = engine.generated(400)
    first, *deltas = events
    assert isinstance(first, BookSnapshot)
    book = OrderBook()
    book.replace(first.yes, first.no)
    for number, delta in enumerate(deltas, first.seq + 1):
        assert isinstance(delta, BookDelta)
        assert delta.seq == number
        book.apply(delta.side, delta.price_cc, delta.delta_cx)  # raises below zero
        assert not book.is_crossed
        assert facts.grid().contains(engine.SIDES[delta.side], delta.price_cc)
    assert book.levels == (dict(first.yes), dict(first.no))


def test_without_the_recording_it_says_what_is_played_instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "GENERATED_EVENTS", 100)
    monkeypatch.setattr(engine, "REFERENCE_FRAMES", 100)
    said: list[str] = []
    material = engine.prepare(tmp_path, said.append)
    assert not material.is_recorded
    assert len(material.moments) == 101
    assert len(material.frames) == 100
    (line,) = said
    assert str(tmp_path / engine.RECORDING) in line
    assert "generated" in line


def test_the_recorded_market_is_followed_from_its_first_snapshot_to_the_end(recorded: Path) -> None:
    events, facts = engine.recorded(recorded / "ws_l2_kxbtc15m" / engine.RECORDING, engine.TICKER)
    assert isinstance(events[0], BookSnapshot)
    deltas = [event for event in events if isinstance(event, BookDelta)]
    assert [delta.seq for delta in deltas] == list(range(2, 2 + len(deltas)))  # none is missing
    assert len(deltas) == 27_605
    assert events[-1].time_us < facts.close_time_us
    with pytest.raises(KalshimmError, match="does not hold KXBTC15M-1"):
        engine.recorded(recorded / "ws_l2_kxbtc15m" / engine.RECORDING, "KXBTC15M-1")


def test_the_feed_is_told_as_often_as_the_gateway_tells_it() -> None:
    moments = a_material(100).moments
    told_us = [moment.now.wall_us for moment in moments if moment.feed is not None]
    assert told_us[0] == moments[0].now.wall_us
    assert {after - before for before, after in itertools.pairwise(told_us)} == {300_000}


def test_the_trader_quotes_and_begins_anew_with_each_lap() -> None:
    material = a_material()
    desk = engine.Desk(material)
    assert not desk.is_quoting
    assert desk.play(400) == 400
    assert desk.is_quoting
    assert desk.play(400) == 201
    desk.check()
    assert desk.play(3) == 3
    desk.check()


def test_a_trader_whose_book_is_another_is_no_trader() -> None:
    material = a_material()
    desk = engine.Desk(material)
    desk.play(10)
    (delta,) = material.moments[5].events
    assert isinstance(delta, BookDelta)
    material.moments[5].events[0] = msgspec.structs.replace(delta, delta_cx=delta.delta_cx + 1)
    with pytest.raises(KalshimmError, match="another book"):
        desk.check()


def test_the_generated_market_lets_a_trader_quote_long_enough_to_count() -> None:
    desk = engine.Desk(a_material(engine.GENERATED_EVENTS // 3))
    was_quoting = []
    while desk.play(engine.TURN_DECISIONS) == engine.TURN_DECISIONS:
        was_quoting.append(desk.is_quoting)
    assert was_quoting.count(True) > 2 * engine.QUOTING_PART_LEAST * len(was_quoting)


@pytest.mark.parametrize("way", ["", "lifetimes_", "trades_"])
@pytest.mark.parametrize(("part", "is_void"), [(0.24, True), (0.25, False)])
def test_a_trader_that_hardly_quotes_measures_nothing(way: str, part: float, is_void: bool) -> None:
    parts = {"quoting_part": 1.0, "lifetimes_quoting_part": 1.0, "trades_quoting_part": 1.0}
    rounds = [Round(1.0, 1.0, parts | {f"{way}quoting_part": part})]
    assert bool(EngineBench().void(rounds)) is is_void


def test_trades_come_as_often_as_said_and_meet_the_touch_of_each_side_in_turn() -> None:
    material = a_material(200)
    book, makers, met_us = OrderBook(), [], []
    for moment in engine.with_trades(material).moments:
        (event,) = moment.events
        if isinstance(event, BookTrade):
            maker = Side(event.taker_side).other
            assert yes_price_cc(maker, event.yes_price_cc) == book.best_cc[maker]
            assert event.time_us == moment.now.wall_us
            makers.append(maker)
            met_us.append(event.time_us)
        elif isinstance(event, BookSnapshot):
            book.replace(event.yes, event.no)
        elif isinstance(event, BookDelta):
            book.apply(event.side, event.price_cc, event.delta_cx)
    assert makers[:4] == [Side.YES, Side.NO, Side.YES, Side.NO]
    assert {after - before for before, after in itertools.pairwise(met_us)} == {engine.TRADE_EVERY_US}
    assert len(met_us) == 200 * engine.GENERATED_STEP_US // engine.TRADE_EVERY_US - 1
    told = [moment for moment in engine.with_trades(material).moments if not isinstance(moment.events[0], BookTrade)]
    assert told == material.moments


def test_trades_are_as_many_as_flow_is_looked_for_from_and_of_neither_side_more() -> None:
    guards = Guards()
    span_us, held_us = guards.flow_s * 1_000_000, (guards.flow_s + guards.hold_s) * 1_000_000
    assert held_us // engine.TRADE_EVERY_US * engine.TRADE_CX >= guards.flow_cx
    assert span_us // engine.TRADE_EVERY_US * engine.TRADE_CX < guards.flow_cx


def test_orders_with_a_lifetime_are_renewed_before_half_of_it_has_gone() -> None:
    material = a_material(4_000)
    desk = engine.Desk(material, lifetime_s=120)
    desk.play(4_000)  # four minutes
    half_us = material.moments[3_999].now.wall_us + 60_000_000
    assert desk.is_quoting
    assert all(half_us <= (order.expires_us or 0) <= half_us + 60_000_000 for order in desk._broker.resting())


async def test_a_round_counts_decisions_and_decoded_frames(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(engine, "RECORDINGS", tmp_path)
    monkeypatch.setattr(engine, "GENERATED_EVENTS", 300)
    monkeypatch.setattr(engine, "REFERENCE_FRAMES", 100)
    (one,) = await EngineBench().run(Effort(rounds=1, seconds=0.01), lambda _line: None)
    assert one.figure > 0
    assert one.against > 0
    assert 0 < one.more["quoting_part"] <= 1
    assert one.more["quoting_per_cpu_s"] > 0
    for way in ("lifetimes", "trades"):
        assert 0 < one.more[f"{way}_quoting_part"] <= 1
        assert one.more[f"{way}_per_cpu_s"] > 0
