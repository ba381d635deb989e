from __future__ import annotations

import ast
import inspect
from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from markets.core.units import DOLLAR_CC, Side
from tests.unit.traders.paperworld import AT_US, World, a_world, ends, filled, fills
from traders.brokers import paper
from traders.brokers.paper import PRINT_WAIT_US, PaperSettings
from traders.core import paperfills, papermoney, paperorders, papertakes
from traders.core.orders import Fill, Order, OrderStatus


def test_a_print_through_our_price_fills_us() -> None:
    world = a_world()
    world.place(Side.YES, 4_000, 100)
    events = world.prints(3_900, 500, taker=Side.NO)
    assert filled(events) == [100]
    assert world.broker.resting() == ()


def test_a_print_through_our_price_fills_no_more_than_its_size() -> None:
    world = a_world()
    world.place(Side.YES, 4_000, 100)
    assert filled(world.prints(3_900, 30, taker=Side.NO)) == [30]
    assert world.broker.resting()[0].remaining_cx == 70


def test_a_print_at_our_price_uses_up_the_queue_ahead_first() -> None:
    world = a_world()
    world.place(Side.YES, 4_000, 100)
    assert filled(world.prints(4_000, 300, taker=Side.NO)) == []
    assert world.ahead_cx() == 0
    assert filled(world.prints(4_000, 60, taker=Side.NO)) == [60]


def test_what_a_print_leaves_after_the_queue_fills_us_in_part() -> None:
    world = a_world()
    world.place(Side.YES, 4_000, 100)
    events = world.prints(4_000, 340, taker=Side.NO)
    assert filled(events) == [40]
    fill, order = events
    assert isinstance(fill, Fill)
    assert isinstance(order, Order)
    assert (order.status, order.filled_cx, order.remaining_cx) == (OrderStatus.RESTING, 40, 60)


def test_its_fee_is_unknown_and_not_zero() -> None:
    world = a_world()
    world.place(Side.YES, 4_000, 100)
    fill = world.prints(3_900, 100, taker=Side.NO)[0]
    assert isinstance(fill, Fill)
    assert fill.fee_ud is None


def test_a_no_order_is_met_by_takers_who_buy_yes() -> None:
    world = a_world()
    world.place(Side.NO, 5_800, 100)
    assert filled(world.prints(DOLLAR_CC - 5_800, 250, taker=Side.YES)) == [50]
    assert filled(world.prints(DOLLAR_CC - 5_700, 20, taker=Side.YES)) == [20]


def test_a_print_on_the_other_ladder_does_not_touch_us() -> None:
    world = a_world()
    world.place(Side.YES, 4_000, 100)
    assert filled(world.prints(3_900, 500, taker=Side.YES)) == []


def test_a_print_at_a_better_price_than_ours_met_others() -> None:
    world = a_world()
    world.place(Side.YES, 3_900, 100)
    assert filled(world.prints(4_000, 900, taker=Side.NO)) == []
    assert world.ahead_cx() == 500


def test_a_print_from_before_we_rested_does_not_fill_us() -> None:
    world = a_world()
    world.place(Side.YES, 4_000, 100)
    assert filled(world.prints(3_900, 500, taker=Side.NO, after_us=0)) == []


def test_a_removal_limits_the_queue_ahead_once_no_print_has_explained_it() -> None:
    world = a_world()
    world.place(Side.YES, 4_000, 100)
    world.level(Side.YES, 4_000, -200)
    assert world.ahead_cx() == 300, "its print may still come"
    world.level(Side.YES, 3_900, 10, after_us=PRINT_WAIT_US)
    assert world.ahead_cx() == 100


def test_a_removal_and_its_print_move_the_queue_once() -> None:
    world = a_world()
    world.place(Side.YES, 4_000, 100)
    world.level(Side.YES, 4_000, -200)
    assert filled(world.prints(4_000, 200, taker=Side.NO)) == []
    world.level(Side.YES, 3_900, 10, after_us=PRINT_WAIT_US)
    assert world.ahead_cx() == 100


@pytest.mark.parametrize(
    ("ahead_bps", "ahead_cx"),
    [
        (None, 150),  # pro rata: 300 of 800 were ahead, and so 150 of the 400
        (0, 300),
        (2_500, 200),
        (10_000, 0),
    ],
)
def test_the_share_of_a_cancel_that_was_ahead_of_us_is_a_setting(ahead_bps: int | None, ahead_cx: int) -> None:
    world = a_world(PaperSettings(ambiguous_ahead_bps=ahead_bps))
    world.place(Side.YES, 4_000, 100)
    world.level(Side.YES, 4_000, 500)
    world.level(Side.YES, 4_000, -400)
    world.passes(PRINT_WAIT_US)
    assert world.ahead_cx() == ahead_cx


@pytest.mark.parametrize("ahead_bps", [None, 0, 10_000])
def test_no_more_is_ahead_than_a_cancel_left_of_the_level_whatever_came_behind_us_since(ahead_bps: int | None) -> None:
    world = a_world(PaperSettings(ambiguous_ahead_bps=ahead_bps))
    world.place(Side.YES, 4_000, 100)
    world.level(Side.YES, 4_000, -200)
    world.level(Side.YES, 4_000, 700)
    world.passes(PRINT_WAIT_US)
    assert world.ahead_cx() == 100


def test_a_snapshot_limits_the_queue_ahead_at_once() -> None:
    world = a_world()
    world.place(Side.YES, 4_000, 100)
    world.snapshot(yes=[(4_000, 50)], no=[(5_800, 200)])
    assert world.ahead_cx() == 50


def test_a_decrease_keeps_the_place_in_the_queue() -> None:
    world = a_world()
    order = world.place(Side.YES, 4_000, 100)
    world.prints(4_000, 120, taker=Side.NO)
    world.decrease(order, 40)
    (view,) = world.broker.quote_views(world.book)
    assert (view.ahead_cx, view.remaining_cx, view.placed_cx) == (180, 40, 100)
    assert filled(world.prints(4_000, 900, taker=Side.NO)) == [40]


def test_the_buffer_counts_better_prices_and_the_queue_ahead() -> None:
    world = a_world()
    world.place(Side.YES, 3_900, 100)
    (view,) = world.broker.quote_views(world.book)
    assert (view.ahead_cx, view.buffer_cx, view.ahead_is_estimate) == (500, 800, True)


def test_an_order_that_would_cross_is_refused_as_the_exchange_would() -> None:
    world = a_world()
    order = world.place(Side.YES, 4_200, 100)
    assert (order.status, order.remaining_cx) == (OrderStatus.REFUSED, 0)
    assert world.broker.resting() == ()


def test_a_canceled_order_cannot_be_filled() -> None:
    world = a_world()
    order = world.place(Side.YES, 4_000, 100)
    world.cancel(order)
    assert world.prints(3_900, 500, taker=Side.NO) == []


@pytest.mark.parametrize("side", list(Side))
def test_it_never_shows_up_in_the_book(side: Side) -> None:
    world = a_world()
    before = dict(world.book.levels[side])
    world.place(side, world.book.best_cc[side], 100)
    assert world.book.levels[side] == before


# --- the book ---------------------------------------------------------------------------------------------------------


def test_a_snapshot_that_shows_nothing_new_keeps_a_removal_waiting_for_its_print() -> None:
    world = a_world(with_origin=True)
    world.place(Side.YES, 4_000, 100)
    world.level(Side.YES, 4_000, -200)
    world.snapshot(yes=[(4_000, 100), (3_900, 500)], no=[(5_800, 200)])
    assert world.ahead_cx() == 300
    world.prints(4_000, 200, taker=Side.NO)
    world.passes(PRINT_WAIT_US)
    assert world.ahead_cx() == 100


def test_a_print_that_is_told_before_the_book_moves_the_queue_once() -> None:
    world = a_world()
    world.place(Side.YES, 4_000, 100)
    world.prints(4_000, 200, taker=Side.NO)
    world.level(Side.YES, 4_000, -200)
    world.passes(PRINT_WAIT_US)
    assert world.ahead_cx() == 100


def test_a_print_that_comes_too_late_for_a_removal_is_another_trade() -> None:
    world = a_world()
    world.place(Side.YES, 4_000, 100)
    world.level(Side.YES, 4_000, -100)
    world.prints(4_000, 50, taker=Side.NO, after_us=PRINT_WAIT_US)
    assert world.ahead_cx() == 150


ALL_AHEAD = PaperSettings(ambiguous_ahead_bps=10_000)


def test_a_print_whose_removal_never_shows_hides_no_later_cancel() -> None:
    world = a_world(ALL_AHEAD)
    world.place(Side.YES, 4_000, 100)
    world.prints(4_000, 100, taker=Side.NO)
    world.level(Side.YES, 4_000, -100, after_us=PRINT_WAIT_US)
    world.passes(PRINT_WAIT_US)
    assert world.ahead_cx() == 100


def test_a_print_that_a_snapshot_already_contains_hides_no_later_cancel() -> None:
    world = a_world(ALL_AHEAD, with_origin=True)
    world.place(Side.YES, 4_000, 100)
    world.prints(4_000, 200, taker=Side.NO)
    world.snapshot(yes=[(4_000, 100)], no=[(5_800, 200)])
    world.level(Side.YES, 4_000, -60)
    world.passes(PRINT_WAIT_US)
    assert world.ahead_cx() == 40


def test_a_book_of_another_origin_leaves_nothing_waiting() -> None:
    world = a_world(ALL_AHEAD, with_origin=True)
    world.place(Side.YES, 4_000, 100)
    world.level(Side.YES, 4_000, -200)
    world.snapshot(yes=[(4_000, 100)], no=[(5_800, 200)], conn=2)
    assert world.ahead_cx() == 100
    world.prints(4_000, 10, taker=Side.NO)
    world.snapshot(yes=[(4_000, 100)], no=[(5_800, 200)], conn=3)
    world.level(Side.YES, 4_000, -50)
    world.passes(PRINT_WAIT_US)
    assert world.ahead_cx() == 40


def test_a_book_of_another_origin_has_displaced_nobody() -> None:
    world = World(yes=[(4_000, 200)], no=[(5_800, 200)])
    world.place(Side.YES, 4_100, 100)
    world.level(Side.YES, 4_000, -100)
    world.prints(4_000, 100, taker=Side.NO)
    world.snapshot(yes=[(4_000, 100)], no=[(5_800, 200)], conn=2)
    world.place(Side.YES, 4_000, 100)
    assert world.ahead_cx() == 100


# --- whom our fills displaced -----------------------------------------------------------------------------------------


def test_who_quotes_anew_after_a_fill_stands_behind_those_whom_the_print_would_have_met_instead() -> None:
    world = World(yes=[(4_000, 200)], no=[(5_800, 200)])
    world.place(Side.YES, 4_100, 100)
    world.level(Side.YES, 4_000, -100)
    assert filled(world.prints(4_000, 100, taker=Side.NO)) == [100]
    world.place(Side.YES, 4_000, 100)
    assert world.ahead_cx() == 200, "100 are shown, and 100 would not have traded"


def test_the_displaced_leave_with_a_cancel_of_a_part_of_their_level_in_the_same_part() -> None:
    world = World(yes=[(4_000, 200)], no=[(5_800, 200)], settings=PaperSettings(ambiguous_ahead_bps=0))
    world.place(Side.YES, 4_100, 100)
    world.level(Side.YES, 4_000, -100)
    world.prints(4_000, 100, taker=Side.NO)
    world.level(Side.YES, 4_000, -50)
    world.passes(PRINT_WAIT_US)
    world.place(Side.YES, 4_000, 100)
    assert world.ahead_cx() == 50 + 50


def test_the_displaced_are_gone_once_the_other_side_has_reached_their_price() -> None:
    world = World(yes=[(4_000, 200)], no=[(5_800, 200)])
    world.place(Side.YES, 4_100, 100)
    world.level(Side.YES, 4_000, -200)
    world.prints(4_000, 200, taker=Side.NO)
    world.level(Side.NO, 6_000, 10)
    world.level(Side.NO, 6_000, -10)
    world.place(Side.YES, 4_000, 100)
    assert world.ahead_cx() == 0


# --- renewing, expiring -----------------------------------------------------------------------------------------------


def test_an_order_says_when_it_rested_and_when_it_expires() -> None:
    world = a_world()
    world.place(Side.YES, 4_000, 100, expires_us=AT_US + 5_000)
    quote = world.quote()
    assert (quote.ahead_cx, quote.rested_us, quote.expires_us) == (300, AT_US, AT_US + 5_000)


def test_an_order_past_its_expiry_is_canceled_before_anything_later_reaches_it() -> None:
    world = a_world()
    world.place(Side.YES, 4_000, 100, expires_us=AT_US + 5_000)
    events = world.prints(3_900, 100, taker=Side.NO, after_us=5_001)
    assert ends(events) == [("canceled", 0, "expired")]
    assert world.broker.resting() == ()


def test_an_order_can_fill_up_to_its_expiry() -> None:
    world = a_world()
    world.place(Side.YES, 4_000, 100, expires_us=AT_US + 5_000)
    assert filled(world.prints(3_900, 100, taker=Side.NO, after_us=5_000)) == [100]


def test_time_alone_ends_an_expired_order() -> None:
    world = a_world()
    world.place(Side.YES, 4_000, 100, expires_us=AT_US + 5_000)
    assert world.broker.on_time(AT_US + 5_000) == []
    assert ends(world.broker.on_time(AT_US + 5_001)) == [("canceled", 0, "expired")]


def test_a_renewal_moves_the_expiry_and_keeps_the_place() -> None:
    world = a_world()
    order = world.place(Side.YES, 4_000, 100, expires_us=AT_US + 5_000)
    world.prints(4_000, 120, taker=Side.NO)
    assert world.renew(order, AT_US + 50_000) == []
    world.passes(10_000)
    assert (world.quote().ahead_cx, world.quote().expires_us) == (180, AT_US + 50_000)
    assert ends(world.passes(50_000)) == [("canceled", 0, "expired")]


def test_an_order_that_had_expired_before_it_came_is_refused() -> None:
    world = a_world()
    order = world.place(Side.YES, 4_000, 100, expires_us=AT_US)
    assert (order.status, order.reason) == (OrderStatus.REFUSED, "expired")


def test_a_command_for_an_order_that_is_over_changes_nothing() -> None:
    world = a_world()
    order = world.place(Side.YES, 4_000, 100)
    world.prints(3_900, 100, taker=Side.NO)
    assert world.cancel(order) == world.decrease(order, 10) == world.renew(order, AT_US + 10**9) == []


def test_cancel_all_ends_every_order_with_its_reason() -> None:
    world = a_world()
    world.place(Side.YES, 4_000, 100)
    world.place(Side.NO, 5_800, 100)
    assert ends(world.broker.cancel_all("test")) == [("canceled", 0, "test")] * 2
    assert world.broker.resting() == ()


# --- our own orders among themselves ----------------------------------------------------------------------------------


def test_an_order_that_would_meet_our_own_is_refused() -> None:
    world = World(yes=[(4_000, 300)], no=[(5_000, 300)])
    world.place(Side.YES, 4_500, 100)
    order = world.place(Side.NO, 5_500, 100)
    assert (order.status, order.reason) == (OrderStatus.REFUSED, "post-only: it would meet our own")


def test_our_orders_share_what_a_print_leaves_best_price_first_then_oldest() -> None:
    world = World(yes=[(3_800, 900)], no=[(5_000, 300)])
    first, second = world.place(Side.YES, 4_000, 100), world.place(Side.YES, 4_000, 100)
    better = world.place(Side.YES, 4_100, 100)
    events = world.prints(3_800, 250, taker=Side.NO)
    assert [(fill.order.client_order_id, fill.count_cx) for fill in fills(events)] == [
        (better.client_order_id, 100),
        (first.client_order_id, 100),
        (second.client_order_id, 50),
    ]


# --- what is always true ----------------------------------------------------------------------------------------------

PRICES_CC = st.sampled_from([3_800, 3_900, 4_000, 4_100])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("place"), st.sampled_from(list(Side)), PRICES_CC, st.integers(1, 300)),
        st.tuples(st.just("print"), st.sampled_from(list(Side)), PRICES_CC, st.integers(1, 400)),
        st.tuples(st.just("level"), st.sampled_from(list(Side)), PRICES_CC, st.integers(-300, 300)),
        st.tuples(st.just("cancel"), st.just(Side.YES), st.just(0), st.integers(0, 9)),
        st.tuples(st.just("wait"), st.just(Side.YES), st.just(0), st.integers(1, 400_000)),
    ),
    max_size=30,
)
SETTINGS = st.builds(
    PaperSettings,
    latency_us=st.sampled_from([0, 2_500, 50_000]),
    ambiguous_ahead_bps=st.sampled_from([None, 0, 5_000, 10_000]),
)


def own_cc(side: Side, price_cc: int) -> int:
    """Return a price that rests on a side of a book between 42 and 58."""
    return price_cc if side is Side.YES else price_cc + 100


def run(world: World, steps: list) -> dict[str, tuple[Side, int, int]]:
    """Carry out steps, and return side, own price and count of every print."""
    told = {}
    for kind, side, price_cc, count_cx in steps:
        before = len(world.events)
        if kind == "place":
            world.place(side, own_cc(side, price_cc), count_cx)
        elif kind == "print":
            yes_cc = own_cc(side, price_cc) if side is Side.YES else DOLLAR_CC - own_cc(side, price_cc)
            world.prints(yes_cc, count_cx, taker=side.other)
            told[f"trade-{len(told) + 1}"] = (side, own_cc(side, price_cc), count_cx)
        elif kind == "level":
            shown_cx = world.book.size_cx(side, own_cc(side, price_cc))
            if delta_cx := max(-shown_cx, count_cx):
                world.level(side, own_cc(side, price_cc), delta_cx)
        elif kind == "cancel" and (resting := world.broker.resting()):
            quote = resting[count_cx % len(resting)]
            (order,) = [e for e in world.events if isinstance(e, Order) and e.client_order_id == quote.client_order_id][
                :1
            ]
            world.cancel(order)
        elif kind == "wait":
            world.passes(count_cx)
        assert all(isinstance(event, Fill | Order) for event in world.events[before:])
    return told


@given(SETTINGS, STEPS)
@settings(max_examples=150)
def test_every_fill_is_a_part_of_one_print_at_our_price_or_through_it(
    paper_settings: PaperSettings, steps: list
) -> None:
    world = a_world(paper_settings)
    told = run(world, steps)
    by_trade: Counter[str] = Counter()
    by_order: Counter[str] = Counter()
    once: set[tuple[str, str]] = set()
    for fill in fills(world.events):
        side, price_cc, _ = told[fill.trade_id]
        order = fill.order
        assert order.side is side
        assert price_cc <= order.price_cc
        assert (order.client_order_id, fill.trade_id) not in once
        once.add((order.client_order_id, fill.trade_id))
        by_trade[fill.trade_id] += fill.count_cx
        by_order[order.client_order_id] += fill.count_cx
        assert by_order[order.client_order_id] == order.filled_cx <= order.placed_cx
    assert all(count_cx <= told[trade_id][2] for trade_id, count_cx in by_trade.items())


@given(SETTINGS, STEPS)
@settings(max_examples=100)
def test_what_remains_is_what_was_placed_less_what_filled_or_was_canceled(
    paper_settings: PaperSettings, steps: list
) -> None:
    world = a_world(paper_settings)
    run(world, steps)
    last = {event.client_order_id: event for event in world.events if isinstance(event, Order)}
    resting = {quote.client_order_id: quote.remaining_cx for quote in world.broker.resting()}
    for client_order_id, order in last.items():
        if client_order_id in resting:
            assert resting[client_order_id] == order.remaining_cx == order.placed_cx - order.filled_cx > 0
    assert all(order.remaining_cx == 0 for order in last.values() if order.status is not OrderStatus.RESTING)


@given(SETTINGS, STEPS)
@settings(max_examples=100)
def test_the_position_is_the_sum_of_the_fills(paper_settings: PaperSettings, steps: list) -> None:
    world = a_world(paper_settings)
    run(world, steps)
    signed_cx = [f.count_cx if f.order.side is Side.YES else -f.count_cx for f in fills(world.events)]
    assert (world.broker.inventory.position_cx, world.broker.inventory.fills) == (sum(signed_cx), len(signed_cx))


@given(SETTINGS, STEPS)
@settings(max_examples=50)
def test_the_same_events_give_the_same_bytes(paper_settings: PaperSettings, steps: list) -> None:
    def said() -> bytes:
        world = a_world(paper_settings)
        run(world, steps)
        return msgspec.json.encode([world.events, world.broker.resting(), world.broker.quote_views(world.book)])

    assert said() == said()


def test_it_has_no_way_to_send_anything() -> None:
    ways_out = {"socket", "asyncio", "aiohttp", "http", "urllib", "requests", "websockets", "picows", "redis", "ssl"}
    for module in (paper, paperfills, papermoney, paperorders, papertakes):
        tree = ast.parse(inspect.getsource(module))
        imported = {
            name.partition(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names])
        }
        assert not imported & ways_out
