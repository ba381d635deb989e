"""The eight sets of strategies of the soak: every placement, buffering and flatten, one side and two, several sizes."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.faults.livetrader import LIVE, NO_GUARDS, Plan
from traders.core.pipeline import Choice, StrategyChoices

LIFETIME_S = 30  # in production 120 at least: here orders are renewed within the run
ALWAYS_S = 31 * 86_400
# Small enough for every limit to be reached in a minute, but for those on losses: nobody is there to release a latch.
LIMITS: dict[str, Any] = {
    "order_cx_most": 3_000, "position_cx_most": 5_000, "exposure_ud_most": 30_000_000, "orders_a_minute": 240,
    "from_touch_steps_most": 20, "daily_loss_ud": 10**9, "drawdown_ud": 10**9, "breaches_a_minute": 10_000,
}  # fmt: skip
# Quick to forgive, else the guards would hold for most of the run.
QUICK_GUARDS: dict[str, Any] = {
    "hold_s": 3, "sweep_cx": 50_000, "flow_cx": 50_000, "jump_cc": 800, "weekly_maintenance": False
}  # fmt: skip


def _flattens(**chosen: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"name": name, "params": params} for name, params in chosen.items()]


class Wanted(msgspec.Struct, frozen=True):
    """One set, and the market that it is for by its place in the scenario's list, busiest first.

    needs_program, needs_value: What it does not quote without.
    """

    name: str
    place: int
    strategies: StrategyChoices
    needs_program: bool = False
    needs_value: bool = False

    def plan(self, market: int, mode: str = LIVE) -> Plan:
        return Plan(
            market=market,
            mode=mode,
            strategies=self.strategies,
            limits=LIMITS,
            group_limit_cx=None,  # as the product chooses it
            lifetime_s=LIFETIME_S,
        )


WANTED = (
    Wanted(
        "joins",
        0,
        StrategyChoices(Choice("join_best", {"bid_cx": 1_000, "ask_cx": 1_000}), guards=NO_GUARDS),
    ),
    Wanted(
        "improves and crosses",
        2,
        StrategyChoices(
            Choice("improve", {"bid_cx": 500, "ask_cx": 700, "max_position_cx": 2_000, "skew_steps": 2}),
            flattens=_flattens(cross_at_limit={"from_cx": 200, "after_s": 3}),
            guards=NO_GUARDS,
        ),
    ),
    Wanted(
        "stands deep",
        4,
        StrategyChoices(
            Choice("depth", {"bid_cx": 3_000, "ask_cx": 2_000, "steps": 2}),
            Choice("percent", {"min_bps": 3_000}),
            _flattens(passive_exit={"from_cx": 1_000, "improve_steps": 1}),
            guards=QUICK_GUARDS,
            tolerances={"price_steps": 1, "orders_a_side": 3},
        ),
    ),
    Wanted(
        "earns",
        6,
        StrategyChoices(
            Choice("reward_max", {"bid_cx": 2_000, "ask_cx": 2_000, "max_collateral_ud": 15_000_000}),
            flattens=_flattens(before_close={"lead_s": ALWAYS_S, "cross_s": 0, "deadline_s": 0}),
            guards=NO_GUARDS,
        ),
        needs_program=True,
    ),
    Wanted(
        "models",
        8,
        StrategyChoices(
            Choice("avellaneda_stoikov", {"bid_cx": 800, "ask_cx": 800, "window_s": 30}),
            Choice("min_ahead", {"ahead_cx": 500}),
            _flattens(passive_exit={"from_cx": 1_500}, cross_at_limit={"from_cx": 2_500, "after_s": 10}),
            guards=QUICK_GUARDS,
        ),
    ),
    Wanted(
        "values",
        10,
        StrategyChoices(
            Choice("fair_value", {"bid_cx": 1_200, "ask_cx": 600, "bid_edge_cc": 100, "ask_edge_cc": 100}),
            Choice("adaptive", {"min_s": 2, "window_s": 10, "floor_cx": 300}),
            _flattens(stop_loss={"loss_cc": 50}),
            guards=NO_GUARDS,
        ),
        needs_value=True,
    ),
    Wanted(
        "bids alone",
        12,
        StrategyChoices(
            Choice("join_best", {"bid_cx": 2_500, "ask_cx": 0, "max_position_cx": 4_000}),
            flattens=_flattens(passive_exit={"from_cx": 2_000, "count_most_cx": 900}),
            guards=NO_GUARDS,
        ),
    ),
    Wanted(
        "asks alone",
        14,
        StrategyChoices(
            Choice("improve", {"bid_cx": 0, "ask_cx": 1_500}),
            Choice("percent", {"min_bps": 500}),
            _flattens(stop_loss={"loss_cc": 400}, passive_exit={"from_cx": 1_000}),
            guards=QUICK_GUARDS,
        ),
    ),
)
