"""What the traders of series rules came to, exactly: from their fills and from what their markets paid. Sync."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time
from typing import Any

import msgspec
from django.db.models import Q, QuerySet

from feed.models import Settlement
from markets.core.settlement import settlement_value_ud
from markets.core.units import CONTRACT_CX, Side
from traders.core.inventory import Inventory, Payout
from traders.core.riskbook import EXCHANGE_ZONE, exchange_day
from traders.core.rulerisk import TraderResult
from traders.models import PAPER, Fill, Mode, SeriesRule, Trader

NOBODY: Mapping[int, int] = {}


class RuleTotal(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule's traders of one mode came to; money in micro-dollars.

    Attributes:
        traders, running, archived: How many there are, with a process, and put away.
        unpaid: How many hold contracts that are not paid; `open_cost_ud` is what those cost.
        fees_ud: None while those of a fill are not known.
        realised_ud: What was closed or paid brought beyond its cost, before fees.
        result_ud: That after fees; None as they.
    """

    rule: str
    mode: str
    traders: int
    running: int
    archived: int
    unpaid: int
    fills: int
    fees_ud: int | None
    realised_ud: int
    result_ud: int | None
    open_cost_ud: int


def results_today(rule: SeriesRule, now_us: int, told_ud: Mapping[int, int] = NOBODY) -> list[TraderResult]:
    """Return today's part of each of a rule's live traders that may have had a result today.

    Args:
        told_ud: The result of their whole lives as running traders tell it themselves, where they know it.
    """
    begin = day_begin(now_us)
    traders = Trader.objects.filter(Q(archived_at=None) | Q(archived_at__gte=begin), series_rule=rule, mode=Mode.LIVE)
    now, before = inventories(traders), inventories(traders, until=begin)
    return [_today(told_ud.get(pk), now.get(pk), before.get(pk)) for pk in traders.values_list("pk", flat=True)]


def totals() -> list[RuleTotal]:
    """Return what all rules came to: a line for each, and another where it has made traders of another mode, too."""
    rules = SeriesRule.objects.order_by("series_ticker")
    return [_total(rule, mode) for rule in rules for mode in sorted(_modes(rule))]


def inventories(traders: QuerySet[Trader], *, until: datetime | None = None) -> dict[int, Inventory]:
    """Return what these traders' fills and settlements amount to, by trader; those without a fill are left out.

    Args:
        until: Only what happened before.
    """
    fills = Fill.objects.filter(trader__in=traders).order_by("trader", "time", "id")
    paid = Settlement.objects.filter(ticker__in=traders.values("market_ticker"))
    if until is not None:
        fills, paid = fills.filter(time__lt=until), paid.filter(settled_at__lt=until)
    found: dict[int, Inventory] = defaultdict(Inventory)
    accounts: dict[int, tuple[str, str]] = {}
    for fill in fills:
        assert fill.trader_id is not None, "they were asked for by their trader"
        found[fill.trader_id] = found[fill.trader_id].after(
            Side(fill.side), fill.price_cc, fill.count_cx, fee_ud=fill.fee_ud, inferred=fill.inferred
        )
        accounts[fill.trader_id] = fill.account, fill.ticker
    settlements = _by_holder(paid)
    for trader, (account, ticker) in accounts.items():
        holder = (account, ticker, trader if account == PAPER else None)
        if (settlement := settlements.get(holder)) is not None:
            found[trader] = _paid_out(found[trader], settlement)
    return dict(found)


def day_begin(now_us: int) -> datetime:
    """Return when the exchange's day began."""
    day = date.fromisoformat(exchange_day(now_us)[0])
    return datetime.combine(day, time(), EXCHANGE_ZONE).astimezone(UTC)


def _by_holder(paid: Iterable[Settlement]) -> dict[tuple[str, str, int | None], Settlement]:
    """Return settlements by account, market and, on paper, trader."""
    return {(one.account, one.ticker, one.subaccount if one.account == PAPER else None): one for one in paid}


def _paid_out(held: Inventory, settlement: Settlement) -> Inventory:
    """Return an inventory after its market has paid.

    An account's settlement is of all that it held there, a stranger's orders included; the trader's part is what a
    contract was worth. A row that does not say so leaves the position open.
    """
    if settlement.account == PAPER:  # its row has the fees of the fills in it
        return held.paid_out(Payout(settlement.revenue_ud, settlement.fee_ud - held.position.fees_ud))
    value_ud = None if settlement.value_cc is None else settlement.value_cc * CONTRACT_CX
    try:
        return held.settled(settlement_value_ud(settlement.result, value_ud))  # type: ignore[arg-type]  # a word of the venue's
    except ValueError:
        return held


def _today(told_ud: int | None, now: Inventory | None, before: Inventory | None) -> TraderResult:
    now, before = now or Inventory(), before or Inventory()
    return TraderResult(
        told_ud=told_ud,
        cash_ud=now.cash_ud,
        held_cx=abs(now.position_cx),
        before_ud=before.position.realized_ud - before.position.fees_ud,
        unknown_fees=now.unknown_fees,
    )


def _modes(rule: SeriesRule) -> set[str]:
    return {str(rule.mode), *Trader.objects.filter(series_rule=rule).order_by().values_list("mode", flat=True)}


def _total(rule: SeriesRule, mode: str) -> RuleTotal:
    traders = Trader.objects.filter(series_rule=rule, mode=mode)
    held = inventories(traders).values()
    fees_ud = None if any(one.unknown_fees for one in held) else sum(one.position.fees_ud for one in held)
    realised_ud = sum(one.position.realized_ud for one in held)
    return RuleTotal(
        rule=rule.series_ticker,
        mode=mode,
        traders=traders.count(),
        running=traders.exclude(pid=None).count(),
        archived=traders.exclude(archived_at=None).count(),
        unpaid=sum(bool(one.position_cx) for one in held),
        fills=sum(one.fills for one in held),
        fees_ud=fees_ud,
        realised_ud=realised_ud,
        result_ud=None if fees_ud is None else realised_ud - fees_ud,
        open_cost_ud=sum(one.position.cost_ud for one in held),
    )


def rows() -> list[dict[str, Any]]:
    """Return what the outside sees of each rule; the names are a contract."""
    rules = {rule.series_ticker: rule for rule in SeriesRule.objects.all()}
    return [msgspec.structs.asdict(one) | _standing(rules[one.rule]) for one in totals()]


def _standing(rule: SeriesRule) -> dict[str, Any]:
    if not rule.is_active:
        return {"state": "off", "state_reason": ""}
    if rule.mode != Mode.LIVE:
        return {"state": "going", "state_reason": ""}
    latched = rule.latched_at is not None
    return {"state": "latched" if latched else rule.standing, "state_reason": rule.state_reason}
