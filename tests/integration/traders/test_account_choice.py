"""On which account a live trader trades: named, the only one there is, or refused; and what hangs on it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from test_allotments import DOLLAR, allotted
from test_grants import MARKET, a_grant, a_market, a_trader, codes, run, run_json

from feed.kalshi.wire.kinds import Secret
from feed.keys import Vault
from feed.models import Settlement
from kalshimm.ops.models import AuditRow
from traders import grants, killnotes, killswitch
from traders.accounts import NoSuchAccount, account_of, chosen_account, known_accounts
from traders.allotments import ReservationRefused, held_ud, reserve, reserved_ud
from traders.core.golive import CREDENTIAL, GRANT, START
from traders.core.kills import ACCOUNT, Kill
from traders.fleet import read_wanted
from traders.models import Allotment, Desired, Fill, Grant, Mode, Trader
from traders.services import RefusedChange, create_for_event

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def installation(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in ("KALSHIMM_MASTER_KEY", "KALSHIMM_MASTER_KEY_FILE", "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    settings.KALSHIMM_HOME, settings.KALSHIMM_LIVE, settings.KALSHI_ENV = tmp_path / "home", True, "demo"
    settings.KALSHI_KEY_ID = ""
    return settings


def a_key(installation: Any, account: str, environment: str = "demo") -> None:
    key, forms, vault = Ed25519PrivateKey.generate(), serialization.PrivateFormat, Vault(installation.KALSHIMM_HOME)
    pem = key.private_bytes(serialization.Encoding.PEM, forms.PKCS8, serialization.NoEncryption()).decode()
    name = f"key-{len(vault.entries())}"
    sealed = vault.seal(name=name, account=account, environment=environment, key_id="i", pem=Secret(pem))
    vault.keep(msgspec.structs.replace(sealed, scopes=("read", "write")), instead_of=None)


def started(trader: Trader) -> Trader:
    a_grant(trader)
    grants.start_live([trader], actor="somebody")
    return trader


# Which one


def test_the_only_account_need_not_be_named(installation: Any) -> None:
    assert known_accounts() == ["demo"]
    assert a_trader("first").account == "demo"
    a_key(installation, "main")
    a_key(installation, "real", "prod")
    assert known_accounts() == ["main"]
    trader = a_trader("second")
    assert trader.account == "main"
    assert codes(started(trader)) == set()
    assert Grant.objects.get().account == "main"
    assert AuditRow.objects.get(action="grant.created").detail["account"] == "main"


def test_of_several_one_must_be_named(installation: Any) -> None:
    a_market()
    for account in ("b", "a"):
        a_key(installation, account)
    with pytest.raises(NoSuchAccount, match="several accounts, and none is named: say --account with one of a, b"):
        run("traders", "create", "mine", "--live", "--market", MARKET)
    with pytest.raises(NoSuchAccount, match="demo has no account 'c' here; known: a, b"):
        run("traders", "create", "mine", "--live", "--market", MARKET, "--account", "c")
    assert not Trader.objects.exists()
    argv = ("--live", "--market", MARKET, "--account", "b", "--subaccount", "3")
    (row,) = run_json("traders", "create", "mine", *argv)["traders"]
    assert (row["account"], row["subaccount"]) == ("b", 3)
    (row,) = run_json("traders", "create", "paper", "--market", MARKET)["traders"]
    assert (row["account"], row["subaccount"]) == ("paper", None)


def test_the_key_of_the_settings_is_an_account_too(installation: Any) -> None:
    a_key(installation, "main")
    installation.KALSHI_KEY_ID = "read-only"
    assert known_accounts() == ["demo", "main"]


def test_a_dry_run_trader_has_no_account() -> None:
    for argv in (("--account", "demo"), ("--subaccount", "1")):
        a_market()
        with pytest.raises(RefusedChange, match="go with --live"):
            run("traders", "create", "mine", "--market", MARKET, *argv)


@pytest.mark.parametrize("number", ["64", "-1", "one"])
def test_there_are_64_subaccounts(number: str) -> None:
    with pytest.raises(Exception, match="subaccount"):
        run("traders", "create", "mine", "--live", "--market", MARKET, "--subaccount", number)


def test_a_trader_of_before_accounts_had_names_trades_on_that_of_the_environment(installation: Any) -> None:
    trader = a_trader()
    Trader.objects.update(account="")
    trader.refresh_from_db()
    a_key(installation, "demo")
    assert account_of(trader) == "demo"
    assert codes(started(trader)) == set()


# What hangs on it


def test_another_account_or_subaccount_voids_the_grant(installation: Any) -> None:
    for account in ("a", "b"):
        a_key(installation, account)
    trader = started(a_trader(account="a", subaccount=2))
    assert codes(trader) == set()
    for change in ({"account": "b"}, {"subaccount": 3}, {"subaccount": None}):
        Trader.objects.filter(pk=trader.pk).update(**({"account": "a", "subaccount": 2} | change))
        assert codes(trader) == {GRANT, START}
        assert "the grant is for account a subaccount 2 in demo" in grants.told(grants.permission(trader.pk)[1])
    Trader.objects.filter(pk=trader.pk).update(account="a", subaccount=2)
    assert codes(trader) == set()


def test_the_lease_is_where_the_grant_was_started(installation: Any) -> None:
    for account in ("a", "b"):
        a_key(installation, account)
    trader = started(a_trader(account="a", subaccount=2))
    Trader.objects.filter(pk=trader.pk).update(account="b", subaccount=None)
    (wanted,) = read_wanted([])
    assert wanted.live is not None
    assert (wanted.live.environment, wanted.live.account, wanted.live.subaccount) == ("demo", "a", 2)
    assert wanted.live.missing, "and it does not run there either"


def test_no_grant_is_given_for_an_account_of_another_environment(installation: Any) -> None:
    a_key(installation, "main")
    trader = a_trader()
    installation.KALSHI_ENV = "prod"
    with pytest.raises(RefusedChange, match="account main is of demo, and KALSHI_ENV is prod"):
        a_grant(trader)
    a_key(installation, "real", "prod")
    with pytest.raises(RefusedChange, match="account main is of demo"):
        a_grant(trader)
    assert chosen_account("") == "real"


def test_a_trader_of_another_environment_does_not_start_and_says_so(installation: Any) -> None:
    a_key(installation, "main")
    trader = started(a_trader())
    a_key(installation, "real", "prod")
    installation.KALSHI_ENV = "prod"
    assert codes(trader) == {GRANT, START, CREDENTIAL}
    told = grants.told(grants.permission(trader.pk)[1])
    assert "for account main in demo, here it would be main in prod" in told
    assert "the vault has no key of account main in prod" in told


def test_two_accounts_may_trade_one_market_and_two_subaccounts_may_not(installation: Any) -> None:
    for account in ("a", "b"):
        a_key(installation, account)
    first = started(a_trader("first", account="a"))
    assert codes(started(a_trader("second", account="b"))) == set()
    for subaccount in (None, 4):
        third = a_trader(f"third-{subaccount or 0}", account="a", subaccount=subaccount)
        a_grant(third)
        with pytest.raises(RefusedChange, match=f"{first.name} trades {MARKET} on the same account"):
            grants.start_live([third], actor="somebody")


def test_an_event_gets_a_trader_of_each_account(installation: Any) -> None:
    for account in ("a", "b"):
        a_key(installation, account)
    only = a_trader("first", account="a")
    options: dict[str, Any] = {"strategy": only.strategy, "actor": "test", "mode": Mode.LIVE}
    assert create_for_event("HIGH-0", account="a", **options) == []
    (made,) = create_for_event("HIGH-0", account="b", subaccount=1, **options)
    assert (made.account, made.subaccount) == ("b", 1)


def test_what_is_allotted_to_an_account_is_its_traders_alone(installation: Any) -> None:
    for account in ("a", "b"):
        a_key(installation, account)
    first, second = (a_trader(name, account=name) for name in ("a", "b"))
    for account, dollars in (("a", 10), ("b", 20)):
        Allotment.objects.create(scope="account", key=account, mode="live", most_ud=dollars * DOLLAR)
    allotted("account", "paper", 1)
    assert [one.name for one in reserve(first.pk, 10 * DOLLAR)] == ["account a"]
    assert [(one.name, one.used_ud) for one in reserve(second.pk, 20 * DOLLAR)] == [("account b", 0)]
    with pytest.raises(ReservationRefused, match="account b"):
        reserve(second.pk, 20 * DOLLAR + 1)
    assert [reserved_ud(row) for row in Allotment.objects.filter(mode="live").order_by("key")] == [
        10 * DOLLAR,
        20 * DOLLAR,
    ]


def test_a_settlement_of_another_account_or_subaccount_gives_nothing_back(installation: Any) -> None:
    for account in ("a", "b"):
        a_key(installation, account)
    trader = a_trader(account="a", subaccount=2)
    now = datetime.now(UTC)
    Fill.objects.create(
        account="a", order_id="o", trade_id="t", client_order_id="c", trader=trader, ticker=MARKET, mode="live", side=0,
        price_cc=4_000, count_cx=100, is_taker=False, time=now,
    )  # fmt: skip
    for account, subaccount, left_ud in (("b", 2, 400_000), ("a", 0, 400_000), ("a", 2, 0)):
        Settlement.objects.create(
            account=account, ticker=MARKET, subaccount=subaccount, result="yes", yes_cx=0, yes_cost_ud=0, no_cx=0,
            no_cost_ud=0, revenue_ud=0, fee_ud=0, settled_at=now, told_at=now,
        )  # fmt: skip
        assert held_ud(trader) == left_ud


def test_G1_a_kill_of_an_account_pauses_its_traders_alone(installation: Any) -> None:
    for account in ("a", "b"):
        a_key(installation, account)
    first, second = (started(a_trader(name, account=name)) for name in ("a", "b"))
    killswitch.throw(installation.KALSHIMM_HOME, Kill(kind=ACCOUNT, key="a", by="cli:tester", at_us=1))
    killnotes.settle(installation.KALSHIMM_HOME)
    desired = dict(Trader.objects.values_list("pk", "desired"))
    assert desired == {first.pk: Desired.PAUSED, second.pk: Desired.RUNNING}
