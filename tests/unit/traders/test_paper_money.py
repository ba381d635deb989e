"""Paper cash, fees and settlement: as the exchange keeps them, to the micro-dollar."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from markets.core.fees import (
    DIRECT_PRECISION_UD,
    INDIRECT_PRECISION_UD,
    FeeSchedule,
    FeeTerms,
    OrderRounding,
    charged_fee,
)
from markets.core.units import DOLLAR_CC, DOLLAR_UD, Side
from tests.unit.traders.paperworld import World, a_world, ends, filled, fills
from traders.brokers.paper import PaperSettings
from traders.core.inventory import Inventory
from traders.core.orders import Fill
from traders.core.papermoney import ENDLESS_UD

MAKER_FEES = FeeTerms(FeeSchedule("quadratic_with_maker_fees", 10_000))
NO_MAKER_FEES = FeeTerms(FeeSchedule("quadratic", 10_000))


def fees_ud(world: World) -> list[int | None]:
    return [fill.fee_ud for fill in fills(world.events)]


def test_a_maker_pays_nothing_where_only_takers_do() -> None:
    world = a_world(PaperSettings(fees=NO_MAKER_FEES))
    world.place(Side.YES, 4_000, 100)
    world.prints(3_900, 100, taker=Side.NO)
    world.take(Side.YES, 4_200, 100)
    assert fees_ud(world) == [0, 17_100], "0.07 × 0.42 × 0.58 is 0.017052, and balances hold $0.0001"


@pytest.mark.parametrize("precision_ud", [DIRECT_PRECISION_UD, INDIRECT_PRECISION_UD])
def test_F9_fractional_fills_are_charged_with_the_rounding_their_order_has_gathered(precision_ud: int) -> None:
    world = a_world(PaperSettings(fees=MAKER_FEES, precision_ud=precision_ud))
    world.place(Side.YES, 4_000, 100)
    parts_cx = [1, 1, 30, 7, 61]
    for count_cx in parts_cx:
        world.prints(3_900, count_cx, taker=Side.NO)
    rounding, expected = OrderRounding(), []
    for part, fill in zip(parts_cx, fills(world.events), strict=True):
        charge = charged_fee(
            MAKER_FEES, rounding, is_taker=False, price_cc=4_000, count_cx=part, at_us=0, precision_ud=precision_ud
        )
        rounding = charge.rounding
        expected.append(charge.fee_ud)
        assert fill.count_cx == part
    assert fees_ud(world) == expected
    assert world.broker.inventory.position.fees_ud == sum(expected)


def test_F9_fees_that_change_are_charged_from_then_on() -> None:
    world = a_world(PaperSettings(fees=NO_MAKER_FEES))
    world.place(Side.YES, 4_000, 100)
    world.prints(3_900, 50, taker=Side.NO)
    world.broker.on_fees(MAKER_FEES)
    world.prints(3_900, 50, taker=Side.NO)
    assert [fee is not None and fee > 0 for fee in fees_ud(world)] == [False, True]


@pytest.mark.parametrize("fees", [None, FeeTerms(FeeSchedule("flat", 10_000))])
def test_an_unknown_fee_is_unknown_and_counted(fees: FeeTerms | None) -> None:
    world = a_world(PaperSettings(fees=fees))
    world.place(Side.YES, 4_000, 100)
    world.prints(3_900, 100, taker=Side.NO)
    assert fees_ud(world) == [None]
    assert (world.broker.inventory.unknown_fees, world.broker.inventory.cash_ud) == (1, -400_000)


def test_an_order_that_the_cash_does_not_cover_is_refused_with_figures() -> None:
    world = a_world(PaperSettings(cash_ud=1_000_000))
    assert world.place(Side.YES, 4_000, 200).status.value == "resting"
    order = world.place(Side.NO, 5_800, 100)
    assert (order.status.value, order.reason) == (
        "refused",
        "insufficient balance: needs $0.58, $0.20 is free",
    )
    assert world.place(Side.YES, 2_000, 100).status.value == "resting"


def test_fills_and_their_fees_come_off_the_cash() -> None:
    world = a_world(PaperSettings(cash_ud=1_000_000, fees=MAKER_FEES))
    world.place(Side.YES, 4_000, 200)
    world.prints(3_900, 200, taker=Side.NO)
    assert world.broker.cash_ud == 1_000_000 + world.broker.inventory.cash_ud
    assert 0 < world.broker.cash_ud < 200_000
    assert world.place(Side.YES, 2_000, 100).status.value == "refused"


def test_an_order_that_closes_what_is_held_needs_no_cash() -> None:
    world = a_world(PaperSettings(cash_ud=400_000), Inventory().after(Side.YES, 4_000, 100, fee_ud=0))
    assert world.place(Side.NO, 5_800, 100).status.value == "resting"
    assert world.place(Side.NO, 5_700, 1).status.value == "refused"


def test_without_a_bound_there_is_as_much_cash_as_it_takes() -> None:
    world = a_world()
    assert world.place(Side.YES, 4_000, 10**12).status.value == "resting"
    assert world.broker.cash_ud == ENDLESS_UD


def test_a_canceled_order_gives_its_cash_back() -> None:
    world = a_world(PaperSettings(cash_ud=400_000))
    world.cancel(world.place(Side.YES, 4_000, 100))
    assert world.place(Side.YES, 4_000, 100).status.value == "resting"


def test_a_take_that_the_cash_does_not_cover_is_refused_whole() -> None:
    world = a_world(PaperSettings(cash_ud=420_000))
    assert filled(world.take(Side.YES, 4_200, 101)) == []
    assert ends(world.events)[0][0] == "refused"
    assert filled(world.take(Side.YES, 4_200, 100)) == [100]


def test_cash_is_looked_at_when_an_order_arrives() -> None:
    world = a_world(PaperSettings(cash_ud=400_000, latency_us=50_000))
    world.place(Side.YES, 4_000, 100)
    world.place(Side.YES, 3_900, 100)
    assert [end[0] for end in ends(world.passes(50_001))] == ["resting", "refused"]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("place"), st.sampled_from(list(Side)), st.sampled_from([3_900, 4_000]), st.integers(1, 300)),
        st.tuples(st.just("print"), st.sampled_from(list(Side)), st.sampled_from([3_800, 3_900]), st.integers(1, 400)),
        st.tuples(st.just("take"), st.sampled_from(list(Side)), st.just(6_200), st.integers(1, 200)),
    ),
    max_size=25,
)


def independent_ud(happened: list[Fill], value_ud: int) -> Fraction:
    """Return what fills come to at settlement: each contract's worth less its price and its fee, nothing netted."""
    result = Fraction(0)
    for fill in happened:
        worth_ud = value_ud if fill.order.side is Side.YES else DOLLAR_UD - value_ud
        result += Fraction(fill.count_cx, 100) * (worth_ud - Fraction(fill.paid_cc * DOLLAR_UD, DOLLAR_CC))
        result -= fill.fee_ud or 0
    return result


@given(STEPS, st.sampled_from([0, DOLLAR_UD, 370_000]), st.sampled_from([None, 3_000_000]))
@settings(max_examples=150)
def test_F7_cash_after_settlement_is_what_every_contract_paid_less_what_it_cost(
    steps: list, value_ud: int, cash_ud: int | None
) -> None:
    world = a_world(PaperSettings(fees=MAKER_FEES, cash_ud=cash_ud))
    for kind, side, price_cc, count_cx in steps:
        if kind == "place":
            world.place(side, price_cc, count_cx)
        elif kind == "take":
            world.take(side, price_cc, count_cx)
        else:
            world.prints(price_cc if side is Side.YES else DOLLAR_CC - price_cc, count_cx, taker=side.other)
    inventory = world.broker.inventory
    settled = inventory.settled(value_ud)
    assert settled.cash_ud == independent_ud(fills(world.events), value_ud)
    assert (settled.position_cx, settled.position.cost_ud) == (0, 0)
    assert settled.cash_ud == settled.position.realized_ud - settled.position.fees_ud
    if cash_ud is not None:
        assert cash_ud + inventory.cash_ud + inventory.position.fees_ud >= 0
