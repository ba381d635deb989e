from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets.core.matching import MatchingBook, RestingOrder, WouldCross, WouldCrossSelf
from markets.core.units import DOLLAR_CC, Side

_ids = itertools.count()


def an_order(side: Side, price_cc: int, count_cx: int, *, owner: str = "a", order_id: str = "") -> RestingOrder:
    return RestingOrder(order_id or f"o{next(_ids)}", owner, side, price_cc, count_cx)


ORDERS = st.lists(
    st.tuples(st.sampled_from(Side), st.integers(4_700, 5_300), st.integers(1, 500), st.sampled_from("abc")),
    max_size=60,
)


@given(ORDERS)
def test_a_book_never_stays_crossed_between_different_owners(orders: list[tuple[Side, int, int, str]]) -> None:
    book = MatchingBook()
    for side, price, count, owner in orders:
        book.place(an_order(side, price, count, owner=owner))
        assert book.best_cc(Side.YES) + book.best_cc(Side.NO) < DOLLAR_CC or not len(book)


@given(ORDERS)
def test_no_contract_appears_or_vanishes(orders: list[tuple[Side, int, int, str]]) -> None:
    book, placed, gone = MatchingBook(), 0, 0
    for side, price, count, owner in orders:
        outcome = book.place(an_order(side, price, count, owner=owner))
        placed += count
        gone += 2 * outcome.filled_cx + outcome.self_trade_cx
    assert placed == gone + sum(order.remaining_cx for order in book.orders())


@given(ORDERS)
def test_level_changes_add_up_to_the_levels(orders: list[tuple[Side, int, int, str]]) -> None:
    book, levels = MatchingBook(), ({}, {})
    for side, price, count, owner in orders:
        for change in book.place(an_order(side, price, count, owner=owner)).changes:
            size = levels[change.side].get(change.price_cc, 0) + change.delta_cx
            levels[change.side][change.price_cc] = size
    for side in Side:
        assert {p: s for p, s in levels[side].items() if s} == book.levels(side)


@given(st.lists(st.integers(1, 100), min_size=2, max_size=8), st.integers(1, 400))
def test_orders_at_one_price_fill_in_the_order_they_came(sizes: list[int], taken: int) -> None:
    book = MatchingBook()
    for number, size in enumerate(sizes):
        book.place(an_order(Side.YES, 4_000, size, order_id=f"m{number}"))
    outcome = book.place(an_order(Side.NO, 6_000, taken, owner="b"), rest=False)
    left = taken
    expected = []
    for number, size in enumerate(sizes):
        if left:
            expected.append((f"m{number}", min(size, left)))
            left -= min(size, left)
    assert [(m.maker_order_id, m.count_cx) for m in outcome.matches] == expected


def test_a_trade_happens_at_the_resting_price() -> None:
    book = MatchingBook()
    book.place(an_order(Side.NO, 4_800, 100))  # a YES ask at 0.52
    outcome = book.place(an_order(Side.YES, 9_900, 100, owner="b"), rest=False)
    assert [m.yes_price_cc for m in outcome.matches] == [5_200]


def test_better_prices_trade_first() -> None:
    book = MatchingBook()
    book.place(an_order(Side.NO, 4_700, 100, order_id="worse"))
    book.place(an_order(Side.NO, 4_800, 100, order_id="better"))
    outcome = book.place(an_order(Side.YES, 5_300, 150, owner="b"))
    assert [(m.maker_order_id, m.count_cx) for m in outcome.matches] == [("better", 100), ("worse", 50)]


def test_post_only_is_refused_when_it_would_trade_and_leaves_nothing() -> None:
    book = MatchingBook()
    book.place(an_order(Side.NO, 5_000, 100))
    with pytest.raises(WouldCross):
        book.place(an_order(Side.YES, 5_000, 100, owner="b"), post_only=True)
    assert len(book) == 1


def test_an_order_never_trades_with_its_owner() -> None:
    book = MatchingBook()
    book.place(an_order(Side.NO, 5_100, 60, owner="b"))
    book.place(an_order(Side.NO, 5_000, 100, owner="a", order_id="own"))
    outcome = book.place(an_order(Side.YES, 5_000, 100, owner="a"))
    assert (outcome.filled_cx, outcome.self_trade_cx, outcome.resting_cx) == (60, 40, 0)
    assert book.get("own").remaining_cx == 100


def test_an_order_may_have_its_owners_own_withdrawn_and_go_on() -> None:
    book = MatchingBook()
    for price, owner, order_id in ((5_100, "b", "first"), (5_000, "a", "own"), (4_900, "b", "last")):
        book.place(an_order(Side.NO, price, 100, owner=owner, order_id=order_id))
    outcome = book.place(an_order(Side.YES, 5_100, 250, owner="a"), withdraw_own=True)
    assert [type(step).__name__ for step in outcome.steps] == ["Match", "Withdrawn", "Match", "LevelChange"]
    assert [match.maker_order_id for match in outcome.matches] == ["first", "last"]
    assert (outcome.filled_cx, outcome.resting_cx, "own" in book) == (200, 50, False)


def test_an_amend_to_the_same_price_with_less_keeps_the_place() -> None:
    book = MatchingBook()
    book.place(an_order(Side.YES, 5_000, 100, order_id="first"))
    book.place(an_order(Side.YES, 5_000, 50, order_id="second"))
    outcome = book.amend("first", price_cc=5_000, remaining_cx=40)
    assert [change.delta_cx for change in outcome.changes] == [-60]
    assert (book.ahead_cx("first"), book.ahead_cx("second")) == (0, 40)


@pytest.mark.parametrize(("price_cc", "count_cx"), [(5_000, 101), (4_900, 50)])
def test_an_amend_to_another_price_or_more_goes_to_the_back(price_cc: int, count_cx: int) -> None:
    book = MatchingBook()
    book.place(an_order(Side.YES, 5_000, 100, order_id="first"))
    for price in (5_000, 4_900):
        book.place(an_order(Side.YES, price, 50))
    book.amend("first", price_cc=price_cc, remaining_cx=count_cx)
    assert book.ahead_cx("first") == 50


def test_an_amend_that_changes_nothing_tells_nothing() -> None:
    book = MatchingBook()
    book.place(an_order(Side.YES, 5_000, 100, order_id="first"))
    assert book.amend("first", price_cc=5_000, remaining_cx=100).steps == ()


def test_an_amend_trades_where_the_new_price_reaches() -> None:
    book = MatchingBook()
    book.place(an_order(Side.NO, 4_900, 30, owner="b"))
    book.place(an_order(Side.YES, 5_000, 100, order_id="mine"))
    outcome = book.amend("mine", price_cc=5_100, remaining_cx=100)
    assert (outcome.filled_cx, outcome.resting_cx, book.best_cc(Side.YES)) == (30, 70, 5_100)


def test_an_amend_that_would_meet_its_owner_changes_nothing() -> None:
    book = MatchingBook()
    book.place(an_order(Side.NO, 4_900, 100, order_id="own"))
    book.place(an_order(Side.YES, 5_000, 100, order_id="mine"))
    with pytest.raises(WouldCrossSelf):
        book.amend("mine", price_cc=5_100, remaining_cx=100)
    assert (book.levels(Side.YES), book.levels(Side.NO)) == ({5_000: 100}, {4_900: 100})


def test_an_amend_may_cross_where_others_take_all_of_it_first() -> None:
    book = MatchingBook()
    book.place(an_order(Side.NO, 5_000, 100, owner="b"))
    book.place(an_order(Side.NO, 4_900, 100, order_id="own"))
    book.place(an_order(Side.YES, 4_500, 100, order_id="mine"))
    assert book.amend("mine", price_cc=5_100, remaining_cx=100).filled_cx == 100
    assert "own" in book


def test_immediate_or_cancel_rests_nothing() -> None:
    book = MatchingBook()
    outcome = book.place(an_order(Side.YES, 5_000, 100), rest=False)
    assert (outcome.filled_cx, outcome.resting_cx, len(book)) == (0, 0, 0)


def test_a_smaller_size_keeps_its_place() -> None:
    book = MatchingBook()
    book.place(an_order(Side.YES, 5_000, 100, order_id="first"))
    book.place(an_order(Side.YES, 5_000, 50, order_id="second"))
    book.reduce("first", 70)
    assert (book.ahead_cx("first"), book.ahead_cx("second")) == (0, 30)


def test_a_cancelled_order_is_gone_with_its_level() -> None:
    book = MatchingBook()
    book.place(an_order(Side.YES, 5_000, 100, order_id="only"))
    change = book.cancel("only")
    assert (change.delta_cx, book.best_cc(Side.YES), "only" in book) == (-100, 0, False)
    with pytest.raises(KeyError):
        book.cancel("only")


@pytest.mark.parametrize("count", [0, -1, 101])
def test_an_order_cannot_be_reduced_by_more_than_it_has(count: int) -> None:
    book = MatchingBook()
    book.place(an_order(Side.YES, 5_000, 100, order_id="o"))
    with pytest.raises(ValueError, match="cannot reduce"):
        book.reduce("o", count)


def test_an_id_rests_once() -> None:
    book = MatchingBook()
    book.place(an_order(Side.YES, 5_000, 100, order_id="o"))
    with pytest.raises(ValueError, match="already rests"):
        book.place(an_order(Side.YES, 5_000, 100, order_id="o"))
