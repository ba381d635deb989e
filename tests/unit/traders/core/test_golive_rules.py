"""What a series rule's grant permits, and what voids it, for the rule itself and for each trader that it made."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from traders.core.golive import (
    CREDENTIAL,
    GRANT,
    INSTALLATION,
    MODE,
    RULE_LOSS,
    START,
    Credential,
    LiveFacts,
    Permission,
    RuleTerms,
    holding,
    limits_digest,
    missing,
)
from traders.core.limits import Limits

NOW_US = 1_795_337_400_000_000
DIGEST = limits_digest(Limits())
RULE = RuleTerms(rule=3, series="ROLL", mode="live", limits_digest=DIGEST, max_traders=2, daily_loss_ud=25_000_000)
GRANTED = Permission(
    id=1, trader=None, rule=RULE, environment="demo", account="demo", limits_digest=DIGEST, expires_us=NOW_US + 1,
    is_started=True,
)  # fmt: skip
SUBJECTS = {"its trader": {"trader": 7, "name": "roll-1"}, "the rule itself": {"trader": None, "name": "ROLL"}}


def facts(whose: str = "its trader", **changes: Any) -> LiveFacts:
    """Return facts of which nothing is missing, but for the changes."""
    told = {
        "mode": "live", "environment": "demo", "account": "demo", "limits_digest": DIGEST, "is_allowed_here": True,
        "credentials": (Credential("hot", "demo", "demo", True),), "permissions": (GRANTED,), "now_us": NOW_US,
        "rule": RULE,
    }  # fmt: skip
    return LiveFacts(**(told | SUBJECTS[whose] | changes))


def codes(told: LiveFacts) -> set[str]:
    return {one.code for one in missing(told)}


def rule(**changes: Any) -> RuleTerms:
    return msgspec.structs.replace(RULE, **changes)


@pytest.mark.parametrize("whose", SUBJECTS)
def test_a_rules_grant_permits_the_rule_and_what_it_makes(whose: str) -> None:
    assert missing(facts(whose)) == ()
    assert holding(facts(whose)) == GRANTED


LACKS = {
    "installation": ({"is_allowed_here": False}, {INSTALLATION}),
    "credential": ({"credentials": ()}, {CREDENTIAL}),
    "mode": ({"mode": "dry-run"}, {MODE}),
    "grant": ({"permissions": ()}, {GRANT, START}),
    "start": ({"permissions": (msgspec.structs.replace(GRANTED, is_started=False),)}, {START}),
    "revoked": ({"permissions": (msgspec.structs.replace(GRANTED, is_revoked=True),)}, {GRANT, START}),
    "expired": ({"now_us": NOW_US + 1}, {GRANT, START}),
    "account": ({"account": "other"}, {GRANT, START, CREDENTIAL}),
    "limits of the trader": ({"limits_digest": "other"}, {GRANT, START}),
    "unreadable limits": ({"limits_digest": None}, {GRANT, START}),
    "rule for dry-run": ({"rule": rule(mode="dry-run")}, {GRANT, START}),
    "limits of the rule": ({"rule": rule(limits_digest="other")}, {GRANT, START}),
    "more traders": ({"rule": rule(max_traders=3)}, {GRANT, START}),
    "more to lose": ({"rule": rule(daily_loss_ud=25_000_001)}, {GRANT, START}),
    "another series": ({"rule": rule(series="OTHER")}, {GRANT, START}),
    "another rule": ({"rule": rule(rule=4)}, {GRANT, START}),
    "latched": ({"latched": "lost too much"}, {RULE_LOSS}),
}


@pytest.mark.parametrize("whose", SUBJECTS)
@pytest.mark.parametrize(("change", "lacks"), LACKS.values(), ids=LACKS)
def test_G2_each_missing_thing_is_named(change: dict[str, Any], lacks: set[str], whose: str) -> None:
    assert codes(facts(whose, **change)) == lacks


def with_limits(whose: str, confirmed: Limits, now: Limits) -> LiveFacts:
    """Return facts of a rule and its trader whose limits were changed after a grant for them."""
    grant = msgspec.structs.replace(
        GRANTED,
        limits=confirmed,
        limits_digest=limits_digest(confirmed),
        rule=rule(limits_digest=limits_digest(confirmed)),
    )
    terms = rule(limits=now, limits_digest=limits_digest(now))
    return facts(whose, permissions=(grant,), rule=terms, limits=now, limits_digest=limits_digest(now))


@pytest.mark.parametrize("whose", SUBJECTS)
def test_tighter_limits_are_within_a_rules_grant_and_looser_ones_are_not(whose: str) -> None:
    confirmed = Limits(order_cx_most=500)
    assert missing(with_limits(whose, confirmed, Limits(order_cx_most=499))) == ()
    assert codes(with_limits(whose, confirmed, Limits(order_cx_most=501))) == {GRANT, START}


def test_looser_limits_of_a_rule_void_its_grant_for_traders_that_kept_theirs() -> None:
    confirmed = Limits(order_cx_most=500)
    told = with_limits("its trader", confirmed, confirmed)
    loose = Limits(order_cx_most=501)
    told = msgspec.structs.replace(told, rule=rule(limits=loose, limits_digest=limits_digest(loose)))
    assert codes(told) == {GRANT, START}


@pytest.mark.parametrize("change", [{"max_traders": 1}, {"daily_loss_ud": 1}])
def test_less_than_was_granted_is_permitted(change: dict[str, int]) -> None:
    assert missing(facts(rule=rule(**change))) == ()


def test_a_trader_under_no_rule_is_not_permitted_by_a_rules_grant() -> None:
    assert codes(facts(rule=None)) == {GRANT, START}


def test_a_rules_trader_may_trade_by_its_own_grant_but_not_while_the_rule_is_latched() -> None:
    own = msgspec.structs.replace(GRANTED, trader=7, rule=None)
    told = facts(permissions=(own,), rule=rule(mode="dry-run"))
    assert missing(told) == ()
    assert codes(msgspec.structs.replace(told, latched="lost too much")) == {RULE_LOSS}
    assert codes(facts(permissions=(msgspec.structs.replace(own, trader=8),))) == {GRANT, START}


def test_the_words_tell_the_command_for_the_rule() -> None:
    (start, grant) = missing(facts(permissions=()))
    assert "`traders start --live --rule ROLL`" in start.text
    assert "`grants create --rule ROLL`" in grant.text
    (mode,) = missing(facts("the rule itself", mode="dry-run"))
    assert "set the mode of the rule to live" in mode.text
