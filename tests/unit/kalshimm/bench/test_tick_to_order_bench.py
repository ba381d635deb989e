"""The bench from a move to its order: what it starts, and when its figure counts for nothing."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from feed import keys
from kalshimm.bench import account, moves, tick_to_order
from kalshimm.bench.report import Round
from kalshimm.bench.tick_to_order import TickToOrderBench
from markets.core.units import YES
from traders.start import read_start, write_start


@pytest.mark.parametrize("sync", ["always", "written"])
def test_a_trader_can_follow_the_start_file(tmp_path: Path, sync: str) -> None:
    write_start(tmp_path, tick_to_order.start_of(3, "http://127.0.0.1:1/trade-api/v2", "unix:///x", journal_sync=sync))
    start = read_start(tmp_path)
    setup = start.setup()  # raises unless strategies and limits are known
    assert (setup.trader, setup.ticker, setup.mode) == (3, moves.TICKER, "live")
    assert start.live is not None
    assert start.live.journal_sync == sync
    tape = moves.tape(tick_to_order.LAP_DELTAS, every=tick_to_order.MOVES_EVERY)
    assert all(setup.facts.grid().contains(YES, move.bid_cc) for move in moves.moves(tape))


def test_its_key_is_kept_in_its_own_home_under_a_master_key_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = str(tmp_path / "of-the-installation")
    monkeypatch.setenv("KALSHIMM_MASTER_KEY_FILE", others)
    tick_to_order.keep_key(tmp_path)
    assert os.environ["KALSHIMM_MASTER_KEY_FILE"] == others
    for name in ("KALSHIMM_MASTER_KEY_FILE", "KALSHIMM_MASTER_KEY", "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    assert keys.open_key(tmp_path, tick_to_order.KEY).environment == "local"
    assert keys.trading_key(tmp_path, environment="local", account=tick_to_order.ACCOUNT) is not None
    assert keys.Vault(tmp_path).master_lies_beside() is not None


@pytest.mark.parametrize(("part", "is_void"), [(0.1, False), (0.11, True)])
def test_moves_that_no_order_answers_make_the_figure_void(part: float, is_void: bool) -> None:
    assert bool(TickToOrderBench().void([Round(1.0, 1.0, {"missed_part": part})])) is is_void


def test_the_budget_lets_every_move_be_answered() -> None:
    moves_a_second = tick_to_order.RATE / tick_to_order.MOVES_EVERY
    assert moves_a_second * (10 + 2) < 100


def test_the_time_of_a_disk_is_more_than_nothing(tmp_path: Path) -> None:
    assert tick_to_order.sync_us(tmp_path) > 0


def test_a_repeated_account_says_not_that_nothing_rests() -> None:
    whole, repeated = (account.entry("local", 1, is_whole=is_whole) for is_whole in (True, False))
    assert (whole.is_whole, repeated.is_whole) == (True, False)
    assert msgspec.structs.replace(whole, is_whole=False) == repeated
