"""Be flat when the market closes: rest an exit first, trade with the touch when time gets short.

What is held at close is held to settlement. Loses where settlement would have been the better price: near the end the
spread is wide and the news is known to others first.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from traders.core.flattening import SECOND_US, TakeSteps, hold, rest, take, untouched
from traders.core.registry import flatten
from traders.core.types import MarketView, Quotes, TraderState
from traders.core.why import Why

Lead = Annotated[int, msgspec.Meta(ge=0, le=31 * 86_400)]


class Params(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Seconds before the close, each not later than the one before it.

    Attributes:
        lead_s: From then on an exit rests.
        cross_s: From then on it trades with the touch.
        deadline_s: From then on it tries nothing more: an answer might come after the close.
        steps_most: Steps of the grid beyond the opposite touch at most.

    Raises:
        ValueError: The times are not in that order.
    """

    lead_s: Lead = 900
    cross_s: Lead = 300
    deadline_s: Lead = 10
    steps_most: TakeSteps = 2

    def __post_init__(self) -> None:
        if self.cross_s > self.lead_s:
            raise ValueError(f"cross_s: must not be before lead_s, found {self.cross_s} > {self.lead_s}")
        if self.deadline_s > self.cross_s:
            raise ValueError(f"deadline_s: must not be before cross_s, found {self.deadline_s} > {self.cross_s}")


@flatten("before_close", Params)
def override(view: MarketView, state: TraderState, quotes: Quotes, params: Params) -> Quotes:
    """Return the quotes as the time to the close demands."""
    if not state.position_cx:
        return untouched(quotes)
    left_us = view.close_time_us - view.time_us
    if left_us > params.lead_s * SECOND_US:
        return quotes
    figures = {"position_cx": state.position_cx, "left_us": left_us}
    if left_us <= params.deadline_s * SECOND_US:
        text = "before close: {left_us} left with position {position_cx}, too late to get out"
        return hold(view, state, quotes, "before_close", Why("close_deadline", text, figures))
    text = "before close: {left_us} left with position {position_cx}"
    if left_us > params.cross_s * SECOND_US:
        return rest(view, state, quotes, "before_close", Why("close_nears", text, figures))
    figures["steps_most"] = params.steps_most
    return take(view, state, quotes, "before_close", Why("close_near", text, figures), steps_most=params.steps_most)
