"""Keep a buffer % before each quote: the more we show, the more of others' contracts shall stand before it.

Right where what hurts is being filled whole. Loses on a thin side: a small quote is content with a small buffer, which
one trade takes away.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Annotated

import msgspec

from markets.core.rewards import BPS
from traders.core.buffers import Keeping, Need, keep
from traders.core.registry import buffering
from traders.core.types import MarketView, Quote, Quotes, TraderState
from traders.core.why import Figures


class Params(Keeping, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As of every buffering, and:

    Attributes:
        min_bps: Buffer % at least, in hundredths of a percent; 5000 is as much before the quote as it shows.
    """

    min_bps: Annotated[int, msgspec.Meta(ge=0, le=BPS - 1)] = 5_000


class _Share(Need, frozen=True):
    needed_bps: int = 0

    def about(self, buffer_cx: int) -> Figures:
        del buffer_cx
        return {"needed_bps": self.needed_bps}


@buffering("percent", Params)
def adjust(view: MarketView, state: TraderState, quotes: Quotes, params: Params) -> Quotes:
    """Return the quotes with at least that buffer % before each."""

    return keep(view, state, quotes, params, partial(_need, params.min_bps))


@lru_cache(maxsize=256)  # the same quote is wished again and again
def _need(min_bps: int, quote: Quote) -> Need:
    # buffer ÷ (buffer + remaining) ≥ part, solved for the buffer and rounded up.
    needed_cx = -(-quote.count_cx * min_bps // (BPS - min_bps))
    return _Share(needed_cx, "{needed_bps} needed, which is {needed_cx}", min_bps)
