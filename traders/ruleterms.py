"""Series rules as grants see them: what a rule is now, which rule a trader is under, and how many of it trade."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Q, QuerySet

from markets.models import Market
from traders.accounts import account_of
from traders.core.decision import parse_limits
from traders.core.golive import LIVE, RuleTerms, limits_digest
from traders.core.registry import ParamsError
from traders.models import Desired, Grant, Mode, SeriesRule, Trader
from traders.services import RefusedChange

TRADES = ~Q(desired=Desired.STOPPED) | Q(pid__isnull=False) | ~Q(group_id="")
"""A trader that trades, or of which something may still rest."""


def terms_of(rule: SeriesRule) -> RuleTerms:
    """Return a rule as it is now."""
    try:
        limits = parse_limits(rule.limits)
    except ParamsError:
        limits = None
    return RuleTerms(
        rule=rule.pk,
        series=rule.series_ticker,
        mode=rule.mode,
        limits_digest=None if limits is None else limits_digest(limits),
        limits=limits,
        max_traders=rule.max_traders,
        daily_loss_ud=rule.daily_loss_ud,
    )


def granted(grant: Grant) -> RuleTerms | None:
    """Return what a grant confirmed of a rule; None for one that names a trader."""
    if grant.rule_id is None or grant.max_traders is None or grant.daily_loss_ud is None:
        return None
    return RuleTerms(
        rule=grant.rule_id,
        series=grant.series_ticker,
        mode=LIVE,
        limits_digest=grant.limits_digest,
        max_traders=grant.max_traders,
        daily_loss_ud=grant.daily_loss_ud,
    )


def rule_over(trader: Trader) -> SeriesRule | None:
    """Return the rule that a trader is under; None also where its market is not of the rule's series."""
    rule = trader.series_rule
    if rule is None:
        return None
    is_meant = Market.objects.filter(pk=trader.market_ticker, event__series_id=rule.series_ticker).exists()
    return rule if is_meant else None


def grants_over(trader: Trader) -> QuerySet[Grant]:
    """Return the grants that name a trader, or its rule where that was granted on the trader's own account.

    A rule may be set to another account; a trader keeps the one that its orders and position are on.
    """
    whose = Q(trader=trader)
    if trader.series_rule_id is not None:
        whose |= Q(rule=trader.series_rule_id, account=account_of(trader), subaccount=trader.subaccount)
    return Grant.objects.filter(whose)


def trading(rule: SeriesRule) -> QuerySet[Trader]:
    """Return the live traders of a rule that trade, or of which something may still rest."""
    return Trader.objects.filter(TRADES, mode=Mode.LIVE, series_rule=rule)


def refuse_beyond(traders: Iterable[Trader]) -> None:
    """Refuse a start after which more live traders of a rule would trade than it may have at once.

    Two starts at once wait for each other at the rule's row.

    Raises:
        RefusedChange: It names the rule and both numbers.
    """
    chosen = [trader for trader in traders if trader.mode == Mode.LIVE and trader.series_rule_id is not None]
    rules = SeriesRule.objects.select_for_update().filter(pk__in={trader.series_rule_id for trader in chosen})
    for rule in rules.order_by("pk"):
        there = set(trading(rule).values_list("pk", flat=True))
        added = {trader.pk for trader in chosen if trader.series_rule_id == rule.pk} - there
        if added and len(there | added) > rule.max_traders:
            raise RefusedChange(
                f"The series rule {rule.series_ticker} may have {rule.max_traders} live traders at once, and "
                f"{len(there)} of it trade or may have orders at rest: stop one first."
            )
