"""Chaos on the whole fleet in live mode: a hundred faults and more of every part, and after each all is judged.

By hand, for as many faults as one likes, in another order (docs/chaos.md):

    CHAOS_FAULTS=1000 CHAOS_SEED=7 make test-long ARGS="-n 0 -s tests/faults/test_chaos.py"
"""

from __future__ import annotations

import contextlib
import os
import pprint
import secrets
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.cookiejar import CookieJar
from pathlib import Path

import psutil
import pytest

from tests.faults.canary import Hunt, forms_of, parts_of_pem
from tests.faults.chaos import Chaos
from tests.faults.fleetrig import FleetRig
from tests.faults.liverig import LiveOptions
from tests.faults.livetrader import DRY, JOINS, NO_GUARDS, STAYS, WIDE, Plan
from tests.faults.tap import wait_until
from traders.core.pipeline import Choice, StrategyChoices

FAULTS = int(os.environ.get("CHAOS_FAULTS", "100"))
SEED = int(os.environ.get("CHAOS_SEED", "1"))
A_FAULT_S = 15.0  # at the very most, on average
WEB_S = 30.0
EXITS = StrategyChoices(
    JOINS.placement, flattens=(Choice("passive_exit", {"from_cx": 200, "improve_steps": 0}),), guards=NO_GUARDS
)
# A group fills four of the largest orders within 15 s: outsiders take much, and no runaway is meant here.
LIMITS = WIDE | {"order_cx_most": 10_000}
FLEET = (
    Plan(market=0, strategies=JOINS, limits=LIMITS),
    Plan(market=1, strategies=STAYS, limits=LIMITS),
    Plan(market=2, strategies=JOINS, limits=LIMITS, mode=DRY),
    Plan(market=3, strategies=EXITS, limits=LIMITS),  # the last live one: what it has resting is decreased
)

pytestmark = [pytest.mark.long, pytest.mark.timeout(300 + A_FAULT_S * FAULTS)]


@pytest.fixture
def chaos(tmp_path: Path, module_database: str) -> Iterator[Chaos]:
    options = LiveOptions(exchange=("--switch", "cancel_all_tail=none", "--keep-frames", "2000000"))
    with contextlib.ExitStack() as ended:
        rig = ended.enter_context(contextlib.closing(FleetRig(tmp_path, module_database, options)))
        rig.web.start()
        for plan in FLEET:
            rig.make(plan)
        yield ended.enter_context(contextlib.closing(Chaos(rig, seed=SEED)))


class Visitor:
    """Somebody with a password, at the pages."""

    def __init__(self, rig: FleetRig) -> None:
        self._rig, self.password = rig, f"canary-{secrets.token_hex(12)}"
        made = f"User.objects.create_user('visitor', password={self.password!r})"
        rig.operator.types("shell", "--no-imports", "-c", f"from django.contrib.auth.models import User; {made}")

    def log_in(self) -> None:
        """Come in by name and password, and fail unless the pages open."""
        jar = CookieJar()
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
        base = f"http://127.0.0.1:{self._rig.web_port}"
        wait_until(lambda: _is_up(base), "the web answers", within_s=WEB_S)
        opener.open(f"{base}/login/", timeout=WEB_S).read()
        token = next(cookie.value for cookie in jar if cookie.name.startswith("kalshimm_csrf"))
        said = {"username": "visitor", "password": self.password, "csrfmiddlewaretoken": token}
        request = urllib.request.Request(f"{base}/login/", urllib.parse.urlencode(said).encode(), {"Referer": base})
        with opener.open(request, timeout=WEB_S) as answer:
            assert "/login/" not in answer.geturl(), "the password opens the pages"


def _is_up(base: str) -> bool:
    try:
        with urllib.request.urlopen(f"{base}/livez", timeout=WEB_S) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def leaks(rig: FleetRig, password: str) -> tuple[list[str], int]:
    """Return where secrets stand that should not (I8), and in how many places they were looked for."""
    keys, master = rig.folder / "keys", rig.home / "master_key"
    secrets_of = {f"key {path.name}": parts_of_pem(path) for path in keys.glob("*.pem")}
    assert secrets_of, "there are keys to look for"
    secrets_of |= {"the master key": {master.read_bytes().strip()}, "a password": forms_of(password.encode())}
    hunt = Hunt(secrets_of)
    pids = [worker.pid for worker in rig.workers if worker.is_running and worker is not rig.exchange]
    pids += [trader.process.pid for trader in rig.fleet]
    problems = hunt.files(rig.folder, own=(keys, master))
    problems += hunt.tables(rig.database_url)
    problems += hunt.processes(pid for pid in pids if psutil.pid_exists(pid))
    return problems, hunt.places


def test_after_every_fault_of_a_hundred_the_fleet_heals_and_the_invariants_hold(chaos: Chaos) -> None:
    visitor = Visitor(chaos.rig)
    visitor.log_in()
    began_s = time.monotonic()
    chaos.begin()
    try:
        chaos.run(FAULTS)
    finally:
        print(f"\nseed {SEED}, {chaos.applied} faults applied in {time.monotonic() - began_s:.0f} s")
        print(chaos.table())
        pprint.pp({"kills": chaos.killing.kills, "helped": dict(chaos.helped), "hits": chaos.hits}, width=120)
    visitor.log_in()
    found, places = leaks(chaos.rig, visitor.password)
    print(f"I8: {places} places looked at")
    assert not found, "\n".join(found)
    assert not chaos.problems, "\n".join(chaos.problems)
    assert chaos.applied >= FAULTS
