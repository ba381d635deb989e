from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis
from asgiref.sync import sync_to_async
from django.core.management import call_command
from django.db import connections
from traderworld import HandMadeMarket, Watcher, Workers

from feed.schema import (
    BookDelta,
    FillState,
    JournalEntry,
    LatchChange,
    OrderState,
    ParamsChange,
    StateChange,
    control_stream,
)
from kalshimm.errors import HomeNotWritable
from kalshimm.ops.models import AuditRow
from kalshimm.runtime import streams
from kalshimm.runtime.clock import SystemClock
from kalshimm.runtime.heartbeat import beat_key, decode_beat
from markets.core.fees import FeeSchedule, FeeTerms
from markets.core.units import Side
from markets.models import Event, Market, Series
from tests.fixtures.stack import eventually
from traders import spawner
from traders.core.params import TraderParams
from traders.fleet import read_wanted
from traders.journal import read_records
from traders.models import Allotment, Desired, Mode, SeriesRule, StrategySet, Trader
from traders.processes import living, trader_folder
from traders.services import create_trader, steer, strategy_named
from traders.start import read_start
from traders.supervisor import Supervisor

SEVEN_EACH = {"bid_cx": 700, "ask_cx": 700}

pytestmark = pytest.mark.django_db(transaction=True)


def a_market(ticker: str = "HAND-1", *, opens_in_s: float = -60, closes_in_s: float = 3_600) -> Market:
    now = datetime.now(UTC)
    series, _ = Series.objects.get_or_create(ticker="HAND", defaults={"frequency": "fifteen_min", "seen_at": now})
    event, _ = Event.objects.get_or_create(ticker=f"{ticker}-E", defaults={"series": series, "seen_at": now})
    return Market.objects.create(
        ticker=ticker,
        event=event,
        status="active",
        open_time=now + timedelta(seconds=opens_in_s),
        close_time=now + timedelta(seconds=closes_in_s),
        price_ranges=[[0, 10_000, 100]],
        seen_at=now,
    )


def a_trader(name: str = "hand-1", ticker: str = "HAND-1") -> Trader:
    return create_trader(name=name, market_ticker=ticker, strategy=strategy_named("join-best"), actor="test")


def has_state(trader: Trader, state: str) -> Callable[[], bool]:
    return lambda: Trader.objects.filter(pk=trader.pk, state=state).exists()


def pid_of(trader: Trader) -> int:
    trader.refresh_from_db()
    assert trader.pid is not None
    return trader.pid


@pytest.fixture
def fleet(workers_with_database: Workers, market: HandMadeMarket, redis_client: redis.Redis) -> Workers:
    """A spawner and a supervisor, both at work, on a told market."""
    market.start()
    workers_with_database.spawner()
    workers_with_database.start("supervisor")
    eventually(lambda: redis_client.exists(beat_key("supervisor", "main")), "the supervisor is at work")
    return workers_with_database


def test_it_starts_a_trader_that_quotes_and_is_filled_by_a_print(
    fleet: Workers, market: HandMadeMarket, watcher: Watcher, redis_client: redis.Redis
) -> None:
    a_market()
    trader = a_trader()
    eventually(lambda: watcher.is_quoting(trader.pk), "the trader quotes")
    eventually(has_state(trader, "quoting"), "the supervisor has written its state")
    view = watcher.view(trader.pk)
    assert view is not None
    assert [(q.side, q.price_cc, q.ahead_cx) for q in view.quotes] == [(0, 4_000, 30_000), (1, 5_800, 20_000)]
    assert redis_client.zscore("kmm:interest", f"HAND-1|trader:{trader.pk}") is not None
    market.print("t1", 3_900, 400, Side.NO)
    eventually(lambda: (v := watcher.view(trader.pk)) and v.fills == 1, "the fill shows in the beat")

    def fills() -> list[JournalEntry]:
        return [entry for entry in watcher.journal(trader.pk) if isinstance(entry.body, FillState)]

    eventually(fills, "the fill is on the journal stream")
    (fill,) = fills()
    assert isinstance(fill.body, FillState)
    assert (fill.account, fill.mode, fill.body.trade_id, fill.body.position_cx) == ("paper", "dry-run", "t1", 400)
    numbers = [entry.number for entry in watcher.journal(trader.pk)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert decode_beat(redis_client.get(beat_key("spawner", "main")) or b"").counters == {"spawned": 1}


def test_a_killed_trader_comes_back_with_its_position_and_without_its_old_orders(
    fleet: Workers, market: HandMadeMarket, watcher: Watcher
) -> None:
    a_market()
    trader = a_trader()
    eventually(lambda: watcher.is_quoting(trader.pk), "the trader quotes")
    market.print("t1", 3_900, 400, Side.NO)
    eventually(
        lambda: (v := watcher.view(trader.pk)) and v.fills == 1 and len(v.quotes) == 3, "it is filled, and tops up"
    )
    eventually(has_state(trader, "quoting"), "the supervisor knows")
    first = pid_of(trader)
    os.kill(first, signal.SIGKILL)
    eventually(lambda: pid_of_or_none(trader) not in (None, first), "another process runs it")
    # What was last told of it may still be the first one's; the ends of the old orders are the second one's.
    eventually(lambda: len(ended_by_restart(watcher, trader)) == 3, "the old orders are over")
    eventually(lambda: watcher.is_quoting(trader.pk), "it quotes again")
    view = watcher.view(trader.pk)
    assert view is not None
    assert (view.position_cx, view.fills) == (400, 1)
    assert ended_by_restart(watcher, trader) == ["canceled"] * 3
    trader.refresh_from_db()
    assert trader.restarts == 1


def ended_by_restart(watcher: Watcher, trader: Trader) -> list[str]:
    bodies = [entry.body for entry in watcher.journal(trader.pk)]
    return [body.status for body in bodies if isinstance(body, OrderState) and body.reason == "restart"]


def pid_of_or_none(trader: Trader) -> int | None:
    trader.refresh_from_db()
    return trader.pid


def test_a_killed_supervisor_leaves_its_traders_and_the_next_adopts_them(
    workers_with_database: Workers, market: HandMadeMarket, watcher: Watcher
) -> None:
    fleet = workers_with_database
    market.start()
    fleet.spawner()
    supervisor = fleet.start("supervisor")
    a_market()
    trader = a_trader()
    eventually(has_state(trader, "quoting"), "the trader quotes")
    first = pid_of(trader)
    supervisor.kill()
    supervisor.wait(10)
    Trader.objects.filter(pk=trader.pk).update(pid=None, state="starting")
    fleet.start("supervisor")
    eventually(has_state(trader, "quoting"), "the new supervisor found it")
    trader.refresh_from_db()
    assert (trader.pid, trader.restarts) == (first, 0)
    assert [identity.pid for identity in living(fleet.home).values()] == [first]
    assert "found process" in fleet.output("supervisor")


def test_a_second_supervisor_on_one_home_refuses(workers_with_database: Workers) -> None:
    first = workers_with_database.start("supervisor")
    lock = workers_with_database.home / "run" / "supervisor.lock"
    eventually(lambda: lock.exists() and lock.read_text(), "the first holds the lock")
    second = workers_with_database.start("supervisor")
    assert second.wait(30) == 1
    assert f"process {first.pid}" in workers_with_database.output("supervisor")


def test_pause_resume_and_stop_reach_the_trader(fleet: Workers, watcher: Watcher) -> None:
    a_market()
    trader = a_trader()
    eventually(has_state(trader, "quoting"), "the trader quotes")
    steer([trader], "pause", actor="test")
    eventually(has_state(trader, "paused"), "it pauses")
    view = watcher.view(trader.pk)
    assert view is not None
    assert view.quotes == []
    steer([trader], "resume", actor="test")
    eventually(has_state(trader, "quoting"), "it resumes")
    steer([trader], "stop", actor="test")
    eventually(has_state(trader, "stopped"), "it stops")
    assert living(fleet.home) == {}
    assert watcher.view(trader.pk) is None, "a clean end takes its beat away"
    actions = list(AuditRow.objects.filter(subject=trader.name).order_by("id").values_list("action", flat=True))
    assert actions == ["trader.created"] + ["trader.desired"] * 3


def test_a_rolling_series_hands_over_to_the_successor(fleet: Workers, market: HandMadeMarket, watcher: Watcher) -> None:
    a_market("HAND-1", closes_in_s=5)
    a_market("HAND-2", opens_in_s=5, closes_in_s=3_600)
    SeriesRule.objects.create(series_ticker="HAND", strategy=strategy_named("join-best"))
    eventually(lambda: Trader.objects.filter(market_ticker="HAND-1", state="quoting").exists(), "the first is traded")
    eventually(lambda: Trader.objects.filter(market_ticker="HAND-2").exists(), "the successor has a trader")
    eventually(lambda: Trader.objects.filter(market_ticker="HAND-1", state="stopped").exists(), "the first is over")
    first = Trader.objects.get(market_ticker="HAND-1")
    assert (first.desired, first.state_reason, first.pid) == (Desired.STOPPED, "market closed", None)
    assert first.series_rule is not None
    words = [e.body.state for e in watcher.journal(first.pk) if isinstance(e.body, StateChange)]
    assert words == ["quoting", "draining", "stopped"]
    made = AuditRow.objects.filter(action="trader.created", actor="supervisor")
    assert made.count() == Trader.objects.count() == 2


def test_a_trader_that_cannot_stay_up_fails_and_a_person_can_start_it_again(fleet: Workers, watcher: Watcher) -> None:
    a_market()
    trader = a_trader()
    in_the_way = trader_folder(fleet.home, trader.pk) / "journal"
    in_the_way.mkdir()
    eventually(has_state(trader, "failed"), "it is given up")
    trader.refresh_from_db()
    assert "crashed 4 times" in trader.state_reason
    assert trader.restarts == 3
    in_the_way.rmdir()
    assert steer([trader], "start", actor="test") == [trader]
    eventually(lambda: watcher.is_quoting(trader.pk), "it runs again")


def test_what_cannot_start_fails_with_the_reason(fleet: Workers) -> None:
    a_market()
    broken, odd = a_trader("broken"), a_trader("odd")
    strategy = StrategySet.objects.create(name="bad", placement_params={"bid_cx": -5})
    Trader.objects.filter(pk=broken.pk).update(strategy=strategy)
    Trader.objects.filter(pk=odd.pk).update(strategy=StrategySet.objects.create(name="odd", placement_params=[1]))
    eventually(has_state(broken, "failed"), "the parameters are refused")
    eventually(has_state(odd, "failed"), "so are parameters that are no object")
    broken.refresh_from_db()
    assert "bid_cx" in broken.state_reason


def test_with_redis_away_it_cancels_goes_on_writing_and_sends_the_rest_later(
    fleet: Workers, market: HandMadeMarket, watcher: Watcher, redis_client: redis.Redis
) -> None:
    a_market()
    trader = a_trader()
    eventually(lambda: watcher.is_quoting(trader.pk), "the trader quotes")
    eventually(has_state(trader, "quoting"), "the supervisor knows")
    pid = pid_of(trader)
    journal = trader_folder(fleet.home, trader.pk) / "journal"
    redis_client.client_pause(4_000)

    def canceled() -> list[int]:
        entries, _ = read_records(journal.read_bytes())
        return [e.number for e in entries if isinstance(e.body, OrderState) and e.body.status == "canceled"]

    eventually(lambda: len(canceled()) == 2, "it cancels by itself, in its file", within_s=4)
    eventually(lambda: canceled()[0] in [e.number for e in watcher.journal(trader.pk)], "the rest is sent")
    eventually(lambda: watcher.is_quoting(trader.pk), "it quotes again")
    assert pid_of(trader) == pid


def test_a_deleted_trader_is_stopped(fleet: Workers, watcher: Watcher) -> None:
    a_market()
    trader = a_trader()
    eventually(lambda: watcher.is_quoting(trader.pk), "the trader quotes")
    Trader.objects.filter(pk=trader.pk).delete()
    eventually(lambda: living(fleet.home) == {}, "nobody could steer it any more")


def test_a_trader_that_runs_although_its_row_says_stopped_is_stopped(
    workers_with_database: Workers, market: HandMadeMarket, watcher: Watcher
) -> None:
    """As a supervisor leaves it that is killed between the fork and its row, before a person stops the trader."""
    fleet = workers_with_database
    market.start()
    fleet.spawner()
    supervisor = fleet.start("supervisor")
    a_market()
    trader = a_trader()
    eventually(lambda: watcher.is_quoting(trader.pk), "the trader quotes")
    supervisor.kill()
    supervisor.wait(10)
    Trader.objects.filter(pk=trader.pk).update(desired=Desired.STOPPED, state="stopped", pid=None)
    assert living(fleet.home)
    fleet.start("supervisor")
    eventually(lambda: living(fleet.home) == {}, "it is found and stopped")


async def test_a_start_stands_in_the_row_before_the_fork(
    home: Path, redis_url: str, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a supervisor that is killed in between leaves a trader running that no row speaks of."""
    states: list[str] = []

    def ask(_home: Path, request: spawner.Request) -> dict[str, int | str]:
        if request.spawn is None:
            return {"pid": os.getpid(), "answered": 1, "spawned": 0}
        states.extend(Trader.objects.values_list("state", flat=True))
        connections.close_all()
        return {"error": "nothing is forked here"}

    monkeypatch.setattr(spawner, "ask", ask)
    await sync_to_async(a_market)()
    await sync_to_async(a_trader)()
    client = streams.connect(redis_url)
    await Supervisor(home, redis_url, client=client, clock=SystemClock()).step()
    await client.aclose()
    await sync_to_async(connections.close_all)()
    assert states == ["starting"]


async def test_E3_a_start_that_cannot_be_written_down_does_not_end_the_supervisor(
    home: Path, redis_url: str, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else nobody would be left to pull what others have resting."""

    def full(path: Path, _start: object) -> None:
        raise HomeNotWritable(path, "No space left on device")

    def ask(_home: Path, request: spawner.Request) -> dict[str, int | str]:
        assert request.spawn is None
        return {"pid": os.getpid(), "answered": 1, "spawned": 0}

    monkeypatch.setattr(spawner, "ask", ask)
    monkeypatch.setattr("traders.supervisor.write_start", full)
    await sync_to_async(a_market)()
    trader = await sync_to_async(a_trader)()
    client = streams.connect(redis_url)
    await Supervisor(home, redis_url, client=client, clock=SystemClock()).step()
    await client.aclose()
    await trader.arefresh_from_db()
    await sync_to_async(connections.close_all)()
    assert (trader.state, "No space left on device" in trader.state_reason) == ("starting", True)


async def test_a_trader_for_which_nothing_is_left_of_an_allotment_is_not_forked(
    home: Path, redis_url: str, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[spawner.Request] = []

    def ask(_home: Path, request: spawner.Request) -> dict[str, int | str]:
        asked.append(request)
        return {"pid": os.getpid(), "answered": 1, "spawned": 0}

    monkeypatch.setattr(spawner, "ask", ask)
    await sync_to_async(a_market)()
    trader = await sync_to_async(a_trader)()
    await Allotment.objects.acreate(scope="fleet", mode=Mode.DRY_RUN, most_ud=1_000_000)
    client = streams.connect(redis_url)
    await Supervisor(home, redis_url, client=client, clock=SystemClock()).step()
    await client.aclose()
    await trader.arefresh_from_db()
    await sync_to_async(connections.close_all)()
    assert (trader.state, "of the $1.00 allotted to the fleet" in trader.state_reason) == ("stopped", True)
    assert all(request.spawn is None for request in asked)


def names_at_rest(watcher: Watcher, trader: Trader) -> set[str]:
    """Return the orders that rest, by the newest line on each."""
    bodies = [entry.body for entry in watcher.journal(trader.pk)]
    newest = {body.client_order_id: body.status for body in bodies if isinstance(body, OrderState)}
    return {name for name, status in newest.items() if status == "resting"}


def digest_of(trader: Trader) -> int:
    return TraderParams(StrategySet.objects.get(pk=trader.strategy.pk).choices(), trader.limits).digest


def goes_by_it(watcher: Watcher, trader: Trader) -> Callable[[], object]:
    return lambda: (view := watcher.view(trader.pk)) and view.params_digest == digest_of(trader)


def test_a_changed_strategy_reaches_a_running_trader_whose_orders_keep_their_place(
    fleet: Workers, market: HandMadeMarket, watcher: Watcher
) -> None:
    a_market()
    trader = a_trader()
    eventually(lambda: len(names_at_rest(watcher, trader)) == 2, "the trader quotes")
    eventually(has_state(trader, "quoting"), "the supervisor knows")
    first, names, before = pid_of(trader), names_at_rest(watcher, trader), watcher.view(trader.pk)
    StrategySet.objects.filter(name="join-best").update(
        tolerances={"price_steps": 2}, buffering="min_ahead", buffering_params={"ahead_cx": 5_000}
    )
    eventually(goes_by_it(watcher, trader), "it goes by the new ones")
    start = trader_folder(fleet.home, trader.pk)
    eventually(lambda: read_start(start).params.digest == digest_of(trader), "the next start would, too")
    view = watcher.view(trader.pk)
    assert before is not None
    assert view is not None
    assert (view.quotes, names_at_rest(watcher, trader)) == (before.quotes, names), "the same orders in their places"
    changes = [entry.body for entry in watcher.journal(trader.pk) if isinstance(entry.body, ParamsChange)]
    assert [(change.reason, change.digest) for change in changes] == [
        ("other buffering, tolerances", digest_of(trader))
    ]
    assert (pid_of(trader), trader.restarts) == (first, 0)


def test_a_changed_size_reaches_a_running_trader_and_its_next_life(fleet: Workers, watcher: Watcher) -> None:
    a_market()
    trader = a_trader()
    eventually(has_state(trader, "quoting"), "the trader quotes")
    first = pid_of(trader)
    StrategySet.objects.filter(name="join-best").update(placement_params=SEVEN_EACH)
    eventually(
        lambda: (v := watcher.view(trader.pk)) and [q.remaining_cx for q in v.quotes] == [700, 700],
        "it quotes the new size",
    )
    start = trader_folder(fleet.home, trader.pk)
    eventually(lambda: read_start(start).strategies.placement.params == SEVEN_EACH, "the supervisor has noted it")
    assert pid_of(trader) == first
    os.kill(first, signal.SIGKILL)
    eventually(lambda: pid_of_or_none(trader) not in (None, first), "another process runs it")
    eventually(goes_by_it(watcher, trader), "it goes by the same")


def test_lower_limits_reach_a_running_trader_and_free_what_they_need_no_more(fleet: Workers, watcher: Watcher) -> None:
    a_market()
    trader = a_trader()
    eventually(has_state(trader, "quoting"), "the trader quotes")
    first, limits = pid_of(trader), {"order_cx_most": 400, "exposure_ud_most": 5_000_000}
    Trader.objects.filter(pk=trader.pk).update(limits=limits)
    eventually(
        lambda: (v := watcher.view(trader.pk)) and [q.remaining_cx for q in v.quotes] == [400, 400],
        "it quotes within them",
    )
    eventually(lambda: Trader.objects.get(pk=trader.pk).reserved_ud == 5_000_000, "it has reserved no more")
    assert pid_of(trader) == first


def test_limits_that_let_it_lose_more_are_reserved_at_a_new_start(fleet: Workers, watcher: Watcher) -> None:
    a_market()
    trader = a_trader()
    eventually(has_state(trader, "quoting"), "the trader quotes")
    first = pid_of(trader)
    Trader.objects.filter(pk=trader.pk).update(limits={"exposure_ud_most": 150_000_000})
    eventually(lambda: pid_of_or_none(trader) not in (None, first), "another process runs it")
    eventually(lambda: Trader.objects.get(pk=trader.pk).reserved_ud == 150_000_000, "it has reserved them")
    eventually(goes_by_it(watcher, Trader.objects.get(pk=trader.pk)), "it goes by them")
    assert trader.restarts == 0, "nothing crashed"


def test_a_trader_that_does_not_take_what_it_is_told_starts_anew(
    fleet: Workers, watcher: Watcher, redis_client: redis.Redis
) -> None:
    a_market()
    trader = a_trader()
    eventually(has_state(trader, "quoting"), "the trader quotes")
    first = pid_of(trader)
    redis_client.delete(control_stream(str(trader.pk)))
    redis_client.set(control_stream(str(trader.pk)), "no stream: nothing can be told")
    StrategySet.objects.filter(name="join-best").update(tolerances={"price_steps": 1})
    eventually(lambda: pid_of_or_none(trader) not in (None, first), "another process runs it")
    redis_client.delete(control_stream(str(trader.pk)))
    eventually(goes_by_it(watcher, trader), "it goes by the new ones")


def test_a_trader_gets_flat_when_a_person_wants_it_and_stays_so_through_a_crash(
    fleet: Workers, market: HandMadeMarket, watcher: Watcher
) -> None:
    a_market()
    trader = a_trader()
    eventually(lambda: watcher.is_quoting(trader.pk), "the trader quotes")
    market.print("t1", 3_900, 400, Side.NO)
    eventually(lambda: (v := watcher.view(trader.pk)) and v.position_cx == 400, "it is filled")
    assert steer([trader], "flatten", actor="test") == [trader]
    eventually(has_state(trader, "flat"), "it is flat")
    view = watcher.view(trader.pk)
    assert view is not None
    assert (view.position_cx, view.quotes) == (0, [])
    first = pid_of(trader)
    os.kill(first, signal.SIGKILL)
    eventually(lambda: pid_of_or_none(trader) not in (None, first), "another process runs it")
    eventually(has_state(trader, "flat"), "it is flat again")
    assert steer([trader], "resume", actor="test") == [trader]
    eventually(lambda: watcher.is_quoting(trader.pk), "it quotes again")


def test_a_latch_holds_over_a_restart_and_until_a_person_releases_it(
    fleet: Workers, market: HandMadeMarket, watcher: Watcher
) -> None:
    a_market()
    trader = a_trader()
    Trader.objects.filter(pk=trader.pk).update(limits={"daily_loss_ud": 10_000})
    eventually(lambda: watcher.is_quoting(trader.pk), "the trader quotes")
    market.print("t1", 3_900, 400, Side.NO)
    eventually(lambda: (v := watcher.view(trader.pk)) and v.position_cx == 400, "it is filled")
    market.tell(BookDelta(2, time.time_ns() // 1_000, int(Side.YES), 4_000, -30_000))
    eventually(has_state(trader, "latched"), "a cent a contract is more than it may lose")
    first = pid_of(trader)
    os.kill(first, signal.SIGKILL)
    eventually(lambda: pid_of_or_none(trader) not in (None, first), "another process runs it")
    eventually(has_state(trader, "latched"), "it is latched again")
    market.tell(BookDelta(3, time.time_ns() // 1_000, int(Side.YES), 4_000, 30_000))
    call_command("traders", "release", trader.name)
    eventually(has_state(trader, "quoting"), "it quotes again")
    # What nobody has stored is sent again after a restart.
    told = {e.number: body.is_on for e in watcher.journal(trader.pk) if isinstance(body := e.body, LatchChange)}
    assert list(told.values()) == [True, False]


def test_a_value_from_outside_reaches_the_trader_that_quotes_around_it(fleet: Workers, watcher: Watcher) -> None:
    a_market()
    strategy = StrategySet.objects.create(name="fair", placement="fair_value", placement_params={"bid_edge_cc": 300})
    trader = create_trader(name="fair-1", market_ticker="HAND-1", strategy=strategy, actor="test")
    eventually(has_state(trader, "quoting"), "the trader runs")
    view = watcher.view(trader.pk)
    assert view is not None
    assert (view.quotes, "no value from outside" in view.why) == ([], True)
    call_command("traders", "fair", trader.name, "--price", "0.4100", "--source", "model")
    eventually(
        lambda: (v := watcher.view(trader.pk)) and [(q.side, q.price_cc) for q in v.quotes] == [(0, 3_800), (1, 5_700)],
        "it quotes around the value",
    )


def test_F8_F9_a_market_that_changes_is_told_to_its_running_trader(fleet: Workers, watcher: Watcher) -> None:
    a_market()
    trader = a_trader()
    eventually(has_state(trader, "quoting"), "the trader quotes")
    first, before = pid_of(trader), watcher.view(trader.pk)
    assert before is not None
    Series.objects.filter(ticker="HAND").update(fee_type="quadratic", fee_multiplier="0.5")
    Market.objects.filter(ticker="HAND-1").update(price_ranges=[[0, 10_000, 10]])
    (wanted,) = read_wanted({trader.pk})
    assert wanted.facts is not None
    assert wanted.facts.fees == FeeTerms(FeeSchedule("quadratic", 5_000))
    assert wanted.facts.digest != before.facts_digest
    eventually(
        lambda: (view := watcher.view(trader.pk)) and view.facts_digest == wanted.facts.digest,
        "it goes by the new facts",
    )
    assert pid_of(trader) == first, "the same process"


def test_a_trader_that_lives_and_does_not_beat_is_called_silent(fleet: Workers, watcher: Watcher) -> None:
    a_market()
    trader = a_trader()
    eventually(has_state(trader, "quoting"), "the trader quotes")
    pid = pid_of(trader)
    os.kill(pid, signal.SIGSTOP)
    try:
        eventually(has_state(trader, "silent"), "its silence is written down")
        assert pid_of(trader) == pid
        assert "no beat since" in trader.state_reason
    finally:
        os.kill(pid, signal.SIGCONT)
    eventually(has_state(trader, "quoting"), "it is heard again")
    assert trader.restarts == 0
