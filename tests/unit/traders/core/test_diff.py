from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from markets.core.grid import CENT_GRID
from markets.core.units import DOLLAR_CC, Side
from traders.core.commands import CancelOrder, Command, DecreaseOrder, PlaceOrder, RenewOrder, TakeOrder
from traders.core.diff import DiffTerms, InFlight, diff, due_us, rests_as_wanted
from traders.core.exposure import Unproven
from traders.core.orders import RestingQuote
from traders.core.types import Flattening, Quote, Quotes, Take
from traders.core.why import Why

YES, NO = Side.YES, Side.NO
NOW = 1_790_000_000_000_000
SECOND_US = 1_000_000
ROOMY = (100_000, 100_000)


def rests(
    client_order_id: str, price_cc: int = 4_000, remaining_cx: int = 100, side: Side = YES, **more: Any
) -> RestingQuote:
    return RestingQuote(client_order_id, side, price_cc, remaining_cx, **more)


def bid(price_cc: int = 4_000, count_cx: int = 100) -> Quote:
    return Quote(YES, price_cc, count_cx)


def ask(price_cc: int = 5_800, count_cx: int = 100) -> Quote:
    return Quote(NO, price_cc, count_cx)


def wish(*quotes: Quote, **more: Any) -> Quotes:
    return Quotes(quotes, (Why("calm", "because"),), **more)


def commands(wanted: Quotes, *resting: RestingQuote, **terms: Any) -> tuple[Command, ...]:
    return diff(wanted, resting, DiffTerms(**terms))


# In place


def test_it_leaves_an_order_of_the_wanted_price_and_size_alone() -> None:
    assert diff(wish(bid()), (rests("a"),)) == ()


def test_it_decreases_an_order_that_is_too_large_and_keeps_its_place() -> None:
    assert diff(wish(bid(count_cx=40)), (rests("a"),)) == (DecreaseOrder("a", 40),)


def test_it_adds_a_second_order_to_one_that_is_too_small_and_keeps_its_place() -> None:
    assert diff(wish(bid(count_cx=150)), (rests("a"),)) == (PlaceOrder(YES, 4_000, 50),)


def test_it_replaces_an_order_that_is_too_small_where_a_side_may_have_one_only() -> None:
    found = commands(wish(bid(count_cx=150)), rests("a"), orders_a_side=1)
    assert found == (CancelOrder("a", "resized"), PlaceOrder(YES, 4_000, 150))


def test_it_replaces_the_last_in_the_queue_where_no_more_orders_may_rest() -> None:
    found = commands(wish(bid(count_cx=200)), rests("new", rested_us=2), rests("old", rested_us=1, remaining_cx=80))
    assert found == (CancelOrder("new", "resized"), PlaceOrder(YES, 4_000, 120))


def test_it_takes_what_is_too_much_off_the_end_of_the_queue() -> None:
    orders = (rests("new", rested_us=2), rests("old", rested_us=1))
    assert diff(wish(bid(count_cx=150)), orders) == (DecreaseOrder("new", 50),)
    assert diff(wish(bid(count_cx=100)), orders) == (CancelOrder("new", "resized"),)
    assert diff(wish(bid(count_cx=60)), orders) == (CancelOrder("new", "resized"), DecreaseOrder("old", 60))


def test_it_cancels_what_is_not_wanted_any_more_and_says_why() -> None:
    assert diff(wish(), (rests("a"),)) == (CancelOrder("a", "because"),)


def test_it_cancels_and_then_places_where_the_price_moved() -> None:
    found = diff(wish(bid(4_100), ask(5_800)), (rests("a"), rests("b", 5_800, side=NO)))
    assert found == (CancelOrder("a", "repriced"), PlaceOrder(YES, 4_100, 100))


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (wish(bid(4_000), bid(3_900)), "at most one"),
        (wish(bid(count_cx=0)), "without size"),
        (wish(bid(4_200), ask(5_800)), "meet each other"),
    ],
)
def test_it_refuses_wishes_that_contradict_themselves(wanted: Quotes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        diff(wanted, ())


# Tolerances


def test_a_price_within_the_tolerance_stays() -> None:
    terms = {"grid": CENT_GRID, "tolerance_steps": 1}
    assert commands(wish(bid(4_100)), rests("a"), **terms) == ()
    assert commands(wish(bid(3_900)), rests("a"), **terms) == ()
    assert commands(wish(bid(4_200)), rests("a"), **terms) != ()
    assert commands(wish(bid(4_100)), rests("a"), tolerance_steps=1) != ()  # nobody knows how wide a step is


def test_a_price_below_the_wish_does_not_stay_where_the_wish_has_to_qualify() -> None:
    terms = {"grid": CENT_GRID, "tolerance_steps": 1}
    assert commands(wish(bid(4_100), must_qualify=True), rests("a"), **terms) != ()
    assert commands(wish(bid(3_900), must_qualify=True), rests("a"), **terms) == ()


def test_a_price_within_the_tolerance_does_not_stay_where_the_other_side_would_meet_it() -> None:
    found = commands(wish(bid(4_000), ask(5_900)), rests("a", 4_100), grid=CENT_GRID, tolerance_steps=1)
    assert found == (CancelOrder("a", "repriced"), PlaceOrder(YES, 4_000, 100), PlaceOrder(NO, 5_900, 100))


def test_the_order_at_the_wanted_price_is_kept_before_one_within_the_tolerance() -> None:
    found = commands(wish(bid()), rests("near", 4_100), rests("there"), grid=CENT_GRID, tolerance_steps=1)
    assert found == (CancelOrder("near", "repriced"),)


def test_a_little_too_small_is_left() -> None:
    assert commands(wish(bid(count_cx=105)), rests("a"), size_tolerance_bps=500) == ()
    assert commands(wish(bid(count_cx=106)), rests("a"), size_tolerance_bps=500) == (PlaceOrder(YES, 4_000, 6),)


def test_a_little_too_large_is_left_only_where_there_is_room_for_more() -> None:
    wanted = wish(bid(count_cx=96))
    assert commands(wanted, rests("a"), size_tolerance_bps=500, room_cx=ROOMY) == ()
    assert commands(wanted, rests("a"), size_tolerance_bps=500, room_cx=(0, 9)) == (DecreaseOrder("a", 96),)
    assert commands(wanted, rests("a"), size_tolerance_bps=400, room_cx=ROOMY) == (DecreaseOrder("a", 96),)


def test_nothing_too_large_is_left_while_a_position_is_got_out_of() -> None:
    wanted = wish(bid(count_cx=96), flattening=Flattening("passive_exit", NOW))
    assert commands(wanted, rests("a"), size_tolerance_bps=500, room_cx=ROOMY) == (DecreaseOrder("a", 96),)


def test_small_change_beside_a_large_order_costs_no_token() -> None:
    orders = (rests("large", rested_us=1), rests("crumb", remaining_cx=3, rested_us=2))
    assert commands(wish(bid()), *orders, size_tolerance_bps=500, room_cx=ROOMY) == ()


def test_a_cancel_is_chosen_where_a_decrease_would_cost_more_for_the_same() -> None:
    orders = (rests("large", remaining_cx=98, rested_us=1), rests("other", remaining_cx=50, rested_us=2))
    found = commands(wish(bid()), *orders, size_tolerance_bps=500)
    assert found == (CancelOrder("other", "resized"),)


# Lifetimes


def test_an_order_with_a_lifetime_says_when_it_ends() -> None:
    assert commands(wish(bid()), now_us=NOW, lifetime_s=120) == (PlaceOrder(YES, 4_000, 100, NOW + 120 * SECOND_US),)


@pytest.mark.parametrize(("left_s", "is_renewed"), [(60, False), (59, True), (1, True), (0, False), (-1, False)])
def test_an_order_is_renewed_when_half_of_its_lifetime_has_gone_and_not_once_it_is_over(
    left_s: int, is_renewed: bool
) -> None:
    order = rests("a", expires_us=NOW + left_s * SECOND_US)
    expected = (RenewOrder("a", NOW + 120 * SECOND_US),) if is_renewed else ()
    assert commands(wish(bid()), order, now_us=NOW, lifetime_s=120) == expected


def test_an_order_without_an_end_is_given_one() -> None:
    assert commands(wish(bid()), rests("a"), now_us=NOW, lifetime_s=120) == (RenewOrder("a", NOW + 120 * SECOND_US),)


def test_without_a_lifetime_nothing_is_renewed() -> None:
    assert commands(wish(bid()), rests("a", expires_us=NOW + 1), now_us=NOW) == ()


def test_what_goes_is_not_renewed() -> None:
    found = commands(wish(bid(4_100)), rests("a", expires_us=NOW + 1), now_us=NOW, lifetime_s=120)
    assert [type(command) for command in found] == [CancelOrder, PlaceOrder]


# Make before break


def test_the_new_order_comes_first_where_there_is_room_for_both() -> None:
    found = commands(wish(bid(4_100)), rests("a"), room_cx=(100, 0))
    assert found == (PlaceOrder(YES, 4_100, 100), CancelOrder("a", "repriced"))


def test_the_cancel_comes_first_where_there_is_room_for_less() -> None:
    found = commands(wish(bid(4_100)), rests("a"), room_cx=(99, 100))
    assert found == (CancelOrder("a", "repriced"), PlaceOrder(YES, 4_100, 100))


def test_the_cancel_comes_first_where_no_second_order_may_rest() -> None:
    found = commands(wish(bid(4_100)), rests("a"), room_cx=ROOMY, orders_a_side=1)
    assert found == (CancelOrder("a", "repriced"), PlaceOrder(YES, 4_100, 100))
    unknown = (Unproven(YES, 3_000, 1),)
    found = commands(wish(bid(4_100)), rests("a"), room_cx=ROOMY, unknown=unknown)
    assert found == (CancelOrder("a", "repriced"), PlaceOrder(YES, 4_100, 100))


def test_the_cancels_come_first_where_the_new_order_would_meet_our_own_old_one() -> None:
    orders = (rests("bid", 4_000), rests("ask", 5_800, side=NO))
    up = commands(wish(bid(4_300), ask(5_500)), *orders, room_cx=ROOMY)
    assert up == (
        CancelOrder("bid", "repriced"),
        CancelOrder("ask", "repriced"),
        PlaceOrder(YES, 4_300, 100),
        PlaceOrder(NO, 5_500, 100),
    )


def test_a_small_move_of_both_sides_leaves_no_moment_without_a_quote() -> None:
    orders = (rests("bid", 4_000), rests("ask", 5_800, side=NO))
    found = commands(wish(bid(4_100), ask(5_700)), *orders, room_cx=ROOMY)
    assert found == (
        PlaceOrder(YES, 4_100, 100),
        PlaceOrder(NO, 5_700, 100),
        CancelOrder("bid", "repriced"),
        CancelOrder("ask", "repriced"),
    )


@pytest.mark.parametrize(
    "wanted",
    [
        wish(bid(4_100)),  # a side less
        wish(bid(4_100), ask(5_800, 90)),  # a side smaller
        wish(bid(4_100), ask(), flattening=Flattening("passive_exit", NOW)),
    ],
)
def test_cancels_come_first_of_everything_when_anything_is_reduced(wanted: Quotes) -> None:
    orders = (rests("bid", 4_000), rests("ask", 5_800, side=NO))
    found = commands(wanted, *orders, room_cx=ROOMY)
    cancels = [isinstance(command, CancelOrder) for command in found]
    assert cancels == sorted(cancels, reverse=True)
    assert CancelOrder("bid", "repriced") in found


# Taking


def test_a_take_comes_last_after_the_cancels_of_what_it_would_meet() -> None:
    wanted = wish(bid(3_900), take=Take(NO, 6_000, 50))
    found = commands(wanted, rests("bid", 4_000), rests("ask", 5_800, side=NO), room_cx=ROOMY)
    assert found == (
        CancelOrder("bid", "repriced"),
        CancelOrder("ask", "because"),
        PlaceOrder(YES, 3_900, 100),
        TakeOrder(NO, 6_000, 50),
    )


def test_a_wanted_quote_that_the_take_would_meet_goes_as_well() -> None:
    wanted = wish(bid(4_000), take=Take(NO, 6_000, 50))
    assert diff(wanted, (rests("bid", 4_000),)) == (
        CancelOrder("bid", "it would meet our own take"),
        TakeOrder(NO, 6_000, 50),
    )


def test_a_take_waits_for_the_answer_to_the_cancels_before_it() -> None:
    wanted = wish(bid(3_000), take=Take(NO, 6_000, 50))
    kept = rests("kept", 3_000)
    for old in (rests("meets", 4_000), rests("out as well", 5_000, side=NO)):
        found = commands(wanted, kept, old, in_flight=InFlight())
        assert [type(command) for command in found] == [CancelOrder]
    assert commands(wanted, kept, in_flight=InFlight()) == (TakeOrder(NO, 6_000, 50),)
    assert commands(wanted, kept, in_flight=InFlight(creates=frozenset({NO}))) == ()


def test_a_side_that_takes_places_nothing_meanwhile() -> None:
    wanted = wish(ask(5_000), take=Take(NO, 6_000, 50))
    assert commands(wanted, in_flight=InFlight()) == (TakeOrder(NO, 6_000, 50),)
    assert commands(wanted) == (PlaceOrder(NO, 5_000, 100), TakeOrder(NO, 6_000, 50))


# Commands in flight


def test_C8_a_side_with_an_unanswered_create_gets_no_other() -> None:
    in_flight = InFlight(creates=frozenset({YES}))
    assert commands(wish(bid(), ask()), in_flight=in_flight) == (PlaceOrder(NO, 5_800, 100),)


def test_C9_while_it_is_not_known_what_a_take_has_traded_no_other_leaves() -> None:
    wanted = wish(take=Take(NO, 6_000, 50))
    assert commands(wanted, in_flight=InFlight()) == (TakeOrder(NO, 6_000, 50),)
    assert commands(wanted, in_flight=InFlight(is_taking=True)) == ()


def test_C8_a_side_with_an_unanswered_cancel_gets_no_other_and_another_side_one_at_a_time() -> None:
    orders = (rests("a", 3_900), rests("b", 4_000), rests("c", 5_800, side=NO))
    assert commands(wish(), *orders, in_flight=InFlight(cancels=frozenset({NO}))) == (CancelOrder("b", "because"),)


def test_C11_a_side_with_an_unanswered_amend_gets_no_other() -> None:
    in_flight = InFlight(amends=frozenset({YES}))
    due = {"now_us": NOW, "lifetime_s": 120, "in_flight": in_flight}
    assert commands(wish(bid(count_cx=50)), rests("a"), **due) == ()
    assert commands(wish(bid()), rests("a"), **due) == ()


def test_C14_what_rests_too_much_is_canceled_where_no_decrease_will_leave() -> None:
    barred = InFlight(amends=frozenset((YES, NO)), bars_decreases=True)
    best, last = rests("best", rested_us=1), rests("last", rested_us=2)
    assert commands(wish(bid(count_cx=150)), best, last, in_flight=barred) == (CancelOrder("last", "resized"),)
    assert commands(wish(bid(count_cx=150)), best, in_flight=barred) == (PlaceOrder(YES, 4_000, 50),)
    assert commands(wish(bid(count_cx=200)), best, last, in_flight=barred) == ()


def test_C11_an_order_is_not_decreased_and_renewed_at_once() -> None:
    due = {"now_us": NOW, "lifetime_s": 120}
    decreased, renewed = DecreaseOrder("a", 50), RenewOrder("a", NOW + 120 * SECOND_US)
    assert commands(wish(bid(count_cx=50)), rests("a"), **due, in_flight=InFlight()) == (decreased,)
    assert commands(wish(bid(count_cx=50)), rests("a"), **due) == (decreased, renewed)


def test_the_order_that_ends_first_is_renewed_first() -> None:
    soon, later = rests("soon", expires_us=NOW + 2, rested_us=2), rests("later", expires_us=NOW + 3, rested_us=1)
    found = commands(wish(bid(count_cx=200)), later, soon, now_us=NOW, lifetime_s=120, in_flight=InFlight())
    assert found == (RenewOrder("soon", NOW + 120 * SECOND_US),)


def test_C8_a_new_order_without_room_waits_for_the_answer_to_the_cancel() -> None:
    assert commands(wish(bid(4_100)), rests("a"), in_flight=InFlight()) == (CancelOrder("a", "repriced"),)
    assert commands(wish(bid(4_100)), rests("a"), in_flight=InFlight(cancels=frozenset({YES}))) == ()
    assert commands(wish(bid(4_100)), in_flight=InFlight()) == (PlaceOrder(YES, 4_100, 100),)


def test_a_new_order_does_not_meet_one_that_only_may_rest() -> None:
    unknown = (Unproven(NO, 5_900, 1),)
    assert commands(wish(bid(4_100)), unknown=unknown) == ()
    assert commands(wish(bid(4_000)), unknown=unknown) == (PlaceOrder(YES, 4_000, 100),)


# Whatever is wanted and rests

prices = st.integers(30, 60).map(lambda cents: cents * 100)
counts = st.integers(1, 300)
any_terms = st.builds(
    DiffTerms,
    grid=st.just(CENT_GRID),
    tolerance_steps=st.integers(0, 2),
    size_tolerance_bps=st.sampled_from([0, 500, 2_000]),
    lifetime_s=st.sampled_from([0, 120]),
    now_us=st.just(NOW),
    orders_a_side=st.integers(1, 3),
    room_cx=st.tuples(st.sampled_from([0, 100, 1_000]), st.sampled_from([0, 100, 1_000])),
)


def has_meeting(orders: Iterable[Any]) -> bool:
    best = {side: max((order.price_cc for order in orders if order.side is side), default=0) for side in Side}
    return all(best.values()) and sum(best.values()) >= DOLLAR_CC


@st.composite
def wishes(draw: st.DrawFn) -> Quotes:
    sides = draw(st.sets(st.sampled_from(list(Side))))
    quotes = [Quote(side, draw(prices), draw(counts)) for side in sorted(sides)]
    assume(not has_meeting(quotes))
    take = Take(draw(st.sampled_from(list(Side))), draw(prices), 10) if draw(st.integers(0, 4)) == 0 else None
    return wish(*quotes, take=take, must_qualify=draw(st.booleans()))


@st.composite
def order_lists(draw: st.DrawFn) -> tuple[RestingQuote, ...]:
    orders = tuple(
        RestingQuote(
            str(n),
            draw(st.sampled_from(list(Side))),
            draw(prices),
            draw(counts),
            rested_us=draw(st.integers(0, 3)),
            expires_us=draw(st.sampled_from([None, NOW + SECOND_US, NOW + 100 * SECOND_US])),
        )
        for n in range(draw(st.integers(0, 5)))
    )
    assume(not has_meeting(orders))
    return orders


def carried_out(command: Command, orders: Sequence[RestingQuote]) -> tuple[RestingQuote, ...]:
    """Return what rests after a command; a take leaves nothing."""
    match command:
        case CancelOrder(client_order_id=cid):
            assert any(order.client_order_id == cid for order in orders)
            return tuple(order for order in orders if order.client_order_id != cid)
        case DecreaseOrder(client_order_id=cid, remaining_cx=count_cx):
            old = next(order for order in orders if order.client_order_id == cid)
            assert 0 < count_cx < old.remaining_cx
            new = msgspec.structs.replace(old, remaining_cx=count_cx)
            return tuple(new if order is old else order for order in orders)
        case RenewOrder(client_order_id=cid, expires_us=expires_us):
            old = next(order for order in orders if order.client_order_id == cid)
            new = msgspec.structs.replace(old, expires_us=expires_us)
            return tuple(new if order is old else order for order in orders)
        case PlaceOrder(side=side, price_cc=price_cc, count_cx=count_cx, expires_us=expires_us):
            cid = f"new-{side}-{price_cc}-{len(orders)}-{count_cx}"
            return (*orders, RestingQuote(cid, side, price_cc, count_cx, rested_us=9, expires_us=expires_us))
    assert isinstance(command, TakeOrder)
    assert not any(
        order.side is not command.side and order.price_cc + command.limit_cc >= DOLLAR_CC for order in orders
    )
    return tuple(orders)


def total_cx(side: Side, orders: Iterable[RestingQuote]) -> int:
    return sum(order.remaining_cx for order in orders if order.side is side)


def number(side: Side, orders: Iterable[RestingQuote]) -> int:
    return sum(order.side is side for order in orders)


def allowed(wanted: Quotes, side: Side) -> Quote | None:
    """Return what is wanted of a side beside the take."""
    quote, take = wanted.on(side), wanted.take
    if quote is None or take is None or side is take.side or quote.price_cc + take.limit_cc < DOLLAR_CC:
        return quote
    return None


def assert_safe(
    wanted: Quotes, before: Sequence[RestingQuote], terms: DiffTerms, orders: Sequence[RestingQuote]
) -> None:
    assert not has_meeting(orders)
    for side in Side:
        assert number(side, orders) <= max(terms.orders_a_side, number(side, before))
        quote = allowed(wanted, side)
        wished_cx = quote.count_cx if quote else 0
        assert total_cx(side, orders) <= max(wished_cx, total_cx(side, before) + terms.room_cx[side])


def assert_wanted(wanted: Quotes, terms: DiffTerms, orders: Sequence[RestingQuote]) -> None:
    for side in Side:
        quote = allowed(wanted, side)
        if quote is None:
            assert number(side, orders) == 0
            continue
        slack_cx = quote.count_cx * terms.size_tolerance_bps // 10_000
        over_cx = slack_cx if terms.room_cx[side] and wanted.take is None else 0
        assert quote.count_cx - slack_cx <= total_cx(side, orders) <= quote.count_cx + over_cx
        assert number(side, orders) <= terms.orders_a_side
        for order in orders:
            away_cc = order.price_cc - quote.price_cc
            if order.side is side:
                assert abs(away_cc) <= terms.tolerance_steps * 100
                assert away_cc >= 0 or not wanted.must_qualify


ends = st.none() | st.sampled_from([0, 1, 59 * SECOND_US, 60 * SECOND_US, 120 * SECOND_US]).map(lambda us: NOW + us)


@st.composite
def almost_as_wanted(draw: st.DrawFn) -> tuple[Quotes, tuple[RestingQuote, ...]]:
    """A wish, and an order for each of its quotes that may differ a little; now and then one more, or a twin quote."""
    wanted = draw(wishes())
    resting = [
        RestingQuote(
            f"r{n}",
            one.side,
            one.price_cc + draw(st.sampled_from([0, 0, 0, 100])),
            max(1, one.count_cx + by_cx),
            expires_us=draw(ends),
        )
        for n, one in enumerate(wanted.quotes)
        for by_cx in [draw(st.integers(-40, 10))]
    ]
    resting += draw(st.sampled_from([(), (), (), (RestingQuote("more", YES, 4_000, 100),)]))
    twins = draw(st.sampled_from([(), (), (), wanted.quotes[:1], (Quote(YES, 6_500, 100),)]))
    return msgspec.structs.replace(wanted, quotes=(*wanted.quotes, *twins)), tuple(resting)


@settings(max_examples=200)
@given(almost_as_wanted(), any_terms)
def test_where_everything_rests_as_wanted_there_is_no_command(
    situation: tuple[Quotes, tuple[RestingQuote, ...]], terms: DiffTerms
) -> None:
    wanted, resting = situation
    if rests_as_wanted(wanted, resting, terms):
        assert diff(wanted, resting, terms) == ()  # a wish that contradicts itself raises here


def test_one_order_a_quote_of_its_price_and_about_its_size_rests_as_wanted() -> None:
    terms, orders = DiffTerms(size_tolerance_bps=1_000), (rests("b", remaining_cx=90), rests("a", 5_800, 100, NO))
    assert rests_as_wanted(wish(bid(), ask()), orders, terms)
    assert rests_as_wanted(wish(), (), terms)
    assert not rests_as_wanted(wish(bid(), ask()), orders[:1], terms)
    assert not rests_as_wanted(wish(bid(count_cx=101), ask()), orders, terms)
    assert not rests_as_wanted(wish(bid(count_cx=89), ask()), orders, terms)
    assert not rests_as_wanted(wish(bid(3_900), ask()), orders, terms)


def test_orders_rest_as_wanted_until_one_of_them_is_due() -> None:
    terms = DiffTerms(now_us=NOW, lifetime_s=120)
    ends = rests("b", expires_us=NOW + 90 * SECOND_US), rests("a", 5_800, side=NO, expires_us=NOW + 60 * SECOND_US)
    assert rests_as_wanted(wish(bid(), ask()), ends, terms)
    assert due_us(ends[1], 120) == NOW + 1
    assert not rests_as_wanted(wish(bid(), ask()), ends, msgspec.structs.replace(terms, now_us=NOW + 1))
    endless = rests("a", 5_800, side=NO)
    assert not rests_as_wanted(wish(bid(), ask()), (ends[0], endless), terms)
    assert due_us(endless, 120) <= NOW


@settings(max_examples=200)
@given(wishes(), order_lists(), any_terms)
def test_carrying_out_the_commands_one_by_one_leads_safely_to_what_is_wanted(
    wanted: Quotes, before: tuple[RestingQuote, ...], terms: DiffTerms
) -> None:
    orders = before
    found = diff(wanted, before, terms)
    for command in found:
        orders = carried_out(command, orders)
        assert_safe(wanted, before, terms, orders)
    assert_wanted(wanted, terms, orders)
    if wanted.take is None:
        assert diff(wanted, orders, terms) == ()
    else:
        assert found[-1] == TakeOrder(wanted.take.side, wanted.take.limit_cc, wanted.take.count_cx)


@settings(max_examples=200)
@given(wishes(), order_lists(), st.integers(1, 3))
def test_without_tolerances_what_is_wanted_rests_exactly(
    wanted: Quotes, before: tuple[RestingQuote, ...], orders_a_side: int
) -> None:
    orders = before
    for command in diff(wanted, before, DiffTerms(orders_a_side=orders_a_side)):
        orders = carried_out(command, orders)
    for side in Side:
        quote = allowed(wanted, side)
        assert {order.price_cc for order in orders if order.side is side} == ({quote.price_cc} if quote else set())
        assert total_cx(side, orders) == (quote.count_cx if quote else 0)


@settings(max_examples=200)
@given(wishes(), order_lists(), any_terms, st.data())
def test_C8_with_a_broker_that_answers_later_it_is_safe_whatever_is_carried_out_and_gets_there_in_the_end(
    wanted: Quotes, before: tuple[RestingQuote, ...], terms: DiffTerms, data: st.DataObject
) -> None:
    terms = msgspec.structs.replace(terms, in_flight=InFlight())
    orders = before
    for _ in range(12):
        found = diff(wanted, orders, terms)
        if not found:
            break
        for kind in (CancelOrder, PlaceOrder, (DecreaseOrder, RenewOrder)):
            assert len([command for command in found if isinstance(command, kind)]) <= len(Side)
        slow = orders
        for command in found:  # orders come to rest at once, and nothing else has happened yet
            if isinstance(command, PlaceOrder | TakeOrder):
                slow = carried_out(command, slow)
                assert_safe(wanted, orders, terms, slow)
        for command in data.draw(st.permutations(found)):
            orders = carried_out(command, orders)
        if any(isinstance(command, TakeOrder) for command in found):
            wanted = msgspec.structs.replace(wanted, take=None)
    assert wanted.take is None
    assert_wanted(wanted, terms, orders)
