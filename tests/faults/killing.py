"""Invariant 11: a kill from the command line in the middle of a fault, and what must be true of it.

Nothing new leaves from half a second after it (the bar's floor). It is confirmed, and then nothing in its scope rests;
or it says that it is unconfirmed, and is typed again once the fault is over.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

import msgspec

from tests.faults.fleetrig import FleetCase, FleetTrader
from tests.faults.processes import ROOT

NOWHERE = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing", "REDIS_URL": "redis://127.0.0.1:1/0"}
CONFIRMED, UNCONFIRMED = 0, 4
FLOOR_US = 500_000
WITHIN_S = 10
AGAIN_S = 30.0


class Killed(msgspec.Struct):
    """One kill: whom, during what, how it ended first, and what was wrong."""

    scope: str
    during: str
    code: int
    last_create_ms: int | None = None
    confirmed_ms: int | None = None


class Killing:
    """The kills of one run: of one trader and of everything, in turn."""

    def __init__(self, case: FleetCase) -> None:
        self._case, self._rig = case, case.rig
        self.kills: list[Killed] = []
        self._argv: list[str] | None = None
        self._scope: list[FleetTrader] = []
        self._at_us = 0
        self._problems: list[str] = []

    def strike(self, during: str) -> None:
        """Kill now, whatever is going on."""
        is_all = len(self.kills) % 2 == 1
        live = [trader for trader in self._rig.fleet if trader.is_live]
        victim = live[len(self.kills) % len(live)]
        self._argv = ["--all"] if is_all else ["--trader", victim.name]
        self._scope = list(self._rig.fleet) if is_all else [victim]
        code, said = self._kill(*self._argv)
        self._at_us = said["kill"]["at_us"]
        self.kills.append(Killed(" ".join(self._argv), during, code))
        self._note(code, said)

    def _note(self, code: int, said: dict[str, Any]) -> None:
        if code == CONFIRMED:
            self.kills[-1].confirmed_ms = max((one["confirmed_ms"] or 0 for one in said["accounts"]), default=0)
            resting = [order for order in self._rig.fetch().resting() if self._is_meant(order.client_order_id)]
            self._problems += [f"I11 confirmed, and {order} rests" for order in resting]
        elif code != UNCONFIRMED:
            self._problems.append(f"I11 the kill ended with {code}: {said}")

    def _is_meant(self, client_order_id: str) -> bool:
        return any(trader.party().owns(client_order_id) for trader in self._scope if trader.is_live)

    def end(self, case: FleetCase) -> list[str]:
        """Have a kill that was not confirmed confirmed, now that the fault is over; return what is wrong with it."""
        if self._argv is None:
            return []
        give_up = time.monotonic() + AGAIN_S
        while self.kills[-1].confirmed_ms is None and time.monotonic() < give_up:
            self._note(*self._kill(*self._argv))
        if self.kills[-1].confirmed_ms is None:
            self._problems.append("I11 it was never confirmed, though the fault was over")
        after = [
            request.at_us - self._at_us
            for request in case.requests("POST")
            if request.at_us > self._at_us and any(map(self._is_meant, request.creates))
        ]
        if after:
            self.kills[-1].last_create_ms = max(after) // 1_000
            if max(after) > FLOOR_US:
                self._problems.append(f"I11 a create left {max(after)} us after the kill")
        problems, self._problems = self._problems, []
        return problems

    def release(self) -> set[FleetTrader]:
        """Take the kill back; return whom the operator then resumes."""
        if self._argv is None:
            return set()
        code, said = self._kill("--release", *(one for one in self._argv if one != "--all"))
        assert code == 0, said
        scope, self._argv, self._scope = set(self._scope), None, []
        return scope

    def _kill(self, *argv: str) -> tuple[int, dict[str, Any]]:
        """Run the command as an operator would who has lost every store."""
        settings = os.environ | NOWHERE | {"KALSHIMM_HOME": str(self._rig.home), "KALSHI_ENV": "local"}
        within = [] if "--release" in argv else ["--within", str(WITHIN_S)]
        command = [sys.executable, str(ROOT / "manage.py"), "kill", "--json", *argv, *within]
        ended = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, timeout=90, check=False)
        assert ended.stdout, f"the kill said nothing: {ended.returncode} {ended.stderr}"
        return ended.returncode, msgspec.json.decode(ended.stdout)
