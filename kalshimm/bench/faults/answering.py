"""Creates whose answer is lost or wrong (C1 to C3): each wish comes to one order at most, and none is forgotten."""

from __future__ import annotations

import itertools
import time
from functools import partial
from typing import Any

from kalshimm.bench.faults.bars import Samples
from kalshimm.bench.faults.ground import Ground
from kalshimm.bench.report import Progress

CREATING = {"method": "POST", "path": "/portfolio/events/orders"}
FAULTS: tuple[dict[str, Any], ...] = (
    {"do": "apply_then_drop", **CREATING},
    {"do": "apply_then_answer", "status": 502, "text": "<html>Bad Gateway</html>", **CREATING},
    {"do": "apply_then_answer", "status": 409, "text": '{"error":{"code":"order_already_exists"}}', **CREATING},
    {"do": "cut", **CREATING},
    {"do": "drop", **CREATING},
    {"do": "answer", "status": 503, **CREATING},
)
WITHIN_S = 90.0  # an order in doubt may stand for a minute


async def answers(ground: Ground, runs: int, say: Progress) -> Samples:
    """Spoil the answer to whichever create comes next, and wait until every trader shows what it has at rest."""
    for number, fault in zip(range(runs), itertools.cycle(FAULTS), strict=False):
        name = f"answer-{number}"
        await ground.until(partial(_are_settled, ground), "the traders know of all that they have at rest")
        await ground.control.arm({**fault, "id": name})
        await ground.until(partial(_has_happened, ground, name), "an answer is spoilt", within_s=WITHIN_S)
        began_s, since_us = time.monotonic(), time.time_ns() // 1_000
        await ground.until(partial(_are_settled, ground, since_us), "the order in doubt is settled", within_s=WITHIN_S)
        say(f"answer {number + 1}: {fault['do']}, settled after {time.monotonic() - began_s:.1f} s")
    return {}


async def _has_happened(ground: Ground, name: str) -> bool:
    return bool(await ground.control.applied(name))


async def _are_settled(ground: Ground, since_us: int = 0) -> bool:
    """Return whether what each trader has shown since a moment is what rests, a quote on both sides."""
    evidence = await ground.look()
    views = {trader: await ground.view(trader, since_us=since_us) for trader in ground.live}
    return all(
        view is not None and view.state == "quoting" and len(evidence.resting(trader)) == len(view.quotes) == 2
        for trader, view in views.items()
    )
