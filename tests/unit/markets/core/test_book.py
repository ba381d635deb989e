from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets.core.book import NegativeLevel, OrderBook
from markets.core.units import Side

PRICES = st.integers(1, 9_999)
LEVELS = st.dictionaries(PRICES, st.integers(1, 10**6), max_size=12)
CHANGES = st.lists(st.tuples(st.sampled_from(Side), st.integers(4_000, 4_020), st.integers(-500, 500)), max_size=60)


def a_book(yes: dict[int, int] | None = None, no: dict[int, int] | None = None) -> OrderBook:
    book = OrderBook()
    book.replace((yes or {}).items(), (no or {}).items())
    return book


@given(LEVELS, LEVELS, CHANGES)
def test_levels_and_best_prices_equal_a_slow_count_after_any_changes(
    yes: dict[int, int], no: dict[int, int], changes: list[tuple[Side, int, int]]
) -> None:
    book, slow = a_book(yes, no), (dict(yes), dict(no))
    for side, price, delta in changes:
        size = slow[side].get(price, 0) + delta
        if size < 0:
            with pytest.raises(NegativeLevel):
                book.apply(side, price, delta)
            continue
        assert book.apply(side, price, delta) == size
        slow[side][price] = size
        if not size:
            del slow[side][price]
    assert book.levels == slow
    assert book.best_cc == [max(slow[0], default=0), max(slow[1], default=0)]


def test_a_refused_delta_leaves_the_book_as_it_was() -> None:
    book = a_book({4_200: 100})
    with pytest.raises(NegativeLevel):
        book.apply(Side.YES, 4_200, -101)
    assert book.levels[Side.YES] == {4_200: 100}


def test_the_yes_ask_is_implied_by_the_best_no_bid() -> None:
    book = a_book({4_200: 100}, {5_500: 300, 5_400: 100})
    assert (book.yes_bid_cc, book.yes_ask_cc) == (4_200, 4_500)


def test_an_empty_side_has_no_price() -> None:
    book = a_book({}, {5_500: 300})
    assert book.yes_bid_cc is None
    assert book.yes_ask_cc == 4_500


@pytest.mark.parametrize(("no_price", "crossed"), [(5_799, False), (5_800, True), (5_900, True)])
def test_a_locked_book_counts_as_crossed(no_price: int, crossed: bool) -> None:
    assert a_book({4_200: 100}, {no_price: 100}).is_crossed is crossed


def test_a_one_sided_book_is_never_crossed() -> None:
    assert not a_book({9_999: 100}).is_crossed


def test_a_snapshot_replaces_every_level() -> None:
    book = a_book({4_200: 100}, {5_500: 300})
    book.replace([(4_100, 5)], [])
    assert book.levels == ({4_100: 5}, {})
    assert book.best_cc == [4_100, 0]


def test_a_snapshot_with_an_empty_level_is_refused() -> None:
    with pytest.raises(NegativeLevel):
        a_book({4_200: 0})


def test_better_size_is_what_stands_above_a_price() -> None:
    book = a_book({6_200: 300, 6_100: 200, 6_000: 300})
    assert book.better_cx(Side.YES, 6_000) == 500


@given(LEVELS, PRICES)
def test_better_size_equals_a_slow_count(levels: dict[int, int], price_cc: int) -> None:
    slow_cx = sum(count_cx for level_cc, count_cx in levels.items() if level_cc > price_cc)
    assert a_book(no=levels).better_cx(Side.NO, price_cc) == slow_cx
