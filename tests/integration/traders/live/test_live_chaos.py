"""A trader that changes its mind all the time, at an exchange that fails at random: its own ledger has the last word.

Covers C1, C2, C4 to C6, C9 to C13, C16 together: after whatever happened, every order is there once, each fill is
booked once, what rests is known, and at no time could more fill than was counted.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from livedesk import BASIC, NO, ORDERS, SECOND_US, YES, LiveDesk, live_desk

from markets.core.units import Side, parse_count
from traders.core.commands import CancelOrder, DecreaseOrder, PlaceOrder, RenewOrder, TakeOrder
from traders.core.intents import Held

SECONDS = 90
LOST = {"status": 502, "text": "<html>Bad gateway</html>"}
FAULTS = (
    {"do": "apply_then_drop"},
    {"do": "drop"},
    {"do": "apply_then_answer", **LOST},
    {"do": "answer", **LOST},
    {"do": "answer", "status": 429, "text": '{"error":"too many requests"}'},
    {"do": "cut", "bytes": 9},
    {"do": "delay", "delay_ms": 1_500},
    {"do": "apply_then_delay", "delay_ms": 4_000},
    {"do": "apply_then_delay", "delay_ms": 15_000},
)
WHERE = (
    {"method": "POST", "path": f"{ORDERS}*"},
    {"method": "DELETE", "path": f"{ORDERS}*"},
    {"method": "GET", "path": "/portfolio/*"},
    {"method": "GET", "path": "/exchange/*"},
)
PRICES = {YES: (3_800, 3_900, 4_000), NO: (5_500, 5_600, 5_700)}


class Chaos:
    """Random wishes, faults, and other people."""

    def __init__(self, desk: LiveDesk, chance: random.Random) -> None:
        self.desk, self.chance = desk, chance
        self.wishes = 0

    async def step(self) -> None:
        roll = self.chance.random()
        if roll < 0.55:
            self.decide()
        elif roll < 0.75:
            await self.other_people()
        elif roll < 0.85:
            await self.desk.fault(**self.chance.choice(FAULTS), **self.chance.choice(WHERE))
        else:
            self.desk.hear(times=self.chance.choice((1, 2)), backwards=self.chance.random() < 0.5)

    def decide(self) -> None:
        chance, desk = self.chance, self.desk
        side = chance.choice((YES, NO))
        mine = [quote.client_order_id for quote in desk.live.resting() if quote.side is side]
        commands = [PlaceOrder(side, chance.choice(PRICES[side]), chance.randrange(100, 1_000), self.expiry())] * 3
        if mine:
            one = chance.choice(mine)
            commands += [CancelOrder(one, "repriced")] * (3 * len(mine))
            commands += [DecreaseOrder(one, chance.randrange(50, 500)), RenewOrder(one, self.expiry())]
        if chance.random() < 0.1:
            commands = [TakeOrder(side, 10_000 - chance.choice(PRICES[side.other]), chance.randrange(100, 600))]
        command = chance.choice(commands)
        if isinstance(command, PlaceOrder | TakeOrder) and desk.sender.stopped:
            return
        intent = desk.live.wish(command, desk.now_us)
        if not isinstance(intent, Held):
            self.wishes += 1
            desk._put(intent)

    def expiry(self) -> int:
        return self.desk.now_us + self.chance.randrange(20, 200) * SECOND_US

    async def other_people(self) -> None:
        side = self.chance.choice((YES, NO))
        price_cc = 10_000 - self.chance.choice(PRICES[side.other])
        await self.desk.outsider(side, price_cc, self.chance.randrange(50, 700))

    def counted_for(self) -> None:
        """Check that what may fill beyond the position is counted: by the exchange's ledger, at this moment."""
        desk = self.desk
        desk._note()
        counted: Counter[tuple[Side, int]] = Counter()
        for one in (*desk.live.resting(), *desk.live.unproven()):
            counted[one.side, one.price_cc] += one.remaining_cx
        for order in desk.exchange.world.accounts["owner"].orders.values():
            filled_cx = sum(
                fill.count_cx
                for fill in desk.exchange.world.accounts["owner"].fills
                if fill.order_id == order.order_id and (fill.order_id, fill.trade_id) not in desk.booked
            )
            at_most_cx = (order.remaining_cx if order.status == "resting" else 0) + filled_cx
            assert at_most_cx <= counted[order.side, order.price_cc], order


@pytest.mark.parametrize("seed", range(6))
async def test_C1_C2_C4_C5_C6_C9_C10_C11_C12_C13_C16_after_whatever_happened_the_ledgers_agree(
    key_dir: Path, seed: int
) -> None:
    await history(key_dir, seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 120))
async def test_C1_C2_C4_C5_C6_C9_C10_C11_C12_C13_C16_many_more_histories(key_dir: Path, seed: int) -> None:
    await history(key_dir, seed)


async def history(key_dir: Path, seed: int) -> None:
    chance = random.Random(seed)
    lag_ms = chance.choice((0, 0, 800, 5_000))
    switches = {
        "post_only_cross": chance.choice(("refuse", "cancel")),
        "unfilled_ioc": chance.choice(("cancel", "refuse")),
    }
    tier = chance.choice(("basic", "prestige"))
    limits = BASIC if tier == "basic" and chance.random() < 0.7 else None
    async with live_desk(key_dir, tier=tier, limits=limits, read_lag_ms=lag_ms, **switches) as desk:
        chaos = Chaos(desk, chance)
        while desk.clock.monotonic() < SECONDS:
            await chaos.step()
            await desk.later(chance.choice((0.0, 0.05, 0.3, 1.0)))
            chaos.counted_for()
        assert chaos.wishes > 10
        assert await desk.applied()
        await desk.heal()
        desk.live.suspect(desk.now_us)
        desk.cancel_all()
        await desk.until(lambda: not desk.live.unsettled() and not desk.resting())
        chaos.counted_for()
        await desk.agrees()
        assert all(parse_count(order["remaining_count_fp"]) == 0 for order in (await desk.orders()).values())
