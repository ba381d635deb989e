"""How a position is got out of, in the order of the work: what all flatten rules have in common.

    1  hold    nothing rests that would grow the position, nor more than would close it
    2  rest    1, and one passive quote on the side that reduces it
    3  take    1, and trade at once what the touch offers, at a price bounded by steps of the grid

Rules stand in a chain, and each sees what the one before it left. A later one may do more than an earlier one, never
less: of two takes the wider limit wins, of two resting exits the better price. While something is to be taken nothing
rests on the reducing side, so that both together cannot pass through zero.

Where a side is empty or the two cross there is no price to go by, and only step 1 is done.
Terms: market_making.md section 2, "Auto-flatten" and "Flatten cost".
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from markets.core.fees import FeeTerms, predicted_fee_ud
from markets.core.units import DOLLAR_CC, Side, yes_price_cc
from traders.core.placing import MOST_CX
from traders.core.types import Flattening, MarketView, Quote, Quotes, Take, TraderState
from traders.core.why import Figures, Why

STOP_LOSS = "stop_loss"  # the most urgent rule: once it leads it leads until flat
SECOND_US = 1_000_000
ASKED = "asked"  # who leads when a person wants out
ASKED_STEPS = 5  # of the grid beyond the touch: further out each take would be another price than the one seen

Size = Annotated[int, msgspec.Meta(ge=1, le=MOST_CX)]
TakeSteps = Annotated[int, msgspec.Meta(ge=0, le=100)]


def reducing_side(state: TraderState) -> Side:
    """Return the ladder on which a fill shrinks the position: a NO bid closes YES."""
    return Side.NO if state.position_cx > 0 else Side.YES


def untouched(quotes: Quotes) -> Quotes:
    """Return what a flat trader wants: the same, and nobody flattens."""
    return quotes if quotes.flattening is None else msgspec.structs.replace(quotes, flattening=None)


def flattened(view: MarketView, state: TraderState, by: str) -> Quotes:
    """Return what gets a trader flat that somebody wants flat: takes near the touch, and nothing else."""
    if not state.position_cx:
        return Quotes((), (Why("flat", "flat by {by}: resume to quote again", {"by": by}),))
    why = Why("flatten_asked", "{by} wants it flat", {"by": by})
    return take(view, state, Quotes(()), ASKED, why, steps_most=ASKED_STEPS)


# The steps


def hold(view: MarketView, state: TraderState, quotes: Quotes, by: str, why: Why) -> Quotes:
    """Let nothing grow the position, nor close more than it: step 1.

    Args:
        by: The rule. It leads where none before it does; a stop loss always.
        why: What triggered it.
    """
    side, held_cx = reducing_side(state), abs(state.position_cx)
    goes_on = quotes.flattening or state.flattening
    flattening = Flattening(
        by=by if quotes.flattening is None or by == STOP_LOSS else quotes.flattening.by,
        since_us=view.time_us if goes_on is None else goes_on.since_us,
    )
    taken = _bounded(quotes.take, side, held_cx)
    quotes = msgspec.structs.replace(quotes, flattening=flattening, take=taken).because(why)
    if quotes.on(side.other) is not None:
        figures = {"position_cx": state.position_cx}
        grows = Why("no_growth", "{side} dropped: it would grow the position {position_cx}", figures, side.other)
        quotes = quotes.with_quote(side.other, None, grows)
    return quotes.with_quote(side, None) if taken is not None else _capped(quotes, side, held_cx)


def rest(
    view: MarketView,
    state: TraderState,
    quotes: Quotes,
    by: str,
    why: Why,
    *,
    improve_steps: int = 0,
    count_most_cx: int = MOST_CX,
) -> Quotes:
    """Have an exit rest at the others' best price, or that many steps better while that is passive: step 2.

    A quote that would rest at a better price there keeps it, and one of an earlier rule its size.
    """
    side = reducing_side(state)
    earlier = quotes.on(side) if quotes.flattening is not None else None
    quotes = hold(view, state, quotes, by, why)
    if quotes.take is not None:
        return quotes  # more than this is under way
    if not has_price(view):
        return quotes.because(_no_price(side))
    already = quotes.on(side)
    wish_cc = _stepped_cc(view, side, view.best_cc(side), improve_steps)
    price_cc = view.passive_cc(side, max(wish_cc, already.price_cc if already else 0))
    if price_cc is None:
        return quotes.because(Why("off_grid", "no exit: no price of the grid is low enough to rest", {}, side))
    most_cx = max(count_most_cx, earlier.count_cx if earlier else 0)
    exit_quote = Quote(side, price_cc, min(abs(state.position_cx), most_cx))
    figures = {
        "yes_price_cc": yes_price_cc(side, price_cc),
        "count_cx": exit_quote.count_cx,
        **_position_figures(view, state),
    }
    rests = Why("exit_rests", "exit rests as {side} {yes_price_cc} × {count_cx}", figures, side)
    return quotes.with_quote(side, exit_quote, rests)


def take(view: MarketView, state: TraderState, quotes: Quotes, by: str, why: Why, *, steps_most: int) -> Quotes:
    """Trade the whole position away at once, up to that many steps beyond the touch: step 3."""
    side, held_cx = reducing_side(state), abs(state.position_cx)
    quotes = hold(view, state, quotes, by, why)
    limit_cc = take_limit_cc(view, side, steps_most)
    if limit_cc is None:
        return quotes.because(Why("not_flattenable", "not flattenable: no price to trade at", {}, side))
    if not has_price(view):
        return quotes.because(_no_price(side))
    if quotes.take is not None and quotes.take.limit_cc >= limit_cc:
        return quotes
    figures = {
        "yes_limit_cc": yes_price_cc(side, limit_cc),
        "count_cx": held_cx,
        **_position_figures(view, state),
    }
    text = "takes {count_cx} as {side} at {yes_limit_cc} or better; all of it costs {flatten_cost_ud}"
    quotes = quotes.with_quote(side, None, Why("takes", text, figures, side))
    return msgspec.structs.replace(quotes, take=Take(side, limit_cc, held_cx), flattening=_led_by(by, quotes))


def _led_by(by: str, quotes: Quotes) -> Flattening | None:
    """Return who flattens once `by` takes: whoever does most leads, but for a stop loss."""
    now = quotes.flattening
    return now if now is None or now.by == STOP_LOSS else Flattening(by, now.since_us)


def _bounded(wanted: Take | None, side: Side, held_cx: int) -> Take | None:
    """Return a take that an earlier rule left, if it reduces the position, and no larger than it."""
    if wanted is None or wanted.side is not side:
        return None
    return msgspec.structs.replace(wanted, count_cx=min(wanted.count_cx, held_cx))


def _capped(quotes: Quotes, side: Side, held_cx: int) -> Quotes:
    quote = quotes.on(side)
    if quote is None or quote.count_cx <= held_cx:
        return quotes
    figures = {"count_cx": held_cx, "wished_cx": quote.count_cx}
    why = Why("capped", "{side} cut from {wished_cx} to the position's {count_cx}", figures, side)
    return quotes.with_quote(side, msgspec.structs.replace(quote, count_cx=held_cx), why)


def _no_price(side: Side) -> Why:
    return Why("no_price", "no exit: a side is empty or the book is crossed", {}, side)


# Prices


def has_price(view: MarketView) -> bool:
    """Return whether both sides show a price, and they do not cross."""
    return all(view.book.best_cc) and not view.book.is_crossed


def take_limit_cc(view: MarketView, side: Side, steps_most: int) -> int | None:
    """Return the price on `side`'s own ladder that trades with the opposite best, made worse by that many steps.

    It ends at the grid's last price. None where nobody stands opposite, or no price of the grid meets them.
    """
    opposite_cc = view.best_cc(side.other)
    if not opposite_cc:
        return None
    touch_cc = DOLLAR_CC - opposite_cc
    limit_cc = _stepped_cc(view, side, touch_cc, steps_most)
    return limit_cc if limit_cc >= touch_cc else None


def _stepped_cc(view: MarketView, side: Side, price_cc: int, steps: int) -> int:
    """Return the price that many steps of the grid above one, or the last there is; 0 where there is none."""
    prices = view.grid.prices_cc(side)
    at = view.grid.rank(side, price_cc) - 1 + steps
    return prices[min(at, len(prices) - 1)] if at >= 0 else 0


# What it costs


def proceeds_at_touch_ud(view: MarketView, state: TraderState) -> int | None:
    """Return what the position would bring at the opposite touch, before fees; None without a price."""
    if not has_price(view):
        return None
    return abs(state.position_cx) * view.best_cc(reducing_side(state).other)


class FlattenCost(msgspec.Struct, frozen=True):
    """What it costs to trade a position away against the visible book, in micro-dollars; None is unknown.

    Attributes:
        spread_ud: Position × (mid − price obtained); None when the depth is short.
        fee_ud: The taker's fee, as predicted; None when the depth is short or the fees are unknown.
    """

    spread_ud: int | None
    fee_ud: int | None

    @property
    def total_ud(self) -> int | None:
        return None if self.spread_ud is None or self.fee_ud is None else self.spread_ud + self.fee_ud


def flatten_cost(view: MarketView, state: TraderState) -> FlattenCost:
    """Return what it would cost to be flat at once."""
    side, held_cx = reducing_side(state), abs(state.position_cx)
    matches = _matches(view, side.other, held_cx)
    if matches is None or not has_price(view):
        return FlattenCost(None, None)
    # What we hold is bid for on the opposite ladder; its mid, twice, to keep it whole.
    twice_mid_cc = view.best_cc(side.other) + DOLLAR_CC - view.best_cc(side)
    twice_obtained_ud = 2 * sum(price_cc * count_cx for price_cc, count_cx in matches)
    spread_ud = -((twice_obtained_ud - held_cx * twice_mid_cc) // 2)
    return FlattenCost(spread_ud, _fee_ud(view.fees, matches, view.time_us))


def _matches(view: MarketView, side: Side, count_cx: int) -> list[tuple[int, int]] | None:
    """Return the levels of `side`, as (price_cc, count_cx), that so many contracts use up; None when it is too thin."""
    matches: list[tuple[int, int]] = []
    for price_cc, shown_cx in sorted(view.book.levels[side].items(), reverse=True):
        if not count_cx:
            break
        matches.append((price_cc, min(shown_cx, count_cx)))
        count_cx -= matches[-1][1]
    return None if count_cx else matches


def _fee_ud(fees: FeeTerms | None, matches: list[tuple[int, int]], at_us: int) -> int | None:
    total_ud = 0
    for price_cc, count_cx in matches:
        if fees is None:
            return None
        fee_ud = predicted_fee_ud(fees, is_taker=True, price_cc=DOLLAR_CC - price_cc, count_cx=count_cx, at_us=at_us)
        if fee_ud is None:
            return None
        total_ud += fee_ud
    return total_ud


def _position_figures(view: MarketView, state: TraderState) -> Figures:
    cost = flatten_cost(view, state)
    return {"position_cx": state.position_cx, "flatten_cost_ud": cost.total_ud, "fee_ud": cost.fee_ud}
