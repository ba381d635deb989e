from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets.core.grid import CENT_GRID, TAPERED_DECI_CENT_GRID, PriceGrid, PriceRange
from markets.core.units import DOLLAR_CC, Side

GRIDS = [
    CENT_GRID,
    TAPERED_DECI_CENT_GRID,
    PriceGrid([PriceRange(0, 100, 1), PriceRange(100, 9_900, 10), PriceRange(9_900, DOLLAR_CC, 1)]),
]
grids = st.sampled_from(GRIDS)
sides = st.sampled_from(Side)
prices = st.integers(0, DOLLAR_CC)


@given(grids, sides)
def test_neither_nothing_nor_a_dollar_is_tradable(grid: PriceGrid, side: Side) -> None:
    assert not grid.contains(side, 0)
    assert not grid.contains(side, DOLLAR_CC)


@given(grids, sides, prices)
def test_rounding_lands_on_the_nearest_tradable_price_of_that_direction(
    grid: PriceGrid, side: Side, price_cc: int
) -> None:
    below, above = grid.at_or_below(side, price_cc), grid.at_or_above(side, price_cc)
    tradable = grid.prices_cc(side)
    assert below == max((p for p in tradable if p <= price_cc), default=None)
    assert above == min((p for p in tradable if p >= price_cc), default=None)


@given(grids, prices)
def test_a_no_price_is_tradable_when_its_yes_price_is(grid: PriceGrid, price_cc: int) -> None:
    assert grid.contains(Side.NO, DOLLAR_CC - price_cc) == grid.contains(Side.YES, price_cc)


def test_a_tapered_grid_is_fine_at_the_edges_and_coarse_between() -> None:
    assert TAPERED_DECI_CENT_GRID.contains(Side.YES, 990)
    assert not TAPERED_DECI_CENT_GRID.contains(Side.YES, 1_010)
    assert TAPERED_DECI_CENT_GRID.contains(Side.YES, 9_010)


@given(grids, sides, st.data())
def test_steps_lead_from_one_tradable_price_to_another(grid: PriceGrid, side: Side, data: st.DataObject) -> None:
    tradable = grid.prices_cc(side)
    low = data.draw(st.integers(0, len(tradable) - 1))
    high = data.draw(st.integers(low, len(tradable) - 1))
    assert grid.step(side, tradable[low], high - low) == tradable[high]
    assert grid.step(side, tradable[high], low - high) == tradable[low]


def test_a_step_off_the_grid_is_none() -> None:
    assert CENT_GRID.step(Side.YES, 9_900, 1) is None
    assert CENT_GRID.step(Side.YES, 100, -1) is None


@pytest.mark.parametrize("band", [(0, 0, 100), (500, 400, 100), (0, 10_000, 0), (0, 10_001, 1), (-100, 100, 10)])
def test_it_refuses_a_range_that_is_none(band: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="not a price range"):
        PriceGrid([PriceRange(*band)])


def test_a_step_from_a_price_off_the_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="not on the grid"):
        CENT_GRID.step(Side.YES, 4_250, 1)
