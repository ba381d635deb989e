"""Get out at once when the open position has lost too much, and do not stop before it is flat.

Bounds what a mistaken view costs. Loses where the price comes back: it sells at the worst moment, into a book that
others have just left.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from markets.core.units import DOLLAR_CC
from traders.core.flattening import STOP_LOSS, TakeSteps, proceeds_at_touch_ud, take, untouched
from traders.core.registry import flatten
from traders.core.types import MarketView, Quotes, TraderState
from traders.core.why import Why

MOST_UD = 1_000_000_000_000  # a million dollars


class Params(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The loss that triggers, of the open contracts against the price that they could be closed at; before fees.

    Attributes:
        loss_ud: Micro-dollars in all; 0 sets no such limit.
        loss_cc: Centi-cents a contract, on average; 0 sets no such limit.
        steps_most: Steps of the grid beyond the opposite touch at most.

    Raises:
        ValueError: Neither limit is set.
    """

    loss_ud: Annotated[int, msgspec.Meta(ge=0, le=MOST_UD)] = 5_000_000
    loss_cc: Annotated[int, msgspec.Meta(ge=0, le=DOLLAR_CC)] = 0
    steps_most: TakeSteps = 5

    def __post_init__(self) -> None:
        if not self.loss_ud and not self.loss_cc:
            raise ValueError("loss_ud: this or loss_cc must be more than 0")


@flatten(STOP_LOSS, Params)
def override(view: MarketView, state: TraderState, quotes: Quotes, params: Params) -> Quotes:
    """Return the quotes without those that would be in the way, and a take of the whole position."""
    if not state.position_cx:
        return untouched(quotes)
    lost_ud = _lost_ud(view, state)
    goes_on = state.flattening is not None and state.flattening.by == STOP_LOSS
    if not goes_on and not _is_too_much(lost_ud, state, params):
        return quotes
    figures = {
        "position_cx": state.position_cx,
        "cost_ud": state.cost_ud,
        "lost_ud": lost_ud,
        "loss_ud": params.loss_ud,
        "loss_cc": params.loss_cc,
        "steps_most": params.steps_most,
    }
    text = "stop loss: position {position_cx} has lost {lost_ud}" + (", goes on until flat" if goes_on else "")
    return take(view, state, quotes, STOP_LOSS, Why("stop_loss", text, figures), steps_most=params.steps_most)


def _lost_ud(view: MarketView, state: TraderState) -> int | None:
    """Return what the open position has lost at the opposite touch, negative for a gain; None without a price."""
    proceeds_ud = proceeds_at_touch_ud(view, state)
    return None if proceeds_ud is None else state.cost_ud - proceeds_ud


def _is_too_much(lost_ud: int | None, state: TraderState, params: Params) -> bool:
    if lost_ud is None:
        return False
    in_all = bool(params.loss_ud) and lost_ud >= params.loss_ud
    a_contract = bool(params.loss_cc) and lost_ud >= params.loss_cc * abs(state.position_cx)
    return in_all or a_contract
