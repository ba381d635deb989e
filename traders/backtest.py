"""The engine over a recorded tape: the one that runs live and dry, with another broker, clock and source.

    recording ──feed.retold──► events, tickers, time ──► engine ──► ReplayBroker (the paper model)
                                                           └──► journal bodies ──► traders.backtested

Each market of the recording gets a trader of its own, from its first word to its close. Events are handed over as they
were received, those of one turn together as a read of the book stream brings them; a look follows each turn and each
entry of the feed, which comes every 250 ms. Time is the recording's, so that the same plan and seed on the same
recording give the same result, to the byte.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import msgspec

from feed.retold import Retold, Told
from feed.schema import FeedState
from feed.survey import Survey, SurveyedMarket, survey
from kalshimm.errors import KalshimmError
from markets.core.fees import FeeTerms
from markets.core.grid import PriceRange
from traders.backtested import BacktestResult, Outcome
from traders.brokers.paper import PaperSettings
from traders.brokers.replay import ReplayBroker
from traders.core.decision import Rules, parse_limits
from traders.core.facts import MarketFacts
from traders.core.pipeline import StrategyChoices
from traders.engine import Now, Setup
from traders.tapetrader import TapeTrader

MODE = "backtest"
RECORDING_ENDS = "the recording ends"
UNKNOWN_CLOSE_US = 86_400_000_000  # behind the recording's end: so far from it that nobody prepares for the close

COUNTED = (
    "connections", "frames", "snapshots", "deltas", "trades", "tickers", "lifecycle",
    "gaps", "malformed", "negative_levels", "crossed_books",
)  # fmt: skip

NewBroker = Callable[[Callable[[], str], PaperSettings], ReplayBroker]


class NoSuchMarket(KalshimmError):
    """The recording does not hold the market that is asked for."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be tried.

    Attributes:
        limits: By name; absent ones take their defaults.
        seed: Names the orders.
        paper: How the paper exchange behaves; whether there are prints, and fees, stand below.
        market: Only this one; every one of the recording when it is empty.
        close_us: Of markets whose close the recording does not say; None is a day behind its end.
        price_ranges: Of every market, whatever the recording says.
        fees: None while they are unknown.
        has_prints: None goes by the recording.
        use_yes_price: NO levels of raw frames are at YES prices.
    """

    strategies: StrategyChoices
    limits: Any = {}
    seed: int = 1
    paper: PaperSettings = PaperSettings()
    market: str = ""
    close_us: int | None = None
    price_ranges: tuple[PriceRange, ...] | None = None
    fees: FeeTerms | None = None
    has_prints: bool | None = None
    use_yes_price: bool = False

    def rules(self) -> Rules:
        """Return what the engine decides by, checked.

        Raises:
            NoStrategies: A strategy is unknown, or parameters do not fit.
            ParamsError: The limits do not fit.
        """
        return Rules(self.strategies.parse(), parse_limits(self.limits))


def backtest(path: Path, plan: Plan, *, new_broker: NewBroker = ReplayBroker) -> BacktestResult:
    """Run the plan over a recording.

    Args:
        new_broker: Makes a market's broker of the maker of its order ids and its settings.

    Raises:
        BadRecording: The file is broken, or holds no market.
        NoSuchMarket: It does not hold the market of the plan.
        NoStrategies, ParamsError: The plan names strategies or limits that do not fit.
    """
    found = survey(path, use_yes_price=plan.use_yes_price)
    return Backtest(found, plan, new_broker=new_broker).run(Retold(path, found, use_yes_price=plan.use_yes_price))


class Backtest:
    """Every trader of one recording.

    Args:
        found: What the recording says of itself.
        new_broker: As of `backtest`.
    """

    def __init__(self, found: Survey, plan: Plan, *, new_broker: NewBroker = ReplayBroker) -> None:
        chosen = [market for market in found.markets if plan.market in ("", market.ticker)]
        if not chosen:
            known = ", ".join(market.ticker for market in found.markets)
            raise NoSuchMarket(f"The recording does not hold {plan.market}; it holds {known}.")
        self._found, self._plan, self._new_broker = found, plan, new_broker
        self._rules = plan.rules()
        self._has_prints = found.has_prints if plan.has_prints is None else plan.has_prints
        self._markets = {market.ticker: market for market in chosen}
        self._traders: dict[str, TapeTrader] = {}
        self._feed: tuple[FeedState, Now] | None = None

    def run(self, tape: Retold) -> BacktestResult:
        """Play the tape to its end, and return what became of it."""
        now = Now(self._found.first_us + self._found.ahead_us, self._found.first_us / 1_000_000)
        for told in tape.tell():
            now = Now(told.wall_us, told.received_us / 1_000_000)
            self._hear(told, now)
        for trader in self._traders.values():
            trader.end(RECORDING_ENDS, now)
        return self._result(tape)

    def _hear(self, told: Told, now: Now) -> None:
        if told.feed is not None:
            self._feed = (told.feed, now)
            for trader in self._traders.values():
                trader.on_feed(told.feed, now)
        heard = dict.fromkeys(self._traders if told.feed is not None else ())
        for ticker, happened in told.happened:
            if ticker in self._markets:
                trader = self._traders.get(ticker) or self._begun(ticker, now)
                trader.hear(happened, now)
                heard[ticker] = None
        for ticker in heard:
            self._traders[ticker].look(now)

    def _begun(self, ticker: str, now: Now) -> TapeTrader:
        market = self._markets[ticker]
        number = len(self._traders) + 1
        numbers = itertools.count(1)
        settings = msgspec.structs.replace(self._plan.paper, fees=self._plan.fees, has_prints=self._has_prints)
        broker = self._new_broker(lambda: f"bt{self._plan.seed}-{number}-{next(numbers)}", settings)
        setup = Setup(number, ticker, MODE, self._rules, self._facts(market))
        trader = self._traders[ticker] = TapeTrader(setup, broker, now)
        if self._feed is not None:
            trader.on_feed(*self._feed)
        return trader

    def _facts(self, market: SurveyedMarket) -> MarketFacts:
        last_us = self._found.last_us + self._found.ahead_us
        close_us = self._close_us(market)
        return MarketFacts(
            price_ranges=self._plan.price_ranges or market.price_ranges,
            close_time_us=last_us + UNKNOWN_CLOSE_US if close_us is None else close_us,
            fees=self._plan.fees,
        )

    def _close_us(self, market: SurveyedMarket) -> int | None:
        return self._plan.close_us if market.close_us is None else market.close_us

    def _result(self, tape: Retold) -> BacktestResult:
        results = tuple(
            trader.result(self._close_us(self._markets[ticker]), is_deduced=self._is_deduced(ticker))
            for ticker, trader in self._traders.items()
        )
        found, plan = self._found, self._plan
        return BacktestResult(
            recording=found.recording,
            strategies=plan.strategies,
            limits=plan.limits,
            seed=plan.seed,
            latency_us=plan.paper.latency_us,
            has_prints=self._has_prints,
            first_us=found.first_us + found.ahead_us,
            last_us=found.last_us + found.ahead_us,
            result=reduce(Outcome.and_of, (one.result for one in results), Outcome(settled_ud=0)),
            printed=reduce(Outcome.and_of, (one.printed for one in results), Outcome(settled_ud=0)),
            markets=results,
            counts={name: tape.counters[name] for name in COUNTED},
        )

    def _is_deduced(self, ticker: str) -> bool:
        return self._plan.price_ranges is None and self._markets[ticker].are_ranges_deduced
