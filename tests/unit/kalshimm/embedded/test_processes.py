from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kalshimm.embedded import processes
from kalshimm.embedded.processes import Choice, RunFile
from kalshimm.runtime.process import ProcessIdentity

A_CHOICE = Choice(home=Path("/home/of/kalshimm"), port=8123, environment="local")
A_LINE = '{"rest":"http://a","ws":"ws://b","control":"http://c","key_id":"k","private_key_path":"/p"}'


def test_it_reads_how_to_reach_the_exchange_from_its_line() -> None:
    assert processes.venue_of_line(A_LINE) == {
        "KALSHI_REST_URL": "http://a",
        "KALSHI_WS_URL": "ws://b",
        "KALSHI_KEY_ID": "k",
        "KALSHI_PRIVATE_KEY_PATH": "/p",
    }


def test_it_takes_no_other_line_for_the_exchanges() -> None:
    for line in ("", "starting", "{", '{"rest":"http://a"}', "[1]"):
        assert processes.venue_of_line(line) is None


def test_it_tells_two_starts_apart_by_contract_and_code_only() -> None:
    environment = {"REDIS_URL": "redis://a", "KALSHI_ENV": "local", "TERM": "xterm"}
    digest = processes.fit_digest(environment, "code")
    assert processes.fit_digest(environment | {"TERM": "dumb"}, "code") == digest
    assert processes.fit_digest(environment | {"REDIS_URL": "redis://b"}, "code") != digest
    assert processes.fit_digest(environment, "other code") != digest


def test_it_hands_every_choice_on_to_a_detached_copy() -> None:
    recordings = (Path("/a"), Path("/b"))
    choice = replace(A_CHOICE, replay=recordings, markets=7, speed=2.0, scenario="calm", wants_demo=False)
    line = " ".join(processes.arguments(choice))
    expected = "--exchange local --port 8123 --replay /a /b --markets 7 --speed 2.0 --scenario calm --no-demo"
    assert line == expected


def test_it_shows_no_secret_in_an_argument_list() -> None:
    environment = processes.child_environment(A_CHOICE, {"DATABASE_URL": "postgresql://u:hidden@h/d"})
    parts = [processes.exchange(A_CHOICE, 9000), *processes.workers(A_CHOICE.port)]
    assert "hidden" in environment["DATABASE_URL"]
    assert not any("hidden" in argument for part in parts for argument in part.argv)


def test_it_stops_everything_within_its_share_of_ten_seconds() -> None:
    parts = [processes.exchange(A_CHOICE, 9000), *processes.workers(A_CHOICE.port)]
    traders_and_stores_s = 3.0
    assert sum(part.stop_grace_s for part in parts) + traders_and_stores_s <= 10.0


def test_it_finds_only_processes_that_live(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    gone = ProcessIdentity("another boot", 1, 0)
    RunFile("gateway", gone, ("x",), "d").write(tmp_path)
    RunFile("writer", ProcessIdentity.own(), ("x",), "d").write(tmp_path)
    assert [found.name for found in RunFile.all_living(tmp_path)] == ["writer"]


def test_it_takes_a_damaged_run_file_for_none(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    RunFile.path(tmp_path, "gateway").write_bytes(b'{"name":"gate')
    assert RunFile.read(tmp_path, "gateway") is None


@pytest.mark.parametrize(
    "name", ["manage.py", "feed/kalshi/wire.py", "templates/traders/_row.html", "requirements.lock"]
)
def test_a_process_started_from_older_files_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(processes, "BASE_DIR", tmp_path)
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("before")
    before = processes.code_digest()
    assert processes.code_digest() == before
    path.write_text("after it")
    assert processes.code_digest() != before
