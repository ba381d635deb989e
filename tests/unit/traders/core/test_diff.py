from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets.core.units import Side
from traders.core.diff import CancelOrder, Command, DecreaseOrder, PlaceOrder, diff
from traders.core.orders import RestingQuote
from traders.core.types import Quote, Quotes


def resting(
    client_order_id: str, side: Side = Side.YES, price_cc: int = 4_000, remaining_cx: int = 100
) -> RestingQuote:
    return RestingQuote(client_order_id, side, price_cc, remaining_cx)


def wish(*quotes: Quote) -> Quotes:
    return Quotes(quotes, "because")


def test_it_leaves_an_order_of_the_wanted_price_and_size_alone() -> None:
    assert diff(wish(Quote(Side.YES, 4_000, 100)), (resting("a"),)) == ()


def test_it_decreases_an_order_that_is_too_large_and_keeps_its_place() -> None:
    assert diff(wish(Quote(Side.YES, 4_000, 40)), (resting("a"),)) == (DecreaseOrder("a", 40),)


def test_it_replaces_an_order_that_is_too_small() -> None:
    commands = diff(wish(Quote(Side.YES, 4_000, 150)), (resting("a"),))
    assert commands == (CancelOrder("a", "resized"), PlaceOrder(Side.YES, 4_000, 150))


def test_it_cancels_what_is_not_wanted_any_more_and_says_why() -> None:
    assert diff(wish(), (resting("a"),)) == (CancelOrder("a", "because"),)


def test_it_refuses_two_quotes_on_a_side() -> None:
    with pytest.raises(ValueError, match="at most one"):
        diff(wish(Quote(Side.YES, 4_000, 100), Quote(Side.YES, 3_900, 100)), ())


prices = st.integers(1, 99).map(lambda cents: cents * 100)
counts = st.integers(1, 1_000)


@st.composite
def wishes(draw: st.DrawFn) -> Quotes:
    sides = draw(st.sets(st.sampled_from(list(Side))))
    return wish(*(Quote(side, draw(prices), draw(counts)) for side in sorted(sides)))


@st.composite
def order_lists(draw: st.DrawFn) -> tuple[RestingQuote, ...]:
    number = draw(st.integers(0, 4))
    return tuple(
        RestingQuote(str(n), draw(st.sampled_from(list(Side))), draw(prices), draw(counts)) for n in range(number)
    )


def carry_out(command: Command, orders: dict[str, RestingQuote]) -> None:
    match command:
        case CancelOrder(client_order_id=cid):
            del orders[cid]
        case DecreaseOrder(client_order_id=cid, remaining_cx=count):
            old = orders[cid]
            assert 0 < count < old.remaining_cx
            orders[cid] = RestingQuote(cid, old.side, old.price_cc, count)
        case PlaceOrder(side=side, price_cc=price, count_cx=count):
            assert all(order.side is not side for order in orders.values()), "a second order on a side"
            orders[f"new-{side}"] = RestingQuote(f"new-{side}", side, price, count)


@given(wishes(), order_lists())
def test_carrying_out_the_commands_leaves_exactly_what_is_wanted(
    wanted: Quotes, before: tuple[RestingQuote, ...]
) -> None:
    orders = {order.client_order_id: order for order in before}
    for command in diff(wanted, before):
        carry_out(command, orders)
    left = {(order.side, order.price_cc, order.remaining_cx) for order in orders.values()}
    assert left == {(quote.side, quote.price_cc, quote.count_cx) for quote in wanted.quotes}
    assert len(orders) == len(wanted.quotes)


@given(wishes(), order_lists())
def test_once_they_are_equal_there_is_nothing_to_do(wanted: Quotes, before: tuple[RestingQuote, ...]) -> None:
    orders = {order.client_order_id: order for order in before}
    for command in diff(wanted, before):
        carry_out(command, orders)
    assert diff(wanted, tuple(orders.values())) == ()
