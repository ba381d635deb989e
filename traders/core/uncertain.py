"""A quote stays where it is while nobody knows what of its side's levels is ours (traders.core.ownbook).

A touch that may be our own must not be followed. What shall go, goes; what is smaller gets smaller; a new quote is
placed where none rests. It lasts two seconds at most.
"""

from __future__ import annotations

from collections.abc import Iterable

from markets.core.units import Side, yes_price_cc
from traders.core.orders import RestingQuote
from traders.core.types import Quote, Quotes
from traders.core.why import Why


def unmoved(wanted: Quotes, resting: Iterable[RestingQuote], uncertain: frozenset[Side]) -> Quotes:
    """Return the wishes, without another price for what rests on an uncertain side."""
    ours = {order.side: order for order in sorted(resting, key=lambda order: order.price_cc) if order.side in uncertain}
    for quote in wanted.quotes:
        rests = ours.get(quote.side)
        if rests is None or rests.price_cc == quote.price_cc:
            continue
        kept = Quote(quote.side, rests.price_cc, min(quote.count_cx, rests.remaining_cx))
        figures = {
            "yes_price_cc": yes_price_cc(quote.side, rests.price_cc),
            "wished_cc": yes_price_cc(quote.side, quote.price_cc),
        }
        text = "{side} stays at {yes_price_cc}: what of its levels is ours is not certain"
        wanted = wanted.with_quote(quote.side, kept, Why("own_level_uncertain", text, figures, quote.side))
    return wanted
