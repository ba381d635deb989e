from __future__ import annotations

import pytest
import redis
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from markets.core.units import Side
from tests.fixtures import fleet
from traders.models import Mode, Trader

pytestmark = pytest.mark.django_db
MOST_QUERIES = 8  # session and user, traders, markets with events, fills today, and three kinds of activity


def test_an_empty_fleet_names_the_next_step(browser: Client, redis_client: redis.Redis) -> None:
    page = browser.get("/").text
    assert "No traders yet" in page
    assert "/admin/traders/trader/add/" in page
    assert "Nothing happened yet" in page


def test_it_shows_each_trader_with_its_market_and_its_orders(browser: Client, redis_client: redis.Redis) -> None:
    traders = fleet.seed()
    fleet.write_beats(redis_client, *map(fleet.trader_beat, traders))
    page = browser.get("/").text
    for words in ("Highest temperature in NYC, Mon 23 Nov", "45° to 46°", "one outcome", "6 traders on paper", "+85"):
        assert words in page
    assert "24¢" in page  # the bid
    assert "27¢" in page  # the ask, from the No ladder's 73¢
    assert "≈160" in page


def test_live_and_paper_figures_are_never_added(browser: Client, redis_client: redis.Redis) -> None:
    traders = fleet.seed()
    Trader.objects.filter(pk=traders[0].pk).update(mode=Mode.LIVE)
    traders[0].refresh_from_db()
    fleet.write_beats(redis_client, *(fleet.trader_beat(t, trading_ud=1_000_000) for t in traders))
    page = browser.get("/").text
    assert "<title>LIVE" in page
    assert "+$1.00" in page
    assert "+$5.00" in page
    assert "$6.00" not in page


def test_a_silent_fleet_is_unknown_not_zero(browser: Client, redis_client: redis.Redis) -> None:
    fleet.seed()
    page = browser.get("/").text
    assert page.count("silent") > 6
    assert 'title="Unknown: no beat' in page


def test_the_page_stands_with_redis_away(browser: Client, settings: Settings) -> None:
    fleet.seed()
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    answer = browser.get("/")
    assert answer.status_code == 200
    assert "Redis does not answer" in answer.text


def test_the_number_of_queries_does_not_grow_with_the_fleet(
    browser: Client, redis_client: redis.Redis, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    traders = fleet.seed()
    fleet.write_beats(redis_client, *map(fleet.trader_beat, traders))
    with django_assert_max_num_queries(MOST_QUERIES):
        browser.get("/")


def test_what_a_trader_says_is_text_not_markup(browser: Client, redis_client: redis.Redis) -> None:
    trader = fleet.seed()[0]
    fleet.write_beats(redis_client, fleet.trader_beat(trader, why="<script>alert(1)</script>"))
    page = browser.get("/").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_a_part_filled_order_shows_remaining_of_placed(browser: Client, redis_client: redis.Redis) -> None:
    trader = fleet.seed()[0]
    quotes = [fleet.a_quote(Side.NO, 7_300, 18_000, placed_cx=25_000)]
    fleet.write_beats(redis_client, fleet.trader_beat(trader, quotes=quotes))
    page = browser.get("/").text
    assert "180/250" in page
    assert "one-sided" in page


def test_no_page_carries_inline_style_or_script(browser: Client, redis_client: redis.Redis) -> None:
    traders = fleet.seed()
    fleet.write_beats(redis_client, *map(fleet.trader_beat, traders))
    page = browser.get("/").text
    assert " style=" not in page
    assert "<style" not in page
    assert "onclick" not in page
    assert all(' src="' in tag for tag in page.split("<script")[1:])


def test_the_headline_result_says_whose_it_is(browser: Client, redis_client: redis.Redis) -> None:
    traders = fleet.seed()
    fleet.write_beats(redis_client, *map(fleet.trader_beat, traders))
    assert "not money, of the traders shown" in browser.get("/").text


def test_an_unknown_market_promises_no_time_of_the_catalogues_next_reading(
    browser: Client, redis_client: redis.Redis
) -> None:
    trader = fleet.seed()[0]
    Trader.objects.filter(pk=trader.pk).update(market_ticker="KXNEW-1")
    page = browser.get("/").text
    assert "its next reading may bring it" in page
    assert "within a minute" not in page
