"""Row A17 on one process: asked to stop it waits for the exchange's word, asked again it does not."""

from __future__ import annotations

from typing import Any

import pytest

from feed.schema import StateChange
from tests.faults.liverig import CANCELLING, SILENT_CHANNELS, LiveCase, LiveOptions
from tests.faults.livetrader import STAYS, Plan
from tests.faults.records import Noted

pytestmark = pytest.mark.long

CANCEL_MS = 1_000
LATE = {"do": "apply_then_delay", "delay_ms": CANCEL_MS, "id": "late", "times": None, **CANCELLING}


@pytest.fixture(scope="module")
def live_options() -> LiveOptions:
    return LiveOptions(traders=(Plan(strategies=STAYS),))


def changes_to(live: LiveCase, state: str) -> list[Noted[StateChange]]:
    """Return the trader's changes to a state since the case began."""
    return [one for one in live.trader.record.read().changes if live._is_new(one) and one.body.state == state]


def ends(live: LiveCase, *, times: int) -> Noted[StateChange]:
    """Ask the trader to stop so often, each time once it has heard of that; return its last word."""
    live.arm(LATE, *SILENT_CHANNELS)  # so that nothing but a late answer tells what became of an order
    for _ in range(times):
        live.trader.worker.terminate()
        live.until(lambda: changes_to(live, "draining"), "it drains")
    assert live.trader.worker.wait() == 0
    (stopped,) = changes_to(live, "stopped")
    return stopped


def sent_meanwhile(live: LiveCase, stopped: Noted[StateChange]) -> list[Any]:
    """Return the intents that left between the first signal and the end."""
    (drains,) = changes_to(live, "draining")
    record = live.trader.record
    sent = [one.body.number for one in record.sent.values() if drains.number < one.number < stopped.number]
    return [record.intents[number].body for number in sent]


@pytest.mark.parametrize(("times", "reason"), [(1, ""), (2, "; asked again, 2 orders unconfirmed")])
def test_A17_asked_again_to_stop_it_triggers_its_group_once_its_cancels_have_left_and_waits_no_more(
    live: LiveCase, times: int, reason: str
) -> None:
    group_id, rested = live.trader.group_id, live.resting()
    assert len(rested) == 2
    stopped = ends(live, times=times)
    assert stopped.body.reason == f"asked to stop{reason}"
    assert sorted((one.verb, one.order_id) for one in sent_meanwhile(live, stopped)) == sorted(
        ("cancel", one.order_id) for one in rested
    ), "every cancel has left, and nothing else"
    ledger = live.rig.fetch()
    assert [ledger.orders[one.order_id][-1].status for one in rested] == ["canceled", "canceled"]
    triggered = (group_id, "triggered") in {(one.group_id, one.event) for one in ledger.groups}
    assert triggered == (times > 1)
    live.rig.control("DELETE", "/faults")
    live.trader.start()
    live.until_quotes("its next lease begins")
    live.judge()
