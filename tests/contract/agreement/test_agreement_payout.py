"""A paper trader's cash from its fills to its settlement against the exchange's reference: two codes from one text."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from feed.exchange.trading import positions
from feed.exchange.trading.clearing import PRECISION_UD
from markets.core.settlement import settlement_value_ud
from markets.core.units import DOLLAR_CC, Side
from traders.core.inventory import Inventory

UD_PER_CC = 100  # of a value: a contract has hundreds of `cx`


class Match(NamedTuple):
    side: Side
    price_cc: int
    count_cx: int
    fee_ud: int


MATCHES = st.lists(
    st.builds(
        Match, st.sampled_from(Side), st.integers(1, DOLLAR_CC - 1), st.integers(1, 5_000), st.integers(0, 100_000)
    ),
    max_size=20,
)


@settings(max_examples=200)
@given(MATCHES, st.one_of(st.sampled_from(["yes", "no"]), st.integers(0, DOLLAR_CC)))
def test_F7_a_paper_trader_ends_with_the_cash_that_the_exchange_would_have_left_it(
    matches: list[Match], outcome: str | int
) -> None:
    mine, theirs, cash_ud = Inventory(), positions.Position("M", "E", 0), 0
    for side, price_cc, count_cx, fee_ud in matches:
        mine = mine.after(side, price_cc, count_cx, fee_ud=fee_ud)
        cash_ud += theirs.fill(side, price_cc, count_cx) - fee_ud
    result = outcome if isinstance(outcome, str) else "scalar"
    value_cc = outcome if isinstance(outcome, int) else {"yes": DOLLAR_CC, "no": 0}[result]
    paid_ud = theirs.settle(value_cc)
    fee_ud = paid_ud % PRECISION_UD if result == "scalar" else 0
    value_ud = settlement_value_ud(result, value_cc * UD_PER_CC)  # type: ignore[arg-type]  # one of the three
    payout = mine.payout(value_ud)
    assert (payout.paid_ud, payout.fee_ud) == (paid_ud, fee_ud)
    after = mine.paid_out(payout)
    assert (after.position_cx, after.position.cost_ud) == (theirs.position_cx, theirs.cost_ud) == (0, 0)
    assert (after.cash_ud, after.position.realized_ud) == (cash_ud + paid_ud - fee_ud, theirs.realized_ud)
    assert after.cash_ud == after.position.realized_ud - after.position.fees_ud
    assert after == mine.settled(value_ud)
