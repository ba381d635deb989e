"""Paper fills on a tape without prints: what the growth of a ticker's volume says of removals at the touch."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from markets.core.units import Side
from tests.unit.traders.paperworld import AT_US, World, a_world, ends, filled, fills
from traders.brokers.paper import PRINT_WAIT_US, PaperSettings

BLIND = PaperSettings(has_prints=False)


def a_blind_world(settings: PaperSettings = BLIND) -> World:
    """Return a market whose volume so far is 1 000, without prints."""
    world = a_world(settings, with_origin=True)
    world.ticker(1_000)
    return world


def test_a_removal_at_the_touch_stays_undecided_until_the_next_ticker() -> None:
    world = a_blind_world()
    world.place(Side.YES, 4_000, 100)
    assert world.level(Side.YES, 4_000, -300) == []
    assert world.passes(10 * PRINT_WAIT_US) == []
    assert world.ahead_cx() == 300


def test_what_the_volume_grew_by_was_traded_and_fills_us_at_the_ticker() -> None:
    world = a_blind_world()
    world.place(Side.YES, 4_100, 100)
    world.level(Side.YES, 4_000, -300)
    (fill,) = fills(world.ticker(1_080))
    assert (fill.count_cx, fill.inferred, fill.is_taker) == (80, True, False)
    assert fill.trade_id.startswith(f"ticker-{world.time_us}-")
    assert (world.broker.inventory.fills, world.broker.inventory.inferred_fills) == (1, 1)


def test_what_it_did_not_grow_by_was_a_cancel() -> None:
    world = a_blind_world(PaperSettings(has_prints=False, ambiguous_ahead_bps=0))
    world.place(Side.YES, 4_000, 100)
    world.level(Side.YES, 4_000, 400)
    world.level(Side.YES, 4_000, -300)
    assert world.ticker(1_120) == []
    assert world.ahead_cx() == 180, "120 traded at the front, 180 were canceled behind us"


def test_the_growth_goes_to_the_oldest_removal_first_and_never_beyond_what_was_removed() -> None:
    world = a_blind_world()
    world.place(Side.YES, 4_000, 100)
    world.level(Side.NO, 5_800, -200)
    world.level(Side.YES, 4_000, -300)
    assert filled(world.ticker(1_300)) == []
    assert world.ahead_cx() == 0, "200 on the other side, 100 at our price, and 200 canceled"
    world.place(Side.NO, 5_700, 100)
    world.level(Side.NO, 5_700, -10)
    world.ticker(99_000)
    quote = world.broker.resting()[1]
    assert quote.ahead_cx == 390


def test_what_one_removal_has_had_of_the_growth_the_next_has_not() -> None:
    world = a_blind_world()
    world.place(Side.YES, 4_100, 200)
    world.level(Side.YES, 4_000, -100)
    world.level(Side.YES, 4_000, -100)
    assert filled(world.ticker(1_130)) == [100, 30]


def test_a_removal_behind_the_touch_can_only_be_a_cancel() -> None:
    world = a_blind_world()
    world.place(Side.YES, 3_900, 100)
    world.level(Side.YES, 3_900, -200)
    assert world.ahead_cx() == 300
    assert world.ticker(2_000) == []
    assert world.ahead_cx() == 300


def test_the_first_ticker_says_nothing_of_what_came_before_it() -> None:
    world = a_world(BLIND, with_origin=True)
    world.place(Side.YES, 4_100, 100)
    world.level(Side.YES, 4_000, -300)
    assert world.ticker(1_080) == []


def test_a_book_of_another_origin_begins_anew() -> None:
    world = a_blind_world()
    world.place(Side.YES, 4_100, 100)
    world.level(Side.YES, 4_000, -100)
    world.snapshot(yes=[(4_000, 200)], no=[(5_800, 200)], conn=2)
    world.level(Side.YES, 4_000, -100)
    assert world.ticker(5_000) == [], "what grew may have traded while nobody looked"


def test_a_removal_before_our_order_came_does_not_fill_it() -> None:
    world = a_blind_world()
    world.level(Side.YES, 4_000, -100)
    world.place(Side.YES, 4_100, 100)
    world.place(Side.YES, 4_000, 100)
    assert world.ticker(1_100) == []
    assert [quote.ahead_cx for quote in world.broker.resting()] == [0, 200]


def test_an_order_that_came_before_the_ticker_stands_behind_those_whom_a_fill_turns_out_to_have_displaced() -> None:
    world = a_blind_world()
    world.place(Side.YES, 4_100, 100)
    world.level(Side.YES, 4_000, -200)
    late = world.place(Side.YES, 4_000, 50)
    assert filled(world.ticker(1_200)) == [100]
    assert world.quote().client_order_id == late.client_order_id
    assert world.ahead_cx() == 200, "100 are shown, and 100 would not have traded"


def test_the_displaced_ahead_of_such_an_order_go_with_a_trade_at_a_worse_price_that_came_before_it() -> None:
    world = a_blind_world()
    world.place(Side.YES, 4_100, 100)
    world.level(Side.YES, 4_000, -300)
    world.level(Side.YES, 3_900, -160)
    world.place(Side.YES, 4_000, 50)
    assert filled(world.ticker(1_460)) == [100]
    assert world.ahead_cx() == 0


def test_a_cancel_does_not_undo_a_fill_that_is_only_known_later() -> None:
    world = a_blind_world()
    order = world.place(Side.YES, 4_100, 100)
    world.level(Side.YES, 4_000, -300)
    assert world.cancel(order) == []
    assert world.broker.resting() == ()
    events = world.ticker(1_030)
    assert filled(events) == [30]
    assert ends(events) == [("resting", 30, ""), ("canceled", 30, "test")]


def test_a_removal_after_a_cancel_cannot_fill_the_order() -> None:
    world = a_blind_world()
    order = world.place(Side.YES, 4_100, 100)
    world.level(Side.YES, 4_000, -10)
    world.cancel(order)
    world.level(Side.YES, 4_000, -200)
    assert filled(world.ticker(1_210)) == [10]


def test_a_decrease_does_not_undo_a_fill_that_is_only_known_later() -> None:
    world = a_blind_world()
    order = world.place(Side.YES, 4_100, 100)
    world.level(Side.YES, 4_000, -300)
    world.decrease(order, 10)
    assert world.quote().remaining_cx == 10
    assert filled(world.ticker(1_095)) == [95]
    assert world.quote().remaining_cx == 5


def test_a_cancel_of_an_order_that_nothing_can_have_filled_is_carried_out_at_once() -> None:
    world = a_blind_world()
    order = world.place(Side.YES, 3_900, 100)
    world.level(Side.YES, 4_000, -300)
    assert ends(world.cancel(order)) == [("canceled", 0, "test")]


def test_a_removal_before_an_order_came_does_not_hold_up_its_cancel() -> None:
    world = a_blind_world()
    world.level(Side.YES, 4_000, -100)
    order = world.place(Side.YES, 4_100, 100)
    assert ends(world.cancel(order)) == [("canceled", 0, "test")]


def test_an_order_that_waits_to_be_canceled_stands_in_nobodys_way() -> None:
    world = a_blind_world(PaperSettings(has_prints=False, cash_ud=600_000))
    order = world.place(Side.YES, 4_100, 100)
    world.level(Side.YES, 4_000, -300)
    world.cancel(order)
    assert world.place(Side.NO, 5_900, 100).status.value == "resting"
    assert [view.side for view in world.broker.quote_views(world.book)] == [Side.NO]


def test_what_arrives_after_an_order_has_expired_changes_nothing() -> None:
    world = a_blind_world(PaperSettings(has_prints=False, latency_us=10_000))
    order = world.place(Side.YES, 4_100, 100, expires_us=world.time_us + 25_000)
    world.passes(20_000)
    world.level(Side.YES, 4_000, -30)
    world.decrease(order, 50)
    world.passes(20_000)
    assert ends(world.ticker(1_030)) == [("resting", 30, ""), ("canceled", 30, "expired")]


def test_an_expired_order_waits_for_the_ticker_like_a_canceled_one() -> None:
    world = a_blind_world()
    world.place(Side.YES, 4_100, 100, expires_us=world.time_us + 10_000)
    world.level(Side.YES, 4_000, -30)
    assert world.passes(20_000) == []
    world.level(Side.YES, 4_000, -200)
    assert ends(world.ticker(1_230)) == [("resting", 30, ""), ("canceled", 30, "expired")]


def test_a_removal_after_the_ticker_waits_for_the_next_one() -> None:
    world = a_blind_world()
    world.place(Side.YES, 4_100, 100)
    world.level(Side.YES, 4_000, -50)
    assert world.broker.on_volume(1_050, book=world.book, time_us=world.time_us - 1) == []
    assert filled(world.ticker(1_070)) == [20]


def test_a_print_on_such_a_tape_fills_nothing_because_the_volume_contains_it() -> None:
    world = a_blind_world()
    world.place(Side.YES, 4_100, 100)
    assert world.prints(4_000, 100, taker=Side.NO) == []


def test_where_prints_are_told_the_volume_says_nothing() -> None:
    world = a_world(with_origin=True)
    world.ticker(1_000)
    world.place(Side.YES, 4_100, 100)
    world.level(Side.YES, 4_000, -300)
    assert world.ticker(1_300) == []


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("place"), st.sampled_from([3_900, 4_000, 4_100]), st.integers(1, 200)),
            st.tuples(st.just("level"), st.sampled_from([3_900, 4_000]), st.integers(-200, 200)),
            st.tuples(st.just("ticker"), st.just(0), st.integers(0, 300)),
            st.tuples(st.just("cancel"), st.just(0), st.just(0)),
        ),
        max_size=30,
    )
)
@settings(max_examples=200)
def test_never_more_fills_than_the_volume_grew_or_left_the_book(steps: list) -> None:
    world = a_blind_world()
    volume_cx, removed_cx = 1_000, 0
    for kind, price_cc, count_cx in steps:
        if kind == "place":
            world.place(Side.YES, price_cc, count_cx)
        elif kind == "cancel":
            world.broker.cancel_all("test")
        elif kind == "ticker":
            volume_cx += count_cx
            happened = world.ticker(volume_cx)
            assert sum(filled(happened)) <= min(count_cx, removed_cx)
            assert all(fill.inferred and fill.trade_id.startswith("ticker-") for fill in fills(happened))
            removed_cx = 0
        elif delta_cx := max(-world.book.size_cx(Side.YES, price_cc), count_cx):
            assert filled(world.level(Side.YES, price_cc, delta_cx)) == []
            removed_cx += max(0, -delta_cx)
    signed_cx = sum(fill.count_cx for fill in fills(world.events))
    assert world.broker.inventory.position_cx == signed_cx
    assert world.broker.inventory.inferred_fills == world.broker.inventory.fills
    assert world.time_us > AT_US
