"""Rows about the journal of a live trader: the disk refuses it, or a line of it is lost."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.faults.liverig import LiveCase, LiveOptions
from tests.faults.livetrader import IMPROVES, Plan
from traders.journal import read_records, record
from traders.processes import read_ended

pytestmark = pytest.mark.long

DEEP_CC = 100
# Python loads it first of all. The disk refuses once: the next try would be called a success.
BAD_DISK = """
import errno, os
if hasattr(os, "fdatasync"):
    to_disk = os.fdatasync
    def fdatasync(descriptor):
        try:
            os.unlink({switch!r})
        except FileNotFoundError:
            return to_disk(descriptor)
        raise OSError(errno.EIO, "Input/output error")
    os.fdatasync = fdatasync
"""


@pytest.fixture(scope="module")
def live_options() -> LiveOptions:
    return LiveOptions(traders=(Plan(strategies=IMPROVES),))


@pytest.fixture
def switch(live: LiveCase, tmp_path: Path) -> Iterator[Path]:
    """Return the file that, once it is there, has the disk refuse the trader's journal."""
    switch, settings = tmp_path / "refuse", live.trader.worker.settings
    (tmp_path / "sitecustomize.py").write_text(BAD_DISK.format(switch=str(switch)))
    before = settings["PYTHONPATH"]
    settings["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{before}"
    yield switch
    settings["PYTHONPATH"] = before


def stored_log(live: LiveCase) -> str:
    """Return what the trader has said since the case began, and the writer has stored."""
    query = "SELECT message, fields FROM ops_service_log WHERE time >= to_timestamp(%s / 1000000.0) AND pid = %s"
    with psycopg.connect(live.rig.database_url) as connection:
        return str(connection.execute(query, (live.began_us, live.trader.worker.pid)).fetchall())


@pytest.mark.skipif(not hasattr(os, "fdatasync"), reason="the journal is brought to the disk by another call")
def test_E3_a_disk_that_refuses_the_journal_once_ends_the_trader_and_nothing_of_it_rests(
    live: LiveCase, switch: Path
) -> None:
    live.restart()
    switch.touch()
    live.until(lambda: not live.trader.worker.is_running, "it ends")
    live.rig.log.note("store", "EIO of fdatasync")
    assert not switch.exists()
    assert live.trader.worker.exit_code == 1
    ended = read_ended(live.trader.folder)
    assert ended is not None
    assert (ended.code, ended.state) == (1, "failed")
    assert "journal cannot be brought to the disk (Input/output error)" in ended.reason
    live.until(lambda: not live.resting(), "its group is triggered", within_s=5)
    assert live.trader.rest.accepted, "it had a way to the exchange"
    live.restart()
    live.judge()


@pytest.mark.skipif(sys.platform != "linux", reason="limits of another process are Linux' own")
def test_E3_a_disk_without_room_for_anything_ends_the_trader_and_nothing_of_it_rests(live: LiveCase) -> None:
    """Journal, checkpoint and log alike: what is left is the exchange, and the store for those who shall know."""
    trader = live.trader
    asked = len(live.creates())
    trader.worker.allow_file_bytes(0)
    live.rig.person("bid", DEEP_CC, 500, trader.ticker)  # something to decide on
    live.until(lambda: not trader.worker.is_running, "it ends")
    live.until(lambda: not live.resting(), "its group is triggered", within_s=5)
    late = live.creates()[asked:]
    assert set(late) <= set(trader.record.read().creates()), "nothing left that is not written down"
    live.until(lambda: "TRADER_FAILED" in stored_log(live), "those who can be told are told")
    trader.start()
    live.until_quotes("it quotes anew once there is room")
    live.judge()
    live.until_written()


def test_E3_a_trader_whose_log_is_full_trades_on_and_cancels(live: LiveCase) -> None:
    """Each line that it says is refused; what it has to tell goes to the store."""
    live.trader.end()
    live.trader.worker.says_to = Path("/dev/full")
    try:
        live.trader.start()
        live.rig.log.note("store", "the log goes to /dev/full")
        live.until_quotes("it quotes all the same")
        for _ in range(3):
            live.pause()
            live.resume()
            live.until_quotes()
        live.hit_some()
        assert live.trader.worker.is_running
        live.judge()
        live.until_written()
        live.until(lambda: "command pause" in stored_log(live), "its log is in the database")
        live.trader.end()
        assert live.trader.record.read().state == "stopped"
    finally:
        live.trader.worker.says_to = None


def test_D9_a_hole_in_the_journal_keeps_it_from_trading_until_a_person_has_looked(live: LiveCase) -> None:
    live.trader.record.read()
    live.trader.worker.kill()
    folder = live.trader.folder
    journal, checkpoint = folder / "journal", folder / "checkpoint.json"
    whole, kept = journal.read_bytes(), checkpoint.read_bytes()
    entries, _ = read_records(whole)
    lost = entries[len(entries) // 2].number
    journal.write_bytes(b"".join(record(entry) for entry in entries if entry.number != lost))
    checkpoint.unlink()
    live.rig.log.note("store", f"line {lost} is lost")
    asked = len(live.creates())
    for _ in range(2):
        live.trader.start()
        live.until(lambda: not live.trader.worker.is_running, "it does not go on")
        ended = read_ended(folder)
        assert ended is not None
        assert ended.code == 1
        assert f"Trader {live.trader.number}: of its journal line {lost} is missing in {folder}" in ended.reason
    assert not live.resting()
    assert len(live.creates()) == asked
    journal.write_bytes(whole)
    checkpoint.write_bytes(kept)
    live.trader.start()
    live.until_quotes("it goes on with its journal whole again")
    live.judge()
