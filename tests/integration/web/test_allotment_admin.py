from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from feed.models import ExchangeKey
from kalshimm.ops.models import AuditRow
from tests.fixtures import fleet
from traders.models import Allotment, Trader

pytestmark = pytest.mark.django_db
EVENT = "KXHIGHNY-26NOV23"


def add(browser: Client, **changes: str) -> str:
    body = {"scope": "event", "key": EVENT, "mode": "dry-run", "most_dollars": "120.50"}
    return browser.post(reverse("admin:traders_allotment_add"), body | changes, follow=True).text


def change(browser: Client, row: Allotment, most_dollars: str) -> str:
    body = {"scope": row.scope, "key": row.key, "mode": row.mode, "most_dollars": most_dollars}
    return browser.post(reverse("admin:traders_allotment_change", args=[row.pk]), body, follow=True).text


def test_amounts_are_given_and_shown_in_dollars(browser: Client) -> None:
    fleet.seed()
    Trader.objects.filter(market_ticker__startswith=EVENT).update(reserved_ud=10_000_000)
    add(browser)
    row = Allotment.objects.get()
    assert (row.scope, row.key, row.mode, row.most_ud) == ("event", EVENT, "dry-run", 120_500_000)
    listed = browser.get(reverse("admin:traders_allotment_changelist")).text
    assert "$120.50" in listed
    assert "$30.00" in listed, "three traders have reserved ten dollars each"
    assert 'value="120.5' in browser.get(reverse("admin:traders_allotment_change", args=[row.pk])).text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"key": "KXNONE-1"}, "The catalogue has no event"),
        ({"key": ""}, "The catalogue has no event"),
        ({"scope": "account", "key": "papr"}, "known: paper"),
        ({"scope": "account", "key": "paper", "mode": "live"}, "known: local"),
        ({"scope": "account", "key": "local"}, "known: paper"),
        ({"scope": "fleet", "key": "everybody"}, "The fleet has no key"),
        ({"most_dollars": "-1"}, "greater than or equal to 0"),
        ({"most_dollars": "0.005"}, "no more than 2 decimal places"),
        ({"most_dollars": ""}, "This field is required"),
    ],
)
def test_G10_an_allotment_that_would_limit_nobody_is_refused(
    browser: Client, changes: dict[str, str], said: str
) -> None:
    fleet.seed()
    assert said in add(browser, **changes)
    assert not Allotment.objects.exists()
    assert not AuditRow.objects.exists()


def test_an_account_with_a_key_may_be_allotted(browser: Client) -> None:
    ExchangeKey.objects.create(name="d", account="demo", environment="demo", key_id="k", fingerprint="f")
    add(browser, scope="account", key="demo", mode="live")
    assert Allotment.objects.get().key == "demo"


def test_each_scope_has_one_allotment_of_a_mode(browser: Client) -> None:
    add(browser, scope="fleet", key="")
    assert "already exists" in add(browser, scope="fleet", key="", most_dollars="1").lower()
    add(browser, scope="fleet", key="", mode="live")
    assert Allotment.objects.count() == 2


def test_I9_a_change_stands_in_the_audit_with_old_and_new(browser: Client) -> None:
    add(browser, scope="fleet", key="")
    change(browser, Allotment.objects.get(), "80")
    changed = AuditRow.objects.get(action="admin_changed")
    assert changed.subject == "allotment fleet"
    assert changed.detail == {"to": {"most_dollars": "80"}, "was": {"most_dollars": "120.5"}}


@pytest.mark.parametrize(("most_dollars", "is_told"), [("29.99", True), ("30", False)])
def test_who_lowers_it_below_what_is_reserved_is_told(browser: Client, most_dollars: str, is_told: Any) -> None:
    fleet.seed()
    Trader.objects.filter(market_ticker__startswith=EVENT).update(reserved_ud=10_000_000)
    add(browser)
    told = "Its traders have reserved $0.01 more than that" in change(browser, Allotment.objects.get(), most_dollars)
    assert told == is_told
