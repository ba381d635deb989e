"""One strategy in two worlds of one seed: with real orders on the local exchange, and with paper ones beside it.

    world of a seed ──what happens, our own orders taken off──► Engine ──► ExchangeBroker ──orders──► the same world
    world of a seed ──what happens──────────────────────────► Engine ──► PaperBroker      (nothing of us in it)

Time is the world's own: nothing waits, and the same seed gives the same figures. Every action of the world is heard at
its own moment, as if the feed took no time; an order takes `LATENCY_US` either way.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from feed.exchange.flow.scenarios import SCENARIOS, populate
from feed.exchange.happenings import BookChanged, Happening, Private, Traded
from feed.exchange.market import Market
from feed.exchange.world import SECOND_US, World
from feed.schema import (
    VERSION,
    BookDelta,
    BookEvent,
    BookSnapshot,
    BookTrade,
    FeedState,
    FillState,
    JournalBody,
    OrderState,
)
from markets.core.fees import FeeSchedule, FeeTerms
from markets.core.units import DOLLAR_CC, Side, yes_price_cc
from tests.acceptance.exchangebroker import SHARD, ExchangeBroker
from traders.brokers.paper import PaperBroker, PaperSettings, trade_maker_side
from traders.core.decision import Rules
from traders.core.facts import MarketFacts
from traders.core.inventory import Inventory
from traders.engine import Engine, Now, Setup

START_US = 1_795_337_400_000_000  # a Sunday in November 2026: every market of the scenarios stays open for hours
WARM_S = 2
TICK_US = 250_000
LATENCY_US = 10_000  # what KALSHIMM_PAPER_LATENCY_MS is unless it is set
CONN = SID = GENERATION = 1
SMALL_PART = 20  # an order is small where others show so many times as much at its price: 5 % of the level

NewPaper = Callable[[Callable[[], str], PaperSettings], PaperBroker]
Marks = dict[str, int]  # twice the YES mid by ticker


class Deal(msgspec.Struct, frozen=True):
    """One fill.

    Attributes:
        placed_cx: The size of the order when it was placed.
        others_cx: What others showed at its price when the taker came; None where we took.
        left_cx: What they showed there when he had met us.
    """

    time_us: int
    ticker: str
    side: Side
    price_cc: int
    count_cx: int
    fee_ud: int
    placed_cx: int
    others_cx: int | None
    left_cx: int

    @property
    def is_small(self) -> bool:
        """Whether our order was at most 5 % of its level."""
        return self.others_cx is None or self.placed_cx * SMALL_PART <= self.others_cx

    def worth_ud(self, marks: Marks) -> int:
        """Return what it made after its fee, with its contracts at the mark."""
        twice_cc = marks[self.ticker]
        mark = twice_cc if self.side is Side.YES else 2 * DOLLAR_CC - twice_cc
        return (mark - 2 * self.price_cc) * self.count_cx // 2 - self.fee_ud


class Place(msgspec.Struct, frozen=True):
    """Where an order of ours stood: others ahead of it, and all others at its price."""

    ahead_cx: int
    level_cx: int


Spot = tuple[int, str, Side, int]  # second, ticker, side, price


class Ran(msgspec.Struct):
    """What became of one parameter set in one world, over all its markets."""

    deals: list[Deal] = []
    places: dict[Spot, Place] = {}


class Met(msgspec.Struct, frozen=True):
    """Somebody's trade meets an order of ours."""

    trade_id: str
    side: Side
    price_cc: int


class Trader:
    """An engine on one market, fed by hand; what it does is noted."""

    def __init__(
        self, market: Market, rules: Rules, broker: PaperBroker | ExchangeBroker, fees: FeeTerms, *, number: int
    ) -> None:
        terms = market.terms
        facts = MarketFacts(price_ranges=terms.grid.ranges, close_time_us=terms.close_us, status="active", fees=fees)
        self.ticker, self.market, self.broker = market.ticker, market, broker
        self.engine = Engine(Setup(number, market.ticker, "paper", rules, facts), broker, inventory=Inventory())
        self.places: dict[Spot, Place] = {}
        self._fills: list[tuple[int, FillState]] = []
        self._placed_cx: dict[str, int] = {}
        self._traded_cx: dict[tuple[Side, int], int] = defaultdict(int)
        self._met: dict[Met, tuple[int, int]] = {}

    def begin(self, now: Now) -> None:
        yes, no = (list(self.market.levels(side).items()) for side in Side)
        self._note(self.engine.on_events([BookSnapshot(CONN, SID, GENERATION, 1, now.wall_us, yes, no)]), now)

    def hear(self, events: Sequence[BookEvent | Met], now: Now) -> None:
        """Take in what one action of the world brought, one thing after the other, and then decide."""
        self._traded_cx.clear()
        for event in events:
            if isinstance(event, Met):
                self._note_level(event)
                continue
            if isinstance(event, BookTrade):
                side = trade_maker_side(event)
                price_cc = yes_price_cc(side, event.yes_price_cc)
                if Met(event.trade_id, side, price_cc) not in self._met:
                    self._traded_cx[side, price_cc] += event.count_cx
            self._note(self.engine.on_events([event]), now)
        self._note(self.engine.decide(now), now)

    def tick(self, feed: FeedState, now: Now) -> None:
        self.engine.on_feed(feed, now)
        self._note(self.engine.decide(now), now)

    def _note_level(self, met: Met) -> None:
        """Note what others show at the price, and that with what of it has traded in this action."""
        left_cx = self.engine.view.book.size_cx(met.side, met.price_cc)
        self._met.setdefault(met, (left_cx + self._traded_cx[met.side, met.price_cc], left_cx))

    def _note(self, bodies: Iterable[JournalBody], now: Now) -> None:
        for body in bodies:
            if isinstance(body, OrderState):
                self._placed_cx.setdefault(body.client_order_id, body.placed_cx)
            elif isinstance(body, FillState):
                self._fills.append((now.wall_us, body))
                if isinstance(self.broker, PaperBroker):
                    self._note_level(Met(body.trade_id, Side(body.side), body.price_cc))

    def deals(self) -> Iterator[Deal]:
        for time_us, fill in self._fills:
            assert fill.fee_ud is not None, "the local exchange's fees are known"
            side = Side(fill.side)
            others_cx, left_cx = (None, 0) if fill.is_taker else self._met[Met(fill.trade_id, side, fill.price_cc)]
            yield Deal(
                time_us=time_us,
                ticker=self.ticker,
                side=side,
                price_cc=fill.price_cc,
                count_cx=fill.count_cx,
                fee_ud=fill.fee_ud,
                placed_cx=self._placed_cx.get(fill.client_order_id, 0),
                others_cx=others_cx,
                left_cx=left_cx,
            )

    def sample(self, second: int) -> None:
        """Note where our first order at each price stands."""
        for side, price_cc, ahead_cx in self._standing():
            spot = (second, self.ticker, side, price_cc)
            before = self.places.get(spot)
            if before is None or ahead_cx < before.ahead_cx:
                self.places[spot] = Place(ahead_cx, self.engine.view.book.size_cx(side, price_cc))

    def _standing(self) -> list[tuple[Side, int, int]]:
        """Return side, price and queue ahead of each order at rest."""
        if isinstance(self.broker, ExchangeBroker):
            return [(order.side, order.price_cc, ahead_cx) for order, ahead_cx in self.broker.standing()]
        return [(view.side, view.price_cc, view.ahead_cx) for view in self.broker.quote_views(self.engine.view.book)]


def others(happenings: Sequence[Happening], account: str = "") -> list[BookEvent | Met]:
    """Return what the public channels told of one market, less every change that is of the account's own orders.

    A match is the change of a level, its print, and then the fill of whoever has an account. So a change is of an order
    of ours if our request made it and nothing traded, or if somebody else's did and an order of ours filled.
    """
    events: list[BookEvent | Met] = []
    for happening, following, after in zip(
        happenings, [*happenings[1:], None], [*happenings[2:], None, None], strict=False
    ):
        if isinstance(happening, Traded):
            taker, yes_cc = int(happening.taker_side), happening.yes_price_cc
            events.append(BookTrade(happening.trade_id, happening.at_us, yes_cc, happening.count_cx, taker))
        if not isinstance(happening, BookChanged):
            continue
        side, price_cc, by_us = happening.side, happening.price_cc, bool(account) and happening.owner == account
        if not isinstance(following, Traded):
            if not by_us:
                events.append(BookDelta(0, happening.at_us, int(side), price_cc, happening.delta_cx))
        elif not by_us and isinstance(after, Private) and (after.channel, after.account) == ("fill", account):
            events.append(Met(following.trade_id, side, price_cc))
        else:
            events.append(BookDelta(0, happening.at_us, int(side), price_cc, happening.delta_cx))
    return events


class Player:
    """One world, and the traders who watch it."""

    def __init__(self, scenario: str, seed: int) -> None:
        self.world = World(seed=seed, now_us=START_US)
        populate(self.world, SCENARIOS[scenario])
        self.world.advance(START_US + WARM_S * SECOND_US)
        self.world.take()
        self.markets = tuple(self.world.markets.values())
        self.traders: dict[str, list[Trader]] = {market.ticker: [] for market in self.markets}
        self._is_tick = False

    def everybody(self) -> Iterator[Trader]:
        return itertools.chain.from_iterable(self.traders.values())

    def fees(self, market: Market) -> FeeTerms:
        terms = self.world.tariff.terms(market)
        return FeeTerms(FeeSchedule(terms.fee_type, terms.multiplier_bps))

    def play(self, seconds: int) -> None:
        """Let the world go on for so long."""
        world, end_us, ticks = self.world, self.world.now_us + seconds * SECOND_US, 0
        self._tick()
        for trader in self.everybody():
            trader.begin(self._now())
        while not world.advance(end_us, most=1):
            self._hear()
            if self._is_tick:
                self._is_tick, ticks = False, ticks + 1
                self._tell_tick(ticks)

    def _now(self) -> Now:
        return Now(self.world.now_us, self.world.now_us / SECOND_US)

    def _tick(self) -> None:
        self._is_tick = True
        self.world.schedule(self.world.now_us + TICK_US, self._tick)

    def _tell_tick(self, ticks: int) -> None:
        """Let everybody look, as a process does when nothing comes, and once a second note where its orders stand."""
        now = self._now()
        feed = FeedState(VERSION, CONN, "open", {SID: GENERATION}, 0, 0, now.wall_us, len(self.traders))
        second, part = divmod(ticks * TICK_US, SECOND_US)
        for trader in self.everybody():
            trader.tick(feed, now)
            if not part:
                trader.sample(second)

    def _hear(self) -> None:
        by_ticker: dict[str, list[Happening]] = defaultdict(list)
        for happening in self.world.take():
            by_ticker[getattr(happening, "ticker", "")].append(happening)
        now = self._now()
        for ticker, happenings in by_ticker.items():
            for trader in self.traders.get(ticker, ()):
                is_real = isinstance(trader.broker, ExchangeBroker)
                events = others(happenings, trader.broker.account.name if is_real else "")
                if events or is_real:  # its account's messages wake a trader, too
                    trader.hear(events, now)

    def check(self) -> None:
        """Assert that everybody saw the world's books exactly, less his own orders."""
        for trader in self.everybody():
            broker, book = trader.broker, trader.engine.view.book
            for side in Side:
                levels = trader.market.levels(side)
                if isinstance(broker, ExchangeBroker):
                    levels = {price_cc: broker.others_cx(side, price_cc) for price_cc in levels}
                assert book.levels[side] == {price_cc: size_cx for price_cc, size_cx in levels.items() if size_cx}

    def marks(self) -> Marks:
        return {
            market.ticker: market.best_cc(Side.YES) + DOLLAR_CC - market.best_cc(Side.NO) for market in self.markets
        }


def gathered(traders: Iterable[Trader]) -> Ran:
    ran = Ran()
    for trader in traders:
        ran.deals += trader.deals()
        ran.places |= trader.places
    return ran


def on_paper(
    scenario: str, seed: int, rules: Sequence[Rules], seconds: int, *, new_paper: NewPaper = PaperBroker
) -> tuple[list[Ran], Marks]:
    """Return what became of each strategy on paper, and the marks; all in one world, because paper leaves no trace."""
    player = Player(scenario, seed)
    of_rules: list[list[Trader]] = [[] for _ in rules]
    for number, market in enumerate(player.markets):
        fees = player.fees(market)
        for each, traders in zip(rules, of_rules, strict=True):
            ids = itertools.count(1)
            settings = PaperSettings(latency_us=LATENCY_US, fees=fees)
            broker = new_paper(lambda ids=ids: f"paper-{next(ids)}", settings)
            traders.append(Trader(market, each, broker, fees, number=number))
            player.traders[market.ticker].append(traders[-1])
    player.play(seconds)
    player.check()
    return [gathered(traders) for traders in of_rules], player.marks()


def for_real(scenario: str, seed: int, rules: Rules, seconds: int) -> Ran:
    """Return what became of a strategy as real orders in a world of its own."""
    player = Player(scenario, seed)
    for number, market in enumerate(player.markets):
        broker = ExchangeBroker(player.world, market.ticker, latency_us=LATENCY_US)
        player.traders[market.ticker].append(Trader(market, rules, broker, player.fees(market), number=number))
    opening_ud = {name: account.balance_ud(SHARD) for name, account in player.world.accounts.items()}
    player.play(seconds)
    player.check()
    for trader in player.everybody():
        account: Any = trader.broker.account
        assert trader.engine.inventory.cash_ud == account.balance_ud(SHARD) - opening_ud[account.name]
    return gathered(player.everybody())
