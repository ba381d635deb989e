"""Real stores for the test session, and the fixtures that every folder may use.

The controlling process starts a private PostgreSQL and Valkey in a temporary home, before pytest-django reads the
settings (which is why pyproject.toml names no settings module: this file does, once the addresses are known). xdist's
workers inherit the addresses; each gets a test database from pytest-django, and here a home and a Valkey of its own:
database numbers would not keep their pub/sub apart.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import hypothesis
import pytest
import redis
from django.conf import settings

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from kalshimm.embedded import postgres, stores, valkey  # noqa: E402 - the path comes first
from kalshimm.embedded.ports import free_port as find_free_port  # noqa: E402

hypothesis.settings.register_profile("kalshimm", deadline=None)  # no test asserts a time
hypothesis.settings.load_profile("kalshimm")

SETTINGS = "DJANGO_SETTINGS_MODULE"
WORKER = os.environ.get("PYTEST_XDIST_WORKER")  # gw0, gw1, …; unset in the controlling process
RECORDED = ROOT.parent / "shared" / "data" / "recorded"
COMMAND_DEADLINE_S = 60.0


def _exit(number: int, _frame: object) -> None:
    sys.exit(128 + number)


class TestStores:
    """The session's stores, in a home that is removed with them."""

    __test__ = False

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="kalshimm-test-"))
        # The settings of the developer's own installation are not the tests'.
        for name in [n for n in os.environ if n.startswith(("KALSHI", "DATABASE_URL", "REDIS_URL"))]:
            del os.environ[name]
        os.environ["KALSHIMM_HOME"] = str(self.home)
        try:
            self.in_use = stores.ensure(self.home, durable=False)
        except BaseException:
            self.remove()
            raise
        self.in_use.export()
        self.owner = os.getpid()
        atexit.register(self.close)
        signal.signal(signal.SIGTERM, _exit)  # a run that is cut short must not leave its servers behind

    def close(self) -> None:
        if os.getpid() == self.owner:  # not in a fork of a test's
            self.in_use.release()
            self.remove()

    def remove(self) -> None:
        for worker_home in self.home.glob("gw*"):
            valkey.stop(worker_home, within_s=5)
        postgres.purge(self.home)
        shutil.rmtree(self.home)


def start_worker(name: str) -> None:
    home = Path(os.environ["KALSHIMM_HOME"]) / name
    os.environ["KALSHIMM_HOME"] = str(home)
    os.environ["REDIS_URL"], _ = valkey.start(home, durable=False)


if WORKER:
    start_worker(WORKER)
else:
    TestStores()
os.environ[SETTINGS] = "kalshimm.settings"
assert settings.DATABASES, "read now, with the addresses in place"
# Workers would inherit the name, and read the settings before this file has started their Valkey.
del os.environ[SETTINGS]


@pytest.fixture
def redis_url() -> str:
    """The address of this test process's own Valkey."""
    return os.environ["REDIS_URL"]


@pytest.fixture
def redis_client(redis_url: str) -> Iterator[redis.Redis]:
    """A client of this test process's own Valkey, empty at the start."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        yield client


@pytest.fixture
def database_url(transactional_db: None) -> str:
    """The address of this test process's own database, for code that connects by itself and for child processes."""
    parts = urlsplit(os.environ["DATABASE_URL"])
    return urlunsplit(parts._replace(path=f"/{settings.DATABASES['default']['NAME']}"))


@pytest.fixture
def free_port() -> int:
    return find_free_port()


@pytest.fixture(scope="session")
def recorded() -> Path:
    """The folder of real recordings, which come beside a checkout, not in it; CI must have them."""
    if RECORDED.is_dir():
        return RECORDED
    reason = f"the recordings are missing: {RECORDED} is not there"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


Manage = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def manage() -> Manage:
    """Run `manage.py ARGV…` to its end, with `env` added to the environment; a value of None removes the variable."""

    def run(
        *argv: str, env: dict[str, str | None] | None = None, deadline_s: float = COMMAND_DEADLINE_S, **options: object
    ) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in (os.environ | (env or {})).items() if v is not None}
        return subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), *argv],
            env=environment,
            timeout=deadline_s,
            capture_output=True,
            text=True,
            check=False,
            **{"stdin": subprocess.DEVNULL, **options},
        )

    return run
