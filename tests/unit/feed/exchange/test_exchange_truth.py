"""Unreactive flow: a script of seed and time, whatever we do."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from exchangeworld import NOW_US, an_order

from feed.exchange.flow.agents.hands import Pace
from feed.exchange.flow.scenarios import SCENARIOS, populate
from feed.exchange.flow.truth import Deed, Script, TruthPlan
from feed.exchange.happenings import BookChanged, Traded
from feed.exchange.world import SECOND_US, World
from markets.core.grid import CENT_GRID
from markets.core.units import DOLLAR_CC, Side

PACE = Pace(20.0, 100, 10, 60.0)
PLAN = TruthPlan()


def a_script(seed: str, count: int, plan: TruthPlan = PLAN) -> list[Deed]:
    return list(itertools.islice(Script(random.Random(seed), CENT_GRID, PACE, plan, NOW_US).deeds(), count))


def a_world(seed: int = 4) -> World:
    world = World(seed=seed, now_us=NOW_US)
    populate(world, SCENARIOS["truth"])
    return world


def test_a_seed_writes_one_script() -> None:
    assert a_script("a", 2_000) == a_script("a", 2_000)
    assert a_script("a", 200) != a_script("b", 200)


def test_a_script_never_quotes_into_itself() -> None:
    standing: dict[int, tuple[Side, int]] = {}
    for deed in a_script("a", 20_000):
        if deed.kind == "pull":
            assert standing.pop(deed.number) == (deed.side, deed.price_cc)
        elif deed.kind == "rest":
            standing[deed.number] = (deed.side, deed.price_cc)
            best = [max((p for s, p in standing.values() if s is side), default=0) for side in Side]
            assert sum(best) < DOLLAR_CC


@pytest.mark.parametrize(("informed", "low", "high"), [(0.0, 0.4, 0.6), (1.0, 0.7, 1.0)])
def test_takers_that_know_are_right_more_often(informed: float, low: float, high: float) -> None:
    plan = TruthPlan(take=0.3, informed=informed, sigma_per_minute=1.0)
    script = Script(random.Random("a"), CENT_GRID, PACE, plan, NOW_US)
    steps = [(deed, script.own_fair_cc(Side.YES)) for deed in itertools.islice(script.deeds(), 10_000)]
    right = wrong = 0
    for (deed, now_cc), (_, later_cc) in zip(steps, steps[20:], strict=False):
        if deed.kind == "take" and later_cc != now_cc:
            right += (later_cc > now_cc) == (deed.side is Side.YES)
            wrong += (later_cc > now_cc) != (deed.side is Side.YES)
    assert low < right / (right + wrong) < high


def played(monkeypatch: pytest.MonkeyPatch, *, ours: str, seconds: int = 20) -> tuple[list[Any], list[Any], World]:
    """Run the scenario with us doing `ours` each 100 ms; return what the crowd asked for, and all prints."""
    world = a_world()
    asked: list[Any] = []
    place, cancel = world.entry.place_flow, world.entry.cancel_flow

    def place_flow(market: Any, owner: str, side: Side, price_cc: int, count_cx: int, *, rest: bool) -> str | None:
        asked.append((world.now_us, market.ticker, owner, side, price_cc, count_cx, rest))
        return place(market, owner, side, price_cc, count_cx, rest=rest)

    def cancel_flow(market: Any, order_id: str) -> None:
        asked.append((world.now_us, market.ticker, "cancel"))
        cancel(market, order_id)

    monkeypatch.setattr(world.entry, "place_flow", place_flow)
    monkeypatch.setattr(world.entry, "cancel_flow", cancel_flow)
    prints = []
    for step in range(1, seconds * 10 + 1):
        world.advance(NOW_US + step * SECOND_US // 10)
        prints += [h for h in world.take() if isinstance(h, Traded)]
        act(world, ours, step)
    return asked, prints, world


def act(world: World, ours: str, step: int) -> None:
    market = list(world.markets.values())[step % 4]
    bid = market.best_cc(Side.YES)
    if ours == "nothing" or not bid:
        return
    price = {"far": 100, "touch": bid, "cross": DOLLAR_CC - market.best_cc(Side.NO)}[ours]
    order = an_order("bid", f"{price / DOLLAR_CC:.4f}", "5.00", ticker=market.ticker)
    world.entry.place(world.account("us"), order)


@pytest.mark.parametrize("ours", ["far", "touch", "cross"])
def test_the_crowd_asks_for_the_same_whatever_we_do(monkeypatch: pytest.MonkeyPatch, ours: str) -> None:
    alone, _, _ = played(monkeypatch, ours="nothing")
    beside, _, world = played(monkeypatch, ours=ours)
    assert world.account("us").orders
    if ours != "far":
        assert world.account("us").fills
    assert beside == alone


def test_orders_out_of_reach_change_no_print(monkeypatch: pytest.MonkeyPatch) -> None:
    def seen(prints: list[Any]) -> list[Any]:
        return [(p.ticker, p.yes_price_cc, p.count_cx, p.taker_side, p.at_us) for p in prints]

    _, alone, _ = played(monkeypatch, ours="nothing")
    _, beside, _ = played(monkeypatch, ours="far")
    assert len(alone) > 20
    assert seen(beside) == seen(alone)


def test_books_live_two_sided() -> None:
    world = a_world()
    world.take()
    world.advance(NOW_US + 30 * SECOND_US)
    changes = [h for h in world.take() if isinstance(h, BookChanged)]
    assert 20 * 30 < len(changes) < 150 * 30
    for market in world.markets.values():
        assert market.best_cc(Side.YES)
        assert market.best_cc(Side.NO)
