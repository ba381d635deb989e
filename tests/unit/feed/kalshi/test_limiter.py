"""The token budget as values: who pays what, who waits for whom, what a 429 teaches."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed.kalshi.limiter import (
    BASIC,
    KNOWN_COSTS,
    PENALTY_FIRST_US,
    PENALTY_MOST_US,
    TOKEN_UT,
    Ask,
    Costs,
    Granted,
    Level,
    Limits,
    Rate,
    Refused,
    Work,
    charges,
    drain,
    most_items,
    take,
)

SECOND_US = 1_000_000
ORDERS = "/portfolio/events/orders"
NARROW = Limits(read=Rate(200, 200), write=Rate(100, 100), shards=(1, 2))


def cancel(shard: int | None = 0) -> Ask:
    return Ask(Work.CANCEL, "DELETE", f"{ORDERS}/:order_id", exchange_index=shard)


def renew(shard: int | None = 0) -> Ask:
    return Ask(Work.RENEW, "POST", f"{ORDERS}/:order_id/amend", exchange_index=shard)


def create(shard: int | None = 0) -> Ask:
    return Ask(Work.CREATE, "POST", ORDERS, exchange_index=shard)


def batch_create(items: int) -> Ask:
    return Ask(Work.CREATE, "POST", f"{ORDERS}/batched", items=items, is_batch=True)


def read() -> Ask:
    return Ask(Work.READ, "GET", "/portfolio/orders")


class Spending:
    """Buckets, and a time that moves when told to."""

    def __init__(self, limits: Limits = NARROW) -> None:
        self.limits, self.levels, self.now_us = limits, dict[str, Level](), 0

    def ask(self, ask: Ask) -> Granted | Refused:
        self.levels, answer = take(self.levels, charges(ask, self.limits), self.now_us)
        return answer

    def as_many(self, ask: Ask, most: int = 1_000) -> int:
        granted = 0
        while granted < most and isinstance(self.ask(ask), Granted):
            granted += 1
        return granted

    def is_429(self, ask: Ask, jitter_permille: int = 0) -> None:
        asked = charges(ask, self.limits)
        self.levels = drain(self.levels, asked, self.now_us, jitter_permille=jitter_permille)

    def tokens(self, bucket: str) -> float:
        return self.levels[bucket].level_ut / TOKEN_UT


@pytest.mark.parametrize(
    ("ask", "buckets"),
    [
        (read(), {"read"}),
        (create(0), {"write"}),
        (create(2), {"write:2"}),
        (create(None), {"write", "write:1", "write:2"}),
        (create(-1), {"write", "write:1", "write:2"}),
        (cancel(1), {"write:1"}),
        (batch_create(3), {"write"}),
        (Ask(Work.CANCEL, "DELETE", f"{ORDERS}/batched", items=3, exchange_index=2, is_batch=True), {"write"}),
        (renew(1), {"write:1", "renew"}),
    ],
)
def test_each_request_bills_the_buckets_that_the_venue_bills(ask: Ask, buckets: set[str]) -> None:
    assert {charge.bucket for charge in charges(ask, NARROW)} == buckets


def test_an_auto_routed_write_takes_from_all_its_buckets_or_from_none() -> None:
    spending = Spending()
    spending.as_many(create(2))
    before = spending.levels["write"].level_ut if "write" in spending.levels else NARROW.write.capacity * TOKEN_UT
    answer = spending.ask(create(-1))
    assert isinstance(answer, Refused)
    assert answer.bucket == "write:2"
    assert spending.levels["write"].level_ut == before


def test_C7_creates_leave_room_for_renewals_and_renewals_for_cancels() -> None:
    spending = Spending()
    assert spending.as_many(create()) == 6
    assert spending.tokens("write") == 40
    assert spending.as_many(renew()) == 1
    assert spending.tokens("write") == 30
    assert spending.as_many(cancel()) == 15
    assert spending.tokens("write") == 0


def test_I10_creates_never_touch_the_reserve_of_cancels() -> None:
    spending = Spending()
    for _ in range(500):
        spending.now_us += 7_001
        spending.ask(create())
        assert spending.tokens("write") >= 40


def test_renewals_get_a_fifth_of_the_refill_however_much_is_there() -> None:
    spending = Spending(Limits(read=Rate(300, 900), write=Rate(300, 900)))
    at_once = spending.as_many(renew())
    assert at_once == 18  # a fifth of the bucket
    granted = 0
    for _ in range(1_000):
        spending.now_us += 10_000
        granted += spending.as_many(renew())
    assert granted == 60  # in ten seconds: 300 / 5 / 10 each second


def test_a_refusal_says_when_asking_again_is_granted() -> None:
    spending = Spending()
    spending.as_many(create())
    refused = spending.ask(create())
    assert refused == Refused("BUDGET_SPENT", "write", 100_000, 0)
    spending.now_us += 99_999
    assert isinstance(spending.ask(create()), Refused)
    spending.now_us += 1
    assert spending.ask(create()) == Granted()


def test_C6_a_batch_that_does_not_fit_says_how_many_items_do() -> None:
    spending = Spending()
    refused = spending.ask(batch_create(9))
    assert refused == Refused("EXCEEDS_BUDGET", "write", None, 6)
    assert most_items(charges(batch_create(1), NARROW)) == 6
    assert spending.ask(batch_create(6)) == Granted()
    assert spending.ask(batch_create(2)) == Refused("BUDGET_SPENT", "write", 200_000, 0)


def test_C6_a_429_empties_the_bucket_and_lets_cancels_go_first() -> None:
    spending = Spending()
    spending.is_429(create())
    assert spending.ask(cancel()) == Refused("BUDGET_SPENT", "write", 20_000, 0)
    spending.now_us = 20_000
    assert spending.ask(cancel()) == Granted()
    refused = spending.ask(create())
    assert isinstance(refused, Refused)
    assert refused.wait_us == 500_000  # 10 and the reserve of 40, refilled


def test_C6_the_back_off_doubles_with_each_429_and_is_forgotten_after_a_quiet_time() -> None:
    spending = Spending(Limits(read=Rate(10_000, 200), write=Rate(100, 100)))
    holds = []
    for _ in range(8):
        spending.is_429(read())
        holds.append(spending.levels["read"].held_us - spending.now_us)
        spending.now_us += SECOND_US
    assert holds[:3] == [PENALTY_FIRST_US, 2 * PENALTY_FIRST_US, 4 * PENALTY_FIRST_US]
    assert holds[-1] == PENALTY_MOST_US
    spending.now_us += 60 * SECOND_US
    spending.is_429(read())
    assert spending.levels["read"].held_us - spending.now_us == PENALTY_FIRST_US
    spending.now_us += 50_000
    assert spending.ask(read()) == Refused("HELD_AFTER_429", "read", 50_000, 0)


def test_jitter_takes_up_to_half_of_the_back_off_away() -> None:
    spending = Spending()
    spending.is_429(read(), jitter_permille=1_000)
    assert spending.levels["read"].held_us == PENALTY_FIRST_US // 2


def test_E2_a_clock_that_steps_back_neither_refills_nor_holds_for_ever() -> None:
    spending = Spending()
    spending.now_us = 3_600 * SECOND_US
    spending.as_many(read())
    left = spending.levels["read"].level_ut
    spending.is_429(read())
    spending.now_us = 0
    assert spending.ask(read()) == Refused("BUDGET_SPENT", "read", 150_000, 0)
    assert left == 20 * TOKEN_UT


def test_recorded_costs_are_taken_as_the_venue_spells_them(recorded: Path) -> None:
    told = json.loads((recorded / "rest/fortuna_demo_2026-06/account__endpoint_costs.json").read_bytes())
    entries = [(e["method"], e["path"], e["cost"]) for e in told["endpoint_costs"]]
    costs = Costs.told(told["default_cost"], entries)
    assert costs.of("DELETE", "/portfolio/events/orders/b7e0") == 2
    assert costs.of("DELETE", "/portfolio/events/orders/{order_id}") == 2
    assert costs.of("GET", "/cfbenchmarks/values") == 150
    assert costs.of("POST", "/portfolio/events/orders") == 10
    assert costs.of("GET", "/portfolio/orders/b7e0") == KNOWN_COSTS.of("GET", "/portfolio/orders/:order_id") == 2
    assert costs.of("GET", "/portfolio/orders/queue_positions") == 10, "no order has that id"


ASKS = st.sampled_from([read(), cancel(), cancel(1), renew(), create(), create(2), create(None), batch_create(4)])


@given(st.lists(st.tuples(ASKS, st.integers(0, 300_000)), max_size=60))
def test_the_venue_never_sees_more_than_its_buckets_hold(history: list[tuple[Ask, int]]) -> None:
    """Whatever we grant fits buckets that know nothing of priorities."""
    spending = Spending()
    capacity = {"read": 200, "write": 100, "write:1": 100, "write:2": 100}
    level = {bucket: tokens * TOKEN_UT for bucket, tokens in capacity.items()}
    for ask, later_us in history:
        spending.now_us += later_us
        for bucket, tokens in capacity.items():
            level[bucket] = min(tokens * TOKEN_UT, level[bucket] + tokens * later_us)
        if isinstance(spending.ask(ask), Granted):
            for charge in charges(ask, NARROW):
                if charge.bucket != "renew":
                    level[charge.bucket] -= charge.unit_ut * charge.items
        assert min(level.values()) >= 0


@given(ASKS, st.lists(st.tuples(ASKS, st.integers(0, 100_000)), max_size=30))
def test_asking_again_after_the_wait_is_granted(ask: Ask, history: list[tuple[Ask, int]]) -> None:
    spending = Spending()
    for earlier, later_us in history:
        spending.now_us += later_us
        spending.ask(earlier)
    answer = spending.ask(ask)
    if isinstance(answer, Refused):
        assert answer.wait_us is not None
        spending.now_us += answer.wait_us
        assert spending.ask(ask) == Granted()


def test_limits_until_the_venue_tells_are_those_of_the_lowest_tier() -> None:
    assert Limits(Rate(200, 200), Rate(100, 100), (1, 2, 3)) == BASIC
