"""Keep no distance: quotes rest where the placement wants them.

Right where being filled is the aim; loses where fills come mostly from those who know more.
"""

from __future__ import annotations

import msgspec

from traders.core.registry import buffering
from traders.core.types import MarketView, Quotes, TraderState


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing to choose."""


@buffering("none", Params)
def adjust(view: MarketView, state: TraderState, quotes: Quotes, params: Params) -> Quotes:
    """Return the quotes as they are."""
    del view, state, params
    return quotes
