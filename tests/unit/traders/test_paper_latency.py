"""Paper orders on their way: what has been sent takes effect later, and finds the market as it is then."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from markets.core.units import Side
from tests.unit.traders.paperworld import AT_US, World, a_world, ends, filled, fills, orders
from traders.brokers.paper import ON_ITS_WAY, PaperSettings
from traders.core.commands import PlaceOrder
from traders.core.orders import Order

LATENCY_US = 50_000
SLOW = PaperSettings(latency_us=LATENCY_US)


def test_an_order_on_its_way_counts_as_resting_and_stands_nowhere_yet() -> None:
    world = a_world(SLOW)
    order = world.place(Side.YES, 4_000, 100)
    assert (order.status.value, order.reason) == ("resting", ON_ITS_WAY)
    quote = world.quote()
    assert (quote.remaining_cx, quote.ahead_cx, quote.rested_us) == (100, 300, AT_US + LATENCY_US)
    assert world.broker.quote_views(world.book) == []


def test_its_place_is_behind_what_the_book_shows_when_it_arrives() -> None:
    world = a_world(SLOW)
    world.place(Side.YES, 4_000, 100)
    world.level(Side.YES, 4_000, 250, after_us=LATENCY_US)
    world.level(Side.YES, 4_000, 999, after_us=1)
    assert world.ahead_cx() == 550, "the last change came after it"
    assert world.quote().rested_us == AT_US + LATENCY_US


def test_it_says_that_it_rests_once_it_does() -> None:
    world = a_world(SLOW)
    world.place(Side.YES, 4_000, 100)
    assert ends(world.passes(LATENCY_US)) == []
    assert ends(world.passes(1)) == [("resting", 0, "")]


def test_a_snapshot_that_comes_after_it_does_not_move_it_back() -> None:
    world = a_world(SLOW, with_origin=True)
    world.place(Side.YES, 4_000, 100)
    world.snapshot(yes=[(4_000, 700)], no=[(5_800, 200)], after_us=LATENCY_US + 1)
    assert world.ahead_cx() == 300


def test_a_print_cannot_fill_it_before_it_arrives() -> None:
    world = a_world(SLOW)
    world.place(Side.YES, 4_000, 100)
    assert filled(world.prints(3_900, 500, taker=Side.NO, after_us=LATENCY_US)) == []
    assert filled(world.prints(3_900, 500, taker=Side.NO, after_us=1)) == [100]


def test_it_is_refused_where_it_would_cross_when_it_arrives() -> None:
    world = a_world(SLOW)
    world.place(Side.YES, 4_000, 100)
    world.level(Side.YES, 4_000, -300)
    world.level(Side.NO, 6_000, 10)
    assert ends(world.passes(LATENCY_US)) == [("refused", 0, "post-only: it would cross")]
    assert world.broker.resting() == ()


def test_it_may_rest_where_it_would_have_crossed_when_it_was_sent() -> None:
    world = a_world(SLOW)
    world.place(Side.YES, 4_200, 100)
    world.level(Side.NO, 5_800, -200)
    assert ends(world.passes(LATENCY_US)) == [("resting", 0, "")]


def test_C9_what_fills_while_a_cancel_is_on_its_way_is_booked_and_the_rest_canceled() -> None:
    world = a_world(SLOW)
    order = world.place(Side.YES, 4_000, 100)
    world.passes(LATENCY_US + 1)
    assert world.cancel(order) == []
    assert world.broker.resting() == (), "nobody should cancel it again"
    assert filled(world.prints(3_900, 30, taker=Side.NO, after_us=LATENCY_US)) == [30]
    assert ends(world.passes(1)) == [("canceled", 30, "test")]
    assert world.broker.inventory.position_cx == 30


def test_C10_a_cancel_that_comes_too_late_changes_nothing() -> None:
    world = a_world(SLOW)
    order = world.place(Side.YES, 4_000, 100)
    world.passes(LATENCY_US + 1)
    world.cancel(order)
    assert ends(world.prints(3_900, 100, taker=Side.NO)) == [("filled", 100, "")]
    assert world.passes(LATENCY_US) == []


def test_an_order_that_is_canceled_on_its_way_arrives_first() -> None:
    world = a_world(SLOW)
    order = world.place(Side.YES, 4_000, 100)
    world.level(Side.YES, 3_900, 1, after_us=10_000)
    world.cancel(order)
    assert world.broker.resting() == ()
    assert ends(world.passes(LATENCY_US)) == [("resting", 0, "")]
    assert ends(world.passes(1)) == [("canceled", 0, "test")]


def test_a_decrease_lets_more_fill_until_it_arrives() -> None:
    world = a_world(SLOW)
    order = world.place(Side.YES, 4_000, 100)
    world.passes(LATENCY_US + 1)
    assert world.decrease(order, 40) == []
    assert world.quote().remaining_cx == 40
    assert filled(world.prints(3_900, 30, taker=Side.NO)) == [30]
    assert world.quote().remaining_cx == 40
    (order,) = orders(world.passes(LATENCY_US))
    assert (order.remaining_cx, order.filled_cx, order.placed_cx) == (40, 30, 100)


def test_a_decrease_that_fills_have_overtaken_changes_nothing() -> None:
    world = a_world(SLOW)
    order = world.place(Side.YES, 4_000, 100)
    world.passes(LATENCY_US + 1)
    world.decrease(order, 40)
    world.prints(3_900, 80, taker=Side.NO)
    assert world.passes(LATENCY_US) == []
    assert world.quote().remaining_cx == 20


def test_a_renewal_that_comes_too_late_does_not_bring_an_order_back() -> None:
    world = a_world(SLOW)
    expires_us = AT_US + 2 * LATENCY_US
    order = world.place(Side.YES, 4_000, 100, expires_us=expires_us)
    world.level(Side.YES, 3_900, 1, after_us=LATENCY_US + 1)
    world.renew(order, expires_us + 10**9)
    assert world.quote().expires_us == expires_us + 10**9
    assert ends(world.passes(LATENCY_US)) == [("canceled", 0, "expired")]
    assert world.passes(LATENCY_US) == []


def test_a_take_finds_the_book_of_its_arrival_and_is_not_sent_twice() -> None:
    world = a_world(SLOW)
    assert world.take(Side.YES, 4_200, 500) == []
    assert world.broker.is_taking
    assert world.take(Side.YES, 4_200, 500) == []
    world.level(Side.NO, 5_800, -150, after_us=LATENCY_US)
    events = world.passes(1)
    assert filled(events) == [50]
    assert ends(events) == [("canceled", 50, "nothing more in reach")]
    assert not world.broker.is_taking


def test_the_end_leaves_nothing_on_its_way() -> None:
    world = a_world(SLOW)
    world.place(Side.YES, 4_000, 100)
    world.take(Side.YES, 4_200, 500)
    assert ends(world.broker.end("test")) == [("canceled", 0, "test")]
    assert (world.broker.resting(), world.broker.is_taking) == ((), False)
    assert world.passes(LATENCY_US + 1) == []


PARTS = st.lists(
    st.one_of(
        st.tuples(st.just("place"), st.sampled_from([3_900, 4_000, 4_100]), st.integers(1, 300)),
        st.tuples(st.just("print"), st.sampled_from([3_800, 3_900, 4_000]), st.integers(1, 300)),
        st.tuples(st.just("cancel"), st.just(0), st.just(0)),
        st.tuples(st.just("wait"), st.just(0), st.integers(1, 100_000)),
    ),
    max_size=25,
)


@given(st.integers(1, 200_000), PARTS)
@settings(max_examples=150)
def test_no_order_fills_before_it_arrives_or_after_its_cancel_did(latency_us: int, steps: list) -> None:
    world = World(yes=[(4_000, 50), (3_900, 50)], no=[(5_800, 200)], settings=PaperSettings(latency_us=latency_us))
    arrives_us: dict[str, int] = {}
    leaves_us: dict[str, int] = {}
    for kind, price_cc, count in steps:
        if kind == "place":
            order = world.place(Side.YES, price_cc, count)
            arrives_us[order.client_order_id] = world.time_us + latency_us
        elif kind == "cancel" and (resting := world.broker.resting()):
            (order,) = [o for o in orders(world.events) if o.client_order_id == resting[0].client_order_id][:1]
            world.cancel(order)
            leaves_us[order.client_order_id] = world.time_us + latency_us
        elif kind == "print":
            for fill in fills(world.prints(price_cc, count, taker=Side.NO)):
                assert world.time_us > arrives_us[fill.order.client_order_id]
                assert world.time_us <= leaves_us.get(fill.order.client_order_id, world.time_us)
        elif kind == "wait":
            world.passes(count)


@given(PARTS)
@settings(max_examples=100)
def test_without_latency_every_command_is_answered_at_once(steps: list) -> None:
    world = World(yes=[(4_000, 50), (3_900, 50)], no=[(5_800, 200)])
    for kind, price_cc, count in steps:
        if kind == "place":
            events = world.execute(PlaceOrder(Side.YES, price_cc, count))
            assert [type(event) for event in events] == [Order]
            assert orders(events)[0].reason == ""
        elif kind == "cancel":
            assert len(world.broker.resting()) == len(world.broker.cancel_all("test"))
        elif kind == "print":
            world.prints(price_cc, count, taker=Side.NO)
        else:
            assert world.passes(count) == []
