"""The boards of the scenarios: what is listed, and how lively each market is.

Each row is a market: suffix, subtitle, strike fields, a number its belief starts from, and its pace. `DEMO` is written
by hand; `games` and `temperatures` make as many events of their kind as are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from feed.exchange.catalog import SHARD_CRYPTO, Series
from feed.exchange.flow.agents.hands import Pace

NWS = ("National Weather Service", "https://www.weather.gov/")
ECONOMICS = ("Bureau of Labor Statistics", "https://www.bls.gov/")
FED = ("Federal Reserve", "https://www.federalreserve.gov/")
LEAGUE = ("National football league", "https://www.nfl.com/")
INDEX = ("S&P Global", "https://www.spglobal.com/")

SERIES = (
    Series("KXHIGHNY", "Highest temperature in NYC", "Climate and Weather", ("Daily temperature",), "daily", NWS),
    Series("KXHIGHCHI", "Highest temperature in Chicago", "Climate and Weather", ("Daily temperature",), "daily", NWS),
    Series("KXHIGHLAX", "Highest temperature in LA", "Climate and Weather", ("Daily temperature",), "daily", NWS),
    Series("KXCPIYOY", "Inflation", "Economics", ("Inflation",), "monthly", ECONOMICS),
    Series("KXFEDDECISION", "Fed decision", "Economics", ("Fed",), "custom", FED),
    Series("KXINXU", "S&P 500 above", "Financials", ("S&P",), "daily", INDEX),
    Series("KXNFLGAME", "Pro football game", "Sports", ("Football",), "custom", LEAGUE, "quadratic_with_maker_fees"),
)
BITCOIN = Series(
    "KXBTC15M", "Bitcoin price up or down", "Crypto", ("BTC",), "fifteen_min",
    ("CF Benchmarks", "https://www.cfbenchmarks.com/"), exchange_index=SHARD_CRYPTO,
)  # fmt: skip

BUSY, STEADY, CALM, QUIET, ASLEEP = 18.0, 6.0, 0.6, 0.15, 0.04


class Row(msgspec.Struct, frozen=True):
    """One market of an event; `start` is a weight (exclusive sets) or a strike (ladders)."""

    suffix: str
    sub_title: str
    strike: dict[str, Any]
    start: float
    pace: Pace


class Listing(msgspec.Struct, frozen=True):
    """One event of the scenario. `centre` and `width` make it a ladder, else exactly one row comes true."""

    series_ticker: str
    suffix: str
    title: str
    question: str
    days: int
    structure: str
    rows: tuple[Row, ...]
    centre: float = 0.0
    width: float = 0.0


def _between(low: int, weight: float, rate: float, **pace: Any) -> Row:
    strike = {"strike_type": "between", "floor_strike": low, "cap_strike": low + 1}
    return Row(f"B{low}.5", f"{low}° to {low + 1}°", strike, weight, Pace(rate, **pace))


def _edge(suffix: str, sub_title: str, strike: dict[str, Any], weight: float, rate: float, **pace: Any) -> Row:
    return Row(suffix, sub_title, strike, weight, Pace(rate, **pace))


def _above(strike: float, unit: str, rate: float, **pace: Any) -> Row:
    text = f"{strike:g}"
    return Row(
        f"T{text}",
        f"Above {text}{unit}",
        {"strike_type": "greater", "floor_strike": strike},
        strike,
        Pace(rate, **pace),
    )


def _temperatures(low: int, rates: tuple[float, ...], **pace: Any) -> tuple[Row, ...]:
    middle = [_between(low + 2 * i, weight, rates[i + 1], **pace) for i, weight in enumerate((1.6, 4.2, 3.4, 1.2))]
    first = _edge(f"T{low}", f"{low - 1}° or below", {"strike_type": "less", "cap_strike": low}, 0.5, rates[0], **pace)
    top = low + 7
    last = _edge(
        f"T{top}", f"{top + 1}° or above", {"strike_type": "greater", "floor_strike": top}, 0.3, rates[5], **pace
    )
    return (first, *middle, last)


DEMO = (
    Listing(
        "KXHIGHNY", "%y%b%d", "Highest temperature in NYC?", "Will the high temp in NYC be {}?", 2, "linear_cent",
        _temperatures(41, (QUIET, CALM, BUSY, STEADY, CALM, QUIET), half_spread_cc=90, size=45.0),
    ),
    Listing(
        "KXHIGHCHI", "%y%b%d", "Highest temperature in Chicago?", "Will the high temp in Chicago be {}?", 2,
        "tapered_deci_cent",
        _temperatures(34, (QUIET, QUIET, CALM, CALM, QUIET, ASLEEP), half_spread_cc=110, size=60.0),
    ),
    Listing(
        "KXHIGHLAX", "%y%b%d", "Highest temperature in LA?", "Will the high temp in LA be {}?", 2, "linear_cent",
        _temperatures(66, (ASLEEP, QUIET, QUIET, QUIET, ASLEEP, ASLEEP), half_spread_cc=160, size=35.0),
    ),
    Listing(
        "KXNFLGAME", "%y%b%dBUFMIA", "Buffalo vs Miami", "Will {} win the Buffalo vs Miami pro football game?", 4,
        "linear_cent",
        (
            Row("BUF", "Buffalo", {"strike_type": "structured"}, 1.5, Pace(22.0, 55, 20, 400.0)),
            Row("MIA", "Miami", {"strike_type": "structured"}, 1.0, Pace(15.0, 55, 20, 350.0)),
        ),
    ),
    Listing(
        "KXFEDDECISION", "%y%b", "Fed decision in December?", "Will the Federal Reserve {} at its next meeting?", 17,
        "tapered_deci_cent",
        (
            Row("H0", "hold rates", {"strike_type": "custom"}, 2.6, Pace(STEADY, 60, 16, 900.0)),
            Row("C25", "cut rates by 25bps", {"strike_type": "custom"}, 1.7, Pace(CALM, 60, 16, 700.0)),
            Row("C26", "cut rates by more than 25bps", {"strike_type": "custom"}, 0.12, Pace(QUIET, 60, 12, 500.0)),
            Row("H25", "hike rates", {"strike_type": "custom"}, 0.05, Pace(ASLEEP, 60, 12, 500.0)),
        ),
    ),
    Listing(
        "KXCPIYOY", "%y%b", "Inflation this month?", "Will inflation over the year be {}?", 20, "linear_cent",
        tuple(_above(k, "%", rate, half_spread_cc=130, size=120.0)
              for k, rate in ((2.6, ASLEEP), (2.8, QUIET), (3.0, QUIET), (3.2, ASLEEP))),
        centre=2.93, width=0.14,
    ),
    Listing(
        "KXINXU", "%y%b%dH1600", "S&P 500 at the close?", "Will the S&P 500 be {} at 4 pm?", 3, "tapered_deci_cent",
        tuple(_above(k, "", rate, half_spread_cc=80, size=150.0)
              for k, rate in ((6700.0, QUIET), (6750.0, CALM), (6800.0, STEADY), (6850.0, CALM), (6900.0, QUIET))),
        centre=6_806.0, width=55.0,
    ),
)  # fmt: skip

CITIES = (
    "AUS", "BOS", "DAL", "DEN", "DET", "HOU", "LV", "MIA", "MIN", "NOLA", "OKC", "PHIL", "PHX", "PIT", "SATX", "SEA",
    "SFO", "SLC", "STL", "TPA", "ATL", "BNA", "BWI", "CLE", "CLT", "CMH", "CVG", "DC", "IND", "JAX", "MCI", "MEM",
    "MKE", "ORD", "PDX", "RDU", "RIC", "SAC", "SAN", "SJC",
)  # fmt: skip
TEAMS = (
    "ARI", "ATL", "BAL", "BUF", "CAR", "CHI", "CIN", "CLE", "DAL", "DEN", "DET", "GB", "HOU", "IND", "JAC", "KC", "LA",
    "LAC", "LV", "MIA", "MIN", "NE", "NO", "NYG", "NYJ", "PHI", "PIT", "SEA", "SF", "TB", "TEN", "WAS",
)  # fmt: skip


def city_series() -> Iterator[Series]:
    for city in CITIES:
        title = f"Highest temperature in {city}"
        yield Series(f"KXHIGH{city}", title, "Climate and Weather", ("Daily temperature",), "daily", NWS)


def temperatures(count: int, rates: list[float], **pace: Any) -> tuple[Listing, ...]:
    """Return `count` events (at most one a city) of six exclusive markets; `rates` holds one for each market.

    Within an event the middle ones are the busiest. Every third board has tenth-of-a-cent edges.
    """
    return tuple(
        Listing(
            f"KXHIGH{city}", "%y%b%d", f"Highest temperature in {city}?", f"Will the high temp in {city} be {{}}?", 2,
            "tapered_deci_cent" if number % 3 == 2 else "linear_cent",
            _temperatures(30 + 7 * number % 50, _middle_first(rates[6 * number : 6 * number + 6]), **pace),
        )
        for number, city in enumerate(CITIES[:count])
    )  # fmt: skip


def _middle_first(rates: list[float]) -> tuple[float, ...]:
    first, second, third, fourth, fifth, sixth = rates
    return (fifth, third, first, second, fourth, sixth)


def games(count: int, rates: list[float], **pace: Any) -> tuple[Listing, ...]:
    """Return `count` games of two exclusive markets each; `rates` holds one for each market.

    None closes on the day on which a world begins, however late in it that is.
    """
    return tuple(
        _game(number, (rates[2 * number], rates[2 * number + 1]), **pace)
        for number in range(count)
    )  # fmt: skip


def _game(number: int, rates: tuple[float, float], **pace: Any) -> Listing:
    meeting, first = divmod(number, len(TEAMS))
    home, away = TEAMS[first], TEAMS[(first + meeting + 1) % len(TEAMS)]
    days = 2 + number % 6
    rows = tuple(
        Row(team, team, {"strike_type": "structured"}, weight, Pace(rate, **pace))
        for team, weight, rate in zip((home, away), (1.0 + number % 5 / 4, 1.0), rates, strict=True)
    )
    question = f"Will {{}} win the {home} vs {away} pro football game?"
    return Listing("KXNFLGAME", f"%y%b%d{home}{away}", f"{home} vs {away}", question, days, "linear_cent", rows)
