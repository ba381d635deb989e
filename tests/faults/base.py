"""What every rig of fault rows is made of: an exchange, stores, real processes and taps; and what every row does.

A rig serves a module, a case is one row on it. Every process and store has a private home and private ports.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import redis

from feed import schema
from kalshimm.runtime.logs import LogEntry, decode_log
from tests.faults.log import Fault, FaultLog
from tests.faults.processes import PrivateValkey, Worker
from tests.faults.tap import Tap

OWNER = "owner"  # whose key the gateway has; faults name it, so that nobody else is struck
HEAL_S = 30.0
POLL_S = 0.02
JSON = {"Content-Type": "application/json"}
EVERYBODYS = ("lag_reads",)  # faults that name no account


class BaseRig:
    """An exchange and a Valkey, and whatever processes and taps are put beside them; `close` ends all of it.

    Args:
        exchange: Arguments of `manage.py exchange` behind its folder of keys.
    """

    def __init__(self, folder: Path, database_url: str, exchange: list[str]) -> None:
        self.folder, self.database_url = folder, database_url
        self.log = FaultLog()
        self.taps: list[Tap] = []
        self.workers: list[Worker] = []
        self.exchange = self.worker("exchange", ["exchange", "--key-dir", str(folder / "keys"), *exchange], {})
        self.exchange.start()
        self.valkey = PrivateValkey(folder / "stores", self.log)
        line = self.exchange.first_line()
        assert line, self.exchange.output()
        self.ready: dict[str, str] = json.loads(line)
        self.redis = redis.Redis.from_url(self.valkey.url, socket_timeout=10)

    def worker(self, name: str, argv: list[str], settings: dict[str, str]) -> Worker:
        worker = Worker(name, argv, settings, folder=self.folder, log=self.log)
        self.workers.append(worker)
        return worker

    def tap(self, name: str, url: str) -> Tap:
        tap = Tap.before(name, url, self.log)
        self.taps.append(tap)
        return tap

    def control(self, method: str, path: str, body: object = None) -> Any:
        """Ask the exchange's control port."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.ready["control"] + path, data=data, method=method, headers=JSON)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as refused:
            raise AssertionError(f"{method} {path} {body}: {refused.code} {refused.read().decode()}") from refused

    def heal(self, *workers: Worker) -> None:
        """Disarm every fault, let every line pass, and have these processes run."""
        self.control("DELETE", "/faults")
        for tap in self.taps:
            tap.pass_all()
        for worker in workers:
            if worker.is_running:
                worker.thaw()
            else:
                worker.start()

    def logged(self) -> list[LogEntry]:
        """Return what stands on the log stream; the writer trims what it has stored."""
        entries: Any = self.redis.xrange("kmm:log")
        return [decode_log(fields[schema.FIELD]) for _, fields in entries]

    def close(self) -> None:
        self.redis.close()
        for worker in self.workers:
            worker.begin_close()
        for worker in self.workers:
            worker.close()
        for tap in self.taps:
            tap.close()
        self.valkey.close()


class BaseCase:
    """One row: faults are armed, and seen applied by every source's own log."""

    def __init__(self, rig: BaseRig, *spoken: Worker) -> None:
        self.log = rig.log
        self.is_judged = False
        self._base, self._spoken = rig, spoken
        self.begin()

    def begin(self) -> None:
        """Let what was done and said until now belong to nobody's row."""
        self.log.clear()
        self._applied = self._last_applied()
        self._offsets = {worker.name: len(worker.output()) for worker in self._spoken}
        self.began_us = time.time_ns() // 1_000

    # ---- faults ----------------------------------------------------------------------------------------------------

    def arm(self, *faults: dict[str, Any]) -> list[str]:
        """Put faults of the exchange's script language on the owner's requests and connections; return their ids."""
        mine = [fault if fault["do"] in EVERYBODYS else {"account": OWNER, **fault} for fault in faults]
        ids: list[str] = self._base.control("POST", "/faults", mine)["ids"]
        return ids

    def applied(self) -> list[Fault]:
        """Return what was applied since the case began, by every source's own log."""
        fresh = self._base.control("GET", f"/faults/applied?after={self._applied}")["applied"]
        self.log.note_applied(fresh)
        self._applied = max([self._applied, *(fault["number"] for fault in fresh)])
        return self.log.faults

    def until_applied(self, count: int = 1) -> list[Fault]:
        self.until(lambda: len(self.applied()) >= count, f"{count} faults applied")
        return self.log.faults

    def _last_applied(self) -> int:
        return max([0, *(fault["number"] for fault in self._base.control("GET", "/faults/applied")["applied"])])

    # ---- what is seen ------------------------------------------------------------------------------------------------

    def until(self, condition: Callable[[], object], what: str, *, within_s: float = HEAL_S) -> None:
        give_up = time.monotonic() + within_s
        while not condition():
            if time.monotonic() > give_up:
                self._give_up(f"not within {within_s:.0f} s: {what}; {self.state()}")
            time.sleep(POLL_S)

    @staticmethod
    def _give_up(message: str) -> NoReturn:
        raise AssertionError(message)

    def state(self) -> str:
        """Return what to tell when something did not come about."""
        return "\n".join(f"{worker.name}: {worker.output()[-1_500:]}" for worker in self._spoken)

    @staticmethod
    def wait(seconds: float) -> None:
        """Let a fault last."""
        time.sleep(max(0.0, seconds))

    def output(self, worker: Worker) -> str:
        """Return what a worker has said since the case began."""
        return worker.output()[self._offsets.get(worker.name, 0) :]

    def alerts(self) -> list[str]:
        """Return the alerts that the processes have raised since the case began, from their own output."""
        lines = "".join(map(self.output, self._spoken)).splitlines()
        return [word.removeprefix("alert=") for line in lines for word in line.split() if word.startswith("alert=")]
