"""What holds for every buffering that keeps a distance, whatever the market."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from markets.core.grid import CENT_GRID, TAPERED_DECI_CENT_GRID
from markets.core.units import Side
from tests.fixtures.views import NOW_US, a_program, a_view
from traders.core.buffers import qualifying_floor_cc
from traders.core.history import History, Print
from traders.core.orders import RestingQuote
from traders.core.registry import Kind, Strategy, find
from traders.core.types import MarketView, Quote, Quotes, TraderState
from traders.core.why import said
from traders.strategies.buffering import adaptive, min_ahead, percent

hysteresis = st.integers(0, 10_000)
steps_most = st.integers(0, 30)
counts = st.integers(1, 2_000)

PARAMS: dict[str, st.SearchStrategy[Any]] = {
    "min_ahead": st.builds(min_ahead.Params, ahead_cx=counts, hysteresis_bps=hysteresis, steps_most=steps_most),
    "percent": st.builds(
        percent.Params, min_bps=st.integers(0, 9_000), hysteresis_bps=hysteresis, steps_most=steps_most
    ),
    "adaptive": st.builds(
        adaptive.Params,
        min_s=st.integers(0, 300),
        window_s=st.integers(1, 300),
        floor_cx=counts,
        hysteresis_bps=hysteresis,
        steps_most=steps_most,
    ),
}


@st.composite
def histories(draw: st.DrawFn) -> History:
    history = History()
    for ago_us in sorted(draw(st.lists(st.integers(0, 300_000_000), max_size=5)), reverse=True):
        history.note_print(Print(NOW_US - ago_us, 4_500, draw(counts), draw(st.sampled_from(list(Side)))))
    return history


@st.composite
def views(draw: st.DrawFn) -> MarketView:
    """Draw a market with levels in a few cents under the touch, so that they and the quotes meet."""
    grid = draw(st.sampled_from([CENT_GRID, TAPERED_DECI_CENT_GRID]))
    levels = st.dictionaries(st.integers(37, 49).map(lambda cents: cents * 100), counts, max_size=8)
    programs = tuple(a_program(target_cx) for target_cx in draw(st.lists(st.integers(1, 6_000), max_size=2)))
    return a_view(draw(levels), draw(levels), grid=grid, history=draw(histories()), programs=programs)


@st.composite
def wishes(draw: st.DrawFn) -> Quotes:
    sides = sorted(draw(st.sets(st.sampled_from(list(Side)), min_size=1)))
    prices = st.integers(36, 49).map(lambda cents: cents * 100)
    return Quotes(tuple(Quote(side, draw(prices), draw(counts)) for side in sides), must_qualify=draw(st.booleans()))


@st.composite
def states(draw: st.DrawFn) -> TraderState:
    prices = st.integers(36, 49).map(lambda cents: cents * 100)
    ahead = st.none() | st.integers(0, 2_000)
    orders = (
        RestingQuote(side.name, side, draw(prices), draw(counts), draw(ahead))
        for side in sorted(draw(st.sets(st.sampled_from(list(Side)))))
    )
    return TraderState(resting=tuple(orders))


def after(view: MarketView, state: TraderState, quotes: Quotes) -> TraderState:
    """Return the state once the diff has its way: what is not kept, or is short, is placed behind its whole level."""
    orders = []
    for quote in quotes.quotes:
        old = next((one for one in state.resting_on(quote.side) if one.price_cc == quote.price_cc), None)
        kept_cx = 0 if old is None else min(old.remaining_cx, quote.count_cx)
        if old is not None:
            orders.append(msgspec.structs.replace(old, remaining_cx=kept_cx))
        if kept_cx < quote.count_cx:
            level_cx = view.book.size_cx(quote.side, quote.price_cc)
            orders.append(RestingQuote("new", quote.side, quote.price_cc, quote.count_cx - kept_cx, level_cx))
    return msgspec.structs.replace(state, resting=tuple(orders))


every_buffering = pytest.mark.parametrize("strategy", [find(Kind.BUFFERING, name) for name in PARAMS], ids=PARAMS)


@every_buffering
@given(st.data(), views(), states(), wishes())
@settings(max_examples=60)
def test_no_quote_comes_closer_or_grows_and_each_has_its_buffer_or_a_reason(
    strategy: Strategy, data: st.DataObject, view: MarketView, state: TraderState, wanted: Quotes
) -> None:
    params = data.draw(PARAMS[strategy.name])
    adjusted = strategy.function(view, state, wanted, params)
    assert adjusted == strategy.function(view, state, wanted, params)
    assert {quote.side for quote in adjusted.quotes} <= {quote.side for quote in wanted.quotes}
    assert said(adjusted.whys)
    for wish in wanted.quotes:
        why = next(one for one in adjusted.whys if one.side is wish.side)
        quote = adjusted.on(wish.side)
        if quote is None:
            assert why.code in {"buffer_missing", "buffer_requeues"}
            continue
        assert quote.count_cx == wish.count_cx
        assert quote.price_cc <= wish.price_cc
        assert view.grid.contains(quote.side, quote.price_cc)
        stands = after(view, state, adjusted).resting_on(wish.side)[0]
        buffer_cx = view.book.better_cx(wish.side, quote.price_cc) + min(
            stands.ahead_cx or 0, view.book.size_cx(wish.side, quote.price_cc)
        )
        assert why.figures["buffer_cx"] == buffer_cx
        needed_cx = why.figures["needed_cx"]
        if why.code == "buffered":
            assert buffer_cx >= needed_cx
        elif why.code == "buffer_kept":
            assert needed_cx * (10_000 - params.hysteresis_bps) <= buffer_cx * 10_000 < needed_cx * 10_000
        else:
            assert why.code == "buffer_short"
            assert why.figures["short_cx"] == needed_cx - buffer_cx > 0


@every_buffering
@given(st.data(), views(), states(), wishes())
@settings(max_examples=60)
def test_with_its_own_result_at_rest_it_changes_nothing(
    strategy: Strategy, data: st.DataObject, view: MarketView, state: TraderState, wanted: Quotes
) -> None:
    params = data.draw(PARAMS[strategy.name])
    first = strategy.function(view, state, wanted, params)
    if any(why.code == "buffer_requeues" for why in first.whys):  # it takes one more step, by its very meaning
        state = after(view, state, first)
        first = strategy.function(view, state, wanted, params)
        assert all(why.code != "buffer_requeues" for why in first.whys)
    assert strategy.function(view, after(view, state, first), wanted, params).quotes == first.quotes


@every_buffering
@given(st.data(), views(), states(), wishes())
@settings(max_examples=60)
def test_a_quote_that_must_qualify_is_not_moved_below_the_floor(
    strategy: Strategy, data: st.DataObject, view: MarketView, state: TraderState, wanted: Quotes
) -> None:
    wanted = msgspec.structs.replace(wanted, must_qualify=True)
    adjusted = strategy.function(view, state, wanted, data.draw(PARAMS[strategy.name]))
    for wish in wanted.quotes:
        floor_cc = qualifying_floor_cc(view, wish.side, wish)
        quote = adjusted.on(wish.side)
        if floor_cc is None:
            continue
        if quote is None:
            assert any(why.key == ("buffer_requeues", wish.side) for why in adjusted.whys)
        else:
            assert quote.price_cc >= min(floor_cc, wish.price_cc)
