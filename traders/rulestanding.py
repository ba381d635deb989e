"""Whether a live rule is going: a person starts it, and a kill or a restart of the whole stack lets it wait for one."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

from kalshimm.ops.services import audit
from markets.models import Event
from traders.accounts import account_of_rule
from traders.core.kills import EVENT, Kill, Target
from traders.models import Mode, SeriesRule

FIELDS = ("standing", "daily_loss_ud")
UNDER_WAY = (SeriesRule.Standing.STARTED, SeriesRule.Standing.GOING)


def change(rule: SeriesRule, action: str, actor: str, **detail: Any) -> None:
    """Write those details that are fields of the rule, and an audit row; call it inside a transaction."""
    fields = {name: value for name, value in detail.items() if name in FIELDS}
    SeriesRule.objects.filter(pk=rule.pk).update(**fields)
    for name, value in fields.items():
        setattr(rule, name, value)
    audit(actor, action, rule.series_ticker, **detail)


def hold(rules: QuerySet[SeriesRule], *, actor: str, reason: str) -> list[str]:
    """Let rules make no live trader until a person starts them again; return the series of those that would have."""
    held = list(rules.filter(mode=Mode.LIVE, standing__in=UNDER_WAY).select_for_update())
    for rule in held:
        change(rule, "series_rule.waits", actor, standing=SeriesRule.Standing.WAITING.value, reason=reason)
    return [rule.series_ticker for rule in held]


def hold_killed(kill: Kill) -> None:
    """Let those rules wait whose traders a kill covers; a kill of one trader leaves its rule going."""
    rules = SeriesRule.objects.all()
    if kill.kind == EVENT:
        rules = rules.filter(series_ticker__in=Event.objects.filter(pk=kill.key).values("series_id"))
    else:
        covered = [rule.pk for rule in rules if kill.covers(Target(0, "", account_of_rule(rule)))]
        rules = rules.filter(pk__in=covered)
    hold(rules, actor=kill.by, reason=kill.why)
