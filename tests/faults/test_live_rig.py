"""The rig of live traders itself: an honest trader passes on real processes, and each dishonest one is found out."""

from __future__ import annotations

import itertools

import pytest

from feed.schema import OrderSent
from tests.faults.base import OWNER
from tests.faults.invariants import Most, limits_passed
from tests.faults.ledger import CREATE, OrderAt
from tests.faults.liverig import LiveCase, LiveOptions, LiveRig
from tests.faults.livetrader import Plan
from tests.faults.standin import StandIn
from tests.faults.told import decided_badly
from tests.faults.truth import price_cc

pytestmark = pytest.mark.long

NUMBERS = itertools.count(1)
LOW_CC, SIZE_CX = 100, 500  # of YES and of NO nobody sells so cheaply: it rests


@pytest.fixture(scope="module")
def live_options() -> LiveOptions:
    return LiveOptions(traders=())


@pytest.fixture
def stand_in(live_rig: LiveRig) -> StandIn:
    """A trader by hand, in a market of its own."""
    number = next(NUMBERS)
    made = StandIn(live_rig, number, Plan(market=number))
    made.start()
    live_rig.traders[:] = [made]  # what dishonest ones left behind is not this one's
    for order in live_rig.fetch().resting():
        live_rig.control("DELETE", f"/orders/{order.order_id}?account=owner")
    return made


@pytest.fixture
def case(live_rig: LiveRig, stand_in: StandIn) -> LiveCase:
    return LiveCase(live_rig, stand_in, quotes=False)


def best_cc(rig: LiveRig, ticker: str, side: int) -> int:
    book = rig.owner.public(f"/markets/{ticker}/orderbook")["orderbook_fp"]
    return max(price_cc(price) for price, _ in book[("yes_dollars", "no_dollars")[side]])


def settled(case: LiveCase, stand_in: StandIn) -> list[str]:
    """Return what is wrong once what lags behind has come."""

    def is_stored() -> bool:
        stand_in.catch_up()
        return not [problem for problem in case.verdict().problems if "stored" in problem or "desk" in problem]

    case.until(is_stored, "the database has it all")
    return case.verdict().problems


def test_an_honest_trader_passes_through_rests_fills_and_cancels(case: LiveCase, stand_in: StandIn) -> None:
    orders = [stand_in.place(side, best_cc(case.rig, stand_in.ticker, side), SIZE_CX) for side in (0, 1)]
    for order in orders:
        case.hit(order, 300)
    stand_in.catch_up()
    for order in case.resting():
        stand_in.cancel(order)
    verdict = case.until_agreed("an honest trader is found good")
    assert {fill.side for fill in case.fills()} == {0, 1}
    assert verdict.judged_after(case.began_us) >= 6


def test_a_row_without_an_order_after_its_fault_is_no_row(case: LiveCase, stand_in: StandIn) -> None:
    case.arm({"do": "delay", "delay_ms": 1, "method": "GET"})
    case.rig.owner.must("GET", "/portfolio/orders")
    with pytest.raises(AssertionError, match="nothing of an order was judged"):
        case.judge(stirs=False)


def test_I1_a_create_sent_twice_is_found_out(case: LiveCase, stand_in: StandIn) -> None:
    order = stand_in.place(0, LOW_CC, SIZE_CX)
    assert stand_in.post(1, 0, LOW_CC, SIZE_CX).status == 409
    assert settled(case, stand_in) == [f"I1 {order.client_order_id} was sent 2 times"]


def test_I5_a_create_that_was_decided_on_the_book_of_a_former_connection_is_found_out(
    case: LiveCase, stand_in: StandIn
) -> None:
    old = stand_in.book()
    stand_in.place(0, LOW_CC, SIZE_CX)
    assert decided_badly(case.rig.listen(), stand_in.party()) == []
    case.rig.control("POST", "/clients/close", {"account": OWNER, "code": 1012})
    case.until(lambda: stand_in.book()[0] != old[0], "the book is of another connection")
    stand_in.decide(old)
    stand_in.wish("place", side=0, price_cc=LOW_CC, count_cx=SIZE_CX)
    (problem,) = decided_badly(case.rig.listen(), stand_in.party(), within_us=0)
    assert "decided on the book" in problem


def test_I9_a_create_that_is_written_down_afterwards_is_found_out(case: LiveCase, stand_in: StandIn) -> None:
    stand_in._intents += 1
    stand_in.post(1, 0, LOW_CC, SIZE_CX)
    stand_in._intents -= 1
    number = stand_in.wish("place", side=0, price_cc=LOW_CC, count_cx=SIZE_CX)
    stand_in.note(OrderSent(number, 0))
    assert any("before its intent" in problem for problem in settled(case, stand_in))


def test_I2_an_order_of_a_dead_trader_is_found_out(case: LiveCase, stand_in: StandIn) -> None:
    stand_in.place(0, LOW_CC, SIZE_CX)
    assert settled(case, stand_in) == []
    stand_in.end()
    assert any("does not live" in problem for problem in case.verdict().problems)


def test_I2_a_persons_order_is_listed_as_external(case: LiveCase, stand_in: StandIn) -> None:
    case.rig.person("bid", LOW_CC, SIZE_CX, stand_in.ticker, account="owner")
    assert any("nobody listed it" in problem for problem in case.verdict().problems)
    case.until_agreed("the desk lists it")


def test_I3_a_fill_that_is_not_booked_is_found_out(case: LiveCase, stand_in: StandIn) -> None:
    order = stand_in.place(0, best_cc(case.rig, stand_in.ticker, 0), SIZE_CX)
    case.hit(order, 300)
    case.until(case.fills, "it fills")
    problems = case.verdict().problems
    assert any("has not booked" in problem for problem in problems)
    assert any(problem.startswith(f"I3 positions of {stand_in.ticker} differ") for problem in problems)
    assert settled(case, stand_in) == []


def test_I4_an_order_beyond_the_limits_is_found_out(case: LiveCase, stand_in: StandIn) -> None:
    stand_in.place(0, LOW_CC, SIZE_CX)
    party = stand_in.party()
    party.most = Most(SIZE_CX - 1, 10**9)
    assert len(limits_passed(case.rig.fetch(), party, since_us=case.mark.at_us)) == 1
    party.most = Most(SIZE_CX, 10**9)
    assert limits_passed(case.rig.ledger, party, since_us=case.mark.at_us) == []


def test_I9_an_order_whose_answer_was_lost_and_that_is_given_up_is_found_out(case: LiveCase, stand_in: StandIn) -> None:
    case.arm({"do": "apply_then_answer", "method": "POST", "path": CREATE, "status": 503})
    stand_in.decide(stand_in.book())
    number = stand_in.wish("place", side=0, price_cc=LOW_CC, count_cx=SIZE_CX)
    stand_in.note(OrderSent(number, 0))
    assert stand_in.post(number, 0, LOW_CC, SIZE_CX).status == 503
    case.until_applied()
    assert any("nobody wrote what became of" in problem for problem in case.verdict().problems)
    (order,) = case.orders()
    assert isinstance(order, OrderAt)
    assert settled(case, stand_in) == []
