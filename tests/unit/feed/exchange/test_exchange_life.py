"""The life of a market and the halts of the exchange, step by step."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from exchangeworld import CENT, MINUTE_US, NOW_US, TAPERED, a_world, an_order, place, refused, top
from hypothesis import given
from hypothesis import strategies as st

from feed.exchange.catalog import PRICE_STRUCTURES
from feed.exchange.happenings import Announced, BookChanged, BookCleared, Private
from feed.exchange.life import WrongState
from feed.exchange.market import Market
from feed.exchange.pauses import EASTERN, Pauses, Window, next_weekly_window
from feed.exchange.switches import Switches
from feed.exchange.wire import operations
from feed.exchange.world import SECOND_US, World
from markets.core.grid import PriceGrid
from markets.core.units import DOLLAR_CC, Side


def the_market(world: World) -> Market:
    return world.markets[CENT]


def announced(world: World) -> list[dict[str, Any]]:
    """Return the life-cycle messages of our market since the last call, without its ticker."""
    bodies = [h.body for h in world.take() if isinstance(h, Announced)]
    return [{k: v for k, v in b.items() if k != "market_ticker"} for b in bodies if b.get("market_ticker") == CENT]


def told_orders(world: World) -> list[tuple[str, str]]:
    """Return (status, reason) of every order told of since the last call."""
    return [
        (h.body["status"], h.body.get("last_update_reason", ""))
        for h in world.take()
        if isinstance(h, Private) and h.channel == "user_orders"
    ]


def code(world: World, who: str = "us") -> str:
    return refused(world, who, an_order("bid", "0.30")).code


# --- deactivated and active again -------------------------------------------------------------------------------------


def test_F4_a_deactivated_market_takes_cancels_but_no_orders() -> None:
    world = a_world()
    stays = place(world, "us", an_order("bid", "0.30")).order
    goes = place(world, "us", an_order("bid", "0.31", cancel_on_pause=True)).order
    world.take()
    world.life.deactivate(the_market(world))
    assert announced(world) == [{"event_type": "deactivated", "is_deactivated": True}]
    assert (the_market(world).status, code(world)) == ("inactive", "trading_is_paused")
    assert (stays.status, goes.reason) == ("resting", "HaltCancel")
    assert the_market(world).refusal(cancelling=True) is None
    world.entry.cancel(world.account("us"), stays)


def test_F4_reactivation_cancels_everything_that_rests_and_says_so() -> None:
    world = a_world()
    mine = place(world, "us", an_order("bid", "0.30")).order
    market = the_market(world)
    world.entry.place_flow(market, "crowd", Side.NO, 5_000, 700, rest=True)
    world.life.deactivate(market)
    world.take()
    world.life.activate(market)
    happened = world.take()
    assert (market.status, mine.status, mine.reason, top(market)) == ("active", "canceled", "HaltCancel", (0, 0))
    assert sum(h.delta_cx for h in happened if isinstance(h, BookChanged)) == -1_700
    assert [h.body["event_type"] for h in happened if isinstance(h, Announced)] == ["activated"]
    place(world, "us", an_order("bid", "0.30"))


def test_a_market_cannot_be_deactivated_twice_or_activated_while_active() -> None:
    world = a_world()
    with pytest.raises(WrongState, match="is active: it cannot be activated"):
        world.life.activate(the_market(world))
    world.life.deactivate(the_market(world))
    with pytest.raises(WrongState, match="deactivated"):
        world.life.deactivate(the_market(world))


def test_a_deactivated_market_still_closes_at_its_time() -> None:
    world = a_world()
    world.life.deactivate(the_market(world))
    world.advance(the_market(world).terms.close_us)
    assert (the_market(world).status, code(world)) == ("closed", "market_inactive")


# --- the close --------------------------------------------------------------------------------------------------------


def test_F5_the_close_is_silent_and_refuses_even_cancels() -> None:
    world = a_world()
    order = place(world, "us", an_order("bid", "0.30")).order
    world.advance(NOW_US + 10 * SECOND_US)  # the quote line has been told
    world.take()
    world.advance(the_market(world).terms.close_us)
    assert not world.take()
    refusal = the_market(world).refusal(cancelling=True)
    assert refusal is not None
    assert (refusal.code, order.status) == ("market_inactive", "resting")
    world.advance(the_market(world).terms.close_us + SECOND_US)
    assert told_orders(world) == [("canceled", "CloseCancel")]


def test_F6_an_early_close_is_announced_and_then_like_any_other() -> None:
    world = a_world()
    place(world, "us", an_order("bid", "0.30"))
    world.take()
    world.life.close_early(the_market(world))
    assert announced(world) == [{"event_type": "close_date_updated", "close_ts": NOW_US // SECOND_US}]
    assert code(world) == "market_inactive"
    world.advance(NOW_US + SECOND_US)
    assert BookCleared(CENT) in world.take()


def test_F6_a_close_moved_into_the_future_keeps_the_market_open() -> None:
    world = a_world()
    market = the_market(world)
    old_us = market.terms.close_us
    world.life.move_close(market, old_us + MINUTE_US)
    world.advance(old_us)
    assert market.status == "active"
    world.advance(old_us + MINUTE_US)
    assert market.status == "closed"


def test_F6_a_closed_market_whose_close_moves_ahead_opens_again() -> None:
    world = a_world()
    market = the_market(world)
    order = place(world, "us", an_order("bid", "0.30")).order
    world.life.close_early(market)
    world.take()
    world.life.move_close(market, NOW_US + MINUTE_US)
    kinds = [body["event_type"] for body in announced(world)]
    assert (kinds, market.status) == (["close_date_updated", "activated"], "active")
    assert (order.status, order.reason) == ("canceled", "HaltCancel")
    fresh = place(world, "us", an_order("bid", "0.30")).order
    world.advance(NOW_US + 30 * SECOND_US)  # clearing and judging of the first close have lapsed
    assert fresh.status == "resting"
    world.advance(NOW_US + MINUTE_US)
    assert market.status == "closed"


# --- the result -------------------------------------------------------------------------------------------------------


def test_F7_a_market_is_determined_and_settles_after_its_timer() -> None:
    world = a_world()
    market = the_market(world)
    world.life.close_early(market, determine=False)
    world.take()
    world.life.determine(market, "no")
    assert announced(world) == [
        {
            "event_type": "determined",
            "result": "no",
            "determination_ts": NOW_US // SECOND_US,
            "settlement_value": "0.0000",
        }
    ]
    world.advance(NOW_US + 60 * SECOND_US - 1)
    assert market.status == "determined"
    world.advance(NOW_US + 60 * SECOND_US)
    assert announced(world) == [{"event_type": "settled", "settled_ts": (NOW_US + MINUTE_US) // SECOND_US}]


def test_F7_an_open_market_that_is_determined_closes_first() -> None:
    world = a_world()
    order = place(world, "us", an_order("bid", "0.30")).order
    world.take()
    world.life.determine(the_market(world), "scalar", 4_200)
    kinds = [body["event_type"] for body in announced(world)]
    assert kinds == ["close_date_updated", "determined"]
    world.advance(NOW_US + 2 * SECOND_US)
    assert (the_market(world).status, order.reason) == ("determined", "CloseCancel")


def test_F7_a_settlement_at_once_still_cancels_what_rests() -> None:
    world = a_world()
    order = place(world, "us", an_order("bid", "0.30")).order
    world.life.determine(the_market(world), "yes")
    world.life.settle(the_market(world))
    assert (the_market(world).status, order.reason) == ("finalized", "CloseCancel")


def test_F7_a_dispute_stops_the_timer_and_an_amendment_starts_it_anew() -> None:
    world = a_world()
    market = the_market(world)
    place(world, "other", an_order("ask", "0.50"))
    us = world.account("us")
    place(world, "us", an_order("bid", "0.50"))
    world.life.determine(market, "no")
    world.advance(NOW_US + 30 * SECOND_US)
    world.take()
    world.life.dispute(market)
    assert (announced(world), market.status) == ([], "disputed")
    with pytest.raises(WrongState, match="settled"):
        world.life.settle(market)
    world.advance(NOW_US + 10 * MINUTE_US)
    assert market.status == "disputed"
    world.life.amend(market, "yes")
    assert [body["result"] for body in announced(world)] == ["yes"]
    assert market.status == "amended"
    world.advance(NOW_US + 11 * MINUTE_US - 1)
    assert market.status == "amended"
    world.advance(NOW_US + 11 * MINUTE_US)
    assert (market.status, us.positions[0, CENT].realized_ud) == ("finalized", 5_000_000)
    assert [s.result for s in us.settlements] == ["yes"]


def test_a_settled_market_is_over() -> None:
    world = a_world()
    market = the_market(world)
    world.life.determine(market, "yes")
    world.life.settle(market)
    for step in (world.life.dispute, world.life.activate, world.life.settle):
        with pytest.raises(WrongState, match="is finalized"):
            step(market)
    with pytest.raises(WrongState, match="another close"):
        world.life.move_close(market, NOW_US + MINUTE_US)
    with pytest.raises(WrongState, match="amended"):
        world.life.amend(market, "no")


@pytest.mark.parametrize(
    ("result", "value_cc"), [("maybe", None), ("yes", 5_000), ("scalar", None), ("scalar", 10_001)]
)
def test_a_result_without_sense_is_refused_and_changes_nothing(result: str, value_cc: int | None) -> None:
    world = a_world()
    with pytest.raises(ValueError, match="result must be"):
        world.life.determine(the_market(world), result, value_cc)
    assert the_market(world).status == "active"


# --- terms ------------------------------------------------------------------------------------------------------------


def test_F8_another_price_structure_is_announced_and_resting_orders_stay() -> None:
    world = a_world()
    market = world.markets[TAPERED]
    order = place(world, "us", an_order("bid", "0.0990", ticker=TAPERED)).order
    world.take()
    world.life.restructure(market, "linear_cent")
    (body,) = [h.body for h in world.take() if isinstance(h, Announced)]
    assert body == {
        "market_ticker": TAPERED,
        "event_type": "price_level_structure_updated",
        "price_level_structure": "linear_cent",
        "price_ranges": [{"start": "0.0000", "end": "1.0000", "step": "0.0100"}],
    }
    assert order.status == "resting"
    assert refused(world, "us", an_order("bid", "0.0990", ticker=TAPERED)).code == "invalid_price"


def test_new_metadata_is_announced_and_kept() -> None:
    world = a_world()
    world.life.update_metadata(the_market(world), yes_sub_title="Above 71", strike={"floor_strike": 71})
    assert announced(world) == [{"event_type": "metadata_updated", "yes_sub_title": "Above 71", "floor_strike": 71}]
    assert the_market(world).terms.strike["floor_strike"] == 71


# Steps in tenths of a cent or finer: edge, centre, and where the edge ends (facts.md 5.5).
STRUCTURES = {
    "linear_cent": (100, 100, 0),
    "deci_cent": (10, 10, 0),
    "tapered_deci_cent": (10, 100, 1_000),
    "center_whole_edge_half_cent": (50, 100, 1_000),
    "center_whole_edge_quint_cent": (20, 100, 1_000),
    "center_half_edge_half_cent": (50, 50, 0),
    "center_half_edge_quint_cent": (20, 50, 1_000),
    "center_half_edge_deci_cent": (10, 50, 1_000),
    "center_quint_edge_quint_cent": (20, 20, 0),
    "center_quint_edge_deci_cent": (10, 20, 1_000),
    "center_centi_edge_centi_cent": (1, 1, 0),
    "center_deci_edge_centi_cent": (1, 10, 100),
}


def test_every_price_structure_of_the_venue_is_known() -> None:
    assert set(PRICE_STRUCTURES) == set(STRUCTURES)


@pytest.mark.parametrize("name", STRUCTURES)
def test_a_structure_has_its_steps_at_the_edges_and_in_the_centre(name: str) -> None:
    edge, centre, band = STRUCTURES[name]
    grid: PriceGrid = PRICE_STRUCTURES[name]
    steps = {price: edge if price < band or price > DOLLAR_CC - band else centre for price in range(1, DOLLAR_CC)}
    for price, step in steps.items():
        assert grid.contains(Side.YES, price) == (price % step == 0), price
    assert all(grid.contains(side, cent) for side in Side for cent in range(100, DOLLAR_CC, 100))


# --- halts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", [None, 0, CENT])
def test_F1_a_trading_pause_refuses_orders_and_lets_cancels_through(scope: int | str | None) -> None:
    world = a_world()
    stays = place(world, "us", an_order("bid", "0.30")).order
    goes = place(world, "us", an_order("bid", "0.31", cancel_on_pause=True)).order
    world.pause("trading", scope)
    refusal = refused(world, "us", an_order("bid", "0.30"))
    assert (refusal.status, refusal.code) == (409, "trading_is_paused")
    assert (stays.status, goes.reason) == ("resting", "HaltCancel")
    assert the_market(world).refusal(cancelling=True) is None
    assert the_market(world).status == "active"
    world.resume("trading", scope)
    place(world, "us", an_order("bid", "0.30"))


@pytest.mark.parametrize("scope", [2, TAPERED])
def test_F1_a_pause_elsewhere_does_not_reach_a_market(scope: int | str) -> None:
    world = a_world()
    order = place(world, "us", an_order("bid", "0.30", cancel_on_pause=True)).order
    world.pause("trading", scope)
    assert order.status == "resting"
    place(world, "us", an_order("bid", "0.30"))


def test_F2_an_exchange_pause_refuses_everything_and_freezes_what_rests() -> None:
    world = a_world()
    order = place(world, "us", an_order("bid", "0.30", expires_us=NOW_US + MINUTE_US)).order
    world.pause("exchange")
    assert code(world) == "exchange_is_paused"
    refusal = the_market(world).refusal(cancelling=True)
    assert refusal is not None
    assert (refusal.status, refusal.code) == (409, "exchange_is_paused")
    moved = world.transfers.request(world.account("us"), (0, 0), (2, 0), 100)
    assert getattr(moved, "code", "") == "exchange_is_paused"
    world.advance(NOW_US + 2 * MINUTE_US)
    assert order.status == "resting"
    world.resume("exchange")
    assert (order.status, order.reason) == ("canceled", "ExpiryCancel")


def test_F1_orders_still_expire_during_a_trading_pause() -> None:
    world = a_world()
    order = place(world, "us", an_order("bid", "0.30", expires_us=NOW_US + MINUTE_US)).order
    world.pause("trading")
    world.advance(NOW_US + MINUTE_US)
    assert order.reason == "ExpiryCancel"


def test_status_tells_halts_by_shard_and_mirrors_shard_zero_on_top() -> None:
    pauses = Pauses()
    pauses.set("trading", 2)
    body = operations.status_body(pauses, NOW_US)
    assert (body["exchange_active"], body["trading_active"]) == (True, True)
    assert {s["exchange_index"]: s["trading_active"] for s in body["exchange_index_statuses"]} == {
        0: True,
        1: True,
        2: False,
        3: True,
    }
    pauses.set("exchange", None)
    body = operations.status_body(pauses, NOW_US)
    assert (body["exchange_active"], body["trading_active"], body["intra_exchange_transfers_active"]) == (False,) * 3


def test_F3_a_planned_window_is_in_the_schedule_and_pauses_while_it_runs() -> None:
    world = a_world()
    window = Window(NOW_US + MINUTE_US, NOW_US + 3 * MINUTE_US)
    world.plan(window)
    (listed,) = operations.schedule_body(world.pauses, weekly=False)["schedule"]["maintenance_windows"]
    assert listed == {"start_datetime": "2026-11-22T08:51:00Z", "end_datetime": "2026-11-22T08:53:00Z"}
    place(world, "us", an_order("bid", "0.30"))
    world.advance(NOW_US + MINUTE_US)
    assert code(world) == "trading_is_paused"
    status = operations.status_body(world.pauses, world.now_us)
    assert (status["trading_active"], status["exchange_estimated_resume_time"]) == (False, "2026-11-22T08:53:00Z")
    world.advance(NOW_US + 3 * MINUTE_US)
    place(world, "us", an_order("bid", "0.30"))
    assert not world.pauses.windows


def test_F3_the_weekly_window_returns_each_thursday_when_it_is_kept() -> None:
    world = World(seed=1, now_us=NOW_US, switches=Switches(weekly_maintenance=True))
    (first,) = world.pauses.windows
    assert operations.schedule_body(world.pauses, weekly=True)["schedule"]["standard_hours"][0]["thursday"] == [
        {"open_time": "00:00", "close_time": "03:00"},
        {"open_time": "05:00", "close_time": "00:00"},
    ]
    world.advance(first.start_us)
    assert world.pauses.trading_paused(0)
    world.advance(first.end_us)
    assert not world.pauses.trading_paused(0)
    (second,) = world.pauses.windows
    assert second.start_us == first.start_us + 7 * 86_400 * SECOND_US


@given(st.integers(1_790_000_000, 1_830_000_000))
def test_the_weekly_window_is_thursday_three_to_five_eastern_whatever_the_clocks_do(now_s: int) -> None:
    window = next_weekly_window(now_s * SECOND_US)
    start, end = (
        datetime.fromtimestamp(us // SECOND_US, UTC).astimezone(EASTERN) for us in (window.start_us, window.end_us)
    )
    assert (start.strftime("%a %H:%M"), end.strftime("%a %H:%M")) == ("Thu 03:00", "Thu 05:00")
    assert now_s * SECOND_US < window.end_us <= (now_s + 8 * 86_400) * SECOND_US
