"""When news is due, and what markets paid: from the exchange through the catalogue to what a trader is told."""

from __future__ import annotations

import json
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from feed import catalog
from feed.kalshi.wire import catalogue as wire
from markets.models import Event, Market, Series
from markets.models.catalog import microseconds
from traders.core.facts import MarketFacts, Moment, encode_facts, read_facts
from traders.fleet import read_wanted
from traders.services import create_trader, strategy_named

pytestmark = pytest.mark.django_db
HOUR_US = 3_600_000_000


@pytest.fixture
def venue(exchange: Any, settings: Any) -> Any:
    for name, value in exchange.settings.items():
        setattr(settings, name, value)
    return exchange


def control(exchange: Any, path: str, **body: Any) -> dict[str, Any]:
    request = urllib.request.Request(
        exchange.ready["control"] + path, data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


def facts_of(market: Market) -> MarketFacts:
    """Return what a trader of the market is told, after its way to the other process."""
    create_trader(
        name=f"t-{market.pk.lower()}", market_ticker=market.pk, strategy=strategy_named("join-best"), actor="test"
    )
    (facts,) = [wanted.facts for wanted in read_wanted([]) if wanted.ticker == market.pk]
    assert facts is not None
    return read_facts(encode_facts(facts))


def lasting_markets() -> list[Market]:
    markets = Market.objects.select_related("event").exclude(event__series__frequency="fifteen_min")
    return list(markets.filter(status="active"))


# Moments


def test_the_catalogue_knows_when_each_event_and_market_waits_for_its_news(venue: Any) -> None:
    catalog.refresh()
    markets = lasting_markets()
    assert markets
    for market in markets:
        event = market.event
        assert event.strike_date == market.close_time
        assert market.occurrence_time == market.expected_expiration_time == event.strike_date + timedelta(hours=1)
        assert event.milestones == [[microseconds(event.strike_date), event.title]]


def test_what_happens_while_a_market_trades_is_told_to_its_traders(venue: Any) -> None:
    catalog.refresh()
    market = lasting_markets()[0]
    strike_us = microseconds(market.close_time)
    assert facts_of(market).moments == (), "at its close, or later, nothing of ours rests any more"
    control(venue, f"/markets/{market.pk}/move_close", close_ts=strike_us // 1_000_000 + 7_200)
    catalog.refresh()
    (told,) = [wanted.facts for wanted in read_wanted([])]
    assert told is not None
    assert told.moments == (
        Moment(strike_us, market.event.title),
        Moment(strike_us, "strike date"),
        Moment(strike_us + HOUR_US, "expected result"),
        Moment(strike_us + HOUR_US, "occurrence"),
    )


def test_a_short_look_at_a_series_keeps_the_milestones_that_it_does_not_read(venue: Any) -> None:
    catalog.refresh()
    event = lasting_markets()[0].event
    kept = event.milestones
    catalog.refresh([event.series_id])
    event.refresh_from_db()
    assert event.milestones == kept
    Event.objects.filter(pk=event.pk).update(milestones=[[1, "stale"]])
    catalog.refresh()
    event.refresh_from_db()
    assert event.milestones == kept, "each full look is the venue's latest word"


def an_event(ticker: str = "KXGAME-1", *, strike_date: datetime | None = None, **market: Any) -> Market:
    now = timezone.now()
    series, _ = Series.objects.get_or_create(ticker="KXGAME", defaults={"seen_at": now})
    event = Event.objects.create(ticker=ticker, series=series, seen_at=now, strike_date=strike_date)
    times = {"open_time": now - timedelta(days=1), "close_time": now + timedelta(days=300), "seen_at": now}
    return Market.objects.create(
        ticker=f"{ticker}-A", event=event, status="active", price_ranges=[[0, 10_000, 100]], **times | market
    )


def a_milestone(start_us: int, *primary: str, **changes: Any) -> wire.Milestone:
    values = {"id": str(start_us), "category": "Sports", "type": "game", "title": "Reds at Blues"}
    return wire.Milestone(start_us=start_us, primary_event_tickers=primary, **values | changes)


def listed(*milestones: wire.Milestone) -> catalog.Catalogue:
    event = wire.Event(event_ticker="KXGAME-1", series_ticker="KXGAME", title="Reds at Blues")
    return catalog.Catalogue(events={"KXGAME-1": event}, milestones=list(milestones))


def test_a_milestone_has_a_beginning_and_perhaps_an_end(venue: Any) -> None:
    market = an_event()
    start_us = microseconds(timezone.now()) // 1_000_000 * 1_000_000
    catalog.store(
        listed(
            a_milestone(start_us, "KXGAME-1", end_us=start_us + HOUR_US),
            a_milestone(start_us, "KXGAME-1", title=""),
            a_milestone(start_us, "KXELSE-1", title="of another event", related_event_tickers=("KXGAME-1",)),
        ),
        timezone.now(),
    )
    assert facts_of(market).moments == (
        Moment(start_us, "Reds at Blues"),
        Moment(start_us, "game"),
        Moment(start_us + HOUR_US, "end of Reds at Blues"),
    )


def test_of_a_season_of_milestones_the_first_are_kept() -> None:
    market = an_event()
    start_us = microseconds(timezone.now())
    games = [a_milestone(start_us + day * 24 * HOUR_US, "KXGAME-1", title="x" * 200) for day in range(82)]
    catalog.store(listed(*reversed(games)), timezone.now())
    moments = facts_of(market).moments
    assert len(moments) == 50
    assert moments[0] == Moment(start_us, "x" * 100)


def test_a_market_of_which_nothing_is_known_has_no_moments() -> None:
    assert facts_of(an_event()).moments == ()


@pytest.mark.parametrize("hour", [5, 6], ids=["first 1:30", "second 1:30"])
def test_E8_a_moment_in_the_hour_that_new_york_has_twice_is_the_one_that_was_said(hour: int) -> None:
    strike = datetime(2027, 11, 7, hour, 30, tzinfo=UTC)  # 1:30 there, before and after the clocks go back
    market = an_event(strike_date=strike, close_time=strike + timedelta(days=1))
    assert facts_of(market).moments == (Moment(microseconds(strike), "strike date"),)


# What markets paid


@pytest.mark.parametrize(
    ("result", "value", "value_ud"), [("yes", None, 1_000_000), ("no", None, 0), ("scalar", "0.3333", 333_300)]
)
def test_F7_the_catalogue_follows_a_market_to_what_it_paid(
    venue: Any, result: str, value: str | None, value_ud: int
) -> None:
    catalog.refresh()
    market = lasting_markets()[0]
    assert (market.settlement_value_ud, market.settlement_time) == (None, None)
    control(venue, f"/markets/{market.pk}/determine", result="no")
    catalog.refresh()
    market.refresh_from_db()
    assert (market.status, market.result, market.settlement_value_ud) == ("determined", "no", 0)
    control(venue, f"/markets/{market.pk}/dispute")
    control(venue, f"/markets/{market.pk}/amend", result=result, **({} if value is None else {"value": value}))
    control(venue, f"/markets/{market.pk}/settle")
    catalog.refresh()
    market.refresh_from_db()
    assert (market.status, market.result, market.settlement_value_ud) == ("finalized", result, value_ud)
    assert market.settlement_time is not None
    assert abs(market.settlement_time - timezone.now()) < timedelta(minutes=1)
