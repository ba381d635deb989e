from __future__ import annotations

from datetime import UTC, datetime

import pytest

from traders.series import NAME_MOST, RollingMarket, Terms, free_name, markets_to_trade, minute_of_day, trader_name

MINUTE_US = 60_000_000
CLOSE_US = 1_795_342_500_000_000  # 2026-11-22 10:15 UTC


def a_market(number: int, *, status: str = "active") -> RollingMarket:
    """One of a chain of 15-minute markets."""
    open_us = number * 15 * MINUTE_US
    return RollingMarket(f"M{number}", status, open_us, open_us + 15 * MINUTE_US)


CHAIN = [a_market(number) for number in range(4)]


def tickers(now_us: int, *, most: int = 1) -> list[str]:
    return [market.ticker for market in markets_to_trade(CHAIN, Terms(most=most), now_us=now_us)]


def test_the_open_market_is_traded() -> None:
    assert tickers(20 * MINUTE_US) == ["M1"]


def test_the_successor_follows_the_moment_the_old_market_closes() -> None:
    assert tickers(30 * MINUTE_US - 1) == ["M1"]
    assert tickers(30 * MINUTE_US) == ["M2"]


def test_a_market_that_is_not_open_yet_is_not_traded() -> None:
    assert tickers(20 * MINUTE_US, most=5) == ["M1"]


def test_a_market_that_has_just_opened_is_traded_before_the_catalogue_says_so() -> None:
    assert len(markets_to_trade([a_market(0, status="initialized")], Terms(), now_us=1)) == 1


def test_a_market_in_another_state_is_not_traded() -> None:
    states = ("inactive", "closed", "determined", "finalized")
    markets = [a_market(0, status=status) for status in states]
    assert markets_to_trade(markets, Terms(most=9), now_us=1) == ()


def test_of_several_open_markets_those_that_close_first_are_traded() -> None:
    markets = [RollingMarket(f"M{n}", "active", 0, (9 - n) * MINUTE_US) for n in range(5)]
    assert [m.ticker for m in markets_to_trade(markets, Terms(most=2), now_us=1)] == ["M4", "M3"]


def test_a_name_tells_series_and_close_and_is_free() -> None:
    assert trader_name("KXBTC15M", CLOSE_US, ()) == "kxbtc15m-1122-1015"
    assert trader_name("KXBTC15M", CLOSE_US, {"kxbtc15m-1122-1015"}) == "kxbtc15m-1122-1015-2"
    assert len(trader_name("X" * 200, CLOSE_US, ())) <= NAME_MOST


def test_any_ticker_gives_a_name_a_trader_may_have() -> None:
    assert free_name("KXHIGH_NY-26NOV22-T61.5", ()) == "kxhigh-ny-26nov22-t61.5"
    assert len(free_name("X" * 200, {"x" * (NAME_MOST - 4)})) <= NAME_MOST


def test_a_lead_makes_the_successor_ready_before_it_opens() -> None:
    terms = Terms(most=2, lead_us=MINUTE_US)
    found = [markets_to_trade(CHAIN, terms, now_us=at_us) for at_us in (29 * MINUTE_US - 1, 29 * MINUTE_US)]
    assert [[market.ticker for market in markets] for markets in found] == [["M1"], ["M1", "M2"]]


def test_in_its_last_stretch_a_market_gives_way_to_its_successor() -> None:
    terms = Terms(close_buffer_us=2 * MINUTE_US, lead_us=2 * MINUTE_US)
    assert [market.ticker for market in markets_to_trade(CHAIN, terms, now_us=28 * MINUTE_US - 1)] == ["M1"]
    assert [market.ticker for market in markets_to_trade(CHAIN, terms, now_us=28 * MINUTE_US)] == ["M2"]


def test_a_rule_means_the_markets_whose_title_and_program_fit() -> None:
    one = RollingMarket("M", "active", 0, MINUTE_US, title="Highest temperature in NYC 45° to 46°", has_program=True)
    assert Terms(title_has="nyc 45°", needs_program=True).means(one)
    assert not Terms(title_has="Chicago").means(one)
    assert not Terms(needs_program=True).means(a_market(0))


@pytest.mark.parametrize(
    ("begins", "ends", "inside", "outside"),
    [(540, 960, (540, 959), (539, 960)), (1_320, 240, (1_320, 0, 239), (240, 1_319))],
)
def test_traders_are_made_within_a_window_of_the_day(
    begins: int, ends: int, inside: tuple[int, ...], outside: tuple[int, ...]
) -> None:
    terms = Terms(from_minute=begins, until_minute=ends)
    assert all(map(terms.may_begin, inside))
    assert not any(map(terms.may_begin, outside))
    assert Terms().may_begin(0)


def test_E8_the_window_is_of_the_exchanges_own_day_summer_and_winter() -> None:
    for month, minute in ((1, 7 * 60 + 30), (7, 8 * 60 + 30)):
        moment = datetime(2026, month, 15, 12, 30, tzinfo=UTC)
        assert minute_of_day(round(moment.timestamp() * 1_000_000)) == minute
