from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from markets.core.book import OrderBook
from markets.core.units import DOLLAR_CC, Side
from traders.core.inventory import Inventory


def a_book(*, yes: list[tuple[int, int]], no: list[tuple[int, int]]) -> OrderBook:
    book = OrderBook()
    book.replace(yes, no)
    return book


def test_a_bid_that_fills_makes_us_long_and_an_ask_short() -> None:
    assert Inventory().after(Side.YES, 4_000, 100) == Inventory(100, -400_000, 1)
    assert Inventory().after(Side.NO, 5_800, 100) == Inventory(-100, 420_000, 1)


def test_long_is_marked_at_the_best_bid_and_short_at_the_best_ask() -> None:
    book = a_book(yes=[(4_000, 100)], no=[(5_800, 100)])
    assert Inventory().after(Side.YES, 4_100, 100).trading_ud(book) == -10_000
    assert Inventory().after(Side.NO, 5_900, 100).trading_ud(book) == -10_000


def test_the_result_is_unknown_when_nobody_stands_on_the_side_we_would_have_to_meet() -> None:
    assert Inventory().after(Side.YES, 4_000, 100).trading_ud(a_book(yes=[], no=[(5_800, 100)])) is None
    assert Inventory().after(Side.NO, 5_800, 100).trading_ud(a_book(yes=[(4_000, 100)], no=[])) is None


def test_flat_needs_no_market() -> None:
    both = Inventory().after(Side.YES, 4_000, 100).after(Side.NO, 5_800, 100)
    assert both.trading_ud(a_book(yes=[], no=[])) == 20_000


@given(st.lists(st.tuples(st.sampled_from(list(Side)), st.integers(1, DOLLAR_CC - 1), st.integers(1, 10_000))))
def test_a_pair_of_yes_and_no_earns_what_it_lacks_to_a_dollar(fills: list[tuple[Side, int, int]]) -> None:
    inventory, paid_ud, pairs_cx = Inventory(), 0, 0
    for side, price_cc, count_cx in fills:
        inventory = inventory.after(side, price_cc, count_cx).after(side.other, DOLLAR_CC - price_cc, count_cx)
        paid_ud += DOLLAR_CC * count_cx
        pairs_cx += count_cx
    assert inventory.position_cx == 0
    assert inventory.cash_ud == pairs_cx * DOLLAR_CC - paid_ud
