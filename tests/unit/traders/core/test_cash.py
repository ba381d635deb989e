from __future__ import annotations

from itertools import permutations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from markets.core.book import OrderBook
from markets.core.grid import CENT_GRID
from markets.core.settlement import Position
from markets.core.units import DOLLAR_CC, Side
from traders.core.cash import AtRest, Cash, cash_for
from traders.core.limits import Checked, Limits, RiskState
from traders.core.risk import checked
from traders.core.types import MarketView, Quote, Quotes, TraderState
from traders.core.why import said

YES, NO = Side.YES, Side.NO
NOW = 1_790_000_000_000_000
HERE, OTHER = "KXHIGHNY-1-B1", "KXHIGHNY-1-B2"
DOLLAR = 1_000_000


def at_rest(
    count_cx: int, price_cc: int = 4_000, *, side: Side = YES, ticker: str = OTHER, shard: int | None = 0
) -> AtRest:
    return AtRest(ticker, shard, side, price_cc, count_cx)


def cash(*orders: AtRest, balances: dict[int, int] | None, positions: dict[str, int] | None = None) -> Cash:
    listed = None if balances is None else balances.items()
    return cash_for(HERE, 0, balances=listed, orders=orders, positions=positions or {})


# What there is


def test_what_lies_on_the_shard_is_there_when_nothing_rests() -> None:
    assert cash(balances={0: 5 * DOLLAR, 3: DOLLAR}) == Cash(0, 5 * DOLLAR, {3: DOLLAR})


def test_orders_of_other_markets_on_the_shard_are_taken_off() -> None:
    found = cash(at_rest(100), at_rest(200, 1_000, ticker="KXC-1"), balances={0: 5 * DOLLAR})
    assert found.free_ud == 5 * DOLLAR - 400_000 - 200_000


def test_orders_of_the_market_itself_are_left_to_its_limits() -> None:
    assert cash(at_rest(100, ticker=HERE), balances={0: 5 * DOLLAR}).free_ud == 5 * DOLLAR


def test_orders_of_another_shard_need_cash_there() -> None:
    found = cash(at_rest(100, shard=2), balances={0: 5 * DOLLAR, 2: DOLLAR})
    assert found == Cash(0, 5 * DOLLAR, {2: 600_000})


def test_an_order_whose_shard_is_not_known_counts_on_each() -> None:
    found = cash(at_rest(100, shard=None), balances={0: 5 * DOLLAR, 2: DOLLAR})
    assert found == Cash(0, 5 * DOLLAR - 400_000, {2: 600_000})


def test_a_shard_that_is_short_itself_has_nothing_to_give() -> None:
    found = cash(at_rest(100, shard=2), at_rest(500, shard=3), balances={0: DOLLAR, 2: 400_000, 3: 400_000})
    assert found.elsewhere == {}


@pytest.mark.parametrize("balances", [None, {}])
def test_unknown_balances_are_not_no_cash(balances: dict[int, int] | None) -> None:
    assert cash(at_rest(100), balances=balances) == Cash(0, None)


def test_a_shard_that_is_not_listed_holds_nothing() -> None:
    assert cash(balances={2: DOLLAR}) == Cash(0, 0, {2: DOLLAR})


# Positions


def test_what_closes_a_position_needs_no_cash() -> None:
    order = at_rest(300, 6_000, side=NO)
    assert cash(order, balances={0: DOLLAR * 9}, positions={OTHER: 300}).free_ud == 9 * DOLLAR
    assert cash(order, balances={0: DOLLAR * 9}, positions={OTHER: 200}).free_ud == 9 * DOLLAR - 600_000
    assert cash(order, balances={0: DOLLAR * 9}, positions={OTHER: -300}).free_ud == 9 * DOLLAR - 1_800_000
    assert cash(order, balances={0: DOLLAR * 9}, positions={"KXC-1": 300}).free_ud == 9 * DOLLAR - 1_800_000


def test_of_several_orders_that_could_close_a_position_the_dearest_are_taken_to_need_cash() -> None:
    orders = [at_rest(100, 9_000, side=NO), at_rest(100, 1_000, side=NO)]
    for listed in (orders, orders[::-1]):
        assert cash(*listed, balances={0: 9 * DOLLAR}, positions={OTHER: 100}).free_ud == 9 * DOLLAR - 900_000


any_order = st.builds(
    AtRest,
    st.just(OTHER),
    st.just(0),
    st.sampled_from(Side),
    st.integers(1, DOLLAR_CC - 1),
    st.integers(1, 300),
)


def spent_ud(position_cx: int, fills: tuple[AtRest, ...]) -> int:
    """Return the most that a balance is below where it began while these orders fill one after the other."""
    position, cash_ud, lowest_ud = Position(position_cx=position_cx), 0, 0
    for fill in fills:
        cash_ud += position.cash_effect_ud(fill.side, fill.price_cc, fill.remaining_cx)
        position = position.after(fill.side, fill.price_cc, fill.remaining_cx)
        lowest_ud = min(lowest_ud, cash_ud)
    return -lowest_ud


@settings(max_examples=150)
@given(st.lists(any_order, max_size=4), st.integers(-400, 400))
def test_I4_no_fills_of_other_markets_in_any_order_take_more_than_was_taken_off(
    orders: list[AtRest], position_cx: int
) -> None:
    found = cash(*orders, balances={0: 10 * DOLLAR}, positions={OTHER: position_cx})
    assert found.free_ud is not None
    for fills in permutations(orders):
        assert spent_ud(position_cx, fills) <= 10 * DOLLAR - found.free_ud


# What becomes of the sizes

LOOSE = Limits(order_cx_most=100_000, position_cx_most=100_000, exposure_ud_most=10**12)
RISK = RiskState(
    position_cx=0, cost_ud=0, outside_cx=0, created_in_minute=0, result_ud=0, high_water_ud=0, allotments=()
)


def allowed(found: Cash, *quotes: Quote, position_cx: int = 0) -> Checked:
    book = OrderBook()
    book.replace([(4_000, 1_000)], [(5_800, 1_000)])
    view = MarketView(HERE, NOW, book, CENT_GRID, NOW + 10**12)
    risk = msgspec.structs.replace(
        RISK,
        position_cx=position_cx,
        cash_ud=found.free_ud,
        exchange_index=found.exchange_index,
        shards=found.elsewhere,
    )
    return checked(view, TraderState(), Quotes(quotes), LOOSE, risk)


def sizes(found: Cash) -> list[int]:
    return [quote.count_cx for quote in allowed(found, Quote(YES, 4_000, 100)).quotes.quotes]


def test_F13_sizes_shrink_as_other_markets_take_the_cash_and_then_stop() -> None:
    others = [cash(at_rest(count_cx), balances={0: DOLLAR}) for count_cx in (0, 150, 175, 200, 249, 250, 400)]
    assert [sizes(found) for found in others] == [[100], [100], [75], [50], [1], [], []]


def test_F13_sizes_shrink_as_cash_is_withdrawn_and_then_stop() -> None:
    found = [cash(balances={0: balance_ud}) for balance_ud in (DOLLAR, 399_999, 200_000, 3_999, 0)]
    assert [sizes(one) for one in found] == [[100], [99], [50], [], []]


def test_F13_a_refusal_names_the_transfer_that_would_mend_it() -> None:
    short = cash(at_rest(100), at_rest(100, shard=2), balances={0: 500_000, 1: 200_000, 2: 800_000})
    found = allowed(short, Quote(YES, 4_000, 100))
    assert [quote.count_cx for quote in found.quotes.quotes] == [25]
    assert said(found.quotes.whys) == (
        "bid cut from 1 to 0.25: $0.40 of cash could be needed, $0.10 is free on shard 0; "
        "moving $0.30 from shard 2 would do"
    )


def test_F13_the_transfer_that_is_named_is_in_whole_cents_and_suffices() -> None:
    short = cash(at_rest(101), balances={0: 500_000, 2: 304_000})  # 304,000 are missing: $0.31
    found = allowed(short, Quote(YES, 4_000, 100))
    assert found.denied[0].figures["move_ud"] == 310_000
    assert found.denied[0].figures["from_index"] is None, "another shard has it, but not in whole cents"
    richer = cash(at_rest(101), balances={0: 500_000, 2: 310_000})
    assert "moving $0.31 from shard 2" in said(allowed(richer, Quote(YES, 4_000, 100)).quotes.whys)
    moved = cash(at_rest(101), balances={0: 810_000, 2: 0})
    assert allowed(moved, Quote(YES, 4_000, 100)).denied == ()


def test_F13_a_transfer_must_also_cover_what_other_markets_are_short_of() -> None:
    short = cash(at_rest(200), balances={0: 500_000, 2: 800_000})
    assert short.free_ud == -300_000
    (denied,) = allowed(short, Quote(YES, 4_000, 100)).denied
    assert (denied.figures["move_ud"], denied.figures["from_index"]) == (700_000, 2)
    assert allowed(cash(at_rest(200), balances={0: 1_200_000}), Quote(YES, 4_000, 100)).denied == ()


def test_F13_unknown_cash_stops_what_grows_and_not_what_closes() -> None:
    found = allowed(cash(balances=None), Quote(YES, 4_000, 100), Quote(NO, 5_800, 70), position_cx=70)
    assert found.quotes.quotes == (Quote(NO, 5_800, 70),)
    assert [one.code for one in found.denied] == ["CASH_UNKNOWN"]
