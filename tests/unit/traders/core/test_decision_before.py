"""A decision may lean on an earlier one, and must be the same as without it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from markets.core.grid import CENT_GRID, PriceGrid, PriceRange
from markets.core.units import DOLLAR_CC, Side
from tests.fixtures.views import NOW_US, a_book
from traders.core import decision, registry
from traders.core.commands import CancelOrder, DecreaseOrder, PlaceOrder, RenewOrder, TakeOrder
from traders.core.decision import Decided, Rules, decide
from traders.core.diff import InFlight
from traders.core.exposure import Unproven
from traders.core.limits import Latch, RiskState
from traders.core.orders import RestingQuote
from traders.core.pipeline import Choice, Chosen, StrategyChoices, Tolerances
from traders.core.registry import Kind, Strategy
from traders.core.types import Flattening, MarketView, Quote, Quotes, Take, TraderState
from traders.core.why import Why

registry.load()  # rules are made before any test
YES, NO = Side.YES, Side.NO
CENTS_OF_THREE = PriceGrid([PriceRange(0, DOLLAR_CC, 300)])
QUIET = RiskState(
    position_cx=0,
    cost_ud=0,
    outside_cx=0,
    created_in_minute=0,
    result_ud=0,
    high_water_ud=0,
    allotments=(),
    cash_ud=10**12,
)


class NoParams(msgspec.Struct, frozen=True):
    """Nothing to choose."""


def rules(wanted: Quotes, **tolerances: int) -> Rules:
    """Return rules by which the same is wanted whatever the market looks like, and no guard holds it."""
    placement = Strategy(Kind.PLACEMENT, "stubborn", NoParams, lambda _view, _state, _params: wanted)
    strategies = StrategyChoices(Choice("join_best"), guards={"need_both_sides": False, "max_spread_cc": 0}).parse()
    return Rules(
        msgspec.structs.replace(
            strategies, placement=Chosen(placement, NoParams()), tolerances=Tolerances(**tolerances)
        )
    )


BID, ASK = Quote(YES, 4_000, 1_000), Quote(NO, 5_800, 1_000)
STUBBORN = rules(Quotes((BID, ASK)))


class Situation(msgspec.Struct, frozen=True):
    """All that a decision is made of, but for its rules."""

    view: MarketView
    state: TraderState
    risk: RiskState
    in_flight: InFlight | None = None
    flat_by: str = ""

    def decided(self, rules: Rules = STUBBORN, before: Decided | None = None) -> Decided:
        return decide(
            self.view, self.state, rules, self.risk, flat_by=self.flat_by, in_flight=self.in_flight, before=before
        )


def a_situation(
    *,
    resting: tuple[RestingQuote, ...] = (),
    yes_cc: int = 4_000,
    no_cc: int = 5_800,
    grid: PriceGrid = CENT_GRID,
    after_us: int = 0,
    in_flight: InFlight | None = None,
    flat_by: str = "",
    **risk: Any,
) -> Situation:
    book = a_book({yes_cc: 500} if yes_cc else {}, {no_cc: 700} if no_cc else {})
    known = msgspec.structs.replace(QUIET, resting=resting, **risk)
    view = MarketView("T", NOW_US + after_us, book, grid, NOW_US + 10**12)
    state = TraderState(known.position_cx or 0, cost_ud=known.cost_ud or 0, resting=resting)
    return Situation(view, state, known, in_flight, flat_by)


def rests(side: Side, price_cc: int, remaining_cx: int = 1_000, ahead_cx: int | None = 0) -> RestingQuote:
    return RestingQuote(f"{side.name}-{price_cc}", side, price_cc, remaining_cx, ahead_cx)


BOTH = (rests(YES, 4_000), rests(NO, 5_800))

# What may be another way, one thing at a time.
CHANGES: list[dict[str, Any]] = [
    {},
    {"resting": (rests(YES, 4_000, ahead_cx=7), rests(NO, 5_800, ahead_cx=None))},
    {"resting": (rests(YES, 4_000, 950), rests(NO, 5_800))},
    {"resting": (rests(YES, 4_000, 600), rests(NO, 5_800))},
    {"resting": (rests(YES, 3_900), rests(NO, 5_800))},
    {"resting": BOTH[:1]},
    {"yes_cc": 3_500},
    {"no_cc": 0},
    {"grid": CENTS_OF_THREE},
    {"after_us": 40_000_000},
    {"in_flight": InFlight(creates=frozenset({YES}))},
    {"flat_by": "somebody"},
    {"position_cx": 9_500},
    {"position_cx": None},
    {"cost_ud": 99_000_000},
    {"created_in_minute": None},
    {"result_ud": -30_000_000},
    {"high_water_ud": 30_000_000},
    {"cash_ud": 1},
    {"latch": Latch("DAILY_LOSS", NOW_US - 1)},
    {"allotments": None},
    {"unknown": (Unproven(YES, 4_200, 9_500),)},
]
changes = st.lists(st.sampled_from(CHANGES), max_size=2).map(
    lambda some: {k: v for one in some for k, v in one.items()}
)
wishes = st.sampled_from(
    [
        Quotes((BID, ASK)),
        Quotes((BID, ASK)),
        Quotes((BID,)),
        Quotes(()),
        Quotes((BID, ASK), flattening=Flattening("exit", 1)),
        Quotes((), take=Take(YES, 4_200, 10)),
    ]
)


@settings(max_examples=200)
@given(st.lists(st.tuples(wishes, changes), min_size=2, max_size=4), st.sampled_from([0, 0, 60]))
def test_no_decision_depends_on_the_one_before(told: list[tuple[Quotes, dict[str, Any]]], lifetime_s: int) -> None:
    before = None
    for wanted, change in told:
        situation, by = a_situation(**{"resting": BOTH, **change}), rules(wanted, lifetime_s=lifetime_s)
        before, alone = situation.decided(by, before), situation.decided(by)
        assert (before.wanted, before.denied, before.commands) == (alone.wanted, alone.denied, alone.commands)


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changes_after_a_calm_decision_is_seen(change: dict[str, Any]) -> None:
    before = a_situation(resting=BOTH).decided()
    assert before.calm is not None
    situation = a_situation(**{"resting": BOTH, **change})
    after, alone = situation.decided(before=before), situation.decided()
    assert (after.wanted, after.denied, after.commands) == (alone.wanted, alone.denied, alone.commands)


LARGE = (rests(YES, 4_000, 1_050), rests(NO, 5_800))


@pytest.mark.parametrize(
    ("calm", "resting", "then", "kinds"),
    [
        (Quotes(()), (), Quotes((), take=Take(YES, 4_200, 10)), [TakeOrder]),
        (Quotes((BID, ASK)), LARGE, Quotes((BID, ASK), flattening=Flattening("exit", 1)), [DecreaseOrder]),
        (Quotes((BID, ASK)), BOTH, Quotes((BID,)), [CancelOrder]),
    ],
)
def test_whatever_else_is_wanted_after_a_calm_decision_is_done(
    calm: Quotes, resting: tuple[RestingQuote, ...], then: Quotes, kinds: list[type]
) -> None:
    situation = a_situation(resting=resting)
    before = situation.decided(rules(calm))
    assert before.calm is not None
    assert [type(command) for command in situation.decided(rules(then), before).commands] == kinds


def test_what_waited_for_an_answer_is_sent_once_that_has_come() -> None:
    waiting = a_situation(in_flight=InFlight(creates=frozenset({YES, NO})))
    before = waiting.decided()
    assert before.calm is not None
    after = a_situation(in_flight=InFlight()).decided(before=before)
    assert [type(command) for command in after.commands] == [PlaceOrder, PlaceOrder]


def test_an_order_within_the_tolerance_goes_once_a_quote_has_to_qualify() -> None:
    situation = a_situation(resting=(rests(YES, 3_900), BOTH[1]))
    before = situation.decided(rules(Quotes((BID, ASK)), price_steps=1))
    assert before.calm is not None
    after = situation.decided(rules(Quotes((BID, ASK), must_qualify=True), price_steps=1), before)
    assert [type(command) for command in after.commands] == [PlaceOrder, CancelOrder]


def test_the_reasons_are_those_of_now() -> None:
    situation = a_situation(resting=BOTH)
    before = situation.decided(rules(Quotes((BID, ASK), (Why("once", "once"),))))
    assert before.calm is not None
    after = situation.decided(rules(Quotes((BID, ASK), (Why("now", "now"),))), before)
    assert [why.code for why in after.wanted.whys] == ["now"]


@pytest.mark.parametrize(
    "wanted",
    [
        Quotes((BID, ASK), None),  # type: ignore[arg-type]  # what a plug-in may do
        Quotes((BID, ASK), ("in words",)),  # type: ignore[arg-type]
        Quotes((Quote(0, 4_000, 100),)),  # type: ignore[arg-type]
        Quotes((BID,), take=Take(YES, 4_200, 0)),
    ],
)
def test_a_strategy_that_talks_nonsense_wants_nothing(wanted: Quotes) -> None:
    decided = a_situation().decided(rules(wanted))
    assert (decided.wanted.quotes, decided.wanted.take, decided.commands) == ((), None, ())
    assert [why.code for why in decided.wanted.whys] == ["strategy_failed"]


def test_reasons_that_can_be_read_once_are_there_for_everybody() -> None:
    whys: Any = iter([Why("once", "once")])
    assert a_situation().decided(rules(Quotes((BID, ASK), whys))).wanted.whys == (Why("once", "once"),)


def test_a_refusal_is_told_each_time() -> None:
    situation = a_situation(latch=Latch("DAILY_LOSS", NOW_US - 1))
    before = situation.decided()
    assert [denied.code for denied in situation.decided(before=before).denied] == ["LATCHED", "LATCHED"]


def test_a_refusal_that_stands_is_not_looked_for_again_and_told_beside_the_reasons_of_now() -> None:
    situation = a_situation(created_in_minute=60)
    before = situation.decided(rules(Quotes((BID, ASK), (Why("once", "once"),))))
    assert before.calm is not None
    after = situation.decided(rules(Quotes((BID, ASK), (Why("now", "now"),))), before)
    assert [why.code for why in after.wanted.whys] == ["now", "RATE_EXCEEDED", "RATE_EXCEEDED"]
    assert (after.denied, after.wanted.quotes) == (before.denied, ())


def test_a_latch_is_told_with_its_age_of_now() -> None:
    before = a_situation(latch=Latch("DAILY_LOSS", NOW_US - 1)).decided()
    after = a_situation(latch=Latch("DAILY_LOSS", NOW_US - 1), after_us=5).decided(before=before)
    assert [denied.figures["age_us"] for denied in after.denied] == [6, 6]


def test_what_rests_and_what_the_limits_count_may_differ() -> None:
    before = a_situation(resting=BOTH).decided()
    situation = a_situation(resting=BOTH)
    gone = msgspec.structs.replace(situation, state=TraderState())
    assert [type(command) for command in gone.decided(before=before).commands] == [PlaceOrder, PlaceOrder]


def until(orders: tuple[RestingQuote, ...], *expires_us: int | None) -> tuple[RestingQuote, ...]:
    ends = (None if one is None else NOW_US + one for one in expires_us)
    return tuple(msgspec.structs.replace(order, expires_us=end_us) for order, end_us in zip(orders, ends, strict=True))


# Moments that matter where orders live for 60 seconds, or for one; the clock may be set back.
MOMENTS_US = [
    at_us + by_us for at_us in (0, 500_000, 1_000_000, 30_000_000, 60_000_000, 90_000_000) for by_us in (-1, 0, 1)
]
moments = st.sampled_from(MOMENTS_US)
waits = st.sampled_from([None, None, InFlight(), InFlight(amends=frozenset({YES})), InFlight(renewals=frozenset({NO}))])


@settings(max_examples=300)
@given(
    st.sampled_from([0, 1, 60, 60]),
    st.tuples(st.none() | moments, moments),
    st.lists(st.tuples(moments, waits, changes), min_size=2, max_size=6),
)
def test_no_decision_on_orders_that_end_depends_on_the_one_before(
    lifetime_s: int,
    ends_us: tuple[int | None, int],
    told: list[tuple[int, InFlight | None, dict[str, Any]]],
) -> None:
    by, resting, before = rules(Quotes((BID, ASK)), lifetime_s=lifetime_s), until(BOTH, *ends_us), None
    for after_us, in_flight, change in told:
        situation = a_situation(**{"resting": resting, "in_flight": in_flight, **change, "after_us": after_us})
        before, alone = situation.decided(by, before), situation.decided(by)
        assert (before.wanted, before.denied, before.commands) == (alone.wanted, alone.denied, alone.commands)


@pytest.mark.parametrize(("second_s", "due_s"), [(80, 30), (45, 15)])
def test_orders_with_a_lifetime_are_looked_at_again_when_the_first_comes_due(
    second_s: int, due_s: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    by = rules(Quotes((BID, ASK)), lifetime_s=60)
    resting = until(BOTH, 60_000_000, second_s * 1_000_000)
    before = a_situation(resting=resting).decided(by)
    with monkeypatch.context() as patched:
        patched.setattr(decision, "checked", None)
        for after_us in (5, due_s * 1_000_000):
            before = a_situation(resting=resting, after_us=after_us).decided(by, before)
            assert before.commands == ()
    after = a_situation(resting=resting, after_us=due_s * 1_000_000 + 1).decided(by, before)
    assert [type(command) for command in after.commands] == [RenewOrder]


def test_where_all_orders_live_on_the_diff_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    by, resting = rules(Quotes((BID, ASK)), lifetime_s=60), until(BOTH, 60_000_000, 60_000_000)
    monkeypatch.setattr(decision, "diff", None)
    assert a_situation(resting=resting).decided(by).commands == ()


def test_limits_and_diff_do_not_look_twice_at_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    before = a_situation(resting=BOTH).decided()
    monkeypatch.setattr(decision, "checked", None)
    queued = tuple(msgspec.structs.replace(order, ahead_cx=3) for order in BOTH)
    after = a_situation(resting=queued, after_us=5).decided(before=before)
    assert (after.denied, after.commands) == ((), ())
