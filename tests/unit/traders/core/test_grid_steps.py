from __future__ import annotations

import pytest

from markets.core.grid import CENT_GRID, TAPERED_DECI_CENT_GRID
from markets.core.units import Side
from traders.core.steps import stepped_cc


@pytest.mark.parametrize(
    ("price_cc", "steps", "reached_cc"),
    [(4_000, 2, 4_200), (4_000, -2, 3_800), (4_050, 0, 4_000), (4_050, 1, 4_100), (50, 1, 100)],
)
def test_steps_are_counted_from_the_price_at_or_below(price_cc: int, steps: int, reached_cc: int) -> None:
    assert stepped_cc(CENT_GRID, Side.YES, price_cc, steps) == reached_cc


@pytest.mark.parametrize(("price_cc", "steps"), [(9_900, 1), (100, -1), (50, 0), (0, 0)])
def test_beyond_the_grid_there_is_no_price(price_cc: int, steps: int) -> None:
    assert stepped_cc(CENT_GRID, Side.NO, price_cc, steps) is None


def test_steps_change_their_width_where_the_grid_does() -> None:
    assert stepped_cc(TAPERED_DECI_CENT_GRID, Side.YES, 1_200, -4) == 980
