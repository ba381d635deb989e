"""A series rule's permission to make live traders: given, started and released by a person, for all that it makes.

    mode live (admin) → grants create --rule S → traders start --live --rule S → each new market's trader starts itself

    too much lost in a day              latched until `traders release --rule S`
    a kill, a restart of the stack      waiting until `traders start --live --rule S`

The grant names the series, the account, the limits that each trader has, how many trade at once, and what all of them
may lose in a day. What it permits is asked of it at each start, and all the time, by `traders.grants`.
"""

from __future__ import annotations

from datetime import timedelta

import msgspec
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from kalshimm.ops.services import audit
from markets.formatting import dollars
from markets.models import Series
from traders.accounts import account_of_rule, chosen_account
from traders.core.decision import parse_limits
from traders.core.golive import LIVE, limits_digest
from traders.core.kills import Target, covering
from traders.core.limits import Limits
from traders.core.registry import ParamsError
from traders.core.risk import reserve_ud
from traders.core.riskbook import exchange_day
from traders.core.rulerisk import day_result
from traders.grants import LASTS, LASTS_MOST, but_start, rule_facts, rule_permission, set_start_flag, told
from traders.killswitch import KillSwitch
from traders.models import DAILY_LOSS_UD_MOST, Grant, SeriesRule
from traders.ruleresults import results_today
from traders.rulestanding import change
from traders.services import RefusedChange


class RuleOffer(msgspec.Struct, frozen=True):
    """What a grant would permit a rule, as it must be shown to the person who gives it.

    Attributes:
        limits: Of each trader.
        each_ud: The most that one trader may have at stake at once,
        worst_loss_ud: and as many as may trade at once together. What markets that are over have yet to pay, and what
            was lost before, come on top.
        daily_loss_ud: What all of them may lose in a day before they are stopped.
    """

    environment: str
    account: str
    series: str
    title: str
    limits: Limits
    digest: str
    most: int
    each_ud: int
    worst_loss_ud: int
    daily_loss_ud: int


def rule_of(series_ticker: str) -> SeriesRule:
    """Return the rule of a series.

    Raises:
        RefusedChange: There is none.
    """
    rule = SeriesRule.objects.select_related("strategy").filter(series_ticker=series_ticker).first()
    if rule is None:
        known = ", ".join(SeriesRule.objects.values_list("series_ticker", flat=True)) or "none"
        raise RefusedChange(f"No rule follows a series {series_ticker!r}; known: {known}.")
    return rule


def rule_offer(rule: SeriesRule, *, daily_loss_ud: int | None = None) -> RuleOffer:
    """Return what a grant for a rule would permit.

    Args:
        daily_loss_ud: Instead of what the rule says.

    Raises:
        RefusedChange: The rule is for dry-run, its series is not known, or its limits or that figure do not fit.
    """
    if rule.mode != LIVE:
        raise RefusedChange(f"The series rule {rule.series_ticker} is set to {rule.mode}; set it to live in the admin.")
    series = Series.objects.filter(pk=rule.series_ticker).first()
    if series is None:
        raise RefusedChange(f"The catalogue has no series {rule.series_ticker}; see `refresh_catalog`.")
    try:
        limits = parse_limits(rule.limits)
    except ParamsError as exc:
        raise RefusedChange(f"The limits of series rule {rule.series_ticker} cannot be read ({exc}).") from exc
    loss_ud = rule.daily_loss_ud if daily_loss_ud is None else daily_loss_ud
    if not 1 <= loss_ud <= DAILY_LOSS_UD_MOST:
        raise RefusedChange(f"A day may lose more than nothing and at most {dollars(DAILY_LOSS_UD_MOST)}.")
    account = chosen_account(account_of_rule(rule))
    each_ud = reserve_ud(limits)
    return RuleOffer(
        environment=settings.KALSHI_ENV,
        account=account,
        series=series.pk,
        title=series.title,
        limits=limits,
        digest=limits_digest(limits),
        most=rule.max_traders,
        each_ud=each_ud,
        worst_loss_ud=each_ud * rule.max_traders,
        daily_loss_ud=loss_ud,
    )


@transaction.atomic
def create_rule_grant(
    rule: SeriesRule,
    *,
    actor: str,
    confirm_series: str,
    expires_in: timedelta = LASTS,
    daily_loss_ud: int | None = None,
    shown: RuleOffer | None = None,
) -> Grant:
    """Permit a rule to make live traders, on this installation's account and as the rule is now.

    Args:
        confirm_series: The series ticker as the person typed it.
        expires_in: At most a week.
        daily_loss_ud: To be set as the rule's, too; None leaves the rule's.
        shown: What the person was shown; None where nobody was shown anything.

    Raises:
        RefusedChange: The series is another, the time does not fit, the rule changed meanwhile, or as `rule_offer`.
    """
    rule = SeriesRule.objects.select_for_update().get(pk=rule.pk)
    offered = rule_offer(rule, daily_loss_ud=daily_loss_ud)
    if confirm_series != rule.series_ticker:
        typed = f"The series that was typed is {confirm_series!r}, not {rule.series_ticker!r}"
        raise RefusedChange(f"{typed}; nothing is granted.")
    if not timedelta(0) < expires_in <= LASTS_MOST:
        raise RefusedChange(f"A grant lasts at most {LASTS_MOST.days} days, and longer than nothing.")
    if shown not in (None, offered):
        raise RefusedChange(f"The series rule {rule.series_ticker} was changed meanwhile; look at it again.")
    if offered.daily_loss_ud != rule.daily_loss_ud:
        change(rule, "series_rule.daily_loss", actor, was=rule.daily_loss_ud, daily_loss_ud=offered.daily_loss_ud)
    grant = Grant.objects.create(
        rule=rule,
        series_ticker=rule.series_ticker,
        max_traders=offered.most,
        daily_loss_ud=offered.daily_loss_ud,
        environment=offered.environment,
        account=offered.account,
        limits=msgspec.to_builtins(offered.limits),
        limits_digest=offered.digest,
        worst_loss_ud=offered.worst_loss_ud,
        granted_by=actor,
        expires_at=timezone.now() + expires_in,
    )
    audit(
        actor,
        "grant.created",
        rule.series_ticker,
        grant=grant.pk,
        environment=grant.environment,
        account=grant.account,
        series=rule.series_ticker,
        limits=grant.limits,
        max_traders=grant.max_traders,
        daily_loss_ud=grant.daily_loss_ud,
        worst_loss_ud=grant.worst_loss_ud,
        expires_at=grant.expires_at.isoformat(),
    )
    return grant


@transaction.atomic
def start_rule(rule: SeriesRule, *, actor: str) -> SeriesRule:
    """Give a rule's grant the start flag, and let the rule make live traders from now on; return the rule.

    Raises:
        RefusedChange: Something else is missing, a kill stands, or the rule is switched off; nothing has changed.
    """
    rule = SeriesRule.objects.select_for_update().get(pk=rule.pk)
    kill = covering(KillSwitch(settings.KALSHIMM_HOME).kills(), Target(0, "", account_of_rule(rule)))
    if kill:
        raise RefusedChange(f"{_who(rule)} makes no live trader: {kill.why}. First `{kill.release_command}`.")
    if not rule.is_active:
        raise RefusedChange(f"{_who(rule)} is switched off; make it active in the admin.")
    lacks = but_start(rule_permission(rule)[1])
    if lacks:
        raise RefusedChange(f"{_who(rule)} makes no live trader. Missing: {told(lacks)}.")
    grant = set_start_flag(*rule_facts(rule), actor=actor)
    if rule.standing != SeriesRule.Standing.GOING:
        change(rule, "series_rule.started", actor, standing=SeriesRule.Standing.STARTED, grant=grant.pk)
    return rule


@transaction.atomic
def release_rule(rule: SeriesRule, *, actor: str, now_us: int) -> SeriesRule:
    """Take a rule's latch off: the day's result counts from what it is now at worst, which a person has looked at.

    Raises:
        RefusedChange: It is not latched, or what it has lost cannot be known yet.
    """
    rule = SeriesRule.objects.select_for_update().get(pk=rule.pk)
    if rule.latched_at is None:
        raise RefusedChange(f"{_who(rule)} is not latched; see `traders list --rules`.")
    worst_ud = day_result(results_today(rule, now_us)).low_ud
    if worst_ud is None:
        raise RefusedChange(f"{_who(rule)} stays latched: the fees of some of its fills are not known yet. Wait.")
    reason = rule.latch_reason
    released = {"released_day": exchange_day(now_us)[0], "released_ud": worst_ud}
    SeriesRule.objects.filter(pk=rule.pk).update(latched_at=None, latch_reason="", **released)
    audit(actor, "series_rule.released", rule.series_ticker, reason=reason, **released)
    rule.refresh_from_db()
    return rule


def _who(rule: SeriesRule) -> str:
    return f"The series rule {rule.series_ticker}"
