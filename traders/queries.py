"""Reads for the overview: the rows behind it (ORM, a handful of queries) and the living state (Redis)."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import datetime

import redis.asyncio as redis_async
from asgiref.sync import async_to_sync
from django.conf import settings
from django.db.models import Count, Q
from redis.exceptions import RedisError

from feed.queries import newest_feed
from kalshimm.ops import services
from kalshimm.runtime import streams
from kalshimm.runtime.heartbeat import read_beats
from markets import formatting
from markets.core.units import Side, yes_price_cc
from markets.models import Market
from markets.templatetags.units import EXCHANGE_ZONE
from traders.models import DecisionRow, Desired, Fill, Mode, Order, Trader
from traders.overview import (
    TRADER_ROLE,
    ActivityLine,
    Live,
    OverviewPage,
    Stored,
    StoredEvent,
    StoredMarket,
    StoredTrader,
    assemble,
)

ACTIVITY_LINES = 15
REDIS_MAX_S = 0.8  # a page is shown without Redis rather than late
DECISION_VERBS = {"decision": "why"}  # other kinds are state words and answers, verbs by themselves
ORDER_VERBS = {"resting": "quote", "canceled": "pull", "refused": "refuse"}


def overview(now: datetime) -> OverviewPage:
    """Return the page for `now`, reading both stores once."""
    live = async_to_sync(_live_once)()
    return page(stored(now, heard_traders(live)), live, now)


def page(rows: Stored, live: Live, now: datetime) -> OverviewPage:
    return assemble(
        rows,
        live,
        now_us=int(now.timestamp() * 1_000_000),
        environment=settings.KALSHI_ENV,
        expected_roles=services.EXPECTED_ROLES,
    )


def heard_traders(live: Live) -> list[int]:
    """Return the ids of the traders that beat."""
    return [int(beat.name) for beat in live.beats if beat.role == TRADER_ROLE and beat.name.isdecimal()]


async def _live_once() -> Live:
    client = streams.connect(settings.REDIS_URL)
    try:
        return await read_live(client)
    finally:
        await client.aclose()


async def read_live(client: redis_async.Redis) -> Live:
    """Return beats and newest feed entry; with Redis away nothing but the problem, in a sentence."""
    try:
        async with asyncio.timeout(REDIS_MAX_S):
            beats = await read_beats(client)
            feed = await newest_feed(client)
    except (RedisError, OSError, TimeoutError) as exc:
        why = str(exc) or f"nothing within {REDIS_MAX_S} s"
        return Live(problem=f"Redis does not answer ({why}).")
    return Live(beats=tuple(beats), feed=feed)


def stored(now: datetime, heard: Collection[int]) -> Stored:
    """Return the rows behind the page: traders wanted or heard, their markets and events, what happened last."""
    traders = list(Trader.objects.filter(~Q(desired=Desired.STOPPED) | Q(pk__in=heard)))
    markets = list(
        Market.objects.filter(ticker__in={trader.market_ticker for trader in traders}).select_related("event")
    )
    return Stored(
        traders=tuple(
            StoredTrader(t.pk, t.name, t.market_ticker, t.mode, t.desired, t.state, t.state_reason) for t in traders
        ),
        markets={m.ticker: StoredMarket(m.ticker, m.yes_sub_title, m.event_id, m.close_time) for m in markets},
        events={
            event.ticker: StoredEvent(event.ticker, _title(event.title, event.sub_title), event.mutually_exclusive)
            for event in {m.event for m in markets}
        },
        fills_today=_fills_today(now),
        activity=_activity({trader.pk: trader for trader in traders}),
    )


def _title(title: str, sub_title: str) -> str:
    return f"{title}, {sub_title}" if sub_title and sub_title not in title else title


def _fills_today(now: datetime) -> dict[str, int]:
    """Return how many fills each mode had since midnight in the exchange's zone."""
    midnight = now.astimezone(EXCHANGE_ZONE).replace(hour=0, minute=0, second=0, microsecond=0)
    counts = Fill.objects.filter(time__gte=midnight).order_by().values_list("mode").annotate(Count("pk"))
    return dict(counts)


def _activity(traders: dict[int, Trader]) -> tuple[ActivityLine, ...]:
    """Return the newest fills, orders and decisions together, newest first."""
    fills = Fill.objects.select_related("trader")[:ACTIVITY_LINES]
    orders = Order.objects.filter(status__in=ORDER_VERBS, filled_cx=0).select_related("trader")[:ACTIVITY_LINES]
    decisions = DecisionRow.objects.order_by("-time")[:ACTIVITY_LINES]
    lines = [
        *map(_fill_line, fills),
        *map(_order_line, orders),
        *(_decision_line(row, traders.get(row.trader)) for row in decisions),
    ]
    return tuple(sorted(lines, key=lambda line: line.time, reverse=True)[:ACTIVITY_LINES])


def _fill_line(fill: Fill) -> ActivityLine:
    is_bid = fill.side == Side.YES
    price = formatting.price(yes_price_cc(Side(fill.side), fill.price_cc))
    return ActivityLine(
        time=fill.time,
        mode=fill.mode,
        verb="fill",
        name=fill.trader.name if fill.trader else fill.ticker,
        before="bought" if is_bid else "sold",
        strong_cx=fill.count_cx,
        after=f"at {price}",
        change_cx=fill.count_cx if is_bid else -fill.count_cx,
    )


def _order_line(order: Order) -> ActivityLine:
    side = Side(order.side)
    price = formatting.price(yes_price_cc(side, order.price_cc))
    why = f", {order.reason}" if order.reason else ""
    return ActivityLine(
        time=order.updated_at,
        mode=order.mode,
        verb=ORDER_VERBS[order.status],
        name=order.trader.name if order.trader else order.ticker,
        before=f"{side.book_side} {price} × {formatting.contracts(order.placed_cx)}{why}",
    )


def _decision_line(row: DecisionRow, trader: Trader | None) -> ActivityLine:
    return ActivityLine(
        time=row.time,
        mode=trader.mode if trader else "",
        verb=DECISION_VERBS.get(row.kind, row.kind),
        name=trader.name if trader else f"trader {row.trader}",
        before=row.reason,
        is_said=True,
    )


def why_of(order: Order) -> DecisionRow | None:
    """Return the decision that an order was sent on; None for one that is not ours, or whose lines are not stored yet.

    A live order's intent follows its decision in the journal; a paper order's first line stands just before it.
    """
    if order.trader_id is None:
        return None
    decisions = DecisionRow.objects.filter(trader=order.trader_id, kind="decision")
    if order.mode == Mode.LIVE:
        intents = DecisionRow.objects.filter(
            trader=order.trader_id, kind="intent", figures__client_order_id=order.client_order_id
        )
        first = intents.order_by("number").values_list("number", flat=True).first()
        return None if first is None else decisions.filter(number__lt=first).order_by("-number").first()
    return decisions.filter(time__gte=order.created_at).order_by("number").first()
