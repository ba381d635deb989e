"""The catalogue of the local exchange in the database."""

from __future__ import annotations

import time
from typing import Any

import pytest

from feed import catalog
from feed.kalshi.errors import Disconnected
from feed.kalshi.transport import Connection
from feed.kalshi.wire.bodies import decode
from markets.core.units import Side
from markets.models import Event, IncentiveProgram, Market, Series

pytestmark = pytest.mark.django_db


@pytest.fixture
def venue(exchange: Any, settings: Any) -> None:
    for name, value in exchange.settings.items():
        setattr(settings, name, value)


def test_it_stores_what_the_venue_lists(venue: None) -> None:
    counts = catalog.refresh()
    assert (Series.objects.count(), Event.objects.count()) == (counts.series, counts.events)
    assert Market.objects.filter(status="active").count() >= 24
    assert IncentiveProgram.objects.count() == counts.programs > 0
    assert Event.objects.filter(mutually_exclusive=True).exists()
    assert {len(m.price_ranges) for m in Market.objects.all()} >= {1, 3}
    for market in Market.objects.all():
        assert market.grid().prices_cc(Side.YES)


def test_a_second_look_adds_only_what_is_new(venue: None) -> None:
    catalog.refresh()
    before = set(Market.objects.exclude(event__series__frequency="fifteen_min").values_list("ticker", flat=True))
    Series.objects.update(fee_type="stale")
    catalog.refresh()
    after = set(Market.objects.exclude(event__series__frequency="fifteen_min").values_list("ticker", flat=True))
    assert after == before
    assert not Series.objects.filter(fee_type="stale").exists(), "each row is the venue's latest word"


def test_one_market_nobody_can_read_does_not_hide_the_others(venue: None, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden: list[str] = []

    def damaged(body: bytes) -> Any:
        data = decode(body)
        for event in data.get("events", []):
            if not hidden:
                event["markets"][0]["price_ranges"][0]["step"] = "a penny"
                hidden.append(event["markets"][0]["ticker"])
        return data

    monkeypatch.setattr("feed.kalshi.calls.decode", damaged)
    counts = catalog.refresh()
    assert Market.objects.count() == counts.markets >= 24
    assert not Market.objects.filter(ticker__in=hidden).exists()


@pytest.mark.timeout(90)
def test_events_of_a_series_nobody_can_read_do_not_hide_the_others(
    venue: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden: list[str] = []

    def damaged(body: bytes) -> Any:
        data = decode(body)
        if data.get("series"):
            hidden.append(data["series"].pop()["ticker"])
        return data

    monkeypatch.setattr("feed.kalshi.calls.decode", damaged)
    catalog.refresh()
    assert hidden
    assert not Event.objects.filter(series__in=hidden).exists()
    assert Market.objects.exists()


def test_a_rolling_market_is_followed_to_its_end_and_to_its_successor(venue: None) -> None:
    catalog.refresh()
    rolling = Market.objects.filter(event__series__frequency="fifteen_min", status="active").order_by("close_time")
    first = rolling.first()
    assert first is not None
    deadline = time.monotonic() + 60
    while first.status != "finalized" or not rolling.exists():
        assert time.monotonic() < deadline, f"{first.ticker} stayed {first.status}"
        time.sleep(0.5)  # the exchange has no event for a silent close
        catalog.refresh()
        first.refresh_from_db()
    successor = rolling.first()
    assert successor is not None
    assert first.result in ("yes", "no")
    assert successor.open_time >= first.close_time


def test_a_venue_that_does_not_answer_leaves_the_database_as_it_was(
    venue: None, settings: Any, monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    catalog.refresh()
    before = Market.objects.count()
    settings.KALSHI_REST_URL = f"http://127.0.0.1:{free_port}/trade-api/v2"
    monkeypatch.setattr("feed.kalshi.calls.Connection", lambda: Connection(deadline_s=0.5))
    with pytest.raises(Disconnected):
        catalog.refresh()
    assert Market.objects.count() == before


def test_a_short_look_reads_only_the_series_it_is_asked_for(venue: None) -> None:
    counts = catalog.refresh(["KXBTC15M"])
    assert set(Series.objects.values_list("ticker", flat=True)) == {"KXBTC15M"}
    assert counts.programs == 0
    assert Market.objects.filter(status="active").exists()
