from __future__ import annotations

import itertools
from collections.abc import Callable

import msgspec
import pytest

from feed.schema import (
    FEED_ENTRY_MAX_S,
    VERSION,
    BookDelta,
    BookSnapshot,
    BookStatus,
    BookTrade,
    Decision,
    FeedState,
    FillState,
    JournalBody,
    LatchChange,
    OrderState,
    QuoteView,
    StateChange,
)
from markets.core.grid import CENT_GRID
from markets.core.units import Side
from traders.brokers.paper import PaperBroker, PaperSettings
from traders.core.decision import Rules
from traders.core.facts import MarketFacts
from traders.core.inventory import Inventory
from traders.core.limits import Latch, Limits
from traders.core.pipeline import Choice, Chosen, StrategyChoices
from traders.core.registry import Kind, Strategy
from traders.core.riskbook import RiskMemory
from traders.core.turns import CALM_S
from traders.core.types import Quote, Quotes
from traders.core.why import Why
from traders.engine import REPEAT_DECISION_S, TURN_S, Engine, Now, Setup

START_US = 1_000_000_000
CLOSE_US = START_US + 3_600_000_000
LAG_US = 20_000
SMALL, FRESH, JOINS = Limits(), RiskMemory(), StrategyChoices(Choice("join_best"))


class NoParams(msgspec.Struct, frozen=True):
    """Nothing to choose."""


class Desk:
    """An engine on a valid book, with both clocks in hand."""

    def __init__(
        self,
        *,
        desired: str = "running",
        limits: Limits = SMALL,
        memory: RiskMemory = FRESH,
        choices: StrategyChoices = JOINS,
        latency_us: int = 0,
    ) -> None:
        numbers = itertools.count(1)
        strategies = choices.parse()
        setup = Setup(1, "M", "dry-run", Rules(strategies, limits), MarketFacts(CENT_GRID.ranges, CLOSE_US))
        broker = PaperBroker(lambda: f"order-{next(numbers)}", PaperSettings(latency_us=latency_us))
        self.engine = Engine(setup, broker, inventory=Inventory(), desired=desired, memory=memory)
        self.elapsed_s = 0.0
        self.seq = itertools.count(2)
        self.bodies: list[JournalBody] = []
        self.feed()
        self.event(BookSnapshot(7, 2, 1, 1, START_US, [(4_000, 300), (3_900, 500)], [(5_800, 200), (5_700, 1)]))

    @property
    def now(self) -> Now:
        return Now(START_US + int(self.elapsed_s * 1_000_000), self.elapsed_s)

    def wait(self, seconds: float, *, with_feed: bool = True) -> None:
        self.elapsed_s += seconds
        if with_feed:
            self.feed()
        self.decide()

    def feed(self, generation: int = 1) -> None:
        self.engine.on_feed(FeedState(VERSION, 7, "live", {2: generation}, 10, 20, 1, 1), self.now)

    def event(self, event: BookSnapshot | BookDelta | BookTrade | BookStatus) -> None:
        self.bodies += self.engine.on_events([event])
        self.decide()

    def delta(self, side: Side, price_cc: int, delta_cx: int, *, at_us: int | None = None) -> None:
        time_us = at_us or self.now.wall_us + 1_000
        self.event(BookDelta(next(self.seq), time_us, int(side), price_cc, delta_cx))

    def decide(self) -> None:
        self.bodies += self.engine.decide(self.now)

    def turn(self) -> None:
        self.bodies += self.engine.turn(self.now)

    def quotes(self) -> list[QuoteView]:
        return self.engine.trader_view(self.now).quotes

    def prices(self) -> list[tuple[int, int]]:
        return [(quote.side, quote.price_cc) for quote in self.quotes()]

    def said(self, kind: type[JournalBody]) -> list[JournalBody]:
        return [body for body in self.bodies if isinstance(body, kind)]


def test_it_quotes_both_sides_of_a_valid_book() -> None:
    desk = Desk()
    assert desk.prices() == [(0, 4_000), (1, 5_800)]
    assert desk.engine.state == "quoting"
    assert [quote.ahead_cx for quote in desk.quotes()] == [300, 200]


def test_it_follows_the_touch_and_places_before_it_cancels_while_limits_allow_both() -> None:
    desk = Desk()
    desk.bodies.clear()
    desk.delta(Side.YES, 4_100, 50)
    orders = [(body.status, body.price_cc) for body in desk.bodies if isinstance(body, OrderState)]
    assert orders == [("resting", 4_100), ("canceled", 4_000)]


def test_a_lost_book_cancels_at_once_and_says_why() -> None:
    desk = Desk()
    desk.event(BookStatus(START_US + 1, False, "sequence gap"))
    assert desk.quotes() == []
    assert "sequence gap" in desk.engine.trader_view(desk.now).why
    assert {body.reason for body in desk.said(OrderState)[-2:]} == {"book lost: sequence gap"}


def test_a_silent_feed_cancels_by_time_alone() -> None:
    desk = Desk()
    desk.wait(FEED_ENTRY_MAX_S, with_feed=False)
    view = desk.engine.trader_view(desk.now)
    assert (view.quotes, view.book_is_valid, view.trading_ud) == ([], False, None)


def test_it_quotes_again_after_a_fresh_snapshot() -> None:
    desk = Desk()
    desk.feed(generation=2)
    desk.decide()
    assert desk.quotes() == []
    desk.event(BookSnapshot(7, 2, 2, 1, START_US + 5, [(3_900, 10)], [(5_900, 10)]))
    assert desk.prices() == [(0, 3_900), (1, 5_900)]


def test_a_print_fills_it_and_moves_the_position() -> None:
    desk = Desk()
    desk.event(BookTrade("t1", START_US + 500, 3_900, 400, int(Side.NO)))
    (fill,) = desk.said(FillState)
    assert isinstance(fill, FillState)
    assert (fill.price_cc, fill.count_cx, fill.position_cx, fill.fee_ud) == (4_000, 400, 400, None)
    view = desk.engine.trader_view(desk.now)
    assert (view.position_cx, view.fills, view.trading_ud) == (400, 1, 0)


def test_nobody_decides_on_a_book_that_is_crossed_within_one_moment() -> None:
    desk = Desk()
    desk.bodies.clear()
    desk.delta(Side.NO, 6_000, 10, at_us=START_US + 100)
    assert desk.bodies == []
    desk.delta(Side.YES, 4_000, -300, at_us=START_US + 100)
    assert (0, 3_900) in desk.prices()


def test_a_book_that_stays_crossed_ends_the_quotes() -> None:
    desk = Desk()
    desk.delta(Side.NO, 6_000, 10, at_us=START_US + 100)
    desk.wait(0.3)
    assert desk.quotes() == []


def test_a_pause_cancels_whatever_the_book_looks_like() -> None:
    desk = Desk()
    desk.delta(Side.NO, 6_000, 10, at_us=START_US + 100)
    desk.engine.pause("somebody", desk.now)
    assert (desk.engine.state, desk.quotes()) == ("paused", [])


def test_the_close_cancels_whatever_the_book_looks_like() -> None:
    desk = Desk()
    desk.elapsed_s = 3_600.0
    desk.feed()
    desk.delta(Side.NO, 6_000, 10, at_us=START_US + 100)
    assert desk.quotes() == []


def test_D5_a_print_that_comes_twice_fills_once() -> None:
    desk = Desk()
    for _ in range(2):
        desk.event(BookTrade("t1", START_US + 500, 3_900, 400, int(Side.NO)))
    assert len(desk.said(FillState)) == 1
    assert desk.engine.inventory.position_cx == 400


def test_D5_a_removal_that_comes_twice_moves_no_order_forward_twice() -> None:
    desk = Desk()
    removal = BookDelta(2, START_US + 100, int(Side.YES), 4_000, -100)
    for event in (removal, removal, BookDelta(3, START_US + 400_000, int(Side.NO), 5_700, 1)):
        desk.event(event)
    assert desk.quotes()[0].ahead_cx == 200


def test_it_says_a_decision_once_and_then_each_minute_with_a_count() -> None:
    desk = Desk()
    desk.bodies.clear()
    for _ in range(10):
        desk.wait(1.0)
    assert desk.said(Decision) == []
    desk.wait(REPEAT_DECISION_S)
    (decision,) = desk.said(Decision)
    assert isinstance(decision, Decision)
    assert decision.repeats == 11


def test_pause_cancels_and_resume_quotes_again() -> None:
    desk = Desk()
    desk.engine.pause("somebody", desk.now)
    assert (desk.engine.state, desk.quotes()) == ("paused", [])
    assert "somebody" in desk.engine.why
    desk.engine.resume("somebody", desk.now)
    assert (desk.engine.state, len(desk.quotes())) == ("quoting", 2)


def test_a_trader_that_shall_be_paused_never_quotes_at_its_start() -> None:
    desk = Desk(desired="paused")
    assert (desk.engine.state, desk.said(OrderState)) == ("paused", [])


def test_it_places_nothing_once_it_drains() -> None:
    desk = Desk()
    desk.bodies += desk.engine.drain("asked to stop")
    desk.delta(Side.YES, 4_100, 50)
    assert desk.quotes() == []
    desk.bodies += desk.engine.finish("asked to stop")
    words = [body.state for body in desk.bodies if isinstance(body, StateChange)]
    assert words == ["quoting", "draining", "stopped"]


def test_nothing_rests_after_the_market_has_closed() -> None:
    desk = Desk()
    desk.wait(3_600.0)
    assert desk.quotes() == []
    assert desk.engine.is_closed(desk.now)


def test_the_same_events_give_the_same_journal() -> None:
    def run() -> list[bytes]:
        desk = Desk()
        desk.delta(Side.YES, 4_100, 50)
        desk.event(BookTrade("t1", START_US + 5_000_000, 3_900, 400, int(Side.NO)))
        desk.wait(2.0)
        return [msgspec.msgpack.encode(body) for body in desk.bodies]

    assert run() == run()


def test_it_gets_flat_when_it_is_asked_to_and_stays_so_until_it_shall_quote_again() -> None:
    desk = Desk()
    desk.event(BookTrade("t1", START_US + 500, 3_900, 400, int(Side.NO)))
    assert desk.engine.inventory.position_cx == 400
    desk.bodies += desk.engine.flatten("somebody", desk.now)
    sold = [(b.side, b.price_cc, b.count_cx, b.is_taker) for b in desk.bodies if isinstance(b, FillState)][1:]
    assert sold == [(1, 6_000, 300, True), (1, 6_100, 100, True)]
    desk.decide()
    assert (desk.engine.state, desk.engine.inventory.position_cx) == ("flat", 0)
    assert desk.quotes() == []
    assert "somebody" in desk.engine.why
    desk.bodies += desk.engine.resume("somebody", desk.now)
    assert (desk.engine.state, len(desk.quotes())) == ("quoting", 2)


def test_a_limit_latches_until_a_person_releases_it_and_lets_the_position_be_closed() -> None:
    desk = Desk(limits=Limits(daily_loss_ud=50_000))
    desk.event(BookTrade("t1", START_US + 500, 3_900, 400, int(Side.NO)))
    desk.event(BookSnapshot(7, 2, 1, next(desk.seq), START_US + 900, [(3_800, 50_000)], [(5_800, 200)]))
    assert desk.said(LatchChange) == [], "for a moment a book may look like that"
    desk.wait(0.3)
    (latch,) = desk.said(LatchChange)
    assert isinstance(latch, LatchChange)
    assert (latch.is_on, latch.code, latch.figures["result_ud"]) == (True, "DAILY_LOSS", -80_000)
    assert latch.reason == "the day's result is −$0.08, a loss of $0.05 is the most"
    desk.wait(1.0)
    assert desk.engine.state == "latched"
    assert [(quote.side, quote.remaining_cx) for quote in desk.quotes()] == [(1, 400)], "what closes the position"
    desk.bodies += desk.engine.release("somebody", desk.now)
    released = desk.said(LatchChange)[-1]
    assert isinstance(released, LatchChange)
    assert (released.is_on, released.code, released.by) == (False, "DAILY_LOSS", "somebody")
    assert desk.engine.release("somebody", desk.now) == []


def test_a_latch_of_before_still_holds_after_a_restart() -> None:
    desk = Desk(memory=RiskMemory(latch=Latch("DRAWDOWN", START_US, {})))
    assert (desk.engine.state, desk.quotes()) == ("latched", [])
    assert "latched by DRAWDOWN" in desk.engine.why


@pytest.mark.parametrize(
    "wish",
    [
        lambda: {}["nothing"],
        lambda: None,
        lambda: Quotes((Quote(Side.YES, 4_000, 100), Quote(Side.YES, 3_900, 100))),
        lambda: Quotes((Quote(Side.YES, 4_000, -100),)),
        lambda: Quotes((Quote(Side.YES, 4_000.0, 100),)),  # type: ignore[arg-type]  # what a plug-in may do
        lambda: Quotes((), (Why("odd", "{nothing}", {"figure": object()}),)),
    ],
)
def test_C17_a_strategy_that_fails_or_talks_nonsense_has_nothing_rest_and_loses_no_fill(
    wish: Callable[[], Quotes], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk()
    wild = Chosen(Strategy(Kind.PLACEMENT, "wild", NoParams, lambda *_: wish()), NoParams())
    rules = msgspec.structs.replace(
        desk.engine._setup.rules,
        strategies=msgspec.structs.replace(desk.engine._setup.rules.strategies, placement=wild),
    )
    monkeypatch.setattr(desk.engine, "_setup", msgspec.structs.replace(desk.engine._setup, rules=rules))
    desk.event(BookTrade("t1", START_US + 500, 3_900, 400, int(Side.NO)))
    assert (desk.quotes(), desk.engine.inventory.position_cx) == ([], 400)
    assert [type(body) for body in desk.bodies].count(FillState) == 1
    for body in desk.bodies:
        msgspec.msgpack.encode(body)


def test_with_latency_an_exit_that_fills_while_it_is_canceled_is_not_taken_again() -> None:
    """Both together would pass through zero."""
    flattens = [{"name": "passive_exit"}, {"name": "cross_at_limit", "params": {"after_s": 2}}]
    desk = Desk(choices=StrategyChoices(Choice("join_best"), flattens=flattens), latency_us=10_000)
    desk.wait(0.1)
    desk.event(BookTrade("t1", START_US + 200_000, 3_900, 400, int(Side.NO)))
    assert desk.engine.inventory.position_cx == 400
    for _ in range(60):
        desk.wait(0.05)
        in_flight = desk.engine._broker.in_flight()
        assert in_flight is not None
        if Side.NO in in_flight.cancels:
            break
    else:
        pytest.fail("it never wanted to cross")
    desk.decide()
    late_us = desk.now.wall_us - LAG_US + 3_000  # a moment after the cancel left, by the exchange's time
    desk.event(BookTrade("t2", late_us, 4_300, 400, int(Side.YES)))
    for _ in range(10):
        desk.wait(0.05)
        assert desk.engine.inventory.position_cx >= 0
    assert desk.engine.inventory.position_cx == 0


def test_two_orders_of_one_decision_count_as_two_against_the_rate() -> None:
    desk = Desk(limits=Limits(orders_a_minute=3))
    assert len(desk.quotes()) == 2
    desk.event(BookSnapshot(7, 2, 1, next(desk.seq), START_US + 900, [(4_100, 300)], [(5_700, 200)]))
    places = [body for body in desk.bodies if isinstance(body, OrderState) and body.status == "resting"]
    assert len(places) == 3, "one more than two were allowed"


# ---- its own loop ----------------------------------------------------------------------------------------------------


def test_E6_a_loop_that_comes_late_pulls_its_quotes_says_so_and_quotes_anew_once_it_is_on_time() -> None:
    desk = Desk()
    desk.turn()
    assert len(desk.quotes()) == 2
    desk.elapsed_s += TURN_S + 1.2
    desk.feed()
    desk.decide()  # whoever asks first
    assert desk.quotes() == []
    assert desk.engine.why == "its own loop comes 1200 ms late: what it knows may be old"
    assert desk.engine.state == "quoting"
    began_s = desk.elapsed_s
    desk.turn()
    while not desk.quotes():
        desk.elapsed_s += TURN_S
        desk.feed()
        desk.turn()
    assert desk.elapsed_s - began_s == CALM_S


def test_E6_nobody_is_late_who_has_no_loop() -> None:
    desk = Desk()
    for _ in range(3):
        desk.wait(1.4)
        assert len(desk.quotes()) == 2
