"""Quote around a value from outside: rest a chosen edge away from it, whatever the book thinks.

Earns when that value is nearer to the truth than the touch is. Loses when it is wrong or late: then only the side that
is wrong gets filled, and goes on being filled.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from markets.core.units import DOLLAR_CC, Side, yes_price_cc
from traders.core.placing import Sizing, Steps, Wish, place
from traders.core.registry import placement
from traders.core.steps import stepped_cc
from traders.core.types import FairValue, MarketView, Quotes, TraderState

SECOND_US = 1_000_000
AHEAD_MOST_US = SECOND_US  # clocks differ; a value from further ahead is another clock's mistake

Edge = Annotated[int, msgspec.Meta(ge=0, le=DOLLAR_CC)]


class Params(Sizing, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far from the value, and how old it may be. A skew moves the quotes from where the edges put them.

    Attributes:
        bid_edge_cc: Centi-cents ($0.0001) that the bid stays below the value, at least.
        ask_edge_cc: Centi-cents that the ask stays above it, at least.
        max_age_s: Seconds after which a value is not believed any more.
        improve_most_steps: Steps of the grid by which a quote may stand before the others' best price: the edge may
            allow more, but nobody asks for it.
    """

    bid_edge_cc: Edge = 200
    ask_edge_cc: Edge = 200
    max_age_s: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 60
    improve_most_steps: Steps = 1


@placement("fair_value", Params)
def quotes(view: MarketView, state: TraderState, params: Params) -> Quotes:
    """Return one quote a side at its edge from the value, or none when there is no value to go by."""
    if view.fair is None:
        bid = ask = Wish(None, "no_fair_value", "{side} held: no value from outside")
    elif (doubt := _doubt(view.fair, view.time_us, params.max_age_s)) is not None:
        bid = ask = doubt
    else:
        bid, ask = (_wish(view, view.fair, side, params) for side in Side)
    return place(view, state, params, bid, ask)


def _doubt(fair: FairValue, time_us: int, max_age_s: int) -> Wish | None:
    """Return why the value is not believed; None when it is."""
    age_us = time_us - fair.time_us
    figures = {"fair_cc": fair.yes_price_cc, "age_us": age_us, "max_age_s": max_age_s, "source": fair.source}
    if not 0 <= fair.yes_price_cc <= DOLLAR_CC:
        return Wish(None, "fair_no_price", "{side} held: the value {fair_cc} is no price", figures)
    if age_us > max_age_s * SECOND_US:
        return Wish(None, "fair_too_old", "{side} held: the value {fair_cc} is {age_us} old, over {max_age_s}", figures)
    if age_us < -AHEAD_MOST_US:
        figures |= {"ahead_us": -age_us}
        return Wish(None, "fair_from_future", "{side} held: the value {fair_cc} is {ahead_us} ahead of now", figures)
    return None


def _wish(view: MarketView, fair: FairValue, side: Side, params: Params) -> Wish:
    edge_cc = params.bid_edge_cc if side is Side.YES else params.ask_edge_cc
    price_cc = yes_price_cc(side, fair.yes_price_cc) - edge_cc
    figures = {
        "fair_cc": fair.yes_price_cc,
        "edge_cc": edge_cc,
        "age_us": view.time_us - fair.time_us,
        "source": fair.source,
    }
    best_cc = view.best_cc(side)
    most_cc = stepped_cc(view.grid, side, best_cc, params.improve_most_steps) if best_cc else None
    if most_cc is not None and most_cc < price_cc:
        figures |= {"best_cc": yes_price_cc(side, best_cc), "improve_most_steps": params.improve_most_steps}
        text = "{side} {yes_price_cc} × {count_cx}: {fair_cc} would allow better, {best_cc} is the others' best"
        return Wish(most_cc, "better_than_best", text, figures)
    return Wish(price_cc, "fair_value", "{side} {yes_price_cc} × {count_cx}: {edge_cc} or more from {fair_cc}", figures)
