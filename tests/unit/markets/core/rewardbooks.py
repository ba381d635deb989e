"""Books, grids and programs for the tests of rewards."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from markets.core.grid import PriceGrid, PriceRange
from markets.core.rewards import HOUR_US, ProgramTerms
from markets.core.scoring import OwnOrder
from markets.core.units import DOLLAR_CC, Side

# facts.md 5.5: step at the edges, step in the centre, where the edges end.
STRUCTURES = {
    "linear_cent": (100, 100, None),
    "deci_cent": (10, 10, None),
    "tapered_deci_cent": (10, 100, 1_000),
    "center_whole_edge_half_cent": (50, 100, 1_000),
    "center_whole_edge_quint_cent": (20, 100, 1_000),
    "center_half_edge_half_cent": (50, 50, None),
    "center_half_edge_quint_cent": (20, 50, 1_000),
    "center_half_edge_deci_cent": (10, 50, 1_000),
    "center_quint_edge_quint_cent": (20, 20, None),
    "center_quint_edge_deci_cent": (10, 20, 1_000),
    "center_centi_edge_centi_cent": (1, 1, None),
    "center_deci_edge_centi_cent": (1, 10, 100),
}


def a_grid(structure: str) -> PriceGrid:
    edge_cc, centre_cc, band_cc = STRUCTURES[structure]
    if band_cc is None:
        return PriceGrid([PriceRange(0, DOLLAR_CC, centre_cc)])
    return PriceGrid(
        [
            PriceRange(0, band_cc, edge_cc),
            PriceRange(band_cc, DOLLAR_CC - band_cc, centre_cc),
            PriceRange(DOLLAR_CC - band_cc, DOLLAR_CC, edge_cc),
        ]
    )


GRIDS = {structure: a_grid(structure) for structure in STRUCTURES}


def a_program(**changes: Any) -> ProgramTerms:
    """Example 1's: $100 over 16 h, 1000 contracts, d = 0.5."""
    terms = {
        "program_id": "p",
        "period_reward_cc": 1_000_000,
        "target_size_cx": 100_000,
        "discount_bps": 5_000,
        "start_us": 0,
        "end_us": 16 * HOUR_US,
    }
    return ProgramTerms(**(terms | changes))


def yes(order_id: str, price_cc: int, remaining_cx: int) -> OwnOrder:
    return OwnOrder(order_id, Side.YES, price_cc, remaining_cx)


def no(order_id: str, price_cc: int, remaining_cx: int) -> OwnOrder:
    return OwnOrder(order_id, Side.NO, price_cc, remaining_cx)


EXAMPLE_1 = (
    {4_200: 12_000, 4_100: 30_000, 4_000: 90_000, 3_900: 200_000},
    {5_500: 25_000, 5_400: 50_000, 5_300: 150_000},
)

grids = st.sampled_from(sorted(GRIDS)).map(GRIDS.__getitem__)
sides = st.sampled_from(Side)
counts = st.integers(1, 60_000)


@st.composite
def market_orders(draw: st.DrawFn, *, max_size: int = 8) -> tuple[PriceGrid, list[OwnOrder]]:
    """A grid and orders close enough together on it to matter to each other, ids by number."""
    grid = draw(grids)
    orders = []
    for number in range(draw(st.integers(1, max_size))):
        side = draw(sides)
        prices = grid.prices_cc(side)
        start = draw(st.sampled_from([0, len(prices) // 3, len(prices) - 12]))
        price_cc = prices[start + draw(st.integers(0, 11))]
        orders.append(OwnOrder(str(number), side, price_cc, draw(counts)))
    return grid, orders
