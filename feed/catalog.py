"""Bring the catalogue of the venue into the database: series, events, markets, incentive programs.

Idempotent: each row is the venue's latest word. Rows the venue no longer lists stay, with an old `seen_at`.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TypeVar

import msgspec
from django.db import transaction
from django.utils import timezone

from feed import venue
from feed.kalshi.rest import Rest
from feed.kalshi.wire import rest as wire
from kalshimm.runtime.clock import SystemClock
from markets.core.units import parse_count, parse_price
from markets.models import Event, IncentiveProgram, Market, Series

logger = logging.getLogger(__name__)

Body = TypeVar("Body", wire.MarketBody, wire.ProgramBody)
Row = TypeVar("Row", Market, IncentiveProgram)

STATUSES = ("unopened", "open", "closed")
FINAL = "finalized"


class Counts(msgspec.Struct, frozen=True):
    """Rows written, by kind."""

    series: int
    events: int
    markets: int
    programs: int


class Catalogue(msgspec.Struct):
    """What the venue listed."""

    series: dict[str, wire.SeriesBody] = {}
    events: dict[str, wire.EventBody] = {}
    markets: dict[str, wire.MarketBody] = {}
    programs: dict[str, wire.ProgramBody] = {}


def refresh(series: Sequence[str] = ()) -> Counts:
    """Read the venue's catalogue and store it.

    Args:
        series: Read only the events of these series, and no incentive programs: a short look at what rolls.

    Raises:
        VenueError: The venue cannot be read; the database is unchanged.
    """
    now = timezone.now()
    known = set(Series.objects.values_list("ticker", flat=True))
    ending = set(Market.objects.filter(close_time__lt=now).exclude(status=FINAL).values_list("ticker", flat=True))
    if series:
        ending &= set(Market.objects.filter(event__series__in=series).values_list("ticker", flat=True))
    return store(asyncio.run(_read(known, ending, series)), now)


async def _read(known_series: set[str], ending: set[str], only: Sequence[str]) -> Catalogue:
    """Read all that is not settled, and the last word on the markets that have closed since we looked."""
    found = Catalogue({}, {}, {}, {})
    async with Rest(venue.environment(), venue.signer(), SystemClock()) as rest:
        for status, series in itertools.product(STATUSES, only or ("",)):
            async for event in rest.events(status=status, series_ticker=series):
                found.events[event.event_ticker] = event
                found.markets.update((market.ticker, market) for market in event.markets or ())
        for market in await rest.markets(sorted(ending - found.markets.keys())):
            found.markets[market.ticker] = market
        listed = {event.series_ticker for event in found.events.values()}
        if only:
            for ticker in sorted(listed - known_series):
                found.series[ticker] = await rest.series(ticker)
        else:
            found.series = {body.ticker: body for body in await rest.all_series() if body.ticker in listed}
        if not only:
            async for program in rest.incentive_programs():
                found.programs[program.id] = program
    return found


def store(found: Catalogue, now: datetime) -> Counts:
    """Upsert what the venue listed, in one transaction."""
    series = [
        Series(
            ticker=body.ticker,
            title=body.title,
            category=body.category,
            frequency=body.frequency,
            fee_type=body.fee_type,
            fee_multiplier=bytes(body.fee_multiplier).decode().strip('"'),
            seen_at=now,
        )
        for body in found.series.values()
    ]
    events = [
        Event(
            ticker=body.event_ticker,
            series_id=body.series_ticker,
            title=body.title,
            sub_title=body.sub_title,
            mutually_exclusive=body.mutually_exclusive,
            exchange_index=body.exchange_index,
            seen_at=now,
        )
        for body in found.events.values()
    ]
    markets = _usable(_market, found.markets.values(), now)
    programs = _usable(_program, found.programs.values(), now)
    with transaction.atomic():
        for rows in (series, events, markets, programs):
            _upsert(rows)
    return Counts(len(series), len(events), len(markets), len(programs))


def _usable(make: Callable[[Body, datetime], Row], bodies: Iterable[Body], now: datetime) -> list[Row]:
    """Return the rows of the bodies that make sense; one that does not is said and left out, not all of them."""
    rows = []
    for body in bodies:
        try:
            rows.append(make(body, now))
        except ValueError as exc:
            logger.warning("left out of the catalogue: %s: %s", body, exc, extra={"action": "catalogue_row_unusable"})
    return rows


def _market(body: wire.MarketBody, now: datetime) -> Market:
    return Market(
        ticker=body.ticker,
        event_id=body.event_ticker,
        yes_sub_title=body.yes_sub_title,
        status=body.status,
        result=body.result,
        open_time=body.open_time,
        close_time=body.close_time,
        exchange_index=body.exchange_index,
        price_ranges=[[parse_price(r.start), parse_price(r.end), parse_price(r.step)] for r in body.price_ranges],
        seen_at=now,
    )


def _program(body: wire.ProgramBody, now: datetime) -> IncentiveProgram:
    return IncentiveProgram(
        id=body.id,
        market_ticker=body.market_ticker,
        incentive_type=body.incentive_type,
        start_date=body.start_date,
        end_date=body.end_date,
        period_reward_cc=body.period_reward,
        target_size_cx=None if body.target_size_fp is None else parse_count(body.target_size_fp),
        discount_factor_bps=body.discount_factor_bps,
        paid_out=body.paid_out,
        seen_at=now,
    )


def _upsert(rows: list[Series] | list[Event] | list[Market] | list[IncentiveProgram]) -> None:
    if not rows:
        return
    model = type(rows[0])
    fields = [field.attname for field in model._meta.concrete_fields if not field.primary_key]
    model._default_manager.bulk_create(
        rows,  # type: ignore[arg-type]  # one kind of row at a time
        update_conflicts=True,
        unique_fields=[model._meta.pk.attname],
        update_fields=fields,
        batch_size=1_000,
    )
