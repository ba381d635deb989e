"""The crowds of the scenarios: their shapes, and that a seed tells one story."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Callable

import pytest
from exchangeworld import NOW_US

from feed.exchange.flow import activity
from feed.exchange.flow.agents.hands import MAKERS, Hands, Pace
from feed.exchange.flow.agents.makers import Makers
from feed.exchange.flow.agents.rivals import Rival
from feed.exchange.flow.agents.sweepers import Sweepers
from feed.exchange.flow.beliefs import Exclusive
from feed.exchange.flow.crowd import Crowd, Mix
from feed.exchange.flow.news import News, NewsPlan
from feed.exchange.flow.scenarios import SCENARIOS, describe, populate
from feed.exchange.flow.stage import Stage
from feed.exchange.happenings import BookChanged, Happening, TickerChanged, Traded
from feed.exchange.incentives import programs
from feed.exchange.life import WrongState
from feed.exchange.market import Market
from feed.exchange.world import SECOND_US, World
from markets.core.units import DOLLAR_CC, Side

SECONDS = {"storm": 1.0, "busy": 5.0, "brisk": 5.0}


def told(world: World, seconds: float, *, step_us: int = 20_000) -> list[Happening]:
    happenings: list[Happening] = []
    start_us = world.now_us
    for number in range(1, int(seconds * SECOND_US / step_us) + 1):
        world.advance(start_us + number * step_us)
        happenings += world.take()
    return happenings


def a_scenario(name: str, *, seed: int = 3) -> World:
    world = World(seed=seed, now_us=NOW_US)
    populate(world, SCENARIOS[name])
    return world


def a_market(fair: float = 0.5, **pace: float) -> Hands:
    """An empty market of a quiet event, with hands but nobody who moves them."""
    world = World(seed=1, now_us=NOW_US)
    populate(world, SCENARIOS["quiet"], speed=1e-6)
    market = next(iter(world.markets.values()))
    market.clear()
    world.take()
    hands = Hands(world, market, lambda _now_us: fair, Pace(1.0, **pace))  # type: ignore[arg-type]
    hands.look()
    return hands


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_same_seed_and_steps_tell_the_same_story(name: str) -> None:
    first, second = a_scenario(name), a_scenario(name)
    assert first.take() == second.take()
    story = told(first, SECONDS.get(name, 20.0))
    assert story == told(second, SECONDS.get(name, 20.0))
    assert any(isinstance(happening, BookChanged) for happening in story)


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_book_stays_uncrossed_and_on_its_grid(name: str) -> None:
    world = a_scenario(name)
    told(world, SECONDS.get(name, 20.0))
    for market in world.markets.values():
        assert market.best_cc(Side.YES) + market.best_cc(Side.NO) < DOLLAR_CC
        for side in Side:
            assert all(market.terms.grid.contains(side, price) for price in market.levels(side))


def test_every_scenario_tells_its_story_in_the_help() -> None:
    help_text = describe()
    for name, scenario in SCENARIOS.items():
        assert name in help_text
        assert scenario.story.split()[0] in help_text


def test_quiet_sleeps_busy_moves_and_a_storm_blows() -> None:
    rates = {}
    for name, seconds in (("quiet", 60), ("busy", 15), ("storm", 2)):
        world = a_scenario(name)
        world.take()
        rates[name] = sum(isinstance(h, BookChanged) for h in told(world, seconds)) / seconds
    assert rates["quiet"] < 15
    assert 70 < rates["busy"] < 400
    assert rates["storm"] > 2_000


def test_busy_has_the_shape_of_the_recordings() -> None:
    world = a_scenario("busy")
    world.take()
    changes: list[BookChanged] = []
    trades = 0
    for happening in told(world, 60):
        if isinstance(happening, BookChanged):
            changes.append(happening)
        trades += isinstance(happening, Traded)
    pairs = sum(
        a.ticker == b.ticker and a.side == b.side and a.delta_cx == -b.delta_cx and b.at_us - a.at_us < 1_000
        for a, b in itertools.pairwise(changes)
    )
    assert 0.3 < 2 * pairs / len(changes) < 0.7  # re-quotes, 48 % on record
    assert 10 < len(changes) / trades < 80  # 31.5 on record
    by_second = Counter(change.at_us // SECOND_US for change in changes)
    mean = len(changes) / 60
    assert sum((by_second[NOW_US // SECOND_US + s] - mean) ** 2 for s in range(60)) / 60 / mean > 3  # Poisson: 1
    rates = sorted(Counter(change.ticker for change in changes).values(), reverse=True)
    assert rates[0] > 10 * rates[len(rates) // 2]


def test_news_moves_a_belief_for_good_and_wakes_its_markets() -> None:
    world = World(seed=2, now_us=NOW_US)
    stage = Stage(world, speed=1.0)
    SCENARIOS["quiet"].begin(stage)
    news = News(stage, NewsPlan(every_s=30.0, size=1.5, factor=400.0, burst_s=3.0))
    news.start()
    world.take()
    before = {subject.ticker: _chances(subject.belief, world) for subject in stage.subjects}
    rates: dict[bool, list[int]] = defaultdict(list)
    while not news.told:
        rates[False].append(len(told(world, 1)))
    _, about = news.told[0]
    rates[True].append(len(told(world, 2)))
    after = {subject.ticker: _chances(subject.belief, world) for subject in stage.subjects}
    moved = {ticker: max(abs(a - b) for a, b in zip(before[ticker], after[ticker], strict=True)) for ticker in before}
    assert max(moved, key=lambda ticker: moved[ticker]) == about
    assert moved[about] > 0.1
    assert rates[True][0] > 5 * sum(rates[False][:-1]) / max(1, len(rates[False][:-1]))


def _chances(belief: object, world: World) -> list[float]:
    assert isinstance(belief, Exclusive)
    return belief.chances(world.now_us)


def test_a_sweeper_takes_several_levels_with_one_order() -> None:
    hands = a_market(size=10.0, levels=12)
    Makers(hands).fill()
    hands.world.take()
    levels = 0
    for _ in range(10):
        Sweepers(hands).act(Side.YES)
        prices = {h.yes_price_cc for h in hands.world.take() if isinstance(h, Traded)}
        levels = max(levels, len(prices))
    assert levels >= 3


def test_rivals_outbid_each_other_up_to_their_edge() -> None:
    hands = a_market(half_spread_cc=100)
    first, second = Rival(hands, "one"), Rival(hands, "two")
    hands.add(Side.YES, 3_000, 1_000)
    seen = []
    for _ in range(200):
        for rival in (first, second):
            rival.act(Side.YES)
        seen.append(hands.market.best_cc(Side.YES))
    assert seen == sorted(seen)
    assert seen[0] < seen[-1] < 5_000


def test_a_rival_rests_where_a_programme_scores() -> None:
    hands = a_market(half_spread_cc=100)
    world, market = hands.world, hands.market
    for price, contracts in ((4_700, 10), (4_600, 50), (4_500, 500)):
        world.entry.place_flow(market, MAKERS, Side.YES, price, contracts * 100, rest=True)
    programs.offer_days(world, market.ticker, days=1, reward_cc=100_000, target=1_000, discount_bps=5_000)
    rival = Rival(hands, "one")
    assert rival.act(Side.YES)
    (mine,) = [order for order in market.book.orders() if order.owner == "one"]
    assert mine.price_cc == 4_500  # 10 + 50 are less than a fifth of the target, 560 are more
    assert 150 * 100 <= mine.remaining_cx <= 600 * 100
    assert not rival.act(Side.YES)


def test_a_crowd_waits_while_its_market_does_not_trade_and_fills_an_emptied_book() -> None:
    world = World(seed=1, now_us=NOW_US)
    populate(world, SCENARIOS["quiet"], speed=1e-6)
    market: Market = next(iter(world.markets.values()))
    market.clear()
    Crowd(world, market, lambda _now_us: 0.5, Pace(50.0), Mix()).start()
    told(world, 1)
    market.status = "inactive"
    market.clear()
    assert not [h for h in told(world, 3) if isinstance(h, BookChanged) and h.ticker == market.ticker]
    market.status = "active"
    told(world, 1)
    assert len(market.levels(Side.YES)) >= 10


def test_tickers_follow_the_books() -> None:
    world = a_scenario("busy")
    told(world, 2)
    lines = {h.ticker: h.body for h in told(world, 3) if isinstance(h, TickerChanged)}
    assert len(lines) > 10


def test_activity_is_spread_as_measured() -> None:
    assert activity.share(1) == 1.0
    assert activity.share(25) == pytest.approx(4_569 / 48_940)
    assert activity.share(10) > activity.share(17) > activity.share(25)
    assert activity.share(5_000) == activity.share(600)
    even = activity.rates(10, total_per_s=50.0, evenness=1.0)
    assert even == pytest.approx([5.0] * 10)
    assert sum(activity.rates(500, total_per_s=70.0)) == pytest.approx(70.0)


def test_markets_of_the_lifecycle_go_through_every_state() -> None:
    world = a_scenario("lifecycle")
    stories: dict[str, list[str]] = defaultdict(list)
    for _ in range(300):
        told(world, 0.1, step_us=100_000)
        for ticker, market in world.markets.items():
            states = stories[ticker]
            if not states or states[-1] != market.status:
                states.append(market.status)
    whole = {ticker.rpartition("-")[2]: states for ticker, states in list(stories.items())[:6]}
    end = ["closed", "determined", "finalized"]
    assert whole["PLAIN"] == ["initialized", "active", *end]
    assert whole["HALTED"] == ["initialized", "active", "inactive", "active", *end]
    assert whole["REOPENED"] == ["initialized", "active", "closed", "active", *end]
    assert whole["DISPUTED"] == [
        *("initialized", "active", "closed", "determined", "disputed", "amended", "finalized"),
    ]
    assert whole["VOID"][-2:] == ["determined", "finalized"]
    assert len(stories) >= 30


def test_an_event_held_up_is_delisted_when_it_has_paid_out() -> None:
    world = a_scenario("lifecycle")
    told(world, 4)
    (held,) = [m for m in world.markets.values() if m.status == "active" and m.ticker.endswith("-PLAIN")]
    world.life.move_close(held, NOW_US + 70 * SECOND_US)
    told(world, 72, step_us=100_000)
    assert held.ticker in world.markets
    told(world, 20, step_us=100_000)
    assert (held.status, held.ticker in world.markets) == ("finalized", False)


def test_a_rolling_market_closed_before_it_opened_ends_with_no() -> None:
    world = a_scenario("brisk")
    told(world, 12)
    (unopened,) = [m for m in world.markets.values() if m.status == "initialized"]
    world.life.close_early(unopened)
    told(world, 5)
    assert (unopened.status, unopened.result) == ("finalized", "no")


def test_F8_people_quote_on_the_grid_a_market_is_given() -> None:
    world = a_scenario("incentives")
    markets = [m for m in world.markets.values() if m.terms.structure == "linear_cent"]
    for market in markets:
        world.life.restructure(market, "center_half_edge_half_cent")
    told(world, 10)
    for market in markets:
        world.life.restructure(market, "linear_cent")
    world.take()
    added = [h for h in told(world, 20) if isinstance(h, BookChanged) and h.delta_cx > 0]
    assert len(added) > 100
    assert {h.price_cc % 100 for h in added if world.markets[h.ticker] in markets} == {0}


@pytest.mark.parametrize(("name", "seconds"), [("lifecycle", 70), ("brisk", 20), ("truth", 30)])
def test_no_hand_on_the_control_port_stops_a_scenario(name: str, seconds: int) -> None:
    world, rng = a_scenario(name), random.Random(name)
    life = world.life
    hands: tuple[Callable[[Market], None], ...] = (
        life.deactivate, life.activate, life.close_early, life.dispute, life.settle,
        lambda market: life.move_close(market, world.now_us + rng.randint(-10, 90) * SECOND_US),
        lambda market: life.determine(market, rng.choice(("yes", "no"))),
        lambda market: life.amend(market, "scalar", rng.randint(0, DOLLAR_CC)),
        lambda market: life.restructure(market, rng.choice(("linear_cent", "deci_cent", "tapered_deci_cent"))),
        lambda market: world.pause("trading", market.ticker),
        lambda market: world.resume("trading", market.ticker),
    )  # fmt: skip
    done: Counter[int] = Counter()
    for _ in range(seconds):
        told(world, 1, step_us=100_000)
        for _ in range(10):
            number, market = rng.randrange(len(hands)), rng.choice(list(world.markets.values()))
            with contextlib.suppress(WrongState):
                hands[number](market)
                done[number] += 1
    assert done.keys() == set(range(len(hands)))


def test_all_trading_pauses_now_and_then_and_the_crowd_waits() -> None:
    world = a_scenario("lifecycle")
    told(world, 45.2)
    assert not [h for h in told(world, 2.5) if isinstance(h, Traded)]
    assert [h for h in told(world, 10) if isinstance(h, Traded)]


def test_incentives_offers_programs_of_every_kind_and_rivals_chase_them() -> None:
    world = a_scenario("incentives")
    kinds = {
        (p.incentive_type, p.target_size_cx is not None, p.max_reward_cc is not None) for p in world.programs.values()
    }
    assert kinds >= {("liquidity", True, False), ("liquidity", True, True), ("volume", False, True)}
    assert ("liquidity", False, False) in kinds
    assert {p.status(NOW_US) for p in world.programs.values()} >= {"upcoming", "active", "closed"}
    told(world, 20)
    market = next(m for t, m in world.markets.items() if world.programs and t.startswith("KXNFLGAME"))
    rivals = [order for order in market.book.orders() if order.owner.startswith("flow-rival")]
    assert len({order.owner for order in rivals}) >= 2
