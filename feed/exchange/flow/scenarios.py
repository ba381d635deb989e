"""The seeded worlds, each with its story in a sentence. Rates are book changes a second at speed 1, over all markets.

The same seed, start and steps tell the same story. A rate is a long-time mean: by the second it varies widely.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from feed.exchange.flow import boards
from feed.exchange.flow.activity import rates
from feed.exchange.flow.agents.hands import Pace
from feed.exchange.flow.crowd import Mix
from feed.exchange.flow.cycle import Cycle
from feed.exchange.flow.news import News, NewsPlan
from feed.exchange.flow.rolling import RollingPlan
from feed.exchange.flow.stage import Stage
from feed.exchange.flow.truth import TruthPlan
from feed.exchange.incentives import programs
from feed.exchange.incentives.programs import ShortProgrammes

if TYPE_CHECKING:
    from feed.exchange.world import World


class Scenario(msgspec.Struct, frozen=True):
    """A world to choose: its story, and what fills it."""

    story: str
    begin: Callable[[Stage], None]
    speed: float = 1.0


DEMO_ROLLING = RollingPlan(90, 30, 8, 8, Pace(24.0, 90, 24, 90.0))
DEMO_SHORT = ShortProgrammes((), every_s=60, announced_s=120, runs_s=180, paid_after_s=120)
BRISK_ROLLING = msgspec.structs.replace(
    DEMO_ROLLING, period_s=15, listed_before_s=5, determined_after_s=2, settled_after_s=2
)
BRISK_SHORT = msgspec.structs.replace(DEMO_SHORT, every_s=15, announced_s=30, runs_s=45, paid_after_s=30)


def _demo(stage: Stage) -> None:
    _hand_written(stage, DEMO_ROLLING, DEMO_SHORT)


def _brisk(stage: Stage) -> None:
    _hand_written(stage, BRISK_ROLLING, BRISK_SHORT)


def _hand_written(stage: Stage, rolling: RollingPlan, short: ShortProgrammes) -> None:
    world = stage.world
    stage.put(*boards.DEMO)
    tickers = stage.tickers()
    for ticker in tickers[:6]:
        programs.offer_days(world, ticker, days=1, reward_cc=200_000, target=1_000, discount_bps=5_000)
    for ticker in tickers[-5:]:
        programs.offer_days(world, ticker, days=7, reward_cc=1_000_000, target=500, discount_bps=5_000)
    programs.run_short(world, msgspec.structs.replace(short, tickers=tickers[6:20]))
    stage.roll(rolling)


def _quiet(stage: Stage) -> None:
    stage.put(*boards.temperatures(8, rates(48, total_per_s=1.5, evenness=0.5), half_spread_cc=200, size=40.0))


BUSY_MIX = Mix(take=0.03, sweep=0.004, rival=0.08, rivals=3)


def _busy(stage: Stage) -> None:
    spread = rates(72, total_per_s=140.0, evenness=0.2)
    stage.put(*boards.games(12, spread[:24], half_spread_cc=55, levels=20, size=350.0), mix=BUSY_MIX)
    stage.put(*boards.temperatures(8, spread[24:], half_spread_cc=100, size=50.0))


def _news(stage: Stage) -> None:
    spread = rates(48, total_per_s=25.0, evenness=0.4)
    stage.put(*boards.games(6, spread[:12], half_spread_cc=70, levels=16, size=200.0), mix=Mix(sweep=0.01))
    stage.put(*boards.temperatures(6, spread[12:], half_spread_cc=110, size=50.0), mix=Mix(sweep=0.01))
    News(stage, NewsPlan(every_s=15.0, size=0.9, factor=15.0, burst_s=5.0)).start()


STORM_MIX = Mix(take=0.03, sweep=0.012, requote=0.4, rival=0.05, rivals=2)


def _storm(stage: Stage) -> None:
    spread = rates(500, total_per_s=3_000.0, evenness=0.6)
    stage.put(*boards.games(130, spread[:260], half_spread_cc=90, levels=16, size=250.0), mix=STORM_MIX)
    stage.put(*boards.temperatures(40, spread[260:], half_spread_cc=120, levels=10, size=60.0), mix=STORM_MIX)
    News(stage, NewsPlan(every_s=3.0, size=1.2, factor=6.0, burst_s=8.0)).start()


CHASERS = Mix(take=0.03, sweep=0.003, rival=0.35, rivals=5)
QUICK_PROGRAMS = ShortProgrammes((), every_s=10, announced_s=40, runs_s=60, paid_after_s=30)


def _incentives(stage: Stage) -> None:
    spread = rates(36, total_per_s=40.0, evenness=0.4)
    stage.put(*boards.games(6, spread[:12], half_spread_cc=90, levels=16, size=200.0), mix=CHASERS)
    stage.put(*boards.temperatures(4, spread[12:], half_spread_cc=140, size=50.0), mix=CHASERS)
    tickers = stage.tickers()
    programs.offer_kinds(stage.world, tickers[:12])
    programs.run_short(stage.world, msgspec.structs.replace(QUICK_PROGRAMS, tickers=tickers[12:]))


def _lifecycle(stage: Stage) -> None:
    Cycle(stage.world).start()


def _truth(stage: Stage) -> None:
    spread = rates(12, total_per_s=60.0, evenness=0.3)
    stage.put(*boards.games(6, spread, half_spread_cc=100, levels=16, size=150.0), mix=TruthPlan())


SCENARIOS = {
    "demo": Scenario(
        "33 markets of seven kinds at 100 a second, one of them rolling each 90 s, programs beside them.", _demo
    ),
    "brisk": Scenario("The demo at twice its rates, rolling each 15 s.", _brisk, speed=2.0),
    "quiet": Scenario(
        "48 weather markets with wide spreads, one change a second in all: most sleep for minutes.", _quiet
    ),
    "busy": Scenario(
        "24 game and 48 weather markets, 110 a second in all, a quarter of it in the four busiest; rival makers fight "
        "for the touch, sweepers take several levels.",
        _busy,
    ),
    "news": Scenario(
        "48 markets at 25 a second; each 15 s or so the belief about one event jumps and its markets run 15 times as "
        "fast for 5 s.",
        _news,
    ),
    "storm": Scenario(
        "The venue's worst minute without an end: 500 markets, 3,000 a second and more, news each 3 s, sweeps.", _storm
    ),
    "incentives": Scenario(
        "36 markets at 35 a second where five rivals a market chase programs: liquidity for days and for a minute, "
        "volume, capped, without a target; a new short one each 10 s.",
        _incentives,
    ),
    "lifecycle": Scenario(
        "Six markets each 5 s, at 6 a second each, live through everything in 20 s: halt, early close, reopening, "
        "dispute, amendment, void; all trading pauses for 3 s each 45 s.",
        _lifecycle,
    ),
    "truth": Scenario(
        "12 game markets, 60 a second by a script: nobody reacts to us, who trades and when depends on seed and time.",
        _truth,
    ),
}


def populate(world: World, scenario: Scenario, *, speed: float = 1.0) -> None:
    """List everything, open it and set the crowd going, `speed` times as fast as the story says."""
    scenario.begin(Stage(world, speed=scenario.speed * speed))


def describe() -> str:
    """Return every scenario's story, a line each."""
    width = max(map(len, SCENARIOS))
    return "\n".join(
        textwrap.fill(
            f"{name:<{width}}  {scenario.story}", 100, initial_indent="  ", subsequent_indent=" " * (width + 4)
        )
        for name, scenario in SCENARIOS.items()
    )
