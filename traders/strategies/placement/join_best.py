"""Join the best bid on each side: rest where the others already show the best price.

Earns the whole spread when both sides fill. Loses when price moves through one side before the other fills: the
last in a queue is filled mostly by those who know more.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from markets.core.units import Side, yes_price_cc
from markets.formatting import contracts, price
from traders.core.registry import placement
from traders.core.types import MarketView, Quote, Quotes, TraderState


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sizes in hundredths of a contract.

    `max_position_cx`: no quote on the side that would grow a position of this size.
    `last_quote_s`: stop quoting this many seconds before the market closes.
    """

    count_cx: Annotated[int, msgspec.Meta(ge=1, le=100_000_000)] = 1_000
    max_position_cx: Annotated[int, msgspec.Meta(ge=0, le=100_000_000)] = 10_000
    last_quote_s: Annotated[int, msgspec.Meta(ge=0, le=86_400)] = 5


@placement("join_best", Params)
def quotes(view: MarketView, state: TraderState, params: Params) -> Quotes:
    """Return one quote a side at that side's best price, where there is one."""
    left_s = (view.close_time_us - view.time_us) // 1_000_000
    if left_s < params.last_quote_s:
        return Quotes((), f"closes in {max(left_s, 0)} s: no quotes in the last {params.last_quote_s} s")
    if view.book.is_crossed:
        return Quotes((), "book is crossed within one time stamp: waiting for the next")
    wanted: list[Quote] = []
    words: list[str] = []
    for side in Side:
        quote, word = _side(view, state, params, side)
        words.append(word)
        if quote:
            wanted.append(quote)
    return Quotes(tuple(wanted), "; ".join(words), {"position_cx": state.position_cx})


def _side(view: MarketView, state: TraderState, params: Params, side: Side) -> tuple[Quote | None, str]:
    name = side.book_side
    best = view.book.best_cc[side]
    if not best:
        return None, f"{name}: nobody to join"
    held = state.position_cx if side is Side.YES else -state.position_cx
    room = params.max_position_cx - held
    if room <= 0:
        return None, f"{name} held: position {contracts(state.position_cx)} is at its limit"
    rest_at = view.grid.at_or_below(side, best)
    if rest_at is None:
        return None, f"{name} held: the best price lies below the first step of the grid"
    count = min(params.count_cx, room)
    return Quote(side, rest_at, count), f"joins best {name} {price(yes_price_cc(side, rest_at))} × {contracts(count)}"
