from __future__ import annotations

import pytest

from markets.core.book import OrderBook
from markets.core.fees import INDIRECT_PRECISION_UD
from markets.core.units import DOLLAR_UD, Side
from traders.backtested import Outcome
from traders.core.inventory import Inventory, Payout

YES, NO = Side.YES, Side.NO


def held(side: Side, price_cc: int, count_cx: int, *, fee_ud: int = 17_100) -> Inventory:
    return Inventory().after(side, price_cc, count_cx, fee_ud=fee_ud)


@pytest.mark.parametrize(
    ("inventory", "value_ud", "payout"),
    [
        (held(YES, 4_000, 500), DOLLAR_UD, Payout(5_000_000, 0)),
        (held(YES, 4_000, 500), 0, Payout(0, 0)),
        (held(NO, 5_800, 500), DOLLAR_UD, Payout(0, 0)),
        (held(NO, 5_800, 500), 0, Payout(5_000_000, 0)),
        (held(YES, 4_000, 500), 370_000, Payout(1_850_000, 0)),
        (held(NO, 5_800, 500), 370_000, Payout(3_150_000, 0)),
        (Inventory(), 370_000, Payout(0, 0)),
    ],
)
def test_F7_each_result_pays_each_position_what_it_is_worth_and_profit_is_that_less_cost_and_fees(
    inventory: Inventory, value_ud: int, payout: Payout
) -> None:
    assert inventory.payout(value_ud) == payout
    after = inventory.settled(value_ud)
    assert (after.position_cx, after.position.cost_ud) == (0, 0)
    assert after.cash_ud == payout.paid_ud - inventory.position.cost_ud - inventory.position.fees_ud
    assert after.position.realized_ud == payout.paid_ud - inventory.position.cost_ud


@pytest.mark.parametrize(("precision_ud", "fee_ud"), [(100, 33), (INDIRECT_PRECISION_UD, 3_333)])
def test_F7_what_a_balance_cannot_hold_of_a_payout_is_a_fee(precision_ud: int, fee_ud: int) -> None:
    inventory = held(YES, 4_000, 1, fee_ud=0)
    assert inventory.payout(333_300, precision_ud=precision_ud) == Payout(3_333, fee_ud)
    after = inventory.settled(333_300, precision_ud=precision_ud)
    assert (after.cash_ud, after.position.fees_ud) == (3_333 - fee_ud - 4_000, fee_ud)


def test_what_was_booked_is_gone_by_though_it_would_be_reckoned_otherwise_today() -> None:
    after = held(YES, 4_000, 100, fee_ud=0).paid_out(Payout(333_333, 33))
    assert (after.position_cx, after.cash_ud, after.fills) == (0, 333_300 - 400_000, 1)


def test_F7_settling_twice_pays_once() -> None:
    once = held(YES, 4_000, 100).settled(DOLLAR_UD)
    assert once.settled(DOLLAR_UD) == once


def test_F7_a_backtest_settles_by_the_same_arithmetic() -> None:
    inventory = held(YES, 4_000, 1, fee_ud=0)
    assert (
        Outcome.of(inventory, book=OrderBook(), value_cc=3_333).settled_ud == inventory.settled(333_300).cash_ud == -700
    )
