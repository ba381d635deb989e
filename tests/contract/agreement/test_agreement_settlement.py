"""Our positions, cash, collateral and payouts against the exchange's reference: two codes from one text."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from feed.exchange.catalog import FeeTerms
from feed.exchange.trading import collateral as reference_collateral
from feed.exchange.trading import fees as reference_fees
from feed.exchange.trading import netting, positions
from feed.exchange.trading.netting import Leg
from markets.core import fees
from markets.core.fees import OrderRounding
from markets.core.settlement import Position, collateral_ud, guaranteed_payout_ud, settlement_value_ud
from markets.core.units import DOLLAR_CC, Side

AT_US = 1_795_337_400_000_000
UD_PER_CC = 100  # of a value: a contract has hundreds of `cx`


class Match(NamedTuple):
    """One match of ours, at its own side's price."""

    side: Side
    price_cc: int
    count_cx: int
    is_taker: bool


class Order(NamedTuple):
    side: Side
    price_cc: int
    remaining_cx: int


PRICES = st.one_of(st.integers(1, 99).map(lambda cents: cents * 100), st.integers(1, DOLLAR_CC - 1))
COUNTS = st.one_of(st.integers(1, 20).map(lambda contracts: contracts * 100), st.integers(1, 5_000))
MATCHES = st.lists(st.builds(Match, st.sampled_from(Side), PRICES, COUNTS, st.booleans()), max_size=25)
VALUES = st.one_of(st.sampled_from([0, DOLLAR_CC]), st.integers(0, DOLLAR_CC))
HOLDINGS = st.integers(-5_000, 5_000)


def a_reference() -> positions.Position:
    return positions.Position("M", "E", 0)


def assert_alike(mine: Position, theirs: positions.Position) -> None:
    assert (mine.position_cx, mine.cost_ud, mine.realized_ud) == (
        theirs.position_cx, theirs.cost_ud, theirs.realized_ud
    )  # fmt: skip
    assert (mine.traded_ud, mine.volume_cx) == (theirs.traded_ud, theirs.volume_cx)


@given(MATCHES, VALUES)
def test_a_market_makes_the_same_of_cash_and_position_up_to_its_payout(matches: list[Match], value_cc: int) -> None:
    mine, theirs = Position(), a_reference()
    for side, price_cc, count_cx, _ in matches:
        cash_ud = mine.cash_effect_ud(side, price_cc, count_cx)
        mine = mine.after(side, price_cc, count_cx)
        assert cash_ud == theirs.fill(side, price_cc, count_cx)
        assert_alike(mine, theirs)
    result = {0: "no", DOLLAR_CC: "yes"}.get(value_cc, "scalar")
    value_ud = settlement_value_ud(result, value_cc * UD_PER_CC)  # type: ignore[arg-type]  # one of the three
    payout_ud, mine = mine.payout_ud(value_ud), mine.settled(value_ud)
    assert payout_ud == theirs.settle(value_cc)
    assert_alike(mine, theirs)


@given(MATCHES)
def test_an_order_that_opens_and_closes_pays_the_same_fees(matches: list[Match]) -> None:
    """Whatever a fill does to the position: what it closes has a dollar a contract more of revenue."""
    terms = fees.FeeTerms(fees.FeeSchedule("quadratic_with_maker_fees", 10_000))
    their_terms, theirs = FeeTerms("quadratic_with_maker_fees", 10_000), a_reference()
    rounding, gathered_ud = OrderRounding(), 0
    for side, price_cc, count_cx, is_taker in matches:
        mine = fees.charged_fee(
            terms, rounding, is_taker=is_taker, price_cc=price_cc, count_cx=count_cx, at_us=AT_US
        )  # fmt: skip
        yes_price_cc = price_cc if side is Side.YES else DOLLAR_CC - price_cc
        charge = reference_fees.charge(
            revenue_ud=theirs.fill(side, price_cc, count_cx),
            trade_fee_ud=reference_fees.trade_fee_ud(
                their_terms, is_taker=is_taker, yes_price_cc=yes_price_cc, count_cx=count_cx
            ),
            gathered_ud=gathered_ud,
        )
        assert mine is not None
        assert (mine.fee_ud, mine.rounding.gathered_ud) == (charge.fee_ud, charge.gathered_ud)
        rounding, gathered_ud = mine.rounding, charge.gathered_ud


@given(st.lists(st.builds(Order, st.sampled_from(Side), PRICES, COUNTS), max_size=12), HOLDINGS)
def test_resting_orders_of_a_market_need_the_same_cash(orders: list[Order], position_cx: int) -> None:
    assert collateral_ud(orders, position_cx) == reference_collateral.market_need_ud(orders, position_cx)  # type: ignore[arg-type]  # what it reads of an order


@given(st.lists(HOLDINGS, max_size=8))
def test_an_exclusive_event_guarantees_the_same(holdings_cx: list[int]) -> None:
    assert guaranteed_payout_ud(holdings_cx) == netting.guaranteed_ud(netting.MECNET, [Leg(cx) for cx in holdings_cx])
