"""What readers and traders do when the feed has a gap, or is cut."""

from __future__ import annotations

import asyncio
import re
import time
from functools import partial
from typing import Any

from feed.link import Waits
from kalshimm.bench.faults.bars import Samples
from kalshimm.bench.faults.evidence import OWNER
from kalshimm.bench.faults.ground import STORM_MARKETS, Feed, Ground
from kalshimm.bench.faults.reading import Readers
from kalshimm.bench.report import Progress
from kalshimm.bench.rig import all_valid
from kalshimm.errors import KalshimmError

SPACED_S = 1.2  # a book that was good for a second is asked for at once when it breaks
STEADY_S = Waits().steady_s + 1.0  # a connection that lasted less makes the next attempt come late
NEAR_US = 1_000_000  # numbers begin anew with a connection
NUMBERS = re.compile(r'"sid":(\d+),.*?"seq":(\d+)|"seq":(\d+),.*?"sid":(\d+)')


async def gaps(ground: Ground, runs: int, say: Progress) -> Samples:
    """Lose one message of a subscription at a time; its clock starts when the exchange sends the next one."""
    invalid_ms, valid_ms = [], []
    async with Readers(ground.own.redis_url, ground.tickers).running() as readers:
        for number in range(runs):
            await ground.until(_are_valid(readers), "every reader trusts its book")
            await asyncio.sleep(SPACED_S)
            await ground.frames()  # those of before
            distrusted_ms, trusted_ms = await _gap(ground, readers, f"gap-{number}")
            invalid_ms.append(distrusted_ms)
            valid_ms.append(trusted_ms)
            say(f"gap {number + 1}: distrusted by all after {distrusted_ms:.1f} ms, trusted after {trusted_ms:.0f} ms")
    return {"gap_invalid": invalid_ms, "gap_valid": valid_ms}


async def _gap(ground: Ground, readers: Readers, name: str) -> tuple[float, float]:
    """Return after how many milliseconds the last reader distrusted its book, and the last one had another."""
    await ground.control.arm({"do": "lose", "type": "orderbook_delta", "id": name, "account": OWNER})

    async def have_all_changed() -> bool:
        applied = await ground.control.applied(name)
        return bool(applied) and len(readers.since(applied[0]["at_us"])) == len(readers.tickers)

    await ground.until(have_all_changed, "every reader has given up its book and has another one")
    (lost,) = await ground.control.applied(name)
    shown_us = _shows(await ground.frames(), lost)
    changes = readers.since(lost["at_us"])
    return (
        (max(distrusted for distrusted, _ in changes) - shown_us) / 1_000,
        (max(trusted for _, trusted in changes) - shown_us) / 1_000,
    )


def _shows(sent: list[dict[str, Any]], lost: dict[str, Any]) -> int:
    """Return when the message was sent by which a gap can be seen: the next of its subscription."""
    found = NUMBERS.search(lost["what"])
    if found is None:
        raise KalshimmError(f"The exchange lost a message that has no number: {lost['what']}.")
    groups = [int(group) for group in found.groups() if group is not None]
    sid, seq = groups if found.group(1) is not None else groups[::-1]
    near = [one for one in sent if abs(one["at_us"] - lost["at_us"]) < NEAR_US]
    (gone,) = [one for one in near if (one["frame"].get("sid"), one["frame"].get("seq")) == (sid, seq)]
    following = (one for one in sent if one["connection"] == gone["connection"] and one["frame"].get("sid") == sid)
    return int(next(one["at_us"] for one in following if (one["frame"].get("seq") or 0) > seq))


def _are_valid(readers: Readers) -> Any:
    async def is_so() -> bool:
        return readers.are_valid

    return is_so


async def cuts(ground: Ground, runs: int, say: Progress) -> Samples:
    """Cut the gateway off for good; its clock ends when the exchange has the last of the traders' orders canceled."""
    pulled_s: list[float] = []
    while len(pulled_s) < runs:
        await ground.until_all_quote()
        await asyncio.sleep(STEADY_S)
        await ground.until_all_quote()
        cut_us = time.time_ns() // 1_000
        ground.relay.cut(refuses=True)
        ground.done += 1
        await ground.until(partial(_is_pulled, ground, cut_us), "the traders' orders are pulled")
        ground.relay.open()
        pulled_s.append((max(map(ground.evidence.last_end_us, ground.live)) - cut_us) / 1e6)
        say(f"cut {len(pulled_s)}: quotes pulled after {pulled_s[-1]:.2f} s")
    return {"cut_pulled": pulled_s}


async def _is_pulled(ground: Ground, since_us: int) -> bool:
    evidence = await ground.look()
    return not any(order.created_us <= since_us for trader in ground.live for order in evidence.resting(trader))


async def storm_cuts(feed: Feed, runs: int, say: Progress) -> Samples:
    """Cut the gateway off for a moment; its clock ends when the feed says that every book is valid again."""
    valid_s = []
    for number in range(runs):
        await asyncio.sleep(STEADY_S)
        began_s = time.monotonic()
        feed.relay.cut()
        feed.conn = await all_valid(feed.client, STORM_MARKETS, gateway=feed.children["gateway"], after_conn=feed.conn)
        valid_s.append(time.monotonic() - began_s)
        say(f"cut {number + 1}: {STORM_MARKETS} books valid again after {valid_s[-1]:.2f} s")
    return {"cut_all_valid": valid_s}
