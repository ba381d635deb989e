"""Leases of live traders as the database keeps them. Sync: call it outside the event loop.

    next_epoch ──► (takeover) ──► begin: the new group, old ones retired ──► … ──► close: nothing rests, no group

A trader's row names the group of its lease from the moment at which a process may use it until nothing of it can rest
any more; so an empty group says that nothing does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from kalshimm.errors import KalshimmError
from kalshimm.ops.services import audit
from traders.models import Desired, RetiredGroup, Trader
from traders.takeover import Fence, Lease, Pulled

ACTOR = "supervisor"
GROUPS_KEPT = timedelta(days=1)  # whoever looks at what happened finds them at the exchange
NEEDS_RESUME = "it was not running when the supervisor came: it needs resume"


class LeaseLost(KalshimmError):
    """The trader is gone, or somebody took a later lease meanwhile: this one must not be used."""

    def __init__(self, trader: int) -> None:
        super().__init__(f"The lease of trader {trader} was lost: another one began, or the trader was deleted.")


@transaction.atomic
def next_epoch(trader: int, *, above: int = 0) -> tuple[int, str]:
    """Begin the next lease of a trader, before anything is sent under it.

    Args:
        above: An epoch that is known to be used, whatever the row says: it may come from a backup.

    Returns:
        Its epoch, and the group of the lease before; empty where nothing of that rests.

    Raises:
        LeaseLost: There is no such trader.
    """
    row = Trader.objects.select_for_update().filter(pk=trader).first()
    if row is None:
        raise LeaseLost(trader)
    row.lease_epoch = max(row.lease_epoch, above) + 1
    row.save(update_fields=["lease_epoch"])
    return row.lease_epoch, row.group_id


def raise_epoch(trader: int, epoch: int) -> None:
    """Note that an epoch is used, by orders that are there, although the row may not know it."""
    Trader.objects.filter(pk=trader, lease_epoch__lt=epoch).update(lease_epoch=epoch)


@transaction.atomic
def begin(lease: Lease, fence: Fence) -> None:
    """Note the group of a lease, which a process may use from now on.

    Raises:
        LeaseLost: A later lease has begun; the group is of no use.
    """
    trader = lease.owner.trader
    mine = Trader.objects.filter(pk=trader, lease_epoch=lease.owner.epoch)
    if not mine.update(group_id=fence.group_id):
        raise LeaseLost(trader)
    retire(lease, (*fence.pulled.triggered, *fence.strays))
    audit(
        ACTOR,
        "trader.lease",
        _name(trader),
        epoch=lease.owner.epoch,
        group=fence.group_id,
        limit_cx=lease.limit_cx,
        account=lease.account,
        **_told(fence.pulled),
    )


@transaction.atomic
def close(lease: Lease, pulled: Pulled, reason: str) -> None:
    """Note that nothing of a trader rests any more."""
    trader = lease.owner.trader
    retire(lease, pulled.triggered)
    if Trader.objects.filter(pk=trader, group_id__in=lease.groups).exclude(group_id="").update(group_id=""):
        audit(ACTOR, "trader.pulled", _name(trader), account=lease.account, reason=reason, **_told(pulled))


@transaction.atomic
def note_unclaimed(lease: Lease, pulled: Pulled, reasons: dict[str, str]) -> None:
    """Note that orders which nobody watched are pulled.

    Args:
        reasons: Why, by the venue's id of each order that was found.
    """
    retire(lease, pulled.triggered)
    audit(ACTOR, "trader.unclaimed", _name(lease.owner.trader), account=lease.account, found=reasons, **_told(pulled))


@transaction.atomic
def restore(trader: int, epoch: int, group_id: str) -> None:
    """Take over from a running process which lease it has, where the row knows only an earlier one."""
    if Trader.objects.filter(pk=trader, lease_epoch__lt=epoch).update(lease_epoch=epoch, group_id=group_id):
        audit(ACTOR, "trader.lease", _name(trader), epoch=epoch, group=group_id, restored=True)


@transaction.atomic
def let_wait(trader: int) -> None:
    """Let a trader that was not running, although it should, wait for a person: its plan may be stale (A15)."""
    stale = Trader.objects.filter(pk=trader, desired__in=(Desired.RUNNING, Desired.FLAT))
    if stale.update(desired=Desired.PAUSED, desired_reason=NEEDS_RESUME):
        audit(ACTOR, "trader.desired", _name(trader), now=Desired.PAUSED.value, reason=NEEDS_RESUME)


def retire(lease: Lease, group_ids: Iterable[str]) -> None:
    """Note groups that are to be deleted one day."""
    RetiredGroup.objects.bulk_create(
        [
            RetiredGroup(
                account=lease.account,
                environment=lease.environment,
                group_id=group_id,
                exchange_index=lease.exchange_index,
                subaccount=lease.subaccount,
            )
            for group_id in group_ids
        ],
        ignore_conflicts=True,
    )


def due_groups() -> dict[tuple[str, str], list[RetiredGroup]]:
    """Return the groups that were retired a day ago and are no trader's, by environment and account."""
    in_use = Trader.objects.exclude(group_id="").values("group_id")
    found: dict[tuple[str, str], list[RetiredGroup]] = defaultdict(list)
    for group in RetiredGroup.objects.filter(retired_at__lt=timezone.now() - GROUPS_KEPT).exclude(group_id__in=in_use):
        found[group.environment, group.account].append(group)
    return found


def forget_group(group: RetiredGroup) -> None:
    RetiredGroup.objects.filter(pk=group.pk).delete()


def _name(trader: int) -> str:
    return Trader.objects.filter(pk=trader).values_list("name", flat=True).first() or str(trader)


def _told(pulled: Pulled) -> dict[str, list[str]]:
    return {"triggered": list(pulled.triggered), "gone": list(pulled.gone), "canceled": list(pulled.canceled)}
