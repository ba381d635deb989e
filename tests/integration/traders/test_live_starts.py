"""Live traders start behind a fence and by four things only, and nothing of theirs rests that nobody watches."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from django.db import OperationalError
from django.utils import timezone
from livefleet import LiveFleet, a_live_trader, go_live
from liveground import TICKER
from test_supervisor import a_market

from feed.exchange.faults.script import Answer, Drop
from feed.exchange.ledger import EventLine
from kalshimm.ops.models import AuditRow
from kalshimm.runtime import streams
from kalshimm.runtime.clock import SystemClock
from kalshimm.runtime.heartbeat import BEAT_TTL_S
from tests.fixtures.stack import eventually
from traders import grants, leases, spawner, takeover
from traders.core.pipeline import Choice, StrategyChoices
from traders.fleet import LiveWanted, Wanted
from traders.fleetline import FleetLine
from traders.leases import NEEDS_RESUME
from traders.livestarts import LiveStarts
from traders.models import Allotment, Desired, Grant, Mode, RetiredGroup, Trader
from traders.processes import living, trader_folder
from traders.services import steer
from traders.start import read_start

pytestmark = pytest.mark.django_db(transaction=True)
TRIGGERS = "/portfolio/order_groups/*/trigger"


@pytest.fixture
def installation(settings: Any, home: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """KALSHIMM_LIVE=1 on the local exchange, with a vault of its own."""
    for name in ("KALSHIMM_MASTER_KEY", "KALSHIMM_MASTER_KEY_FILE", "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(takeover, "MARGIN_US", 100_000)  # how long it is waited for is test_takeover's matter
    settings.KALSHIMM_HOME, settings.KALSHIMM_LIVE, settings.KALSHI_ENV = home, True, "local"
    return settings


@pytest.fixture
def fleet(installation: Any, home: Path, redis_url: str, redis_client: redis.Redis) -> Iterator[LiveFleet]:
    """An exchange, a vault with a trading key, a market in the catalogue; no supervisor yet."""
    made = LiveFleet(home, redis_url)
    installation.KALSHI_REST_URL, installation.KALSHI_WS_URL = made.venue.ready.rest, made.venue.ready.ws
    a_market(TICKER)
    made.add_key()
    yield made
    made.close()


@pytest.fixture
def at_work(fleet: LiveFleet) -> LiveFleet:
    """With a spawner and a supervisor."""
    fleet.spawn()
    fleet.supervise()
    return fleet


def row(trader: Trader) -> Trader:
    trader.refresh_from_db()
    return trader


def says(trader: Trader, state: str, words: str = "") -> Callable[[], bool]:
    return lambda: row(trader).state == state and words in trader.state_reason


def a_running(fleet: LiveFleet, name: str = "live-1") -> Trader:
    trader = a_live_trader(name)
    go_live(trader)
    eventually(says(trader, "quoting"), "it runs")
    return trader


# What it takes to start


class Four:
    """Takes one of the four things away, and gives it back."""

    def __init__(self, installation: Any) -> None:
        self._installation, self._index = installation, installation.KALSHIMM_HOME / "keys" / "index.json"

    def put(self, thing: str, *, is_there: bool) -> None:
        now = timezone.now()
        if thing == "installation_flag":
            self._installation.KALSHIMM_LIVE = is_there
        elif thing == "start_flag":
            Grant.objects.update(started_at=now if is_there else None)
        elif thing == "credential":
            aside = self._index.with_suffix(".aside")
            (aside if is_there else self._index).rename(self._index if is_there else aside)
        else:
            Grant.objects.update(expires_at=now + timedelta(hours=1 if is_there else -1))


def test_G2_without_any_one_of_the_four_things_nothing_starts_and_nothing_is_sent(
    fleet: LiveFleet, installation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[spawner.Request] = []

    def ask(_home: Path, request: spawner.Request) -> dict[str, int | str]:
        asked.append(request)
        return {"pid": os.getpid(), "answered": 1, "spawned": 0}

    monkeypatch.setattr(spawner, "ask", ask)
    trader, four = a_live_trader(), Four(installation)
    go_live(trader)
    before = ""
    for lacking in ("installation_flag", "start_flag", "credential", "grant"):
        four.put(lacking, is_there=False)
        if before:
            four.put(before, is_there=True)
        else:
            fleet.supervise()
        lacks = ["start_flag", "grant"] if lacking == "grant" else [lacking]  # a start is one under a grant that holds
        eventually(says(trader, "stopped", f"[{lacks[0]}]"), f"it says that {lacking} is missing")
        looks = len(asked)
        eventually(lambda looks=looks: len(asked) > looks + 2, "the supervisor has looked again")
        assert [word[1:-1] for word in row(trader).state_reason.split() if word.startswith("[")] == lacks
        before = lacking
    assert all(request.spawn is None for request in asked)
    assert fleet.writes() == []
    assert (row(trader).lease_epoch, trader.group_id, trader.reserved_ud) == (0, "", None)


def test_G2_a_dry_run_trader_never_starts_live_whatever_else_is_there(at_work: LiveFleet) -> None:
    trader = a_live_trader()
    go_live(trader)
    Trader.objects.filter(pk=trader.pk).update(mode=Mode.DRY_RUN)
    eventually(says(trader, "quoting"), "it runs")
    assert read_start(trader_folder(at_work.home, trader.pk)).live is None
    assert at_work.writes() == []


def test_all_missing_things_are_named(fleet: LiveFleet, installation: Any) -> None:
    installation.KALSHIMM_LIVE = False
    trader = a_live_trader()
    Trader.objects.filter(pk=trader.pk).update(desired=Desired.RUNNING)
    fleet.supervise()
    eventually(says(trader, "stopped", "installation_flag"), "it says why")
    for code in ("installation_flag", "start_flag", "grant"):
        assert f"[{code}]" in trader.state_reason


def test_with_the_four_things_it_starts_under_its_first_lease(at_work: LiveFleet) -> None:
    trader = a_running(at_work)
    (began,) = at_work.starts(trader)
    assert (row(trader).lease_epoch, trader.group_id) == (1, began.group_id)
    assert at_work.groups() == {began.group_id: False}
    start = read_start(trader_folder(at_work.home, trader.pk))
    live = start.live
    assert live is not None
    assert (start.mode, start.account, live.environment, live.key) == ("live", "local", "local", "trading")
    assert (live.epoch, live.group_id, live.exchange_index, live.lifetime_s) == (1, began.group_id, 0, 120)
    grant = Grant.objects.get()
    assert (live.grant, live.grant_expires_us) == (grant.pk, int(grant.expires_at.timestamp() * 1_000_000))
    assert trader.reserved_ud == grant.worst_loss_ud
    (told,) = AuditRow.objects.filter(action="trader.lease", subject=trader.name)
    assert (told.detail["epoch"], told.detail["group"]) == (1, began.group_id)


def test_without_room_in_an_allotment_it_is_refused_with_figures_and_nothing_is_sent(fleet: LiveFleet) -> None:
    Allotment.objects.create(scope="fleet", most_ud=1_000_000)
    trader = a_live_trader()
    go_live(trader)
    fleet.supervise()
    eventually(says(trader, "stopped", "$1.00"), "it says what does not fit")
    assert fleet.writes() == []
    assert row(trader).lease_epoch == 0


# Every start is a takeover


def test_A1_a_killed_trader_starts_anew_once_nothing_of_its_lease_rests(at_work: LiveFleet) -> None:
    trader = a_running(at_work)
    (first,) = at_work.starts(trader)
    forgotten = at_work.run(at_work.venue.group())
    mine = at_work.place(at_work.an_id(trader, 1, 1), first.group_id)
    stray = at_work.place(at_work.an_id(trader, 1, 2), forgotten, yes_price_cc=3_900)
    at_work.place("by-hand", yes_price_cc=3_800)
    os.kill(first.pid, signal.SIGKILL)
    eventually(at_work.runs(trader, epoch=2), "another process runs it")
    second = at_work.starts(trader)[-1]
    assert at_work.resting() == ["by-hand"]
    assert at_work.groups() == {first.group_id: True, forgotten: True, second.group_id: False}
    for what, at_us in gone(at_work, mine, stray).items():
        assert at_us < second.at_us, f"{what} was gone before the process began"
    eventually(says(trader, "quoting"), "it runs again")
    assert (trader.lease_epoch, trader.group_id, trader.restarts) == (2, second.group_id, 1)
    assert set(RetiredGroup.objects.values_list("group_id", flat=True)) == {first.group_id, forgotten}


def gone(fleet: LiveFleet, *order_ids: str) -> dict[str, int]:
    """Return when orders were canceled, by the exchange's ledger."""

    async def read() -> dict[str, int]:
        lines = fleet.venue.exchange.ledger.after(0, kind="event")
        orders = [line for line in lines if isinstance(line, EventLine) and line.channel == "user_orders"]
        return {line.body["order_id"]: line.at_us for line in orders if line.body["status"] == "canceled"}

    found = fleet.run(read())
    return {order_id: found[order_id] for order_id in order_ids}


@pytest.mark.long
def test_A6_one_that_cannot_stay_up_is_pulled_and_stays_failed(at_work: LiveFleet) -> None:
    trader = a_running(at_work)
    for epoch in (1, 2, 3, 4):
        eventually(at_work.runs(trader, epoch=epoch), f"lease {epoch} runs")
        began = at_work.starts(trader)[-1]
        at_work.place(at_work.an_id(trader, epoch, 1), began.group_id)
        os.kill(began.pid, signal.SIGKILL)
    eventually(says(trader, "failed", "crashed 4 times"), "it is given up")
    eventually(lambda: row(trader).group_id == "", "it is pulled")
    assert (at_work.resting(), len(at_work.starts(trader))) == ([], 4)
    assert set(at_work.groups().values()) == {True}


def test_a_lease_of_a_database_from_a_backup_is_never_given_twice(at_work: LiveFleet) -> None:
    trader = a_live_trader()
    at_work.place(at_work.an_id(trader, 8, 1))
    go_live(trader)
    eventually(at_work.runs(trader, epoch=9), "it runs above every lease that has orders")
    assert at_work.resting() == []


def test_a_takeover_that_waits_is_in_no_other_traders_way(at_work: LiveFleet) -> None:
    at_work.venue.arm(Drop(path="/portfolio/order_groups/create", times=None))
    live = a_live_trader()
    go_live(live)
    eventually(says(live, "reconciling"), "the takeover waits")
    paper = a_live_trader("paper-1")
    Trader.objects.filter(pk=paper.pk).update(mode=Mode.DRY_RUN, desired=Desired.RUNNING)
    eventually(says(paper, "quoting"), "another trader runs")
    assert row(live).state == "reconciling"
    assert at_work.starts(live) == []
    at_work.venue.exchange.faults.remove()
    eventually(says(live, "quoting"), "it runs once its takeover comes through")


# A running process


def test_A7_the_next_supervisor_adopts_it_and_sends_nothing(at_work: LiveFleet) -> None:
    trader = a_running(at_work)
    before, writes = at_work.starts(trader), at_work.writes()
    at_work.place(at_work.an_id(trader, 1, 1), before[0].group_id)
    at_work.end_supervisor()
    Trader.objects.filter(pk=trader.pk).update(state="starting", pid=None, lease_epoch=0, group_id="")  # a backup's
    at_work.supervise()
    eventually(says(trader, "quoting"), "it is found")
    assert (trader.pid, trader.desired) == (before[0].pid, Desired.RUNNING)
    assert (trader.lease_epoch, trader.group_id) == (1, before[0].group_id), "its lease is the row's again"
    assert at_work.starts(trader) == before
    assert at_work.resting() == [at_work.an_id(trader, 1, 1)]
    assert at_work.writes() == [*writes, "POST /portfolio/events/orders"]


def test_A15_one_that_was_not_running_when_the_supervisor_came_waits_for_a_person(at_work: LiveFleet) -> None:
    trader = a_running(at_work)
    (first,) = at_work.starts(trader)
    at_work.place(at_work.an_id(trader, 1, 1), first.group_id)
    at_work.end_supervisor()
    os.kill(first.pid, signal.SIGKILL)
    eventually(lambda: living(at_work.home) == {}, "it is dead")
    at_work.supervise()
    eventually(says(trader, "paused"), "it comes back paused")
    assert (trader.desired, trader.lease_epoch, at_work.resting()) == (Desired.PAUSED, 2, [])
    (told,) = AuditRow.objects.filter(action="trader.desired", actor="supervisor")
    assert told.detail["reason"] == NEEDS_RESUME
    eventually(says(trader, "paused", NEEDS_RESUME), "its row says why")
    steer([trader], "resume", actor="somebody")
    assert row(trader).desired_reason == ""


def test_one_that_loses_its_permission_is_stopped_pulled_and_says_why(at_work: LiveFleet) -> None:
    trader = a_running(at_work)
    (began,) = at_work.starts(trader)
    at_work.place(at_work.an_id(trader, 1, 1), began.group_id)
    grants.revoke(Grant.objects.get(), actor="test")
    eventually(says(trader, "stopped", "[grant]"), "it is stopped, and says why")
    assert living(at_work.home) == {}
    assert (at_work.resting(), at_work.groups()) == ([], {began.group_id: True})
    assert (trader.desired, trader.group_id) == (Desired.RUNNING, "")
    assert len(at_work.starts(trader)) == 1
    eventually(lambda: row(trader).reserved_ud is None, "what it reserved is given back")


def test_one_that_is_started_under_a_longer_grant_goes_on_under_that_one(at_work: LiveFleet) -> None:
    """What it was told of its permission ends with the first grant."""
    trader = a_running(at_work)
    longer = grants.create_grant(trader, actor="test", confirm_name=trader.name, expires_in=timedelta(days=3))
    grants.start_live([trader], actor="test")
    eventually(at_work.runs(trader, epoch=2), "it starts anew")
    live = read_start(trader_folder(at_work.home, trader.pk)).live
    assert live is not None
    assert (live.grant, live.grant_expires_us) == (longer.pk, int(longer.expires_at.timestamp() * 1_000_000))


@pytest.mark.long
def test_one_whose_limits_are_lowered_goes_on_under_its_grant_and_one_whose_are_raised_is_stopped(
    at_work: LiveFleet,
) -> None:
    """The stand-in takes nothing on the fly: it starts anew, by a takeover."""
    trader = a_running(at_work)
    Trader.objects.filter(pk=trader.pk).update(limits={"order_cx_most": 500})
    eventually(at_work.runs(trader, epoch=2), "it starts anew")
    start = read_start(trader_folder(at_work.home, trader.pk))
    assert (start.limits, start.live and start.live.grant) == ({"order_cx_most": 500}, Grant.objects.get().pk)
    Trader.objects.filter(pk=trader.pk).update(limits={"order_cx_most": 1_001})
    eventually(says(trader, "stopped", "[grant]"), "it is stopped, and says why")
    assert (living(at_work.home), len(at_work.starts(trader))) == ({}, 2)


def test_a_grant_ends_also_while_the_database_is_away(home: Path, redis_client: redis.Redis) -> None:
    """What was read last goes on to hold, but not beyond its own time."""
    trader = a_live_trader_in_words(expires_us=SystemClock().wall_us() - 1)
    starts = LiveStarts(home, client=streams.connect("redis://127.0.0.1:1"), clock=SystemClock())
    assert "[grant] the grant has expired" in starts.why_not(trader)
    assert starts.why_not(a_live_trader_in_words(expires_us=SystemClock().wall_us() + 60_000_000)) == ""


def a_live_trader_in_words(*, expires_us: int) -> Wanted:
    live = LiveWanted(
        missing=(), grant=1, expires_us=expires_us, environment="local", account="local", exchange_index=0, epoch=1,
        group_id="g",
    )  # fmt: skip
    return Wanted(
        7, "seven", TICKER, "live", "running", "quoting", 0, StrategyChoices(Choice("join_best")), {}, None, live=live
    )


@pytest.mark.long
def test_A9_a_frozen_supervisor_does_not_take_its_own_silence_for_its_traders(
    fleet: LiveFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may stop between hearing its traders and judging by what it heard."""
    listen, looks, must_freeze = FleetLine.listen, list[FleetLine](), threading.Event()

    async def listen_and_freeze(line: FleetLine, traders: Sequence[int]) -> None:
        await listen(line, traders)
        if must_freeze.is_set():
            if not looks:
                line._beats.clear()  # as of a trader that has not beaten yet
                time.sleep(BEAT_TTL_S + 1)  # noqa: ASYNC251 - the whole process stops
            looks.append(line)

    monkeypatch.setattr(FleetLine, "listen", listen_and_freeze)
    fleet.spawn()
    fleet.supervise()
    trader = a_running(fleet)
    writes = fleet.writes()
    must_freeze.set()
    eventually(lambda: len(looks) > 4, "it goes on after it was frozen", within_s=20)
    fleet.end_supervisor()
    assert fleet.writes() == writes
    assert (row(trader).group_id, len(fleet.starts(trader))) == (fleet.starts(trader)[0].group_id, 1)


@pytest.mark.long
def test_A4_a_frozen_trader_is_pulled_and_starts_anew_once_it_wakes(at_work: LiveFleet) -> None:
    trader = a_running(at_work)
    (first,) = at_work.starts(trader)
    at_work.place(at_work.an_id(trader, 1, 1), first.group_id)
    os.kill(first.pid, signal.SIGSTOP)
    try:
        eventually(lambda: at_work.resting() == [], "its orders are pulled out-of-band", within_s=10.0)
        assert [identity.pid for identity in living(at_work.home).values()] == [first.pid]
        eventually(lambda: row(trader).group_id == "", "that is proven")
        assert len(at_work.starts(trader)) == 1, "no second owner beside it"
    finally:
        os.kill(first.pid, signal.SIGCONT)
    eventually(at_work.runs(trader, epoch=2), "it starts anew")
    eventually(says(trader, "quoting"), "and runs")
    assert row(trader).restarts == 0, "nothing crashed"


@pytest.mark.long
def test_A4_D9_a_frozen_trader_whose_pull_could_not_be_noted_starts_anew_too(
    at_work: LiveFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its group is triggered, so that it would never quote again; and nobody pulls one that is heard again."""
    noted, is_down = leases.close, threading.Event()
    is_down.set()

    def close(*args: Any) -> None:
        if is_down.is_set():
            raise OperationalError("the database is away")
        noted(*args)

    monkeypatch.setattr(leases, "close", close)
    trader = a_running(at_work)
    (first,) = at_work.starts(trader)
    os.kill(first.pid, signal.SIGSTOP)
    try:
        eventually(lambda: at_work.groups() == {first.group_id: True}, "it is pulled out-of-band", within_s=20.0)
        eventually(lambda: "the database is away" in row(trader).state_reason, "and that is not noted", within_s=20.0)
    finally:
        os.kill(first.pid, signal.SIGCONT)
    eventually(at_work.runs(trader, epoch=2), "it starts anew", within_s=20.0)
    is_down.clear()


# Nothing rests unwatched


def test_A1_D9_what_a_dead_trader_left_is_pulled_although_nothing_can_start_without_the_database(
    at_work: LiveFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, is_down = leases.next_epoch, threading.Event()

    def next_epoch(*args: Any, **kwargs: Any) -> tuple[int, str]:
        if is_down.is_set():
            raise OperationalError("the database is away")
        return begin(*args, **kwargs)

    monkeypatch.setattr(leases, "next_epoch", next_epoch)
    trader = a_running(at_work)
    (first,) = at_work.starts(trader)
    at_work.place(at_work.an_id(trader, 1, 1), first.group_id)
    is_down.set()
    os.kill(first.pid, signal.SIGKILL)
    eventually(lambda: at_work.resting() == [], "its orders are pulled")
    assert (at_work.groups(), len(at_work.starts(trader))) == ({first.group_id: True}, 1)
    is_down.clear()
    eventually(at_work.runs(trader, epoch=2), "it starts anew once the database is back", within_s=20.0)


def test_a_stopped_trader_is_stopped_once_nothing_of_it_rests(at_work: LiveFleet) -> None:
    trader = a_running(at_work)
    (began,) = at_work.starts(trader)
    at_work.place(at_work.an_id(trader, 1, 1), began.group_id)
    at_work.venue.arm(Answer(path=TRIGGERS, status=503, times=None))
    steer([trader], "stop", actor="test")
    eventually(says(trader, "reconciling", "its orders are pulled"), "it says that they are not gone yet")
    assert at_work.resting() != []
    at_work.venue.exchange.faults.remove()
    eventually(says(trader, "stopped"), "it is stopped")
    assert (trader.state_reason, trader.group_id, trader.pid) == ("asked to stop", "", None)
    assert (at_work.resting(), at_work.groups()) == ([], {began.group_id: True})
    (told,) = AuditRow.objects.filter(action="trader.pulled", subject=trader.name)
    assert told.detail["triggered"] == [began.group_id]


def test_a_stopped_trader_starts_again_under_the_next_lease(at_work: LiveFleet) -> None:
    trader = a_running(at_work)
    steer([trader], "stop", actor="test")
    eventually(says(trader, "stopped"), "it is stopped")
    grants.start([trader], actor="test")
    eventually(at_work.runs(trader, epoch=2), "it runs again")


def test_a_deleted_trader_leaves_nothing_behind(at_work: LiveFleet) -> None:
    trader = a_running(at_work)
    (began,) = at_work.starts(trader)
    at_work.place(at_work.an_id(trader, 1, 1), began.group_id)
    trader.delete()
    eventually(lambda: living(at_work.home) == {}, "it is stopped")
    eventually(lambda: at_work.resting() == [], "it is pulled")


def test_a_pull_that_the_last_supervisor_did_not_bring_to_its_end_is_taken_up(at_work: LiveFleet) -> None:
    trader = a_running(at_work)
    (began,) = at_work.starts(trader)
    at_work.place(at_work.an_id(trader, 1, 1), began.group_id)
    at_work.venue.arm(Drop(path=TRIGGERS, times=None))
    steer([trader], "stop", actor="test")
    eventually(says(trader, "reconciling"), "it is not pulled")
    at_work.end_supervisor()
    at_work.venue.exchange.faults.remove()
    at_work.supervise()
    eventually(says(trader, "stopped"), "the next one does it")
    assert at_work.resting() == []


# Groups that are over


def test_groups_are_deleted_a_day_later_but_not_those_that_somebody_uses(fleet: LiveFleet) -> None:
    trader = a_live_trader()
    old, young, in_use, armed = (fleet.run(fleet.venue.group()) for _ in range(4))
    fleet.place("by-hand", armed)
    fleet.run(fleet.venue.rest.groups.trigger(old, exchange_index=0))
    Trader.objects.filter(pk=trader.pk).update(group_id=in_use, lease_epoch=1)
    for group in (old, young, in_use, armed, "gone"):
        RetiredGroup.objects.create(account="local", environment="local", group_id=group, exchange_index=0)
    RetiredGroup.objects.exclude(group_id=young).update(retired_at=timezone.now() - timedelta(days=1, seconds=1))
    fleet.supervise()

    def noted() -> set[str]:
        return set(RetiredGroup.objects.values_list("group_id", flat=True))

    eventually(lambda: {old, armed, "gone"}.isdisjoint(noted()), "they are looked after")
    assert old not in fleet.groups()
    assert {young, armed}.issubset(fleet.groups())
    assert fleet.resting() == ["by-hand"]
    assert young in noted()
