"""Switch one protection of orders off, and a named test turns red (as test_protections does for what is fed).

    dedupe of fills      LiveOrder.booked: a fill that is told twice counts once
    send once            Calls.unsent: an intent that left, or was answered, is not sent again
    journal first        Sender._is_durable: nothing leaves before its intent is on the disk
    the margin           settling.MARGIN_US: a read that is too fresh after a request does not prove its absence,
                         takeover.MARGIN_US: and does not prove that nothing rests
    cancel reserve       limiter._charge: the last part of a bucket is for cancels
    group trigger        _Taking._trigger: the old group takes no order any more; _pull: what rests of it is taken off
    the four things      golive.missing: a live trader starts only with all of them
    grant at the venue   Venue._must_be_granted: the last look before an order leaves
    epoch                leases.next_epoch: each start of a live trader is under a lease of its own
    fence                livestarts.take_over: and behind the trigger of the group before
    beat                 FleetLine.is_silent: who is not heard is pulled
    grant                LiveStarts.why_not: who lacks one of the four things is stopped
    no way out           a paper trader's process does not import what could send

Each named test runs twice here, in this process: with everything intact, and with the one thing replaced. Allotments
have their place in test_protections.
"""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest

from tests.fixtures.virtualtime import VirtualLoop
from traders.processes import stop_all

ROOT = Path(__file__).resolve().parents[2]
RED = (AssertionError, ValueError, pytest.fail.Exception)  # the last: what should have been refused was not
STOPPED_S = 5.0
SWITCHED = [pytest.param(False, id="intact"), pytest.param(True, id="switched off")]


@dataclass(frozen=True)
class Protection:
    """A thing that protects, what stands in for it, and the test that must notice."""

    name: str
    target: str
    replacement: Any
    file: str
    test: str
    arguments: dict[str, Any] = field(default_factory=dict)

    def named_test(self, monkeypatch: pytest.MonkeyPatch, *, is_off: bool) -> Callable[..., Any]:
        """Return the test from a module of its own, which was imported with the protection as it shall be."""
        if is_off:
            monkeypatch.setattr(self.target, self.replacement)
        path = ROOT / self.file
        monkeypatch.syspath_prepend(path.parent)  # for what stands beside it
        spec = importlib.util.spec_from_file_location(f"sabotaged_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found: Callable[..., Any] = getattr(module, self.test)
        return found

    def run(self, monkeypatch: pytest.MonkeyPatch, *, is_off: bool, **more: Any) -> None:
        """Run it, on virtual time if it is one that waits; fail unless it is red exactly when the protection is off."""
        named_test = self.named_test(monkeypatch, is_off=is_off)

        def run() -> None:
            result = named_test(**self.arguments, **more)
            if inspect.iscoroutine(result):
                on_virtual_time(result)

        if not is_off:
            run()
            return
        with pytest.raises((*RED, BaseExceptionGroup)) as caught:
            run()
        assert is_red(caught.value), repr(caught.value)


def on_virtual_time(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(work)


def is_red(error: BaseException) -> bool:
    """Return whether a test has failed, and did not merely break."""
    if isinstance(error, BaseExceptionGroup):
        return any(map(is_red, error.exceptions))
    return isinstance(error, RED)


def each(protections: list[Protection]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    def mark(test: Callable[..., None]) -> Callable[..., None]:
        test = pytest.mark.parametrize("is_off", SWITCHED)(test)
        return pytest.mark.parametrize("protection", protections, ids=lambda one: one.name)(test)

    return mark


# ---- what stands in for each -----------------------------------------------------------------------------------------


def book_it_again(order: Any, trade_id: str, count_cx: int, order_id: str) -> Any:
    existing = order._existing(order_id)
    trades = existing.trades | {trade_id}
    return msgspec.structs.replace(existing, booked_cx=existing.booked_cx + count_cx, trades=trades).counted()


def send_it_again(calls: Any, number: int) -> Any:
    return calls._open[number].intent


async def wait_for_no_disk(_sender: object, _batch: object) -> bool:
    return True


def leave_no_reserve(bucket: str, rate: Any, unit_ut: int, ask: Any, _floor_percent: int) -> Any:
    from feed.kalshi.limiter import TOKEN_UT, Charge

    return Charge(bucket, rate.refill, rate.capacity * TOKEN_UT, unit_ut, ask.items, 0, is_held_back=True)


async def trigger_nothing(taking: Any, group_id: str) -> None:
    taking._triggered.append(group_id)
    taking._changed_us = taking._venue_us()


async def pull_nothing(taking: Any, *, before_epoch: int | None = None) -> Any:
    del before_epoch
    from traders.takeover import Pulled

    return Pulled(triggered=(), gone=(), canceled=(), as_of_us=taking._venue_us())


def the_same_epoch(trader: int, *, above: int = 0) -> tuple[int, str]:
    from traders.models import Trader

    row = Trader.objects.get(pk=trader)
    row.lease_epoch = max(row.lease_epoch, above, 1)
    row.save(update_fields=["lease_epoch"])
    return row.lease_epoch, row.group_id


async def begin_beside_the_old(rest: Any, lease: Any, *, clock: Any) -> Any:
    from traders.takeover import Fence, Pulled

    made = await rest.groups.create(lease.limit_cx, exchange_index=lease.exchange_index, subaccount=lease.subaccount)
    return Fence(
        group_id=made.order_group_id, pulled=Pulled(triggered=(), gone=(), canceled=(), as_of_us=clock.wall_us())
    )


def nothing_is_missing(_facts: object) -> tuple[()]:
    return ()


def always_granted(_venue: object) -> None:
    return


# ---- values, and a sender on virtual time ----------------------------------------------------------------------------

LIVE_ORDERS = "tests/unit/traders/core/test_live_orders.py"
SENDING = "tests/unit/traders/brokers/test_sending.py"
ALONE = [
    Protection(
        "dedupe of fills",
        "traders.core.liveorder.LiveOrder.booked",
        book_it_again,
        LIVE_ORDERS,
        "test_B15_the_same_fill_by_channel_and_by_poll_is_booked_once",
    ),
    Protection(
        "send once",
        "traders.core.livecalls.Calls.unsent",
        send_it_again,
        LIVE_ORDERS,
        "test_an_intent_is_sent_once_and_never_again",
    ),
    Protection(
        "journal before a new order",
        "traders.brokers.sending.Sender._is_durable",
        wait_for_no_disk,
        SENDING,
        "test_C1_a_new_order_leaves_only_when_its_intent_is_durable",
    ),
    Protection(
        "journal before a change",
        "traders.brokers.sending.Sender._is_durable",
        wait_for_no_disk,
        SENDING,
        "test_changes_wait_for_the_disk_as_new_orders_do",
    ),
    Protection(
        "margin of a look",
        "traders.core.settling.MARGIN_US",
        0,
        "tests/unit/traders/core/test_live_unknown.py",
        "test_C2_a_miss_while_the_request_may_yet_arrive_proves_nothing",
    ),
    Protection(
        "cancel reserve",
        "feed.kalshi.limiter._charge",
        leave_no_reserve,
        "tests/unit/feed/kalshi/test_limiter.py",
        "test_I10_creates_never_touch_the_reserve_of_cancels",
    ),
    Protection(
        "kill before each order",
        "traders.brokers.gate.Gate._why_nothing",
        lambda _gate, _now_us: "",
        "tests/unit/traders/brokers/test_gate.py",
        "test_G1_a_kill_while_an_order_waits_for_the_disk_keeps_it_back",
    ),
    Protection(
        "proof newer than the kill",
        "traders.killing.Carrying._note_change",
        lambda _carrying: None,
        "tests/unit/traders/brokers/test_kill_proof.py",
        "test_C4_a_reading_from_before_the_kill_proves_nothing",
    ),
]


@each(ALONE)
def test_a_protection_of_orders_that_is_off_is_noticed(
    protection: Protection, is_off: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    protection.run(monkeypatch, is_off=is_off)


# ---- takeovers, at a local exchange ----------------------------------------------------------------------------------

TAKEOVER = "tests/integration/traders/test_takeover.py"
TAKEN_OVER = [
    Protection(
        "group trigger",
        "traders.takeover._Taking._trigger",
        trigger_nothing,
        TAKEOVER,
        "test_A4_a_thawed_owner_is_refused_by_its_triggered_group",
    ),
    Protection(
        "pull of the old lease",
        "traders.takeover._Taking._pull",
        pull_nothing,
        TAKEOVER,
        "test_A1_what_rests_of_the_old_lease_is_gone_before_the_new_group_is_there",
    ),
    Protection(
        "margin of a takeover",
        "traders.takeover.MARGIN_US",
        0,
        TAKEOVER,
        "test_E1_nothing_is_believed_before_reads_are_newer_than_the_trigger_and_its_margin",
        {"is_slow": False},
    ),
]


@each(TAKEN_OVER)
def test_a_protection_of_a_takeover_that_is_off_is_noticed(
    protection: Protection, is_off: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    named_test = protection.named_test(monkeypatch, is_off=is_off)
    grounds = sys.modules["liveground"]
    clock = grounds.LeapingClock()
    more = {"clock": clock} if "clock" in inspect.signature(named_test).parameters else {}

    async def run() -> None:
        async with grounds.ground(tmp_path, clock) as venue:
            await named_test(venue, **more, **protection.arguments)

    if not is_off:
        asyncio.run(run())
        return
    with pytest.raises(RED):
        asyncio.run(run())


# ---- the supervisor of live traders, at a local exchange and with stand-ins for traders ------------------------------

LIVE_STARTS = "tests/integration/traders/test_live_starts.py"
DIES = "test_A1_a_killed_trader_starts_anew_once_nothing_of_its_lease_rests"
SUPERVISED = [
    Protection("epoch", "traders.leases.next_epoch", the_same_epoch, LIVE_STARTS, DIES),
    Protection("fence", "traders.livestarts.take_over", begin_beside_the_old, LIVE_STARTS, DIES),
    Protection(
        "beat",
        "traders.fleetline.FleetLine.is_silent",
        lambda _line, _heard_us: False,
        LIVE_STARTS,
        "test_A4_a_frozen_trader_is_pulled_and_starts_anew_once_it_wakes",
    ),
    Protection(
        "grant",
        "traders.livestarts.LiveStarts.why_not",
        lambda _starts, _wanted: "",
        LIVE_STARTS,
        "test_one_that_loses_its_permission_is_stopped_pulled_and_says_why",
    ),
]
NOTICED_S = 8.0


@pytest.mark.long
@pytest.mark.django_db(transaction=True)
@each(SUPERVISED)
def test_a_protection_of_the_supervisors_that_is_off_is_noticed(
    protection: Protection,
    is_off: bool,
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
    redis_url: str,
    redis_client: object,
) -> None:
    named_test = protection.named_test(monkeypatch, is_off=is_off)
    words = named_test.__globals__
    if is_off:
        eventually = words["eventually"]
        monkeypatch.setitem(
            words,
            "eventually",
            lambda condition, what, *, within_s=NOTICED_S: eventually(
                condition, what, within_s=min(within_s, NOTICED_S)
            ),
        )
    for name in ("KALSHIMM_MASTER_KEY", "KALSHIMM_MASTER_KEY_FILE", "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("traders.takeover.MARGIN_US", 100_000)
    with TemporaryDirectory(prefix="kmm-") as folder:  # short enough for a socket
        home = Path(folder)
        settings.KALSHIMM_HOME, settings.KALSHIMM_LIVE, settings.KALSHI_ENV = home, True, "local"
        fleet = words["LiveFleet"](home, redis_url)
        try:
            settings.KALSHI_REST_URL, settings.KALSHI_WS_URL = fleet.venue.ready.rest, fleet.venue.ready.ws
            words["a_market"](words["TICKER"])
            fleet.add_key()
            fleet.spawn()
            fleet.supervise()
            if is_off:
                with pytest.raises(RED):
                    named_test(fleet)
            else:
                named_test(fleet)
        finally:
            fleet.close()
            stop_all(home, STOPPED_S)


# ---- the dry-run guard -----------------------------------------------------------------------------------------------


@each(
    [
        Protection(
            "grant at the venue",
            "traders.brokers.venue.Venue._must_be_granted",
            always_granted,
            "tests/integration/traders/live/test_orders_under_pressure.py",
            "test_nothing_new_leaves_without_a_grant_that_runs",
        )
    ]
)
def test_a_venue_that_does_not_look_at_its_grant_is_noticed(
    protection: Protection, is_off: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    protection.run(monkeypatch, is_off=is_off, key_dir=tmp_path)


FOUR_THINGS = [
    Protection(
        f"the four things: {lacking}",
        "traders.grants.missing",  # as whoever starts knows it
        nothing_is_missing,
        "tests/integration/traders/test_grants.py",
        "test_G2_one_missing_thing_is_named_and_nothing_starts",
        {"lacking": lacking},
    )
    for lacking in ("installation_flag", "credential")
]


@pytest.mark.django_db
@each(FOUR_THINGS)
def test_a_start_that_does_not_look_for_the_four_things_is_noticed(
    protection: Protection, is_off: bool, monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path
) -> None:
    for name in ("KALSHIMM_MASTER_KEY", "KALSHIMM_MASTER_KEY_FILE", "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    settings.KALSHIMM_HOME, settings.KALSHIMM_LIVE, settings.KALSHI_ENV = tmp_path / "home", True, "demo"
    protection.run(monkeypatch, is_off=is_off, installation=settings)


# ---- no way out of a paper trader's process --------------------------------------------------------------------------

CONTRACT = "A paper trader's process has no way to the exchange"
WAYS_OUT = {
    "intact": ("traders/process.py", ""),
    "its broker knows the live one": ("traders/brokers/paper.py", "import traders.brokers.live\n"),
    "it loads the live side": ("traders/process.py", "import traders.liveside\n"),
    "it opens connections": ("traders/engine.py", "import aiohttp\n"),
    "it reads keys": ("traders/start.py", "import feed.keys\n"),
}


@pytest.mark.parametrize("way", WAYS_OUT)
def test_a_way_out_of_a_paper_traders_process_is_noticed(way: str, tmp_path: Path) -> None:
    """Check the one contract of pyproject.toml on a copy of the code."""
    linted = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    contracts = linted.pop("contracts")
    (contract,) = [one for one in contracts if one["name"] == CONTRACT]
    for package in linted["root_packages"]:
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "migrations", "static")
        )
    path, line = WAYS_OUT[way]
    code = tmp_path / path
    code.write_text(code.read_text() + line)
    (tmp_path / ".importlinter").write_text(_as_ini(linted, contract))
    lint = Path(sys.executable).parent / "lint-imports"
    run = subprocess.run([lint, "--no-cache"], cwd=tmp_path, capture_output=True, text=True, check=False)
    is_kept = f"{CONTRACT} KEPT" in run.stdout
    assert (run.returncode == 0) is is_kept is (way == "intact"), run.stdout + run.stderr
    assert is_kept or f"{CONTRACT} BROKEN" in run.stdout, run.stdout + run.stderr


def _as_ini(linted: dict[str, Any], contract: dict[str, Any]) -> str:
    """Return the settings of the linter, and one contract."""
    sections = {"importlinter": linted, "importlinter:contract:one": contract}
    lines = []
    for name, values in sections.items():
        lines.append(f"[{name}]")
        for key, value in values.items():
            listed = isinstance(value, list)
            lines.append(f"{key} =" + "".join(f"\n    {one}" for one in value) if listed else f"{key} = {value}")
    return "\n".join(lines) + "\n"
