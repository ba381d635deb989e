from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets.core.book import OrderBook
from markets.core.units import DOLLAR_CC, DOLLAR_UD, Side
from traders.core.inventory import RECENT, Inventory

FILLS = st.lists(
    st.tuples(
        st.sampled_from(list(Side)),
        st.integers(1, DOLLAR_CC - 1),
        st.integers(1, 10_000),
        st.none() | st.integers(0, 100_000),
        st.booleans(),
    )
)


def a_book(*, yes: list[tuple[int, int]], no: list[tuple[int, int]]) -> OrderBook:
    book = OrderBook()
    book.replace(yes, no)
    return book


def held(*fills: tuple[Side, int, int]) -> Inventory:
    inventory = Inventory()
    for side, price_cc, count_cx in fills:
        inventory = inventory.after(side, price_cc, count_cx, fee_ud=0)
    return inventory


def of(fills: list) -> Inventory:
    inventory = Inventory()
    for side, price_cc, count_cx, fee_ud, inferred in fills:
        inventory = inventory.after(side, price_cc, count_cx, fee_ud=fee_ud, inferred=inferred)
    return inventory


@pytest.mark.parametrize(
    ("before", "side", "position_cx", "cash_ud"),
    [
        ((), Side.YES, 100, -400_000),  # opens Yes at 40 cents
        ((), Side.NO, -100, -400_000),  # opens No at 40 cents
        (((Side.NO, 5_000, 100),), Side.YES, 0, 600_000),  # closes No: the pair is worth a dollar
        (((Side.YES, 5_000, 100),), Side.NO, 0, 600_000),
        (((Side.NO, 5_000, 40),), Side.YES, 60, 40 * DOLLAR_CC - 400_000),  # closes 40 and opens 60
        (((Side.YES, 5_000, 40),), Side.NO, -60, 40 * DOLLAR_CC - 400_000),
    ],
)
def test_F10_every_cell_of_yes_and_no_moves_position_and_cash_of_a_trader_as_the_exchange_does(
    before: tuple, side: Side, position_cx: int, cash_ud: int
) -> None:
    inventory = held(*before)
    after = inventory.after(side, 4_000, 100, fee_ud=0)
    assert (after.position_cx, after.cash_ud - inventory.cash_ud) == (position_cx, cash_ud)


def test_a_fee_comes_off_the_cash_and_an_unknown_one_is_counted() -> None:
    known = Inventory().after(Side.YES, 4_000, 100, fee_ud=17_500)
    assert (known.cash_ud, known.position.fees_ud, known.unknown_fees) == (-417_500, 17_500, 0)
    unknown = known.after(Side.YES, 4_000, 100)
    assert (unknown.cash_ud, unknown.position.fees_ud, unknown.unknown_fees) == (-817_500, 17_500, 1)


def test_inferred_fills_are_counted_apart() -> None:
    both = Inventory().after(Side.YES, 4_000, 100).after(Side.YES, 4_000, 100, inferred=True)
    assert (both.fills, both.inferred_fills) == (2, 1)


def test_what_is_held_is_marked_where_somebody_would_take_it() -> None:
    book = a_book(yes=[(4_000, 100)], no=[(5_800, 100)])
    assert held((Side.YES, 4_100, 100)).trading_ud(book) == -10_000
    assert held((Side.NO, 5_900, 100)).trading_ud(book) == -10_000


def test_the_result_is_unknown_when_nobody_stands_on_the_side_we_would_have_to_meet() -> None:
    assert held((Side.YES, 4_000, 100)).trading_ud(a_book(yes=[], no=[(5_800, 100)])) is None
    assert held((Side.NO, 5_800, 100)).trading_ud(a_book(yes=[(4_000, 100)], no=[])) is None


def test_flat_needs_no_market() -> None:
    both = held((Side.YES, 4_000, 100), (Side.NO, 5_800, 100))
    assert both.trading_ud(a_book(yes=[], no=[])) == 20_000


@pytest.mark.parametrize(("value_ud", "cash_ud"), [(DOLLAR_UD, 600_000), (0, -400_000), (250_000, -150_000)])
def test_F7_settlement_turns_what_is_held_into_cash(value_ud: int, cash_ud: int) -> None:
    settled = held((Side.YES, 4_000, 100)).settled(value_ud)
    assert (settled.cash_ud, settled.position_cx, settled.fills) == (cash_ud, 0, 1)
    assert settled.position.realized_ud == cash_ud


@given(st.lists(st.tuples(st.sampled_from(list(Side)), st.integers(1, 9_990), st.integers(1, 10_000))))
def test_a_pair_of_yes_and_no_earns_what_it_lacks_to_a_dollar(fills: list[tuple[Side, int, int]]) -> None:
    inventory, cost_ud, pairs_cx = Inventory(), 0, 0
    for side, price_cc, count_cx in fills:
        inventory = inventory.after(side, price_cc, count_cx).after(side.other, 9_995 - price_cc, count_cx)
        cost_ud += 9_995 * count_cx
        pairs_cx += count_cx
    assert inventory.position_cx == 0
    assert inventory.cash_ud == pairs_cx * DOLLAR_CC - cost_ud


@given(FILLS)
def test_a_checkpoint_gives_it_back_as_it_was(fills: list) -> None:
    inventory = of(fills)
    assert msgspec.json.decode(msgspec.json.encode(inventory), type=Inventory) == inventory


@given(FILLS, st.integers(0, 20))
def test_the_lines_of_a_journal_give_it_back_from_any_point_on(fills: list, at: int) -> None:
    first = msgspec.json.decode(msgspec.json.encode(of(fills[:at])), type=Inventory)
    for side, price_cc, count_cx, fee_ud, inferred in fills[at:]:
        first = first.after(side, price_cc, count_cx, fee_ud=fee_ud, inferred=inferred)
    assert first == of(fills)


def test_a_checkpoint_of_another_shape_is_refused_rather_than_read_as_empty() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"position_cx":300,"cash_ud":-1200000,"fills":2}', type=Inventory)


# Told late


PLAIN = st.tuples(st.sampled_from(list(Side)), st.integers(1, DOLLAR_CC - 1), st.integers(1, 5_000))
SHUFFLED = st.lists(PLAIN, max_size=RECENT).flatmap(
    lambda fills: st.tuples(st.just(fills), st.permutations(range(len(fills))))
)


@given(SHUFFLED)
def test_fills_told_in_any_order_come_to_what_their_true_order_does(
    case: tuple[list[tuple[Side, int, int]], list[int]],
) -> None:
    fills, order = case
    told = Inventory()
    for number in order:
        told = told.after(*fills[number], fee_ud=7, time_us=1_000 * (1 + number))
    true = held(*fills)
    assert (told.position.cost_ud, told.position.realized_ud) == (true.position.cost_ud, true.position.realized_ud)
    assert (told.position_cx, told.cash_ud) == (true.position_cx, true.cash_ud - 7 * len(fills))


def test_a_late_close_releases_the_cost_of_its_own_moment() -> None:
    before = held((Side.YES, 3_000, 1_000))
    opened = before.after(Side.YES, 7_000, 1_000, fee_ud=0, time_us=20_000)
    told_late = opened.after(Side.NO, 5_000, 1_000, fee_ud=0, time_us=10_000)
    assert told_late.position.cost_ud == 7_000 * 1_000, "the first contracts were gone when the dear ones came"
    assert opened.after(Side.NO, 5_000, 1_000, fee_ud=0).position.cost_ud == 5_000 * 1_000


def test_what_is_kept_of_fills_does_not_grow() -> None:
    inventory = Inventory()
    for number in range(3 * RECENT):
        inventory = inventory.after(Side.YES, 4_000, 10, fee_ud=0, time_us=1_000 * number)
    assert len(inventory.recent) == RECENT
    assert inventory.earlier.volume_cx == 2 * RECENT * 10
    assert inventory.settled(DOLLAR_UD).recent == ()
    late = inventory.after(Side.YES, 5_000, 10, fee_ud=0, time_us=0)
    assert late.position_cx == inventory.position_cx + 10, "too late for its place, and counted all the same"
