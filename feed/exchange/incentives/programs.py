"""Incentive programmes of the scenario: some run for days, others come, run and end while one watches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from feed.exchange.catalog import Program
from feed.exchange.world import SECOND_US, stable_uuid

if TYPE_CHECKING:
    from feed.exchange.world import World

DAY_US = 86_400 * SECOND_US


class ShortProgrammes(msgspec.Struct, frozen=True):
    """One new programme each `every_s`, for the markets in turn; all in seconds."""

    tickers: tuple[str, ...]
    every_s: int
    announced_s: int
    runs_s: int
    paid_after_s: int


def offer(
    world: World,
    ticker: str,
    start_us: int,
    end_us: int,
    *,
    reward_cc: int,
    target: int,
    discount_bps: int,
    paid_after_us: int,
    description: str,
) -> None:
    """Put one programme on the list."""
    market = world.markets[ticker]
    program = Program(
        program_id=stable_uuid(f"program:{ticker}:{start_us}:{end_us}"),
        market_id=market.terms.market_id,
        market_ticker=ticker,
        description=description,
        start_us=start_us,
        end_us=end_us,
        paid_us=end_us + paid_after_us,
        period_reward_cc=reward_cc,
        target_size_cx=target * 100,
        discount_bps=discount_bps,
    )
    world.incentives.enrol(program)


def offer_days(world: World, ticker: str, *, days: int, reward_cc: int, target: int, discount_bps: int) -> None:
    """Offer a programme that began at the last midnight and runs for whole days."""
    start = world.now_us // DAY_US * DAY_US
    offer(
        world,
        ticker,
        start,
        start + days * DAY_US,
        reward_cc=reward_cc,
        target=target,
        discount_bps=discount_bps,
        paid_after_us=DAY_US // 4,
        description="series_lip",
    )


def offer_kinds(world: World, tickers: tuple[str, ...]) -> None:
    """Offer one kind after the other over `tickers`, for today: plain, of a week, capped, for volume, unscorable."""
    for number, ticker in enumerate(tickers):
        start_us = world.now_us // DAY_US * DAY_US
        days = 7 if number % 5 == 1 else 1
        kind: dict[str, Any] = {"target_size_cx": 50_000, "discount_bps": 5_000}
        if number % 5 == 2:
            kind |= {"max_reward_cc": 25_000}
        elif number % 5 == 3:
            kind = {"incentive_type": "volume", "max_reward_cc": 100_000}
        elif number % 5 == 4:
            kind = {}
        program = Program(
            program_id=stable_uuid(f"program:{ticker}:{start_us}:kind"),
            market_id=world.markets[ticker].terms.market_id,
            market_ticker=ticker,
            description="series_lip",
            start_us=start_us,
            end_us=start_us + days * DAY_US,
            paid_us=start_us + days * DAY_US + DAY_US // 4,
            period_reward_cc=500_000 + 100_000 * number,
            **kind,
        )
        world.incentives.enrol(program)


def run_short(world: World, plan: ShortProgrammes) -> None:
    """Begin with programmes in every state, then add one each `every_s`, aligned to the wall clock."""
    every = plan.every_s * SECOND_US
    slot = world.now_us // every
    first = slot - (plan.runs_s + plan.paid_after_s) // plan.every_s
    last = slot + plan.announced_s // plan.every_s
    for number in range(first, last + 1):
        _offer_slot(world, plan, number)
    _schedule_next(world, plan, last + 1)


def _schedule_next(world: World, plan: ShortProgrammes, number: int) -> None:
    def announce() -> None:
        _offer_slot(world, plan, number)
        _schedule_next(world, plan, number + 1)

    world.schedule((number * plan.every_s - plan.announced_s) * SECOND_US, announce)


def _offer_slot(world: World, plan: ShortProgrammes, number: int) -> None:
    start = number * plan.every_s * SECOND_US
    offer(
        world,
        plan.tickers[number % len(plan.tickers)],
        start,
        start + plan.runs_s * SECOND_US,
        reward_cc=(20_000, 50_000, 100_000)[number % 3],
        target=(300, 500, 1_000)[number % 3],
        discount_bps=5_000,
        paid_after_us=plan.paid_after_s * SECOND_US,
        description="flash_lip",
    )
