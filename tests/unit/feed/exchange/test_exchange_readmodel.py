"""Reads that trail the engine."""

from __future__ import annotations

import msgspec
from exchangeworld import CENT, NOW_US, a_world, an_order, place
from hypothesis import given, settings
from hypothesis import strategies as st

from feed.exchange.readmodel import ReadModel
from feed.exchange.trading.accounts import RESTING
from feed.exchange.world import World

LAG_US = 400_000


def a_lagging_world() -> tuple[World, ReadModel]:
    world = a_world()
    world.switches = msgspec.structs.replace(world.switches, read_lag_ms=LAG_US // 1_000)
    world.account("us")
    reads = ReadModel(world)
    reads.capture()
    return world, reads


def test_without_a_lag_reads_see_the_engine_itself() -> None:
    world = a_world()
    reads = ReadModel(world)
    reads.capture()
    assert reads.of(world.account("us")) is world.account("us")
    assert reads.as_of_us == NOW_US


def test_C4_an_order_shows_only_after_the_lag_and_a_cancelled_one_still_rests() -> None:
    world, reads = a_lagging_world()
    us = world.account("us")
    world.advance(NOW_US + 1)
    order = place(world, "us", an_order("bid", "0.30")).order
    reads.capture()
    assert order.order_id not in reads.of(us).orders
    world.advance(NOW_US + 1 + LAG_US)
    assert reads.as_of_us == NOW_US + 1
    assert reads.of(us).orders[order.order_id].status == RESTING
    world.entry.cancel(us, order)
    reads.capture()
    assert reads.of(us).orders[order.order_id].status == RESTING
    assert order.order_id in reads.of(us).open
    world.advance(NOW_US + 1 + 2 * LAG_US)
    assert reads.of(us).orders[order.order_id].status == "canceled"
    assert not reads.of(us).open


def test_C4_positions_and_cash_trail_their_fills() -> None:
    world, reads = a_lagging_world()
    us = world.account("us")
    world.advance(NOW_US + 1)
    place(world, "other", an_order("ask", "0.30"))
    place(world, "us", an_order("bid", "0.30"))
    reads.capture()
    assert (reads.of(us).held_cx(CENT), reads.of(us).balance_ud(0)) == (0, 7_000_000_000)
    assert not reads.of(us).fills
    world.advance(NOW_US + 1 + LAG_US)
    assert reads.of(us).held_cx(CENT) == 1_000
    assert reads.of(us).balance_ud(0) == us.balance_ud(0)


@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(1, 300_000), st.booleans()), max_size=25))
def test_a_read_holds_everything_up_to_the_time_it_tells(steps: list[tuple[int, bool]]) -> None:
    """Orders come at any moment, pictures are taken now and then; no read may lack what is older than as_of."""
    world, reads = a_lagging_world()
    us = world.account("us")
    for gap_us, captures in steps:
        world.advance(world.now_us + gap_us)
        place(world, "us", an_order("bid", "0.30", "1.00"))
        if captures:
            reads.capture()
            seen = reads.of(us).orders
            assert all(key in seen for key, o in us.orders.items() if o.created_us <= reads.as_of_us)
