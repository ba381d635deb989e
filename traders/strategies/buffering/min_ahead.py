"""Keep a number of contracts before each quote: it goes deeper until at least that many would trade first.

Right where small trades are harmless and large ones are not. Loses where the number is a good protection at one hour
and none at another: it knows neither how fast the market trades nor how large our own quote is.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from traders.core.buffers import Keeping, Need, keep
from traders.core.placing import MOST_CX
from traders.core.registry import buffering
from traders.core.types import MarketView, Quotes, TraderState


class Params(Keeping, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As of every buffering, and:

    Attributes:
        ahead_cx: Others' contracts, in hundredths, that shall stand before the quote at least.
    """

    ahead_cx: Annotated[int, msgspec.Meta(ge=0, le=MOST_CX)] = 10_000


@buffering("min_ahead", Params)
def adjust(view: MarketView, state: TraderState, quotes: Quotes, params: Params) -> Quotes:
    """Return the quotes with at least that many contracts before each."""
    need = Need(params.ahead_cx)
    return keep(view, state, quotes, params, lambda _: need)
