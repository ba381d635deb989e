"""Row E5: one live trader asks for the exchange's name where nobody answers."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.liverig import LiveCase, LiveOptions
from tests.faults.livetrader import IMPROVES, Plan
from traders.brokers.answers import NOT_REACHABLE

pytestmark = pytest.mark.long

NAME = "exchange.test"
DEAD = "127.66.66.66"  # somebody listens there, and never answers
REMEMBERED_S = 90.0  # more than an address is believed once it was looked up
TURNS = 20  # of a loop, while names are looked up in vain


@pytest.fixture(scope="module")
def live_options() -> LiveOptions:
    return LiveOptions(quick_leases=True, traders=(Plan(strategies=IMPROVES),))


@pytest.fixture
def named(tmp_path: Path) -> Iterator[NamedExchange]:
    named = NamedExchange(tmp_path)
    yield named
    named.close()


class NamedExchange:
    """A file of hosts and a server of names for processes in a name space of their own; needs root, as mounts do."""

    def __init__(self, folder: Path) -> None:
        self.hosts, self.resolver = folder / "hosts", folder / "resolv.conf"
        self.found()
        self.resolver.write_text(f"nameserver {DEAD}\noptions timeout:5 attempts:2\n")
        self._silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        binds = f"mount --bind {self.hosts} /etc/hosts && mount --bind {self.resolver} /etc/resolv.conf"
        self.through = ("unshare", "-m", "sh", "-c", f'{binds} && exec "$@"', "sh")
        try:
            self._silent.bind((DEAD, 53))
            subprocess.run([*self.through, "true"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            reason = "this machine does not let us have names of our own"
            pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)

    def found(self) -> None:
        self.hosts.write_text(f"127.0.0.1 localhost {NAME}\n")

    def lost(self) -> None:
        """Have the name asked for where nobody answers; the file stays the one that is mounted."""
        self.hosts.write_text("127.0.0.1 localhost\n")

    @property
    def was_asked(self) -> bool:
        """Whether somebody has asked for the name since the last time."""
        self._silent.setblocking(False)
        asked = False
        with contextlib.suppress(BlockingIOError):
            while self._silent.recv(1_500):
                asked = True
        return asked

    def close(self) -> None:
        self._silent.close()


@pytest.mark.timeout(240)
def test_E5_a_name_that_is_not_found_stops_orders_and_no_loop(
    live_on: Callable[..., LiveCase], named: NamedExchange
) -> None:
    live = live_on(quotes=False)
    trader = live.trader
    trader.worker.through, trader.host = named.through, NAME
    named.lost()
    trader.start()
    live.until(lambda: named.was_asked, "it looks the name up")
    live.did("names are asked for where nobody answers")
    live.until(lambda: "the exchange's is not known yet" in live.why(), "it lives, and does not quote", within_s=40)
    turns_in_time(live)
    assert live.creates() == []
    named.found()
    live.until_quotes("it quotes once the name is found", within_s=60)

    rested = {order.client_order_id for order in live.resting()}
    named.lost()
    live.until(lambda: was_unreachable(live), "its address is forgotten, and found no more", within_s=REMEMBERED_S)
    live.until(lambda: "EXCHANGE_UNREACHABLE" in live.alerts(), "it says that nothing is reached", within_s=60)
    turns_in_time(live)
    asked = len(live.creates())
    live.let_it_look()
    assert len(live.creates()) == asked
    assert all(live.told(name) is not None for name in rested)
    named.found()
    live.until_quotes("it goes on by itself", within_s=60)
    live.judge()
    trader.end()
    trader.worker.through, trader.host = (), ""


def turns_in_time(live: LiveCase) -> None:
    """Let the trader's loop come round while it waits for names: no turn is so late that the trader minds itself."""
    live.let_it_look(TURNS)
    decided = [line.body.figures.get("why", ()) for line in live.trader.record.read().decisions]
    assert not [why for whys in decided[-TURNS:] for why in whys if why["code"] == "late"]


def was_unreachable(live: LiveCase) -> bool:
    """Let the trader need a new connection, and return whether a request of its found no way out."""
    live.trader.rest.reset()
    live.wait(1.0)
    return any(one.body.code == NOT_REACHABLE for one in live.trader.record.read().answers.values())
