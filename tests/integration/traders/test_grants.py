from __future__ import annotations

import io
import json
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.management import CommandError, call_command
from django.db import connections
from django.utils import timezone

from feed.kalshi.wire.kinds import Secret
from feed.keys import Vault
from kalshimm.ops.models import AuditRow
from markets.models import Event, Market, Series
from traders import grants
from traders.core.golive import CREDENTIAL, GRANT, INSTALLATION, MODE, START
from traders.core.limits import Limits
from traders.core.risk import reserve_ud
from traders.grants import create_grant, permission, revoke, start_flag, start_live, state_of
from traders.management.commands.traders import BadUsage
from traders.models import Desired, Grant, Mode, Trader
from traders.services import RefusedChange, create_trader, steer, strategy_named

pytestmark = pytest.mark.django_db
NOW = datetime.now(UTC)
MARKET = "HIGH-0-0"


@pytest.fixture(autouse=True)
def installation(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An installation on demo, with KALSHIMM_LIVE=1 and a home of its own."""
    for name in ("KALSHIMM_MASTER_KEY", "KALSHIMM_MASTER_KEY_FILE", "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    settings.KALSHIMM_HOME, settings.KALSHIMM_LIVE, settings.KALSHI_ENV = tmp_path / "home", True, "demo"
    return settings


def a_market(ticker: str = MARKET) -> None:
    series, _ = Series.objects.get_or_create(ticker="HIGH", defaults={"seen_at": NOW})
    event, _ = Event.objects.get_or_create(
        ticker="HIGH-0", defaults={"series": series, "title": "Highest temperature", "seen_at": NOW}
    )
    Market.objects.get_or_create(
        ticker=ticker,
        defaults={
            "event": event, "status": "active", "yes_sub_title": "45° to 46°", "open_time": NOW,
            "close_time": NOW + timedelta(days=9), "price_ranges": [[0, 10_000, 100]], "seen_at": NOW,
        },
    )  # fmt: skip


def a_trader(name: str = "mine", mode: Mode = Mode.LIVE, *, market: str = MARKET, **options: Any) -> Trader:
    a_market(market)
    return create_trader(
        name=name, market_ticker=market, strategy=strategy_named("join-best"), actor="test", mode=mode, **options
    )


def a_key(
    home: Path, *, scopes: tuple[str, ...] = ("read", "write"), environment: str = "demo", account: str = ""
) -> None:
    forms = serialization.PrivateFormat
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, forms.PKCS8, serialization.NoEncryption()).decode()
    vault = Vault(home)
    name = f"key-{len(vault.entries())}"
    sealed = vault.seal(name=name, account=account or environment, environment=environment, key_id="i", pem=Secret(pem))
    vault.keep(msgspec.structs.replace(sealed, scopes=scopes), instead_of=None)


def a_grant(trader: Trader, **options: Any) -> Grant:
    return create_grant(trader, actor="somebody", confirm_name=trader.name, **options)


def codes(trader: Trader) -> set[str]:
    return {one.code for one in permission(trader.pk)[1]}


def run(command: str, *argv: str) -> str:
    out = io.StringIO()
    call_command(command, *argv, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def run_json(command: str, *argv: str) -> Any:
    text = run(command, *argv, "--json")
    assert text.count("\n") == 1, "one document on one line"
    return json.loads(text)


def actions() -> list[str]:
    return list(AuditRow.objects.order_by("id").values_list("action", flat=True))


# Making a live trader


def test_a_live_trader_is_made_by_saying_so_and_stands_still() -> None:
    a_market()
    (row,) = run_json("traders", "create", "mine", "--market", MARKET, "--live")["traders"]
    assert (row["mode"], row["desired"], row["state"]) == ("live", "stopped", "stopped")
    (row,) = run_json("traders", "create", "paper", "--market", MARKET)["traders"]
    assert (row["mode"], row["desired"]) == ("dry-run", "running")
    assert AuditRow.objects.get(subject="mine").detail["mode"] == "live"


# Grants


def test_a_grant_is_for_these_limits_this_account_and_a_day() -> None:
    trader = a_trader()
    Trader.objects.filter(pk=trader.pk).update(limits={"order_cx_most": 500})
    grant = a_grant(trader)
    limits = Limits(order_cx_most=500)
    assert (grant.environment, grant.account, grant.trader_id) == ("demo", "demo", trader.pk)
    assert grant.limits == msgspec.to_builtins(limits), "all of them, also those that nobody set"
    assert grant.worst_loss_ud == reserve_ud(limits)
    assert abs(grant.expires_at - timezone.now() - timedelta(hours=24)) < timedelta(minutes=1)
    assert (grant.started_at, grant.revoked_at, state_of(grant)) == (None, None, "waiting")
    row = AuditRow.objects.get(action="grant.created")
    assert (row.actor, row.subject) == ("somebody", "mine")
    wanted = {"grant": grant.pk, "account": "demo", "market": MARKET, "worst_loss_ud": grant.worst_loss_ud}
    assert wanted.items() <= row.detail.items()
    assert row.detail["limits"]["order_cx_most"] == 500


def test_a_grant_lasts_a_week_at_most() -> None:
    trader = a_trader()
    assert a_grant(trader, expires_in=timedelta(days=7)).expires_at > timezone.now() + timedelta(days=6)
    for lasts in (timedelta(days=7, seconds=1), timedelta(0), timedelta(hours=-1)):
        with pytest.raises(RefusedChange, match="at most 7 days"):
            a_grant(trader, expires_in=lasts)
    assert Grant.objects.count() == 1


@pytest.mark.parametrize("typed", ["", "Mine", "mine2", "yes"])
def test_G2_without_the_very_name_nothing_is_granted(typed: str) -> None:
    trader = a_trader()
    with pytest.raises(RefusedChange, match="nothing is granted"):
        create_grant(trader, actor="somebody", confirm_name=typed)
    assert not Grant.objects.exists()
    assert "grant.created" not in actions()


def test_what_cannot_be_granted_says_why() -> None:
    with pytest.raises(RefusedChange, match="made for dry-run"):
        a_grant(a_trader("paper", Mode.DRY_RUN))
    trader = a_trader()
    Trader.objects.filter(pk=trader.pk).update(limits={"order_cx_most": -1})
    with pytest.raises(RefusedChange, match="order_cx_most"):
        a_grant(trader)
    Trader.objects.filter(pk=trader.pk).update(limits={}, market_ticker="GONE")
    with pytest.raises(RefusedChange, match="no market GONE"):
        a_grant(trader)
    assert not Grant.objects.exists()


def test_only_the_limits_that_were_shown_are_granted() -> None:
    trader = a_trader()
    shown = grants.offer(trader)
    Trader.objects.filter(pk=trader.pk).update(limits={"exposure_ud_most": 900_000_000})
    with pytest.raises(RefusedChange, match="changed meanwhile"):
        a_grant(trader, shown_digest=shown.digest)
    assert a_grant(trader, shown_digest=grants.offer(Trader.objects.get()).digest)


# The four things together


def test_all_four_together_let_a_live_trader_run(installation: Any) -> None:
    trader = a_trader()
    a_key(installation.KALSHIMM_HOME)
    grant = a_grant(trader)
    assert codes(trader) == {START}
    run("traders", "start", "mine", "--live")
    held, lacks = permission(trader.pk)
    assert (held, lacks) == (grant, ())
    assert held is not None
    assert held.started_at is not None
    trader.refresh_from_db()
    assert trader.desired == Desired.RUNNING
    assert actions()[-2:] == ["grant.started", "trader.desired"]


@pytest.mark.parametrize("lacking", ["nothing", INSTALLATION, CREDENTIAL, GRANT])
def test_G2_one_missing_thing_is_named_and_nothing_starts(installation: Any, lacking: str) -> None:
    trader = a_trader()
    if lacking != CREDENTIAL:
        a_key(installation.KALSHIMM_HOME)
    if lacking != GRANT:
        a_grant(trader)
    installation.KALSHIMM_LIVE = lacking != INSTALLATION
    if lacking == "nothing":
        run("traders", "start", "mine", "--live")
        return
    before = actions()
    with pytest.raises(RefusedChange) as caught:
        run("traders", "start", "mine", "--live")
    assert caught.value.exit_code == 1
    named = {code for code in (MODE, INSTALLATION, START, CREDENTIAL, GRANT) if f"[{code}]" in str(caught.value)}
    assert named == {lacking}
    trader.refresh_from_db()
    assert trader.desired == Desired.STOPPED
    assert not Grant.objects.exclude(started_at=None).exists()
    assert actions() == before


def test_G2_everything_that_is_missing_is_named_at_once(installation: Any) -> None:
    a_trader("paper", Mode.DRY_RUN)
    installation.KALSHIMM_LIVE = False
    with pytest.raises(RefusedChange) as caught:
        run("traders", "start", "paper", "--live")
    for code in (MODE, INSTALLATION, CREDENTIAL, GRANT):
        assert f"[{code}]" in str(caught.value)


def test_G2_the_local_exchange_wants_the_same_four(installation: Any) -> None:
    installation.KALSHI_ENV, installation.KALSHIMM_LIVE = "local", False
    assert codes(a_trader()) == {INSTALLATION, START, CREDENTIAL, GRANT}


@pytest.mark.parametrize(
    ("scopes", "environment"),
    [((), "demo"), (("read",), "demo"), (("write::trade",), "demo"), (("read", "write"), "prod")],
)
def test_G2_another_key_is_no_credential(installation: Any, scopes: tuple[str, ...], environment: str) -> None:
    trader = a_trader()
    a_key(installation.KALSHIMM_HOME, scopes=scopes, environment=environment)
    a_grant(trader)
    assert codes(trader) == {START, CREDENTIAL}


def test_a_vault_that_cannot_be_read_is_no_credential_and_says_why(installation: Any) -> None:
    trader = a_running_live_trader(installation)
    (installation.KALSHIMM_HOME / "keys" / "index.json").write_text("{")
    held, (lacks,) = permission(trader.pk)
    assert (held, lacks.code) == (Grant.objects.get(), CREDENTIAL)
    assert "index.json is damaged" in lacks.text


def a_running_live_trader(installation: Any) -> Trader:
    trader = a_trader()
    a_key(installation.KALSHIMM_HOME)
    a_grant(trader)
    start_live([trader], actor="somebody")
    assert codes(trader) == set()
    return trader


@pytest.mark.parametrize(
    "limits",
    [{"order_cx_most": 2_000}, {"price_cc_least": 99}, {"order_cx_most": 1, "daily_loss_ud": 25_000_001}, {"x": 1}],
)
def test_limits_that_allow_anything_more_void_the_grant(installation: Any, limits: dict[str, int]) -> None:
    trader = a_running_live_trader(installation)
    Trader.objects.filter(pk=trader.pk).update(limits=limits)
    assert codes(trader) == {GRANT, START}
    assert state_of(Grant.objects.get()) == "void"
    Trader.objects.filter(pk=trader.pk).update(limits={"order_cx_most": 1_000})  # the default, spelt out
    assert codes(trader) == set()


def test_lowered_limits_are_within_the_grant(installation: Any) -> None:
    trader = a_running_live_trader(installation)
    Trader.objects.filter(pk=trader.pk).update(limits={"order_cx_most": 1, "daily_loss_ud": 1, "price_cc_least": 200})
    assert codes(trader) == set()
    assert state_of(Grant.objects.get()) == "started"


def test_lowered_limits_void_a_grant_that_did_not_ask_about_each_of_them(installation: Any) -> None:
    """As one that an earlier version made: of a limit that is new since, nobody was shown anything."""
    trader = a_running_live_trader(installation)
    kept = msgspec.to_builtins(Limits())
    del kept["waits_for_outsiders"]
    Grant.objects.update(limits=kept)
    Trader.objects.filter(pk=trader.pk).update(limits={"order_cx_most": 1})
    assert codes(trader) == {GRANT, START}


def test_G2_a_changed_environment_voids_the_grant(installation: Any) -> None:
    trader = a_running_live_trader(installation)
    installation.KALSHI_ENV = "prod"
    assert codes(trader) == {GRANT, START, CREDENTIAL}
    assert "for account demo in demo, here it would be demo in prod" in grants.told(permission(trader.pk)[1])


def test_a_revoked_grant_holds_no_more_and_is_revoked_once(installation: Any) -> None:
    trader = a_running_live_trader(installation)
    grant = Grant.objects.get()
    assert revoke(grant, actor="other")
    assert not revoke(grant, actor="third")
    grant.refresh_from_db()
    assert (grant.revoked_by, state_of(grant)) == ("other", "revoked")
    assert codes(trader) == {GRANT, START}
    assert actions().count("grant.revoked") == 1


def test_a_grant_that_is_over_holds_no_more(installation: Any) -> None:
    trader = a_running_live_trader(installation)
    Grant.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert codes(trader) == {GRANT, START}
    assert state_of(Grant.objects.get()) == "expired"


def test_a_trader_that_was_deleted_may_nothing() -> None:
    held, lacks = permission(4_711)
    assert held is None
    assert [one.code for one in lacks] == ["trader"]


def test_a_newer_grant_takes_over_once_somebody_starts_under_it(installation: Any) -> None:
    trader = a_running_live_trader(installation)
    old = Grant.objects.get()
    newer = a_grant(trader, expires_in=timedelta(days=2))
    assert permission(trader.pk)[0] == old, "nobody has started under the newer one"
    assert start_flag(trader, actor="somebody") == newer
    assert permission(trader.pk)[0] == newer
    revoke(newer, actor="somebody")
    assert permission(trader.pk)[0] == old


def test_the_start_flag_is_set_once(installation: Any) -> None:
    trader = a_running_live_trader(installation)
    first = Grant.objects.get().started_at
    start_live([trader], actor="another")
    assert Grant.objects.get().started_at == first
    assert actions().count("grant.started") == 1
    assert actions().count("trader.desired") == 1


# Starting


def test_G2_of_several_either_all_start_live_or_none(installation: Any) -> None:
    first, second = a_trader("first"), a_trader("second", market="HIGH-0-1")
    a_key(installation.KALSHIMM_HOME)
    a_grant(first)
    with pytest.raises(RefusedChange, match="Trader second does not go live"):
        run("traders", "start", "first", "second", "--live")
    assert not Trader.objects.filter(desired="running").exists()
    a_grant(second)
    assert len(run_json("traders", "start", "first", "second", "--live")["traders"]) == 2
    assert Trader.objects.filter(desired="running").count() == 2


@pytest.mark.parametrize("trades", [{"desired": Desired.PAUSED}, {"pid": 4_242}, {"group_id": "group-1"}])
def test_two_live_traders_of_one_market_and_account_are_refused(installation: Any, trades: dict[str, Any]) -> None:
    first, second = a_trader("first"), a_trader("second")
    a_key(installation.KALSHIMM_HOME)
    for trader in (first, second):
        a_grant(trader)
    Trader.objects.filter(pk=first.pk).update(**trades)
    for start_it in (start_live, grants.start):
        with pytest.raises(RefusedChange, match="second does not go live: first trades HIGH-0-0"):
            start_it([second], actor="somebody")
    Trader.objects.filter(pk=first.pk).update(desired=Desired.STOPPED, pid=None, group_id="")
    with pytest.raises(RefusedChange, match="second does not go live: first trades HIGH-0-0"):
        start_live([first, second], actor="somebody")
    assert start_live([second], actor="somebody") == [second]
    a_paper_one = a_trader("paper", Mode.DRY_RUN, desired=Desired.STOPPED)
    assert grants.start([a_paper_one], actor="somebody") == [a_paper_one], "on paper there may be any number"


@pytest.mark.django_db(transaction=True)
def test_G3_of_two_live_traders_of_one_market_that_start_at_once_one_does(installation: Any) -> None:
    pair = [a_trader("first"), a_trader("second")]
    a_key(installation.KALSHIMM_HOME)
    for trader in pair:
        a_grant(trader)
    together, refused = threading.Barrier(2), []

    def click(trader: Trader) -> None:
        together.wait()
        try:
            start_live([trader], actor="somebody")
        except RefusedChange as exc:
            refused.append(str(exc))
        connections.close_all()

    threads = [threading.Thread(target=click, args=(trader,)) for trader in pair]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1
    assert Trader.objects.filter(desired="running").count() == 1


def test_G2_a_plain_start_is_no_start_flag(installation: Any) -> None:
    trader = a_trader()
    a_key(installation.KALSHIMM_HOME)
    a_grant(trader)
    with pytest.raises(RefusedChange, match=r"\[start_flag\] .*traders start --live mine"):
        run("traders", "start", "mine")
    trader.refresh_from_db()
    assert trader.desired == Desired.STOPPED


def test_under_a_started_grant_a_stopped_trader_starts_plainly(installation: Any) -> None:
    trader = a_running_live_trader(installation)
    run("traders", "stop", "mine")
    (row,) = run_json("traders", "start", "mine")["traders"]
    assert (row["desired"], row["mode"]) == ("running", "live")
    run("traders", "stop", "mine")
    revoke(Grant.objects.get(), actor="somebody")
    with pytest.raises(RefusedChange, match=r"\[grant\]"):
        run("traders", "start", "mine")
    trader.refresh_from_db()
    assert trader.desired == Desired.STOPPED


@pytest.mark.parametrize("whom", [("--all",), ("--event", "HIGH-0")])
def test_G2_a_start_of_many_leaves_out_who_has_no_started_grant_and_says_so(
    installation: Any, whom: tuple[str, ...]
) -> None:
    a_key(installation.KALSHIMM_HOME)
    a_trader("paper", Mode.DRY_RUN, desired=Desired.STOPPED)
    started, waiting, _ = (a_trader(name, market=f"HIGH-0-{name}") for name in ("started", "waiting", "bare"))
    for trader in (started, waiting):
        a_grant(trader)
    start_live([started], actor="somebody")
    steer([started], "stop", actor="somebody")
    out, told = io.StringIO(), io.StringIO()
    call_command("traders", "start", *whom, "--json", stdout=out, stderr=told)
    assert {row["name"] for row in json.loads(out.getvalue())["traders"]} == {"paper", "started"}
    running = Trader.objects.filter(desired="running").values_list("name", flat=True)
    assert set(running) == {"paper", "started"}
    skipped = {line.split()[1].rstrip(":"): line for line in told.getvalue().splitlines() if line.startswith("skipped")}
    assert skipped.keys() == {"waiting", "bare"}
    assert "[start_flag]" in skipped["waiting"]
    assert "[grant]" in skipped["bare"]


@pytest.mark.parametrize("whom", [("--all",), ("--event", "HIGH-0"), ()])
def test_G2_nobody_goes_live_without_being_named(installation: Any, whom: tuple[str, ...]) -> None:
    trader = a_trader()
    a_key(installation.KALSHIMM_HOME)
    a_grant(trader)
    with pytest.raises(BadUsage, match="named one by one"):
        run("traders", "start", *whom, "--live")
    assert not Trader.objects.filter(desired="running").exists()


def test_G2_who_does_not_look_at_permissions_starts_no_live_trader(installation: Any) -> None:
    trader = a_running_live_trader(installation)
    steer([trader], "stop", actor="somebody")
    with pytest.raises(RefusedChange, match="is live"):
        steer([trader], "start", actor="somebody")
    trader.refresh_from_db()
    assert trader.desired == Desired.STOPPED


def test_a_running_live_trader_is_paused_resumed_and_stopped_as_any_other(installation: Any) -> None:
    trader = a_running_live_trader(installation)
    for verb, desired in (("pause", "paused"), ("resume", "running"), ("flatten", "flat"), ("stop", "stopped")):
        run("traders", verb, "mine")
        trader.refresh_from_db()
        assert trader.desired == desired


@pytest.mark.django_db(transaction=True)
def test_G3_two_who_start_at_once_start_once(installation: Any) -> None:
    trader = a_trader()
    a_key(installation.KALSHIMM_HOME)
    a_grant(trader)
    together, started = threading.Barrier(2), []

    def click() -> None:
        together.wait()
        started.extend(start_live([trader], actor="somebody"))
        connections.close_all()

    threads = [threading.Thread(target=click) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert started == [trader, trader], "both see it done"
    assert (actions().count("grant.started"), actions().count("trader.desired")) == (1, 1)


# The command


def test_the_command_restates_everything_before_it_grants() -> None:
    trader = a_trader()
    Trader.objects.filter(pk=trader.pk).update(limits={"exposure_ud_most": 40_000_000, "drawdown_ud": 15_000_000})
    text = run("grants", "create", "mine", "--confirm", "mine", "--hours", "3")
    worst = "$40.00 at stake at once, besides up to $15.00 lost before on each day; fees come on top"
    for word in ("demo", MARKET, "Highest temperature · 45° to 46°", "join-best", worst, "until"):
        assert word in text
    for name in Limits.__struct_fields__:
        assert name in text
    assert "10 contracts" in text
    assert "traders start --live mine" in text
    grant = Grant.objects.get()
    assert abs(grant.expires_at - timezone.now() - timedelta(hours=3)) < timedelta(minutes=1)
    assert grant.granted_by.startswith("cli:")


def test_a_grant_is_told_to_scripts_as_one_document() -> None:
    a_trader()
    told = run_json("grants", "create", "mine", "--confirm", "mine")["grant"]
    wanted = {"trader": "mine", "market": MARKET, "environment": "demo", "account": "demo", "state": "waiting"}
    assert wanted.items() <= told.items()
    assert told["limits"] == msgspec.to_builtins(Limits())
    assert run_json("grants", "list") == {"grants": [told]}
    line = run("grants", "list").splitlines()[1].split()
    assert line[:5] == [str(told["id"]), "mine", "waiting", "demo", "demo"]


@pytest.mark.parametrize("argv", [(), ("--confirm", "other"), ("--confirm", "")])
def test_G2_a_script_that_does_not_name_the_trader_gets_no_grant(argv: tuple[str, ...]) -> None:
    a_trader()
    with pytest.raises(RefusedChange) as caught:
        run("grants", "create", "mine", *argv)
    assert caught.value.exit_code == 1
    assert not Grant.objects.exists()


class Terminal(io.StringIO):
    """Standard input where somebody sits."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("typed", "is_granted"), [("mine\n", True), ("\n", False), ("", False), ("y\n", False)])
def test_a_person_types_the_name(monkeypatch: pytest.MonkeyPatch, typed: str, is_granted: bool) -> None:
    a_trader()
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    if is_granted:
        assert "Type the trader's name" in run("grants", "create", "mine")
    else:
        with pytest.raises(RefusedChange, match="nothing is granted"):
            run("grants", "create", "mine")
    assert Grant.objects.exists() is is_granted


@pytest.mark.parametrize("hours", ["0", "169", "-1", "1.5", "many"])
def test_hours_that_are_none_are_bad_usage(hours: str) -> None:
    a_trader()
    with pytest.raises(CommandError, match="no number of hours from 1 to 168"):
        run("grants", "create", "mine", "--confirm", "mine", f"--hours={hours}")


def test_a_grant_is_revoked_by_its_number_and_all_of_a_trader_by_its_name() -> None:
    trader = a_trader()
    first, second, third = (a_grant(trader) for _ in range(3))
    (row,) = run_json("grants", "revoke", str(first.pk))["grants"]
    assert (row["id"], row["state"]) == (first.pk, "revoked")
    with pytest.raises(RefusedChange, match="ended before"):
        run("grants", "revoke", str(first.pk))
    assert {row["id"] for row in run_json("grants", "revoke", "mine")["grants"]} == {second.pk, third.pk}
    with pytest.raises(RefusedChange, match="no grant nobody"):
        run("grants", "revoke", "nobody")
