"""A running trader goes over to other parameters: what is still wanted keeps its place; a bad body changes nothing."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from feed.schema import (
    VERSION,
    BookTrade,
    CommandAnswer,
    Control,
    JournalBody,
    OrderState,
    ParamsChange,
    QuoteView,
)
from markets.core.grid import CENT_GRID
from markets.core.units import Side
from tests.unit.traders.test_engine import CLOSE_US, JOINS, Desk
from traders.answering import Answering
from traders.core.facts import MarketFacts
from traders.core.params import TraderParams, encode_params
from traders.core.pipeline import Choice, StrategyChoices
from traders.start import Start

FACTS = MarketFacts(CENT_GRID.ranges, CLOSE_US)


class Told(Desk):
    """A desk that is told what to go by."""

    def __init__(self, choices: StrategyChoices = JOINS) -> None:
        super().__init__(choices=choices)
        start = Start(1, "one", "i", "M", "dry-run", "paper", choices, {}, FACTS, "redis://nowhere")
        self.answering = Answering(start, self.engine, write=self.bodies.extend, why_killed=lambda: "")
        self.bodies.clear()

    def tell(self, choices: StrategyChoices = JOINS, limits: dict[str, Any] | None = None) -> str:
        """Tell it other parameters; return why it refuses them."""
        return self.tell_body(encode_params(TraderParams(choices, limits or {})))

    def tell_body(self, body: bytes) -> str:
        control = Control(VERSION, "c", "params", "supervisor", self.now.wall_us + 1, body)
        self.answering.answer(control, self.now, heeded="")
        answer = self.said(CommandAnswer)[-1]
        assert isinstance(answer, CommandAnswer)
        assert answer.is_done == (not answer.reason)
        return answer.reason

    @property
    def digest(self) -> int:
        return self.engine.trader_view(self.now).params_digest

    def moved(self) -> list[tuple[str, int]]:
        return [(body.status, body.price_cc) for body in self.said(OrderState) if isinstance(body, OrderState)]


def places(quotes: list[QuoteView]) -> list[tuple[int, int, int, int | None]]:
    return [(quote.side, quote.price_cc, quote.remaining_cx, quote.ahead_cx) for quote in quotes]


def with_tolerances(**tolerances: int) -> StrategyChoices:
    return msgspec.structs.replace(JOINS, tolerances=tolerances)


AHEAD = [(0, 4_000, 1_000, 300), (1, 5_800, 1_000, 200)]


@pytest.mark.parametrize(
    "choices",
    [
        with_tolerances(price_steps=3),
        StrategyChoices(Choice("join_best"), Choice("min_ahead", {"ahead_cx": 100})),
        StrategyChoices(Choice("join_best"), flattens=[{"name": "passive_exit"}]),
        StrategyChoices(Choice("join_best"), guards={"max_spread_cc": 500}),
        StrategyChoices(Choice("join_best", {"bid_cx": 1_050, "ask_cx": 960})),
    ],
    ids=["tolerance", "buffer", "flatten", "guard", "size-within-tolerance"],
)
def test_what_is_as_good_as_wanted_keeps_its_place(choices: StrategyChoices) -> None:
    desk = Told()
    before = desk.engine.trader_view(desk.now)
    assert places(before.quotes) == AHEAD
    assert desk.tell(choices) == ""
    after = desk.engine.trader_view(desk.now)
    assert places(after.quotes) == AHEAD
    assert desk.moved() == [], "nothing was sent"
    assert after.params_digest == TraderParams(choices).digest != before.params_digest
    (change,) = desk.said(ParamsChange)
    assert isinstance(change, ParamsChange)
    assert change.digest == after.params_digest
    assert change.strategies["placement"]["params"] == choices.placement.params


def test_it_decides_by_them_from_then_on() -> None:
    desk, before = Told(), Told()
    desk.tell(with_tolerances(price_steps=3))
    for one in (desk, before):
        one.delta(Side.YES, 4_100, 50)
    assert places(desk.quotes()) == AHEAD, "a step away is as good as wanted now"
    assert before.prices() == [(0, 4_100), (1, 5_800)]


def test_only_what_must_move_moves() -> None:
    desk = Told()
    desk.delta(Side.NO, 5_700, 500)
    desk.tell(StrategyChoices(Choice("join_best"), Choice("min_ahead", {"ahead_cx": 280})))
    assert places(desk.quotes()) == [AHEAD[0], (1, 5_700, 1_000, 501)]
    assert {price_cc for _, price_cc in desk.moved()} == {5_700, 5_800}


def test_a_larger_size_comes_beside_what_rests_and_a_smaller_one_off_it() -> None:
    desk = Told()
    desk.tell(StrategyChoices(Choice("join_best", {"bid_cx": 1_400, "ask_cx": 600})), {"order_cx_most": 2_000})
    assert [one[:3] for one in places(desk.quotes())] == [(0, 4_000, 1_000), (0, 4_000, 400), (1, 5_800, 600)]
    assert (places(desk.quotes())[0], places(desk.quotes())[-1]) == (AHEAD[0], (1, 5_800, 600, 200))


def test_tighter_limits_hold_at_once_and_spare_what_is_within_them() -> None:
    desk = Told()
    desk.tell(limits={"order_cx_most": 400, "position_cx_most": 400})
    assert places(desk.quotes()) == [(0, 4_000, 400, 300), (1, 5_800, 400, 200)]


def test_position_and_history_stay() -> None:
    desk = Told()
    desk.event(BookTrade("t1", desk.now.wall_us + 500, 3_900, 400, int(Side.NO)))
    inventory, history = desk.engine.inventory, desk.engine.history
    assert inventory.position_cx == 400
    desk.tell(with_tolerances(price_steps=1))
    assert desk.engine.inventory is inventory
    assert desk.engine.history is history
    assert history.prints


def test_the_same_once_more_changes_nothing() -> None:
    desk = Told()
    desk.tell(with_tolerances(price_steps=1))
    before = len(desk.bodies)
    assert desk.tell(with_tolerances(price_steps=1)) == ""
    assert [type(body) for body in desk.bodies[before:]] == [CommandAnswer]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"\xc1", "cannot be used"),
        (msgspec.msgpack.encode({"params": {"strategies": 5}, "digest": 1}), "cannot be used"),
        (msgspec.msgpack.encode({"params": TraderParams(with_tolerances(price_steps=1)), "digest": 1}), "was sent"),
        (encode_params(TraderParams(StrategyChoices(Choice("no_such")))), "no_such"),
        (encode_params(TraderParams(StrategyChoices(Choice("join_best", {"bid_cx": -5})))), "bid_cx"),
        (encode_params(TraderParams(JOINS, {"order_cx_most": "many"})), "order_cx_most"),
        (encode_params(TraderParams(JOINS, {"exposure_ud_most": 500_000_000})), "new start"),
    ],
    ids=["garbage", "shape", "digest", "strategy", "parameter", "limit", "looser"],
)
def test_a_bad_body_is_refused_and_loses_nothing(body: bytes, words: str) -> None:
    desk = Told()
    digest = desk.digest
    assert words in desk.tell_body(body)
    assert (places(desk.quotes()), desk.digest, desk.moved()) == (AHEAD, digest, [])
    assert desk.said(ParamsChange) == []
    assert desk.tell(with_tolerances(price_steps=1)) == "", "a good one is taken after it"


def test_what_it_went_over_to_counts_for_the_next_change() -> None:
    """Back to limits of before is more than what is reserved now, as far as the trader knows."""
    desk = Told()
    assert desk.tell(limits={"exposure_ud_most": 1_000_000}) == ""
    assert "new start" in desk.tell(limits={"exposure_ud_most": 2_000_000})


def test_who_is_paused_takes_them_and_stays_paused() -> None:
    desk = Told()
    desk.engine.pause("somebody", desk.now)
    desk.tell(with_tolerances(price_steps=1))
    assert (desk.engine.state, desk.quotes()) == ("paused", [])
    bodies: list[JournalBody] = desk.engine.resume("somebody", desk.now)
    assert bodies
    assert desk.prices() == [(0, 4_000), (1, 5_800)]
