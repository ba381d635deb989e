"""From the prices that a placement would like to quotes that may rest: what all placements have in common.

    wish a price on a side → skew against the position → onto the grid, never crossing → size within the position limit

Two quotes of ours never meet: where they would, the one that grows the position is dropped.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from markets.core.units import DOLLAR_CC, NO, YES, Side, yes_price_cc
from traders.core.types import Best, MarketView, Quote, Quotes, TraderState
from traders.core.why import Figures, Why

MOST_CX = 100_000_000  # a million contracts

Count = Annotated[int, msgspec.Meta(ge=0, le=MOST_CX)]
Steps = Annotated[int, msgspec.Meta(ge=0, le=1_000)]


class Sizing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of every placement. Sizes in hundredths of a contract.

    Attributes:
        bid_cx: Size of the Yes bid; 0 quotes no bid.
        ask_cx: Size of the Yes ask; 0 quotes no ask.
        max_position_cx: No quote on the side that would grow a position of this size.
        skew_steps: Steps of the grid by which both quotes move against the position when it is that large, and by
            that part of them when it is smaller.
    """

    bid_cx: Count = 1_000
    ask_cx: Count = 1_000
    max_position_cx: Count = 10_000
    skew_steps: Steps = 0

    def count_cx(self, side: Side) -> int:
        return self.bid_cx if side is YES else self.ask_cx


class Wish(msgspec.Struct, frozen=True):
    """The price that a placement would like on a side; None when there is none, and `text` says why.

    `text` may name the figures `yes_price_cc` and `count_cx` of the quote that becomes of it.
    """

    price_cc: int | None
    code: str
    text: str
    figures: Figures = {}


def place(
    view: MarketView | Best, state: TraderState, sizing: Sizing, bid: Wish, ask: Wish, *, must_qualify: bool = False
) -> Quotes:
    """Return the quotes that become of a wish a side.

    Args:
        view: The market; its best prices and its grid are all that is looked at,
        state: and of this the position.
    """
    quotes: list[Quote] = []
    whys: list[Why] = []
    for side, wish in ((YES, bid), (NO, ask)):
        quote, why = _place(view, state, sizing, side, wish)
        whys.append(why)
        if quote is not None:
            quotes.append(quote)
    if len(quotes) > 1 and quotes[0].price_cc + quotes[1].price_cc >= DOLLAR_CC:
        dropped = quotes.pop(YES if state.position_cx >= 0 else NO)
        figures = {"yes_price_cc": yes_price_cc(dropped.side, dropped.price_cc)}
        whys.append(Why("own_cross", "{side} {yes_price_cc} dropped: it meets our own", figures, dropped.side))
    return Quotes(tuple(quotes), tuple(whys), must_qualify)


def _place(
    view: MarketView | Best, state: TraderState, sizing: Sizing, side: Side, wish: Wish
) -> tuple[Quote | None, Why]:
    count_cx = sizing.count_cx(side)
    if not count_cx:
        return None, Why("not_chosen", "{side}: not quoted by choice", {}, side)
    if wish.price_cc is None:
        return None, Why(wish.code, wish.text, wish.figures, side)
    room_cx = sizing.max_position_cx - state.held_cx(side)
    if room_cx <= 0:
        figures = {"position_cx": state.position_cx, "max_position_cx": sizing.max_position_cx}
        return None, Why("position_full", "{side} held: position {position_cx} is at its limit", figures, side)
    price_cc = view.passive_cc(side, _skewed_cc(view, state, sizing, side, wish.price_cc))
    if price_cc is None:
        return None, Why("off_grid", "{side} held: no price of the grid is low enough to rest", {}, side)
    count_cx = min(count_cx, room_cx)
    figures = {"yes_price_cc": yes_price_cc(side, price_cc), "count_cx": count_cx, **wish.figures}
    return Quote(side, price_cc, count_cx), Why(wish.code, wish.text, figures, side)


def _skewed_cc(view: MarketView | Best, state: TraderState, sizing: Sizing, side: Side, price_cc: int) -> int:
    """Return the price moved against the position: down where a fill would grow it, up where it would shrink it."""
    if not sizing.skew_steps or not state.position_cx:
        return price_cc
    held_cx = state.held_cx(side)
    is_full = abs(held_cx) >= sizing.max_position_cx
    steps = sizing.skew_steps if is_full else sizing.skew_steps * abs(held_cx) // sizing.max_position_cx
    on_grid_cc = view.grid.at_or_below(side, price_cc)
    if not steps or on_grid_cc is None:
        return price_cc
    prices = view.grid.prices_cc(side)
    at = view.grid.rank(side, on_grid_cc) - 1 + (-steps if held_cx > 0 else steps)
    return prices[min(at, len(prices) - 1)] if at >= 0 else 0
