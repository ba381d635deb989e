"""A live trader under `up`: everything is killed in the same moment, one command brings it back, SIGTERM drains it."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from kalshimm.embedded import postgres
from kalshimm.runtime.home import installation_number
from markets.core import orderids
from tests.fixtures.stack import NAMES, Stack, eventually
from traders.processes import living

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

OWNER = "owner"
STOPS_WITHIN_S = 25


class LiveStack(Stack):
    """With live trading allowed, and the exchange's ledger in view."""

    def __init__(self) -> None:
        super().__init__()
        self.ended_by: dict[str, str] = {}  # orders of ours and how each stands, as the ledger last showed it

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | {"KALSHIMM_LIVE": "1"}

    def must(self, *argv: str) -> Any:
        """Run a command that has to succeed, and return what it tells."""
        done = self.manage(*argv)
        assert done.returncode == 0, (argv, done.stderr)
        return json.loads(done.stdout) if "--json" in argv else done.stdout

    def trader(self) -> dict[str, Any]:
        (row,) = self.must("traders", "list", "--json")["traders"]
        return dict(row)

    def reason_of(self, state: str) -> str:
        """Return why the trader is in a state; empty while it is in another."""
        row = self.trader()
        return row["state_reason"] if row["state"] == state else ""

    def kill_all_but_the_exchange(self) -> None:
        """Kill launcher, workers, traders and stores in the same moment."""
        assert self.launcher is not None
        valkey = json.loads((self.home / "valkey" / "server.json").read_bytes())["identity"]["pid"]
        database = int((postgres.of(self.home).data / "postmaster.pid").read_text().split()[0])
        traders = [identity.pid for identity in living(self.home).values()]
        parts = [self.part(name).identity.pid for name in NAMES if name != "exchange"]
        assert traders
        killed = [psutil.Process(pid) for pid in (self.launcher.pid, *parts, *traders, valkey, database)]
        killed += killed[-1].children()  # what the database's end would end a moment later
        for process in killed:
            process.kill()
        psutil.wait_procs(killed, timeout=10)
        self.launcher.wait()
        (self.home / "run" / "up.json").unlink()  # to see the next one's

    def look(self) -> dict[str, str]:
        """Return our orders at the exchange by id, each with its state."""
        control = json.loads(self.part("exchange").line)["control"]
        with urllib.request.urlopen(f"{control}/ledger/lines", timeout=10) as answer:
            lines = json.load(answer)["lines"]
        number = installation_number(self.home)
        for line in lines:
            body = line.get("body") or {}
            if line.get("account") != OWNER or line.get("channel") != "user_orders":
                continue
            made = orderids.decode(body["client_order_id"])
            if made is not None and made.installation == number:
                self.ended_by[body["order_id"]] = body["status"]
        return self.ended_by

    def resting(self) -> list[str]:
        return [order for order, status in self.look().items() if status == "resting"]

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Go on looking until the exchange is gone."""

        def watch() -> None:
            with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError, AssertionError):
                while True:
                    self.look()

        watching = threading.Thread(target=watch)
        watching.start()
        yield
        watching.join()


@pytest.fixture
def stack() -> Iterator[LiveStack]:
    running = LiveStack()
    try:
        yield running
    finally:
        running.close()


def go_live(stack: LiveStack) -> None:
    """Do what a person does for one live trader."""
    key = stack.home / "exchange" / "ed25519.pem"
    known = json.loads((stack.home / "exchange" / "keys.json").read_bytes())
    key_id = next(one["key_id"] for one in known if one["file"] == key.name)
    stack.must("keys", "add", "trade", "--environment", "local", "--key-id", key_id, "--pem", str(key))
    stack.must("keys", "test", "trade")
    query = "SELECT ticker FROM markets_market WHERE status = 'active' AND close_time > now() + interval '1 hour'"
    eventually(lambda: stack.rows(query), "the catalogue has open markets")
    ticker = min(stack.rows(query))[0]
    stack.must("traders", "create", "alone", "--market", ticker, "--live")
    stack.must("grants", "create", "alone", "--confirm", "alone")
    stack.must("traders", "start", "alone", "--live")


def test_A15_A17_a_live_stack_that_was_killed_whole_comes_back_by_one_command_and_drains_on_sigterm(
    stack: LiveStack,
) -> None:
    options = ("--no-demo", "--scenario", "truth", "--stop-within", str(STOPS_WITHIN_S))
    stack.start(*options)
    go_live(stack)
    eventually(stack.resting, "it quotes", within_s=60.0)

    exchange = stack.part("exchange").identity
    stack.kill_all_but_the_exchange()
    assert stack.resting(), "the exchange knows nothing of it"

    stack.start(*options)
    assert stack.part("exchange").identity == exchange, "the venue was up all the time"
    told = "it waits for a person, and says so"
    eventually(lambda: stack.reason_of("paused").endswith("it needs resume"), told, within_s=60.0)
    eventually(lambda: not stack.resting(), "nothing of it rests")
    before = set(stack.look())
    stack.must("traders", "resume", "alone")
    eventually(stack.resting, "it quotes again", within_s=60.0)

    with stack.watched():
        stack.launcher.send_signal(signal.SIGTERM)
        assert stack.launcher.wait(STOPS_WITHIN_S) == 0, stack.output()
    assert set(stack.ended_by) > before
    assert set(stack.ended_by.values()) <= {"canceled", "executed"}, "each had ended before the exchange did"
    assert not [line for line in stack.output().splitlines() if line.startswith("traders")], "it was given time"
    assert stack.processes() == []
