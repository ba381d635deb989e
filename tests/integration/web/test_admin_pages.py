from __future__ import annotations

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from kalshimm.ops.models import AuditRow
from tests.fixtures import fleet
from traders.models import Fill, Grant, Order, SeriesRule, StrategySet, Trader

pytestmark = pytest.mark.django_db
CONFIGURATION = {"traders.strategyset", "traders.seriesrule", "traders.trader", "traders.allotment"}
OWN_APPS = {"traders", "markets", "feed", "ops"}


def own_models() -> list[str]:
    return sorted(m._meta.label_lower for m in admin.site._registry if m._meta.app_label in OWN_APPS)


@pytest.mark.parametrize("label", own_models())
def test_every_list_opens(browser: Client, label: str) -> None:
    fleet.seed()
    app, model = label.split(".")
    assert browser.get(reverse(f"admin:{app}_{model}_changelist")).status_code == 200


@pytest.mark.parametrize("label", [label for label in own_models() if label not in CONFIGURATION])
def test_what_the_system_writes_cannot_be_added_by_hand(browser: Client, label: str) -> None:
    app, model = label.split(".")
    assert browser.get(reverse(f"admin:{app}_{model}_add")).status_code == 403


def add_strategy(browser: Client, params: str) -> str:
    body = {"name": "careful", "placement": "join_best", "placement_params": params, "buffering": "none"}
    return browser.post(reverse("admin:traders_strategyset_add"), body).content.decode()


def test_wrong_parameters_are_refused_with_the_field_named(browser: Client) -> None:
    assert "bid_cx" in add_strategy(browser, '{"bid_cx": -1}')
    assert not StrategySet.objects.exists()
    assert not AuditRow.objects.exists()


def test_a_change_leaves_an_audit_row_with_old_and_new(browser: Client) -> None:
    add_strategy(browser, '{"bid_cx": 500}')
    added = AuditRow.objects.get()
    assert (added.actor, added.action, added.subject) == ("operator", "admin_added", "strategy set careful")
    trader = fleet.seed()[0]
    body = {"name": trader.name, "market_ticker": trader.market_ticker, "strategy": trader.strategy_id}
    browser.post(reverse("admin:traders_trader_change", args=[trader.pk]), {**body, "desired": "paused"})
    changed = AuditRow.objects.filter(action="admin_changed").get()
    assert changed.detail == {"to": {"desired": "paused"}, "was": {"desired": "running"}}


@pytest.mark.parametrize("params", ["", "null"])
def test_no_parameters_are_the_defaults(browser: Client, params: str) -> None:
    add_strategy(browser, params)
    assert StrategySet.objects.get().placement_params == {}


def test_parameters_that_are_no_object_are_refused(browser: Client) -> None:
    assert "by name" in add_strategy(browser, "[1, 2]")
    assert not StrategySet.objects.exists()


def test_a_running_trader_cannot_be_deleted(browser: Client) -> None:
    trader = fleet.seed()[0]
    Trader.objects.filter(pk=trader.pk).update(pid=4_242)
    one = reverse("admin:traders_trader_delete", args=[trader.pk])
    assert "runs as process 4242; stop it first" in browser.post(one, {"post": "yes"}).text
    many = {"action": "delete_selected", "_selected_action": [trader.pk], "post": "yes"}
    assert "stop it first" in browser.post(reverse("admin:traders_trader_changelist"), many).text
    assert Trader.objects.filter(pk=trader.pk).exists()


def a_stopped_live_trader(**changes: str) -> Trader:
    """Return one that holds nothing."""
    trader = fleet.seed()[0]
    Order.objects.filter(trader=trader).delete()
    Fill.objects.filter(trader=trader).delete()
    Trader.objects.filter(pk=trader.pk).update(mode="live", desired="stopped", **changes)
    return trader


def test_a_live_trader_whose_orders_may_rest_cannot_be_deleted(browser: Client) -> None:
    trader = a_stopped_live_trader(group_id="group-1")
    one = reverse("admin:traders_trader_delete", args=[trader.pk])
    assert "may rest at the exchange under group group-1" in browser.post(one, {"post": "yes"}).text
    assert Trader.objects.filter(pk=trader.pk).exists()
    Trader.objects.filter(pk=trader.pk).update(group_id="")
    browser.post(one, {"post": "yes"})
    assert not Trader.objects.filter(pk=trader.pk).exists()


def test_I4_a_live_trader_that_holds_contracts_cannot_be_deleted_before_its_market_has_paid(browser: Client) -> None:
    trader = a_stopped_live_trader()
    told = {"account": "local", "order_id": "o", "trade_id": "t", "client_order_id": "c", "mode": "live"}
    counts = {"side": 0, "price_cc": 4_000, "count_cx": 5_000, "fee_ud": 0, "is_taker": False}
    Fill.objects.create(time=timezone.now(), trader=trader, ticker=trader.market_ticker, **told, **counts)
    one = reverse("admin:traders_trader_delete", args=[trader.pk])
    assert "holds contracts that cost $20.00" in browser.post(one, {"post": "yes"}).text
    assert Trader.objects.filter(pk=trader.pk).exists()


def test_a_live_trader_that_was_granted_can_be_deleted_and_its_grants_go_with_it(browser: Client) -> None:
    trader = a_stopped_live_trader()
    told = {"environment": "local", "account": "local", "limits": {}, "limits_digest": "", "granted_by": "somebody"}
    Grant.objects.create(trader=trader, worst_loss_ud=0, expires_at=timezone.now(), **told)
    answer = browser.post(reverse("admin:traders_trader_delete", args=[trader.pk]), {"post": "yes"})
    assert answer.status_code == 302
    assert (Trader.objects.filter(pk=trader.pk).exists(), Grant.objects.exists()) == (False, False)


def a_live_rule() -> SeriesRule:
    """Return a rule with a live trader that may have orders at rest, and its grant."""
    trader = a_stopped_live_trader(group_id="group-1")
    rule = SeriesRule.objects.create(series_ticker="KXHIGHNY", mode="live", strategy=trader.strategy)
    Trader.objects.filter(pk=trader.pk).update(series_rule=rule)
    told = {"environment": "local", "account": "local", "limits": {}, "limits_digest": "", "granted_by": "somebody"}
    terms = {"series_ticker": rule.series_ticker, "max_traders": 1, "daily_loss_ud": 1}
    Grant.objects.create(rule=rule, worst_loss_ud=0, expires_at=timezone.now(), **told, **terms)
    return rule


def test_a_rule_whose_live_traders_trade_cannot_be_deleted(browser: Client) -> None:
    rule = a_live_rule()
    one = reverse("admin:traders_seriesrule_delete", args=[rule.pk])
    assert "live traders of the rule KXHIGHNY trade; stop them first" in browser.post(one, {"post": "yes"}).text
    assert SeriesRule.objects.exists()
    Trader.objects.update(group_id="")
    assert browser.post(one, {"post": "yes"}).status_code == 302
    assert (SeriesRule.objects.exists(), Grant.objects.exists()) == (False, False)


def test_a_rule_is_set_to_live_and_keeps_its_series_and_what_the_supervisor_wrote(browser: Client) -> None:
    rule = a_live_rule()
    SeriesRule.objects.update(mode="dry-run", standing="waiting", latch_reason="lost")
    page = browser.get(reverse("admin:traders_seriesrule_change", args=[rule.pk])).text
    assert "grants create --rule SERIES" in page
    body = {"series_ticker": "OTHER", "mode": "live", "strategy": rule.strategy_id, "max_traders": 2, "limits": "{}"}
    zeros = {"lead_s": 0, "close_buffer_s": 0, "daily_loss_ud": 5_000_000}
    browser.post(reverse("admin:traders_seriesrule_change", args=[rule.pk]), body | zeros)
    rule.refresh_from_db()
    assert (rule.series_ticker, rule.mode, rule.daily_loss_ud) == ("KXHIGHNY", "live", 5_000_000)
    assert (rule.standing, rule.latch_reason) == ("waiting", "lost")


def test_a_trader_keeps_its_market(browser: Client) -> None:
    first, second = fleet.seed()[:2]
    body = {"name": first.name, "market_ticker": second.market_ticker, "strategy": first.strategy_id}
    browser.post(reverse("admin:traders_trader_change", args=[first.pk]), {**body, "desired": "paused"})
    first.refresh_from_db()
    assert (first.market_ticker != second.market_ticker, first.desired) == (True, "paused")


def test_a_deleted_trader_leaves_an_audit_row(browser: Client) -> None:
    trader = fleet.seed()[0]
    browser.post(reverse("admin:traders_trader_delete", args=[trader.pk]), {"post": "yes"})
    assert not Trader.objects.filter(pk=trader.pk).exists()
    assert AuditRow.objects.get().action == "admin_deleted"


def test_a_trader_needs_a_market_the_catalogue_knows(browser: Client) -> None:
    strategy = StrategySet.objects.create(name="join-best")
    body = {"name": "x", "market_ticker": "KXNONE-1", "strategy": strategy.pk, "desired": "running"}
    answer = browser.post(reverse("admin:traders_trader_add"), body)
    assert "The catalogue has no market" in answer.text


def test_going_live_is_not_a_field_of_the_admin(browser: Client) -> None:
    trader = fleet.seed()[0]
    body = {"name": trader.name, "market_ticker": trader.market_ticker, "strategy": trader.strategy_id}
    browser.post(
        reverse("admin:traders_trader_change", args=[trader.pk]), {**body, "desired": "running", "mode": "live"}
    )
    trader.refresh_from_db()
    assert trader.mode == "dry-run"


@pytest.mark.parametrize(("before", "wanted", "after"), [
    ("stopped", "running", "stopped"), ("stopped", "paused", "stopped"), ("running", "stopped", "stopped"),
    ("paused", "running", "running"),
])  # fmt: skip
def test_G2_the_admin_starts_no_live_trader(browser: Client, before: str, wanted: str, after: str) -> None:
    trader = fleet.seed()[0]
    Trader.objects.filter(pk=trader.pk).update(mode="live", desired=before)
    body = {"name": trader.name, "market_ticker": trader.market_ticker, "strategy": trader.strategy_id}
    answer = browser.post(reverse("admin:traders_trader_change", args=[trader.pk]), {**body, "desired": wanted})
    trader.refresh_from_db()
    assert trader.desired == after
    assert ("traders start --live" in answer.content.decode()) is (after != wanted)
