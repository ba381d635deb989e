"""Bring the catalogue of the venue into the database: series, events, their milestones, markets, incentive programs.

Idempotent: each row is the venue's latest word. Rows the venue no longer lists stay, with an old `seen_at`.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

import msgspec
from django.db import transaction
from django.utils import timezone

from feed import venue
from feed.kalshi.rest import Rest
from feed.kalshi.wire import catalogue as wire
from feed.kalshi.wire.kinds import moment
from feed.kalshi.wire.markets import Market as MarketBody
from kalshimm.runtime.clock import SystemClock
from markets.models import Event, IncentiveProgram, Market, Series
from markets.models.catalog import microseconds

logger = logging.getLogger(__name__)

STATUSES = ("unopened", "open", "closed")
FINAL = "finalized"
MILESTONES_BACK = timedelta(days=1)  # news of a moment just past may still move a market
MILESTONES_MOST = 50  # of one event, the first ones: a season has hundreds
NAME_MOST = 100  # characters of a milestone


class Counts(msgspec.Struct, frozen=True):
    """Rows written, by kind."""

    series: int
    events: int
    markets: int
    programs: int


class Catalogue(msgspec.Struct):
    """What the venue listed; `milestones` is None where they were not asked for."""

    series: dict[str, wire.Series] = {}
    events: dict[str, wire.Event] = {}
    markets: dict[str, MarketBody] = {}
    programs: dict[str, wire.IncentiveProgram] = {}
    milestones: list[wire.Milestone] | None = None


def refresh(series: Sequence[str] = ()) -> Counts:
    """Read the venue's catalogue and store it.

    Args:
        series: Read only the events of these series, no incentive programs and no milestones: a short look at what
            rolls.

    Raises:
        VenueError: The venue cannot be read; the database is unchanged.
    """
    now = timezone.now()
    known = set(Series.objects.values_list("ticker", flat=True))
    ending = set(Market.objects.filter(close_time__lt=now).exclude(status=FINAL).values_list("ticker", flat=True))
    if series:
        ending &= set(Market.objects.filter(event__series__in=series).values_list("ticker", flat=True))
    return store(asyncio.run(_read(known, ending, series, microseconds(now - MILESTONES_BACK))), now)


async def _read(known_series: set[str], ending: set[str], only: Sequence[str], since_us: int) -> Catalogue:
    """Read all that is not settled, and the last word on the markets that have closed since we looked."""
    found = Catalogue({}, {}, {}, {})
    async with Rest(venue.environment(), venue.signer(), SystemClock()) as rest:
        for status, series in itertools.product(STATUSES, only or ("",)):
            async for event in rest.catalogue.events(status=status, series_ticker=series, with_nested_markets=True):
                found.events[event.event_ticker] = event
                found.markets.update((market.ticker, market) for market in event.markets)
                if unreadable := event.unknown.get("markets"):
                    logger.warning(
                        "%s has %d markets that cannot be read", event.event_ticker, len(unreadable),
                        extra={"action": "catalogue_row_unusable"},
                    )  # fmt: skip
        for market in await rest.markets.named(sorted(ending - found.markets.keys())):
            found.markets[market.ticker] = market
        listed = {event.series_ticker for event in found.events.values()}
        if only:
            for ticker in sorted(listed - known_series):
                found.series[ticker] = await rest.catalogue.series(ticker)
        else:
            found.series = {
                body.ticker: body for body in (await rest.catalogue.all_series()).items if body.ticker in listed
            }
        _leave_out_strangers(found, known_series)
        if not only:
            async for program in rest.catalogue.incentive_programs():
                found.programs[program.id] = program
            found.milestones = [one async for one in rest.catalogue.milestones(min_start_us=since_us)]
    return found


def _leave_out_strangers(found: Catalogue, known_series: set[str]) -> None:
    """Leave out events whose series the venue does not tell: without it they cannot be stored, nor anything else."""
    for event in [*found.events.values()]:
        if event.series_ticker in found.series or event.series_ticker in known_series:
            continue
        logger.warning(
            "%s is left out: nothing is known of its series %s", event.event_ticker, event.series_ticker,
            extra={"action": "catalogue_row_unusable"},
        )  # fmt: skip
        del found.events[event.event_ticker]
        for market in event.markets:
            found.markets.pop(market.ticker, None)


def store(found: Catalogue, now: datetime) -> Counts:
    """Upsert what the venue listed, in one transaction."""
    milestones = _by_event(found.milestones or ())
    series = [
        Series(
            ticker=body.ticker,
            title=body.title,
            category=body.category,
            frequency=body.frequency,
            fee_type=body.fee_type or "",
            fee_multiplier=_written(body.fee_multiplier),
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
            mutually_exclusive=body.mutually_exclusive or False,
            exchange_index=body.exchange_index or 0,
            fee_type_override=body.fee_type_override or "",
            fee_multiplier_override=_written(body.fee_multiplier_override),
            strike_date=_moment(body.strike_date_us),
            milestones=milestones.get(body.event_ticker, []),
            seen_at=now,
        )
        for body in found.events.values()
    ]
    markets = [_market(body, now) for body in found.markets.values()]
    programs = [_program(body, now) for body in found.programs.values()]
    with transaction.atomic():
        _upsert(series)
        _upsert(events, kept=("milestones",) if found.milestones is None else ())
        _upsert(markets)
        _upsert(programs)
    return Counts(len(series), len(events), len(markets), len(programs))


def _written(number: Decimal | None) -> str:
    """Return a number as the venue wrote it, "" where it wrote none."""
    return "" if number is None else format(number, "f")


def _moment(time_us: int | None) -> datetime | None:
    return None if time_us is None else moment(time_us)


def _by_event(milestones: Iterable[wire.Milestone]) -> dict[str, list[tuple[int, str]]]:
    """Return (time in microseconds, name) of each event's milestones, oldest first."""
    found: dict[str, set[tuple[int, str]]] = {}
    for milestone in milestones:
        name = (milestone.title or milestone.type)[:NAME_MOST]
        times = [(milestone.start_us, name)]
        if milestone.end_us is not None:
            times.append((milestone.end_us, f"end of {name}"))
        # Others are related to it by their subject alone.
        for event in milestone.primary_event_tickers:
            found.setdefault(event, set()).update(times)
    return {event: sorted(times)[:MILESTONES_MOST] for event, times in found.items()}


def _market(body: MarketBody, now: datetime) -> Market:
    return Market(
        ticker=body.ticker,
        event_id=body.event_ticker,
        yes_sub_title=body.yes_sub_title,
        status=body.status,
        result=body.result,
        open_time=moment(body.open_us),
        close_time=moment(body.close_us),
        occurrence_time=_moment(body.occurrence_us),
        expected_expiration_time=_moment(body.expected_expiration_us),
        settlement_value_ud=body.settlement_value_ud,
        settlement_time=_moment(body.settlement_us),
        exchange_index=body.exchange_index or 0,
        price_ranges=[[band.start_cc, band.end_cc, band.step_cc] for band in body.price_ranges],
        fee_waived_until=_moment(body.fee_waiver_expiration_us),
        seen_at=now,
    )


def _program(body: wire.IncentiveProgram, now: datetime) -> IncentiveProgram:
    return IncentiveProgram(
        id=body.id,
        market_ticker=body.market_ticker,
        incentive_type=body.incentive_type,
        start_date=moment(body.start_us),
        end_date=moment(body.end_us),
        period_reward_cc=body.period_reward_cc,
        target_size_cx=body.target_size_cx,
        discount_factor_bps=body.discount_factor_bps,
        paid_out=body.paid_out,
        seen_at=now,
    )


def _upsert(
    rows: list[Series] | list[Event] | list[Market] | list[IncentiveProgram], *, kept: Collection[str] = ()
) -> None:
    """Insert rows; of those that are there, replace every field but the `kept` ones."""
    if not rows:
        return
    model = type(rows[0])
    fields = [field.attname for field in model._meta.concrete_fields if not field.primary_key]
    fields = [name for name in fields if name not in kept]
    model._default_manager.bulk_create(
        rows,  # type: ignore[arg-type]  # one kind of row at a time
        update_conflicts=True,
        unique_fields=[model._meta.pk.attname],
        update_fields=fields,
        batch_size=1_000,
    )
