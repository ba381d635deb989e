from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from kalshimm.commandline import needs_stores, operator_error
from kalshimm.errors import EXIT_NOT_REACHABLE, ConfigurationError, KalshimmError
from tests.fixtures.stack import ROOT


@pytest.mark.parametrize(
    "name", ["up", "down", "exchange", "spawner", "health", "rewards", "backtest", "help", "check", "makemigrations"]
)
def test_it_starts_no_stores_for_a_command_that_needs_none(name: str) -> None:
    assert not needs_stores(["manage.py", name])


@pytest.mark.parametrize("name", ["migrate", "shell", "gateway", "writer", "createsuperuser", "login_link"])
def test_it_sees_to_the_stores_of_every_other_command(name: str) -> None:
    assert needs_stores(["manage.py", name])


@pytest.mark.parametrize("argv", [[], ["--version"], ["migrate", "--help"], ["no_such_command"], ["no-such.command"]])
def test_it_starts_no_stores_for_help_and_for_what_it_does_not_know(argv: list[str]) -> None:
    assert not needs_stores(["manage.py", *argv])


def test_it_finds_our_error_inside_nested_groups() -> None:
    ours = ConfigurationError("KALSHIMM_PORT", "expected a number")
    group = ExceptionGroup("tasks", [ValueError("no"), ExceptionGroup("more", [ours])])
    assert operator_error(group) is ours


def test_it_leaves_a_programming_error_to_its_traceback() -> None:
    assert operator_error(ExceptionGroup("tasks", [KeyError("x")])) is None


def test_it_says_that_a_store_is_away_in_one_line() -> None:
    refused = psycopg.OperationalError('connection to server at "127.0.0.1" failed:\n\tIs the server running?')
    for exc in (refused, RedisConnectionError("Error 111 connecting")):
        error = operator_error(exc)
        assert isinstance(error, KalshimmError)
        assert error.exit_code == EXIT_NOT_REACHABLE
        assert "\n" not in str(error)


def test_it_does_not_blame_the_address_for_a_failed_statement() -> None:
    assert operator_error(psycopg.errors.QueryCanceled("canceling statement due to statement timeout")) is None


def test_G1_a_kill_begins_whatever_the_settings_say(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    settings = {"PATH": os.environ["PATH"], "KALSHIMM_HOME": str(tmp_path), "KALSHIMM_DEBUG": "maybe"}
    ended = subprocess.run(
        [sys.executable, "manage.py", "kill", "--json"], cwd=ROOT, env=settings, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert f"everything is killed in {tmp_path}" in ended.stderr
    assert (tmp_path / "kill.json").exists()
