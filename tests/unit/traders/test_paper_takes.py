"""Paper orders that trade at once with the visible book."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from markets.core.units import DOLLAR_CC, Side
from tests.unit.traders.paperworld import World, a_world, ends, filled, fills, orders


def test_a_take_walks_the_other_side_level_by_level_up_to_its_limit() -> None:
    world = a_world()
    events = world.take(Side.YES, 4_300, 500)
    assert [(fill.paid_cc, fill.count_cx, fill.is_taker) for fill in fills(events)] == [
        (4_200, 200, True),
        (4_300, 300, True),
    ]
    assert ends(events) == [("filled", 500, "")]
    assert world.broker.inventory.cash_ud == -(200 * 4_200 + 300 * 4_300)


def test_what_cannot_be_had_is_canceled_and_nothing_rests() -> None:
    world = a_world()
    events = world.take(Side.NO, 6_000, 900)
    assert filled(events) == [300]
    assert ends(events) == [("canceled", 300, "nothing more in reach")]
    assert orders(events)[0].remaining_cx == 0
    assert world.broker.resting() == ()


def test_a_take_with_nothing_in_reach_is_canceled() -> None:
    world = a_world()
    assert ends(world.take(Side.YES, 4_100, 10)) == [("canceled", 0, "nothing more in reach")]


def test_its_trade_ids_name_the_order_and_a_number() -> None:
    world = a_world()
    events = world.take(Side.YES, 4_300, 500)
    assert [fill.trade_id for fill in fills(events)] == ["order-1-1", "order-1-2"]


def test_what_we_took_is_not_there_again_until_the_book_changes() -> None:
    world = a_world()
    assert filled(world.take(Side.YES, 4_200, 150)) == [150]
    assert filled(world.take(Side.YES, 4_300, 100)) == [50, 50]
    world.level(Side.NO, 5_800, 10)
    assert filled(world.take(Side.YES, 4_300, 500)) == [210, 290]
    world.level(Side.NO, 5_800, -10)
    assert filled(world.take(Side.YES, 4_300, 500)) == [200, 60]


def test_a_snapshot_that_shows_the_same_size_does_not_bring_back_what_we_took() -> None:
    world = a_world()
    world.take(Side.YES, 4_300, 250)
    world.snapshot(yes=[(4_000, 300)], no=[(5_800, 200), (5_700, 390)])
    assert filled(world.take(Side.YES, 4_300, 999)) == [390]


def test_a_take_ends_where_it_would_meet_our_own() -> None:
    world = a_world()
    own = world.place(Side.NO, 5_700, 100)
    world.prints(DOLLAR_CC - 5_700, 380, taker=Side.YES)
    events = world.take(Side.YES, 4_300, 500)
    assert filled(events) == [200, 20], "the better level, and the 20 ahead of ours"
    assert ends(events) == [("canceled", 220, "it would meet our own")]
    assert world.quote().client_order_id == own.client_order_id
    assert world.quote().remaining_cx == 100


def test_a_take_never_reaches_past_an_order_of_ours_that_nobody_else_stands_with() -> None:
    world = a_world()
    world.place(Side.NO, 5_900, 100)
    assert filled(world.take(Side.YES, 4_300, 500)) == []


def test_a_level_that_was_taken_in_full_is_passed_over() -> None:
    world = World(yes=[(4_000, 300)], no=[(5_800, 200), (5_700, 400)])
    world.take(Side.YES, 4_200, 200)
    assert [(fill.paid_cc, fill.count_cx) for fill in fills(world.take(Side.YES, 4_300, 10))] == [(4_300, 10)]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(list(Side)), st.sampled_from([4_000, 4_200, 4_300, 6_000, 6_100]), st.integers(1, 500)
        ),
        max_size=10,
    )
)
@settings(max_examples=100)
def test_takes_together_find_no_more_than_the_book_shows(takes: list[tuple[Side, int, int]]) -> None:
    world = a_world()
    had_cx: dict[tuple[Side, int], int] = {}
    for side, limit_cc, count_cx in takes:
        events = world.take(side, limit_cc, count_cx)
        for fill in fills(events):
            assert fill.paid_cc <= limit_cc
            level = (side.other, DOLLAR_CC - fill.paid_cc)
            had_cx[level] = had_cx.get(level, 0) + fill.count_cx
        assert sum(filled(events)) <= count_cx
    assert all(count_cx <= world.book.size_cx(*level) for level, count_cx in had_cx.items())
