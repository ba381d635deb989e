"""Get out of nothing: a position stays until quotes or settlement end it.

Costs no spread and no taker fee; loses where a position should not outlive its reason.
"""

from __future__ import annotations

import msgspec

from traders.core.registry import flatten
from traders.core.types import MarketView, Quotes, TraderState


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing to choose."""


@flatten("none", Params)
def override(view: MarketView, state: TraderState, quotes: Quotes, params: Params) -> Quotes:
    """Return the quotes as they are."""
    del view, state, params
    return quotes
