"""Get out for sure once it has taken too long: trade with the touch, at a bounded price.

Ends what patience does not. Costs spread and taker fee each time, and loses most where the book is thin just then.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from traders.core.flattening import SECOND_US, Size, TakeSteps, take, untouched
from traders.core.registry import flatten
from traders.core.types import MarketView, Quotes, TraderState
from traders.core.why import Why


class Params(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When it begins, and how far it goes.

    Attributes:
        from_cx: Position in hundredths of a contract, long or short, from which on it gets out.
        after_s: Seconds that the position has been flattened, or held while nobody flattens it, until then.
        steps_most: Steps of the grid beyond the opposite touch at most.
    """

    from_cx: Size = 1
    after_s: Annotated[int, msgspec.Meta(ge=0, le=31 * 86_400)] = 60
    steps_most: TakeSteps = 2


@flatten("cross_at_limit", Params)
def override(view: MarketView, state: TraderState, quotes: Quotes, params: Params) -> Quotes:
    """Return the quotes without those that would be in the way, and a take of the whole position."""
    if not state.position_cx:
        return untouched(quotes)
    going_on = state.flattening
    since_us = state.position_since_us if going_on is None else going_on.since_us
    if abs(state.position_cx) < params.from_cx or since_us is None:
        return quotes
    # What it began by the time of holding it does not stop because the flattening itself is young.
    is_ours = going_on is not None and going_on.by == "cross_at_limit"
    if not is_ours and view.time_us - since_us < params.after_s * SECOND_US:
        return quotes
    figures = {
        "position_cx": state.position_cx,
        "for_us": view.time_us - since_us,
        "after_s": params.after_s,
        "steps_most": params.steps_most,
    }
    text = "flattening goes on for {for_us}" if going_on else "held for {for_us}"
    why = Why("cross_at_limit", f"cross at limit: position {{position_cx}} {text}", figures)
    return take(view, state, quotes, "cross_at_limit", why, steps_most=params.steps_most)
