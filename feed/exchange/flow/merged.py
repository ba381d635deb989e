"""Many recordings side by side: each of N markets lives one recorded life after the other, at a pace of its own.

As STATS.md section 6 has it: every market gets a recorded run, its clock slowed so that the rates are spread as
measured (a few at 10 to 30 changes a second, most far below one in ten), and a name of its own. Sizes and spreads are
rescaled to vary as across the venue (sections 3 and 4), and in every second market YES and NO change places. The one
sequence over all markets of a sid comes from the hub, as ever.

    recorded level ──× size──► own count ──wider──► own price ──► displayed level (sum of those that fall together)
"""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from feed.exchange.flow import activity
from feed.exchange.flow.displayed import Displayed
from feed.exchange.flow.lives import OTHER, Ladders, Life, Print, QuoteLine, read_lives
from feed.exchange.flow.recorded import list_event_of, recorded_terms, show_change
from feed.exchange.happenings import TickerChanged, Traded
from feed.exchange.market import CLOSED
from feed.exchange.wire import public as wire
from feed.exchange.world import SECOND_US, World
from markets.core.grid import PriceGrid
from markets.core.units import DOLLAR_CC, Side

if TYPE_CHECKING:
    from feed.exchange.market import Market

BUSIEST_PER_S = 30.0  # the busiest of twelve markets in the 600 s capture of 2026-08-20
SIZE_SIGMA = 1.2  # of the logarithm of sizes between markets; the quartiles of section 3 give about that
SIZE_PERCENT_MIN, SIZE_PERCENT_MAX = 2, 2_000
WIDER_CC = (0, 0, 0, 0, 0, 0, 100, 100, 200, 400)  # a side, drawn: median spread as recorded, a tenth very wide
CLEAR_AFTER_US = 1 * SECOND_US
DETERMINED_AFTER_US = 3 * SECOND_US
SETTLEMENT_TIMER_S = 2
NEXT_AFTER_US = 10 * SECOND_US
RETIRED_AFTER_US = 3_600 * SECOND_US  # older ones belong to the venue's history


class Guise(msgspec.Struct, frozen=True):
    """How a recorded life is changed: sizes in percent, centi-cents a side is moved back, YES and NO swapped or not."""

    size_percent: int = 100
    wider_cc: int = 0
    mirrored: bool = False

    def side(self, side: Side) -> Side:
        return side.other if self.mirrored else side

    def count_cx(self, recorded_cx: int) -> int:
        """Return the own size of a recorded one: rounded down, but never to nothing."""
        return max(1, recorded_cx * self.size_percent // 100) if recorded_cx > 0 else 0

    def price_cc(self, grid: PriceGrid, side: Side, recorded_cc: int) -> int:
        return grid.at_or_below(side, recorded_cc - self.wider_cc) or grid.prices_cc(side)[0]

    def yes_price_cc(self, recorded_cc: int) -> int:
        return DOLLAR_CC - recorded_cc if self.mirrored else recorded_cc


def merge_into(world: World, paths: list[Path], *, markets: int, speed: float) -> list[Track]:
    """Let the recordings drive `markets` markets at once; at speed 1 the busiest sees 30 changes a second.

    Raises:
        BadRecording: A recording cannot be read to its end, or none holds a book.
    """
    lives = read_lives(paths)
    rng = random.Random(f"{world.seed}:merged")
    tracks = []
    for rank in range(1, markets + 1):
        rate = BUSIEST_PER_S * activity.share(rank) * speed
        size = int(100 * rng.lognormvariate(0, SIZE_SIGMA))
        guise = Guise(min(max(size, SIZE_PERCENT_MIN), SIZE_PERCENT_MAX), rng.choice(WIDER_CC), rank % 2 == 0)
        # The same life in several tracks begins at the same book; with another guise and pace it soon is another.
        tracks.append(Track(world, rank, lives, guise, rate))
    for track in tracks:
        track.start()
    return tracks


class Track:
    """One of the markets: a life at a time, each as a market of its own, the next when the last has ended."""

    def __init__(self, world: World, number: int, lives: list[Life], guise: Guise, rate_per_s: float) -> None:
        self._world = world
        self._number = number
        self._lives = lives
        self._guise = guise
        self._rate_per_s = rate_per_s
        self._played = 0

    def start(self) -> None:
        """List the next market and begin."""
        lap, at = divmod(self._number - 1 + self._played, len(self._lives))
        self._played += 1
        life = self._lives[at]
        player = Player(self._world, life, self._guise, self._rate_per_s / life.changes_per_s)
        player.start(self._name(life, lap))
        self._world.schedule(player.closes_us + NEXT_AFTER_US, self.start)
        self._world.schedule(player.closes_us + RETIRED_AFTER_US, partial(self._world.retire, player.event_ticker))

    def _name(self, life: Life, lap: int) -> str:
        """Return a ticker of the recorded series and event that no other track, and no other lap, has."""
        event, _, suffix = life.ticker.rpartition("-")
        return f"{event}M{self._number:03d}{f'L{lap}' if lap else ''}-{suffix}"


class Player:
    """One life as one market; `pace` is how fast its clock runs."""

    def __init__(self, world: World, life: Life, guise: Guise, pace: float) -> None:
        self._world = world
        self._life = life
        self._guise = guise
        self._pace = pace
        self._at = 0
        self._start_us = world.now_us
        lasts_us = life.lasts_us if life.closes_us is None else max(0, min(life.closes_us, life.lasts_us))
        # A life that was cut off ends there: a book that stands still for hours tells nobody anything.
        self.closes_us = self._here(lasts_us)
        self._recorded: tuple[dict[int, int], dict[int, int]] = ({}, {})  # levels as recorded, on our sides
        self._shown = Displayed()

    def _here(self, recorded_us: int) -> int:
        return self._start_us + int(recorded_us / self._pace)

    def start(self, ticker: str) -> None:
        world = self._world
        life_us = (world.now_us, self.closes_us)
        self.event_ticker = event_ticker = list_event_of(world, ticker, life_us)
        terms = recorded_terms(
            ticker, "", event_ticker, life_us=life_us, settlement_timer_s=SETTLEMENT_TIMER_S, strike=None
        )
        self._market: Market = world.list_market(
            terms,
            judge=lambda: "yes" if 2 * self._market.tape.last_price_cc >= DOLLAR_CC else "no",
            determine_after_us=DETERMINED_AFTER_US,
            displayed=self._shown,
        )
        self._grid = terms.grid  # also where the market is given another one: a level stays where it was shown
        world.schedule(self.closes_us + CLEAR_AFTER_US, self._end)
        self._play()

    def _play(self) -> None:
        """Do everything up to now and wait for what comes next; after the close nothing more is shown."""
        life, now_us = self._life, self._world.now_us
        if now_us > self.closes_us or self._is_cleared:
            return
        while self._at < len(life) and (due_us := self._here(life.at_us[self._at])) <= now_us:
            self._do(self._at)
            self._at += 1
        if self._at < len(life):
            self._world.schedule(due_us, self._play)

    @property
    def _is_cleared(self) -> bool:
        """Whether the market was emptied by now, perhaps by somebody's hand: the rest of the life has no book."""
        return self._market.displayed is not self._shown

    def _end(self) -> None:
        if self._market.status == CLOSED and not self._is_cleared:
            self._world.life.clear(self._market)

    def _do(self, number: int) -> None:
        life = self._life
        if life.levels[number] != OTHER:
            side, price_cc = life.side_and_price(number)
            side = self._guise.side(side)
            self._set(side, price_cc, self._recorded[side].get(price_cc, 0) + life.deltas_cx[number])
            return
        match life.messages[number]:
            case Ladders() as ladders:
                self._snapshot(ladders)
            case QuoteLine() as line:
                self._ticker(line)
            case Print() as printed:
                self._trade(printed)

    def _set(self, side: Side, price_cc: int, size_cx: int) -> None:
        """Let a recorded level be `size_cx`, and show what that changes."""
        recorded, guise, market = self._recorded[side], self._guise, self._market
        before_cx = guise.count_cx(recorded.pop(price_cc, 0))
        if size_cx > 0:
            recorded[price_cc] = size_cx
        own_cc = guise.price_cc(self._grid, side, price_cc)
        change_cx = self._shown.apply(side, own_cc, guise.count_cx(size_cx) - before_cx)
        show_change(self._world, market, side, own_cc, change_cx, at_us=self._world.now_us)

    def _snapshot(self, ladders: Ladders) -> None:
        """Become a recorded snapshot: what is gone goes first, so that no book crosses on the way."""
        wanted = {self._guise.side(Side.YES): ladders.yes, self._guise.side(Side.NO): ladders.no}
        for side in Side:
            for price_cc in [price for price in self._recorded[side] if price not in wanted[side]]:
                self._set(side, price_cc, 0)
        for side in Side:
            for price_cc, size_cx in wanted[side].items():
                self._set(side, price_cc, size_cx)

    def _ticker(self, line: QuoteLine) -> None:
        market, guise, now_us = self._market, self._guise, self._world.now_us
        tape = market.tape
        tape.last_price_cc = guise.yes_price_cc(line.price_cc)
        if line.last_size_cx is not None:
            tape.last_size_cx = guise.count_cx(line.last_size_cx)
        tape.volume_cx = guise.count_cx(line.volume_cx)
        tape.open_interest_cx = guise.count_cx(line.open_interest_cx)
        market.note_quote(now_us)
        self._world.emit(TickerChanged(market.ticker, {**wire.ticker_line(market), **wire.ticker_times(now_us)}))

    def _trade(self, printed: Print) -> None:
        market, guise = self._market, self._guise
        trade = Traded(
            self._world.new_id(),
            market.ticker,
            guise.yes_price_cc(printed.yes_price_cc),
            guise.count_cx(printed.count_cx),
            guise.side(printed.taker_side),
            self._world.now_us,
        )
        market.tape.add(trade)
        self._world.emit(trade)
