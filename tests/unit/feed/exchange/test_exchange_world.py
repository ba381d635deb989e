"""The clockwork: listing, opening, closing, settling, programmes, and the seeded life."""

from __future__ import annotations

from collections import Counter

import pytest
from exchangeworld import CENT, MINUTE_US, NOW_US, a_world, an_order, place

from feed.exchange.flow.scenarios import SCENARIOS, populate
from feed.exchange.happenings import Announced, BookChanged, BookCleared, Happening, Private, TickerChanged, Traded
from feed.exchange.world import SECOND_US, World
from markets.core.units import DOLLAR_CC, Side

ROLLING = "KXBTC15M"
SHORT_LIVED = (ROLLING, "KXCYCLE")


def run(world: World, seconds: float, *, step_us: int = 50_000) -> list[Happening]:
    """Advance in even steps and return what happened."""
    told: list[Happening] = []
    start = world.now_us
    for number in range(1, int(seconds * SECOND_US / step_us) + 1):
        world.advance(start + number * step_us)
        told += world.take()
    return told


def a_scenario(name: str = "brisk", seed: int = 7) -> World:
    world = World(seed=seed, now_us=NOW_US)
    populate(world, SCENARIOS[name])
    return world


def a_running_scenario(name: str) -> World:
    """A scenario after its books were filled."""
    world = a_scenario(name)
    world.take()
    return world


def test_the_same_seed_tells_the_same_story() -> None:
    first, second = a_scenario(), a_scenario()
    assert first.take() == second.take()
    assert run(first, 20) == run(second, 20)


def test_another_seed_tells_another_story() -> None:
    assert run(a_scenario(seed=7), 2) != run(a_scenario(seed=8), 2)


def test_the_demo_has_enough_markets_of_both_grids() -> None:
    world = a_scenario("demo")
    structures = Counter(market.terms.structure for market in world.markets.values())
    assert len(world.markets) >= 25
    assert len(world.events) >= 7
    assert structures["linear_cent"] >= 8
    assert structures["tapered_deci_cent"] >= 8
    assert sum(event.is_mutually_exclusive for event in world.events.values()) >= 3


def test_a_few_markets_are_busy_and_most_are_quiet() -> None:
    world = a_running_scenario("demo")
    told = run(world, 60)
    rates = Counter(h.ticker for h in told if isinstance(h, BookChanged))
    assert 40 * 60 < rates.total() < 170 * 60
    assert sum(rates[ticker] > 8 * 60 for ticker in world.markets) in range(2, 8)
    assert sum(rates[ticker] < 60 for ticker in world.markets) > len(world.markets) / 2
    assert sum(isinstance(h, Traded) for h in told) > 20


def test_scenario_books_stay_uncrossed_on_the_grid_and_two_sided() -> None:
    world = a_scenario("brisk")
    for _ in range(20):
        run(world, 1)
        for market in world.markets.values():
            if not market.is_tradable:
                continue
            bid, no_bid = market.best_cc(Side.YES), market.best_cc(Side.NO)
            assert bid + no_bid < DOLLAR_CC
            for side in Side:
                assert all(market.terms.grid.contains(side, price) for price in market.levels(side))


def test_tickers_come_at_most_each_second_and_only_with_news() -> None:
    told = [h for h in run(a_scenario("brisk"), 10) if isinstance(h, TickerChanged)]
    last: dict[str, dict[str, object]] = {}
    for ticker in told:
        before = last.get(ticker.ticker)
        if before is not None:
            assert ticker.body["ts_ms"] - before["ts_ms"] >= 1_000
            assert {**ticker.body, "ts_ms": 0, "ts": 0, "time": ""} != {**before, "ts_ms": 0, "ts": 0, "time": ""}
        last[ticker.ticker] = ticker.body


def test_a_rolling_market_closes_and_its_successor_takes_over() -> None:
    world = a_scenario("brisk")
    world.take()
    first = next(m for m in world.markets.values() if m.ticker.startswith(ROLLING))
    told = run(world, 20)
    story = [
        (h.body["event_type"], h.body["market_ticker"])
        for h in told
        if isinstance(h, Announced) and h.type == "market_lifecycle_v2"
    ]
    successor = next(ticker for kind, ticker in story if kind == "created")
    assert [entry for entry in story if first.ticker in entry] == [
        ("determined", first.ticker),
        ("settled", first.ticker),
    ]
    assert story.index(("created", successor)) < story.index(("determined", first.ticker))
    assert BookCleared(first.ticker) in told
    assert (first.status, world.markets[successor].status) == ("finalized", "active")
    assert world.markets[successor].terms.open_us == first.terms.close_us


def test_never_two_rolling_markets_are_open() -> None:
    world = a_scenario("brisk")
    for _ in range(80):
        run(world, 0.5)
        assert sum(m.is_tradable for t, m in world.markets.items() if t.startswith(ROLLING)) == 1


def test_old_rolling_markets_leave_the_live_tier() -> None:
    world = a_scenario("brisk")
    for market in world.markets.values():
        if not market.ticker.startswith(ROLLING):
            market.status = "closed"  # silence the rest: this is a long run
    run(world, 15 * 70, step_us=SECOND_US)
    assert sum(ticker.startswith(ROLLING) for ticker in world.markets) <= 60


def test_programmes_start_run_and_end_while_one_watches() -> None:
    world = a_scenario("brisk")
    seen: dict[str, list[str]] = {}
    for _ in range(150):
        run(world, 1, step_us=SECOND_US)
        for program in world.programs.values():
            states = seen.setdefault(program.program_id, [])
            status = program.status(world.now_us)
            if not states or states[-1] != status:
                states.append(status)
    assert ["upcoming", "active", "closed", "paid_out"] in seen.values()
    assert {"active", "upcoming"} <= {p.status(world.now_us) for p in world.programs.values()}


def test_a_closed_market_refuses_then_cancels_what_rests_and_pays_out() -> None:
    world = a_world()
    place(world, "seller", an_order("ask", "0.4000", "5.00"))
    place(world, "us", an_order("bid", "0.4000", "5.00"))
    resting = place(world, "us", an_order("bid", "0.3000", "5.00")).order
    market = world.markets[CENT]
    world.take()
    world.advance(market.terms.close_us)
    assert market.status == "closed"
    assert not [h for h in world.take() if isinstance(h, Announced)]
    refusal = world.entry.place(world.account("us"), an_order("bid", "0.3000"))
    assert getattr(refusal, "code", "") == "market_inactive"
    world.advance(market.terms.close_us + 2 * SECOND_US)
    assert (resting.status, resting.reason) == ("canceled", "CloseCancel")
    assert BookCleared(CENT) in world.take()
    world.advance(market.terms.close_us + 3 * MINUTE_US)
    assert (market.status, market.result) == ("finalized", "yes")
    assert world.account("us").positions[0, CENT].realized_ud == 5 * 600_000
    positions = [h for h in world.take() if isinstance(h, Private) and h.channel == "market_positions"]
    assert [p.body["position_fp"] for p in positions] == ["0.00", "0.00"]


def test_an_early_close_moves_the_close_time() -> None:
    world = a_world()
    world.life.close_early(world.markets[CENT])
    (announced,) = [h for h in world.take() if isinstance(h, Announced)]
    assert announced.body == {
        "market_ticker": CENT,
        "event_type": "close_date_updated",
        "close_ts": NOW_US // SECOND_US,
    }


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_market_ids_and_tickers_survive_a_restart_of_the_day(name: str) -> None:
    def listing(now_us: int) -> dict[str, str]:
        world = World(seed=1, now_us=now_us)
        populate(world, SCENARIOS[name])
        return {t: m.terms.market_id for t, m in world.markets.items() if not t.startswith(SHORT_LIVED)}

    assert listing(NOW_US) == listing(NOW_US + 10 * MINUTE_US)
