"""Whole market lives in seconds: listed, opened, halted, closed, determined, disputed, amended, settled.

Each event has one market for each kind of life. All times are in seconds after the listing.

     2 open    12 close (unless told otherwise)    14 determined    17 settled    60 delisted
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from feed.exchange.catalog import Event, Series, Terms
from feed.exchange.flow.agents.hands import Pace
from feed.exchange.flow.beliefs import Walk
from feed.exchange.flow.crowd import Crowd
from feed.exchange.life import WrongState
from feed.exchange.wire import public as wire
from feed.exchange.world import SECOND_US, stable_uuid

if TYPE_CHECKING:
    from feed.exchange.market import Market
    from feed.exchange.world import World

logger = logging.getLogger(__name__)

EVERY_S = 5
OPEN_S, CLOSE_S, DETERMINED_AFTER_S, TIMER_S, DELIST_S = 2, 12, 2, 3, 60
HALT_EVERY_S, HALT_S = 45, 3
PACE = Pace(6.0, 90, 8, 60.0)
SERIES = Series(
    "KXCYCLE", "A life in seconds", "Exotics", ("Life cycle",), "custom", ("Local", "https://example.invalid/")
)


class Cycle:
    """Lists one event each five seconds and leads its markets through their lives."""

    def __init__(self, world: World) -> None:
        self._world = world
        life = world.life
        # What happens besides opening, closing, being determined and settled, at which second.
        self._stories: dict[str, tuple[tuple[float, Callable[[Market], None]], ...]] = {
            "PLAIN": (),
            "HALTED": ((5, life.deactivate), (7, life.activate)),
            "EARLY": ((6, life.close_early),),
            "REOPENED": ((12.5, lambda market: life.move_close(market, world.now_us + 4 * SECOND_US)),),
            "DISPUTED": ((15, life.dispute), (16, lambda market: life.amend(market, _other(market.result)))),
            "VOID": ((9, lambda market: life.determine(market, "scalar", market.tape.last_price_cc or 5_000)),),
        }
        world.series[SERIES.ticker] = SERIES
        world.on_open.append(self._opened)

    def start(self) -> None:
        every = EVERY_S * SECOND_US
        self._list(self._world.now_us // every)
        self._world.schedule(self._world.now_us + HALT_EVERY_S * SECOND_US, self._halt)

    def _list(self, slot: int) -> None:
        world = self._world
        listed_us = world.now_us
        close_us = listed_us + CLOSE_S * SECOND_US
        ticker = f"{SERIES.ticker}-{wire.stamp(slot * EVERY_S * SECOND_US, '%y%b%d%H%M%S')}"
        world.list_event(Event(ticker, SERIES.ticker, "How will it end?", "", "", close_us, listed_us))
        for story, steps in self._stories.items():
            terms = _terms(f"{ticker}-{story}", ticker, listed_us)
            rng = random.Random(f"{world.seed}:cycle:{terms.ticker}")
            market = world.list_market(
                terms,
                judge=lambda rng=rng: rng.choice(("yes", "no")),  # type: ignore[misc]
                determine_after_us=DETERMINED_AFTER_S * SECOND_US,
            )
            for second, step in steps:
                world.schedule(listed_us + int(second * SECOND_US), partial(_live, step, market))
        world.schedule(listed_us + DELIST_S * SECOND_US, lambda: world.retire(ticker))
        world.schedule((slot + 1) * EVERY_S * SECOND_US, lambda: self._list(slot + 1))

    def _opened(self, market: Market) -> None:
        if self._world.series_of(market) is not SERIES:
            return
        rng = random.Random(f"{self._world.seed}:belief:{market.ticker}")
        walk = Walk(rng, middle=0.5, sigma_per_minute=0.3, memory_s=30.0, now_us=self._world.now_us)
        Crowd(self._world, market, lambda now_us: min(max(walk.at(now_us), 0.05), 0.95), PACE).start()

    def _halt(self) -> None:
        """Pause all trading for a moment, as in a maintenance window."""
        world = self._world
        world.pause("trading")
        world.schedule(world.now_us + HALT_S * SECOND_US, lambda: world.resume("trading"))
        world.schedule(world.now_us + HALT_EVERY_S * SECOND_US, self._halt)


def _live(step: Callable[[Market], None], market: Market) -> None:
    try:
        step(market)
    except WrongState as exc:  # somebody's hand on the control port has told another story
        logger.info("a step of a market's life lapses: %s", exc, extra={"action": "lapsed", "ticker": market.ticker})


def _other(result: str) -> str:
    return "no" if result == "yes" else "yes"


def _terms(ticker: str, event_ticker: str, listed_us: int) -> Terms:
    close_us = listed_us + CLOSE_S * SECOND_US
    return Terms(
        ticker=ticker,
        market_id=stable_uuid(f"market:{ticker}"),
        event_ticker=event_ticker,
        title="How will it end?",
        yes_sub_title="Well",
        no_sub_title="Badly",
        rules_primary="A simulated market that shows every state in some seconds.",
        rules_secondary="",
        created_us=listed_us,
        open_us=listed_us + OPEN_S * SECOND_US,
        close_us=close_us,
        expected_expiration_us=close_us,
        latest_expiration_us=close_us + 86_400 * SECOND_US,
        settlement_timer_s=TIMER_S,
        structure="linear_cent",
    )
