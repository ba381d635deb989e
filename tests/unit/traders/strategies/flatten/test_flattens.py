"""What holds for every flatten rule, alone and after any other, whatever the market and the position."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from markets.core.fees import FeeSchedule, FeeTerms
from markets.core.grid import CENT_GRID, TAPERED_DECI_CENT_GRID
from markets.core.units import DOLLAR_CC, Side
from tests.fixtures.views import NOW_US, a_view
from traders.core.registry import Kind, find
from traders.core.types import Flattening, MarketView, Quote, Quotes, TraderState
from traders.core.why import said
from traders.strategies.flatten import before_close, cross_at_limit, passive_exit, stop_loss

MINUTE_US = 60_000_000
counts = st.integers(1, 2_000)
steps = st.integers(0, 5)
seconds = st.integers(0, 120)

PARAMS: dict[str, st.SearchStrategy[Any]] = {
    "passive_exit": st.builds(passive_exit.Params, from_cx=counts, improve_steps=steps, count_most_cx=counts),
    "cross_at_limit": st.builds(cross_at_limit.Params, from_cx=counts, after_s=seconds, steps_most=steps),
    "before_close": st.tuples(seconds, seconds, seconds, steps).map(
        lambda drawn: before_close.Params(
            **dict(zip(("deadline_s", "cross_s", "lead_s"), sorted(drawn[:3]), strict=True)), steps_most=drawn[3]
        )
    ),
    "stop_loss": st.builds(stop_loss.Params, loss_ud=st.integers(1, 5_000_000), steps_most=steps),
}

ALONE = [(name,) for name in PARAMS]
IN_TWOS = [(one, two) for one in PARAMS for two in PARAMS]
levels = st.dictionaries(st.integers(40, 58).map(lambda cents: cents * 100), counts, max_size=6)


@st.composite
def views(draw: st.DrawFn) -> MarketView:
    fees = st.none() | st.just(FeeTerms(FeeSchedule("quadratic", 10_000)))
    return a_view(
        draw(levels),
        draw(levels),
        grid=draw(st.sampled_from([CENT_GRID, TAPERED_DECI_CENT_GRID])),
        fees=draw(fees),
        close_in_us=draw(st.integers(0, 3 * MINUTE_US)),
    )


@st.composite
def states(draw: st.DrawFn) -> TraderState:
    position_cx = draw(st.integers(-2_500, 2_500))
    times = st.integers(NOW_US - 3 * MINUTE_US, NOW_US)
    by = st.sampled_from([*PARAMS, "a_plugin"])
    return TraderState(
        position_cx=position_cx,
        position_since_us=draw(st.none() | times) if position_cx else None,
        cost_ud=abs(position_cx) * draw(st.integers(1, 9_999)),
        flattening=draw(st.none() | st.builds(Flattening, by, times)),
    )


@st.composite
def wishes(draw: st.DrawFn) -> Quotes:
    prices = st.integers(36, 58).map(lambda cents: cents * 100)
    sides = sorted(draw(st.sets(st.sampled_from(list(Side)))))
    return Quotes(tuple(Quote(side, draw(prices), draw(counts)) for side in sides))


class Chained(NamedTuple):
    """A chain of rules in one market: what it was given, what it left, and the parameters by rule."""

    view: MarketView
    state: TraderState
    wanted: Quotes
    left: Quotes
    params: tuple[Any, ...]


def chain(data: st.DataObject, names: tuple[str, ...]) -> Chained:
    view, state, wanted = data.draw(views()), data.draw(states()), data.draw(wishes())
    params = tuple(data.draw(PARAMS[name]) for name in names)
    return Chained(view, state, wanted, run(names, params, view, state, wanted), params)


def run(
    names: tuple[str, ...], params: tuple[Any, ...], view: MarketView, state: TraderState, wanted: Quotes
) -> Quotes:
    for name, chosen in zip(names, params, strict=True):
        wanted = find(Kind.FLATTEN, name).function(view, state, wanted, chosen)
    return wanted


every_chain = pytest.mark.parametrize("names", [*ALONE, *IN_TWOS], ids="+".join)
any_chain = st.sampled_from([*ALONE, *IN_TWOS])


@every_chain
@given(st.data())
@settings(max_examples=25)
def test_nothing_passes_through_zero_or_exceeds_the_position_or_crosses_unasked(
    names: tuple[str, ...], data: st.DataObject
) -> None:
    view, state, wanted, left, _ = chain(data, names)
    if left.flattening is None:
        assert left == wanted
        return
    position_cx = state.position_cx
    assert position_cx
    reducing = Side.NO if position_cx > 0 else Side.YES
    assert all(quote.side is reducing for quote in left.quotes), "a quote that grows the position"
    assert len(left.quotes) <= 1
    resting_cx = sum(quote.count_cx for quote in left.quotes)
    taken_cx = left.take.count_cx if left.take is not None else 0
    assert resting_cx + taken_cx <= abs(position_cx)
    if left.take is not None:
        opposite_cc = view.best_cc(reducing.other)
        assert opposite_cc
        assert (left.take.side, taken_cx > 0) == (reducing, True)
        assert view.grid.contains(reducing, left.take.limit_cc)
        assert left.take.limit_cc + opposite_cc >= DOLLAR_CC
    for quote in left.quotes:
        assert quote.count_cx > 0
        assert view.grid.contains(quote.side, quote.price_cc)
        unchanged = wanted.on(quote.side)
        is_new = unchanged is None or quote.price_cc != unchanged.price_cc
        assert not is_new or quote.price_cc + view.best_cc(quote.side.other) < DOLLAR_CC, "an exit that is not passive"


@given(any_chain, st.data())
def test_it_says_why_and_says_the_same_of_the_same(names: tuple[str, ...], data: st.DataObject) -> None:
    view, state, wanted, left, params = chain(data, names)
    assert left == run(names, params, view, state, wanted)
    assert bool(said(left.whys)) == (left.flattening is not None)


@given(any_chain, st.data())
def test_it_goes_on_since_it_began(names: tuple[str, ...], data: st.DataObject) -> None:
    _, state, _, left, _ = chain(data, names)
    if left.flattening is not None:
        began_us = NOW_US if state.flattening is None else state.flattening.since_us
        assert left.flattening.since_us == began_us
        assert left.flattening.by in names


@given(st.sampled_from(IN_TWOS), st.data())
@settings(max_examples=150)
def test_a_second_rule_never_makes_less_of_the_firsts_take(names: tuple[str, ...], data: st.DataObject) -> None:
    view, state, wanted, left, params = chain(data, names)
    alone = [run((name,), (chosen,), view, state, wanted).take for name, chosen in zip(names, params, strict=True)]
    limits_cc = [taken.limit_cc for taken in alone if taken is not None]
    assert (None if left.take is None else left.take.limit_cc) == max(limits_cc, default=None)


@given(st.sampled_from([name for name in PARAMS if name != "stop_loss"]), st.data())
def test_a_stop_loss_leads_until_flat_wherever_it_stands(other: str, data: st.DataObject) -> None:
    view, state, wanted = data.draw(views()), data.draw(states()), data.draw(wishes())
    assume(state.position_cx)
    began = Flattening("stop_loss", NOW_US - MINUTE_US)
    state = msgspec.structs.replace(state, flattening=began)
    for names in (("stop_loss", other), (other, "stop_loss")):
        params = tuple(data.draw(PARAMS[name]) for name in names)
        assert run(names, params, view, state, wanted).flattening == began


@given(st.sampled_from(["passive_exit", "cross_at_limit", "stop_loss"]), st.data())
def test_what_has_begun_goes_on_while_nothing_changes(name: str, data: st.DataObject) -> None:
    view, state, wanted, first, params = chain(data, (name,))
    if first.flattening is None:
        return
    after = msgspec.structs.replace(state, flattening=first.flattening)
    again = run((name,), params, view, after, wanted)
    assert (again.take, again.flattening, again.quotes) == (first.take, first.flattening, first.quotes)
