"""What the database is told of kills: who killed what, who took it back, and that those who were killed are paused."""

from __future__ import annotations

from pathlib import Path

from django.db import transaction

from kalshimm.ops.models import AuditRow
from kalshimm.ops.services import audit
from markets.models import Market
from traders import killswitch
from traders.accounts import account_of
from traders.core.kills import Kill, Target, covering
from traders.killswitch import KillSwitch
from traders.models import Desired, Trader
from traders.rulestanding import hold_killed

ACTOR = "supervisor"


def settle(home: Path) -> None:
    """Pause whom kills cover, also those released meanwhile, note all of it, and forget what was released.

    Nobody who was killed runs again without a person's resume, and no live rule that was goes on without a person's
    start, whoever was away while it happened. Safe to repeat.

    Raises:
        HomeNotWritable, NotReachable: What was released cannot be forgotten yet.
    """
    switch = KillSwitch(home)
    kills, released = switch.kills(), switch.released()
    if not kills and not released:
        return
    with transaction.atomic():
        fresh = [kill for kill in (*released, *kills) if _note("kill", kill, kill.by)]
        _pause((*kills, *released))
        for kill in (*fresh, *released):  # of one that stands once: a person may start other markets' traders meanwhile
            hold_killed(kill)
        for kill in released:
            _note("kill.released", kill, ACTOR)
        if released:  # not before it is so: whoever called this may yet take all of it back
            transaction.on_commit(lambda: killswitch.forget_released(home, released))


def target_of(trader: Trader, event: str) -> Target:
    """Return what a kill may name a trader by."""
    return Target(trader.pk, trader.name, account_of(trader), event)


def _pause(kills: tuple[Kill, ...]) -> None:
    running = list(Trader.objects.filter(desired__in=(Desired.RUNNING, Desired.FLAT)))
    tickers = [trader.market_ticker for trader in running]
    events = dict(Market.objects.filter(pk__in=tickers).values_list("pk", "event_id"))
    for trader in running:
        kill = covering(kills, target_of(trader, events.get(trader.market_ticker, "")))
        still = Trader.objects.filter(pk=trader.pk, desired__in=(Desired.RUNNING, Desired.FLAT))
        if kill and still.update(desired=Desired.PAUSED, desired_reason=kill.why):
            audit(kill.by, "trader.desired", trader.name, now=Desired.PAUSED.value, reason=kill.why)


def _note(action: str, kill: Kill, actor: str) -> bool:
    """Write an audit row once; return whether that was now."""
    if AuditRow.objects.filter(action=action, subject=kill.what, detail__at_us=kill.at_us).exists():
        return False
    audit(actor, action, kill.what, at_us=kill.at_us, killed_by=kill.by)
    return True
