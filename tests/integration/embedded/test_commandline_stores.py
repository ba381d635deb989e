from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from kalshimm.embedded import postgres, stores, valkey
from kalshimm.embedded.processes import BASE_DIR, RunFile
from kalshimm.runtime import home
from kalshimm.runtime.home import StoreAddresses
from kalshimm.runtime.process import ProcessIdentity
from tests.fixtures.stack import eventually

Manage = Callable[..., subprocess.CompletedProcess[str]]
COUNT_USERS = "from django.contrib.auth.models import User; print(User.objects.count(), 'users')"
WAIT = "import time; print('inside', flush=True); time.sleep(600)"


def is_quiet(path: Path) -> bool:
    """Return whether nothing of this home runs."""
    return not postgres.lives(path) and not valkey.lives(path) and home.running_stores(path) is None


def on(path: Path) -> dict[str, str | None]:
    return {"KALSHIMM_HOME": str(path), "DATABASE_URL": None, "REDIS_URL": None}


def test_a_command_without_stores_gets_migrated_ones_and_leaves_none(manage: Manage, a_home: Path) -> None:
    done = manage("shell", "-v", "0", "-c", COUNT_USERS, env=on(a_home))
    assert (done.returncode, done.stdout) == (0, "0 users\n"), done.stderr
    assert is_quiet(a_home)


def test_a_command_uses_the_stores_that_run(manage: Manage, a_home: Path) -> None:
    with stores.used(a_home, lasting=True, durable=False) as in_use:
        code = "from django.conf import settings; print(settings.DATABASE_URL, settings.REDIS_URL)"
        done = manage("shell", "-v", "0", "-c", code, env=on(a_home))
        assert done.stdout.split() == [in_use.addresses.database_url, in_use.addresses.redis_url], done.stderr
        assert not is_quiet(a_home)


def test_addresses_of_dead_stores_mislead_nobody(manage: Manage, a_home: Path) -> None:
    home.folder(a_home, "run")
    stale = StoreAddresses("postgresql://kalshimm:x@127.0.0.1:1/kalshimm", "redis://:x@127.0.0.1:1/0", lasting=True)
    home.write_private(home.stores_file(a_home), msgspec.json.encode(stale))
    done = manage("shell", "-v", "0", "-c", COUNT_USERS, env=on(a_home))
    assert (done.returncode, done.stdout) == (0, "0 users\n"), done.stderr
    assert is_quiet(a_home)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_a_command_and_the_stores_it_started(a_home: Path, number: signal.Signals) -> None:
    environment = {k: v for k, v in (os.environ | on(a_home)).items() if v is not None}
    process = subprocess.Popen(
        [sys.executable, str(BASE_DIR / "manage.py"), "shell", "-v", "0", "-c", WAIT],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == b"inside\n"
        process.send_signal(number)
        assert process.wait(30) == 128 + number
    assert is_quiet(a_home)


def test_a_wrong_database_is_one_sentence_without_the_password(manage: Manage, a_home: Path) -> None:
    wrong = on(a_home) | {"DATABASE_URL": "postgresql://u:hidden@127.0.0.1:1/x", "REDIS_URL": "redis://127.0.0.1:1/0"}
    done = manage("migrate", env=wrong)
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("PostgreSQL does not answer")
    assert "hidden" not in done.stderr


def test_debug_shows_where_an_error_came_from(manage: Manage, a_home: Path) -> None:
    done = manage("check", env=on(a_home) | {"KALSHIMM_PORT": "many", "KALSHIMM_DEBUG": "1"})
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert done.stderr.endswith("KALSHIMM_PORT: expected a whole number, found 'many'\n")


def test_a_wrong_setting_is_one_sentence_naming_the_variable(manage: Manage, a_home: Path) -> None:
    done = manage("check", env=on(a_home) | {"KALSHIMM_PORT": "many"})
    assert (done.returncode, done.stderr) == (2, "KALSHIMM_PORT: expected a whole number, found 'many'\n")


def test_an_unwritable_home_is_one_sentence(manage: Manage, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = manage("up", env=on(tmp_path / "file" / "home"))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "choose a folder that belongs to you" in done.stderr


@pytest.mark.parametrize("argv", [["no_such_command"], ["up", "--port", "many"], ["up", "--port", "0"], ["down", "x"]])
def test_a_usage_error_exits_with_two(manage: Manage, a_home: Path, argv: list[str]) -> None:
    assert manage(*argv, env=on(a_home)).returncode == 2
    assert is_quiet(a_home)


def test_health_without_stores_says_so_and_exits_with_three(manage: Manage, a_home: Path) -> None:
    done = manage("health", "--json", env=on(a_home) | {"REDIS_URL": "redis://127.0.0.1:1/0"})
    assert done.returncode == 3
    told = msgspec.json.decode(done.stdout)
    assert not told["ok"]
    assert {service["name"] for service in told["services"]} == {"database", "redis"}
    assert is_quiet(a_home)


def test_down_stops_what_a_killed_up_left(manage: Manage, a_home: Path) -> None:
    left = stores.ensure(a_home, lasting=True, durable=False)
    assert left.started
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    identity = ProcessIdentity.of(worker.pid)
    assert identity is not None
    RunFile("gateway", identity, (), "").write(a_home)
    done = manage("down", env=on(a_home))
    assert done.returncode == 0, done.stderr
    assert f"gateway stopping, pid {worker.pid}" in done.stdout
    eventually(lambda: worker.poll() is not None, "the worker was ended")
    assert is_quiet(a_home)


def test_down_with_nothing_running_says_so(manage: Manage, a_home: Path) -> None:
    done = manage("down", env=on(a_home))
    assert (done.returncode, done.stdout) == (0, f"Nothing ran on {a_home}.\n")


def test_purge_deletes_our_data_and_nothing_else(manage: Manage, a_home: Path) -> None:
    with stores.used(a_home, durable=False):
        pass
    (a_home / "letter.txt").touch()
    state = postgres.of(a_home).state
    done = manage("down", "--purge", env=on(a_home))
    assert done.returncode == 0, done.stderr
    assert not state.exists()
    assert [path.name for path in a_home.iterdir()] == ["letter.txt"]
