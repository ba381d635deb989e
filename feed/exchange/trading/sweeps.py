"""Cancel-all, and the minute after it in which new orders may be swept too.

Source: facts.md 7.4. When, and whether at all, the venue sweeps again is not documented: the switch `cancel_all_tail`
says that it draws a moment from the seed (`seeded`: half of the requests sweep again, somewhere in the minute), that
it sweeps at the end of the minute (`minute`), or never (`none`).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from feed.exchange.trading.accounts import Account, Order

if TYPE_CHECKING:
    from feed.exchange.world import World

TAIL_US = 60_000_000


class Sweeps:
    """Cancel-all of a world.

    Args:
        cancel: Takes a resting order off its book, where its market lets it.
    """

    def __init__(self, world: World, cancel: Callable[[Order], None]) -> None:
        self._world = world
        self._cancel = cancel
        self._rng = random.Random(f"{world.seed}:sweeps")

    def cancel_all(self, account: Account, *, subaccount: int | None) -> None:
        """Cancel what rests on every shard, and perhaps what is placed in the next minute."""
        asked_us = self._world.now_us
        self._sweep(account, subaccount, since_us=0)
        delay_us = self._delay_us()
        if delay_us is not None:
            self._world.schedule(asked_us + delay_us, lambda: self._sweep(account, subaccount, since_us=asked_us))

    def _delay_us(self) -> int | None:
        match self._world.switches.cancel_all_tail:
            case "none":
                return None
            case "minute":
                return TAIL_US
            case "seeded":
                delay_us = self._rng.randrange(2 * TAIL_US)
                return delay_us if delay_us < TAIL_US else None

    def _sweep(self, account: Account, subaccount: int | None, *, since_us: int) -> None:
        for order in account.resting(subaccount=subaccount):
            if order.created_us >= since_us:
                self._cancel(order)
