"""What holds for every placement, whatever the market, the position and the parameters."""

from __future__ import annotations

import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from markets.core.grid import CENT_GRID, TAPERED_DECI_CENT_GRID
from markets.core.rewards import ProgramTerms
from markets.core.units import DOLLAR_CC, Side
from tests.fixtures.views import HOUR_US, NOW_US, a_view
from traders.core import registry
from traders.core.history import History
from traders.core.placing import Sizing
from traders.core.registry import Kind, Strategy
from traders.core.types import FairValue, MarketView, Quotes, TraderState
from traders.core.why import said, told

registry.load()
PLACEMENTS = registry.STRATEGIES[Kind.PLACEMENT]

# Near what a market of hundreds of contracts makes of them; beyond lies only more of the same.
SIZING: dict[str, st.SearchStrategy[int]] = {
    "bid_cx": st.integers(0, 100_000),
    "ask_cx": st.integers(0, 100_000),
    "max_position_cx": st.integers(0, 100_000),
    "skew_steps": st.integers(0, 30),
}


def bounded(params: type[msgspec.Struct]) -> st.SearchStrategy[dict[str, Any]]:
    """Draw some of the parameters that a strategy adds to the sizing, each within its bounds."""
    fields = msgspec.json.schema(params)["$defs"][params.__name__]["properties"]
    own = {
        name: st.integers(field["minimum"], field["maximum"]) | st.integers(field["minimum"], field["minimum"] + 10)
        for name, field in fields.items()
        if name not in Sizing.__struct_fields__
    }
    return st.fixed_dictionaries({}, optional=own)


@st.composite
def programs(draw: st.DrawFn) -> ProgramTerms:
    start_us = NOW_US - draw(st.sampled_from([0, HOUR_US]))
    is_known = draw(st.integers(0, 9)) > 0
    return ProgramTerms(
        program_id="lip",
        period_reward_cc=draw(st.integers(1, 10_000_000)),
        target_size_cx=draw(st.integers(1, 60_000)) if is_known else None,
        discount_bps=draw(st.integers(0, 10_000)),
        start_us=start_us,
        end_us=start_us + 2 * HOUR_US,
    )


@st.composite
def views(draw: st.DrawFn) -> MarketView:
    """Draw a market whose sides may be empty, far apart, locked or crossed."""
    grid = draw(st.sampled_from([CENT_GRID, TAPERED_DECI_CENT_GRID]))
    counts = st.integers(1, 60_000)
    yes, no = (draw(st.dictionaries(st.sampled_from(grid.prices_cc(side)), counts, max_size=5)) for side in Side)
    if draw(st.integers(0, 3)):  # mostly, as markets are
        no = {price_cc: count_cx for price_cc, count_cx in no.items() if price_cc + max(yes, default=0) < DOLLAR_CC}
    history = History()
    for ago_s in sorted(draw(st.lists(st.integers(0, 400), max_size=3)), reverse=True):
        history.note_touch(NOW_US - ago_s * 1_000_000, draw(st.integers(0, 9_999)), draw(st.integers(0, 9_999)))
    fair = draw(st.builds(FairValue, st.integers(-1, 10_001), st.just(NOW_US))) if draw(st.integers(0, 3)) else None
    running = tuple(draw(st.lists(programs(), min_size=draw(st.sampled_from([0, 1, 1])), max_size=2)))
    close_in_us = draw(st.sampled_from([-1, HOUR_US]))
    view = a_view(yes, no, grid=grid, history=history, programs=running, close_in_us=close_in_us)
    return msgspec.structs.replace(view, fair=fair)


def is_explained(wanted: Quotes, side: Side) -> bool:
    """Whether a quote, or its absence, has a reason of its own side; a quote also its figures."""
    quote, whys = wanted.on(side), [why for why in wanted.whys if why.side is side]
    return bool(whys) and (quote is None or whys[0].figures["count_cx"] == quote.count_cx)


def check(view: MarketView, state: TraderState, params: Any, wanted: Quotes) -> None:
    for quote in wanted.quotes:
        assert view.grid.contains(quote.side, quote.price_cc)
        assert quote.price_cc + view.best_cc(quote.side.other) < DOLLAR_CC
        assert 0 < quote.count_cx <= params.count_cx(quote.side)
        assert state.held_cx(quote.side) + quote.count_cx <= params.max_position_cx
    assert len({quote.side for quote in wanted.quotes}) == len(wanted.quotes)
    if len(wanted.quotes) > 1:
        assert sum(quote.price_cc for quote in wanted.quotes) < DOLLAR_CC
    assert wanted.take is None
    assert all(is_explained(wanted, side) for side in Side)
    assert said(wanted.whys)
    assert msgspec.json.encode(told(wanted.whys))


@pytest.mark.parametrize("strategy", PLACEMENTS.values(), ids=PLACEMENTS)
@given(st.data())
@settings(max_examples=100)
def test_what_it_wants_may_rest_and_is_explained(strategy: Strategy, data: st.DataObject) -> None:
    view = data.draw(views())
    state = TraderState(position_cx=data.draw(st.integers(-120_000, 120_000)))
    raw = data.draw(st.fixed_dictionaries({}, optional=SIZING)) | data.draw(bounded(strategy.params))
    params = strategy.parse(raw)
    wanted = strategy.function(view, state, params)
    check(view, state, params, wanted)
    assert strategy.function(view, state, params) == wanted


@pytest.mark.parametrize("strategy", PLACEMENTS.values(), ids=PLACEMENTS)
def test_with_its_defaults_it_quotes_both_sides_of_a_plain_market(strategy: Strategy) -> None:
    program = ProgramTerms(
        program_id="lip",
        period_reward_cc=1_000_000,
        target_size_cx=100_000,
        discount_bps=5_000,
        start_us=NOW_US,
        end_us=NOW_US + 16 * HOUR_US,
    )
    view = a_view({4_400: 50_000, 4_300: 90_000}, {5_200: 40_000, 5_100: 90_000}, programs=(program,))
    view = msgspec.structs.replace(view, fair=FairValue(4_600, NOW_US))
    wanted = strategy.function(view, TraderState(), strategy.parse({}))
    check(view, TraderState(), strategy.parse({}), wanted)
    assert [quote.side for quote in wanted.quotes] == [Side.YES, Side.NO]


@pytest.mark.parametrize("strategy", PLACEMENTS.values(), ids=PLACEMENTS)
def test_its_file_says_what_it_is_and_when_it_loses(strategy: Strategy) -> None:
    assert strategy.idea.endswith(".")
    text = sys.modules[strategy.function.__module__].__doc__ or ""
    assert text.startswith(strategy.idea)
    assert {"Earns", "Loses"} <= set(text.split())


@pytest.mark.parametrize("strategy", PLACEMENTS.values(), ids=PLACEMENTS)
def test_its_parameters_are_described_bounded_and_have_defaults(strategy: Strategy) -> None:
    fields = msgspec.json.schema(strategy.params)["$defs"][strategy.params.__name__]["properties"]
    for name, field in fields.items():
        assert {"minimum", "maximum", "default"} <= field.keys(), name
        assert name in Sizing.__struct_fields__ or f"{name}:" in (strategy.params.__doc__ or ""), name
    assert issubclass(strategy.params, Sizing)
    assert strategy.params.__struct_config__.frozen
    assert strategy.params.__struct_config__.forbid_unknown_fields
