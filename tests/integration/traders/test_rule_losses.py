"""What a live rule's traders lose in a day, what that latches, and what a rule came to."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from rulesground import (
    DOLLAR,
    NOW_US,
    Looks,
    a_fill,
    a_going,
    a_payment,
    a_rule,
    codes,
    fresh,
    installation,
    look,
    run,
    run_json,
)

from feed.models import Settlement
from kalshimm.ops.models import AuditRow
from markets.models import Market
from traders import rulegrants
from traders.core.golive import RULE_LOSS
from traders.grants import permission
from traders.models import Desired, SeriesRule, Trader
from traders.rulegrants import start_rule
from traders.ruleresults import day_begin
from traders.services import RefusedChange

__all__ = ["installation"]  # a fixture

pytestmark = pytest.mark.django_db


# What a day may lose


def a_losing(loss_ud: int) -> tuple[SeriesRule, Looks, Trader]:
    """Return a rule whose trader has lost so much today, seen twice."""
    rule = a_going()
    looks = Looks()
    looks.look()
    trader = Trader.objects.get()
    for _ in range(2):
        looks.look(told_ud={trader.pk: -loss_ud})
    return fresh(rule), looks, trader


def test_a_rule_that_lost_too_much_in_a_day_is_latched_and_its_traders_are_not_permitted() -> None:
    rule, _, trader = a_losing(25 * DOLLAR)
    assert rule.latched_at is not None
    ((code, text),) = [(one.code, one.text) for one in permission(trader.pk)[1]]
    assert code == RULE_LOSS
    for words in ("−$25.00", "a loss of $25.00 is the most", "`traders release --rule ROLL`"):
        assert words in text
    assert "[rule_loss]" in rule.state_reason
    assert AuditRow.objects.filter(action="series_rule.latched", subject="ROLL").count() == 1
    (told,) = run_json("traders", "list", "--rules")["rules"]
    assert told["state"] == "latched"


def test_a_loss_that_is_seen_once_latches_nothing() -> None:
    rule = a_going()
    looks = Looks()
    looks.look()
    trader = Trader.objects.get()
    looks.look(told_ud={trader.pk: -90 * DOLLAR})
    looks.look(told_ud={trader.pk: 0})
    looks.look(told_ud={trader.pk: -90 * DOLLAR})
    assert fresh(rule).latched_at is None


def test_less_than_the_most_latches_nothing() -> None:
    rule, _, trader = a_losing(25 * DOLLAR - 1)
    assert (rule.latched_at, codes(trader)) == (None, set())


def test_a_latch_stands_until_a_person_releases_it_and_only_what_follows_counts() -> None:
    rule, looks, trader = a_losing(30 * DOLLAR)
    with pytest.raises(RefusedChange, match="rule_loss"):
        start_rule(rule, actor="somebody")
    a_fill(trader, 0, 6_000, 5_000)
    a_payment(trader, "no")  # the $30 are lost
    looks.look()
    assert fresh(rule).latched_at is not None
    run("traders", "release", "--rule", "ROLL")
    assert (fresh(rule).latched_at, rule.released_ud, codes(trader)) == (None, -30 * DOLLAR, set())
    for _ in range(2):
        looks.look(told_ud={trader.pk: -54 * DOLLAR})
    assert fresh(rule).latched_at is None
    for _ in range(2):
        looks.look(told_ud={trader.pk: -55 * DOLLAR})
    assert fresh(rule).latched_at is not None


def test_a_rule_that_is_not_latched_is_not_released() -> None:
    rule = a_rule()
    with pytest.raises(RefusedChange, match="not latched"):
        rulegrants.release_rule(rule, actor="somebody", now_us=NOW_US)


def test_a_position_that_nobody_prices_lets_no_further_trader_begin_and_latches_nothing() -> None:
    rule = a_going()
    looks = Looks()
    looks.look()
    first = Trader.objects.get()
    a_fill(first, 0, 6_000, 5_000)  # $30 that may all be lost
    Trader.objects.update(desired=Desired.STOPPED)
    Market.objects.filter(pk=first.market_ticker).update(close_time=timezone.now() - timedelta(seconds=9))
    assert looks.look() == []
    assert "between −$30.00 and +$20.00" in fresh(rule).state_reason
    assert rule.latched_at is None
    a_payment(first, "yes")
    assert len(looks.look()) == 1, "it is known now"


def test_a_fee_that_nobody_knows_lets_no_further_trader_begin() -> None:
    rule = a_going()
    looks = Looks()
    looks.look()
    first = Trader.objects.get()
    a_fill(first, 0, 5_000, 100, fee_ud=None)
    Trader.objects.update(desired=Desired.STOPPED)
    Market.objects.filter(pk=first.market_ticker).update(close_time=timezone.now() - timedelta(seconds=9))
    assert looks.look() == []
    assert "fees of some fills" in fresh(rule).state_reason


def test_what_was_realised_before_the_exchanges_day_began_is_not_of_the_day() -> None:
    rule = a_going()
    looks = Looks()
    looks.look()
    first = Trader.objects.get()
    earlier = day_begin(NOW_US) - timedelta(minutes=1)
    a_fill(first, 0, 6_000, 5_000, at=earlier)
    a_payment(first, "no", at=earlier)
    for _ in range(2):
        looks.look()
    assert fresh(rule).latched_at is None
    Settlement.objects.update(settled_at=timezone.now())
    for _ in range(2):
        looks.look()
    assert fresh(rule).latched_at is not None, "it was paid today"


# What it came to


def test_a_rules_result_is_that_of_its_fills_and_of_what_its_markets_paid() -> None:
    a_going(max_traders=2)
    look()
    first, second = Trader.objects.order_by("market_ticker")
    a_fill(first, 0, 4_000, 1_000, fee_ud=1_700)  # 10 Yes for $4.00
    a_fill(first, 1, 5_500, 400, fee_ud=800)  # 4 of them sold at 45¢
    a_payment(first, "yes")  # and 6 paid
    a_fill(second, 1, 3_000, 200, fee_ud=100)  # 2 No for $0.60, not paid
    Trader.objects.filter(pk=first.pk).update(archived_at=timezone.now())
    (told,) = run_json("traders", "list", "--rules")["rules"]
    wanted = {
        "rule": "ROLL", "mode": "live", "traders": 2, "archived": 1, "running": 0, "unpaid": 1, "fills": 3,
        "realised_ud": 200_000 + 3_600_000, "fees_ud": 2_600, "result_ud": 3_797_400, "open_cost_ud": 600_000,
    }  # fmt: skip
    assert wanted.items() <= told.items()
    assert "+$3.80" in run("traders", "list", "--rules")
