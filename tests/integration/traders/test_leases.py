"""Leases in the database: an epoch is given once, and a group is named from its first use until it is closed."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connections, transaction
from django.utils import timezone

from kalshimm.ops.models import AuditRow
from markets.core.orderids import Owner
from tests.fixtures.stack import eventually
from traders import leases
from traders.models import Desired, Mode, RetiredGroup, StrategySet, Trader
from traders.takeover import Fence, Lease, Pulled

pytestmark = pytest.mark.django_db


@pytest.fixture
def trader() -> Trader:
    strategy = StrategySet.objects.create(name="s")
    return Trader.objects.create(name="live-1", market_ticker="HAND-1", strategy=strategy, mode=Mode.LIVE)


def a_lease(trader: Trader, epoch: int, *groups: str) -> Lease:
    return Lease(
        owner=Owner(12, trader.pk, epoch), environment="local", account="local", ticker="HAND-1", exchange_index=2,
        groups=groups, limit_cx=4_000,
    )  # fmt: skip


def pulled(*triggered: str) -> Pulled:
    return Pulled(triggered=triggered, gone=(), canceled=(), as_of_us=1)


def retired() -> set[str]:
    return set(RetiredGroup.objects.values_list("group_id", flat=True))


def test_each_lease_has_the_next_epoch_and_knows_the_group_before_it(trader: Trader) -> None:
    assert leases.next_epoch(trader.pk) == (1, "")
    leases.begin(a_lease(trader, 1), Fence(group_id="g1", pulled=pulled()))
    assert leases.next_epoch(trader.pk) == (2, "g1")
    assert leases.next_epoch(trader.pk, above=9) == (10, "g1"), "whatever a backup says"
    assert leases.next_epoch(trader.pk, above=3) == (11, "g1")


@pytest.mark.django_db(transaction=True)
def test_two_that_want_the_next_lease_at_once_get_two(trader: Trader) -> None:
    given: list[int] = []

    def ask() -> None:
        given.append(leases.next_epoch(trader.pk)[0])
        connections.close_all()

    with transaction.atomic():
        assert leases.next_epoch(trader.pk) == (1, "")
        other = threading.Thread(target=ask)
        other.start()
        other.join(0.3)
        assert given == [], "it waits until the first is committed"
    eventually(lambda: given, "it gets its own")
    other.join()
    assert given == [2]


def test_a_lease_that_was_overtaken_may_not_begin(trader: Trader) -> None:
    leases.next_epoch(trader.pk)
    leases.next_epoch(trader.pk)
    with pytest.raises(leases.LeaseLost):
        leases.begin(a_lease(trader, 1), Fence(group_id="g1", pulled=pulled()))
    trader.refresh_from_db()
    assert (trader.group_id, retired()) == ("", set())


def test_what_a_lease_leaves_behind_is_noted_for_its_deletion(trader: Trader) -> None:
    leases.next_epoch(trader.pk)
    leases.begin(a_lease(trader, 1), Fence(group_id="g1", pulled=pulled("g0"), strays=("s1",)))
    assert retired() == {"g0", "s1"}
    leases.close(a_lease(trader, 1, "g1"), pulled("g1", "g0"), "asked to stop")
    trader.refresh_from_db()
    assert (trader.group_id, retired()) == ("", {"g0", "g1", "s1"})
    assert list(AuditRow.objects.order_by("id").values_list("action", flat=True)) == ["trader.lease", "trader.pulled"]


def test_closing_a_lease_leaves_a_later_one_open(trader: Trader) -> None:
    leases.next_epoch(trader.pk)
    leases.begin(a_lease(trader, 1), Fence(group_id="g2", pulled=pulled()))
    leases.close(a_lease(trader, 1, "g1"), pulled("g1"), "")
    trader.refresh_from_db()
    assert trader.group_id == "g2"


def test_a_row_from_a_backup_takes_the_lease_of_the_process_that_runs(trader: Trader) -> None:
    leases.restore(trader.pk, 5, "g5")
    leases.restore(trader.pk, 4, "g4")
    trader.refresh_from_db()
    assert (trader.lease_epoch, trader.group_id) == (5, "g5")


def test_only_one_that_should_run_is_made_to_wait(trader: Trader) -> None:
    for desired, then in (("running", "paused"), ("flat", "paused"), ("paused", "paused"), ("stopped", "stopped")):
        Trader.objects.filter(pk=trader.pk).update(desired=desired)
        leases.let_wait(trader.pk)
        trader.refresh_from_db()
        assert trader.desired == then
    assert AuditRow.objects.filter(action="trader.desired").count() == 2
    assert Desired.PAUSED.value == "paused"


def test_groups_are_due_after_a_day_unless_a_trader_has_them(trader: Trader) -> None:
    leases.retire(a_lease(trader, 1), ("old", "used", "young"))
    leases.retire(a_lease(trader, 1), ("old",))  # once more changes nothing
    RetiredGroup.objects.exclude(group_id="young").update(retired_at=timezone.now() - timedelta(hours=25))
    Trader.objects.filter(pk=trader.pk).update(group_id="used")
    due = leases.due_groups()
    assert {key: [group.group_id for group in groups] for key, groups in due.items()} == {("local", "local"): ["old"]}
    leases.forget_group(due["local", "local"][0])
    assert retired() == {"used", "young"}
