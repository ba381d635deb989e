"""What the database knows of a trader's live orders, for the day its folder is gone. Sync: call it outside the loop.

It knows an order from the trader's journal, from the account, or from both; and a fill is in the trader's position only
once its journal told it. So an order that the account calls complete is still open here while fills of it are missing
from the journal, and one that only the account told of is the trader's by the name that it carries.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from django.conf import settings
from django.db.models import F, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from kalshimm.runtime.home import installation_number
from markets.core.orderids import decode
from markets.core.units import Side
from markets.models.catalog import microseconds
from traders.core.evidence import FINAL
from traders.core.liveorder import LiveOrder, Standing
from traders.core.liveorders import Kept
from traders.core.liveshelf import OVER_KEPT, Ids
from traders.core.orders import OrderStatus
from traders.models import DecisionRow, Fill, Mode, Order, Trader

Booked = dict[tuple[str, str], dict[str, int]]
"""Contracts by trade id, of each (account, order id)."""


def stored_live(trader_id: int) -> Kept:
    """Return what the stored lines and the account's word on its orders amount to."""
    orders = _of(trader_id)
    still_open = Q(told_at=None, status=OrderStatus.RESTING.value) | (
        Q(told_at__isnull=False) & (Q(is_complete=False) | Q(booked__lt=F("filled_cx")))
    )
    counters = _Counters(trader_id)
    found = counters.ours(orders.filter(still_open).order_by("journal_number", "id"))
    over = counters.ours(orders.exclude(still_open).order_by("-updated_at", "-id")[:OVER_KEPT])
    booked = _booked(trader_id, found)
    return Kept(
        next_number=max(_last_intent(trader_id), counters.most) + 1,
        orders=tuple(_live_order(order, booked[order.account, order.order_id]) for order in found),
        over=tuple(_ids(order) for order in reversed(over)),
    )


def _of(trader_id: int) -> QuerySet[Order]:
    """Return the orders that may be the trader's, with the contracts that its journal has booked of each."""
    ticker = Trader.objects.values("market_ticker").filter(pk=trader_id)
    unclaimed = Q(trader=None, is_external=False, ticker__in=ticker)
    mine = Fill.objects.filter(trader=trader_id, account=OuterRef("account"), order_id=OuterRef("order_id"))
    booked = mine.order_by().values("order_id").annotate(sum_cx=Sum("count_cx")).values("sum_cx")
    whose = Q(trader=trader_id) | unclaimed
    return Order.objects.filter(whose, mode=Mode.LIVE).annotate(booked=Coalesce(Subquery(booked), 0))


class _Counters:
    """Takes the trader's own orders from others, by their names; and the highest number of an intent in a name."""

    def __init__(self, trader_id: int) -> None:
        self._trader_id = trader_id
        self._installation = installation_number(settings.KALSHIMM_HOME)
        self.most = 0

    def ours(self, orders: Iterable[Order]) -> list[Order]:
        return [order for order in orders if self._is_ours(order)]

    def _is_ours(self, order: Order) -> bool:
        named = decode(order.client_order_id)
        if named is None or (named.installation, named.trader) != (self._installation, self._trader_id):
            return order.trader_id == self._trader_id
        self.most = max(self.most, named.counter)
        return True


def _booked(trader_id: int, orders: list[Order]) -> Booked:
    booked: Booked = defaultdict(dict)
    order_ids = [order.order_id for order in orders if order.order_id]
    for fill in Fill.objects.filter(trader=trader_id, order_id__in=order_ids):
        booked[fill.account, fill.order_id][fill.trade_id] = fill.count_cx
    return booked


def _live_order(order: Order, trades: dict[str, int]) -> LiveOrder:
    """Return an order as its trader has to take it: it existed, and whatever may have come of it is looked at."""
    named = decode(order.client_order_id)
    return LiveOrder(
        client_order_id=order.client_order_id,
        number=named.counter if named else 0,
        side=Side(order.side),
        price_cc=order.price_cc,
        wished_cx=order.placed_cx,
        total_cx=order.filled_cx + order.remaining_cx,
        expires_us=microseconds(order.expires_at) if order.expires_at else None,
        standing=Standing.ENDED if order.is_complete else Standing.RESTING,
        order_id=order.order_id,
        exists=True,
        filled_cx=order.filled_cx,
        booked_cx=sum(trades.values()),
        trades=frozenset(trades),
        rested_us=microseconds(order.created_at),
        end=FINAL.get(order.status, OrderStatus.CANCELED),
        end_reason=order.reason if order.is_complete else "",
        end_is_final=order.is_complete,
    )


def _ids(order: Order) -> Ids:
    return order.client_order_id, order.order_id


def _last_intent(trader_id: int) -> int:
    newest = DecisionRow.objects.filter(trader=trader_id, kind="intent").order_by("-number").first()
    return 0 if newest is None else int(newest.figures["number"])
