"""The judge of orders: it must see what is wrong, or no row of live traders means anything."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feed.schema import VERSION, FillState, JournalBody, JournalEntry, OrderAnswer, OrderIntent, OrderSent, OrderState
from markets.core.orderids import Owner
from markets.core.settlement import Position
from markets.core.units import Side
from tests.faults.invariants import Holding, Most, Party, judge, limits_passed, positions_apart, writes
from tests.faults.ledger import CREATE, Ledger, OrderAt, Request
from tests.faults.records import Record
from traders.core.exposure import Unproven, exposure_ud
from traders.journal import record as as_bytes

TICKER = "M-1"
OURS = Owner(installation=7, trader=1, epoch=3)
ID = OURS.client_order_id(1)
PLENTY = Most(position_cx=10_000, exposure_ud=1_000_000_000)


# ---- a story: lines of the ledger and lines of the journal -----------------------------------------------------------


class Story:
    """What happened at the exchange, and what one trader wrote of it; each step a millisecond after the last."""

    def __init__(self, *, most: Most = PLENTY, epoch: int | None = 3) -> None:
        self.lines: list[dict[str, Any]] = []
        self.entries: list[JournalEntry] = []
        self.most, self.epoch = most, epoch
        self.now_us = 1_000_000

    def _tick(self) -> int:
        self.now_us += 1_000
        return self.now_us

    def write(self, *bodies: JournalBody) -> None:
        for body in bodies:
            number = len(self.entries) + 1
            self.entries.append(JournalEntry(VERSION, 1, number, self._tick(), "local", "live", TICKER, body))

    def event(self, channel: str, body: dict[str, Any], *, account: str = "owner") -> None:
        self._line({"line": "event", "account": account, "channel": channel, "body": body})

    def request(self, method: str, path: str, body: Any = None, *, status: int = 200) -> None:
        line = {"line": "request", "account": "owner", "method": method, "status": status, "body": body}
        self._line({**line, "path": f"/trade-api/v2{path}"})

    def _line(self, line: dict[str, Any]) -> None:
        self.lines.append({**line, "number": len(self.lines) + 1, "at_us": self._tick()})

    def order(self, client_order_id: str = ID, **changes: Any) -> None:
        self.event("user_orders", an_order(client_order_id, **changes))

    def fill(self, count: str, *, trade: str = "t1", order_id: str = "o1", **changes: Any) -> None:
        body = {
            "trade_id": trade, "order_id": order_id, "client_order_id": ID, "market_ticker": TICKER,
            "outcome_side": "yes", "yes_price_dollars": "0.4000", "count_fp": count, "fee_cost": "0.0100",
            "is_taker": False,
        }  # fmt: skip
        self.event("fill", body | changes)

    # a create that goes well, up to resting

    def wish(self, number: int = 1, *, count_cx: int = 1_000, sent: bool = True) -> str:
        client_order_id = OURS.client_order_id(number)
        self.write(OrderIntent(number, client_order_id, "place", self.now_us, "", 0, 4_000, count_cx))
        if sent:
            self.write(OrderSent(number, self.now_us))
        return client_order_id

    def post(self, number: int = 1, *, status: int = 201) -> None:
        self.request("POST", CREATE, {"client_order_id": OURS.client_order_id(number)}, status=status)

    def rest(self, number: int = 1, order_id: str = "o1") -> None:
        self.wish(number)
        self.order(OURS.client_order_id(number), order_id=order_id)
        self.post(number)
        self.write(
            OrderAnswer(number, self.now_us, "accepted", order_id=order_id),
            a_state(OURS.client_order_id(number), order_id=order_id),
        )

    # what is judged

    def party(self) -> Party:
        record = Record()
        record.add(self.entries)
        return Party(trader=1, installation=7, ticker=TICKER, record=record, most=self.most, epoch=self.epoch)

    def ledger(self) -> Ledger:
        ledger = Ledger("owner")
        ledger.add(self.lines)
        return ledger

    def problems(self, *, external: tuple[str, ...] = ()) -> list[str]:
        return judge(self.ledger(), [self.party()], since=0, since_us=0, external=external).problems


def an_order(client_order_id: str = ID, **changes: Any) -> dict[str, Any]:
    body = {
        "order_id": "o1", "client_order_id": client_order_id, "ticker": TICKER, "outcome_side": "yes",
        "yes_price_dollars": "0.4000", "initial_count_fp": "10.00", "fill_count_fp": "0.00",
        "remaining_count_fp": "10.00", "status": "resting",
    }  # fmt: skip
    return body | changes


def a_state(client_order_id: str = ID, **changes: Any) -> OrderState:
    values: dict[str, Any] = {
        "client_order_id": client_order_id, "order_id": "o1", "side": 0, "price_cc": 4_000, "placed_cx": 1_000,
        "filled_cx": 0, "remaining_cx": 1_000, "status": "resting", "reason": "",
    }  # fmt: skip
    return OrderState(**values | changes)


def a_booking(count_cx: int, position_cx: int, **changes: Any) -> FillState:
    values: dict[str, Any] = {
        "client_order_id": ID, "order_id": "o1", "trade_id": "t1", "side": 0, "price_cc": 4_000, "count_cx": count_cx,
        "is_taker": False, "fee_ud": 10_000, "position_cx": position_cx, "inferred": False,
    }  # fmt: skip
    return FillState(**values | changes)


def fill_three(story: Story) -> None:
    """Let three contracts of a resting order fill, and be booked."""
    story.fill("3.00")
    story.order(fill_count_fp="3.00", remaining_count_fp="7.00")
    story.write(a_booking(300, 300), a_state(filled_cx=300, remaining_cx=700))


def a_good_life() -> Story:
    """An order that rests, fills in part and is canceled, with all of it written down."""
    story = Story()
    story.rest()
    fill_three(story)
    story.write(OrderIntent(2, ID, "cancel", story.now_us, "o1"), OrderSent(2, story.now_us))
    story.order(fill_count_fp="3.00", remaining_count_fp="0.00", status="canceled")
    story.request("DELETE", f"{CREATE}/o1")
    story.write(
        OrderAnswer(2, story.now_us, "accepted", reduced_cx=700),
        a_state(filled_cx=300, remaining_cx=0, status="canceled"),
    )
    return story


def test_what_is_all_well_is_good() -> None:
    story = a_good_life()
    verdict = judge(story.ledger(), [story.party()], since=0, since_us=0)
    assert verdict.problems == []
    assert (verdict.judged_after(0), verdict.judged_after(story.now_us)) == (4, 0)


def test_a_resting_order_of_a_living_trader_that_knows_it_is_good() -> None:
    story = Story()
    story.rest()
    assert story.problems() == []


# ---- I1 ------------------------------------------------------------------------------------------------------------


def test_I1_a_create_that_was_sent_twice_is_a_problem() -> None:
    story = Story()
    story.rest()
    story.post(status=409)
    assert story.problems() == [f"I1 {ID} was sent 2 times"]


def test_I1_two_orders_of_one_id_are_a_problem() -> None:
    story = Story()
    story.rest()
    story.order(order_id="o2", status="canceled", remaining_count_fp="0.00")
    assert f"I1 2 orders of the id {ID}" in story.problems()


@pytest.mark.parametrize("change", [{"initial_count_fp": "10.01"}, {"fill_count_fp": "10.01"}])
def test_I1_an_order_larger_than_wished_is_a_problem(change: dict[str, str]) -> None:
    story = Story()
    story.rest()
    story.order(**change)
    assert any("of the 1000 wished" in problem for problem in story.problems())


def test_I1_an_order_that_no_intent_wished_is_a_problem() -> None:
    story = Story()
    story.order()
    assert any("no intent wished it" in problem for problem in story.problems())


# ---- I2 ------------------------------------------------------------------------------------------------------------


def test_I2_a_persons_order_must_be_listed_as_external() -> None:
    story = Story()
    story.order("", order_id="p1")
    assert any("nobody's" in problem for problem in story.problems())
    assert story.problems(external=("p1",)) == []


@pytest.mark.parametrize(("epoch", "says"), [(None, "does not live"), (4, "lives in 4")])
def test_I2_an_order_of_a_dead_or_former_lease_is_an_orphan(epoch: int | None, says: str) -> None:
    story = Story(epoch=epoch)
    story.rest()
    assert any(says in problem for problem in story.problems())


@pytest.mark.parametrize(
    "state",
    [
        {"status": "canceled", "remaining_cx": 0},
        {"remaining_cx": 900},
        {"price_cc": 4_100},
        {"filled_cx": 100},
    ],
)
def test_I2_an_order_that_rests_otherwise_than_its_trader_knows_is_a_problem(state: dict[str, Any]) -> None:
    story = Story()
    story.rest()
    story.write(a_state(**state))
    assert any(problem.startswith("I2") for problem in story.problems())


# ---- I3 ------------------------------------------------------------------------------------------------------------


def test_I3_a_fill_that_nobody_booked_is_a_problem() -> None:
    story = Story()
    story.rest()
    story.fill("3.00")
    story.order(fill_count_fp="3.00", remaining_count_fp="7.00")
    story.write(a_state(filled_cx=300, remaining_cx=700))
    assert any("has not booked" in problem for problem in story.problems())


def test_I3_a_fill_booked_twice_is_a_problem() -> None:
    story = a_good_life()
    story.write(a_booking(300, 600))
    assert any("2 times" in problem for problem in story.problems())


def test_I3_a_fill_that_never_was_is_a_problem() -> None:
    story = a_good_life()
    story.write(a_booking(300, 600, trade_id="t9"))
    assert any("does not know" in problem for problem in story.problems())


@pytest.mark.parametrize(
    ("change", "is_good"),
    [({"count_cx": 299}, False), ({"price_cc": 4_001}, False), ({"side": 1}, False), ({"is_taker": True}, False),
     ({"fee_ud": 1}, False), ({"fee_ud": None}, True)],
)  # fmt: skip
def test_I3_a_fill_booked_otherwise_than_it_was_is_a_problem(change: dict[str, Any], *, is_good: bool) -> None:
    story = Story()
    story.rest()
    story.fill("3.00")
    story.order(fill_count_fp="3.00", remaining_count_fp="7.00")
    story.write(a_booking(change.pop("count_cx", 300), 300, **change), a_state(filled_cx=300, remaining_cx=700))
    assert (story.problems() == []) == is_good


def test_I3_positions_must_be_the_same_wherever_one_is_kept() -> None:
    assert positions_apart(TICKER, exchange=5, fills=5, trader=5, stored=None) == []
    assert positions_apart(TICKER, exchange=5, trader=4) == ["I3 positions of M-1 differ: exchange 5, trader 4"]


# ---- I4 ------------------------------------------------------------------------------------------------------------


def passed(story: Story) -> list[str]:
    return limits_passed(story.ledger(), story.party())


@pytest.mark.parametrize(("most_cx", "is_good"), [(1_000, True), (999, False)])
def test_I4_what_rests_counts_at_its_worst(most_cx: int, *, is_good: bool) -> None:
    story = Story(most=Most(most_cx, 1_000_000_000))
    story.rest()
    assert (passed(story) == []) == is_good


@pytest.mark.parametrize(("most_ud", "is_good"), [(4_000_000, True), (3_999_999, False)])
def test_I4_what_rests_counts_with_its_cost(most_ud: int, *, is_good: bool) -> None:
    story = Story(most=Most(10_000, most_ud))
    story.rest()
    assert (passed(story) == []) == is_good


def test_I4_a_fill_moves_from_resting_to_the_position() -> None:
    story = Story(most=Most(1_000, 1_000_000_000))
    story.rest()
    fill_three(story)
    assert passed(story) == []
    story.wish(2)  # 300 held and 700 resting already
    assert len(passed(story)) == 1


def test_I4_a_fill_that_is_told_before_its_order_is_counted_once() -> None:
    story = Story(most=Most(1_000, 1_000_000_000))
    story.wish(1)
    story.fill("10.00")
    assert passed(story) == []
    story.wish(2)  # 1,000 held already
    assert len(passed(story)) == 1


def test_I4_an_order_that_is_sent_and_not_heard_of_counts() -> None:
    story = Story(most=Most(1_999, 1_000_000_000))
    story.rest()
    story.wish(2, sent=False)
    assert passed(story) == []
    story.write(OrderSent(2, story.now_us))
    assert len(passed(story)) == 1


@pytest.mark.parametrize("outcome", ["declined", "unknown"])
def test_I4_a_create_counts_until_it_is_known_that_nothing_came_of_it(outcome: str) -> None:
    story = Story(most=Most(1_000, 1_000_000_000))
    story.wish(1)
    story.write(OrderAnswer(1, story.now_us, outcome))
    story.wish(2)
    assert (passed(story) == []) == (outcome == "declined")


def test_I4_a_passing_breach_is_found_although_it_ended_well() -> None:
    story = Story(most=Most(1_999, 1_000_000_000))
    story.rest()
    story.rest(2, order_id="o2")
    story.order(OURS.client_order_id(2), order_id="o2", status="canceled", remaining_count_fp="0.00")
    assert len(passed(story)) == 1


ORDERS = st.lists(st.tuples(st.sampled_from([0, 1]), st.integers(1, 9_999), st.integers(1, 500)), max_size=6)


@settings(max_examples=200)
@given(fills=ORDERS, resting=ORDERS)
def test_I4_the_judges_arithmetic_is_that_of_the_limits(
    fills: list[tuple[int, int, int]], resting: list[tuple[int, int, int]]
) -> None:
    holding, position = Holding(), Position()
    for number, (side, price_cc, count_cx) in enumerate(fills):
        body = a_fill_at(number, side, price_cc, count_cx)
        holding.take(body)
        position = position.after(Side(side), price_cc, count_cx)
    holding.orders = {str(at): order for at, order in enumerate(resting)}
    orders = [Unproven(Side(side), price_cc, count_cx) for side, price_cc, count_cx in resting]
    assert (holding.position_cx, holding.cost_ud) == (position.position_cx, position.cost_ud)
    assert abs(holding.worst_ud() - exposure_ud(position.position_cx, position.cost_ud, orders)) <= len(resting)


def a_fill_at(number: int, side: int, price_cc: int, count_cx: int) -> Any:
    story = Story()
    story.fill("1.00", trade=str(number))
    ledger = story.ledger()
    changed = {"side": side, "price_cc": price_cc, "count_cx": count_cx}
    return type(ledger.fills[0])(**{name: getattr(ledger.fills[0], name) for name in ledger.fills[0].__struct_fields__}
                                 | changed)  # fmt: skip


# ---- I6 ------------------------------------------------------------------------------------------------------------


def test_I6_every_write_is_told_and_no_read() -> None:
    requests = [
        Request(number=number, at_us=0, account="owner", method=method, path="/x", status=0)
        for number, method in enumerate(("GET", "POST", "DELETE", "PUT"), start=1)
    ]
    assert len(writes(requests)) == 3
    assert writes(requests, since=2) == ["I6 DELETE /x by owner", "I6 PUT /x by owner"]


# ---- I9 ------------------------------------------------------------------------------------------------------------


def test_I9_a_create_that_left_before_it_was_written_down_is_a_problem() -> None:
    story = Story()
    story.order()
    story.post()
    story.wish()
    story.write(OrderAnswer(1, story.now_us, "accepted", order_id="o1"), a_state())
    assert any("before its intent" in problem for problem in story.problems())


def test_I9_a_create_that_left_before_its_sending_was_written_down_is_a_problem() -> None:
    story = Story()
    story.wish(sent=False)
    story.order()
    story.post()
    story.write(OrderSent(1, story.now_us), OrderAnswer(1, story.now_us, "accepted", order_id="o1"), a_state())
    assert any("before its intent" in problem for problem in story.problems())


def test_I9_more_cancels_than_intents_are_a_problem() -> None:
    story = a_good_life()
    story.request("DELETE", f"{CREATE}/o1", status=404)
    assert story.problems() == ["I9 2 requests to cancel order o1, and 1 intents"]


def test_I9_an_unknown_create_must_be_settled() -> None:
    story = Story()
    story.wish()
    story.write(OrderAnswer(1, story.now_us, "unknown"))
    assert any("left no order" in problem for problem in story.problems())
    story.write(a_state(order_id="", status="refused", remaining_cx=0, reason="never placed"))
    assert story.problems() == []


def test_I9_an_order_held_for_never_placed_that_is_there_is_a_problem() -> None:
    story = Story()
    story.wish()
    story.order()
    story.write(a_state(order_id="", status="refused", remaining_cx=0, reason="never placed"))
    assert any(problem.startswith("I9") for problem in story.problems())


def test_I9_a_cancel_without_an_answer_is_a_problem_while_its_order_stands() -> None:
    story = Story()
    story.rest()
    story.write(OrderIntent(2, ID, "cancel", story.now_us, "o1"))
    assert any("never answered" in problem for problem in story.problems())
    story.order(status="canceled", remaining_count_fp="0.00")
    story.write(a_state(status="canceled", remaining_cx=0))
    assert story.problems() == []


def test_I9_an_end_that_was_told_before_it_came_is_a_problem() -> None:
    story = Story()
    story.rest()
    story.write(a_state(status="canceled", remaining_cx=0))
    story.order(status="canceled", remaining_count_fp="0.00")
    assert any("before it was" in problem for problem in story.problems())


def test_I9_an_end_that_was_told_before_its_last_fill_is_a_problem() -> None:
    story = Story()
    story.rest()
    story.fill("3.00")
    story.order(fill_count_fp="3.00", remaining_count_fp="0.00", status="canceled")
    story.write(a_state(status="canceled", remaining_cx=0), a_booking(300, 300))
    story.write(a_state(status="canceled", remaining_cx=0, filled_cx=300))
    assert any("with 0 filled, of 300" in problem for problem in story.problems())


def test_I9_an_order_that_was_told_refused_and_came_back_is_a_problem() -> None:
    story = Story()
    story.wish()
    story.order()
    story.write(a_state(order_id="", status="refused", remaining_cx=0), a_state())
    assert any("told refused" in problem for problem in story.problems())


@pytest.mark.parametrize("state", [{"status": "filled"}, {"filled_cx": 100}, {"remaining_cx": 10}])
def test_I9_an_end_told_otherwise_than_it_was_is_a_problem(state: dict[str, Any]) -> None:
    story = a_good_life()
    values = {"filled_cx": 300, "remaining_cx": 0, "status": "canceled"} | state
    story.write(a_state(**values))
    assert any(problem.startswith("I9") for problem in story.problems())


@pytest.mark.parametrize(("verb", "is_good"), [("take", True), ("place", False)])
def test_I9_only_a_take_may_be_cut_to_the_position_and_told_as_canceled(verb: str, *, is_good: bool) -> None:
    story = Story()
    story.write(OrderIntent(1, ID, verb, story.now_us, "", 0, 4_000, 1_000), OrderSent(1, story.now_us))
    story.post()
    story.fill("3.00")
    story.order(initial_count_fp="3.00", fill_count_fp="3.00", remaining_count_fp="0.00", status="executed")
    story.write(
        OrderAnswer(1, story.now_us, "accepted", order_id="o1"), a_booking(300, 300),
        a_state(filled_cx=300, remaining_cx=0, status="canceled", reason="canceled on arrival"),
    )  # fmt: skip
    assert (story.problems() == []) == is_good


def test_I9_an_intent_that_stands_twice_in_the_journal_is_a_problem() -> None:
    story = Story()
    story.rest()
    story.write(OrderSent(1, story.now_us))
    assert any("stands twice" in problem for problem in story.problems())


# ---- reading ---------------------------------------------------------------------------------------------------------


def test_a_journal_is_read_on_as_it_grows_and_is_compacted(tmp_path: Any) -> None:
    story, path = a_good_life(), tmp_path / "journal"
    path.write_bytes(b"".join(as_bytes(entry) for entry in story.entries[:3]))
    record = Record(path).read()
    path.write_bytes(b"".join(as_bytes(entry) for entry in story.entries[2:]))
    assert record.read().lines == story.entries


def test_a_journal_that_was_compacted_too_far_is_a_failure(tmp_path: Any) -> None:
    story, path = a_good_life(), tmp_path / "journal"
    path.write_bytes(b"".join(as_bytes(entry) for entry in story.entries[:3]))
    record = Record(path).read()
    path.write_bytes(b"".join(as_bytes(entry) for entry in story.entries[4:]))
    with pytest.raises(AssertionError, match="compacted away"):
        record.read()


def test_prices_are_on_their_own_sides_ladder() -> None:
    story = Story()
    story.order(outcome_side="no", yes_price_dollars="0.4000")
    found = story.ledger().moments[0]
    assert isinstance(found, OrderAt)
    assert (found.side, found.price_cc) == (1, 6_000)


def test_the_events_of_others_are_not_the_accounts() -> None:
    story = Story()
    story.event("user_orders", an_order(), account="outsider")
    assert story.ledger().moments == []
    assert story.ledger().last_number == 1
