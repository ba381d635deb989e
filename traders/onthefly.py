"""Changed strategies and limits reach a running trader without an end of it, where they can.

    database says otherwise ──► told (params) ──► its beat names them ──► start.json has them
                                       └── it refuses, or says nothing for some seconds ──► it starts anew

The trader looks at them itself, and what it does not take on the fly its journal tells. start.json follows only after
it has gone over: so the next supervisor finds a difference where there still is one.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from django.db import Error as DatabaseFault
from msgspec.structs import replace

from feed.schema import TraderView
from kalshimm.errors import HomeNotWritable
from kalshimm.runtime.clock import Clock
from traders import allotments
from traders.core.params import TraderParams, encode_params, why_restart
from traders.fleet import Wanted, in_thread, read_stored
from traders.fleetline import FleetLine
from traders.livestarts import worst_ud
from traders.models import Trader
from traders.processes import trader_folder
from traders.start import Start, write_start

logger = logging.getLogger(__name__)

ANSWER_WITHIN_S = 5.0  # it beats each half second
CHANGED = "its strategy was changed"


class OnTheFly:
    """The supervisor's side of it, for all traders."""

    def __init__(self, home: Path, line: FleetLine, clock: Clock) -> None:
        self._home, self._line, self._clock = home, line, clock
        self._asked: dict[int, tuple[int, float]] = {}  # by trader: the digest of what it was told first when

    async def follow(self, wanted: Wanted, start: Start, view: TraderView | None) -> Start | str:
        """See to it that a process goes by what is wanted; return what it was started with or has gone over to.

        Args:
            start: What that was before.
            view: What the process last said of itself, None when it has not been heard.

        Returns:
            Why it must start anew, where it cannot go over or does not.
        """
        params = TraderParams(wanted.strategies, wanted.limits)
        runs = view.params_digest if view else 0
        if start.params == params and runs in (0, params.digest):
            self._asked.pop(wanted.id, None)
            return start
        try:
            why = why_restart(start.rules(), start.rules(params), is_live=start.live is not None)
        except ValueError:  # what it is then the start says
            return f"{CHANGED}: it starts anew"
        if why:
            return f"{CHANGED}, and {why}: it starts anew"
        if runs == params.digest:
            return await self._note(wanted, replace(start, strategies=wanted.strategies, limits=wanted.limits), start)
        return start if await self._tell(wanted.id, params) else f"{CHANGED}, and it did not take that: it starts anew"

    async def _tell(self, trader: int, params: TraderParams) -> bool:
        """Tell a trader what to go by; False once it has had its time to."""
        digest, asked_s = self._asked.get(trader, (0, 0.0))
        now_s = self._clock.monotonic()
        if digest != params.digest:
            self._asked[trader] = params.digest, now_s
        elif now_s - asked_s > ANSWER_WITHIN_S:
            return False
        await self._line.tell(trader, "params", encode_params(params))
        return True

    async def _note(self, wanted: Wanted, start: Start, before: Start) -> Start:
        """Write down what a trader has gone over to; return the old start while that cannot be done."""
        try:
            await asyncio.to_thread(write_start, trader_folder(self._home, wanted.id), start)
        except HomeNotWritable as exc:
            logger.warning("trader %s: %s", wanted.name, exc, extra={"action": "start_unwritten"})
            return before
        logger.info("trader %s goes by other parameters", wanted.name, extra={"action": "params_changed"})
        if start.limits != before.limits:
            await self._reserve_less(wanted)
        return start

    async def _reserve_less(self, wanted: Wanted) -> None:
        """Give back what lower limits need no more; what was reserved before is enough in any case."""
        try:
            stored = await in_thread(read_stored, wanted.id)
            await in_thread(allotments.reserve, wanted.id, worst_ud(wanted, stored))
        except (DatabaseFault, allotments.ReservationRefused, Trader.DoesNotExist) as exc:
            logger.warning("trader %s keeps what it had reserved: %s", wanted.name, exc, extra={"action": "reserved"})
