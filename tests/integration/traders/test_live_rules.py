"""What a live rule makes runs, is stopped and pulled as any live trader, and waits after a restart of everything."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest
import redis
from django.utils import timezone
from livefleet import LiveFleet
from liveground import TICKER
from test_live_starts import at_work, fleet, installation, row, says
from test_supervisor import a_market

from feed.models import Settlement
from feed.schema import TraderView, encode
from kalshimm.ops.models import AuditRow
from kalshimm.runtime import streams
from kalshimm.runtime.clock import SystemClock
from kalshimm.runtime.heartbeat import BEAT_TTL_S, Pulse, beat_key
from kalshimm.runtime.process import ProcessIdentity
from markets.models import Market
from tests.fixtures.stack import eventually
from traders import grants, rulegrants
from traders.archive import archive_ended
from traders.fleetline import FleetLine
from traders.models import Desired, Fill, Grant, Mode, SeriesRule, Trader
from traders.processes import living, trader_folder
from traders.services import strategy_named
from traders.start import read_start

__all__ = ["at_work", "fleet", "installation"]  # fixtures

pytestmark = pytest.mark.django_db(transaction=True)
DOLLAR = 1_000_000


def a_going_rule(**fields: Any) -> SeriesRule:
    rule = SeriesRule.objects.create(
        series_ticker="HAND", mode=Mode.LIVE, strategy=strategy_named("join-best"), **fields
    )
    rulegrants.create_rule_grant(rule, actor="test", confirm_series="HAND")
    return rulegrants.start_rule(rule, actor="test")


def its_running(at_work: LiveFleet) -> Trader:
    """Return the rule's trader once it runs, with an order of its at rest."""
    eventually(lambda: Trader.objects.filter(state="quoting").exists(), "the rule's trader runs")
    trader = Trader.objects.get()
    (began,) = at_work.starts(trader)
    at_work.place(at_work.an_id(trader, 1, 1), began.group_id)
    return trader


def stands(rule: SeriesRule, standing: str, words: str = "") -> Callable[[], bool]:
    def is_so() -> bool:
        rule.refresh_from_db()
        return rule.standing == standing and words in rule.state_reason

    return is_so


def is_pulled(at_work: LiveFleet, trader: Trader) -> None:
    assert (living(at_work.home), at_work.resting(), set(at_work.groups().values())) == ({}, [], {True})
    assert row(trader).group_id == ""


def test_what_a_rule_makes_runs_under_the_rules_grant(at_work: LiveFleet) -> None:
    rule = a_going_rule(limits={"exposure_ud_most": 40 * DOLLAR})
    trader = its_running(at_work)
    live = read_start(trader_folder(at_work.home, trader.pk)).live
    grant = Grant.objects.get()
    assert live is not None
    assert (live.grant, live.grant_expires_us) == (grant.pk, int(grant.expires_at.timestamp() * 1_000_000))
    assert (trader.mode, trader.market_ticker, trader.series_rule) == ("live", TICKER, rule)
    assert trader.reserved_ud == 40 * DOLLAR


@pytest.mark.parametrize("how", ["revoked", "dry-run", "deleted"])
def test_its_traders_are_stopped_and_pulled_when_the_permission_ends(at_work: LiveFleet, how: str) -> None:
    rule = a_going_rule()
    trader = its_running(at_work)
    if how == "revoked":
        grants.revoke(Grant.objects.get(), actor="test")
    elif how == "dry-run":
        SeriesRule.objects.update(mode=Mode.DRY_RUN)
    else:
        rule.delete()
    eventually(says(trader, "stopped", "[grant]"), "it is stopped, and says why")
    is_pulled(at_work, trader)
    assert len(at_work.starts(trader)) == 1


def test_a_rule_that_lost_too_much_has_its_traders_stopped_until_a_person_releases_it(at_work: LiveFleet) -> None:
    """The loss is another trader's of the same rule; its own process tells no result, and it holds nothing."""
    rule = a_going_rule()
    trader = its_running(at_work)
    a_market("HAND-0", opens_in_s=-90, closes_in_s=-60)
    lost = Trader.objects.create(
        name="lost", market_ticker="HAND-0", strategy=rule.strategy, mode=Mode.LIVE, desired=Desired.STOPPED,
        series_rule=rule,
    )  # fmt: skip
    now = timezone.now()
    Fill.objects.create(
        account="local", order_id="o", trade_id="t", client_order_id="c", trader=lost, ticker="HAND-0", mode=Mode.LIVE,
        side=0, price_cc=5_000, count_cx=6_000, is_taker=False, fee_ud=0, time=now,
    )  # fmt: skip
    Settlement.objects.create(
        account="local", ticker="HAND-0", subaccount=0, result="no", yes_cx=0, yes_cost_ud=0, no_cx=0, no_cost_ud=0,
        revenue_ud=0, fee_ud=0, settled_at=now, told_at=now,
    )  # fmt: skip
    eventually(says(trader, "stopped", "−$30.00"), "it is stopped, and the figures are told")
    assert "a loss of $25.00 is the most" in trader.state_reason
    is_pulled(at_work, trader)
    rulegrants.release_rule(rule, actor="test", now_us=int(now.timestamp() * 1_000_000))
    eventually(at_work.runs(trader, epoch=2), "it runs again once a person has released the rule")


def test_the_results_of_traders_are_taken_from_their_own_processes_beats(
    redis_url: str, redis_client: redis.Redis
) -> None:
    own, pulse = ProcessIdentity.own(), Pulse(role="trader", name="7", clock=SystemClock())
    view = TraderView(7, TICKER, "live", "quoting", "", 0, 0, [], True, None, None, None, -30 * DOLLAR)

    def results(process: ProcessIdentity) -> dict[int, int]:
        redis_client.set(beat_key("trader", "7"), msgspec.msgpack.encode(pulse.snapshot()), ex=BEAT_TTL_S)

        async def hear() -> dict[int, int]:
            client = streams.connect(redis_url)
            line = FleetLine(client, SystemClock())
            await line.listen([7])
            await client.aclose()
            return line.results({7: process})

        return asyncio.run(hear())

    assert results(own) == {}, "it has said nothing yet"
    pulse.detail = encode(view)
    assert results(own) == {7: -30 * DOLLAR}
    assert results(msgspec.structs.replace(own, pid=own.pid + 1)) == {}, "an earlier process said so"
    pulse.detail = encode(msgspec.structs.replace(view, trading_ud=None))
    assert results(own) == {}, "unknown is not zero"


def test_A15_after_a_restart_of_everything_its_trader_and_the_rule_wait_for_a_person(at_work: LiveFleet) -> None:
    rule = a_going_rule(max_traders=2)
    trader = its_running(at_work)
    at_work.end_supervisor()
    os.kill(at_work.starts(trader)[0].pid, signal.SIGKILL)
    eventually(lambda: living(at_work.home) == {}, "it is dead")
    a_market("HAND-2")
    at_work.supervise()
    eventually(says(trader, "paused"), "its trader comes back paused")
    eventually(stands(rule, "waiting", "traders start --live --rule HAND"), "the rule waits")
    assert Trader.objects.count() == 1
    rulegrants.start_rule(rule, actor="test")
    eventually(lambda: Trader.objects.filter(market_ticker="HAND-2", state="quoting").exists(), "it goes on")
    assert row(trader).desired == Desired.PAUSED, "who stood still is resumed by name"


def test_A7_the_next_supervisor_goes_on_with_the_rule(at_work: LiveFleet) -> None:
    rule = a_going_rule(max_traders=2)
    trader = its_running(at_work)
    at_work.end_supervisor()
    a_market("HAND-2")
    at_work.supervise()
    eventually(lambda: Trader.objects.filter(market_ticker="HAND-2", state="quoting").exists(), "it goes on")
    assert stands(rule, "going")()
    assert len(at_work.starts(trader)) == 1, "whoever ran still does"


def test_near_the_close_its_trader_is_stopped_pulled_and_put_away_once_the_market_has_paid(at_work: LiveFleet) -> None:
    a_going_rule(close_buffer_s=60)
    trader = its_running(at_work)
    Market.objects.update(close_time=timezone.now() + timedelta(seconds=50))
    eventually(says(trader, "stopped"), "it is stopped")
    is_pulled(at_work, trader)
    assert trader.desired == Desired.STOPPED
    assert "closes within 60 s" in AuditRow.objects.get(action="trader.desired", detail__now="stopped").detail["reason"]
    Market.objects.update(status="finalized", result="yes")
    assert archive_ended(actor="test") == [trader.name]
