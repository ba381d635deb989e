"""The judge of decisions and of tokens (I5, I10): it must see what is wrong, or no row of live traders means much."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from feed.exchange.budgets import TIERS, Budget
from feed.schema import (
    FEED,
    FIELD,
    VERSION,
    BookDelta,
    BookEntry,
    BookEvent,
    BookSnapshot,
    BookStatus,
    Decision,
    FeedState,
    JournalBody,
    JournalEntry,
    OrderIntent,
    OrderSent,
    book_stream,
    encode,
)
from tests.faults.invariants import Most, Party
from tests.faults.ledger import BATCHED, CREATE, Ledger
from tests.faults.log import FaultLog
from tests.faults.processes import PrivateValkey
from tests.faults.records import Record
from tests.faults.tokens import Allowance, Bucket, overspent
from tests.faults.told import Listener, Told, decided_badly

TICKER = "M-1"
CONN, SID, GENERATION = 77, 3, 1
GOOD = (CONN, SID, GENERATION, 10)
AT_US = 1_000_000_000  # when the decision falls
MS, S = 1_000, 1_000_000


# ---- I5 ------------------------------------------------------------------------------------------------------------


def a_feed(
    *, conn: int = CONN, generation: int = GENERATION, frame_age_ms: int = 0, lag_ms: int | None = 5
) -> FeedState:
    return FeedState(VERSION, conn, "live", {SID: generation}, frame_age_ms, lag_ms, 0, 1)


def a_snapshot(seq: int = 10, *, conn: int = CONN, generation: int = GENERATION) -> BookSnapshot:
    return BookSnapshot(conn, SID, generation, seq, 0, [], [])


def a_delta(seq: int) -> BookDelta:
    return BookDelta(seq, 0, 0, 4_000, 100)


LOST = BookStatus(0, is_valid=False, reason="gap")


class Telling:
    """What the gateway told, and what one trader decided on it and wished then."""

    def __init__(self) -> None:
        self.told = Told()
        self.entries: list[JournalEntry] = []
        self.told.add_feed(AT_US - S, a_feed())
        self.tell(AT_US - S, a_snapshot())

    def tell(self, at_us: int, *events: BookEvent) -> None:
        self.told.add_events(TICKER, at_us, events)

    def write(self, at_us: int, *bodies: JournalBody) -> None:
        for body in bodies:
            number = len(self.entries) + 1
            self.entries.append(JournalEntry(VERSION, 1, number, at_us, "local", "live", TICKER, body))

    def decide(self, *verbs: str, basis: object = GOOD, at_us: int = AT_US) -> None:
        figures = {} if basis is None else {"basis": basis}
        self.write(at_us, Decision("joins the touch", figures, 0))
        self.write(at_us, *(OrderIntent(n, f"id-{n}", verb, at_us) for n, verb in enumerate(verbs, start=1)))

    def problems(self, *, within_us: int = 100 * MS, since: int = 0) -> list[str]:
        record = Record()
        record.add(self.entries)
        party = Party(trader=1, installation=7, ticker=TICKER, record=record, most=Most(1, 1), since=since)
        return decided_badly(self.told, party, within_us=within_us)


@pytest.fixture
def telling() -> Telling:
    return Telling()


@pytest.mark.parametrize("verb", ["place", "take", "decrease", "renew"])
def test_I5_what_was_decided_on_the_newest_good_book_is_good(telling: Telling, verb: str) -> None:
    telling.tell(AT_US - 2 * MS, a_delta(11))
    telling.decide(verb, basis=[*GOOD[:3], 11])
    assert telling.problems() == []


@pytest.mark.parametrize("verb", ["place", "take", "decrease", "renew"])
def test_I5_a_decision_that_names_no_book_is_a_problem(telling: Telling, verb: str) -> None:
    telling.decide(verb, basis=None)
    assert [f"{verb} id-1" in problem and "names no book" in problem for problem in telling.problems()] == [True]


def test_I5_a_create_that_nobody_decided_on_is_a_problem(telling: Telling) -> None:
    telling.write(AT_US, OrderIntent(1, "id-1", "place", AT_US))
    assert "nobody decided" in telling.problems()[0]


def test_I5_each_create_goes_by_the_decision_right_before_it(telling: Telling) -> None:
    telling.decide("place")
    telling.decide("cancel", basis=None)
    assert telling.problems() == [], "a cancel needs no book"
    telling.write(AT_US, OrderIntent(9, "id-9", "place", AT_US))
    assert "id-9" in telling.problems()[0]
    assert telling.problems(since=telling.entries[-1].number) == [], "what was judged before is not judged again"


@pytest.mark.parametrize("seq", [11, 12])
def test_I5_of_what_is_told_in_one_millisecond_each_was_the_newest(telling: Telling, seq: int) -> None:
    telling.tell(AT_US - 2 * MS, a_delta(11))
    telling.tell(AT_US - 2 * MS, a_delta(12))
    telling.told.add_feed(AT_US - 2 * MS, a_feed(generation=GENERATION + 1))
    telling.decide("place", basis=[*GOOD[:3], seq])
    assert telling.problems() == []
    assert telling.problems(within_us=MS) != []


@pytest.mark.parametrize(("late_ms", "is_good"), [(99, True), (101, False)])
def test_I5_a_book_may_be_older_only_by_what_its_reader_needs(telling: Telling, late_ms: int, *, is_good: bool) -> None:
    telling.tell(AT_US - late_ms * MS, a_delta(11))
    telling.decide("place")
    assert (telling.problems() == []) == is_good


@pytest.mark.parametrize(("late_ms", "is_good"), [(99, True), (101, False)])
def test_I5_a_book_that_was_told_invalid_ends_decisions(telling: Telling, late_ms: int, *, is_good: bool) -> None:
    telling.tell(AT_US - late_ms * MS, LOST)
    telling.decide("renew")
    assert (telling.problems() == []) == is_good


def test_I5_deltas_after_a_loss_make_no_book_and_a_snapshot_does(telling: Telling) -> None:
    telling.tell(AT_US - 500 * MS, LOST, a_delta(11), BookStatus(0, is_valid=True, reason="activated"))
    telling.decide("place", basis=(*GOOD[:3], 11))
    assert "not valid" in telling.problems()[0]
    telling.tell(AT_US - 500 * MS, a_snapshot(12))
    telling.entries.clear()
    telling.decide("place", basis=(*GOOD[:3], 12))
    assert telling.problems() == []


def test_I5_what_is_told_again_makes_no_book_older(telling: Telling) -> None:
    telling.tell(AT_US - 900 * MS, a_delta(11), a_delta(11), a_snapshot(10))
    telling.decide("place", basis=(*GOOD[:3], 11))
    assert telling.problems() == []


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (a_feed(conn=78), "at connection 78"),
        (a_feed(generation=2), "generations {3: 2}"),
        (a_feed(frame_age_ms=15_000), "the connection was silent"),
        (a_feed(lag_ms=5_000), "5000 ms late"),
    ],
)
def test_I5_a_feed_that_is_not_good_ends_decisions(telling: Telling, state: FeedState, says: str) -> None:
    telling.told.add_feed(AT_US - 101 * MS, state)
    telling.decide("place")
    assert says in telling.problems()[0]
    assert telling.problems(within_us=102 * MS) == []


def test_I5_a_feed_that_says_nothing_any_more_ends_decisions() -> None:
    telling = Telling()
    telling.decide("place", at_us=AT_US + 600 * MS)
    assert "silent for" in telling.problems()[0]
    telling.told.add_feed(AT_US + 550 * MS, a_feed())
    assert telling.problems() == []


def test_I5_what_was_decided_while_some_was_missed_cannot_be_judged(telling: Telling) -> None:
    telling.decide("place", basis=(1, 1, 1, 1))
    assert len(telling.problems()) == 1
    telling.told.miss(TICKER, AT_US + 1)
    assert telling.problems() == []


def test_I5_many_problems_are_told_by_their_first(telling: Telling) -> None:
    telling.decide(*["place"] * 9, basis=None)
    assert telling.problems()[3:] == ["I5 and 6 more"]


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateValkey]:
    store = PrivateValkey(Path(tmp_path_factory.mktemp("told")), FaultLog())
    yield store
    store.close()


def test_I5_the_streams_are_followed_until_something_of_them_is_lost(valkey: PrivateValkey) -> None:
    stream, client = book_stream(TICKER), redis.Redis.from_url(valkey.url)
    listener = Listener(client)
    listener.listen([TICKER])
    client.xadd(FEED, {FIELD: encode(a_feed())})
    client.xadd(stream, {FIELD: encode(BookEntry(VERSION, [a_snapshot()]))})
    listener.listen([TICKER])
    client.xadd(stream, {FIELD: encode(BookEntry(VERSION, [a_delta(11)]))})
    listener.listen([TICKER])
    assert listener.told.newest(TICKER) == (*GOOD[:3], 11)
    assert [len(listener.told.feed.values), len(listener.told.books[TICKER].values)] == [1, 2]
    assert listener.told.known_us == {}
    for seq in (12, 13):
        client.xadd(stream, {FIELD: encode(BookEntry(VERSION, [a_delta(seq)]))}, maxlen=1, approximate=False)
    listener.listen([TICKER])
    assert list(listener.told.known_us) == [TICKER], "12 was trimmed before it was read"
    client.close()


# ---- I10 -----------------------------------------------------------------------------------------------------------

ALLOWANCE = Allowance(read=Bucket(200, 200), write=Bucket(100, 100))  # basic: 30 of the 100 are kept for cancels
ONE = f"{CREATE}/o1"


class Spending:
    """Requests of the account, and when its trader sent the creates."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self.entries: list[JournalEntry] = []
        self.creates = 0

    def ask(self, method: str, path: str, *, at_us: int = AT_US, body: Any = None, **fields: Any) -> None:
        line = {"line": "request", "account": "owner", "method": method, "status": 201, "body": body, **fields}
        number = len(self.lines) + 1
        self.lines.append({**line, "number": number, "at_us": at_us, "path": f"/trade-api/v2{path}"})

    def create(self, items: int = 1, *, at_us: int = AT_US, sent_us: int | None = None, **fields: Any) -> None:
        """Ask for orders that left when they came, or at another time."""
        names = []
        for _ in range(items):
            self.creates += 1
            names.append(f"id-{self.creates}")
            self.write(OrderIntent(self.creates, names[-1], "place", 0))
            self.write(OrderSent(self.creates, at_us if sent_us is None else sent_us))
        orders = [{"client_order_id": name} for name in names]
        if items == 1:
            self.ask("POST", CREATE, at_us=at_us, body=orders[0], **fields)
        else:
            self.ask("POST", BATCHED, at_us=at_us, body={"orders": orders}, **fields)

    def write(self, body: JournalBody) -> None:
        number, at_us = len(self.entries) + 1, body.at_us if isinstance(body, OrderSent) else 0
        self.entries.append(JournalEntry(VERSION, 1, number, at_us, "local", "live", TICKER, body))

    def problems(self, *, since: int = 0) -> list[str]:
        ledger, record = Ledger("owner"), Record()
        ledger.add(self.lines)
        record.add(self.entries)
        party = Party(trader=1, installation=7, ticker=TICKER, record=record, most=Most(1, 1))
        return overspent(ledger, [party], ALLOWANCE, since=since)


@pytest.fixture
def spending() -> Spending:
    return Spending()


@pytest.mark.parametrize(("creates", "is_good"), [(7, True), (8, False)])
@pytest.mark.parametrize("is_batch", [True, False])
def test_I10_creates_leave_what_cancels_need(
    spending: Spending, creates: int, *, is_good: bool, is_batch: bool
) -> None:
    for items in [creates] if is_batch else [1] * creates:
        spending.create(items)
    assert (spending.problems() == []) == is_good


def test_I10_a_create_into_the_reserve_is_told_with_how_far(spending: Spending) -> None:
    spending.create(8)
    assert spending.problems() == [f"I10 POST {BATCHED} at {AT_US} took 10 of what cancels need"]
    assert spending.problems(since=1) == [], "what was judged before is not judged again"


@pytest.mark.parametrize(
    ("method", "path", "times"),
    [("DELETE", ONE, 50), ("POST", f"{ONE}/amend", 10), ("POST", f"{ONE}/decrease", 10), ("GET", "/markets", 20),
     ("GET", "/portfolio/orders/o1", 100), ("DELETE", CREATE, 50)],
)  # fmt: skip
def test_I10_nothing_is_asked_for_without_tokens(spending: Spending, method: str, path: str, times: int) -> None:
    for _ in range(times):
        spending.ask(method, path)
    assert spending.problems() == []
    spending.ask(method, path)
    assert "that were not there" in spending.problems()[0]


def test_I10_a_batch_of_cancels_pays_for_each(spending: Spending) -> None:
    spending.ask("DELETE", BATCHED, body={"orders": [{"order_id": f"o{n}"} for n in range(50)]})
    assert spending.problems() == []
    spending.ask("DELETE", ONE)
    assert len(spending.problems()) == 1


def test_I10_the_bucket_refills_with_time_and_never_beyond_its_brim(spending: Spending) -> None:
    spending.create(7)
    spending.create(7, at_us=AT_US + 700 * MS)
    spending.create(7, at_us=AT_US + 100 * S)
    assert spending.problems() == []
    spending.create(at_us=AT_US + 100 * S + 99 * MS)
    assert len(spending.problems()) == 1


def test_I10_cancels_on_the_way_that_were_granted_later_are_not_held_against_a_create(spending: Spending) -> None:
    for _ in range(20):
        spending.ask("DELETE", ONE)
    spending.create(5, at_us=AT_US + MS, sent_us=AT_US - MS)
    assert spending.problems() == []
    spending.create(5, at_us=AT_US + 2 * MS)
    assert len(spending.problems()) == 1


def test_I10_a_429_costs_nothing_and_is_a_problem_only_where_tokens_were_missing(spending: Spending) -> None:
    spending.create(7, status=429)
    spending.create(7)
    assert spending.problems() == []


def test_I10_what_others_ask_for_and_the_rigs_own_hand_are_not_counted(spending: Spending) -> None:
    for _ in range(30):
        spending.ask("PUT", "/portfolio/order_groups/g/trigger")
        spending.ask("GET", "/portfolio/orders/o1/queue_position")
        spending.ask("POST", CREATE, account="outsider")
    assert spending.problems() == []


STEPS = st.lists(st.tuples(st.integers(0, 300 * MS), st.booleans()), max_size=40)


@settings(max_examples=200)
@given(steps=STEPS)
def test_I10_the_judge_counts_as_the_exchange_does(steps: list[tuple[int, bool]]) -> None:
    """Cancels and reads are refused by one exactly where they are a problem to the other."""
    budget, spending, refused, at_us = Budget("basic", shards=[0], now_us=0), Spending(), 0, AT_US
    terms = TIERS["basic"]
    allowance = Allowance.told(
        {
            name: {"refill_rate": one.refill_rate, "bucket_capacity": one.bucket_capacity}
            for name, one in (("read", terms.read), ("write", terms.write))
        }
    )
    for wait_us, is_read in steps:
        at_us += wait_us
        if is_read:
            is_paid = budget.read(10, at_us)
            spending.ask("GET", "/portfolio/orders", at_us=at_us, status=200 if is_paid else 429)
        else:
            is_paid = budget.write(10, at_us, shard=0)
            spending.ask("POST", f"{ONE}/amend", at_us=at_us, status=200 if is_paid else 429)
        refused += not is_paid
    ledger = Ledger("owner")
    ledger.add(spending.lines)
    found = overspent(ledger, [], allowance)
    assert len(found) == min(refused, 4)
