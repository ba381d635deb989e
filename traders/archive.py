"""Traders of series rules that are over for good: lists leave them out, and all that they did stays."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from kalshimm.ops.services import audit
from markets.models import Market
from traders.allotments import held_ud
from traders.engine import STATUSES
from traders.models import Desired, Trader


@transaction.atomic
def archive_ended(*, actor: str) -> list[str]:
    """Archive those whose market has paid and that hold nothing any more; return their names."""
    ended = Trader.objects.filter(
        series_rule__isnull=False, desired=Desired.STOPPED, state="stopped", pid=None, group_id="", archived_at=None
    )
    paid = Market.objects.filter(status=STATUSES["settled"], pk__in=ended.values("market_ticker"))
    over = [trader for trader in ended.filter(market_ticker__in=paid.values("pk")) if held_ud(trader) == 0]
    for trader in over:
        Trader.objects.filter(pk=trader.pk).update(archived_at=timezone.now())
        audit(actor, "trader.archived", trader.name, market=trader.market_ticker)
    return [trader.name for trader in over]
