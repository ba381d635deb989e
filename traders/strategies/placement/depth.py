"""Rest a fixed number of steps behind the best price: filled only by those who sweep through it.

Earns when a large taker pushes price out and it comes back, and under incentive programs that pay deeper levels.
Loses when such a sweep was right: what is filled deep in the book is mostly filled by news.
"""

from __future__ import annotations

from markets.core.units import Side, yes_price_cc
from traders.core.placing import Sizing, Steps, Wish, place
from traders.core.registry import placement
from traders.core.steps import stepped_cc
from traders.core.types import MarketView, Quotes, TraderState


class Params(Sizing, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far behind.

    Attributes:
        steps: Steps of the grid behind the others' best price of the side; 0 joins it.
    """

    steps: Steps = 1


@placement("depth", Params)
def quotes(view: MarketView, state: TraderState, params: Params) -> Quotes:
    """Return one quote a side, so many steps behind that side's best price."""
    bid, ask = (_wish(view, side, params.steps) for side in Side)
    return place(view, state, params, bid, ask)


def _wish(view: MarketView, side: Side, steps: int) -> Wish:
    best_cc = view.best_cc(side)
    if not best_cc:
        return Wish(None, "empty_side", "{side}: nobody to stand behind")
    figures = {"steps": steps, "best_cc": yes_price_cc(side, best_cc)}
    price_cc = stepped_cc(view.grid, side, best_cc, -steps)
    if price_cc is None:
        return Wish(None, "off_grid", "{side} held: the grid ends within {steps} steps behind {best_cc}", figures)
    return Wish(price_cc, "behind", "{side} {yes_price_cc} × {count_cx}, {steps} steps behind {best_cc}", figures)
