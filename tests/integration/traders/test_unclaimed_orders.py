"""An order of ours that nobody watches is listed, alerted once and pulled; desk and writer are the real ones."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis
from django.core.management import call_command
from livefleet import LiveFleet
from test_live_starts import a_running, at_work, fleet, gone, installation, row, says
from traderworld import Workers

from feed.exchange.faults.script import Answer
from kalshimm.management.commands.health import beating
from kalshimm.ops.models import AuditRow
from kalshimm.runtime.heartbeat import Beat, beat_key, decode_beat
from kalshimm.runtime.home import installation_number
from markets.core.orderids import Owner
from tests.fixtures.stack import eventually
from traders.models import Order, RetiredGroup
from traders.services import steer

__all__ = ["at_work", "fleet", "installation"]  # fixtures

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.long]
NOBODY = 4_711  # a trader that never was


class Alerts(logging.Handler):
    """Keeps the alerts that this process raises."""

    def __init__(self) -> None:
        super().__init__()
        self.raised: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if alert := getattr(record, "alert", ""):
            self.raised.append(alert)


@pytest.fixture
def alerts() -> Iterator[Alerts]:
    handler, logger = Alerts(), logging.getLogger("traders.unclaimed")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


@pytest.fixture
def told(at_work: LiveFleet, home: Path, redis_url: str, database_url: str) -> Iterator[LiveFleet]:
    """With a desk that hears the account, and a writer that stores what it tells."""
    ready = at_work.venue.ready
    workers = Workers(
        home,
        {
            "REDIS_URL": redis_url, "DATABASE_URL": database_url, "KALSHI_ENV": "local", "KALSHI_REST_URL": ready.rest,
            "KALSHI_WS_URL": ready.ws, "KALSHI_KEY_ID": ready.key_id, "KALSHI_PRIVATE_KEY_PATH": ready.private_key_path,
        },
    )  # fmt: skip
    workers.start("writer")
    workers.start("desk")
    yield at_work
    workers.close()


def listed() -> dict[str, dict[str, Any]]:
    """Return the answer of `traders unclaimed --json`: why, by client order id."""
    out = StringIO()
    call_command("traders", "unclaimed", "--json", stdout=out)
    answer = msgspec.json.decode(out.getvalue())
    return {kind: {one["client_order_id"]: one["why"] for one in found} for kind, found in answer.items()}


def in_words() -> str:
    out = StringIO()
    call_command("traders", "unclaimed", stdout=out)
    return out.getvalue()


def stored(*names: str) -> Callable[[], bool]:
    return lambda: Order.objects.filter(client_order_id__in=names, status="resting").count() == len(names)


def is_empty() -> bool:
    return listed()["unclaimed"] == {}


def test_A3_I2_an_order_of_a_lease_that_is_over_is_listed_alerted_once_and_pulled_beside_the_running_one(
    told: LiveFleet, alerts: Alerts
) -> None:
    trader = a_running(told)
    (first,) = told.starts(trader)
    steer([trader], "stop", actor="test")
    eventually(says(trader, "stopped"), "its first lease is over")
    steer([trader], "start", actor="test", may_go_live=True)
    eventually(told.runs(trader, epoch=2), "its second one runs")
    second = told.starts(trader)[-1]
    mine, another = told.an_id(trader, 2, 1), Owner(1, 1, 1).client_order_id(1)
    told.place(mine, second.group_id)
    told.place("by-hand", yes_price_cc=3_800)
    told.place(another, yes_price_cc=3_700)
    eventually(stored(mine, "by-hand", another), "the account has told of them")
    stray = told.an_id(trader, 1, 9)
    order_id = told.place(stray, yes_price_cc=3_900)
    eventually(lambda: stray in listed()["unclaimed"], "it is listed")
    eventually(lambda: "UNCLAIMED_ORDERS" in alerts.raised, "somebody is told")
    eventually(lambda: stray not in told.resting(), "it is pulled")
    eventually(is_empty, "the list is empty again")
    assert in_words().startswith("No order of this installation rests that nobody watches.")
    assert sorted(told.resting()) == sorted([mine, "by-hand", another])
    assert told.groups() == {first.group_id: True, second.group_id: False}, "the running lease is left alone"
    assert (len(told.starts(trader)), row(trader).lease_epoch) == (2, 2)
    assert listed()["external"] == {"by-hand": "not placed by kalshimm", another: "another installation's"}
    eventually(AuditRow.objects.filter(action="trader.unclaimed").exists, "it is proven that nothing of it rests")
    (audited,) = AuditRow.objects.filter(action="trader.unclaimed")
    assert (audited.subject, audited.detail["canceled"], list(audited.detail["found"])) == (
        trader.name, [order_id], [order_id],
    )  # fmt: skip
    assert alerts.raised == ["UNCLAIMED_ORDERS"]


def test_I2_an_order_of_a_trader_that_nobody_knows_is_pulled_with_its_group(told: LiveFleet, alerts: Alerts) -> None:
    group = told.run(told.venue.group())
    stray = Owner(told_installation(told), NOBODY, 3).client_order_id(1)
    order_id = told.place(stray, group)
    told.place("by-hand", yes_price_cc=3_800)
    eventually(lambda: alerts.raised == ["UNCLAIMED_ORDERS"], "somebody is told")
    eventually(lambda: told.resting() == ["by-hand"], "it is pulled")
    eventually(is_empty, "and listed no more")
    assert told.groups() == {group: True}
    assert set(gone(told, order_id)) == {order_id}
    eventually(RetiredGroup.objects.filter(group_id=group).exists, "its group is to be deleted")
    assert AuditRow.objects.get(action="trader.unclaimed").subject == str(NOBODY)


def test_A1_I2_what_a_takeover_pulls_is_never_called_unclaimed(told: LiveFleet, alerts: Alerts) -> None:
    trader = a_running(told)
    (first,) = told.starts(trader)
    mine = told.an_id(trader, 1, 1)
    told.place(mine, first.group_id)
    eventually(stored(mine), "the account has told of it")
    os.kill(first.pid, signal.SIGKILL)
    eventually(told.runs(trader, epoch=2), "another process runs it")
    eventually(lambda: not stored(mine)(), "the account has told that it rests no more")
    assert (listed()["unclaimed"], alerts.raised) == ({}, [])
    assert not AuditRow.objects.filter(action="trader.unclaimed").exists()


def test_I2_what_rests_of_a_trader_that_was_stopped_long_ago_is_listed_until_the_exchange_lets_it_be_pulled(
    told: LiveFleet, alerts: Alerts, redis_client: redis.Redis
) -> None:
    trader = a_running(told)
    steer([trader], "stop", actor="test")
    eventually(says(trader, "stopped"), "nothing of it rests")
    told.venue.arm(Answer(path="/portfolio/events/orders/*", status=503, times=None))
    stray = told.an_id(trader, 1, 5)
    told.place(stray)
    eventually(lambda: alerts.raised == ["UNCLAIMED_ORDERS"], "somebody is told")

    def counted() -> bool:
        value = redis_client.get(beat_key("supervisor", "main"))
        return value is not None and unwell(decode_beat(value)) == ["1 unclaimed"]

    eventually(counted, "health counts it")
    assert f"of trader {trader.pk} under lease 1 ({stray}): its trader has no process" in in_words()
    told.venue.exchange.faults.remove()
    eventually(lambda: told.resting() == [], "it is pulled")
    eventually(is_empty, "and listed no more")
    assert alerts.raised == ["UNCLAIMED_ORDERS"]


def unwell(beat: Beat) -> list[str]:
    return [service.state for service in beating([beat], beat.written_us) if service.name == "orders at rest"]


def told_installation(fleet: LiveFleet) -> int:
    return installation_number(fleet.home)
