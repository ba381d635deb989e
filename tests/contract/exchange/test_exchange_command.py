"""`manage.py exchange` as a process: its one line, its key, its end."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from feed.exchange import switches
from kalshimm.errors import ConfigurationError

ROOT = Path(__file__).resolve().parents[3]
DEADLINE_S = 30


@contextmanager
def an_exchange(home: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, Any]]]:
    command = [sys.executable, str(ROOT / "manage.py"), "exchange", *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, "KALSHIMM_HOME": str(home)}
    )
    assert process.stdout is not None
    try:
        yield process, json.loads(process.stdout.readline())
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(DEADLINE_S)
        process.stdout.close()


def test_it_says_where_it_is_in_one_line_and_ends_when_asked(tmp_path: Path) -> None:
    with an_exchange(tmp_path) as (process, ready):
        assert ready["rest"].endswith("/trade-api/v2")
        assert ready["ws"].startswith("ws://127.0.0.1:")
        assert Path(ready["private_key_path"]).parent == tmp_path / "exchange"
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0
        assert process.stdout is not None
        assert process.stdout.read() == b""


def test_a_port_in_use_is_refused_in_one_sentence(tmp_path: Path, manage: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = manage("exchange", "--port", str(port), "--key-dir", str(tmp_path))
    assert result.returncode == 1
    assert f"Port {port} is in use" in result.stderr
    assert result.stdout == ""


def test_a_recording_that_is_not_there_is_named(tmp_path: Path, manage: Any) -> None:
    missing = tmp_path / "none.ndjson"
    result = manage("exchange", "--replay", str(missing), "--key-dir", str(tmp_path))
    assert result.returncode == 1
    assert str(missing) in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("switch", "complaint"),
    [
        ("post_only_cross=maybe", "--switch: post_only_cross: Invalid enum value 'maybe'"),
        ("read_lag_ms=soon", "--switch: read_lag_ms: Expected `int`"),
        ("read_lag_ms=-5", "--switch: read_lag_ms: Expected `int` >= 0"),
        ("live_tier_s=100000000000", "--switch: live_tier_s: Expected `int` <= 31622400"),
        ("colour=red", "expected NAME=VALUE of a known switch, found 'colour=red'"),
        ("netting", "expected NAME=VALUE of a known switch, found 'netting'"),
    ],
)
def test_a_switch_that_is_none_is_named(switch: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(complaint)):
        switches.read([switch])


def test_every_switch_is_set_and_told_by_its_name() -> None:
    chosen = switches.read(["anonymous_reads_per_s=20", "netting=false", "pong_timeout_s=null", "group_limit=reaches"])
    assert (chosen.anonymous_reads_per_s, chosen.netting, chosen.pong_timeout_s) == (20, False, None)
    assert chosen.group_limit == "reaches"
    told = re.findall(r"^  (\w+)=(\S+)$", switches.describe(), re.MULTILINE)
    assert sorted(name for name, _ in told) == sorted(switches.Switches.__struct_fields__)
    assert dict(told)["group_limit"] == "exceeds|reaches"


def test_a_switch_reaches_the_exchange(tmp_path: Path) -> None:
    with (
        an_exchange(tmp_path, "--scenario", "quiet", "--switch", "books_need_a_key=true") as (_, ready),
        pytest.raises(urllib.error.HTTPError, match="401"),
    ):
        urllib.request.urlopen(f"{ready['rest']}/markets/orderbooks?tickers=A", timeout=DEADLINE_S)


@pytest.mark.parametrize("speed", ["0", "nan"])
def test_a_speed_nobody_can_play_at_is_refused_in_one_sentence(tmp_path: Path, manage: Any, speed: str) -> None:
    result = manage("exchange", f"--speed={speed}", "--key-dir", str(tmp_path))
    assert result.returncode == 2
    assert "--speed" in result.stderr
    assert "Traceback" not in result.stderr


def read(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:
        return json.load(answer)


def test_a_fault_script_and_a_recording_are_played_from_their_files(tmp_path: Path) -> None:
    faults, recording = tmp_path / "faults.json", tmp_path / "recording.ndjson"
    faults.write_text(json.dumps([{"do": "answer", "id": "first", "path": "/exchange/status", "status": 503}]))
    message = {"market_ticker": "KXPLAYED-26-A", "market_id": "m", "yes_dollars_fp": [["0.4000", "10.00"]]}
    recording.write_text(json.dumps({"type": "orderbook_snapshot", "sid": 1, "seq": 1, "msg": message}) + "\n")
    with an_exchange(tmp_path, "--faults", str(faults), "--replay", str(recording)) as (_, ready):
        with pytest.raises(urllib.error.HTTPError, match="503"):
            read(f"{ready['rest']}/exchange/status")
        assert read(f"{ready['rest']}/exchange/status")["exchange_active"]
        assert [fault["id"] for fault in read(f"{ready['control']}/faults/applied")["applied"]] == ["first"]
        assert [market["ticker"] for market in read(f"{ready['rest']}/markets")["markets"]] == ["KXPLAYED-26-A"]


def test_a_fault_script_that_says_nothing_is_refused_in_one_sentence(tmp_path: Path, manage: Any) -> None:
    faults = tmp_path / "faults.json"
    faults.write_text('[{"do": "explode"}]')
    result = manage("exchange", "--faults", str(faults), "--key-dir", str(tmp_path))
    assert result.returncode == 1
    assert "explode" in result.stderr
    assert "Traceback" not in result.stderr
