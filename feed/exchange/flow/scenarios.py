"""The seeded worlds: `demo`, and `brisk`, the same with a rolling period of 15 s and faster flow.

Each row of the tables is a market: suffix, subtitle, strike fields, a number its belief starts from, and its pace.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import msgspec

from feed.exchange.catalog import SHARD_CRYPTO, Event, Series, Terms
from feed.exchange.flow.beliefs import Exclusive, Fair, Ladder, Spot
from feed.exchange.flow.crowd import Crowd, Pace
from feed.exchange.flow.rolling import Rolling, RollingPlan
from feed.exchange.incentives import programs
from feed.exchange.incentives.programs import DAY_US, ShortProgrammes
from feed.exchange.wire import public as wire
from feed.exchange.world import SECOND_US, World, stable_uuid

if TYPE_CHECKING:
    from feed.exchange.market import Market

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


LISTINGS = (
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

DEMO_ROLLING = RollingPlan(90, 30, 8, 8, Pace(24.0, 90, 24, 90.0))
DEMO_SHORT = ShortProgrammes((), every_s=60, announced_s=120, runs_s=180, paid_after_s=120)


class Scenario(msgspec.Struct, frozen=True):
    """`speed` multiplies the flow's rates."""

    rolling: RollingPlan
    short: ShortProgrammes
    speed: float = 1.0


SCENARIOS = {
    "demo": Scenario(DEMO_ROLLING, DEMO_SHORT),
    "brisk": Scenario(
        msgspec.structs.replace(DEMO_ROLLING, period_s=15, listed_before_s=5, determined_after_s=2, settled_after_s=2),
        msgspec.structs.replace(DEMO_SHORT, every_s=15, announced_s=30, runs_s=45, paid_after_s=30),
        speed=2.0,
    ),
}


def populate(world: World, scenario: Scenario) -> None:
    """List everything, open it and set the crowd going."""
    for series in (*SERIES, BITCOIN):
        world.series[series.ticker] = series
    paces: dict[str, tuple[Fair, Pace]] = {}

    def begin(market: Market) -> None:
        if market.ticker in paces:
            fair, pace = paces[market.ticker]
            faster = msgspec.structs.replace(pace, changes_per_s=pace.changes_per_s * scenario.speed)
            Crowd(world, market, fair, faster).start()

    world.on_open.append(begin)
    for listing in LISTINGS:
        _list(world, listing, paces)
    tickers = tuple(paces)
    for ticker in tickers[:6]:
        programs.offer_days(world, ticker, days=1, reward_cc=200_000, target=1_000, discount_bps=5_000)
    for ticker in tickers[-5:]:
        programs.offer_days(world, ticker, days=7, reward_cc=1_000_000, target=500, discount_bps=5_000)
    programs.run_short(world, msgspec.structs.replace(scenario.short, tickers=tickers[6:20]))
    spot = Spot(random.Random(f"{world.seed}:spot"), start=86_400.0, yearly_volatility=0.55, now_us=world.now_us)
    pace = msgspec.structs.replace(
        scenario.rolling.pace, changes_per_s=scenario.rolling.pace.changes_per_s * scenario.speed
    )
    Rolling(world, BITCOIN, spot, msgspec.structs.replace(scenario.rolling, pace=pace)).start()


def _list(world: World, listing: Listing, paces: dict[str, tuple[Fair, Pace]]) -> None:
    midnight = world.now_us // DAY_US * DAY_US
    close_us = midnight + listing.days * DAY_US
    event = Event(
        ticker=f"{listing.series_ticker}-{wire.stamp(close_us - DAY_US, listing.suffix)}",
        series_ticker=listing.series_ticker,
        title=listing.title,
        sub_title=f"On {wire.stamp(close_us - DAY_US, '%b %d, %Y').title()}",
        collateral_return_type="DIRECNET" if listing.width else "MECNET",
        strike_us=close_us,
        created_us=midnight,
    )
    world.list_event(event)
    fairs, judges = _beliefs(world, listing, event)
    for row, fair, judge in zip(listing.rows, fairs, judges, strict=True):
        ticker = f"{event.ticker}-{row.suffix}"
        paces[ticker] = (fair, row.pace)
        world.list_market(_terms(listing, event, row, ticker), judge=judge, determine_after_us=3_600 * SECOND_US)


def _beliefs(world: World, listing: Listing, event: Event) -> tuple[list[Fair], list[Any]]:
    rng = random.Random(f"{world.seed}:belief:{event.ticker}")
    rows = listing.rows
    if listing.width:
        ladder = Ladder(
            rng, centre=listing.centre, width=listing.width, sigma_per_minute=listing.width / 40, now_us=world.now_us
        )
        fairs = [ladder.fair(row.start) for row in rows]
        return fairs, [lambda fair=fair: "yes" if fair(world.now_us) > 0.5 else "no" for fair in fairs]
    exclusive = Exclusive(rng, [row.start for row in rows], sigma_per_minute=0.03, now_us=world.now_us)
    judges = [lambda i=i: "yes" if exclusive.winner(world.now_us) == i else "no" for i in range(len(rows))]
    return [exclusive.fair(i) for i in range(len(rows))], judges


def _terms(listing: Listing, event: Event, row: Row, ticker: str) -> Terms:
    question = listing.question.format(row.sub_title)
    return Terms(
        ticker=ticker,
        market_id=stable_uuid(f"market:{ticker}"),
        event_ticker=event.ticker,
        title=question,
        yes_sub_title=row.sub_title,
        no_sub_title=row.sub_title,
        rules_primary=f"{question} If so, according to the settlement source, then the market resolves to Yes.",
        rules_secondary="Not all settlement sources report at once; revisions after expiration do not count.",
        created_us=event.created_us,
        open_us=event.created_us,
        close_us=event.strike_us,
        expected_expiration_us=event.strike_us + 3_600 * SECOND_US,
        latest_expiration_us=event.strike_us + 7 * DAY_US,
        settlement_timer_s=300,
        structure=listing.structure,
        strike=row.strike,
    )
