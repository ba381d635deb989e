"""How much stands before a quote, and the way deeper until it is enough: what all bufferings have in common.

    buffer     others' contracts at better prices + queue ahead at our price
    buffer %   100 × buffer ÷ (buffer + remaining)

A new order stands behind its whole level. One at rest has a place, and keeps it as long as its own buffer is about what
is needed: only a buffer smaller by the hysteresis sends it away, and only a price with a buffer larger by the
hysteresis draws it closer. A book that flickers does not cost us the place.

    wish ──► enough before it there, or at a price below ──► rests there
         └─► nowhere ──► no quote; where quotes must qualify, at the last price that does

Terms: market_making.md section 2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Annotated

import msgspec

from markets.core.grid import PriceGrid
from markets.core.queue import buffer_pct
from markets.core.rewards import BPS, LIQUIDITY
from markets.core.scoring import score_side
from markets.core.units import Side, yes_price_cc
from traders.core.orders import RestingQuote
from traders.core.types import MarketView, Quote, Quotes, TraderState
from traders.core.why import Figures, Why

ANY_DISCOUNT = Fraction(1)  # a floor does not depend on it


class Keeping(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of every buffering that keeps one.

    Attributes:
        hysteresis_bps: Hundredths of a percent of the needed contracts. An order at rest stays with that much less,
            and moves closer to the touch for that much more.
        steps_most: Steps of the grid that a quote may be moved deeper.
    """

    hysteresis_bps: Annotated[int, msgspec.Meta(ge=0, le=BPS)] = 2_000
    steps_most: Annotated[int, msgspec.Meta(ge=0, le=1_000)] = 20


class Need(msgspec.Struct, frozen=True):
    """The contracts that shall stand before a quote, and how they came about: nothing but values, so it has a hash.

    `text` may name `needed_cx` and what `about` returns.
    """

    needed_cx: int
    text: str = "{needed_cx} needed"

    def about(self, buffer_cx: int) -> Figures:
        """Return more figures, for a quote with that buffer."""
        del buffer_cx
        return {}


class Spot(msgspec.Struct, frozen=True):
    """A price at which a quote could rest, or ours does.

    `ahead_cx` is the queue ahead there, a part of the buffer; None is unknown, and then no part of it.
    """

    price_cc: int
    buffer_cx: int
    ahead_cx: int | None


def spots(view: MarketView, quote: Quote, steps_most: int) -> list[Spot]:
    """Return where a new order could rest instead of `quote`, closest to the touch first; empty when nowhere.

    It begins at the quote's price and ends `steps_most` steps below or at the lowest level, whichever comes first:
    under the lowest level nothing is added to a buffer.
    """
    prices = view.grid.prices_cc(quote.side)
    end = view.grid.rank(quote.side, quote.price_cc)
    ladder = view.book.levels[quote.side]
    lowest_cc = min(ladder, default=quote.price_cc)
    within = prices[max(0, end - 1 - steps_most) : end]
    levels = sorted([level for level in ladder.items() if level[0] >= within[0]]) if within else []
    found: list[Spot] = []
    buffer_cx = 0
    for price_cc in reversed(within):
        if found and price_cc < lowest_cc:
            break
        while levels and levels[-1][0] >= price_cc:  # the best is popped first
            buffer_cx += levels.pop()[1]
        found.append(Spot(price_cc, buffer_cx, ladder.get(price_cc, 0)))
    return found


def first_spot(view: MarketView, quote: Quote) -> Spot | None:
    """Return the first of `spots`, which is mostly the only one that somebody needs; None where there is none."""
    side, book = quote.side, view.book
    price_cc = view.grid.at_or_below(side, quote.price_cc)
    if price_cc is None:
        return None
    ahead_cx = book.levels[side].get(price_cc, 0)
    better_cx = book.better_cx(side, price_cc) if price_cc < book.best_cc[side] else 0
    return Spot(price_cc, better_cx + ahead_cx, ahead_cx)


def resting_spot(view: MarketView, order: RestingQuote) -> Spot:
    """Return where an order of ours stands. Of an unknown queue ahead nothing counts: it may be used up."""
    better_cx = view.book.better_cx(order.side, order.price_cc)
    return _stands(order, better_cx, view.book.size_cx(order.side, order.price_cc))


def _stands(order: RestingQuote, better_cx: int, level_cx: int) -> Spot:
    if order.ahead_cx is None:
        return Spot(order.price_cc, better_cx, None)
    ahead_cx = min(order.ahead_cx, level_cx)
    return Spot(order.price_cc, better_cx + ahead_cx, ahead_cx)


def qualifying_floor_cc(view: MarketView, side: Side, quote: Quote) -> int | None:
    """Return the lowest price at which `quote` scores under every liquidity program that runs.

    None when no price is ruled out by one: none runs with a known target, or the side reaches no target even with the
    quote. The quote is counted last, at the lowest price: higher up it would lift the floor and seem to need that
    price, while the others alone decide how deep it may go.
    """
    ladder = dict(view.book.levels[side])
    lowest_cc = view.grid.prices_cc(side)[0]
    ladder[lowest_cc] = ladder.get(lowest_cc, 0) + quote.count_cx
    targets_cx = {
        program.target_size_cx
        for program in view.running_programs()
        if program.incentive_type == LIQUIDITY and program.target_size_cx is not None
    }
    floors_cc = (
        score_side(view.grid, side, ladder, (), target_cx=target_cx, discount=ANY_DISCOUNT).floor_cc
        for target_cx in targets_cx
    )
    return max((floor_cc for floor_cc in floors_cc if floor_cc is not None), default=None)


def keep(
    view: MarketView, state: TraderState, quotes: Quotes, keeping: Keeping, need_of: Callable[[Quote], Need]
) -> Quotes:
    """Return the quotes, each as deep as what `need_of` says of it demands, or dropped."""
    if not quotes.quotes:
        return quotes
    kept: list[Quote] = []
    whys = [*quotes.whys]
    for quote in quotes.quotes:
        left, why = _keep(view, state, quote, keeping, need_of(quote), must_qualify=quotes.must_qualify)
        whys.append(why)
        if left is not None:
            kept.append(left)
    if len(kept) > 1 and kept[0].side > kept[1].side:
        kept.reverse()
    return msgspec.structs.replace(quotes, quotes=tuple(kept), whys=tuple(whys))


def _keep(
    view: MarketView, state: TraderState, quote: Quote, keeping: Keeping, need: Need, *, must_qualify: bool
) -> tuple[Quote | None, Why]:
    first = first_spot(view, quote)
    if first is None:
        return None, Why("off_grid", "{side} dropped: no price of the grid is low enough", {}, quote.side)
    floor_cc = qualifying_floor_cc(view, quote.side, quote) if must_qualify else None
    least_cc = floor_cc or 0
    open_to: tuple[Spot, ...] = (first,)
    if first.buffer_cx * BPS < need.needed_cx * (BPS + keeping.hysteresis_bps):  # else nobody looks any further
        found = spots(view, quote, keeping.steps_most)
        # The placement's own price stays open, whatever it earns there: that was its choice.
        open_to = tuple([spot for spot in found if spot.price_cc >= least_cc]) or open_to
    wish = quote if first.price_cc == quote.price_cc else _at(quote, first.price_cc)
    ours = _ours(view, state.resting, wish, first, least_cc)
    return _kept(_Case(view.grid, wish, open_to, ours, need, keeping.hysteresis_bps, floor_cc is not None))


class _Case(msgspec.Struct, frozen=True):
    """All that says where a quote rests.

    `open_to` are the spots from the wish's own price on, as far as they may matter; `ours` is where our order stands.
    """

    grid: PriceGrid
    wish: Quote
    open_to: tuple[Spot, ...]
    ours: Spot | None
    need: Need
    hysteresis_bps: int
    has_floor: bool


@lru_cache(maxsize=1_024)  # few messages change what stands before our quotes: 0.3 µs instead of 1.6
def _kept(case: _Case) -> tuple[Quote | None, Why]:
    """Return the quote at the price where it shall rest, None for nowhere, and the reason."""
    wish, open_to, ours, need = case.wish, case.open_to, case.ours, case.need
    code, spot = _choose(open_to, ours, need.needed_cx, case.hysteresis_bps)
    if spot is None and case.has_floor and code != "buffer_requeues":
        last = open_to[-1]
        code, spot = "buffer_short", ours if ours is not None and ours.price_cc == last.price_cc else last
    shown = ours if ours is not None and code == "buffer_requeues" else spot or open_to[-1]
    why = _why(case.grid, wish, shown, need, code)
    return None if spot is None else _at(wish, spot.price_cc), why


def _at(quote: Quote, price_cc: int) -> Quote:
    return quote if price_cc == quote.price_cc else msgspec.structs.replace(quote, price_cc=price_cc)


def _ours(view: MarketView, resting: tuple[RestingQuote, ...], wish: Quote, there: Spot, least_cc: int) -> Spot | None:
    """Return where the first of our orders of that side stands, at a price not better than the wish; None without one.

    What stands behind it, a top-up after it was filled in part, is never nearer to being filled.

    Args:
        there: Where a new order would rest at the wish's price.
        least_cc: Orders below it count at that price alone.
    """
    first: RestingQuote | None = None
    side, price_cc = wish.side, wish.price_cc
    for order in resting:
        if order.side is side and (order.price_cc == price_cc or _is_below(view, order, wish, least_cc)):
            first = order if first is None else max(first, order, key=_nearness)
    if first is None:
        return None
    if first.price_cc == price_cc and there.ahead_cx is not None:
        return _stands(first, there.buffer_cx - there.ahead_cx, there.ahead_cx)
    return resting_spot(view, first)


def _is_below(view: MarketView, order: RestingQuote, wish: Quote, least_cc: int) -> bool:
    return least_cc <= order.price_cc < wish.price_cc and view.grid.contains(order.side, order.price_cc)


def _nearness(order: RestingQuote) -> tuple[int, int]:
    """Return what is larger the nearer an order is to being filled."""
    return order.price_cc, -(order.ahead_cx or 0)


def _choose(
    open_to: tuple[Spot, ...], ours: Spot | None, needed_cx: int, hysteresis_bps: int
) -> tuple[str, Spot | None]:
    """Return where to rest, None for nowhere, and a reason's code."""
    enough = _first(open_to, needed_cx * BPS)
    if ours is not None:
        closer = [spot for spot in open_to if spot.price_cc > ours.price_cc]
        ample = _first(closer, needed_cx * (BPS + hysteresis_bps))
        if ample is not None:
            return "buffered", ample
        if ours.buffer_cx * BPS >= needed_cx * (BPS - hysteresis_bps):
            return "buffered" if ours.buffer_cx >= needed_cx else "buffer_kept", ours
        if enough is not None and enough.price_cc == ours.price_cc:
            # The level behind us is what we need before us, and a wish cannot say "the same price, at the back".
            return "buffer_requeues", None
    return ("buffered", enough) if enough is not None else ("buffer_missing", None)


def _first(found: Sequence[Spot], least: int) -> Spot | None:
    """Return the first spot with a buffer of `least` ÷ BPS at least."""
    for spot in found:
        if spot.buffer_cx * BPS >= least:
            return spot
    return None


TEXTS = {
    "buffered": "{side} {yes_price_cc} has {buffer_cx} before it ({buffer_bps})",
    "buffer_kept": "{side} {yes_price_cc} has {buffer_cx} before it ({buffer_bps}) and keeps its place",
    "buffer_short": "{side} {yes_price_cc} has {buffer_cx} before it ({buffer_bps}), {short_cx} short, "
    "at the deepest price within reach that qualifies",
    "buffer_requeues": "{side} {yes_price_cc} has only {buffer_cx} before it ({buffer_bps}) "
    "and leaves for the back of its level",
    "buffer_missing": "{side} dropped: at {yes_price_cc} there would be {buffer_cx} before it ({buffer_bps}), "
    "no better within reach",
}


def _why(grid: PriceGrid, wish: Quote, spot: Spot, need: Need, code: str) -> Why:
    side, buffer_cx = wish.side, spot.buffer_cx
    is_deeper = spot.price_cc != wish.price_cc
    figures: Figures = {
        "yes_price_cc": yes_price_cc(side, spot.price_cc),
        "wished_yes_price_cc": yes_price_cc(side, wish.price_cc),
        "steps_deeper": grid.rank(side, wish.price_cc) - grid.rank(side, spot.price_cc) if is_deeper else 0,
        "buffer_cx": buffer_cx,
        "buffer_bps": buffer_pct(buffer_cx, wish.count_cx),
        "ahead_cx": spot.ahead_cx,
        "needed_cx": need.needed_cx,
        "short_cx": max(0, need.needed_cx - buffer_cx),
        **need.about(buffer_cx),
    }
    unknown = "" if spot.ahead_cx is not None else ", its place in the queue unknown and not counted"
    return Why(code, f"{TEXTS[code]}{unknown}; {need.text}", figures, side)
