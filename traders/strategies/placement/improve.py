"""Improve the best price: rest a few steps before the others where the spread leaves room, else join them.

Earns where takers come often and want little: the first in line meets them all. Loses more than joining does when
price moves through, because it is the first to be reached, and gives away the steps by which it improves.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from markets.core.units import DOLLAR_CC, Side
from traders.core.placing import Sizing, Wish, place
from traders.core.registry import placement
from traders.core.steps import stepped_cc
from traders.core.types import MarketView, Quotes, TraderState


class Params(Sizing, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far before the others, and what must be left of the spread.

    Attributes:
        steps: Steps of the grid better than the others' best price.
        min_spread_steps: Steps of the grid that bid and ask must still be apart afterwards. Where both of our sides
            improve, that is between our own two.
    """

    steps: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 1
    min_spread_steps: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 2


@placement("improve", Params)
def quotes(view: MarketView, state: TraderState, params: Params) -> Quotes:
    """Return one quote a side before that side's best price, or at it."""
    bid, ask = (_wish(view, side, params) for side in Side)
    return place(view, state, params, bid, ask)


def _wish(view: MarketView, side: Side, params: Params) -> Wish:
    best_cc = view.best_cc(side)
    if not best_cc:
        return Wish(None, "empty_side", "{side}: nothing to improve")
    improved_cc = stepped_cc(view.grid, side, best_cc, params.steps)
    left_steps = _spread_left(view, side, params)
    figures = {"steps": params.steps, "spread_left_steps": left_steps, "min_spread_steps": params.min_spread_steps}
    if improved_cc is None:
        return Wish(best_cc, "at_the_edge", "joins best {side} {yes_price_cc} × {count_cx}: the grid ends", figures)
    if left_steps is not None and left_steps < params.min_spread_steps:
        text = (
            "joins best {side} {yes_price_cc} × {count_cx}: improving would leave {spread_left_steps} of the spread's "
        )
        return Wish(best_cc, "no_room", text + "steps, {min_spread_steps} wanted", figures)
    text = "improves {side} by {steps} to {yes_price_cc} × {count_cx}"
    return Wish(improved_cc, "improves", text, figures)


def _spread_left(view: MarketView, side: Side, params: Params) -> int | None:
    """Return the steps between bid and ask once every side that we quote has improved; None without an other side."""
    opposite_cc = view.best_cc(side.other)
    if not opposite_cc:
        return None
    spread_steps = view.grid.rank(side, DOLLAR_CC - opposite_cc) - view.grid.rank(side, view.best_cc(side))
    return spread_steps - params.steps * sum(params.count_cx(each) > 0 for each in Side)
