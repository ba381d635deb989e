from __future__ import annotations

from traders.series import NAME_MOST, RollingMarket, free_name, markets_to_trade, trader_name

MINUTE_US = 60_000_000
CLOSE_US = 1_795_342_500_000_000  # 2026-11-22 10:15 UTC


def a_market(number: int, *, status: str = "active") -> RollingMarket:
    """One of a chain of 15-minute markets."""
    open_us = number * 15 * MINUTE_US
    return RollingMarket(f"M{number}", status, open_us, open_us + 15 * MINUTE_US)


CHAIN = [a_market(number) for number in range(4)]


def tickers(now_us: int, *, most: int = 1) -> list[str]:
    return [market.ticker for market in markets_to_trade(CHAIN, now_us=now_us, most=most)]


def test_the_open_market_is_traded() -> None:
    assert tickers(20 * MINUTE_US) == ["M1"]


def test_the_successor_follows_the_moment_the_old_market_closes() -> None:
    assert tickers(30 * MINUTE_US - 1) == ["M1"]
    assert tickers(30 * MINUTE_US) == ["M2"]


def test_a_market_that_is_not_open_yet_is_not_traded() -> None:
    assert tickers(20 * MINUTE_US, most=5) == ["M1"]


def test_a_market_that_has_just_opened_is_traded_before_the_catalogue_says_so() -> None:
    assert len(markets_to_trade([a_market(0, status="initialized")], now_us=1, most=1)) == 1


def test_a_market_in_another_state_is_not_traded() -> None:
    states = ("inactive", "closed", "determined", "finalized")
    markets = [a_market(0, status=status) for status in states]
    assert markets_to_trade(markets, now_us=1, most=9) == ()


def test_of_several_open_markets_those_that_close_first_are_traded() -> None:
    markets = [RollingMarket(f"M{n}", "active", 0, (9 - n) * MINUTE_US) for n in range(5)]
    assert [m.ticker for m in markets_to_trade(markets, now_us=1, most=2)] == ["M4", "M3"]


def test_a_name_tells_series_and_close_and_is_free() -> None:
    assert trader_name("KXBTC15M", CLOSE_US, ()) == "kxbtc15m-1122-1015"
    assert trader_name("KXBTC15M", CLOSE_US, {"kxbtc15m-1122-1015"}) == "kxbtc15m-1122-1015-2"
    assert len(trader_name("X" * 200, CLOSE_US, ())) <= NAME_MOST


def test_any_ticker_gives_a_name_a_trader_may_have() -> None:
    assert free_name("KXHIGH_NY-26NOV22-T61.5", ()) == "kxhigh-ny-26nov22-t61.5"
    assert len(free_name("X" * 200, {"x" * (NAME_MOST - 4)})) <= NAME_MOST
