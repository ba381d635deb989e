"""One errand at a time for each trader, again after a while when it fails, and a person hears of what lasts."""

from __future__ import annotations

import asyncio
import logging

import pytest

from kalshimm.errors import KalshimmError
from kalshimm.runtime.clock import ManualClock
from traders.errands import ALERT_S, FIRST_AGAIN_S, MOST_AGAIN_S, Errands

SECOND_US = 1_000_000


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def errands(clock: ManualClock) -> Errands:
    return Errands(clock)


async def fail(error: Exception) -> None:
    raise error


async def failed(errands: Errands, trader: int, error: Exception) -> None:
    errands.begin(trader, fail(error), "pulls")
    await asyncio.sleep(0)
    assert errands.doing(trader) == ""


async def test_one_that_runs_is_named_and_no_second_is_due(errands: Errands) -> None:
    gate = asyncio.Event()

    async def wait() -> None:
        await gate.wait()

    assert errands.is_due(7)
    errands.begin(7, wait(), "pulls")
    assert (errands.doing(7), errands.is_due(7), errands.is_due(8)) == ("pulls", False, True)
    gate.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (errands.doing(7), errands.is_due(7), errands.trouble(7)) == ("", True, None)


async def test_after_a_failure_the_next_waits_longer_each_time(errands: Errands, clock: ManualClock) -> None:
    waits: list[float] = []
    for _ in range(8):
        await failed(errands, 7, KalshimmError("the exchange is away"))
        trouble = errands.trouble(7)
        assert trouble is not None
        assert not errands.is_due(7)
        waits.append(trouble.again_s - clock.monotonic())
        clock.advance_us(int(waits[-1] * SECOND_US) + 1)
        assert errands.is_due(7)
    assert trouble.why == "the exchange is away"
    assert FIRST_AGAIN_S / 2 <= waits[0] <= FIRST_AGAIN_S
    assert MOST_AGAIN_S / 2 <= waits[-1] <= MOST_AGAIN_S


async def test_one_that_succeeds_forgets_what_went_wrong(errands: Errands, clock: ManualClock) -> None:
    await failed(errands, 7, KalshimmError("away"))
    clock.advance_us(60 * SECOND_US)
    errands.begin(7, asyncio.sleep(0), "pulls")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (errands.doing(7), errands.trouble(7)) == ("", None)


async def test_a_person_hears_once_of_what_lasts(
    errands: Errands, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        while clock.monotonic() < 3 * ALERT_S:
            await failed(errands, 7, KalshimmError("away"))
            clock.advance_us(10 * SECOND_US)
    alerts = [record for record in caplog.records if getattr(record, "alert", "")]
    assert [(record.levelname, record.alert) for record in alerts] == [("ERROR", "LIVE_TRADER_UNATTENDED")]
    assert len(caplog.records) > len(alerts)


async def test_what_nobody_expected_is_told_with_its_traceback_and_tried_again(
    errands: Errands, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    await failed(errands, 7, LookupError("nobody expected it"))
    (record,) = caplog.records
    assert (record.levelname, record.exc_info is not None) == ("ERROR", True)
    assert "LookupError: nobody expected it" in record.message
    clock.advance_us(2 * SECOND_US)
    assert errands.is_due(7)


async def test_at_the_end_all_that_runs_is_ended(errands: Errands) -> None:
    errands.begin(7, asyncio.sleep(3_600), "pulls")
    await errands.close()
    assert (errands.doing(7), errands.trouble(7)) == ("", None)


async def test_one_that_is_dropped_ends_and_is_no_trouble(errands: Errands) -> None:
    assert errands.drop(7), "there is nothing to end"
    errands.begin(7, asyncio.Event().wait(), "pulls")  # type: ignore[arg-type]  # what it gives matters to nobody
    await asyncio.sleep(0)
    assert not errands.drop(7), "it has been asked to"
    await asyncio.sleep(0)
    assert errands.drop(7)
    assert (errands.doing(7), errands.is_due(7), errands.trouble(7)) == ("", True, None)
