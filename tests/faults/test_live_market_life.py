"""Rows of part F: halts, closes, reopenings, results, and terms that change while orders rest."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.faults.base import OWNER
from tests.faults.ledger import CREATE, money_ud
from tests.faults.liverig import CANCELLING, PLACING, LiveCase, LiveOptions, LiveRig
from tests.faults.livetrader import IMPROVES, JOINS, Plan

pytestmark = pytest.mark.long

PAUSED = '{"error":{"code":"exchange_is_paused","message":"exchange is paused"}}'
CENT_UD = 10_000
FEW = 4  # requests that a halt may cost before it is understood
# Places of traders.
(STEADY, HALTED, CLOSING, EARLY, LONG_YES, LONG_NO, TICKS, FEES, SCALAR_YES, SCALAR_NO, RESTING) = range(11)
STAYING = {**JOINS.guards, "last_quote_s": 0}


@pytest.fixture(scope="module")
def live_options() -> LiveOptions:
    resting = Plan(market=RESTING, strategies=type(JOINS)(JOINS.placement, guards=STAYING))
    improving = {LONG_YES, LONG_NO, SCALAR_YES, SCALAR_NO, FEES}
    plans = [Plan(market=at, strategies=IMPROVES if at in improving else JOINS) for at in range(RESTING)]
    return LiveOptions(quick_leases=True, traders=(*plans, resting))


def creates_asked(live: LiveCase) -> int:
    return len(live.requests("POST", CREATE))


def until_none_rests(live: LiveCase) -> None:
    live.until(lambda: not live.resting(), "the exchange has canceled what rested")
    live.until_agreed("the ends are known")


# ---- F1, F2, F3 ------------------------------------------------------------------------------------------------------


def test_F1_a_trading_pause_costs_a_few_creates_and_ends_by_itself(live_on: Any) -> None:
    live: LiveCase = live_on(STEADY)
    live.rig.control("POST", "/pauses", {"halt": "trading"})
    until_none_rests(live)
    live.let_it_look()
    assert creates_asked(live) <= FEW, "no storm"
    live.rig.control("DELETE", "/pauses", {"halt": "trading"})
    live.until_quotes("it quotes again")
    live.judge(faults=2)


def test_F2_an_exchange_pause_refuses_cancels_and_they_go_first_on_return(live_on: Any) -> None:
    """By answers, not by the exchange's own pause: that takes our orders off at its begin, as they ask for."""
    live: LiveCase = live_on(STEADY)
    paused = {"do": "answer", "status": 409, "text": PAUSED, "times": None}
    live.arm({**paused, "id": "no-post", **PLACING}, {**paused, "id": "no-delete", **CANCELLING})
    names = {order.client_order_id for order in live.resting()}
    live.command("pause")
    live.until_struck("no-delete", times=2)
    assert all(live.told(name).status == "resting" for name in names), "nobody believes that they are canceled"
    back_us = time.time_ns() // 1_000
    live.rig.control("DELETE", "/faults")
    live.command("resume")
    live.until(lambda: not names & {order.client_order_id for order in live.resting()}, "the cancels were kept ready")
    live.until_quotes("it quotes again")
    first = next(one for one in live.rig.fetch().requests if one.at_us > back_us and one.is_write)
    assert first.method == "DELETE"
    live.judge()


def test_F2_the_exchanges_own_pause_takes_the_orders_off_and_ends(live_on: Any) -> None:
    live: LiveCase = live_on(STEADY)
    live.rig.control("POST", "/pauses", {"halt": "exchange"})
    until_none_rests(live)
    assert creates_asked(live) <= FEW
    live.rig.control("DELETE", "/pauses", {"halt": "exchange"})
    live.until_quotes("it quotes again")
    live.judge(faults=2)


def test_F3_maintenance_with_disconnects_is_outlived_without_a_storm(live_on: Any) -> None:
    live: LiveCase = live_on(STEADY)
    now_s = time.time_ns() // 1_000_000_000
    live.rig.control("POST", "/maintenance", {"start_ts": now_s + 1, "end_ts": now_s + 6, "halt": "exchange"})
    live.arm({"do": "close_at_once", "id": "shut", "code": 1012, "times": 3})
    live.rig.control("POST", "/clients/close", {"account": OWNER, "code": 1012})
    until_none_rests(live)
    live.until_struck("shut")
    live.until_quotes("it quotes again")
    assert creates_asked(live) <= 3 * FEW
    assert len(live.alerts()) <= 6, live.alerts()
    live.judge()


# ---- F4, F5, F6 ------------------------------------------------------------------------------------------------------


def test_F4_a_market_that_is_deactivated_and_activated_has_no_old_orders(live_on: Any) -> None:
    live: LiveCase = live_on(HALTED)
    old = {order.order_id for order in live.resting()}
    live.rig.market(live.trader.ticker, "deactivate")
    until_none_rests(live)
    live.let_it_look()
    assert creates_asked(live) <= FEW
    live.rig.market(live.trader.ticker, "activate")
    live.until_quotes("it quotes on a fresh book")
    assert not old & {order.order_id for order in live.resting()}
    live.judge(faults=2)


def closes_in(live: LiveCase, seconds: int) -> int:
    """Move the market's close, tell the trader, and return when it is."""
    close_s = time.time_ns() // 1_000_000_000 + seconds
    live.rig.market(live.trader.ticker, "move_close", {"close_ts": close_s})
    live.tell_facts()
    return close_s


def test_F5_quotes_are_pulled_before_the_close_and_the_trader_ends(live_on: Any) -> None:
    live: LiveCase = live_on(CLOSING)
    close_s = closes_in(live, 7)
    live.until(lambda: not live.resting(), "its own timer pulls the quotes")
    ends_us = [order.at_us for order in live.orders() if order.is_over]
    assert max(ends_us) < (close_s - 3) * 1_000_000, "by a margin"
    assert live.trader.worker.wait(within_s=30) == 0
    live.judge(stirs=False)


def test_F5_what_rests_at_the_close_is_canceled_by_it_and_not_for_ever_by_us(live_on: Any) -> None:
    live: LiveCase = live_on(RESTING)
    closes_in(live, 3)
    assert live.trader.worker.wait(within_s=30) == 0
    live.until(lambda: not live.resting(), "the close has taken the orders off")
    assert len(live.requests("DELETE", CREATE)) <= 8, "no loop of cancels"
    live.trader.start(desired="paused")  # whoever comes after it collects the final states
    live.until(lambda: live.trader.view() is not None, "it lives")
    live.judge(stirs=False)
    live.trader.end()


def test_F6_an_early_close_and_a_reopening_are_followed(live_on: Any) -> None:
    live: LiveCase = live_on(EARLY)
    live.rig.market(live.trader.ticker, "close")
    live.until(lambda: not live.resting(), "nothing rests after the close")
    live.let_it_look()
    assert creates_asked(live) <= FEW, "no trading past the close"
    close_s = time.time_ns() // 1_000_000_000 + 86_400
    live.rig.market(live.trader.ticker, "move_close", {"close_ts": close_s})
    live.tell_facts()
    for side, yes_cc in (("bid", 4_000), ("ask", 6_000)):  # the crowd went home at the close
        live.rig.person(side, yes_cc, 5_000, live.trader.ticker)
    live.until_quotes("it quotes again")
    live.judge(faults=2)


# ---- F7 --------------------------------------------------------------------------------------------------------------


RESULTS: dict[str, tuple[int, int, dict[str, str], dict[str, str], int]] = {
    "long-yes": (LONG_YES, 0, {"result": "no"}, {"result": "yes"}, 10_000),
    "long-no": (LONG_NO, 1, {"result": "no"}, {"result": "yes"}, 10_000),
    "long-yes-scalar": (SCALAR_YES, 0, {"result": "yes"}, {"result": "scalar", "value": "0.3700"}, 3_700),
    "long-no-void": (SCALAR_NO, 1, {"result": "yes"}, {"result": "scalar", "value": "0.5000"}, 5_000),
}


@pytest.mark.parametrize(("place", "side", "first", "last", "yes_cc"), RESULTS.values(), ids=RESULTS)
@pytest.mark.timeout(120)
def test_F7_a_market_is_determined_disputed_amended_and_settled_to_the_cent(
    live_on: Any, place: int, side: int, first: dict[str, str], last: dict[str, str], yes_cc: int
) -> None:
    live: LiveCase = live_on(place)
    live.pause()
    live.resume()
    live.hit_some(side)
    live.until(lambda: live.position_cx() == live.true_position_cx() != 0, "it is booked")
    ticker = live.trader.ticker
    live.rig.market(ticker, "determine", first)
    until_none_rests(live)
    held_cx = live.true_position_cx()
    live.rig.market(ticker, "dispute")
    live.rig.market(ticker, "amend", last)
    live.let_it_look()
    assert live.resting() == []
    assert live.rig.ledger.filled_position_cx(ticker) == held_cx, "it left by no trade"
    live.rig.market(ticker, "settle")
    live.rig.hurry_desk()
    live.until(lambda: ticker in live.stored().settlements, "the settlement is stored", within_s=45)
    paid_ud = max(0, held_cx) * yes_cc + max(0, -held_cx) * (10_000 - yes_cc)
    result, revenue_ud = live.stored().settlements[ticker]
    assert (result, revenue_ud) == (last["result"], paid_ud // CENT_UD * CENT_UD), "the venue tells it in whole cents"
    assert live.stored().positions.get(ticker, 0) == 0
    holdings = live.rig.holdings()
    book = [one for one in holdings["cash_book"] if one["kind"] == "settlement" and one["reference"] == ticker]
    assert sum(money_ud(one["amount_dollars"]) for one in book) == paid_ud
    assert len(book) <= 1, "once"
    live.until(lambda: live.known_cash_ud() == live.rig.cash_ud(), "what it paid is in the account's cash")
    live.judge(faults=4, stirs=False, first=True)
    live.trader.end()


# ---- F8, F9 ----------------------------------------------------------------------------------------------------------


def test_F8_prices_follow_another_grid(live_on: Any) -> None:
    live: LiveCase = live_on(TICKS)
    live.rig.market(live.trader.ticker, "structure", {"price_level_structure": "center_half_edge_half_cent"})
    live.tell_facts()
    live.pause()
    live.resume()
    live.until_quotes("it quotes on the new grid")
    grid = live.rig.facts(live.trader.ticker).grid()
    assert {50} == {band.step_cc for band in grid.ranges}
    assert [one for one in live.requests("POST") if one.status == 400] == []
    live.judge()


def test_F9_fees_as_charged_win_when_the_schedule_changes(live_on: Any) -> None:
    live: LiveCase = live_on(FEES)
    fees = {"fee_type": "quadratic_with_combo_maker_fees", "fee_multiplier": 2, "scheduled_ts": now()}
    live.rig.control("POST", "/fees/series", {"series_ticker": series_of(live.rig, live.trader.ticker), **fees})
    live.hit_some(count_cx=1)
    live.hit_some(side=1)
    live.until(lambda: live.position_cx() == live.true_position_cx(), "all is booked")
    charged = {(one.order_id, one.trade_id): one.fee_ud for one in live.fills()}
    assert any(charged.values()), "there is a fee"
    told = {(one.body.order_id, one.body.trade_id): one.body.fee_ud for one in live.trader.record.read().fills}
    assert {key: told[key] for key in charged} == charged
    live.judge()


def series_of(rig: LiveRig, ticker: str) -> str:
    market = rig.owner.public(f"/markets/{ticker}")["market"]
    series: str = rig.owner.public(f"/events/{market['event_ticker']}")["event"]["series_ticker"]
    return series


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
