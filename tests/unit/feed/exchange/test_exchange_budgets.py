"""Token buckets: exact refill, all or nothing, and which write is billed where."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed.exchange.access import foreign_subaccount, items_in, rule_of, shard_of
from feed.exchange.budgets import TIERS, Bucket, Budget, Limit, take_from

NOW_US = 1_795_337_400_000_000
SECOND_US = 1_000_000
ORDERS = "/portfolio/events/orders"


def test_a_bucket_starts_full_and_refills_to_the_microsecond() -> None:
    bucket = Bucket(Limit(300, 900), NOW_US)
    assert take_from([bucket], 900, NOW_US)
    assert not take_from([bucket], 10, NOW_US + 33_333)
    assert take_from([bucket], 10, NOW_US + 33_334)  # 10 tokens at 300 a second take 33 333.3 µs
    assert bucket.tokens(NOW_US + 10 * SECOND_US) == 900


def test_a_refusal_costs_nothing() -> None:
    bucket = Bucket(Limit(100, 100), NOW_US)
    assert not take_from([bucket], 101, NOW_US)
    assert bucket.tokens(NOW_US) == 100


def test_a_clock_set_back_gives_and_takes_nothing() -> None:
    bucket = Bucket(Limit(100, 100), NOW_US)
    take_from([bucket], 100, NOW_US)
    assert bucket.tokens(NOW_US - 60 * SECOND_US) == 0
    assert bucket.tokens(NOW_US - 59 * SECOND_US) == 100


@given(st.lists(st.tuples(st.integers(0, 200_000), st.integers(1, 60)), max_size=60))
def test_what_is_taken_never_exceeds_what_was_saved_and_refilled(steps: list[tuple[int, int]]) -> None:
    limit, now_us, taken = Limit(100, 100), NOW_US, 0
    bucket = Bucket(limit, now_us)
    for wait_us, cost in steps:
        now_us += wait_us
        taken += cost if take_from([bucket], cost, now_us) else 0
        assert taken * SECOND_US <= limit.bucket_capacity * SECOND_US + (now_us - NOW_US) * limit.refill_rate
        assert 0 <= bucket.tokens(now_us) <= limit.bucket_capacity


def test_the_tiers_are_those_of_october() -> None:
    rates = {name: (tier.read.refill_rate, tier.write.refill_rate) for name, tier in TIERS.items()}
    assert rates == {
        "basic": (200, 100), "advanced": (300, 300), "expert": (600, 600), "premier": (1_200, 1_200),
        "paragon": (2_400, 2_400), "prime": (4_800, 4_800), "prestige": (12_000, 9_600),
    }  # fmt: skip
    assert TIERS["basic"].write.bucket_capacity == 100
    assert TIERS["basic"].read.bucket_capacity == 600
    assert TIERS["advanced"].read.bucket_capacity == 900  # measured in October
    assert TIERS["expert"].read.bucket_capacity == 600
    assert TIERS["expert"].write.bucket_capacity == 1_800


def test_a_shard_pays_for_itself_and_a_write_without_one_bills_all() -> None:
    budget = Budget("basic", shards=(0, 1, 2, 3), now_us=NOW_US)
    assert budget.write(100, NOW_US, shard=2)
    assert not budget.write(10, NOW_US, shard=2)
    assert budget.write(50, NOW_US, shard=0)
    assert not budget.write(10, NOW_US, shard=None)  # shard 2 is empty, so nobody pays
    assert budget.write(50, NOW_US, shard=0)
    assert budget.write(100, NOW_US, shard=3)
    assert budget.read(600, NOW_US)
    assert not budget.read(1, NOW_US)


@pytest.mark.parametrize(
    ("method", "path", "is_write", "cost"),
    [
        ("POST", ORDERS, True, 10),
        ("DELETE", ORDERS, True, 2),
        ("DELETE", ORDERS + "/{order_id}", True, 2),
        ("DELETE", ORDERS + "/batched", True, 2),
        ("POST", ORDERS + "/{id}/amend", True, 10),
        ("POST", "/portfolio/order_groups/create", True, 10),
        ("GET", "/portfolio/order_groups", False, 10),
        ("GET", "/portfolio/orders/{id}", False, 2),
        ("HEAD", "/portfolio/orders/{id}", False, 2),
        ("POST", "/account/api_usage_level/upgrade", True, 30),
        ("POST", "/portfolio/subaccounts/transfer", False, 10),
        ("GET", "/markets", False, 10),
    ],
)
def test_an_operation_has_its_bucket_and_its_cost(method: str, path: str, is_write: bool, cost: int) -> None:
    rule = rule_of(method, path)
    assert (rule.is_write, rule.cost) == (is_write, cost)


@pytest.mark.parametrize(
    ("method", "path", "query", "body", "shard"),
    [
        ("POST", ORDERS, {}, {"ticker": "A", "exchange_index": 2}, 2),
        ("POST", ORDERS, {}, {"ticker": "A", "exchange_index": 0}, 0),
        ("POST", ORDERS, {}, {"ticker": "A", "exchange_index": -1}, None),
        ("POST", ORDERS, {}, {"ticker": "A"}, None),
        ("POST", ORDERS, {}, {}, 0),
        ("POST", ORDERS, {}, ["nonsense"], 0),
        ("POST", ORDERS, {}, {"ticker": "A", "exchange_index": "9" * 5_000}, 0),
        ("DELETE", ORDERS + "/{id}", {"exchange_index": "3"}, None, 3),
        ("DELETE", ORDERS + "/{id}", {"market_ticker": "A"}, None, None),
        ("DELETE", ORDERS + "/{id}", {}, None, 0),
        ("POST", ORDERS + "/{id}/decrease", {}, {"market_ticker": "A"}, None),
        ("POST", ORDERS + "/batched", {}, {"orders": [{"exchange_index": 2}]}, 0),
        ("DELETE", ORDERS, {"exchange_index": "2"}, None, 0),
        ("PUT", "/portfolio/order_groups/{id}/limit", {}, {"exchange_index": 2}, 0),
    ],
)
def test_a_write_is_billed_to_the_shard_it_names(
    method: str, path: str, query: dict[str, str], body: Any, shard: int | None
) -> None:
    assert shard_of(rule_of(method, path), query, body) == shard


def test_a_batch_counts_its_items_and_anything_else_counts_once() -> None:
    batch = rule_of("POST", ORDERS + "/batched")
    assert items_in(batch, {"orders": [{}, {}, {}]}) == 3
    assert items_in(batch, {"orders": []}) == items_in(batch, {"orders": 7}) == items_in(batch, None) == 1
    assert items_in(rule_of("POST", ORDERS), {"orders": [{}, {}]}) == 1


@pytest.mark.parametrize(
    ("method", "path", "scopes"),
    [
        ("GET", "/portfolio/balance", ("read", "read::portfolio_balance")),
        ("GET", "/portfolio/fills", ("read",)),
        ("GET", "/historical/fills", ("read",)),
        ("POST", ORDERS, ("write", "write::trade")),
        ("PUT", "/portfolio/order_groups/{id}/trigger", ("write", "write::trade")),
        ("POST", "/portfolio/subaccounts/transfer", ("write", "write::transfer")),
        ("POST", "/portfolio/subaccounts", ("write",)),
        ("DELETE", "/api_keys/{key}", ("write",)),
        ("GET", "/markets", ()),
        ("GET", "/historical/cutoff", ()),
        ("GET", "/account/endpoint_costs", ()),
    ],
)
def test_an_operation_asks_for_a_scope_or_for_no_key(method: str, path: str, scopes: tuple[str, ...]) -> None:
    rule = rule_of(method, path)
    assert (rule.scopes, rule.needs_key) == (scopes, bool(scopes))


def test_a_pinned_key_may_name_no_other_subaccount_anywhere() -> None:
    assert not foreign_subaccount(2, {}, None)
    assert not foreign_subaccount(2, {"subaccount": "2"}, {"subaccount": 2})
    assert foreign_subaccount(2, {"subaccount": "0"}, None)
    assert foreign_subaccount(2, {}, {"subaccount": 0})
    assert foreign_subaccount(2, {}, {"orders": [{"subaccount": 2}, {"subaccount": 1}]})
