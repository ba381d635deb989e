"""How long it takes from a gap to readers that distrust: measured and printed, never asserted (bars of faults.md)."""

from __future__ import annotations

import statistics
from itertools import pairwise

import pytest

from tests.faults.rig import OWNER, Case
from tests.faults.truth import Message

GAPS = 40
SPACED_S = 1.2  # a book that was good for a second is asked for at once
SLOW_HEAL = {"do": "ignore", "cmd": "update_subscription"}  # the harm stays in sight


@pytest.mark.long
def test_B4_the_time_from_a_gap_to_the_last_reader_that_distrusts(case: Case) -> None:
    """The clock starts when the exchange writes the message by which the gap can be seen."""
    fetched = case.rig.truth.last_number
    changes = len(case.rig.watch.changes)
    for number in range(1, GAPS + 1):
        case.arm({"do": "lose", "type": "orderbook_delta", "id": "gap"}, SLOW_HEAL)
        case.until_applied(2 * number)
        case.until_valid()
        case.wait(SPACED_S)
    case.judge(faults=2 * GAPS)
    shown_us = [message.at_us for message in showing(case, fetched)]
    distrusted = [change for change in case.rig.watch.changes[changes:] if "older connection" in change.why]
    first_ms, last_ms = [], []
    for at_us, until_us in pairwise([*shown_us, max(shown_us) + 10_000_000]):
        seen = [change.at_us - at_us for change in distrusted if at_us <= change.at_us < until_us]
        assert len(seen) == len(case.rig.tickers), "every reader distrusts once a gap"
        first_ms.append(min(seen) / 1_000)
        last_ms.append(max(seen) / 1_000)
    for what, figures in (("first", first_ms), ("last", last_ms)):
        ordered = sorted(figures)
        p50, p90 = statistics.median(ordered), ordered[int(len(ordered) * 0.9)]
        print(
            f"gap to the {what} of {len(case.rig.tickers)} readers that distrusts, over {len(ordered)} gaps: "
            f"p50 {p50:.1f} ms, p90 {p90:.1f} ms, most {ordered[-1]:.1f} ms (floor p50 20 ms)"
        )


def showing(case: Case, fetched: int) -> list[Message]:
    """Return for each lost message the next one of its subscription: the one that shows the gap."""
    lost = [f for f in case.rig.control("GET", "/faults/applied?id=gap")["applied"] if f["account"] == OWNER]
    sent = [m for m in case.rig.truth.messages if m.number > fetched and m.seq is not None]
    found = []
    for fault in lost:
        near = [m for m in sent if abs(m.at_us - fault["at_us"]) < 1_000_000 and f'"seq":{m.seq},' in fault["what"]]
        (dropped,) = [m for m in near if f'"sid":{m.sid},' in fault["what"]]
        following = (m for m in sent if m.sid == dropped.sid and m.connection == dropped.connection)
        found.append(next(m for m in following if m.seq == (dropped.seq or 0) + 1))
    return found
