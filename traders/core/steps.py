"""Prices counted in steps of the market's grid."""

from __future__ import annotations

from markets.core.grid import PriceGrid
from markets.core.units import Side


def stepped_cc(grid: PriceGrid, side: Side, price_cc: int, steps: int) -> int | None:
    """Return the price `steps` steps of the grid from `price_cc`, on `side`'s own ladder, up when positive.

    A price left behind by a change of grid counts as the next tradable price below it. None where the steps leave
    the grid.
    """
    prices = grid.prices_cc(side)
    at = grid.rank(side, price_cc) - 1 + steps
    return prices[at] if 0 <= at < len(prices) else None
