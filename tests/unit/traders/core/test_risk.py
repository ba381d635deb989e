from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from markets.core.book import OrderBook
from markets.core.grid import CENT_GRID
from markets.core.settlement import Position, collateral_ud
from markets.core.units import DOLLAR_CC, Side
from traders.core.commands import CancelOrder, Command, DecreaseOrder, PlaceOrder, RenewOrder, TakeOrder
from traders.core.diff import DiffTerms, InFlight, diff
from traders.core.exposure import Unproven, exposure_ud
from traders.core.limits import TEXTS, Allotment, Checked, Denied, Latch, Limits, RiskState
from traders.core.orders import RestingQuote
from traders.core.risk import checked, denied_command, latched, new_breaches, reserve_ud, room_cx
from traders.core.types import MarketView, Quote, Quotes, Take, TraderState
from traders.core.why import said

YES, NO = Side.YES, Side.NO
NOW = 1_790_000_000_000_000
PLENTY_UD = 10**12
LATCH = Latch("DAILY_LOSS", NOW - 90_000_000)
LOOSE = Limits(
    order_cx_most=100_000_000,
    position_cx_most=100_000_000,
    exposure_ud_most=PLENTY_UD,
    orders_a_minute=100_000,
    price_cc_least=1,
    price_cc_most=9_999,
    from_touch_steps_most=1_000,
    daily_loss_ud=PLENTY_UD,
    drawdown_ud=PLENTY_UD,
)
KNOWN = RiskState(
    position_cx=0,
    cost_ud=0,
    outside_cx=0,
    created_in_minute=0,
    result_ud=0,
    high_water_ud=0,
    allotments=(),
    cash_ud=PLENTY_UD,
)


def limits(**changes: Any) -> Limits:
    return msgspec.structs.replace(LOOSE, **changes)


def risk(**changes: Any) -> RiskState:
    return msgspec.structs.replace(KNOWN, **changes)


def a_view(*, yes: int = 4_000, no: int = 5_800) -> MarketView:
    book = OrderBook()
    book.replace([(yes, 1_000)] if yes else [], [(no, 1_000)] if no else [])
    return MarketView("T", NOW, book, CENT_GRID, NOW + 10**12)


def bid(count_cx: int = 100, price_cc: int = 4_000) -> Quote:
    return Quote(YES, price_cc, count_cx)


def ask(count_cx: int = 100, price_cc: int = 5_800) -> Quote:
    return Quote(NO, price_cc, count_cx)


def check(
    *quotes: Quote, view: MarketView | None = None, of: RiskState = KNOWN, take: Take | None = None, **changes: Any
) -> Checked:
    return checked(view or a_view(), TraderState(), Quotes(quotes, take=take), limits(**changes), of)


def place(quote: Quote, view: MarketView | None = None, of: RiskState = KNOWN, **changes: Any) -> Denied | None:
    command = PlaceOrder(quote.side, quote.price_cc, quote.count_cx)
    return denied_command(command, view or a_view(), limits(**changes), of)


def codes(found: Checked) -> list[str]:
    return [denied.code for denied in found.denied]


def assert_cut(found: Checked, code: str, *quotes: Quote) -> None:
    assert found.quotes.quotes == quotes
    assert codes(found) == [code]
    assert [why.code for why in found.quotes.whys] == [code]
    assert said(found.quotes.whys)


def test_what_is_within_all_limits_passes_as_it_is() -> None:
    wanted = Quotes((bid(), ask()))
    assert checked(a_view(), TraderState(), wanted, Limits(), KNOWN) == Checked(wanted)


def test_every_limit_is_small_unless_somebody_chooses() -> None:
    found = checked(a_view(), TraderState(), Quotes((bid(10_000_000),)), Limits(), KNOWN)
    assert found.quotes.quotes == (bid(1_000),)
    assert reserve_ud(Limits()) == 100_000_000


@pytest.mark.parametrize("field", ["order_cx_most", "position_cx_most", "exposure_ud_most", "orders_a_minute"])
def test_G10_a_limit_of_zero_allows_nothing(field: str) -> None:
    assert check(bid(), ask(), **{field: 0}).quotes.quotes == ()
    assert place(bid(), **{field: 0}) is not None


@pytest.mark.parametrize(
    "raw",
    [
        {"order_cx_most": -1},
        {"exposure_ud_most": 10**13},
        {"daily_loss_ud": 0},
        {"price_cc_most": 10_000},
        {"price_cc_least": 5_000, "price_cc_most": 4_000},
        {"order_most": 1},
    ],
)
def test_G10_absurd_limits_are_refused(raw: dict[str, int]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(raw, Limits)


# Each limit


def test_C17_an_order_is_cut_to_its_largest_size() -> None:
    assert_cut(check(bid(1_000_000), order_cx_most=500), "ORDER_TOO_LARGE", bid(500))
    assert place(bid(501), order_cx_most=500) == Denied("ORDER_TOO_LARGE", {"most_cx": 500, "over_cx": 1}, YES)
    assert place(bid(500), order_cx_most=500) is None


def test_I4_the_position_counts_as_if_all_orders_of_a_side_had_filled() -> None:
    unknown = (Unproven(YES, 3_900, 30), Unproven(NO, 5_000, 900))
    of = risk(position_cx=200, cost_ud=800_000, unknown=unknown)
    assert_cut(check(bid(100), of=of, position_cx_most=300), "POSITION_EXCEEDS_MAX", bid(70))
    assert_cut(check(bid(100), of=of, position_cx_most=230), "POSITION_EXCEEDS_MAX")
    assert check(bid(70), of=of, position_cx_most=300).denied == ()


def test_I4_a_short_position_has_the_same_limit() -> None:
    of = risk(position_cx=-250, cost_ud=800_000)
    assert_cut(check(ask(100), of=of, position_cx_most=300), "POSITION_EXCEEDS_MAX", ask(50))
    assert check(bid(550), of=of, position_cx_most=300).denied == ()
    assert_cut(check(bid(551), of=of, position_cx_most=300), "POSITION_EXCEEDS_MAX", bid(550))


def test_a_wish_replaces_what_rests_but_a_command_stands_beside_it() -> None:
    of = risk(resting=(RestingQuote("a", YES, 3_900, 100),))
    assert check(bid(100), of=of, position_cx_most=100).denied == ()
    assert place(bid(1), of=of, position_cx_most=100) is not None
    assert place(bid(1), of=of, position_cx_most=101) is None


def test_exposure_is_what_is_held_and_what_may_fill_at_its_price() -> None:
    of = risk(position_cx=100, cost_ud=300_000, unknown=(Unproven(YES, 3_000, 100),))
    assert_cut(check(bid(100), of=of, exposure_ud_most=800_000), "EXPOSURE_EXCEEDS_MAX", bid(50))
    assert_cut(check(bid(100), of=of, exposure_ud_most=600_000), "EXPOSURE_EXCEEDS_MAX")
    assert place(bid(51), of=of, exposure_ud_most=800_000) == Denied(
        "EXPOSURE_EXCEEDS_MAX", {"exposure_ud": 804_000, "most_ud": 800_000, "over_ud": 4_000}, YES
    )


def test_what_closes_adds_no_exposure_even_where_there_is_too_much() -> None:
    of = risk(position_cx=100, cost_ud=300_000)
    assert check(ask(100), of=of, exposure_ud_most=0).denied == ()
    assert_cut(check(ask(101), of=of, exposure_ud_most=0), "EXPOSURE_EXCEEDS_MAX", ask(100))


def test_C17_new_orders_have_a_rate() -> None:
    assert_cut(check(bid(), of=risk(created_in_minute=60), orders_a_minute=60), "RATE_EXCEEDED")
    assert place(bid(), of=risk(created_in_minute=60), orders_a_minute=60) is not None
    assert place(bid(), of=risk(created_in_minute=59), orders_a_minute=60) is None


def test_the_last_new_order_of_a_minute_is_not_given_to_both_sides() -> None:
    assert_cut(check(bid(), ask(), of=risk(created_in_minute=59), orders_a_minute=60), "RATE_EXCEEDED", bid())


def test_what_rests_stays_when_the_rate_is_used_up() -> None:
    of = risk(created_in_minute=60, resting=(RestingQuote("a", YES, 4_000, 100),))
    assert check(bid(100), of=of, orders_a_minute=60).denied == ()
    assert_cut(check(bid(150), of=of, orders_a_minute=60), "RATE_EXCEEDED", bid(100))


@pytest.mark.parametrize(
    ("quote", "allowed"),
    [(bid(price_cc=200), True), (bid(price_cc=100), False), (ask(price_cc=500), True), (ask(price_cc=400), False)],
)
def test_C17_prices_have_a_collar_on_the_yes_price(quote: Quote, allowed: bool) -> None:
    found = check(quote, price_cc_least=200, price_cc_most=9_500)
    assert codes(found) == ([] if allowed else ["PRICE_OUTSIDE_COLLAR"])
    assert (place(quote, price_cc_least=200, price_cc_most=9_500) is None) == allowed


def test_C17_a_quote_is_not_far_better_than_the_others_best() -> None:
    assert place(bid(price_cc=4_100), from_touch_steps_most=1) is None
    assert place(bid(price_cc=4_200), from_touch_steps_most=1) == Denied(
        "PRICE_BEYOND_TOUCH", {"yes_price_cc": 4_200, "steps": 2, "most": 1}, YES
    )
    assert place(ask(price_cc=6_000), from_touch_steps_most=1) is not None
    assert place(bid(price_cc=1_000), from_touch_steps_most=0) is None


def test_an_empty_side_has_its_touch_below_its_lowest_price() -> None:
    assert place(bid(price_cc=300), a_view(yes=0), from_touch_steps_most=3) is None
    assert place(bid(price_cc=400), a_view(yes=0), from_touch_steps_most=3) is not None


def test_F8_a_price_that_the_market_does_not_have_is_refused_here() -> None:
    assert_cut(check(bid(price_cc=3_950)), "PRICE_OFF_GRID")


def test_a_bad_day_lets_nothing_grow() -> None:
    assert_cut(check(bid(), of=risk(result_ud=-25), daily_loss_ud=25), "DAILY_LOSS")
    assert check(bid(), of=risk(result_ud=-24), daily_loss_ud=25).denied == ()
    assert_cut(check(bid(), of=risk(result_ud=5, high_water_ud=30), drawdown_ud=25), "DRAWDOWN")
    assert check(bid(), of=risk(result_ud=6, high_water_ud=30), drawdown_ud=25).denied == ()


def test_a_latch_lets_nothing_grow_and_says_how_old_it_is() -> None:
    found = check(bid(), of=risk(latch=LATCH))
    assert_cut(found, "LATCHED")
    assert said(found.quotes.whys) == "bid held: latched by DAILY_LOSS 1 m 30 s ago, until a person releases it"


def test_an_allotment_counts_what_others_use_of_it() -> None:
    of = risk(allotments=(Allotment("event", PLENTY_UD, 0), Allotment("account", 1_000_000, 700_000)))
    found = check(bid(100), of=of)
    assert_cut(found, "ALLOTMENT_EXCEEDED", bid(75))
    assert found.denied[0].figures["name"] == "account"


def test_F13_sizes_shrink_with_the_cash_and_then_stop() -> None:
    assert_cut(check(bid(100), of=risk(cash_ud=399_999)), "CASH_SHORT", bid(99))
    assert_cut(check(bid(100), of=risk(cash_ud=3_999)), "CASH_SHORT")


def test_F13_scarce_cash_serves_both_sides() -> None:
    found = check(bid(100), ask(100), of=risk(cash_ud=490_000))
    assert found.quotes.quotes == (bid(61), ask(42))
    assert codes(found) == ["CASH_SHORT", "CASH_SHORT"]


def test_F13_one_side_leaves_the_other_only_what_it_needs() -> None:
    found = check(bid(100), ask(10), of=risk(cash_ud=400_000))
    assert found.quotes.quotes == (bid(85), ask(10))


def test_a_refusal_names_the_transfer_between_shards_that_would_mend_it() -> None:
    shards = {1: 200_000, 2: 300_000, 3: 300_000}
    found = check(bid(100), of=risk(cash_ud=100_000, shards=shards))
    assert {name: found.denied[0].figures[name] for name in ("over_ud", "from_index")} == {
        "over_ud": 300_000,
        "from_index": 2,
    }
    assert "; moving $0.30 from shard 2 would do" in said(found.quotes.whys)
    too_little = check(bid(100), of=risk(cash_ud=99_999, shards=shards))
    assert too_little.denied[0].figures["from_index"] is None
    assert "moving" not in said(too_little.quotes.whys)


@pytest.mark.parametrize(
    ("unknown", "code"),
    [
        ({"position_cx": None}, "POSITION_UNKNOWN"),
        ({"cost_ud": None}, "EXPOSURE_UNKNOWN"),
        ({"created_in_minute": None}, "RATE_UNKNOWN"),
        ({"result_ud": None}, "DAILY_LOSS_UNKNOWN"),
        ({"high_water_ud": None}, "DRAWDOWN_UNKNOWN"),
        ({"allotments": None}, "ALLOTMENT_UNKNOWN"),
        ({"allotments": (Allotment("event", None, 0),)}, "ALLOTMENT_UNKNOWN"),
        ({"allotments": (Allotment("event", 10**9, None),)}, "ALLOTMENT_UNKNOWN"),
        ({"cash_ud": None}, "CASH_UNKNOWN"),
    ],
)
def test_unknown_is_not_zero(unknown: dict[str, Any], code: str) -> None:
    assert_cut(check(bid(), of=risk(**unknown)), code)
    denied = place(bid(), of=risk(**unknown))
    assert denied is not None
    assert denied.code == code


def test_nothing_is_known_of_a_state_that_says_nothing() -> None:
    assert check(bid(), of=RiskState()).quotes.quotes == ()


def test_the_limit_that_decides_the_size_is_the_one_that_is_told() -> None:
    found = check(bid(1_000), of=risk(cash_ud=400_000), order_cx_most=500, position_cx_most=200)
    assert_cut(found, "CASH_SHORT", bid(100))
    assert found.denied[0].figures["over_ud"] == 400_000


# Our own orders


def test_two_quotes_that_meet_are_not_both_wanted() -> None:
    for position_cx, left in ((0, ask(price_cc=6_000)), (10, ask(price_cc=6_000)), (-10, bid())):
        found = check(bid(), ask(price_cc=6_000), of=risk(position_cx=position_cx))
        assert_cut(found, "OWN_CROSS", left)


def test_a_quote_that_our_take_would_meet_is_not_wanted() -> None:
    of = risk(position_cx=100)
    found = check(bid(), of=of, take=Take(NO, 6_000, 100))
    assert_cut(found, "OWN_CROSS")
    assert found.quotes.take == Take(NO, 6_000, 100)


def test_an_order_that_would_meet_our_own_is_refused() -> None:
    for other in ({"resting": (RestingQuote("a", NO, 6_000, 1),)}, {"unknown": (Unproven(NO, 6_000, 1),)}):
        denied = place(bid(), of=risk(**other))
        assert denied is not None
        assert denied.code == "OWN_CROSS"
        assert place(bid(price_cc=3_900), of=risk(**other)) is None


# Getting out

STRICT = Limits(
    order_cx_most=0,
    position_cx_most=0,
    exposure_ud_most=0,
    orders_a_minute=0,
    price_cc_least=5_000,
    price_cc_most=5_000,
)
BLIND = RiskState(position_cx=100, latch=LATCH)


def test_what_closes_passes_whatever_the_limits_and_however_little_is_known() -> None:
    found = checked(a_view(), TraderState(), Quotes((ask(100, 5_800),)), STRICT, BLIND)
    assert found == Checked(Quotes((ask(100, 5_800),)))
    assert denied_command(PlaceOrder(NO, 5_800, 100), a_view(), STRICT, BLIND) is None
    assert denied_command(TakeOrder(NO, 6_000, 100), a_view(), STRICT, BLIND) is None


def test_not_even_what_closes_has_a_price_that_the_market_has_not() -> None:
    found = checked(a_view(), TraderState(), Quotes((ask(100, 5_850),)), STRICT, BLIND)
    assert (found.quotes.quotes, [one.code for one in found.denied]) == ((), ["PRICE_OFF_GRID"])
    refusal = denied_command(TakeOrder(NO, 5_850, 100), a_view(), STRICT, BLIND)
    assert refusal is not None
    assert refusal.code == "PRICE_OFF_GRID"


def test_what_closes_may_leave_more_often_than_what_grows_and_not_without_end() -> None:
    for created, codes in ((179, []), (180, ["RATE_EXCEEDED"])):
        risk = msgspec.structs.replace(BLIND, created_in_minute=created)
        found = checked(a_view(), TraderState(), Quotes((ask(100),)), Limits(orders_a_minute=60), risk)
        assert [one.code for one in found.denied] == codes


def test_cancels_decreases_and_renewals_always_pass() -> None:
    for command in (CancelOrder("a", ""), DecreaseOrder("a", 1), RenewOrder("a", NOW)):
        assert denied_command(command, a_view(), STRICT, RiskState(latch=LATCH)) is None


def test_the_part_that_would_turn_the_position_is_cut_off() -> None:
    found = checked(a_view(), TraderState(), Quotes((ask(150),)), STRICT, BLIND)
    assert_cut(found, "LATCHED", ask(100))


def test_a_take_closes_and_does_not_grow_beyond_the_limits() -> None:
    found = check(take=Take(NO, 6_000, 150), of=risk(position_cx=100, latch=LATCH))
    assert found.quotes.take == Take(NO, 6_000, 100)
    assert codes(found) == ["LATCHED"]
    assert check(take=Take(NO, 6_000, 1), of=risk(latch=LATCH)).quotes.take is None
    denied = denied_command(TakeOrder(NO, 6_000, 150), a_view(), LOOSE, risk(position_cx=100, latch=LATCH))
    assert denied is not None


def test_a_take_may_be_priced_through_the_touch_and_through_our_own() -> None:
    assert check(take=Take(NO, 6_100, 1), from_touch_steps_most=0).denied == ()
    of = risk(resting=(RestingQuote("a", YES, 4_000, 1),))
    assert denied_command(TakeOrder(NO, 6_100, 1), a_view(), limits(from_touch_steps_most=0), of) is None


def test_a_contract_held_closes_one_order_only() -> None:
    unknown = (Unproven(NO, 5_000, 60),)
    of = risk(position_cx=100, latch=LATCH)
    assert_cut(check(ask(100), of=msgspec.structs.replace(of, unknown=unknown)), "LATCHED", ask(40))
    assert_cut(check(ask(100), of=of, take=Take(NO, 5_900, 60)), "LATCHED", ask(40))


def test_the_side_that_reduces_comes_first_to_the_last_new_order() -> None:
    of = risk(position_cx=50, cost_ud=300_000, created_in_minute=59)
    assert_cut(check(bid(), ask(), of=of, orders_a_minute=60), "RATE_EXCEEDED", ask())


def test_a_limit_that_is_passed_already_is_not_tried_contract_by_contract() -> None:
    of = risk(position_cx=50_000_000, cost_ud=150_000_000_001)
    found = check(ask(100_000_000), of=of, exposure_ud_most=150_000_000_000)
    assert_cut(found, "EXPOSURE_EXCEEDS_MAX", ask(50_000_000))


# Room beside what rests


def test_the_room_is_what_may_stand_beside_all_that_rests() -> None:
    of = risk(resting=(RestingQuote("a", YES, 3_900, 100), RestingQuote("b", NO, 5_700, 100)))
    wanted = Quotes((bid(100), ask(100)))
    assert room_cx(a_view(), wanted, limits(position_cx_most=150), of) == (50, 50)
    assert room_cx(a_view(), wanted, limits(position_cx_most=500), of) == (100, 100)
    assert room_cx(a_view(), Quotes((ask(100),)), LOOSE, of) == (0, 100)


def test_both_sides_share_the_room_that_the_cash_leaves() -> None:
    of = risk(resting=(RestingQuote("a", YES, 4_000, 100),), cash_ud=800_000)
    assert room_cx(a_view(), Quotes((bid(60), ask(100))), LOOSE, of) == (60, 27)


# Latches


def test_a_day_that_loses_too_much_latches() -> None:
    of = risk(result_ud=-25_000_000)
    latch = latched(Limits(), of, NOW, "2026-11-23")
    figures = {"result_ud": -25_000_000, "most_ud": 25_000_000, "day": "2026-11-23"}
    assert latch == Latch("DAILY_LOSS", NOW, figures)
    assert latched(Limits(), risk(result_ud=-24_999_999), NOW, "") is None


def test_a_result_that_falls_too_far_from_its_best_latches() -> None:
    latch = latched(Limits(), risk(result_ud=10_000_000, high_water_ud=35_000_000), NOW, "")
    assert latch is not None
    assert latch.code == "DRAWDOWN"
    assert latched(Limits(), risk(result_ud=10_000_001, high_water_ud=35_000_000), NOW, "") is None


def test_E8_a_latch_stays_when_the_result_recovers_and_the_day_ends() -> None:
    assert latched(Limits(), risk(latch=LATCH), NOW + 1, "tomorrow") is LATCH


def test_an_unknown_result_latches_nothing() -> None:
    assert latched(Limits(), RiskState(), NOW, "") is None


def test_C17_too_many_refusals_in_a_minute_latch() -> None:
    assert latched(Limits(), risk(refused_in_minute=19), NOW, "") is None
    latch = latched(Limits(), risk(refused_in_minute=20), NOW, "")
    assert latch is not None
    assert latch.code == "BREACHES"


def test_C17_only_what_a_strategy_gone_wild_does_counts_as_a_breach_and_a_standing_refusal_once() -> None:
    wild = check(bid(price_cc=9_900), price_cc_most=9_000).denied
    full = check(bid(), position_cx_most=0).denied
    cut = check(bid(200), order_cx_most=100).denied
    assert [len(denied) for denied in (wild, full, cut)] == [1, 1, 1]
    assert new_breaches((*wild, *full, *cut), ()) == 1
    assert new_breaches(wild, wild) == 0


def test_every_refusal_has_words() -> None:
    for code, text in TEXTS.items():
        assert Denied(code).text == text


# What a trader reserves


def test_it_reserves_its_exposure_but_no_more_than_its_position_can_lose() -> None:
    assert reserve_ud(limits(exposure_ud_most=1_000, position_cx_most=100)) == 1_000
    assert reserve_ud(limits(exposure_ud_most=PLENTY_UD, position_cx_most=100)) == 2_000_000


# Whatever is wanted

prices = st.integers(30, 70).map(lambda cents: cents * 100)
counts = st.integers(1, 400)
orders = st.builds(Unproven, st.sampled_from(Side), prices, counts)
any_limits = st.builds(
    limits,
    order_cx_most=st.integers(0, 400),
    position_cx_most=st.integers(0, 500),
    exposure_ud_most=st.integers(0, 3_000_000),
    orders_a_minute=st.integers(0, 3),
)


@st.composite
def risks(draw: st.DrawFn) -> RiskState:
    side, price_cc, held_cx = draw(st.sampled_from(Side)), draw(prices), draw(st.integers(0, 400))
    position = Position().after(side, price_cc, held_cx)
    return risk(
        position_cx=position.position_cx,
        cost_ud=position.cost_ud,
        unknown=tuple(draw(st.lists(orders, max_size=2))),
        cash_ud=draw(st.sampled_from([0, 700_000, PLENTY_UD])),
        allotments=(Allotment("event", 2_000_000, draw(st.integers(0, 2_500_000))),),
        latch=draw(st.sampled_from([None, None, None, LATCH])),
    )


@st.composite
def wishes(draw: st.DrawFn) -> Quotes:
    sides = draw(st.sets(st.sampled_from(list(Side)), min_size=1))
    return Quotes(tuple(Quote(side, draw(prices), draw(counts)) for side in sorted(sides)))


def after(of: RiskState, fills: list[Unproven]) -> Position:
    position = Position(position_cx=of.position_cx or 0, cost_ud=of.cost_ud or 0)
    for fill in fills:
        position = position.after(fill.side, fill.price_cc, fill.remaining_cx)
    return position


def as_orders(quotes: Quotes) -> list[Unproven]:
    return [Unproven(quote.side, quote.price_cc, quote.count_cx) for quote in quotes.quotes]


def some_of(data: st.DataObject, orders: list[Unproven]) -> list[Unproven]:
    """Return fills of some orders, in some sequence, each in part or whole."""
    return [
        Unproven(order.side, order.price_cc, data.draw(st.integers(1, order.remaining_cx)))
        for order in data.draw(st.permutations(orders))
        if data.draw(st.booleans())
    ]


def is_within(of: RiskState, chosen: Limits, orders: list[Unproven]) -> bool:
    """Whether no limit could be passed by these orders."""
    held_cx = of.position_cx or 0
    most_cx = max(
        abs(held_cx), *(abs(after(of, [one for one in orders if one.side is side]).position_cx) for side in Side)
    )
    return (
        most_cx <= chosen.position_cx_most and exposure_ud(held_cx, of.cost_ud or 0, orders) <= chosen.exposure_ud_most
    )


@settings(max_examples=100)
@given(wishes(), any_limits, risks(), st.data())
def test_I4_no_fills_of_what_is_allowed_pass_a_limit(
    wanted: Quotes, chosen: Limits, of: RiskState, data: st.DataObject
) -> None:
    assume(is_within(of, chosen, list(of.unknown)))
    found = checked(a_view(), TraderState(), wanted, chosen, of)
    fills = some_of(data, [*of.unknown, *as_orders(found.quotes)])
    for upto in range(len(fills) + 1):
        position = after(of, fills[:upto])
        assert abs(position.position_cx) <= chosen.position_cx_most
        assert position.cost_ud <= chosen.exposure_ud_most


@settings(max_examples=100)
@given(wishes(), any_limits, risks())
def test_what_is_allowed_passes_the_last_look_one_by_one(wanted: Quotes, chosen: Limits, of: RiskState) -> None:
    for quote in checked(a_view(), TraderState(), wanted, chosen, of).quotes.quotes:
        denied = denied_command(PlaceOrder(quote.side, quote.price_cc, quote.count_cx), a_view(), chosen, of)
        assert denied is None or denied.code == "OWN_CROSS"  # an unknown order stands in the way


@settings(max_examples=100)
@given(wishes(), any_limits, risks())
def test_nothing_is_cut_without_a_refusal_nor_refused_without_a_cut(
    wanted: Quotes, chosen: Limits, of: RiskState
) -> None:
    found = checked(a_view(), TraderState(), wanted, chosen, of)
    assert len({denied.side for denied in found.denied}) == len(found.denied) == len(found.quotes.whys)
    for quote in wanted.quotes:
        left = found.quotes.on(quote.side)
        denied = [one for one in found.denied if one.side is quote.side]
        assert (left == quote) == (not denied)
        if denied:
            assert denied[0].fits_cx == (left.count_cx if left else 0) < quote.count_cx


@settings(max_examples=100)
@given(wishes(), any_limits, risks())
def test_one_contract_more_than_is_allowed_is_refused(wanted: Quotes, chosen: Limits, of: RiskState) -> None:
    of = msgspec.structs.replace(of, unknown=())
    one = msgspec.structs.replace(wanted, quotes=wanted.quotes[:1])
    found = checked(a_view(), TraderState(), one, chosen, of)
    for denied in found.denied:
        more = PlaceOrder(one.quotes[0].side, one.quotes[0].price_cc, denied.fits_cx + 1)
        refused = denied_command(more, a_view(), chosen, of)
        assert refused is not None
        assert refused.code == denied.code


@settings(max_examples=100)
@given(wishes(), any_limits, risks())
def test_the_part_of_a_wish_that_closes_is_always_allowed(wanted: Quotes, chosen: Limits, of: RiskState) -> None:
    found = checked(a_view(), TraderState(), wanted, chosen, of)
    for quote in wanted.quotes:
        if any(denied.code == "OWN_CROSS" for denied in found.denied):
            continue
        held_cx = -(of.position_cx or 0) if quote.side is YES else of.position_cx or 0
        taken_cx = sum(order.remaining_cx for order in of.unknown if order.side is quote.side)
        left = found.quotes.on(quote.side)
        assert (left.count_cx if left else 0) >= min(quote.count_cx, held_cx - taken_cx)


@settings(max_examples=100)
@given(wishes(), risks())
def test_F13_the_cash_suffices_for_all_that_is_allowed(wanted: Quotes, of: RiskState) -> None:
    position_cx, cash_ud = of.position_cx or 0, of.cash_ud or 0
    assume(collateral_ud(of.unknown, position_cx) <= cash_ud)
    found = checked(a_view(), TraderState(), wanted, LOOSE, of)
    assert collateral_ud([*of.unknown, *as_orders(found.quotes)], position_cx) <= cash_ud


# From the wish to the broker


@settings(max_examples=100)
@given(st.lists(wishes(), min_size=1, max_size=3), any_limits, risks(), st.booleans(), st.data())
def test_I4_no_sequence_of_wishes_commands_and_fills_passes_a_limit(
    wanted: list[Quotes], chosen: Limits, of: RiskState, answers_later: bool, data: st.DataObject
) -> None:
    """Commands go out one by one; between any two of them anything that rests, or may rest, can fill."""
    assume(is_within(of, chosen, list(of.unknown)))
    for wish in wanted:
        allowed = checked(a_view(), TraderState(), wish, chosen, of).quotes
        terms = DiffTerms(
            room_cx=room_cx(a_view(), allowed, chosen, of),
            unknown=of.unknown,
            in_flight=InFlight() if answers_later else None,
        )
        unanswered: list[Command] = []
        for command in diff(allowed, of.resting, terms):
            if denied_command(command, a_view(), chosen, of) is not None:
                continue
            if answers_later and not isinstance(command, PlaceOrder):
                unanswered.append(command)
            else:
                of = sent(of, command)
            assert_within(of, chosen, data)
        for command in unanswered:
            of = sent(of, command)
        of = filled(of, data)


def filled(of: RiskState, data: st.DataObject) -> RiskState:
    """Return the state after one of the orders at rest filled, in part or whole."""
    if not of.resting or data.draw(st.booleans()):
        return of
    order = data.draw(st.sampled_from(of.resting))
    count_cx = data.draw(st.integers(1, order.remaining_cx))
    position = after(of, [Unproven(order.side, order.price_cc, count_cx)])
    left = [
        msgspec.structs.replace(one, remaining_cx=one.remaining_cx - count_cx) if one is order else one
        for one in of.resting
    ]
    return msgspec.structs.replace(
        of,
        position_cx=position.position_cx,
        cost_ud=position.cost_ud,
        resting=tuple(one for one in left if one.remaining_cx),
    )


def sent(of: RiskState, command: Command) -> RiskState:
    """Return the state once a command was carried out."""
    resting = list(of.resting)
    match command:
        case CancelOrder(client_order_id=cid):
            resting = [order for order in resting if order.client_order_id != cid]
        case DecreaseOrder(client_order_id=cid, remaining_cx=count_cx):
            resting = [
                msgspec.structs.replace(order, remaining_cx=count_cx) if order.client_order_id == cid else order
                for order in resting
            ]
        case PlaceOrder(side=side, price_cc=price_cc, count_cx=count_cx):
            number = of.created_in_minute or 0
            resting.append(RestingQuote(f"n{number}", side, price_cc, count_cx))
            of = msgspec.structs.replace(of, created_in_minute=number + 1)
    return msgspec.structs.replace(of, resting=tuple(resting))


def assert_within(of: RiskState, chosen: Limits, data: st.DataObject) -> None:
    live = [Unproven(order.side, order.price_cc, order.remaining_cx) for order in of.resting]
    position = after(of, some_of(data, [*live, *of.unknown]))
    assert abs(position.position_cx) <= chosen.position_cx_most
    assert position.cost_ud <= chosen.exposure_ud_most
    best = [max((order.price_cc for order in of.resting if order.side is side), default=0) for side in Side]
    assert not all(best) or sum(best) < DOLLAR_CC


# What the account holds besides


def test_what_the_account_holds_besides_counts_against_the_position_on_its_side_alone() -> None:
    strict = {"position_cx_most": 1_000}
    beside = risk(outside_cx=700, outside_cost_ud=0)
    assert check(bid(500), of=beside, **strict).quotes.quotes[0].count_cx == 300
    assert check(ask(500), of=beside, **strict).quotes.quotes[0].count_cx == 500
    beside = risk(outside_cx=-700, outside_cost_ud=0)
    assert check(bid(500), of=beside, **strict).quotes.quotes[0].count_cx == 500
    assert check(ask(500), of=beside, **strict).quotes.quotes[0].count_cx == 300


def test_a_position_of_others_gives_no_room_to_the_other_side() -> None:
    strict = {"position_cx_most": 1_000}
    held = risk(position_cx=-900, cost_ud=0, outside_cx=5_000, outside_cost_ud=0)
    assert check(ask(500), of=held, **strict).quotes.quotes[0].count_cx == 100


def test_what_it_cost_counts_in_the_exposure() -> None:
    strict = {"exposure_ud_most": 1_000_000}
    beside = risk(outside_cx=100, outside_cost_ud=600_000)
    assert check(bid(500, 4_000), of=beside, **strict).quotes.quotes[0].count_cx == 100
    assert check(ask(500, 5_000), of=beside, **strict).quotes.quotes[0].count_cx == 200


def test_what_closes_is_let_out_whatever_others_hold() -> None:
    strict = {"position_cx_most": 100, "exposure_ud_most": 1}
    held = risk(position_cx=500, cost_ud=2_000_000, outside_cx=-9_000, outside_cost_ud=90_000_000)
    assert check(ask(500), of=held, **strict).quotes.quotes[0].count_cx == 500


@pytest.mark.parametrize("unknown", [{"outside_cx": None}, {"outside_cx": 1, "outside_cost_ud": None}])
def test_what_is_not_known_of_it_refuses_what_grows(unknown: dict[str, int | None]) -> None:
    found = check(bid(), of=risk(**unknown))
    assert found.quotes.quotes == ()
    assert found.denied[0].code in ("POSITION_UNKNOWN", "EXPOSURE_UNKNOWN")


def test_cash_counts_as_the_venue_nets_it() -> None:
    """Ours would close; on the account, which holds as many of the other side, it opens."""
    held = risk(position_cx=500, cost_ud=2_000_000, outside_cx=-500, outside_cost_ud=0, cash_ud=600_000)
    assert check(ask(600, 5_000), of=held).quotes.quotes[0].count_cx == 500, "what closes always may"
    assert check(ask(600, 5_000), of=risk(position_cx=500, cost_ud=0, cash_ud=600_000)).quotes.quotes[0].count_cx == 600
