"""Where a scenario plays: events of its boards are listed, and each market gets its crowd when it opens."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import msgspec

from feed.exchange.catalog import Event, Terms
from feed.exchange.flow.agents.hands import Pace
from feed.exchange.flow.beliefs import Belief, Exclusive, Fair, Ladder, Spot
from feed.exchange.flow.boards import BITCOIN, SERIES, Listing, Row, city_series
from feed.exchange.flow.crowd import EVERYDAY, Crowd, Mix
from feed.exchange.flow.rolling import Rolling, RollingPlan
from feed.exchange.flow.truth import Truth, TruthPlan
from feed.exchange.incentives.programs import DAY_US
from feed.exchange.life import Judge
from feed.exchange.wire import public as wire
from feed.exchange.world import SECOND_US, stable_uuid

if TYPE_CHECKING:
    from feed.exchange.market import Market
    from feed.exchange.world import World

DETERMINED_AFTER_US = 3_600 * SECOND_US
EXCLUSIVE_SIGMA = 0.03  # log-odds a minute
LADDER_SIGMA = 1 / 40  # widths a minute


class Subject(msgspec.Struct, frozen=True):
    """An event that news may be about: what is believed of it and whose crowds would stir."""

    ticker: str
    belief: Belief
    crowds: list[Crowd]


class Stage:
    """One world being filled. `speed` multiplies the rates of every crowd."""

    def __init__(self, world: World, *, speed: float) -> None:
        self.world = world
        self.subjects: list[Subject] = []
        self._speed = speed
        self._casts: dict[str, tuple[Fair, Pace, Mix | TruthPlan, Subject]] = {}
        for series in (*SERIES, *city_series()):
            world.series.setdefault(series.ticker, series)
        world.on_open.append(self._opened)

    def tickers(self) -> tuple[str, ...]:
        """Return every market put on the stage, in the order of listing."""
        return tuple(self._casts)

    def put(self, *listings: Listing, mix: Mix | TruthPlan = EVERYDAY) -> None:
        """List events and let their markets live: with a crowd of that mix, or by a script."""
        for listing in listings:
            self._put(listing, mix)

    def roll(self, plan: RollingPlan) -> None:
        """Start the rolling series."""
        world = self.world
        world.series[BITCOIN.ticker] = BITCOIN
        spot = Spot(random.Random(f"{world.seed}:spot"), start=86_400.0, yearly_volatility=0.55, now_us=world.now_us)
        Rolling(world, BITCOIN, spot, msgspec.structs.replace(plan, pace=self._faster(plan.pace))).start()

    def _faster(self, pace: Pace) -> Pace:
        return msgspec.structs.replace(pace, changes_per_s=pace.changes_per_s * self._speed)

    def _opened(self, market: Market) -> None:
        cast = self._casts.get(market.ticker)
        if cast is None:
            return
        fair, pace, mix, subject = cast
        if isinstance(mix, TruthPlan):
            Truth(self.world, market, self._faster(pace), mix).start()
            return
        crowd = Crowd(self.world, market, fair, self._faster(pace), mix)
        subject.crowds.append(crowd)
        crowd.start()

    def _put(self, listing: Listing, mix: Mix | TruthPlan) -> None:
        world = self.world
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
        belief, fairs, judges = believe(world, listing, event.ticker)
        subject = Subject(event.ticker, belief, [])
        self.subjects.append(subject)
        for row, fair, judge in zip(listing.rows, fairs, judges, strict=True):
            ticker = f"{event.ticker}-{row.suffix}"
            self._casts[ticker] = (fair, row.pace, mix, subject)
            terms = terms_of(listing, event, row, ticker)
            world.list_market(terms, judge=judge, determine_after_us=DETERMINED_AFTER_US)


def believe(world: World, listing: Listing, event_ticker: str) -> tuple[Belief, list[Fair], list[Judge]]:
    """Return what is believed of an event: as a whole, the chance of each row, and how each row will be judged."""
    rng = random.Random(f"{world.seed}:belief:{event_ticker}")
    rows = listing.rows
    if listing.width:
        sigma = listing.width * LADDER_SIGMA
        ladder = Ladder(rng, centre=listing.centre, width=listing.width, sigma_per_minute=sigma, now_us=world.now_us)
        fairs = [ladder.fair(row.start) for row in rows]
        return ladder, fairs, [lambda fair=fair: "yes" if fair(world.now_us) > 0.5 else "no" for fair in fairs]  # type: ignore[misc]
    weights = [row.start for row in rows]
    exclusive = Exclusive(rng, weights, sigma_per_minute=EXCLUSIVE_SIGMA, now_us=world.now_us)
    judges: list[Judge] = [
        lambda i=i: "yes" if exclusive.winner(world.now_us) == i else "no"  # type: ignore[misc]
        for i in range(len(rows))
    ]
    return exclusive, [exclusive.fair(i) for i in range(len(rows))], judges


def terms_of(listing: Listing, event: Event, row: Row, ticker: str) -> Terms:
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
        expected_expiration_us=event.strike_us + DETERMINED_AFTER_US,
        latest_expiration_us=event.strike_us + 7 * DAY_US,
        settlement_timer_s=300,
        structure=listing.structure,
        strike=row.strike,
    )
