"""Limits above a trader: what an event, a rule, an account or the fleet may lose together is allotted, not raced for.

    start, or other limits ──reserve()──► row locks on the allotments ──► Trader.reserved_ud, or ReservationRefused
    ended                  ──release()──► what it still holds stays reserved until its market has paid

A trader reserves the most that its own limits let it lose, whichever way its market resolves, and looks at it with each
order once more (`traders.core.risk`). The sum of reservations is already the worst case over the outcomes of an event,
mutually exclusive or not: each market loses at most its trader's reservation under either of its results. It cannot be
had for less either. Nobody says which side a trader will be on, and when all of them hold YES and none of the markets
resolves so, which no flag of the venue rules out, everything that was reserved is lost.

Dry-run traders reserve against allotments of their own mode. Without an allotment for it a scope has no limit.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Q, QuerySet, Sum

from feed.models import ExchangeKey, Settlement
from kalshimm.errors import KalshimmError
from markets.formatting import dollars
from markets.models import Market
from traders import accounts, fleet
from traders.accounts import account_of
from traders.core.limits import Allotment
from traders.models import PAPER, Desired, Mode, Trader
from traders.models import Allotment as AllotmentRow

EXCEEDED, UNKNOWN = "ALLOTMENT_EXCEEDED", "ALLOTMENT_UNKNOWN"
Scope = AllotmentRow.Scope


class ReservationRefused(KalshimmError):
    """A trader cannot reserve what it may lose; nothing was reserved, and what it had reserved before stands.

    Attributes:
        code: ALLOTMENT_EXCEEDED, or ALLOTMENT_UNKNOWN where nobody can tell what others use.
        scope: event, rule, account or fleet.
        figures: In micro-dollars: `wanted_ud`, `used_ud` by others, `most_ud`, and `fits_ud`, which would do.
    """

    def __init__(self, message: str, *, code: str, scope: str, figures: dict[str, int]) -> None:
        self.code, self.scope, self.figures = code, scope, figures
        super().__init__(message)


@transaction.atomic
def reserve(trader_id: int, worst_ud: int) -> tuple[Allotment, ...]:
    """Reserve what a trader may lose of every allotment that it is under, in place of what it had reserved before.

    Call it before each start, outside other transactions: whoever else reserves of the same allotments waits until it
    is committed.

    Args:
        worst_ud: The most that it may lose (`traders.core.risk.reserve_ud`), never less than what it holds has cost.

    Returns:
        What the trader is to be told at its start: each allotment with what others have reserved of it.

    Raises:
        ReservationRefused: An allotment does not hold it, or its event is not known.
        Trader.DoesNotExist: There is no such trader.
    """
    trader = Trader.objects.get(pk=trader_id)
    rows = _locked(trader)
    found = [_shared(row, trader) for row in rows]
    if any(not _fits(one, worst_ud) for one in found):
        _let_go(_ended(rows, trader))
        found = [_shared(row, trader) for row in rows]
        _refuse_unless_all_fit(trader, rows, found, worst_ud)
    Trader.objects.filter(pk=trader_id).update(reserved_ud=worst_ud)
    return tuple(found)


def release(trader_id: int) -> int | None:
    """Give back what a trader without a process has reserved, but for what it still holds.

    Of a live trader call it once nothing of it rests at the exchange any more. What its journal has not brought to the
    database yet is not known here: while an order of it seems to rest there, everything stays reserved, and the next
    call, or the next trader that finds no room, looks again.

    Returns:
        What stays reserved; None when nothing does.
    """
    trader = Trader.objects.get(pk=trader_id)
    kept_ud = held_ud(trader)
    if trader.reserved_ud is None or trader.pid is not None or kept_ud is None:
        return trader.reserved_ud
    Trader.objects.filter(pk=trader_id, pid=None).update(reserved_ud=kept_ud or None)
    return kept_ud or None


def held_ud(trader: Trader) -> int | None:
    """Return what a trader's position cost, 0 once its market has paid; None while its last lines are not stored."""
    stored = fleet.read_stored(trader.pk)
    if stored.open_orders or stored.live.orders:
        return None
    subaccount = trader.pk if trader.mode == Mode.DRY_RUN else trader.subaccount or 0
    paid = Settlement.objects.filter(account=account_of(trader), ticker=trader.market_ticker, subaccount=subaccount)
    return 0 if paid.exists() else stored.inventory.position.cost_ud


def reserved_ud(row: AllotmentRow) -> int:
    """Return what is reserved of an allotment in all."""
    return _sharing(row).aggregate(used=Sum("reserved_ud"))["used"] or 0


def named(row: AllotmentRow) -> str:
    """Return an allotment's name in a sentence."""
    if row.scope == Scope.FLEET:
        return "the fleet"
    return f"{row.get_scope_display().lower()} {row.key}"


def known_accounts(mode: str) -> list[str]:
    """Return the accounts that traders of a mode may trade on: for live ones also those that have a key."""
    if mode == Mode.DRY_RUN:
        return [PAPER]
    return sorted({*accounts.known_accounts(), *ExchangeKey.objects.values_list("account", flat=True)})


def _locked(trader: Trader) -> list[AllotmentRow]:
    """Return the allotments that a trader is under, locked in the one order that everybody locks them in."""
    event = Market.objects.filter(pk=trader.market_ticker).values_list("event_id", flat=True).first()
    if event is None:
        raise ReservationRefused(
            f"{trader.market_ticker} of trader {trader.name} is not in the catalogue, so nobody knows its event; see "
            "`refresh_catalog`.",
            code=UNKNOWN,
            scope=Scope.EVENT.value,
            figures={},
        )
    above = Q(scope=Scope.FLEET) | Q(scope=Scope.ACCOUNT, key=account_of(trader)) | Q(scope=Scope.EVENT, key=event)
    if trader.series_rule is not None:
        above |= Q(scope=Scope.RULE, key=trader.series_rule.series_ticker)
    return list(AllotmentRow.objects.filter(above, mode=trader.mode).select_for_update().order_by("pk"))


def _sharing(row: AllotmentRow) -> QuerySet[Trader]:
    """Return the traders that share an allotment."""
    traders = Trader.objects.filter(mode=row.mode)
    if row.scope == Scope.EVENT:
        return traders.filter(market_ticker__in=Market.objects.filter(event_id=row.key).values("ticker"))
    if row.scope == Scope.RULE:
        return traders.filter(series_rule__series_ticker=row.key)
    if row.scope == Scope.ACCOUNT and row.mode == Mode.LIVE:
        unnamed = Q(account="") if row.key == settings.KALSHI_ENV else Q()
        return traders.filter(Q(account=row.key) | unnamed)
    if row.scope == Scope.ACCOUNT and row.key != PAPER:
        return traders.none()
    return traders


def _shared(row: AllotmentRow, trader: Trader) -> Allotment:
    """Return an allotment with what others have reserved of it; unknown while one runs that has reserved nothing."""
    without = Count("pk", filter=Q(reserved_ud=None, pid__isnull=False))
    others = _sharing(row).exclude(pk=trader.pk).aggregate(used=Sum("reserved_ud"), without=without)
    return Allotment(named(row), row.most_ud, None if others["without"] else others["used"] or 0)


def _fits(allotment: Allotment, worst_ud: int) -> bool:
    assert allotment.most_ud is not None, "a row says how much"
    return allotment.used_ud is not None and allotment.used_ud + worst_ud <= allotment.most_ud


def _ended(rows: Iterable[AllotmentRow], trader: Trader) -> set[int]:
    """Return who else has reserved of these allotments and trades no more."""
    over = {"desired": Desired.STOPPED, "state": "stopped", "pid": None, "reserved_ud__isnull": False}
    return {
        pk for row in rows for pk in _sharing(row).filter(**over).exclude(pk=trader.pk).values_list("pk", flat=True)
    }


def _let_go(ended: Iterable[int]) -> None:
    for trader_id in sorted(ended):
        release(trader_id)


def _refuse_unless_all_fit(
    trader: Trader, rows: Iterable[AllotmentRow], found: Iterable[Allotment], worst_ud: int
) -> None:
    for row, one in zip(rows, found, strict=True):
        if one.used_ud is None:
            raise ReservationRefused(
                f"Trader {trader.name} cannot reserve of what is allotted to {one.name}: a trader runs there that has "
                "reserved nothing, as those do that an earlier version started; stop it and start it again.",
                code=UNKNOWN,
                scope=row.scope,
                figures={"wanted_ud": worst_ud, "most_ud": row.most_ud},
            )
    tightest = min(zip(rows, found, strict=True), key=lambda pair: _left_ud(pair[1]), default=None)
    if tightest is not None and _left_ud(tightest[1]) < worst_ud:
        raise _exceeded(trader, *tightest, worst_ud)


def _left_ud(allotment: Allotment) -> int:
    assert allotment.most_ud is not None
    assert allotment.used_ud is not None
    return allotment.most_ud - allotment.used_ud


def _exceeded(trader: Trader, row: AllotmentRow, allotment: Allotment, worst_ud: int) -> ReservationRefused:
    fits_ud = max(0, _left_ud(allotment))
    used_ud = allotment.used_ud or 0
    lower = f"lower its exposure_ud_most to {fits_ud}, " if fits_ud else ""
    return ReservationRefused(
        f"Trader {trader.name} may lose {dollars(worst_ud)}, and of the {dollars(row.most_ud)} allotted to "
        f"{allotment.name} others have reserved {dollars(used_ud)}: {dollars(fits_ud)} would fit; {lower}stop another "
        "trader, or raise the allotment.",
        code=EXCEEDED,
        scope=row.scope,
        figures={"wanted_ud": worst_ud, "used_ud": used_ud, "most_ud": row.most_ud, "fits_ud": fits_ud},
    )
