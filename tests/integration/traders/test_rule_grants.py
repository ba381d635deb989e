"""A series rule's grant, its start and its end, and what a rule makes of them; its processes are in test_live_rules."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from django.core.management import call_command
from django.utils import timezone
from rulesground import (
    DOLLAR,
    NOW_US,
    Looks,
    a_going,
    a_grant,
    a_market,
    a_rule,
    codes,
    fresh,
    installation,
    look,
    run,
    run_json,
)
from test_grants import a_key

from kalshimm.ops.models import AuditRow
from markets.models import Market
from traders import grants, killnotes, killswitch, rulegrants, seriesrules
from traders.core.golive import CREDENTIAL, GRANT, INSTALLATION, MODE, START
from traders.core.kills import Kill
from traders.core.limits import Limits
from traders.core.risk import reserve_ud
from traders.fleet import read_wanted
from traders.grants import permission, rule_permission, state_of
from traders.management.commands.traders import BadUsage
from traders.models import Desired, Grant, Mode, SeriesRule, Trader
from traders.rulegrants import create_rule_grant, start_rule
from traders.services import RefusedChange, create_trader, steer, strategy_named

pytestmark = pytest.mark.django_db
__all__ = ["installation"]  # a fixture


# The grant


def test_a_rules_grant_says_account_limits_how_many_and_what_a_day_may_lose() -> None:
    rule = a_rule(max_traders=3, limits={"order_cx_most": 500}, daily_loss_ud=9 * DOLLAR)
    grant = a_grant(rule)
    limits = Limits(order_cx_most=500)
    assert (grant.trader, grant.rule, grant.series_ticker, grant.account) == (None, rule, "ROLL", "demo")
    assert grant.limits == msgspec.to_builtins(limits)
    assert (grant.max_traders, grant.daily_loss_ud) == (3, 9 * DOLLAR)
    assert grant.worst_loss_ud == 3 * reserve_ud(limits)
    assert abs(grant.expires_at - timezone.now() - timedelta(hours=24)) < timedelta(minutes=1)
    assert state_of(grant) == "waiting"
    told = AuditRow.objects.get(action="grant.created", subject="ROLL").detail
    assert (told["series"], told["max_traders"], told["daily_loss_ud"]) == ("ROLL", 3, 9 * DOLLAR)


def test_a_rules_grant_lasts_a_week_at_most() -> None:
    rule = a_rule()
    with pytest.raises(RefusedChange, match="at most 7 days"):
        a_grant(rule, expires_in=timedelta(days=7, seconds=1))
    assert a_grant(rule, expires_in=timedelta(days=7))


@pytest.mark.parametrize("typed", ["", "roll", "ROLL-1", "yes"])
def test_G2_without_the_very_series_nothing_is_granted(typed: str) -> None:
    with pytest.raises(RefusedChange, match="nothing is granted"):
        create_rule_grant(a_rule(), actor="somebody", confirm_series=typed)
    assert not Grant.objects.exists()


def test_G2_a_rule_for_dry_run_cannot_be_granted() -> None:
    with pytest.raises(RefusedChange, match="set to dry-run"):
        a_grant(a_rule(mode=Mode.DRY_RUN))


def test_only_the_rule_that_was_shown_is_granted() -> None:
    rule = a_rule()
    shown = rulegrants.rule_offer(rule)
    SeriesRule.objects.update(max_traders=2)
    with pytest.raises(RefusedChange, match="changed meanwhile"):
        a_grant(rule, shown=shown)


def test_a_daily_loss_given_with_the_grant_is_the_rules_from_then_on() -> None:
    rule = a_rule()
    grant = a_grant(rule, daily_loss_ud=7 * DOLLAR)
    assert (grant.daily_loss_ud, fresh(rule).daily_loss_ud, state_of(grant)) == (7 * DOLLAR, 7 * DOLLAR, "waiting")
    assert AuditRow.objects.get(action="series_rule.daily_loss").detail["was"] == 25 * DOLLAR


@pytest.mark.parametrize(
    "change", [{"max_traders": 2}, {"daily_loss_ud": 26 * DOLLAR}, {"limits": {"order_cx_most": 2_000}}]
)
def test_what_is_raised_above_the_granted_voids_it_for_the_rule_and_its_traders(change: dict[str, Any]) -> None:
    rule = a_going()
    look()
    trader = Trader.objects.get()
    assert codes(trader) == set()
    SeriesRule.objects.update(**change)
    assert codes(Trader.objects.get()) == {GRANT, START}
    assert state_of(Grant.objects.get()) == "void"
    assert {one.code for one in rule_permission(fresh(rule))[1]} == {GRANT, START}


# The four things


@pytest.mark.parametrize("lacking", [INSTALLATION, CREDENTIAL, GRANT, START, MODE])
def test_G2_a_rule_that_lacks_one_thing_makes_nothing_and_says_so(installation: Any, lacking: str) -> None:
    rule = a_rule(mode=Mode.DRY_RUN if lacking == MODE else Mode.LIVE)
    if lacking not in (GRANT, MODE):
        a_grant(rule)
    if lacking not in (GRANT, START, MODE):
        start_rule(rule, actor="somebody")
    installation.KALSHIMM_LIVE = lacking != INSTALLATION
    if lacking == CREDENTIAL:
        (installation.KALSHIMM_HOME / "keys" / "index.json").unlink()
    made = look()
    if lacking == MODE:
        assert [trader.mode for trader in Trader.objects.all()] == ["dry-run"], "that is what such a rule makes"
        return
    assert (made, Trader.objects.count()) == ([], 0), "and nothing in dry-run instead"
    assert f"[{lacking}]" in fresh(rule).state_reason
    (told,) = run_json("traders", "list", "--rules")["rules"]
    assert f"[{lacking}]" in told["state_reason"]


def test_G2_what_is_missing_stands_in_the_traders_reasons_too(installation: Any) -> None:
    a_going()
    look()
    trader = Trader.objects.get()
    installation.KALSHIMM_LIVE = False
    Grant.objects.update(expires_at=timezone.now())
    (installation.KALSHIMM_HOME / "keys" / "index.json").unlink()
    assert codes(trader) == {INSTALLATION, START, CREDENTIAL, GRANT}


def test_a_reason_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    a_rule()
    looks = Looks()
    for _ in range(3):
        looks.look()
    assert sum("makes no live trader" in record.getMessage() for record in caplog.records) == 1


def test_a_rule_that_fails_keeps_neither_the_others_nor_itself_for_good(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failing, other = a_going(max_traders=1), a_going(series_ticker="ELSE")
    real = seriesrules.results_today

    def results(rule: SeriesRule, *known: Any) -> Any:
        return 1 // 0 if rule == failing else real(rule, *known)

    monkeypatch.setattr(seriesrules, "results_today", results)
    looks = Looks()
    assert looks.look()
    looks.look()
    assert set(Trader.objects.values_list("series_rule", flat=True)) == {other.pk}
    assert "it has failed, see the log (ZeroDivisionError" in fresh(failing).state_reason
    assert [getattr(record, "alert", "") for record in caplog.records].count("RULE_FAILED") == 1
    monkeypatch.setattr(seriesrules, "results_today", real)
    assert len(looks.look()) == 1
    assert fresh(failing).state_reason == ""


def test_a_started_rule_makes_live_traders_that_run_at_once() -> None:
    rule = a_going(limits={"order_cx_most": 500})
    (name,) = look()
    trader = Trader.objects.get()
    assert (trader.name, trader.mode, trader.desired, trader.series_rule) == (name, "live", "running", rule)
    assert (trader.market_ticker, trader.limits) == ("ROLL-1-T", {"order_cx_most": 500})
    held, lacks = permission(trader.pk)
    assert (held, lacks) == (Grant.objects.get(), ())
    assert (fresh(rule).standing, rule.state_reason) == ("going", "")


def test_no_more_of_them_trade_at_once_than_the_rule_says() -> None:
    a_going(max_traders=2)
    a_market(3)
    looks = Looks()
    assert len(looks.look()) == 2
    first = Trader.objects.get(market_ticker="ROLL-1-T")
    Trader.objects.filter(pk=first.pk).update(desired=Desired.STOPPED, group_id="group-1")
    Market.objects.filter(pk=first.market_ticker).update(close_time=timezone.now() - timedelta(seconds=9))
    assert looks.look() == [], "something of the first may still rest"
    Trader.objects.filter(pk=first.pk).update(group_id="")
    assert len(looks.look()) == 1
    assert set(Trader.objects.values_list("market_ticker", flat=True)) == {f"ROLL-{n}-T" for n in (1, 2, 3)}


def test_a_person_does_not_start_more_of_them_than_the_rule_may_have() -> None:
    a_going(max_traders=2)
    looks = Looks()
    looks.look()
    trader = Trader.objects.get(market_ticker="ROLL-1-T")
    steer([trader], "stop", actor="somebody")
    SeriesRule.objects.update(max_traders=1)
    with pytest.raises(RefusedChange, match="may have 1 live traders at once"):
        grants.start([trader], actor="somebody")


def test_G3_a_market_that_a_person_trades_live_gets_no_second_trader() -> None:
    a_going()
    mine = create_trader(
        name="mine", market_ticker="ROLL-1-T", strategy=strategy_named("join-best"), actor="somebody", mode=Mode.LIVE
    )
    looks = Looks()
    assert looks.look() == []
    mine.delete()
    assert len(looks.look()) == 1
    late = create_trader(
        name="late", market_ticker="ROLL-1-T", strategy=strategy_named("join-best"), actor="somebody", mode=Mode.LIVE
    )
    grants.create_grant(late, actor="somebody", confirm_name="late")
    with pytest.raises(RefusedChange, match="late does not go live"):
        grants.start_live([late], actor="somebody")


def test_G2_a_trader_that_a_person_puts_under_a_rule_is_permitted_only_in_its_series() -> None:
    rule = a_going()
    a_market(1, series="OTHER")
    stranger = create_trader(
        name="stranger", market_ticker="OTHER-1-T", strategy=strategy_named("join-best"), actor="x", mode=Mode.LIVE
    )
    Trader.objects.filter(pk=stranger.pk).update(series_rule=rule)
    assert codes(stranger) == {GRANT, START}


def test_G2_starting_one_of_its_traders_does_not_start_the_rule() -> None:
    rule = a_rule()
    trader = create_trader(
        name="mine", market_ticker="ROLL-1-T", strategy=strategy_named("join-best"), actor="x", mode=Mode.LIVE
    )
    Trader.objects.filter(pk=trader.pk).update(series_rule=rule)
    grant = a_grant(rule)
    with pytest.raises(RefusedChange, match="traders start --live --rule ROLL"):
        run("traders", "start", "mine", "--live")
    grant.refresh_from_db()
    assert grant.started_at is None
    start_rule(rule, actor="somebody")
    run("traders", "start", "mine", "--live")
    trader.refresh_from_db()
    assert trader.desired == Desired.RUNNING


def test_a_trader_of_a_revoked_grant_lacks_it_and_the_rule_makes_no_more() -> None:
    rule = a_going()
    looks = Looks()
    looks.look()
    assert [row["state"] for row in run_json("grants", "revoke", "ROLL")["grants"]] == ["revoked"]
    assert codes(Trader.objects.get()) == {GRANT, START}
    SeriesRule.objects.update(max_traders=2)
    assert looks.look() == []
    assert "[grant]" in fresh(rule).state_reason


def test_a_rule_that_is_switched_off_cannot_be_started_and_stops_its_traders_near_the_close() -> None:
    rule = a_going(close_buffer_s=60)
    looks = Looks()
    looks.look()
    SeriesRule.objects.update(is_active=False)
    with pytest.raises(RefusedChange, match="switched off"):
        start_rule(rule, actor="somebody")
    Market.objects.update(close_time=timezone.now() + timedelta(seconds=30))
    looks.look()
    assert Trader.objects.get().desired == Desired.STOPPED


# A restart of everything, and a kill


def test_A15_after_a_restart_of_everything_a_rule_waits_for_a_person() -> None:
    rule = a_going(max_traders=2)
    SeriesRule.objects.update(max_traders=1)
    look()
    SeriesRule.objects.update(max_traders=2)
    assert look(living=()) == []
    assert (fresh(rule).standing, rule.state_reason) == (
        "waiting", "it waits for a person: `traders start --live --rule ROLL`"
    )  # fmt: skip
    assert "none of its traders was alive" in AuditRow.objects.get(action="series_rule.waits").detail["reason"]
    run("traders", "start", "--live", "--rule", "ROLL")
    assert len(look()) == 1, "a person has started it again: it was not seen going by anybody since"


def test_A7_the_next_supervisor_goes_on_with_a_rule_of_which_a_trader_lives() -> None:
    rule = a_going(max_traders=2)
    SeriesRule.objects.update(max_traders=1)
    look()
    SeriesRule.objects.update(max_traders=2)
    assert len(look(living=(Trader.objects.get().pk,))) == 1
    assert fresh(rule).standing == "going"


@pytest.mark.parametrize(
    ("kind", "key", "waits"),
    [("all", "", True), ("account", "demo", True), ("account", "other", False), ("event", "ROLL-1", True),
     ("event", "OTHER-1", False), ("trader", "1", False)],
)  # fmt: skip
def test_a_killed_rule_makes_nothing_until_a_person_starts_it_again(
    installation: Any, kind: Any, key: str, waits: bool
) -> None:
    rule = a_going()
    a_market(1, series="OTHER")
    kill = Kill(kind=kind, key=key, by="somebody", at_us=NOW_US)
    killswitch.throw(installation.KALSHIMM_HOME, kill)
    killnotes.settle(installation.KALSHIMM_HOME)
    killswitch.release(installation.KALSHIMM_HOME, kind, key)
    assert (look() == []) == waits
    assert (fresh(rule).standing == "waiting") == waits


def test_a_rule_is_not_started_while_its_account_is_killed(installation: Any) -> None:
    rule = a_rule()
    a_grant(rule)
    killswitch.throw(installation.KALSHIMM_HOME, Kill(kind="all", by="somebody", at_us=NOW_US))
    with pytest.raises(RefusedChange, match="was killed by somebody"):
        start_rule(rule, actor="somebody")


def test_while_an_event_is_killed_a_rule_that_was_started_again_trades_the_others(installation: Any) -> None:
    home = installation.KALSHIMM_HOME
    rule = a_going(max_traders=2)
    killswitch.throw(home, Kill(kind="event", key="ROLL-1", by="somebody", at_us=NOW_US))
    killnotes.settle(home)
    assert fresh(rule).standing == "waiting"
    start_rule(rule, actor="somebody")
    looks = Looks()
    killnotes.settle(home)
    looks.look()
    assert [trader.market_ticker for trader in Trader.objects.all()] == ["ROLL-2-T"]
    assert "event ROLL-1 was killed" in fresh(rule).state_reason
    killswitch.release(home, "event", "ROLL-1")
    assert looks.look() == [], "it is not tried at each look"
    for _ in range(4):
        assert looks.look() == [], "who releases the kill has not started the rule"
    assert "told to wait" in fresh(rule).state_reason
    killnotes.settle(home)  # as the supervisor does before each look
    assert (looks.look(), fresh(rule).standing, Trader.objects.count()) == ([], "waiting", 1)


def test_a_rule_set_to_dry_run_has_no_reason_any_more() -> None:
    rule = a_rule()
    looks = Looks()
    looks.look()
    assert fresh(rule).state_reason != ""
    SeriesRule.objects.update(mode=Mode.DRY_RUN)
    looks.look()
    assert fresh(rule).state_reason == ""


# The commands


def test_the_command_restates_everything_before_it_grants_a_rule() -> None:
    a_rule(max_traders=3, limits={"exposure_ud_most": 40_000_000})
    text = run("grants", "create", "--rule", "ROLL", "--confirm", "ROLL", "--daily-loss", "12.50", "--hours", "3")
    for word in ("demo", "ROLL  Rolling", "join-best", "most traders at once        3", "$120.00 at stake", "$12.50"):
        assert word in text
    for name in Limits.__struct_fields__:
        assert f"each: {name}" in text
    assert "traders start --live --rule ROLL" in text
    grant = Grant.objects.get()
    assert (grant.daily_loss_ud, grant.worst_loss_ud) == (12_500_000, 120 * DOLLAR)
    assert abs(grant.expires_at - timezone.now() - timedelta(hours=3)) < timedelta(minutes=1)


def test_a_rules_grant_is_told_to_scripts_and_in_the_list() -> None:
    a_rule()
    told = run_json("grants", "create", "--rule", "ROLL", "--confirm", "ROLL")["grant"]
    wanted = {"rule": "ROLL", "trader": None, "market": None, "max_traders": 1, "state": "waiting"}
    assert wanted.items() <= told.items()
    assert run_json("grants", "list") == {"grants": [told]}
    assert "rule ROLL" in run("grants", "list")


def test_G2_a_script_that_does_not_name_the_series_gets_no_grant() -> None:
    a_rule()
    with pytest.raises(RefusedChange, match="give the series"):
        run("grants", "create", "--rule", "ROLL")
    assert not Grant.objects.exists()


@pytest.mark.parametrize(
    "argv",
    [("grants", "create"), ("grants", "create", "x", "--rule", "ROLL"), ("grants", "create", "x", "--daily-loss", "1"),
     ("traders", "start", "--rule", "ROLL"), ("traders", "start", "--live", "--rule", "ROLL", "--all"),
     ("traders", "release", "x", "--rule", "ROLL")],
)  # fmt: skip
def test_what_names_two_things_or_none_is_bad_usage(argv: tuple[str, ...]) -> None:
    a_rule()
    with pytest.raises(BadUsage):
        run(*argv)


def test_a_rule_that_there_is_not_is_refused() -> None:
    a_rule()
    for argv in (("grants", "create", "--rule", "GONE"), ("traders", "start", "--live", "--rule", "GONE")):
        with pytest.raises(RefusedChange, match="known: ROLL"):
            run(*argv)


def test_the_list_of_traders_tells_of_a_live_rule_that_makes_none() -> None:
    a_rule()
    look()
    told = io.StringIO()
    call_command("traders", "list", stdout=io.StringIO(), stderr=told)
    assert "series rule ROLL makes no live trader: Missing: [start_flag]" in told.getvalue()


def test_a_trader_keeps_its_account_when_its_rule_is_set_to_another(installation: Any) -> None:
    """Else what it has resting would be looked for where it never traded, and not be found."""
    rule = a_going()
    looks = Looks()
    looks.look()
    trader = Trader.objects.get()
    assert trader.account == "demo"
    a_key(installation.KALSHIMM_HOME, account="second")
    SeriesRule.objects.update(account="second")
    a_grant(fresh(rule))
    start_rule(fresh(rule), actor="somebody")
    (wanted,) = read_wanted([trader.pk])
    assert wanted.live is not None
    assert (wanted.live.account, wanted.live.missing) == ("demo", ())
    Grant.objects.filter(account="demo").update(revoked_at=timezone.now())
    (wanted,) = read_wanted([trader.pk])
    assert wanted.live is not None
    assert wanted.live.account == "demo"
    assert {one.code for one in wanted.live.missing} == {START, GRANT}
