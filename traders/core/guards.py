"""Guards: when nobody should quote, whatever the placement.

    market      not trading, about to close, in maintenance, without a running program, about to hear news
    book        crossed or locked, one side empty, spread too wide
    flow        takers keep meeting one side, sweep through levels, or have moved the price

A guard takes quotes away, on one side or both, and says why. It stands between placement and buffering; flatten rules
come later, so no guard hinders getting out of a position.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from markets.core.rewards import LIQUIDITY
from markets.core.units import DOLLAR_CC
from traders.core.maintenance import maintenance_left_us
from traders.core.placing import Count
from traders.core.types import MarketView, Quotes, TraderState
from traders.core.unrest import flows, is_calm, last_jump, last_sweep, note_calm
from traders.core.why import Why

SECOND_US = 1_000_000
TRADING = ("", "active", "open")  # unknown is left to the book: without trading it does not stay valid

Price = Annotated[int, msgspec.Meta(ge=0, le=DOLLAR_CC)]
Levels = Annotated[int, msgspec.Meta(ge=0, le=1_000)]
# Together they look no further back than history goes.
Span = Annotated[int, msgspec.Meta(ge=1, le=60)]
Hold = Annotated[int, msgspec.Meta(ge=0, le=240)]
Hours = Annotated[int, msgspec.Meta(ge=0, le=86_400)]


class Guards(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, cache_hash=True):
    """Parameters of the guards.

    Attributes:
        need_both_sides: No quote while the others show only one side, or none.
        max_spread_cc: No quote while the others' bid and ask are further apart; 0 is off.
        flow_s: Seconds over which takers' contracts against each side are counted.
        flow_cx: No quote on a side that takers met with so many contracts more than the other; 0 is off.
        sweep_ms: Prints so close together are one sweep; 0 takes those of the same time stamp alone.
        sweep_cx: No quote after one that took so many contracts of a side; 0 is off.
        sweep_levels: No quote after one that took so many price levels; 0 is off.
        jump_s: Seconds in which the YES mid may move less than the next.
        jump_cc: No quote after it moved so far; 0 is off.
        hold_s: How long flow, sweep and jump hold after they were last true.
        lead_s: No quote from so long before a moment at which news is due,
        lag_s: to so long after it; both 0 is off.
        weekly_maintenance: No quote during the venue's weekly maintenance,
        before_maintenance_s: and so long before it.
        last_quote_s: No quote that long before the market closes: afterwards nothing can be canceled.
        programs_only: No quote but while a liquidity program runs,
        program_end_s: and none so long before the last one ends, unless another follows without a gap.
    """

    need_both_sides: bool = True
    max_spread_cc: Price = 3_000
    flow_s: Span = 10
    flow_cx: Count = 100_000
    sweep_ms: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 5
    sweep_cx: Count = 100_000
    sweep_levels: Levels = 4
    jump_s: Span = 5
    jump_cc: Price = 500
    hold_s: Hold = 30
    lead_s: Hours = 60
    lag_s: Hours = 60
    weekly_maintenance: bool = True
    before_maintenance_s: Hours = 120
    last_quote_s: Hours = 5
    programs_only: bool = False
    program_end_s: Hours = 5


def guarded(view: MarketView, state: TraderState, quotes: Quotes, guards: Guards) -> Quotes:
    """Return the wishes without the quotes that a guard forbids, with a reason for each guard that holds one."""
    del state
    if not quotes.quotes:
        return quotes
    found: list[Why] = []  # what guards say, in their order; those that have nothing to look at are not asked
    if view.status not in TRADING:
        found.append(Why("guard_status", "held: the market is {status}", {"status": view.status}))
    left_us = view.close_time_us - view.time_us
    if left_us <= guards.last_quote_s * SECOND_US:
        found.append(Why("guard_close", "held: the market closes in {left_us}", {"left_us": left_us}))
    if guards.weekly_maintenance:
        over_us = maintenance_left_us(view.time_us, guards.before_maintenance_s * SECOND_US)
        if over_us is not None:
            text = "held: weekly maintenance, over in {left_us}"
            found.append(Why("guard_maintenance", text, {"left_us": over_us}))
    if guards.programs_only:
        found += _programs(view, guards)
    if view.moments:
        found += _moments(view, guards)
    found += _book(view, guards)
    if not is_calm(view.history, guards, view.time_us):
        found += _unrest(view, guards)
    return _without_held(quotes, found) if found else quotes


def _without_held(quotes: Quotes, found: list[Why]) -> Quotes:
    whys = [why for why in found if why.side is None or quotes.on(why.side) is not None]
    if not whys:
        return quotes
    held = {why.side for why in whys}
    kept = () if None in held else tuple([quote for quote in quotes.quotes if quote.side not in held])
    return msgspec.structs.replace(quotes, quotes=kept, whys=(*quotes.whys, *whys))


def _programs(view: MarketView, guards: Guards) -> tuple[Why, ...]:
    end_us = _programs_end_us(view)
    if end_us is None:
        return (Why("guard_programs", "held: no liquidity program runs"),)
    left_us = end_us - view.time_us
    if left_us > guards.program_end_s * SECOND_US:
        return ()
    return (Why("guard_programs", "held: the last liquidity program ends in {left_us}", {"left_us": left_us}),)


def _programs_end_us(view: MarketView) -> int | None:
    """Return when there will be no liquidity program for the first time; None when none runs."""
    end_us = view.time_us
    for program in sorted(view.programs, key=lambda one: one.start_us):
        if program.incentive_type == LIQUIDITY and program.start_us <= end_us:
            end_us = max(end_us, program.end_us)
    return end_us if end_us > view.time_us else None


def _moments(view: MarketView, guards: Guards) -> tuple[Why, ...]:
    if not (guards.lead_s or guards.lag_s):
        return ()
    least_us = view.time_us - guards.lag_s * SECOND_US
    most_us = view.time_us + guards.lead_s * SECOND_US
    near = [moment for moment in view.moments if least_us <= moment.time_us <= most_us]
    if not near:
        return ()
    last = max(near, key=lambda moment: moment.time_us)
    figures = {"moment": last.name, "left_us": last.time_us + guards.lag_s * SECOND_US - view.time_us}
    return (Why("guard_moment", "held: {moment}, over in {left_us}", figures),)


def _book(view: MarketView, guards: Guards) -> tuple[Why, ...]:
    yes_cc, no_cc = view.book.best_cc
    if not yes_cc or not no_cc:
        return _one_sided(yes_cc, no_cc) if guards.need_both_sides else ()
    spread_cc = DOLLAR_CC - yes_cc - no_cc
    if spread_cc <= 0:
        figures = {"yes_bid_cc": yes_cc, "yes_ask_cc": DOLLAR_CC - no_cc}
        return (Why("guard_crossed", "held: bid {yes_bid_cc} and ask {yes_ask_cc} cross or lock", figures),)
    if not guards.max_spread_cc or spread_cc <= guards.max_spread_cc:
        return ()
    figures = {"spread_cc": spread_cc, "max_spread_cc": guards.max_spread_cc}
    return (Why("guard_spread", "held: spread {spread_cc}, wider than {max_spread_cc}", figures),)


def _one_sided(yes_cc: int, no_cc: int) -> tuple[Why, ...]:
    missing = "bid or ask" if not yes_cc and not no_cc else "ask" if yes_cc else "bid"
    return (Why("guard_empty_side", "held: nobody shows a {missing}", {"missing": missing}),)


def _unrest(view: MarketView, guards: Guards) -> list[Why]:
    found: list[Why] = []
    if view.history.prints:
        found += _flow(view, guards)
        found += _sweep(view, guards)
    if guards.jump_cc:
        found += _jump(view, guards)
    if not found:
        note_calm(view.history, guards, view.time_us)
    return found


def _flow(view: MarketView, guards: Guards) -> tuple[Why, ...]:
    if not guards.flow_cx:
        return ()
    found = flows(
        view.history,
        view.time_us,
        span_us=guards.flow_s * SECOND_US,
        least_cx=guards.flow_cx,
        hold_us=guards.hold_s * SECOND_US,
    )
    if not found:
        return ()
    return tuple(
        [
            Why(
                "guard_flow",
                "{side} held: takers met it with {net_cx} net within {flow_s}, for {left_us} at least",
                {"net_cx": flow.net_cx, "flow_s": guards.flow_s, "left_us": flow.until_us - view.time_us},
                flow.side,
            )
            for flow in found
        ]
    )


def _sweep(view: MarketView, guards: Guards) -> tuple[Why, ...]:
    if not (guards.sweep_cx or guards.sweep_levels):
        return ()
    sweep = last_sweep(
        view.history,
        view.time_us,
        within_us=guards.sweep_ms * 1_000,
        least_cx=guards.sweep_cx,
        least_levels=guards.sweep_levels,
        hold_us=guards.hold_s * SECOND_US,
    )
    if sweep is None:
        return ()
    figures = {
        "swept": sweep.side.book_side,
        "count_cx": sweep.count_cx,
        "levels": sweep.levels,
        "left_us": sweep.until_us - view.time_us,
    }
    text = "held: {count_cx} at {levels} prices swept from the {swept}, over in {left_us}"
    return (Why("guard_sweep", text, figures),)


def _jump(view: MarketView, guards: Guards) -> tuple[Why, ...]:
    jump = last_jump(
        view.history,
        view.time_us,
        span_us=guards.jump_s * SECOND_US,
        least_cc=guards.jump_cc,
        hold_us=guards.hold_s * SECOND_US,
    )
    if jump is None:
        return ()
    figures = {"moved_cc": jump.moved_cc, "jump_s": guards.jump_s, "left_us": jump.until_us - view.time_us}
    return (Why("guard_jump", "held: the mid moved {moved_cc} within {jump_s}, over in {left_us}", figures),)
