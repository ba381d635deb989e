"""A journal that the disk refused once is not tried again: nothing leaves any more, and the sender ends (E3)."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest

from markets.core.units import Side
from tests.unit.traders.brokers.sendingworld import SECOND_US, SendingWorld
from traders.core.commands import DecreaseOrder, PlaceOrder, RenewOrder
from traders.core.intents import Answered, Outcome
from traders.journal import JournalLost

BID, ASK = PlaceOrder(Side.YES, 4_000, 1_000), PlaceOrder(Side.NO, 5_500, 1_000)


@pytest.mark.parametrize("what", ["place", "decrease", "renew"])
async def test_E3_a_lost_journal_ends_the_sender_with_the_reason_and_nothing_leaves(what: str) -> None:
    async def lost() -> None:
        raise JournalLost(Path("journal"), OSError(errno.EIO, "input/output error"))

    world = SendingWorld()
    sending = asyncio.create_task(world.sender.run(world.stop))
    rests = await world.placed(BID)
    world.sender._synced = lost
    renewal = RenewOrder(rests, world.now_us + 60 * SECOND_US)
    intent = world.wish({"place": ASK, "decrease": DecreaseOrder(rests, 400), "renew": renewal}[what])
    with pytest.raises(ExceptionGroup) as ended:
        await sending
    assert ended.group_contains(JournalLost, match="input/output error")
    assert world.venue.verbs() == ["place"], "the one before"
    assert world.sender.stopped.startswith("ENDING")
    last = world.disk.lines[-1]
    assert isinstance(last, Answered)
    assert (last.number, last.outcome) == (intent.number, Outcome.NOT_SENT)
